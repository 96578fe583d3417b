//! The header of a safetensors file.
//!
//! ```text
//! 8 bytes  length of the header, little endian
//! header   {"__metadata__": {"key": "value", …}, "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, …}
//! data     numbers of all tensors, with no bytes between or after them
//! ```
//!
//! It is read here because the library's reader takes up to about sixty times the header's length in memory, and does
//! not say which tensor is wrong. Here only what is listed is allocated, name by name.

use crate::Error;
use crate::error::quoted;
use crate::weights::stored::width;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

pub(super) fn invalid(reason: String) -> Error {
    Error::InvalidFile { format: "safetensors", reason }
}

/// The key in a header that is not a tensor.
const METADATA: &str = "__metadata__";

/// What a file says about its tensors, checked against its bytes.
pub(super) struct Header<'a> {
    pub tensors: BTreeMap<String, Info<'a>>,
    pub metadata: BTreeMap<String, String>,
    pub data: &'a [u8],
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Info<'a> {
    #[serde(borrow)]
    pub dtype: Cow<'a, str>,
    pub shape: Shape,
    /// Where its numbers begin and end in the data.
    #[serde(rename = "data_offsets")]
    pub offsets: [usize; 2],
}

impl<'a> Header<'a> {
    /// # Errors
    /// [`Error::InvalidFile`].
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        Self::parse(bytes).map_err(invalid)
    }

    fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let (len, rest) = bytes
            .split_first_chunk()
            .ok_or_else(|| format!("it must have at least 8 bytes, but has {}", bytes.len()))?;
        let len = u64::from_le_bytes(*len);
        let split = usize::try_from(len).ok().and_then(|len| rest.split_at_checked(len));
        let (text, data) = split.ok_or_else(|| format!("its header must have {len} bytes, but has {}", rest.len()))?;
        let List { tensors, metadata } =
            serde_json::from_slice(text).map_err(|error| format!("its header cannot be read: {error}"))?;
        let header = Self { tensors, metadata: metadata.map_or_else(BTreeMap::new, |Metadata(map)| map), data };
        for (name, info) in &header.tensors {
            info.check(data.len()).map_err(|reason| format!("tensor {}: {reason}", quoted(name)))?;
        }
        header.check_order().map(|()| header)
    }

    /// `Err` unless each tensor begins where the one before it ends, and the last one ends with the file.
    fn check_order(&self) -> Result<(), String> {
        let mut tensors: Vec<(&str, [usize; 2])> = self.tensors.iter().map(|(name, i)| (&**name, i.offsets)).collect();
        tensors.sort_by_key(|(_, offsets)| *offsets);
        let mut at = 0;
        for (name, [start, end]) in tensors {
            if start != at {
                return Err(format!(
                    "tensor {} must begin at byte {at} of the data, but begins at {start}",
                    quoted(name)
                ));
            }
            at = end;
        }
        let len = self.data.len();
        if at == len { Ok(()) } else { Err(format!("its tensors end at byte {at} of the data, which has {len} bytes")) }
    }
}

impl Info<'_> {
    /// `Err` unless the tensor lies in `len` bytes of data and is as long as its shape says, if its type is read here.
    fn check(&self, len: usize) -> Result<(), String> {
        let Self { dtype, shape: Shape(shape), offsets: [start, end] } = self;
        if start > end || *end > len {
            return Err(format!("data_offsets must lie in {len} bytes of data, but are [{start}, {end}]"));
        }
        let Some(width) = width(dtype) else { return Ok(()) };
        let bytes = shape.iter().try_fold(1_usize, |all, len| all.checked_mul(*len)).and_then(|n| n.checked_mul(width));
        match bytes {
            Some(bytes) if bytes == end - start => Ok(()),
            Some(bytes) => {
                Err(format!("{shape:?} of {dtype} takes {bytes} bytes, but data_offsets are [{start}, {end}]"))
            }
            None => Err(format!("{shape:?} of {dtype} takes more bytes than memory has addresses for")),
        }
    }
}

/// A tensor to be written.
pub(super) struct Described<'a> {
    pub name: &'a str,
    pub dtype: &'static str,
    pub shape: Vec<usize>,
}

/// The beginning of a file with these tensors, in the order of their names: its header's length and its header.
///
/// # Errors
/// [`Error::InvalidFile`] if the header is longer than the format allows, or a tensor is named like the metadata.
pub(super) fn beginning<'a>(tensors: impl Iterator<Item = Described<'a>>) -> Result<Vec<u8>, Error> {
    /// The format's library refuses longer headers.
    const MAX_BYTES: usize = 100_000_000;
    let mut start = 0;
    let infos: BTreeMap<&str, Info> = tensors
        .map(|Described { name, dtype, shape }| {
            let bytes = width(dtype).expect("only known types are written") * shape.iter().product::<usize>();
            let offsets = [start, start + bytes];
            start = offsets[1];
            (name, Info { dtype: dtype.into(), shape: Shape(shape), offsets })
        })
        .collect();
    if infos.contains_key(METADATA) {
        return Err(invalid(format!("no tensor may be named {METADATA}")));
    }
    let mut header = serde_json::to_vec(&infos).expect("names and numbers are JSON");
    // Data begins at a multiple of 8.
    header.resize(header.len().next_multiple_of(8), b' ');
    if header.len() > MAX_BYTES {
        let reason = format!("its header would have {} bytes, but at most {MAX_BYTES} are allowed", header.len());
        return Err(invalid(reason));
    }
    Ok([&(header.len() as u64).to_le_bytes(), &header[..]].concat())
}

/// The header's JSON. No name may appear twice, which serde's own maps would allow.
struct List<'a> {
    tensors: BTreeMap<String, Info<'a>>,
    metadata: Option<Metadata>,
}

impl<'de> Deserialize<'de> for List<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = List<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "tensors by name")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<List<'de>, A::Error> {
                let mut list = List { tensors: BTreeMap::new(), metadata: None };
                while let Some(name) = map.next_key::<String>()? {
                    let shown = quoted(&name);
                    let twice = if name == METADATA {
                        list.metadata.replace(map.next_value()?).is_some()
                    } else {
                        let info = map.next_value();
                        let info = info.map_err(|error| A::Error::custom(format_args!("tensor {shown}: {error}")))?;
                        list.tensors.insert(name, info).is_some()
                    };
                    if twice {
                        return Err(A::Error::custom(format_args!("{shown} appears twice")));
                    }
                }
                Ok(list)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// Strings by name.
struct Metadata(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Strings;
        impl<'de> Visitor<'de> for Strings {
            type Value = Metadata;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "strings by name")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
                let mut strings = BTreeMap::new();
                while let Some(name) = map.next_key::<String>()? {
                    let shown = quoted(&name);
                    if strings.insert(name, map.next_value()?).is_some() {
                        return Err(A::Error::custom(format_args!("{METADATA}: {shown} appears twice")));
                    }
                }
                Ok(Metadata(strings))
            }
        }
        deserializer.deserialize_map(Strings)
    }
}

/// The axes of a tensor. A list of unlimited length would take more memory than its text.
#[derive(Serialize)]
pub(super) struct Shape(pub Vec<usize>);

/// The most axes a tensor may have: as many as in NumPy and PyTorch.
const MAX_AXES: usize = 64;

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Axes;
        impl<'de> Visitor<'de> for Axes {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX_AXES} axes")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Shape, A::Error> {
                let mut axes = Vec::new();
                while let Some(axis) = list.next_element()? {
                    if axes.len() == MAX_AXES {
                        return Err(A::Error::invalid_length(MAX_AXES + 1, &self));
                    }
                    axes.push(axis);
                }
                Ok(Shape(axes))
            }
        }
        deserializer.deserialize_seq(Axes)
    }
}
