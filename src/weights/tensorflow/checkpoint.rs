//! Checkpoints: a table of variables, the `.index` file, and their numbers in `.data-?????-of-?????` files.

use super::table;
use crate::error::quoted;
use crate::weights::stored::Stored;
use crate::weights::wire::{Fields, Value};
use crate::weights::{Tensors, file};
use crate::{Error, Float};
use std::path::{Path, PathBuf};

/// The files of a checkpoint, in memory.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    index: Vec<u8>,
    shards: Vec<Vec<u8>>,
}

impl Checkpoint {
    /// Reads the files of a checkpoint: `model.ckpt.index` and all `model.ckpt.data-?????-of-?????`, if `path` is
    /// `model.ckpt` or `model.ckpt.index`.
    ///
    /// ```no_run
    /// use rnn_cell::weights::tensorflow::{self, Checkpoint};
    ///
    /// let checkpoint = Checkpoint::open("model.ckpt")?;
    /// let mut tensors = checkpoint.tensors::<f32>()?;
    /// tensorflow::drop_training_variables(&mut tensors);
    /// let cell = tensorflow::lstm(&mut tensors, "rnn/lstm_cell/", &tensorflow::Options::default())?;
    /// # Ok::<(), rnn_cell::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::NotRegularFile`] if a path leads to something other than a file.
    /// - [`Error::Io`] if a file cannot be read, or does not fit in memory.
    /// - [`Error::InvalidFile`] if the index is not that of a checkpoint.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let mut index_path = path.as_ref().to_path_buf();
        if index_path.extension().is_none_or(|extension| extension != "index") {
            index_path.as_mut_os_string().push(".index");
        }
        let index = file::read(&index_path)?;
        Self::of_index(index_path, index)
    }

    /// Reads the data files beside an index that was read.
    pub(in crate::weights) fn of_index(path: PathBuf, index: Vec<u8>) -> Result<Self, Error> {
        let shards = read_header(&index)?;
        let stem = path.with_extension("");
        let shard = |shard: u64| {
            let mut path = stem.clone();
            path.as_mut_os_string().push(format!(".data-{shard:05}-of-{shards:05}"));
            file::read(&path)
        };
        Ok(Self { shards: (0..shards).map(shard).collect::<Result<_, _>>()?, index })
    }

    /// Lists the checkpoint's variables, as [`read_checkpoint`].
    ///
    /// # Errors
    /// [`Error::InvalidFile`], as [`read_checkpoint`].
    pub fn tensors<E: Float>(&self) -> Result<Tensors<'_, E>, Error> {
        let shards: Vec<&[u8]> = self.shards.iter().map(|shard| &**shard).collect();
        variables(&self.index, &shards)
    }
}

/// Lists the variables of a checkpoint from the bytes of its files, read or mapped: the `.index` file and the `.data` files
/// in their order. A variable is read, and its type checked, when it is taken. All checksums are checked here.
///
/// Reads the checkpoints of `tf.train.Saver` (TensorFlow 1) and `tf.train.Checkpoint` (TensorFlow 2). In the latter,
/// variables are named by attributes, `model/lstm/cell/kernel/.ATTRIBUTES/VARIABLE_VALUE`; names are without that ending,
/// and the graph of objects is left out. What optimizers keep is there too:
/// [`drop_training_variables`](super::drop_training_variables) drops it.
///
/// # Errors
/// [`Error::InvalidFile`] if
/// - the bytes are not such files, or damaged, or of the format of checkpoints before TensorFlow 0.12;
/// - there are more or fewer `.data` files than the index says;
/// - the numbers are big-endian, or a variable is partitioned;
/// - a variable claims numbers that are not there.
pub fn read_checkpoint<'a, E: Float>(index: &[u8], shards: &[&'a [u8]]) -> Result<Tensors<'a, E>, Error> {
    let count = read_header(index)?;
    if count != shards.len() as u64 {
        return Err(invalid(format!("it must have {count} data files, but has {}", shards.len())));
    }
    variables(index, shards)
}

/// The variables of an index, whose data files are as many as its header says.
fn variables<'a, E: Float>(index: &[u8], shards: &[&'a [u8]]) -> Result<Tensors<'a, E>, Error> {
    let mut tensors = Tensors::new();
    let mut read = |key: &[u8], value: &[u8]| {
        // Keys of a partitioned variable's parts begin with 0. The variable itself is an entry too, and refused.
        if key.first().is_none_or(|&first| first == 0) || key == b"_CHECKPOINTABLE_OBJECT_GRAPH" {
            return Ok(());
        }
        let name = std::str::from_utf8(key).map_err(|_| "a variable's name is not UTF-8")?;
        let described = |reason: String| format!("variable {}: {reason}", quoted(name));
        let stored = Entry::read(value).and_then(|entry| entry.stored(shards)).map_err(described)?;
        let name = name.strip_suffix("/.ATTRIBUTES/VARIABLE_VALUE").unwrap_or(name);
        if tensors.contains(name) {
            return Err(format!("two variables are named {}", quoted(name)));
        }
        tensors.insert_stored(name.into(), stored);
        Ok(())
    };
    table::entries(index, &mut read).map_err(invalid)?;
    Ok(tensors)
}

fn invalid(reason: impl Into<String>) -> Error {
    Error::InvalidFile { format: "TensorFlow checkpoint", reason: reason.into() }
}

/// The most data files: as many as their names can number.
const MAX_SHARDS: u64 = 99_999;

/// The number of data files, which the entry with an empty key says.
fn read_header(index: &[u8]) -> Result<u64, Error> {
    let mut found = None;
    let header = |key: &[u8], value: &[u8]| {
        if key.is_empty() {
            found = Some(header(value)?);
        }
        Ok(())
    };
    table::entries(index, header).map_err(invalid)?;
    found.ok_or_else(|| invalid("its index has no header"))
}

fn header(value: &[u8]) -> Result<u64, String> {
    let (mut shards, mut endianness) = (0, 0);
    let read = fields(value, |field, value| {
        match (field, value) {
            (1, Value::Varint(number)) => shards = number,
            (2, Value::Varint(number)) => endianness = number,
            (1 | 2, _) => return None,
            _ => {}
        }
        Some(())
    });
    match read {
        None => Err("its header is not that of a tensor bundle, the format since TensorFlow 0.12".into()),
        Some(()) if endianness != 0 => Err("its numbers are big-endian".into()),
        Some(()) if shards == 0 || shards > MAX_SHARDS => {
            Err(format!("it must have from 1 to {MAX_SHARDS} data files, but claims {shards}"))
        }
        Some(()) => Ok(shards),
    }
}

/// What the index says about a variable.
#[derive(Default)]
struct Entry {
    dtype: u64,
    shape: Vec<u64>,
    shard: u64,
    offset: u64,
    size: u64,
    crc32c: u32,
    is_partitioned: bool,
}

impl Entry {
    fn read(value: &[u8]) -> Result<Self, String> {
        let mut entry = Self::default();
        let read = fields(value, |field, value| {
            match (field, value) {
                (1, Value::Varint(number)) => entry.dtype = number,
                (2, Value::Bytes(shape)) => entry.shape = axes(shape)?,
                (3, Value::Varint(number)) => entry.shard = number,
                (4, Value::Varint(number)) => entry.offset = number,
                (5, Value::Varint(number)) => entry.size = number,
                (6, Value::Fixed32(number)) => entry.crc32c = u32::from_le_bytes(number),
                (7, _) => entry.is_partitioned = true,
                (1..=6, _) => return None,
                _ => {}
            }
            Some(())
        });
        read.map(|()| entry).ok_or_else(|| "its entry in the index cannot be read".into())
    }

    /// The numbers, checked to be there.
    fn stored<'a>(&self, shards: &[&'a [u8]]) -> Result<Stored<'a>, String> {
        if self.is_partitioned {
            return Err("it is partitioned: save it whole".into());
        }
        let shard = usize::try_from(self.shard).ok().and_then(|shard| shards.get(shard));
        let shard = shard.ok_or_else(|| format!("it is in data file {}, of {}", self.shard, shards.len()))?;
        let range = usize::try_from(self.offset).ok().zip(usize::try_from(self.size).ok());
        let bytes = range.and_then(|(start, size)| shard.get(start..start.checked_add(size)?)).ok_or_else(|| {
            let Self { offset, size, shard: number, .. } = self;
            format!("its {size} bytes from {offset} on are not in data file {number}, of {} bytes", shard.len())
        })?;
        let shape: Vec<usize> = self.shape.iter().map(|&axis| usize::try_from(axis).unwrap_or(usize::MAX)).collect();
        let Some((dtype, width)) = dtype(self.dtype) else {
            return Ok(Stored::new(format!("TensorFlow's type {}", self.dtype), shape, bytes));
        };
        if shape.iter().try_fold(width, |all, &axis| all.checked_mul(axis)) != Some(bytes.len()) {
            return Err(format!("{shape:?} of {dtype} does not take {} bytes", bytes.len()));
        }
        table::check(bytes, self.crc32c).map_err(|reason| format!("it is damaged: {reason}"))?;
        Ok(Stored::new(dtype, shape, bytes))
    }
}

/// The axes of a shape, as many as NumPy allows.
fn axes(shape: &[u8]) -> Option<Vec<u64>> {
    let mut axes = Vec::new();
    fields(shape, |field, value| {
        if let (2, Value::Bytes(axis)) = (field, value) {
            let mut size = 0;
            fields(axis, |field, value| {
                if let (1, Value::Varint(number)) = (field, value) {
                    size = number;
                }
                Some(())
            })?;
            axes.push(size);
        }
        (axes.len() <= 64).then_some(())
    })?;
    Some(axes)
}

/// Calls `visit` with each field of a message. `None` if the bytes are no message, or `visit` returns it.
fn fields<'a>(message: &'a [u8], mut visit: impl FnMut(u32, Value<'a>) -> Option<()>) -> Option<()> {
    for field in Fields::of(message) {
        let (number, value) = field.ok()?;
        visit(number, value)?;
    }
    Some(())
}

/// safetensors' name for a type, and bytes.
fn dtype(number: u64) -> Option<(&'static str, usize)> {
    Some(match number {
        1 => ("F32", 4),
        2 => ("F64", 8),
        3 => ("I32", 4),
        4 => ("U8", 1),
        5 => ("I16", 2),
        6 => ("I8", 1),
        9 => ("I64", 8),
        10 => ("BOOL", 1),
        14 => ("BF16", 2),
        17 => ("U16", 2),
        19 => ("F16", 2),
        22 => ("U32", 4),
        23 => ("U64", 8),
        _ => return None,
    })
}
