//! The messages of a model that is written.

use crate::weights::onnx::attributes::named;
use crate::weights::onnx::graph::{
    ATTRIBUTE_NAME, GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_NODE, GRAPH_OUTPUT, MODEL_GRAPH, NODE_ATTRIBUTE, NODE_INPUT,
    NODE_NAME, NODE_OP_TYPE, NODE_OUTPUT, TENSOR_NAME, VALUE_INFO_NAME,
};
use crate::weights::onnx::operator::OneDirection;
use crate::weights::onnx::tensor::{DATA_TYPE, DIMS, RAW_DATA};
use crate::weights::onnx::wire::{put_bytes, put_float, put_integer};
use crate::{Activation, Error, Float};
use ndarray::ArrayRef2;
use std::any::Any;

// Numbers of the fields that are only written, from onnx.proto.
const MODEL_IR_VERSION: u32 = 1;
const MODEL_PRODUCER: u32 = 2;
const MODEL_OPSET: u32 = 8;
const OPSET_VERSION: u32 = 2;
const GRAPH_NAME: u32 = 2;
const VALUE_INFO_TYPE: u32 = 2;
const TYPE_TENSOR: u32 = 1;
const TENSOR_TYPE_ELEMENT: u32 = 1;
const TENSOR_TYPE_SHAPE: u32 = 2;
const SHAPE_AXIS: u32 = 1;
const AXIS_LENGTH: u32 = 1;
const AXIS_NAME: u32 = 2;
const ATTRIBUTE_TYPE: u32 = 20;
/// An attribute's fields and types: its integer, text, floats, integers and texts.
const INT: (u32, i64) = (3, 2);
const STRING: (u32, i64) = (4, 3);
const FLOATS: (u32, i64) = (7, 6);
const INTS: (u32, i64) = (8, 7);
const STRINGS: (u32, i64) = (9, 8);

/// The first version with today's `LSTM`, `GRU` and `RNN`, and the file format of its time.
const OPSET: i64 = 14;
const IR_VERSION: i64 = 7;
/// Types of elements.
pub(super) const INT32: i64 = 6;
const INT64: i64 = 7;

/// The number of an element type.
pub(super) fn element<E: Float>() -> i64 {
    if size_of::<E>() == 8 { 11 } else { 1 }
}

/// A graph that grows.
pub(super) struct Writer {
    graph: Vec<u8>,
    /// Whether the model takes and returns states.
    states: bool,
    /// Whether it takes lengths.
    sequence_lens: bool,
}

impl Writer {
    pub(super) fn new(sequence_lens: bool, states: bool) -> Self {
        Self { graph: Vec::new(), states, sequence_lens }
    }

    /// An input or output. The length of an axis is a number or a name.
    pub(super) fn value(&mut self, field: u32, name: &str, element: i64, shape: &[Result<usize, &str>]) {
        let mut axes = Vec::new();
        for axis in shape {
            let mut message = Vec::new();
            match axis {
                Ok(len) => put_integer(&mut message, AXIS_LENGTH, *len as i64),
                Err(name) => put_bytes(&mut message, AXIS_NAME, name.as_bytes()),
            }
            put_bytes(&mut axes, SHAPE_AXIS, &message);
        }
        let mut tensor = Vec::new();
        put_integer(&mut tensor, TENSOR_TYPE_ELEMENT, element);
        put_bytes(&mut tensor, TENSOR_TYPE_SHAPE, &axes);
        let mut kind = Vec::new();
        put_bytes(&mut kind, TYPE_TENSOR, &tensor);
        let mut value = Vec::new();
        put_bytes(&mut value, VALUE_INFO_NAME, name.as_bytes());
        put_bytes(&mut value, VALUE_INFO_TYPE, &kind);
        put_bytes(&mut self.graph, field, &value);
    }

    /// An initializer.
    fn tensor(&mut self, name: &str, element: i64, shape: &[usize], numbers: &[u8]) {
        let mut tensor = Vec::new();
        for &len in shape {
            put_integer(&mut tensor, DIMS, len as i64);
        }
        put_integer(&mut tensor, DATA_TYPE, element);
        put_bytes(&mut tensor, TENSOR_NAME, name.as_bytes());
        put_bytes(&mut tensor, RAW_DATA, numbers);
        put_bytes(&mut self.graph, GRAPH_INITIALIZER, &tensor);
    }

    fn node(&mut self, op: &str, name: &str, inputs: &[String], outputs: &[String], attributes: &[Vec<u8>]) {
        let mut node = Vec::new();
        for (field, texts) in [(NODE_INPUT, inputs), (NODE_OUTPUT, outputs)] {
            for text in texts {
                put_bytes(&mut node, field, text.as_bytes());
            }
        }
        put_bytes(&mut node, NODE_NAME, name.as_bytes());
        put_bytes(&mut node, NODE_OP_TYPE, op.as_bytes());
        for attribute in attributes {
            put_bytes(&mut node, NODE_ATTRIBUTE, attribute);
        }
        put_bytes(&mut self.graph, GRAPH_NODE, &node);
    }

    /// A layer: its node, and the nodes that put its directions side by side.
    pub(super) fn layer<E: Float>(&mut self, layer: usize, layers: usize, directions: &[OneDirection<E>]) {
        let (name, op, hidden) = (format!("layer_{layer}"), directions[0].op, directions[0].hidden);
        let mut inputs = vec![if layer == 0 { "x".into() } else { format!("layer_{}/joined", layer - 1) }];
        let mut outputs = vec![format!("{name}/y")];
        let mut places = ["W", "R", "B", "P"].into_iter().enumerate().map(|(weight, what)| {
            let given = directions.iter().all(|direction| direction.weights[weight].is_some());
            if given { self.weights(&format!("{name}/{what}"), directions, weight) } else { String::new() }
        });
        inputs.extend(places.by_ref().take(3));
        let peepholes = places.next().unwrap_or_default();
        inputs.push(if self.sequence_lens { "sequence_lens".into() } else { String::new() });
        let shape = [Ok(directions.len()), Err("batch"), Ok(hidden)];
        for leaf in ["h", "c"] {
            if self.states && (leaf == "h" || op == "LSTM") {
                let [initial, last] = ["initial", "final"].map(|when| format!("{when}_{leaf}_{layer}"));
                self.value(GRAPH_INPUT, &initial, element::<E>(), &shape);
                self.value(GRAPH_OUTPUT, &last, element::<E>(), &shape);
                inputs.push(initial);
                outputs.push(last);
            } else {
                inputs.push(String::new());
            }
        }
        inputs.push(peepholes);
        while inputs.last().is_some_and(String::is_empty) {
            inputs.pop();
        }
        self.node(op, &name, &inputs, &outputs, &attributes(directions));
        // (seq, directions, batch, hidden) to (seq, batch, directions · hidden).
        let [y, turned] = ["y", "turned"].map(|end| format!("{name}/{end}"));
        let turn = [integers("perm", &[0, 2, 1, 3])];
        self.node("Transpose", &format!("{name}/turn"), &[y], std::slice::from_ref(&turned), &turn);
        let joined = if layer + 1 == layers { "y".into() } else { format!("{name}/joined") };
        let shape = format!("{name}/shape");
        let width = (directions.len() * hidden) as i64;
        let lens = [0, 0, width].map(i64::to_le_bytes).concat();
        self.tensor(&shape, INT64, &[3], &lens);
        self.node("Reshape", &format!("{name}/join"), &[turned, shape], &[joined], &[]);
    }

    /// One weight of all directions, as an initializer. Returns its name.
    fn weights<E: Float>(&mut self, name: &str, directions: &[OneDirection<E>], weight: usize) -> String {
        let all = directions.iter().filter_map(|direction| direction.weights[weight].as_deref());
        let numbers: Vec<u8> = all.clone().flat_map(little_endian).collect();
        let (rows, columns) = all.clone().next().map_or((0, 0), |weights| weights.dim());
        // W and R have three axes, B and P are vectors.
        let shape = [directions.len(), rows, columns];
        let shape = if weight < 2 { shape.to_vec() } else { vec![shape[0], columns] };
        self.tensor(name, element::<E>(), &shape, &numbers);
        name.into()
    }

    pub(super) fn model(mut self) -> Result<Vec<u8>, Error> {
        put_bytes(&mut self.graph, GRAPH_NAME, b"rnn-cell");
        let mut opset = Vec::new();
        put_integer(&mut opset, OPSET_VERSION, OPSET);
        let mut model = Vec::new();
        put_integer(&mut model, MODEL_IR_VERSION, IR_VERSION);
        put_bytes(&mut model, MODEL_PRODUCER, b"rnn-cell");
        put_bytes(&mut model, MODEL_OPSET, &opset);
        put_bytes(&mut model, MODEL_GRAPH, &self.graph);
        if i32::try_from(model.len()).is_err() {
            let (expected, found) = ("files of at most 2³¹ − 1 bytes", format!("weights of {}", model.len()));
            return Err(Error::NotRepresentable { module: "ONNX", expected, found });
        }
        Ok(model)
    }
}

fn little_endian<E: Float>(numbers: &ArrayRef2<E>) -> Vec<u8> {
    let bytes = |number: &E| {
        let number: &dyn Any = number;
        match number.downcast_ref::<f32>() {
            Some(number) => number.to_le_bytes().to_vec(),
            None => number.downcast_ref::<f64>().expect("Float is f32 or f64").to_le_bytes().to_vec(),
        }
    };
    numbers.iter().flat_map(bytes).collect()
}

fn attribute(name: &str, kind: i64, put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut message = Vec::new();
    put_bytes(&mut message, ATTRIBUTE_NAME, name.as_bytes());
    put(&mut message);
    put_integer(&mut message, ATTRIBUTE_TYPE, kind);
    message
}

fn integers(name: &str, numbers: &[i64]) -> Vec<u8> {
    attribute(name, INTS.1, |to| numbers.iter().for_each(|&number| put_integer(to, INTS.0, number)))
}

/// What a node's attributes say beside the defaults.
fn attributes<E: Float>(directions: &[OneDirection<E>]) -> Vec<Vec<u8>> {
    let integer = |name, number: i64| attribute(name, INT.1, |to| put_integer(to, INT.0, number));
    let first = &directions[0];
    let mut all = vec![integer("hidden_size", first.hidden as i64)];
    if directions.len() == 2 {
        all.push(attribute("direction", STRING.1, |to| put_bytes(to, STRING.0, b"bidirectional")));
    }
    if first.linear_before_reset {
        all.push(integer("linear_before_reset", 1));
    }
    let usual = |activations: &[Activation]| match activations {
        [one] => *one == Activation::Tanh,
        [gate, others @ ..] => *gate == Activation::Sigmoid && others.iter().all(|other| *other == Activation::Tanh),
        [] => true,
    };
    if directions.iter().all(|direction| usual(&direction.activations)) {
        return all;
    }
    let named = || directions.iter().flat_map(|direction| &direction.activations).map(|activation| named(*activation));
    let floats = |name, numbers: Vec<f32>| {
        attribute(name, FLOATS.1, |to| numbers.into_iter().for_each(|number| put_float(to, FLOATS.0, number)))
    };
    all.push(attribute("activations", STRINGS.1, |to| {
        named().for_each(|(name, ..)| put_bytes(to, STRINGS.0, name.as_bytes()));
    }));
    let lists = [
        ("activation_alpha", named().filter_map(|(_, alpha, _)| alpha).collect()),
        ("activation_beta", named().filter_map(|(.., beta)| beta).collect()),
    ];
    all.extend(
        lists.into_iter().filter(|(_, list): &(_, Vec<f32>)| !list.is_empty()).map(|(name, list)| floats(name, list)),
    );
    all
}
