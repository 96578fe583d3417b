//! The formats of weight files, told from their bytes.

use std::fmt;

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
    (Format::Pytorch, "a PyTorch file", "pytorch", |bytes| zip_has(bytes, "data.pkl") || is_old_pytorch(bytes)),
    (Format::Npz, "a NumPy archive", "npz", |bytes| zip_has(bytes, ".npy")),
    (Format::TensorFlow, "a TensorFlow checkpoint", "tensorflow", |bytes| {
        bytes.ends_with(&0xdb47_7524_8b80_fb57_u64.to_le_bytes())
    }),
    (Format::Safetensors, "a safetensors file", "safetensors", is_safetensors),
    (Format::Onnx, "an ONNX model", "onnx", is_onnx),
];

impl Format {
    /// Tells a file's format from its bytes. `None` if it is none of these.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        FORMATS.iter().find(|(.., fits)| fits(bytes)).map(|(format, ..)| *format)
    }

    /// Whether it is read here, from its bytes alone.
    pub(super) fn is_of_bytes(self) -> bool {
        match self {
            Self::Safetensors => cfg!(feature = "safetensors"),
            Self::Pytorch => cfg!(feature = "pytorch"),
            Self::Keras | Self::Hdf5 => cfg!(feature = "hdf5"),
            Self::Npz => cfg!(feature = "npz"),
            Self::Onnx | Self::KerasShards | Self::TensorFlow => false,
        }
    }

    /// With its article.
    pub(super) fn name(self) -> &'static str {
        self.row().1
    }

    /// The feature that reads it.
    pub(super) fn feature(self) -> &'static str {
        self.row().2
    }

    /// All of them, as a message lists them.
    pub(super) fn list() -> String {
        FORMATS.map(|(_, name, ..)| name).join(", ")
    }

    fn row(self) -> &'static Row {
        FORMATS.iter().find(|(format, ..)| *format == self).expect("the table has every format")
    }
}

/// The format with an article, as a sentence has it.
impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether this is a file of PyTorch from before its archives: it began with a pickled number of ten bytes. Since
/// protocol 4, a frame of a length in eight bytes surrounds it.
fn is_old_pytorch(bytes: &[u8]) -> bool {
    let number = match bytes {
        [0x80, 2 | 3, number @ ..] => number,
        [0x80, 4 | 5, 0x95, _, _, _, _, _, _, _, _, number @ ..] => number,
        _ => return false,
    };
    number.starts_with(b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19")
}

/// Whether this may be an ONNX model. Protocol Buffers have no magic number. A model begins with the version of the
/// format, a small number, and a field of bytes. Without a producer, the model's own version may be in front of a text
/// or the graph: it has at most ten bytes, of which only the last is below 128.
fn is_onnx(bytes: &[u8]) -> bool {
    match bytes {
        [0x08, 1..=63, 0x12 | 0x1a | 0x22 | 0x32 | 0x3a | 0x42, ..] => true,
        [0x08, 1..=63, 0x28, rest @ ..] => {
            let last = rest.iter().take(10).position(|&byte| byte < 0x80);
            last.is_some_and(|last| matches!(rest.get(last + 1), Some(0x32 | 0x3a)))
        }
        _ => false,
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
