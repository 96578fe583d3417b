//! The classes and functions that a pickle of tensors may name, and what calling each makes.

use super::value::{Class, Node, Storage, Text, Value, View};

/// A type of numbers: the name of its storage's class, its own, and safetensors' name for it, with its bytes.
const TYPES: [(&str, &str, &str, usize); 13] = [
    ("DoubleStorage", "float64", "F64", 8),
    ("FloatStorage", "float32", "F32", 4),
    ("HalfStorage", "float16", "F16", 2),
    ("BFloat16Storage", "bfloat16", "BF16", 2),
    ("LongStorage", "int64", "I64", 8),
    ("IntStorage", "int32", "I32", 4),
    ("ShortStorage", "int16", "I16", 2),
    ("CharStorage", "int8", "I8", 1),
    ("ByteStorage", "uint8", "U8", 1),
    ("BoolStorage", "bool", "BOOL", 1),
    ("", "uint16", "U16", 2),
    ("", "uint32", "U32", 4),
    ("", "uint64", "U64", 8),
];

/// As many axes as NumPy and PyTorch allow.
const MAX_AXES: usize = 64;
/// The longest key of a storage, which PyTorch makes of a number.
const MAX_KEY: usize = 255;

/// What a call makes.
pub(super) enum Built {
    /// One of its arguments, or something to drop.
    Value(Value),
    Node(Node),
}

impl Node {
    /// How many values a call copied from its arguments to make this.
    pub(super) fn copied(&self) -> usize {
        match self {
            Self::Dict(items) => 2 * items.len(),
            Self::Tensor(view) => view.shape.len() + view.strides.len(),
            Self::List(_) | Self::Storage(_) => 0,
        }
    }
}

impl Class {
    /// `None` if it is not on the list.
    pub(super) fn named(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Self::Tensor,
            ("torch._utils", "_rebuild_tensor_v3") => Self::TypedTensor,
            ("torch._utils", "_rebuild_parameter") => Self::Parameter,
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch", "Size") => Self::Size,
            ("torch", "device") | ("collections", "Counter") | ("__builtin__" | "builtins", "set") => Self::Other,
            ("_codecs", "encode") => Self::Other,
            ("torch.storage", "UntypedStorage") => Self::UntypedStorage,
            ("torch", _) if !name.is_empty() => {
                let at = TYPES.iter().position(|row| row.0 == name || row.1 == name)?;
                if TYPES[at].0 == name { Self::Storage(at as u8) } else { Self::Dtype(at as u8) }
            }
            _ => return None,
        })
    }

    /// safetensors' name of a type and the bytes of a number, if this is one or a storage of one.
    pub(super) fn dtype(self) -> Option<(&'static str, usize)> {
        match self {
            Self::Storage(at) | Self::Dtype(at) => TYPES.get(usize::from(at)).map(|row| (row.2, row.3)),
            Self::UntypedStorage => Some(("U8", 1)),
            _ => None,
        }
    }

    /// What a call with these arguments makes.
    pub(super) fn call<'n>(
        self,
        arguments: &[Value],
        node: impl Fn(Value) -> Option<&'n Node>,
    ) -> Result<Built, String> {
        let list = |value| match node(value) {
            Some(Node::List(list)) => Ok(&list[..]),
            None if value == Value::Empty => Ok(&[][..]),
            _ => Err("a list was expected"),
        };
        let axes = |value| match list(value)? {
            all if all.len() > MAX_AXES => {
                Err(format!("a tensor has {} axes, but at most {MAX_AXES} are read", all.len()))
            }
            all => all.iter().copied().map(size).collect(),
        };
        Ok(match (self, arguments) {
            (Self::Tensor, [storage, offset, shape, strides, ..])
            | (Self::TypedTensor, [storage, offset, shape, strides, _, _, _, ..]) => {
                let Value::Node(index) = *storage else { return Err("a tensor has no storage".into()) };
                let dtype = match arguments {
                    [_, _, _, _, _, _, Value::Class(dtype), ..] if self == Self::TypedTensor => Some(*dtype),
                    _ if self == Self::TypedTensor => return Err("a tensor's type is none that is known".into()),
                    _ => None,
                };
                Built::Node(Node::Tensor(Box::new(View {
                    storage: index,
                    dtype,
                    offset: size(*offset)?,
                    shape: axes(*shape)?,
                    strides: axes(*strides)?,
                })))
            }
            (Self::Parameter, [tensor, ..]) => Built::Value(*tensor),
            (Self::OrderedDict, []) => Built::Node(Node::Dict(Vec::new())),
            // Python 2 passes pairs.
            (Self::OrderedDict, [pairs]) => {
                let pair = |value| match list(value)? {
                    [key, value] => Ok((*key, *value)),
                    _ => Err("a pair was expected"),
                };
                Built::Node(Node::Dict(list(*pairs)?.iter().copied().map(pair).collect::<Result<_, _>>()?))
            }
            (Self::Size, [sizes]) => Built::Value(*sizes),
            (Self::Other, _) => Built::Value(Value::Other),
            _ => return Err(format!("{self:?} cannot be made of {} arguments", arguments.len())),
        })
    }
}

/// The storage that a persistent id names: `('storage', class, key, device, length)`, and `None` in the old form, which
/// names the part of another storage there if it is one.
pub(super) fn storage<'b>(id: &[Value], text: impl Fn(Text) -> &'b str) -> Result<Storage, String> {
    let [Value::Text(kind), Value::Class(class), Value::Text(key), _device, len, part @ ..] = id else {
        return Err("only storages may be named outside the pickle, not whole modules".into());
    };
    if text(*kind) != "storage" || !matches!(class, Class::Storage(_) | Class::UntypedStorage) {
        return Err("only storages may be named outside the pickle".into());
    }
    if !matches!(part, [] | [Value::None]) {
        return Err("a storage must be whole, not a part of another as before PyTorch 0.4".into());
    }
    if key.len as usize > MAX_KEY {
        return Err(format!("a storage's key has {} letters, but at most {MAX_KEY} are read", key.len));
    }
    Ok(Storage { key: *key, class: *class, len: size(*len)? })
}

fn size(value: Value) -> Result<usize, String> {
    match value {
        Value::Int(number) => {
            usize::try_from(number).map_err(|_| format!("a size or an offset must not be negative, but is {number}"))
        }
        _ => Err("a size or an offset is not a whole number".into()),
    }
}
