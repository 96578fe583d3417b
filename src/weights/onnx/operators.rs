//! The operators that weights are followed through, on the bytes of constants.

mod axes;
mod numbers;

use super::tensor::Externals;
use super::wire::Message;
use crate::Error;
use crate::weights::stored::Stored;
use axes::{concat, reshape, slice, squeeze, transpose, unsqueeze};
use numbers::{cast, constant, dequantize};

// Numbers of an attribute's fields, from onnx.proto.
const FLOAT: u32 = 2;
const INT: u32 = 3;
const TENSOR: u32 = 5;
const FLOATS: u32 = 7;
const INTS: u32 = 8;

/// Why an operator makes no constant.
pub(super) enum Failure {
    /// The file is broken.
    Broken(Error),
    /// It does what is not followed, as "has …".
    Refused(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Self::Refused(reason)
    }
}

impl From<&str> for Failure {
    fn from(reason: &str) -> Self {
        Self::Refused(reason.into())
    }
}

/// The attributes of an operator.
pub(super) struct Attributes<'s, 'a> {
    pub attribute: &'s dyn Fn(&str) -> Result<Option<Message<'a>>, Error>,
    pub externals: &'a Externals,
}

impl<'a> Attributes<'_, 'a> {
    fn get(&self, name: &str) -> Result<Option<Message<'a>>, Error> {
        (self.attribute)(name)
    }

    fn integer(&self, name: &str) -> Result<Option<i64>, Error> {
        self.get(name)?.map(|attribute| attribute.integer(INT)).transpose()
    }

    fn integers(&self, name: &str) -> Result<Option<Vec<i64>>, Error> {
        let Some(attribute) = self.get(name)? else { return Ok(None) };
        let mut list = Vec::new();
        attribute.integers(INTS, |number| list.push(number))?;
        Ok(Some(list))
    }
}

type Inputs<'a> = Vec<Option<Stored<'a>>>;

/// An operator.
pub(super) struct Operator {
    name: &'static str,
    /// More inputs than these have no meaning.
    pub max_inputs: usize,
    pub run: for<'s, 'a> fn(Inputs<'a>, &Attributes<'s, 'a>) -> Result<Stored<'a>, Failure>,
}

const OPERATORS: [Operator; 10] = [
    Operator { name: "Constant", max_inputs: 0, run: constant },
    Operator { name: "Identity", max_inputs: 1, run: |inputs, _| Ok(take::<1>(inputs)?.0) },
    Operator { name: "Transpose", max_inputs: 1, run: transpose },
    Operator { name: "Cast", max_inputs: 1, run: cast },
    Operator { name: "DequantizeLinear", max_inputs: 3, run: dequantize },
    Operator { name: "Unsqueeze", max_inputs: 2, run: unsqueeze },
    Operator { name: "Squeeze", max_inputs: 2, run: squeeze },
    Operator { name: "Reshape", max_inputs: 2, run: reshape },
    Operator { name: "Slice", max_inputs: 5, run: slice },
    Operator { name: "Concat", max_inputs: usize::MAX, run: concat },
];

/// The names of all operators, in words.
pub(super) const NAMES: &str =
    "Constant, Identity, Transpose, Cast, DequantizeLinear, Unsqueeze, Squeeze, Reshape, Slice and Concat";

/// The operator of this name.
pub(super) fn find(name: &str) -> Option<&'static Operator> {
    OPERATORS.iter().find(|operator| operator.name == name)
}

/// The first input, which must be there, and the others.
fn take<'a, const N: usize>(inputs: Inputs<'a>) -> Result<(Stored<'a>, [Option<Stored<'a>>; N]), Failure> {
    let mut inputs = inputs.into_iter();
    let first = inputs.next().flatten().ok_or("has no input")?;
    Ok((first, std::array::from_fn(|_| inputs.next().flatten())))
}
