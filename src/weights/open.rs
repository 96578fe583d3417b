//! One door: opens a weight file of any format that is read here, told from its bytes.

use super::{Layer, Tensors, file};
use crate::error::quoted;
use crate::{Error, Float};
use std::fmt;
use std::path::{Path, PathBuf};

/// The format of a weight file.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// A [safetensors](https://github.com/huggingface/safetensors) file.
    Safetensors,
    /// An ONNX model.
    Onnx,
    /// A file of PyTorch's `torch.save`.
    Pytorch,
    /// A Keras 3 archive, `.keras`.
    Keras,
    /// An HDF5 file, such as Keras's `.h5` and `.weights.h5`.
    Hdf5,
    /// Keras 3's list of the shards beside it, `.weights.json`.
    KerasShards,
    /// NumPy's arrays by name, `.npz`.
    Npz,
    /// The index of a TensorFlow checkpoint, `.index`, whose data files are beside it.
    TensorFlow,
}

/// A format as a table has it: its name in messages, the feature that reads it, and how its bytes are told.
type Row = (Format, &'static str, &'static str, fn(&[u8]) -> bool);

/// The first that fits counts: an archive of PyTorch may hold more than its own files.
const FORMATS: [Row; 8] = [
    (Format::Hdf5, "an HDF5 file", "hdf5", |bytes| bytes.starts_with(b"\x89HDF\r\n\x1a\n")),
    (Format::Keras, "a Keras archive", "hdf5", |bytes| zip_has(bytes, "model.weights.h5")),
    (Format::KerasShards, "a list of Keras shards", "hdf5", is_keras_list),
    (Format::Pytorch, "a PyTorch file", "pytorch", |bytes| {
        // Before archives, it began with a pickled number of ten bytes.
        zip_has(bytes, "data.pkl") || bytes.starts_with(b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19")
    }),
    (Format::Npz, "a NumPy archive", "npz", |bytes| zip_has(bytes, ".npy")),
    (Format::TensorFlow, "a TensorFlow checkpoint", "tensorflow", |bytes| {
        bytes.ends_with(&0xdb47_7524_8b80_fb57_u64.to_le_bytes())
    }),
    (Format::Safetensors, "a safetensors file", "safetensors", is_safetensors),
    // Protocol Buffers have no magic number. A model begins with its version, a small number, and a field of bytes.
    (Format::Onnx, "an ONNX model", "onnx", |bytes| {
        matches!(bytes, [0x08, 1..=63, 0x12 | 0x1a | 0x22 | 0x32 | 0x3a | 0x42, ..])
    }),
];

impl Format {
    /// Tells a file's format from its bytes. `None` if it is none of these.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        FORMATS.iter().find(|(.., fits)| fits(bytes)).map(|(format, ..)| *format)
    }

    /// Whether it is read here, from its bytes alone.
    fn is_of_bytes(self) -> bool {
        match self {
            Self::Safetensors => cfg!(feature = "safetensors"),
            Self::Pytorch => cfg!(feature = "pytorch"),
            Self::Keras | Self::Hdf5 => cfg!(feature = "hdf5"),
            Self::Npz => cfg!(feature = "npz"),
            Self::Onnx | Self::KerasShards | Self::TensorFlow => false,
        }
    }

    fn row(self) -> &'static Row {
        FORMATS.iter().find(|(format, ..)| *format == self).expect("the table has every format")
    }
}

/// The format with an article, as a sentence has it.
impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().1)
    }
}

/// Whether these may be safetensors: a length that fits, and JSON.
fn is_safetensors(bytes: &[u8]) -> bool {
    let Some((len, rest)) = bytes.split_first_chunk() else { return false };
    rest.starts_with(b"{") && usize::try_from(u64::from_le_bytes(*len)).is_ok_and(|len| len <= rest.len())
}

/// Whether this may be a list of Keras's shards: JSON that maps weights to files. Other lists have other endings.
fn is_keras_list(bytes: &[u8]) -> bool {
    let has = |part: &[u8]| bytes.windows(part.len()).any(|found| found == part);
    bytes.starts_with(b"{") && has(b"\"weight_map\"") && has(b".weights.h5\"")
}

/// Whether a zip archive has a file whose name ends so.
fn zip_has(bytes: &[u8], end: &str) -> bool {
    const ENTRY: usize = 46;
    if !bytes.starts_with(b"PK\x03\x04") {
        return false;
    }
    let Some(mut at) = zip_list(bytes) else { return false };
    while let Some(entry) = bytes.get(at..at.saturating_add(ENTRY)).filter(|entry| entry.starts_with(b"PK\x01\x02")) {
        let [name, extra, comment] = [28, 30, 32].map(|at| usize::from(u16::from_le_bytes([entry[at], entry[at + 1]])));
        if bytes.get(at + ENTRY..at + ENTRY + name).is_some_and(|name| name.ends_with(end.as_bytes())) {
            return true;
        }
        at += ENTRY + name + extra + comment;
    }
    false
}

/// Where a zip archive lists its files. Its last record says so, which ends in a comment of any length. Of an archive
/// beyond 4 GB, another record does, whose place is in front of the last one.
fn zip_list(bytes: &[u8]) -> Option<usize> {
    const RECORD: usize = 22;
    const LONGEST: usize = RECORD + 0xffff;
    let from = bytes.len().saturating_sub(LONGEST);
    let last = from + bytes[from..].windows(4).rposition(|window| window == b"PK\x05\x06")?;
    let number = |at: usize| bytes.get(at..)?.first_chunk().map(|eight| u64::from_le_bytes(*eight));
    let short = bytes.get(last + 16..)?.first_chunk().map(|four| u32::from_le_bytes(*four))?;
    if short != u32::MAX {
        return usize::try_from(short).ok();
    }
    let record = usize::try_from(number(last.checked_sub(20)? + 8)?).ok()?;
    usize::try_from(number(record.checked_add(48)?)?).ok()
}

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
        let known: Vec<&str> = FORMATS.iter().map(|(_, name, ..)| *name).collect();
        let (start, known) = (&bytes[..bytes.len().min(8)], known.join(", "));
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
    let (_, name, feature, _) = *format.row();
    Err(Error::FeatureOff { path: path.display().to_string(), format: name, feature })
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
