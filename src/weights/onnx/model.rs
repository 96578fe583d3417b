//! A model file.

use super::graph::Values;
use super::node::Node;
use super::tensor::{Externals, stored};
use super::walk::{Walk, graph, walk};
use super::wire::invalid;
use crate::error::{list_to, quoted};
use crate::weights::{Tensors, file};
use crate::{Error, Float};
use std::borrow::Cow;
use std::fmt;
use std::path::{Component, Path};

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
        Self::of_file(path, file::read(path)?)
    }

    /// [`open`](Self::open) of a file whose bytes were read.
    pub(in crate::weights) fn of_file(path: &Path, bytes: Vec<u8>) -> Result<Self, Error> {
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
