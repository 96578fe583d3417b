//! What an operator is given: constants and attributes.

use crate::Error;
use crate::weights::onnx::tensor::Externals;
use crate::weights::onnx::wire::Message;
use crate::weights::stored::Stored;

// Numbers of an attribute's fields, from onnx.proto.
pub(super) const FLOAT: u32 = 2;
const INT: u32 = 3;
pub(super) const TENSOR: u32 = 5;
pub(super) const FLOATS: u32 = 7;
const INTS: u32 = 8;

/// Why an operator makes no constant.
pub(in crate::weights::onnx) enum Failure {
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
pub(in crate::weights::onnx) struct Attributes<'s, 'a> {
    pub attribute: &'s dyn Fn(&str) -> Result<Option<Message<'a>>, Error>,
    pub externals: &'a Externals,
}

impl<'a> Attributes<'_, 'a> {
    pub(super) fn get(&self, name: &str) -> Result<Option<Message<'a>>, Error> {
        (self.attribute)(name)
    }

    pub(super) fn integer(&self, name: &str) -> Result<Option<i64>, Error> {
        self.get(name)?.map(|attribute| attribute.integer(INT)).transpose()
    }

    pub(super) fn integers(&self, name: &str) -> Result<Option<Vec<i64>>, Error> {
        let Some(attribute) = self.get(name)? else { return Ok(None) };
        let mut list = Vec::new();
        attribute.integers(INTS, |number| list.push(number))?;
        Ok(Some(list))
    }
}

pub(super) type Inputs<'a> = Vec<Option<Stored<'a>>>;

/// The first input, which must be there, and the others.
pub(super) fn take<'a, const N: usize>(inputs: Inputs<'a>) -> Result<(Stored<'a>, [Option<Stored<'a>>; N]), Failure> {
    let mut inputs = inputs.into_iter();
    let first = inputs.next().flatten().ok_or("has no input")?;
    Ok((first, std::array::from_fn(|_| inputs.next().flatten())))
}
