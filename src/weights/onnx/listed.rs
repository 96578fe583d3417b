//! Nodes in a list of layers.

use super::kind::{Direction, Kind};
use super::node::Node;
use super::options::Options;
use crate::Error;
use crate::weights::Layer;

impl Node<'_> {
    /// What the node is, for a list of layers.
    pub(in crate::weights) fn layer(&self) -> Result<Layer, Error> {
        let (input_size, hidden_size) = self.sizes().unwrap_or_default();
        let mut options: Vec<String> = Vec::new();
        if self.direction() == Direction::Reverse {
            options.push("reverse".into());
        }
        options.extend(self.options().iter().map(|options| described(options, self.kind)));
        options.dedup();
        if self.batch_major() {
            options.push("batch first".into());
        }
        if self.initial_h::<f64>().is_ok_and(|start| start.is_some_and(|start| start.iter().any(|&h| h != 0.0))) {
            options.push("a constant initial state".into());
        }
        let place = self.place()?;
        if !place.is_empty() {
            options.push(format!("in {place}"));
        }
        let refused = self.refused().map(String::from).or_else(|| self.tensors::<f64>().err().map(|e| e.to_string()));
        let load = match refused {
            Some(reason) => format!("not imported: {reason}"),
            None => format!("let cell = model.node({:?})?.{}::<f32>()?;", self.name, self.function()),
        };
        let inputs = self.kind.inputs().iter().map(|&(_, position)| self.input(position));
        let tensors: Result<Vec<Option<&str>>, Error> = inputs.collect();
        Ok(Layer {
            source: "ONNX",
            kind: self.kind.name(),
            prefix: self.name.clone(),
            input_size,
            hidden_size,
            layers: 1,
            bidirectional: self.direction() == Direction::Bidirectional,
            options: options.join(", "),
            load,
            tensors: tensors?.into_iter().flatten().map(String::from).collect(),
        })
    }
}

/// Options in words, as far as an operator has them.
fn described(options: &Options, kind: Kind) -> String {
    let Options { activation, gate_activation, linear_before_reset } = options;
    match kind {
        Kind::Rnn => format!("{activation:?}"),
        Kind::Gru => format!("{gate_activation:?} and {activation:?}, linear_before_reset={linear_before_reset}"),
        Kind::Lstm | Kind::DynamicQuantizeLstm => format!("{gate_activation:?} and {activation:?}"),
    }
}
