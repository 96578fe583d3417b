//! NumPy's `.npz` files: named arrays, as `numpy.savez` and `savez_compressed` write them.
//!
//! ```python
//! numpy.savez("model.npz", kernel=kernel, bias=bias)
//! ```
//!
//! The names are the keywords, and the importer to use is that of the framework they come from.
//! [`Tensors::rename`] makes other names fit.
//!
//! ```no_run
//! use rnn_cell::weights::{keras, npz};
//!
//! let bytes = std::fs::read("model.npz").expect("the file can be read");
//! let mut tensors = npz::read_tensors::<f32>(&bytes)?;
//! let cell = keras::lstm(&mut tensors, "", &keras::Options::default())?;
//! # Ok::<(), rnn_cell::Error>(())
//! ```

use super::Tensors;
use super::archive::Archive;
use super::stored::Stored;
use crate::error::quoted;
use crate::{Error, Float};
use std::borrow::Cow;

/// As many axes as NumPy allows.
const MAX_AXES: usize = 64;

/// Lists the arrays in the bytes of a file, read or mapped. An array is read, and its type checked, when it is taken.
/// Arrays that are not compressed are not copied until then.
///
/// Both orders of axes (`fortran_order`) are read. Numbers must be little-endian.
///
/// # Errors
/// [`Error::InvalidFile`] if
/// - the bytes are not a zip archive of `.npy` files, or damaged;
/// - a header does not describe a plain array, or not as many bytes follow as it says;
/// - compressed arrays would take 1 MiB and more than 32 times the memory of the file.
pub fn read_tensors<E: Float>(bytes: &[u8]) -> Result<Tensors<'_, E>, Error> {
    let archive = Archive::read(bytes, FORMAT)?;
    let mut tensors = Tensors::new();
    for entry in archive.names() {
        let invalid =
            |reason: &str| Error::InvalidFile { format: FORMAT, reason: format!("{}: {reason}", quoted(entry)) };
        let name = entry.strip_suffix(".npy").ok_or_else(|| invalid("it is not an array, whose name ends in .npy"))?;
        let stored = array(archive.get(entry)?).map_err(|reason| invalid(&reason))?;
        tensors.insert_stored(name.into(), stored);
    }
    Ok(tensors)
}

const FORMAT: &str = "npz";

/// An array from the bytes of a `.npy` file: a magic number, a version, the length of a header, the header, the numbers.
fn array(bytes: Cow<'_, [u8]>) -> Result<Stored<'_>, String> {
    let start = bytes.strip_prefix(b"\x93NUMPY").ok_or("it does not begin as a .npy file")?;
    let cut = "it ends in its header";
    let (version, rest) = start.split_first_chunk::<2>().ok_or(cut)?;
    let (len, rest) = match version {
        [1, _] => rest.split_first_chunk().map(|(len, rest)| (u16::from_le_bytes(*len).into(), rest)),
        [2 | 3, _] => rest.split_first_chunk().map(|(len, rest)| (u32::from_le_bytes(*len) as usize, rest)),
        _ => return Err(format!("its version must be 1, 2 or 3, but is {}", version[0])),
    }
    .ok_or(cut)?;
    let (text, numbers) = rest.split_at_checked(len).ok_or(cut)?;
    let text = std::str::from_utf8(text).map_err(|_| "its header is not text")?;
    let Header { dtype, is_fortran, shape } =
        Header::read(text).ok_or_else(|| format!("its header {} does not describe a plain array", quoted(text)))?;
    let (dtype, width) = match TYPES.iter().find(|(numpy, ..)| *numpy == dtype) {
        Some((_, ours, width)) => (Cow::Borrowed(*ours), Some(*width)),
        None => (Cow::Owned(dtype), None),
    };
    let all = shape.iter().try_fold(1_usize, |all, &len| all.checked_mul(len));
    if let Some(width) = width
        && all.and_then(|all| all.checked_mul(width)) != Some(numbers.len())
    {
        return Err(format!("{shape:?} of {dtype} does not take {} bytes", numbers.len()));
    }
    let at = bytes.len() - numbers.len();
    let numbers = match bytes {
        Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[at..]),
        Cow::Owned(mut bytes) => {
            bytes.drain(..at);
            Cow::Owned(bytes)
        }
    };
    // The first axis is the fastest.
    let strides = shape.iter().scan(1_usize, |next, &len| Some(std::mem::replace(next, next.saturating_mul(len))));
    let strides: Vec<usize> = strides.collect();
    let stored = Stored::new(dtype, shape, numbers);
    Ok(if is_fortran && all != Some(0) { stored.strided(strides) } else { stored })
}

/// NumPy's types, safetensors' names for them, and bytes.
const TYPES: [(&str, &str, usize); 12] = [
    ("<f8", "F64", 8),
    ("<f4", "F32", 4),
    ("<f2", "F16", 2),
    ("<i8", "I64", 8),
    ("<i4", "I32", 4),
    ("<i2", "I16", 2),
    ("|i1", "I8", 1),
    ("<u8", "U64", 8),
    ("<u4", "U32", 4),
    ("<u2", "U16", 2),
    ("|u1", "U8", 1),
    ("|b1", "BOOL", 1),
];

/// What a header says: `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }` and spaces.
struct Header {
    dtype: String,
    is_fortran: bool,
    shape: Vec<usize>,
}

impl Header {
    fn read(text: &str) -> Option<Self> {
        let (mut dtype, mut is_fortran, mut shape) = (None, None, None);
        let mut rest = text.trim_end().strip_prefix('{')?.strip_suffix('}')?.trim();
        while !rest.is_empty() {
            let (key, value) = rest.split_once(':')?;
            let value = value.trim_start();
            // Where a value ends: a tuple at its bracket, others at a comma.
            let end =
                if value.starts_with('(') { value.find(')')? + 1 } else { value.find(',').unwrap_or(value.len()) };
            let (value, after) = value.split_at(end);
            match key.trim() {
                "'descr'" if dtype.is_none() => dtype = Some(value.strip_prefix('\'')?.strip_suffix('\'')?.to_owned()),
                "'fortran_order'" if is_fortran.is_none() => is_fortran = Some(value == "True"),
                "'shape'" if shape.is_none() => shape = Some(axes(value)?),
                _ => return None,
            }
            rest = after.strip_prefix(',').unwrap_or(after).trim();
        }
        Some(Self { dtype: dtype?, is_fortran: is_fortran?, shape: shape? })
    }
}

/// The axes of `()`, `(2,)` or `(2, 3)`. Python 2 wrote `2L`.
fn axes(tuple: &str) -> Option<Vec<usize>> {
    let inside = tuple.strip_prefix('(')?.strip_suffix(')')?.trim();
    let axes = inside.split_terminator(',').map(|axis| axis.trim().trim_end_matches('L').parse().ok());
    axes.collect::<Option<Vec<_>>>().filter(|axes| axes.len() <= MAX_AXES)
}
