//! A tensor of the file: where its numbers are, and of what type.

use super::wire::{Message, invalid};
use crate::Error;
use crate::error::quoted;
use crate::weights::stored::{Stored, width};
use std::borrow::Cow;
use std::collections::BTreeMap;

// Numbers of the fields that are read, from onnx.proto.
pub(super) const DIMS: u32 = 1;
pub(super) const DATA_TYPE: u32 = 2;
const FLOAT_DATA: u32 = 4;
const INT32_DATA: u32 = 5;
const INT64_DATA: u32 = 7;
pub(super) const RAW_DATA: u32 = 9;
const DOUBLE_DATA: u32 = 10;
const UINT64_DATA: u32 = 11;
const EXTERNAL_DATA: u32 = 13;
const DATA_LOCATION: u32 = 14;
const ENTRY_KEY: u32 = 1;
const ENTRY_VALUE: u32 = 2;

/// The most axes a tensor may have: as many as in NumPy and PyTorch.
pub(super) const MAX_AXES: usize = 64;

/// Files beside the model that hold its numbers, by the name the model gives them.
pub(super) type Externals = BTreeMap<String, Vec<u8>>;

/// ONNX's types and their names here. The others are refused by name.
const TYPES: [&str; 26] = [
    "UNDEFINED",
    "F32",
    "U8",
    "I8",
    "U16",
    "I16",
    "I32",
    "I64",
    "STRING",
    "BOOL",
    "F16",
    "F64",
    "U32",
    "U64",
    "COMPLEX64",
    "COMPLEX128",
    "BF16",
    "FLOAT8E4M3FN",
    "FLOAT8E4M3FNUZ",
    "FLOAT8E5M2",
    "FLOAT8E5M2FNUZ",
    "UINT4",
    "INT4",
    "FLOAT4E2M1",
    "FLOAT8E8M0",
    "UINT2",
];

/// The name of a type by its number.
pub(super) fn dtype(number: i64) -> &'static str {
    usize::try_from(number).ok().and_then(|number| TYPES.get(number)).copied().unwrap_or("of a type that ONNX lacks")
}

/// The shape and type of a tensor, without its numbers.
pub(super) fn described<'a>(tensor: Message<'a>, name: &str) -> Result<(Vec<usize>, &'static str), Error> {
    let mut shape = Vec::new();
    let mut axes = 0;
    let mut negative = None;
    tensor.integers(DIMS, |len| {
        axes += 1;
        match usize::try_from(len) {
            Ok(len) if axes <= MAX_AXES => shape.push(len),
            Ok(_) => {}
            Err(_) => negative = Some(len),
        }
    })?;
    if let Some(len) = negative {
        return Err(invalid(format!("tensor {} has an axis of length {len}", quoted(name))));
    }
    if axes > MAX_AXES {
        return Err(invalid(format!("tensor {} has {axes} axes, but may have {MAX_AXES}", quoted(name))));
    }
    Ok((shape, dtype(tensor.integer(DATA_TYPE)?)))
}

/// The external file that holds a tensor's numbers, if one does.
pub(super) fn location<'a>(tensor: Message<'a>) -> Result<Option<&'a str>, Error> {
    if tensor.integer(DATA_LOCATION)? == 0 { Ok(None) } else { Ok(Some(entry(tensor, "location")?.unwrap_or(""))) }
}

fn entry<'a>(tensor: Message<'a>, key: &str) -> Result<Option<&'a str>, Error> {
    for entry in tensor.messages(EXTERNAL_DATA) {
        let entry = entry?;
        if entry.text(ENTRY_KEY)? == key {
            return entry.text(ENTRY_VALUE).map(Some);
        }
    }
    Ok(None)
}

/// A tensor whose bytes are as many as its shape says. They are borrowed where the file has them in one piece.
pub(super) fn stored<'a>(tensor: Message<'a>, name: &str, externals: &'a Externals) -> Result<Stored<'a>, Error> {
    let (shape, dtype) = described(tensor, name)?;
    let Some(width) = width(dtype) else {
        let expected = "a float of 16 bits or more, an integer of 8 bits or more, or BOOL";
        return Err(Error::TensorDtype { name: name.into(), expected, found: dtype.into() });
    };
    let count = shape.iter().try_fold(1_usize, |all, &len| all.checked_mul(len));
    let len = count.and_then(|count| count.checked_mul(width));
    let Some((count, len)) = count.zip(len) else {
        let reason = format!("tensor {}: {shape:?} takes more bytes than memory has addresses for", quoted(name));
        return Err(invalid(reason));
    };
    let bytes = if let Some(location) = location(tensor)? {
        Cow::Borrowed(external(tensor, name, len, externals.get(location).ok_or_else(|| not_there(name, location))?)?)
    } else if let Some(raw) = tensor.bytes(RAW_DATA)? {
        Cow::Borrowed(raw)
    } else {
        listed(tensor, dtype, width, count)?
    };
    if bytes.len() != len {
        let found = bytes.len();
        return Err(invalid(format!(
            "tensor {}: {shape:?} of {dtype} takes {len} bytes, but has {found}",
            quoted(name)
        )));
    }
    Ok(Stored::new(dtype, shape, bytes))
}

fn not_there(name: &str, location: &str) -> Error {
    let reason = format!(
        "the numbers of tensor {} are in the file {}, which only `Model::open` reads",
        quoted(name),
        quoted(location)
    );
    invalid(reason)
}

/// The tensor's part of a file beside the model.
fn external<'a>(tensor: Message<'a>, name: &str, len: usize, file: &'a [u8]) -> Result<&'a [u8], Error> {
    let number = |key| -> Result<Option<usize>, Error> {
        let Some(text) = entry(tensor, key)? else { return Ok(None) };
        let read = text.parse().map(Some);
        read.map_err(|_| invalid(format!("tensor {}: {key} is {}, but must be a number", quoted(name), quoted(text))))
    };
    let start = number("offset")?.unwrap_or(0);
    let len = number("length")?.unwrap_or(len);
    let end = start.checked_add(len);
    end.and_then(|end| file.get(start..end)).ok_or_else(|| {
        let found = file.len();
        invalid(format!("tensor {} is {len} bytes from byte {start} of a file that has {found}", quoted(name)))
    })
}

/// The numbers of a tensor that lists them in a field of their type.
fn listed<'a>(tensor: Message<'a>, dtype: &str, width: usize, count: usize) -> Result<Cow<'a, [u8]>, Error> {
    let field = match dtype {
        "F32" => return stretches::<4>(tensor, FLOAT_DATA),
        "F64" => return stretches::<8>(tensor, DOUBLE_DATA),
        "I64" => INT64_DATA,
        "U64" | "U32" => UINT64_DATA,
        _ => INT32_DATA,
    };
    // Counted first: a file may claim any shape.
    let mut found = 0_usize;
    tensor.integers(field, |_| found += 1)?;
    let mut bytes = Vec::with_capacity(width * if found == count { count } else { 0 });
    if found == count {
        tensor.integers(field, |number| bytes.extend(&number.to_le_bytes()[..width]))?;
    }
    Ok(bytes.into())
}

/// A list of floats. Their bytes are those in memory, and mostly in one piece.
fn stretches<'a, const N: usize>(tensor: Message<'a>, field: u32) -> Result<Cow<'a, [u8]>, Error> {
    let mut pieces = 0;
    let mut len = 0;
    tensor.numbers::<N>(field, |piece| {
        pieces += 1;
        len += piece.len();
    })?;
    if pieces == 1
        && let Ok(Some(bytes)) = tensor.bytes(field)
    {
        return Ok(bytes.into());
    }
    let mut bytes = Vec::with_capacity(len);
    tensor.numbers::<N>(field, |piece| bytes.extend_from_slice(piece))?;
    Ok(bytes.into())
}
