//! What a pickle is made of.

/// A value of the machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    None,
    True,
    Int(i64),
    Text(Text),
    Class(Class),
    Node(u32),
    /// `()`, which is too frequent to be a node.
    Empty,
    /// Begins the items of a list, as the machine's `MARK` does.
    Mark,
    /// What no tensor depends on.
    Other,
}

/// Where the letters of a text are in the pickle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Text {
    pub start: u32,
    pub len: u32,
}

impl Text {
    /// The letters, which were checked when the text was read.
    pub(super) fn letters(self, pickle: &[u8]) -> &str {
        let (start, len) = (self.start as usize, self.len as usize);
        std::str::from_utf8(&pickle[start..start + len]).expect("only UTF-8 becomes a text")
    }
}

/// A value with parts. Its parts are indices, so that a cycle is no danger until someone follows it.
#[derive(Debug)]
pub(super) enum Node {
    /// A list, a tuple or a set.
    List(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    Storage(Storage),
    Tensor(Box<View>),
}

/// The node that a value stands for, if it is one.
pub(super) fn node(nodes: &[Node], value: Value) -> Option<&Node> {
    match value {
        Value::Node(index) => nodes.get(index as usize),
        _ => None,
    }
}

/// Numbers in a file, by the name of their record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Storage {
    pub key: Text,
    pub class: Class,
    pub len: usize,
}

/// A tensor: some of the numbers of a storage.
#[derive(Debug)]
pub(super) struct View {
    pub storage: u32,
    /// A type's class, if it is not that of the storage.
    pub dtype: Option<Class>,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

/// A class or a function.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Class {
    /// `torch.FloatStorage`, …: a position in the list of types.
    Storage(u8),
    /// Bytes without a type.
    UntypedStorage,
    /// `torch.float32`, …: a position in the list of types.
    Dtype(u8),
    OrderedDict,
    /// `_rebuild_tensor`, `_rebuild_tensor_v2`: a storage, an offset, a shape, strides, what no weight depends on.
    Tensor,
    /// `_rebuild_tensor_v3`: the same, and a type.
    TypedTensor,
    /// `_rebuild_parameter`: a tensor that is trained.
    Parameter,
    /// A tuple, `torch.Size`.
    Size,
    /// What may be beside tensors, and is dropped.
    Other,
}

impl View {
    /// The position after its last number, and how many it has; `None` if they are more than memory has addresses for.
    pub(super) fn range(&self) -> Option<(usize, usize)> {
        let Self { offset, shape, strides, .. } = self;
        if shape.len() != strides.len() {
            return None;
        }
        if shape.contains(&0) {
            return Some((0, 0));
        }
        let (mut last, mut len) = (*offset, 1_usize);
        for (&axis, &stride) in shape.iter().zip(strides) {
            last = last.checked_add(stride.checked_mul(axis - 1)?)?;
            len = len.checked_mul(axis)?;
        }
        Some((last.checked_add(1)?, len))
    }

    /// The strides of axes longer than 1. The others' are never used, and may be anything.
    pub(super) fn used_strides(&self) -> Vec<usize> {
        self.shape.iter().zip(&self.strides).map(|(&axis, &stride)| if axis > 1 { stride } else { 1 }).collect()
    }

    /// Whether the last axis is the fastest, and no number is left out.
    pub(super) fn is_contiguous(&self) -> bool {
        let mut next = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(&axis, &stride)| {
            let fits = axis == 1 || stride == next;
            next *= axis;
            fits
        })
    }
}
