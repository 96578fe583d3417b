//! A model file, and the walk that finds its recurrent nodes.

use super::attributes::Attributes;
use super::graph::{
    ATTRIBUTE_NAME, FUNCTION_DOMAIN, FUNCTION_NAME, FUNCTION_NODE, GRAPH_NODE, MODEL_FUNCTIONS, MODEL_GRAPH,
    NODE_ATTRIBUTE, NODE_DOMAIN, NODE_INPUT, NODE_NAME, NODE_OP_TYPE, Outer, Scope, Values,
};
use super::tensor::{Externals, location, stored};
use super::wire::Message;
use super::{Kind, Node, invalid};
use crate::error::{list_to, quoted};
use crate::weights::{Tensors, file};
use crate::{Error, Float};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Component, Path};
use std::rc::Rc;

// Fields that hold graphs, from onnx.proto.
const ATTRIBUTE_GRAPH: u32 = 6;
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

/// An ONNX file.
///
/// ```no_run
/// use rnn_cell::{dynamic_rnn, weights::onnx};
/// # let x = ndarray::Array3::<f32>::zeros((1, 5, 3));
///
/// let model = onnx::Model::open("model.onnx")?;
/// for node in model.nodes()? {
///     println!("{} {} {}", node.name(), node.kind(), node.direction());
/// }
/// let cell = model.node("encoder")?.lstm::<f32>()?;
/// let (outputs, state) = dynamic_rnn(&cell, &x, None, None)?;
/// # Ok::<(), rnn_cell::Error>(())
/// ```
///
/// The file is not trusted. Its bytes are borrowed: a list of names takes at most 12 times the file's size, in a file
/// of hardly anything else, and what makes one weight is at most 16 times as large as the file. Graphs inside one
/// another, operators before a weight, nodes and functions are limited to numbers that no model has.
#[derive(Clone)]
pub struct Model<'a> {
    bytes: Cow<'a, [u8]>,
    externals: Externals,
}

impl Model<'static> {
    /// Opens a file, and reads the files beside it that hold its tensors ("external data").
    ///
    /// # Errors
    /// - [`Error::NotRegularFile`] if a path leads to something other than a file: a folder, a pipe, a device.
    /// - [`Error::Io`] if a file cannot be read, or does not fit in memory.
    /// - [`Error::InvalidFile`] if it is not an ONNX file, or wants a file outside of its folder.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let bytes = file::read(path)?;
        let mut externals = Externals::new();
        let folder = path.parent().unwrap_or(Path::new(""));
        for location in walk(&bytes, &Externals::new(), bytes.len())?.locations {
            externals.insert(location.to_string(), read_beside(folder, location)?);
        }
        Ok(Self { bytes: bytes.into(), externals })
    }
}

impl<'a> Model<'a> {
    /// Reads the bytes of a file. Tensors in files beside it are an error once they are needed.
    ///
    /// # Errors
    /// [`Error::InvalidFile`] if they are not an ONNX file.
    pub fn from_bytes(bytes: impl Into<Cow<'a, [u8]>>) -> Result<Self, Error> {
        let model = Self { bytes: bytes.into(), externals: Externals::new() };
        model.walk()?;
        Ok(model)
    }

    fn walk(&self) -> Result<Walk<'_>, Error> {
        let size = self.externals.values().map(Vec::len).sum::<usize>() + self.bytes.len();
        walk(&self.bytes, &self.externals, size)
    }

    /// The recurrent nodes, in the order of the file: those of the graph, of graphs inside it (`If`, `Loop`, `Scan`), and
    /// of functions, once for each call.
    ///
    /// # Errors
    /// [`Error::InvalidFile`] if the file is broken, or has more than the limits above.
    pub fn nodes(&self) -> Result<Vec<Node<'_>>, Error> {
        Ok(self.walk()?.found)
    }

    /// The recurrent node of this name.
    ///
    /// # Errors
    /// - [`Error::MissingWeight`] if there is none. It lists the names.
    /// - As [`nodes`](Self::nodes).
    pub fn node(&self, name: &str) -> Result<Node<'_>, Error> {
        let mut nodes = self.nodes()?;
        match nodes.iter().position(|node| node.name() == name) {
            Some(at) => Ok(nodes.swap_remove(at)),
            None => {
                let names = list_to(nodes.iter().map(Node::name), 12);
                Err(Error::MissingWeight { name: name.into(), reason: format!("the recurrent nodes are {names}") })
            }
        }
    }

    /// The only recurrent node.
    ///
    /// # Errors
    /// - [`Error::MissingWeight`] if there is none, [`Error::UnexpectedWeight`] if there are more. It lists the names.
    /// - As [`nodes`](Self::nodes).
    pub fn only_node(&self) -> Result<Node<'_>, Error> {
        let mut nodes = self.nodes()?;
        if nodes.len() > 1 {
            let names = list_to(nodes.iter().map(Node::name), 12);
            let reason = format!("it is one of {} recurrent nodes, {names}", nodes.len());
            return Err(Error::UnexpectedWeight { name: nodes.swap_remove(0).name, reason });
        }
        let none = || Error::MissingWeight { name: "recurrent node".into(), reason: "the model has none".into() };
        nodes.pop().ok_or_else(none)
    }

    /// The initializers of the graph, under their names: the weights of other layers.
    ///
    /// # Errors
    /// [`Error::InvalidFile`] or [`Error::TensorDtype`] if one cannot be read.
    pub fn tensors<E: Float>(&self) -> Result<Tensors<'_, E>, Error> {
        let mut tensors = Tensors::new();
        for (name, tensor) in Values::of_graph(graph(&self.bytes)?)?.tensors() {
            tensors.insert_stored(name.into(), stored(tensor, name, &self.externals)?);
        }
        Ok(tensors)
    }
}

impl fmt::Debug for Model<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model").field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

fn graph(bytes: &[u8]) -> Result<Message<'_>, Error> {
    Message(bytes).message(MODEL_GRAPH)?.ok_or_else(|| invalid("it has no graph".into()))
}

/// The bytes of a file that a model names, which must be in the model's folder or below.
fn read_beside(folder: &Path, location: &str) -> Result<Vec<u8>, Error> {
    let outside = || invalid(format!("it wants the file {}, which is not in its folder", quoted(location)));
    let relative = Path::new(location);
    if location.is_empty() || !relative.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(outside());
    }
    let path = folder.join(relative);
    // A link may lead elsewhere. Where the file is missing, reading it says so.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    if let (Ok(folder), Ok(target)) = (folder.canonicalize(), path.canonicalize())
        && !target.starts_with(folder)
    {
        return Err(outside());
    }
    file::read(&path)
}

/// A function of the model, whose values are listed once it is called.
struct Function<'a> {
    id: (&'a str, &'a str),
    message: Message<'a>,
    values: Option<Rc<Values<'a>>>,
}

/// Visits every graph of a model.
struct Walk<'a> {
    functions: Vec<Function<'a>>,
    externals: &'a Externals,
    size: usize,
    names: BTreeSet<String>,
    fields: usize,
    found: Vec<Node<'a>>,
    /// The files beside the model that hold tensors.
    locations: BTreeSet<&'a str>,
}

fn walk<'a>(bytes: &'a [u8], externals: &'a Externals, size: usize) -> Result<Walk<'a>, Error> {
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
        let values = Rc::new(Values::of_graph(graph)?);
        for (_, tensor) in values.tensors() {
            if let Some(location) = location(tensor)? {
                self.locations.insert(location);
            }
        }
        if self.locations.len() > MAX_EXTERNALS {
            return Err(invalid(format!("its tensors are in more than {MAX_EXTERNALS} files")));
        }
        self.nodes(graph, GRAPH_NODE, &Rc::new(Scope { values, outer }), depth)
    }

    fn nodes(&mut self, of: Message<'a>, field: u32, scope: &Rc<Scope<'a>>, depth: usize) -> Result<(), Error> {
        if depth == MAX_DEPTH {
            return Err(invalid(format!("more than {MAX_DEPTH} graphs or functions are inside one another")));
        }
        of.messages(field).try_for_each(|node| self.node(node?, scope, depth))
    }

    fn node(&mut self, node: Message<'a>, scope: &Rc<Scope<'a>>, depth: usize) -> Result<(), Error> {
        self.count(node)?;
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

    fn call(&mut self, at: usize, node: Message<'a>, scope: &Rc<Scope<'a>>, depth: usize) -> Result<(), Error> {
        let function = self.functions[at].message;
        self.count(function)?;
        let values = match &self.functions[at].values {
            Some(values) => values.clone(),
            None => {
                let values = Rc::new(Values::of_function(function)?);
                self.functions[at].values.insert(values).clone()
            }
        };
        let outer = Outer::Call { scope: scope.clone(), node, function };
        self.nodes(function, FUNCTION_NODE, &Rc::new(Scope { values, outer }), depth + 1)
    }

    fn recurrent(&mut self, kind: Kind, node: Message<'a>, scope: &Rc<Scope<'a>>) -> Result<(), Error> {
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
