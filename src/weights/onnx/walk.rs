//! Walks through all graphs of a model and finds its recurrent nodes.

use super::attributes::Attributes;
use super::graph::{
    ATTRIBUTE_NAME, FUNCTION_ATTRIBUTE, FUNCTION_DOMAIN, FUNCTION_NAME, FUNCTION_NODE, GRAPH_NODE, MODEL_FUNCTIONS,
    MODEL_GRAPH, NODE_ATTRIBUTE, NODE_DOMAIN, NODE_INPUT, NODE_NAME, NODE_OP_TYPE, Outer, Scope, Values,
};
use super::kind::Kind;
use super::node::Node;
use super::tensor::{Externals, location};
use super::wire::{Message, invalid};
use crate::Error;
use crate::error::quoted;
use std::collections::BTreeSet;
use std::sync::Arc;

// Fields that hold tensors and graphs, from onnx.proto.
const ATTRIBUTE_TENSOR: u32 = 5;
const ATTRIBUTE_GRAPH: u32 = 6;
const ATTRIBUTE_TENSORS: u32 = 10;
const ATTRIBUTE_GRAPHS: u32 = 11;

/// The most graphs and calls inside one another.
const MAX_DEPTH: usize = 32;
/// The most recurrent nodes of a model.
const MAX_NODES: usize = 1024;
/// The most functions of a model.
const MAX_FUNCTIONS: usize = 4096;
/// The most bytes of a node's name.
const MAX_NAME: usize = 1024;
/// The most files beside a model.
const MAX_EXTERNALS: usize = 256;
/// The most fields that are visited. Functions that call functions visit theirs again.
const MAX_FIELDS: usize = 10_000_000;

/// The model's own graph.
pub(super) fn graph(bytes: &[u8]) -> Result<Message<'_>, Error> {
    Message(bytes).message(MODEL_GRAPH)?.ok_or_else(|| invalid("it has no graph".into()))
}

/// A function of the model, whose values are listed once it is called.
struct Function<'a> {
    id: (&'a str, &'a str),
    message: Message<'a>,
    values: Option<Arc<Values<'a>>>,
}

/// Visits every graph of a model.
pub(super) struct Walk<'a> {
    functions: Vec<Function<'a>>,
    externals: &'a Externals,
    size: usize,
    names: BTreeSet<String>,
    fields: usize,
    pub found: Vec<Node<'a>>,
    /// The files beside the model that hold tensors.
    pub locations: BTreeSet<&'a str>,
}

/// Visits every graph of the model in these bytes. `size` counts the files beside it, too.
pub(super) fn walk<'a>(bytes: &'a [u8], externals: &'a Externals, size: usize) -> Result<Walk<'a>, Error> {
    let mut walk = Walk {
        functions: Vec::new(),
        externals,
        size,
        names: BTreeSet::new(),
        fields: 0,
        found: Vec::new(),
        locations: BTreeSet::new(),
    };
    for message in Message(bytes).messages(MODEL_FUNCTIONS) {
        let message = message?;
        if walk.functions.len() == MAX_FUNCTIONS {
            return Err(invalid(format!("it has more than {MAX_FUNCTIONS} functions")));
        }
        let id = (domain(message.text(FUNCTION_DOMAIN)?), message.text(FUNCTION_NAME)?);
        walk.functions.push(Function { id, message, values: None });
    }
    walk.functions.sort_by_key(|function| function.id);
    let graph = graph(bytes)?;
    walk.graph(graph, Outer::Nothing, 0)?;
    Ok(walk)
}

fn domain(name: &str) -> &str {
    if name == "ai.onnx" { "" } else { name }
}

impl<'a> Walk<'a> {
    fn graph(&mut self, graph: Message<'a>, outer: Outer<'a>, depth: usize) -> Result<(), Error> {
        self.count(graph)?;
        let values = Arc::new(Values::of_graph(graph)?);
        for (_, tensor) in values.tensors() {
            self.locate(tensor)?;
        }
        self.nodes(graph, GRAPH_NODE, &Arc::new(Scope { values, outer }), depth)
    }

    /// Notes the file beside the model that holds a tensor, if one does.
    fn locate(&mut self, tensor: Message<'a>) -> Result<(), Error> {
        self.locations.extend(location(tensor)?);
        if self.locations.len() > MAX_EXTERNALS {
            return Err(invalid(format!("its tensors are in more than {MAX_EXTERNALS} files")));
        }
        Ok(())
    }

    /// Notes the files that hold the tensors of attributes, such as a `Constant`'s.
    fn locate_attributes(&mut self, of: Message<'a>, field: u32) -> Result<(), Error> {
        for attribute in of.messages(field) {
            let attribute = attribute?;
            self.count(attribute)?;
            for tensor in attribute.messages(ATTRIBUTE_TENSOR).chain(attribute.messages(ATTRIBUTE_TENSORS)) {
                let tensor = tensor?;
                self.count(tensor)?;
                self.locate(tensor)?;
            }
        }
        Ok(())
    }

    fn nodes(&mut self, of: Message<'a>, field: u32, scope: &Arc<Scope<'a>>, depth: usize) -> Result<(), Error> {
        if depth == MAX_DEPTH {
            return Err(invalid(format!("more than {MAX_DEPTH} graphs or functions are inside one another")));
        }
        of.messages(field).try_for_each(|node| self.node(node?, scope, depth))
    }

    fn node(&mut self, node: Message<'a>, scope: &Arc<Scope<'a>>, depth: usize) -> Result<(), Error> {
        self.count(node)?;
        self.locate_attributes(node, NODE_ATTRIBUTE)?;
        let id = (domain(node.text(NODE_DOMAIN)?), node.text(NODE_OP_TYPE)?);
        let (op_domain, op) = id;
        if let Ok(at) = self.functions.binary_search_by_key(&id, |function| function.id) {
            return self.call(at, node, scope, depth);
        }
        if let Some(kind) = Kind::of(op, op_domain) {
            return self.recurrent(kind, node, scope);
        }
        for attribute in node.messages(NODE_ATTRIBUTE) {
            let attribute = attribute?;
            let graphs = attribute.messages(ATTRIBUTE_GRAPH).chain(attribute.messages(ATTRIBUTE_GRAPHS));
            for graph in graphs {
                let name = attribute.text(ATTRIBUTE_NAME)?;
                self.graph(graph?, Outer::Graph { scope: scope.clone(), node, attribute: name }, depth + 1)?;
            }
        }
        Ok(())
    }

    fn call(&mut self, at: usize, node: Message<'a>, scope: &Arc<Scope<'a>>, depth: usize) -> Result<(), Error> {
        let function = self.functions[at].message;
        self.count(function)?;
        self.locate_attributes(function, FUNCTION_ATTRIBUTE)?;
        let values = match &self.functions[at].values {
            Some(values) => values.clone(),
            None => {
                let values = Arc::new(Values::of_function(function)?);
                self.functions[at].values.insert(values).clone()
            }
        };
        let outer = Outer::Call { scope: scope.clone(), node, function };
        self.nodes(function, FUNCTION_NODE, &Arc::new(Scope { values, outer }), depth + 1)
    }

    fn recurrent(&mut self, kind: Kind, node: Message<'a>, scope: &Arc<Scope<'a>>) -> Result<(), Error> {
        if self.found.len() == MAX_NODES {
            return Err(invalid(format!("it has more than {MAX_NODES} recurrent nodes")));
        }
        let given = node.text(NODE_NAME)?;
        if given.len() > MAX_NAME {
            return Err(invalid(format!("a node's name has more than {MAX_NAME} bytes: {}", quoted(given))));
        }
        if node.texts(NODE_INPUT).count() < 3 {
            return Err(invalid(format!("node {} ({kind}) has no W and R", quoted(given))));
        }
        let mut name = if given.is_empty() { format!("{kind}_{}", self.found.len()) } else { given.to_string() };
        let mut copies = 0;
        while !self.names.insert(name.clone()) {
            copies += 1;
            name = format!("{given}_{copies}");
        }
        let attributes = Attributes::of(kind, scope, node)?;
        let (externals, size) = (self.externals, self.size);
        self.found.push(Node { name, kind, message: node, scope: scope.clone(), attributes, externals, size });
        Ok(())
    }

    /// Counts the fields of a message before they are visited.
    fn count(&mut self, message: Message<'a>) -> Result<(), Error> {
        self.fields += message.fields().count();
        if self.fields > MAX_FIELDS {
            return Err(invalid(format!("its functions and graphs have more than {MAX_FIELDS} fields")));
        }
        Ok(())
    }
}
