//! One door: opens a weight file of any format that is read here, told from its bytes.

use super::format::Format;
use super::{Layer, Tensors, file};
use crate::error::quoted;
use crate::{Error, Float};
use std::fmt;
use std::path::{Path, PathBuf};

/// A weight file, opened by [`open`].
#[derive(Debug, Clone)]
pub struct File {
    path: PathBuf,
    format: Format,
    content: Content,
}

#[derive(Clone)]
enum Content {
    // Nothing makes it without a feature that reads bytes.
    #[cfg_attr(not(feature = "_stored"), allow(dead_code))]
    Bytes(Vec<u8>),
    #[cfg(feature = "onnx")]
    Model(super::onnx::Model<'static>),
    #[cfg(feature = "hdf5")]
    Shards(super::keras::Shards),
    #[cfg(feature = "tensorflow")]
    Checkpoint(super::tensorflow::Checkpoint),
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            #[cfg(feature = "onnx")]
            Self::Model(model) => model.fmt(f),
            #[cfg(feature = "hdf5")]
            Self::Shards(_) => write!(f, "a list and its shards"),
            #[cfg(feature = "tensorflow")]
            Self::Checkpoint(_) => write!(f, "a checkpoint's files"),
        }
    }
}

/// Opens a weight file and tells its format from its bytes, whatever its name.
///
/// ```no_run
/// use rnn_cell::weights;
///
/// let file = weights::open("model.safetensors")?;
/// for layer in file.layers()? {
///     println!("{layer}");
/// }
/// let mut tensors = file.tensors::<f32>()?;
/// let encoder = weights::pytorch::lstm(&mut tensors, "encoder.")?;
/// # Ok::<(), rnn_cell::Error>(())
/// ```
///
/// # Errors
/// - [`Error::FeatureOff`] if the format needs a feature that is off. It names the feature.
/// - [`Error::InvalidFile`] if the format is unknown, or the file is broken, or one of the shards of a Keras model whose
///   list is beside it.
/// - [`Error::NotRegularFile`] if the path leads to something other than a file: a folder, a pipe, a device.
/// - [`Error::Io`] if the file cannot be read, or does not fit in memory.
pub fn open(path: impl AsRef<Path>) -> Result<File, Error> {
    let path = path.as_ref().to_path_buf();
    let bytes = file::read(&path)?;
    let Some(format) = Format::of(&bytes) else {
        let (start, known) = (&bytes[..bytes.len().min(8)], Format::list());
        let shown = quoted(&path.display().to_string());
        let reason = format!("{shown} has {} bytes, begins with {start:02x?}, and is none of: {known}", bytes.len());
        return Err(Error::InvalidFile { format: "weight", reason });
    };
    #[cfg(feature = "hdf5")]
    if format == Format::Hdf5 {
        super::keras::check_whole(&path)?;
    }
    if format.is_of_bytes() {
        return Ok(File { path, format, content: Content::Bytes(bytes) });
    }
    #[cfg(feature = "onnx")]
    if format == Format::Onnx {
        let model = super::onnx::Model::of_file(&path, bytes)?;
        return Ok(File { path, format, content: Content::Model(model) });
    }
    #[cfg(feature = "hdf5")]
    if format == Format::KerasShards {
        let shards = super::keras::Shards::of_list(path.clone(), bytes)?;
        return Ok(File { path, format, content: Content::Shards(shards) });
    }
    #[cfg(feature = "tensorflow")]
    if format == Format::TensorFlow {
        let checkpoint = super::tensorflow::Checkpoint::of_index(path.clone(), bytes)?;
        return Ok(File { path, format, content: Content::Checkpoint(checkpoint) });
    }
    Err(Error::FeatureOff { path: path.display().to_string(), format: format.name(), feature: format.feature() })
}

impl File {
    /// The path that it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The format.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// The tensors by the file's own names, for the importers. Those of an ONNX model are its initializers.
    ///
    /// # Errors
    /// [`Error::InvalidFile`] or [`Error::TensorDtype`] if the file is broken or a tensor cannot be read.
    pub fn tensors<E: Float>(&self) -> Result<Tensors<'_, E>, Error> {
        match &self.content {
            Content::Bytes(bytes) => match self.format {
                #[cfg(feature = "safetensors")]
                Format::Safetensors => super::safetensors::read_tensors(bytes),
                #[cfg(feature = "pytorch")]
                Format::Pytorch => super::pytorch::read_tensors(bytes),
                #[cfg(feature = "hdf5")]
                Format::Keras | Format::Hdf5 => Ok(super::keras::read_model(bytes)?.tensors),
                #[cfg(feature = "npz")]
                Format::Npz => super::npz::read_tensors(bytes),
                _ => unreachable!("`open` refuses {self:?} of {} bytes, whose feature is off", bytes.len()),
            },
            #[cfg(feature = "onnx")]
            Content::Model(model) => model.tensors(),
            #[cfg(feature = "hdf5")]
            Content::Shards(shards) => shards.tensors(),
            #[cfg(feature = "tensorflow")]
            Content::Checkpoint(checkpoint) => checkpoint.tensors(),
        }
    }

    /// The model, if this is one of ONNX.
    #[cfg(feature = "onnx")]
    #[must_use]
    pub fn onnx(&self) -> Option<&super::onnx::Model<'static>> {
        match &self.content {
            Content::Model(model) => Some(model),
            _ => None,
        }
    }

    /// The model, if this is a file of Keras: its tensors and the options of its layers.
    ///
    /// # Errors
    /// - [`Error::InvalidFile`] if it is of another format.
    /// - Those of [`keras::read_model`](super::keras::read_model).
    #[cfg(feature = "hdf5")]
    pub fn keras<E: Float>(&self) -> Result<super::keras::Model<'_, E>, Error> {
        match &self.content {
            Content::Bytes(bytes) if matches!(self.format, Format::Keras | Format::Hdf5) => {
                super::keras::read_model(bytes)
            }
            _ => Err(Error::InvalidFile { format: "Keras", reason: format!("it is {}", self.format) }),
        }
    }

    /// The recurrent layers: the nodes of an ONNX model, or those whose tensors' names [`layers`](super::layers) knows.
    /// Those of a Keras model have the options of its configuration.
    ///
    /// # Errors
    /// As [`tensors`](Self::tensors).
    pub fn layers(&self) -> Result<Vec<Layer>, Error> {
        match &self.content {
            #[cfg(feature = "hdf5")]
            Content::Bytes(_) if matches!(self.format, Format::Keras | Format::Hdf5) => {
                let model = self.keras::<f64>()?;
                Ok(model.recognized(super::layers(&model.tensors)))
            }
            #[cfg(feature = "onnx")]
            Content::Model(model) => model.nodes()?.iter().map(super::onnx::Node::layer).collect(),
            _ => Ok(super::layers(&self.tensors::<f64>()?)),
        }
    }
}
