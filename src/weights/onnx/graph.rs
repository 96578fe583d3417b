//! The graph: which values have names, and where each comes from.

use super::wire::{Message, Value, invalid};
use crate::Error;
use crate::error::quoted;
use std::sync::Arc;

// Numbers of the fields that are read, from onnx.proto.
pub(super) const MODEL_GRAPH: u32 = 7;
pub(super) const MODEL_FUNCTIONS: u32 = 25;
pub(super) const GRAPH_NODE: u32 = 1;
pub(super) const GRAPH_INITIALIZER: u32 = 5;
pub(super) const GRAPH_INPUT: u32 = 11;
pub(super) const GRAPH_OUTPUT: u32 = 12;
const GRAPH_SPARSE_INITIALIZER: u32 = 15;
pub(super) const VALUE_INFO_NAME: u32 = 1;
const SPARSE_VALUES: u32 = 1;
pub(super) const TENSOR_NAME: u32 = 8;
pub(super) const FUNCTION_NAME: u32 = 1;
const FUNCTION_INPUT: u32 = 4;
pub(super) const FUNCTION_NODE: u32 = 7;
pub(super) const FUNCTION_DOMAIN: u32 = 10;
pub(super) const FUNCTION_ATTRIBUTE: u32 = 11;
pub(super) const NODE_INPUT: u32 = 1;
pub(super) const NODE_OUTPUT: u32 = 2;
pub(super) const NODE_NAME: u32 = 3;
pub(super) const NODE_OP_TYPE: u32 = 4;
pub(super) const NODE_ATTRIBUTE: u32 = 5;
pub(super) const NODE_DOMAIN: u32 = 7;
pub(super) const ATTRIBUTE_NAME: u32 = 1;
const ATTRIBUTE_REFERENCE: u32 = 21;

/// Where a value comes from.
#[derive(Clone, Copy)]
pub(super) enum Origin<'a> {
    /// An initializer.
    Tensor(Message<'a>),
    /// A sparse initializer.
    Sparse,
    /// The first output of a node.
    Node(Message<'a>),
    /// Another output of a node, which is none of a constant's.
    LaterOutput(Message<'a>),
    /// An input of the graph or the function, by position.
    Input(usize),
}

/// The values of a graph or a function, sorted by name.
pub(super) struct Values<'a>(Vec<(&'a str, Origin<'a>)>);

impl<'a> Values<'a> {
    pub(super) fn of_graph(graph: Message<'a>) -> Result<Self, Error> {
        // Counted first, because a list that grows takes twice its size, and more while it moves.
        let mut count = 0;
        Self::visit_graph(graph, |_, _| count += 1)?;
        let mut values = Vec::with_capacity(count);
        Self::visit_graph(graph, |name, origin| values.push((name, origin)))?;
        Self::sorted(values)
    }

    pub(super) fn of_function(function: Message<'a>) -> Result<Self, Error> {
        let mut count = 0;
        Self::visit_function(function, |_, _| count += 1)?;
        let mut values = Vec::with_capacity(count);
        Self::visit_function(function, |name, origin| values.push((name, origin)))?;
        Self::sorted(values)
    }

    fn visit_graph(graph: Message<'a>, mut visit: impl FnMut(&'a str, Origin<'a>)) -> Result<(), Error> {
        let mut inputs = 0;
        // What has no name cannot be asked for.
        let mut visit = |name: &'a str, origin| {
            if !name.is_empty() {
                visit(name, origin)
            }
        };
        for field in graph.fields() {
            match field? {
                (GRAPH_NODE, Value::Bytes(node)) => Self::visit_outputs(Message(node), &mut visit)?,
                (GRAPH_INITIALIZER, Value::Bytes(tensor)) => {
                    visit(Message(tensor).text(TENSOR_NAME)?, Origin::Tensor(Message(tensor)));
                }
                (GRAPH_SPARSE_INITIALIZER, Value::Bytes(tensor)) => {
                    let values = Message(tensor).message(SPARSE_VALUES)?.unwrap_or(Message(&[]));
                    visit(values.text(TENSOR_NAME)?, Origin::Sparse);
                }
                (GRAPH_INPUT, Value::Bytes(input)) => {
                    visit(Message(input).text(VALUE_INFO_NAME)?, Origin::Input(inputs));
                    inputs += 1;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn visit_function(function: Message<'a>, mut visit: impl FnMut(&'a str, Origin<'a>)) -> Result<(), Error> {
        let mut visit = |name: &'a str, origin| {
            if !name.is_empty() {
                visit(name, origin)
            }
        };
        for (position, input) in function.texts(FUNCTION_INPUT).enumerate() {
            visit(input?, Origin::Input(position));
        }
        function.messages(FUNCTION_NODE).try_for_each(|node| Self::visit_outputs(node?, &mut visit))
    }

    fn visit_outputs(node: Message<'a>, visit: &mut impl FnMut(&'a str, Origin<'a>)) -> Result<(), Error> {
        for (position, output) in node.texts(NODE_OUTPUT).enumerate() {
            visit(output?, if position == 0 { Origin::Node(node) } else { Origin::LaterOutput(node) });
        }
        Ok(())
    }

    fn sorted(mut values: Vec<(&'a str, Origin<'a>)>) -> Result<Self, Error> {
        // Before IR version 4 an initializer was listed among the inputs, too: it comes first.
        values.sort_unstable_by_key(|&(name, origin)| (name, matches!(origin, Origin::Input(_))));
        for pair in values.windows(2) {
            let [(name, _), (next, origin)] = pair else { unreachable!("windows of two") };
            if name == next && !matches!(origin, Origin::Input(_)) {
                return Err(invalid(format!("two values are named {}", quoted(name))));
            }
        }
        Ok(Self(values))
    }

    fn get(&self, name: &str) -> Option<Origin<'a>> {
        let at = self.0.partition_point(|&(other, _)| other < name);
        self.0.get(at).filter(|&&(other, _)| other == name).map(|&(_, origin)| origin)
    }

    /// The initializers, in the order of their names.
    pub(super) fn tensors(&self) -> impl Iterator<Item = (&'a str, Message<'a>)> {
        self.0.iter().filter_map(|&(name, origin)| match origin {
            Origin::Tensor(tensor) => Some((name, tensor)),
            _ => None,
        })
    }
}

/// A graph, or a call of a function, inside others.
pub(super) struct Scope<'a> {
    pub values: Arc<Values<'a>>,
    pub outer: Outer<'a>,
}

/// What surrounds a scope.
pub(super) enum Outer<'a> {
    Nothing,
    /// The node whose attribute the graph is. It sees the values outside.
    Graph {
        scope: Arc<Scope<'a>>,
        node: Message<'a>,
        attribute: &'a str,
    },
    /// The node that calls the function. It sees only its inputs and attributes.
    Call {
        scope: Arc<Scope<'a>>,
        node: Message<'a>,
        function: Message<'a>,
    },
}

/// A value that was found by name, and the scope that its node's inputs belong to.
pub(super) struct Found<'s, 'a> {
    pub scope: &'s Scope<'a>,
    pub origin: Origin<'a>,
}

impl<'a> Scope<'a> {
    /// Finds a value here or in the graphs around. `None` if it is an input of the model, or is nowhere.
    pub(super) fn find<'s>(&'s self, name: &'a str) -> Result<Option<Found<'s, 'a>>, Error> {
        let (mut scope, mut name) = (self, name);
        loop {
            match (scope.values.get(name), &scope.outer) {
                (Some(Origin::Input(position)), Outer::Call { scope: caller, node, .. }) => {
                    name = node.texts(NODE_INPUT).nth(position).transpose()?.unwrap_or("");
                    scope = caller;
                }
                (Some(origin), _) => return Ok(Some(Found { scope, origin })),
                (None, Outer::Graph { scope: outer, .. }) => scope = outer,
                (None, _) => return Ok(None),
            }
        }
    }

    /// The attribute of a node in this scope. One that a function refers to is its caller's, or else its default.
    pub(super) fn attribute(&self, node: Message<'a>, name: &str) -> Result<Option<Message<'a>>, Error> {
        let Some(attribute) = named(node, NODE_ATTRIBUTE, name)? else { return Ok(None) };
        self.referred(attribute)
    }

    /// The attribute that this one refers to, or itself.
    pub(super) fn referred(&self, attribute: Message<'a>) -> Result<Option<Message<'a>>, Error> {
        let (mut scope, mut attribute) = (self, attribute);
        loop {
            let reference = attribute.text(ATTRIBUTE_REFERENCE)?;
            if reference.is_empty() {
                return Ok(Some(attribute));
            }
            while let Outer::Graph { scope: outer, .. } = &scope.outer {
                scope = outer;
            }
            let Outer::Call { scope: caller, node, function } = &scope.outer else {
                return Err(invalid(format!("attribute {} is outside of any function", quoted(reference))));
            };
            match named(*node, NODE_ATTRIBUTE, reference)? {
                Some(given) => (scope, attribute) = (caller, given),
                None => return named(*function, FUNCTION_ATTRIBUTE, reference),
            }
        }
    }

    /// Where this scope is, in words, from the inside out. Empty in the model's own graph.
    pub(super) fn place(&self) -> Result<String, Error> {
        let (mut scope, mut place) = (self, Vec::new());
        loop {
            match &scope.outer {
                Outer::Nothing => return Ok(place.join(" in ")),
                Outer::Graph { scope: outer, node, attribute } => {
                    place.push(format!("{} of {}", quoted(attribute), described(*node)?));
                    scope = outer;
                }
                Outer::Call { scope: caller, node, function } => {
                    place.push(format!("function {} of {}", quoted(function.text(FUNCTION_NAME)?), described(*node)?));
                    scope = caller;
                }
            }
        }
    }
}

fn described(node: Message<'_>) -> Result<String, Error> {
    Ok(format!("{} {}", node.text(NODE_OP_TYPE)?.escape_debug(), quoted(node.text(NODE_NAME)?)))
}

/// The attribute of this name.
fn named<'a>(message: Message<'a>, field: u32, name: &str) -> Result<Option<Message<'a>>, Error> {
    for attribute in message.messages(field) {
        let attribute = attribute?;
        if attribute.text(ATTRIBUTE_NAME)? == name {
            return Ok(Some(attribute));
        }
    }
    Ok(None)
}
