//! The operators that weights are followed through, on the bytes of constants.

mod axes;
mod inputs;
mod numbers;

use crate::weights::stored::Stored;
use axes::{concat, reshape, slice, squeeze, transpose, unsqueeze};
use inputs::{Inputs, take};
use numbers::{cast, constant, dequantize};

pub(super) use inputs::{Attributes, Failure};

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
