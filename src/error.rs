//! [`Error`]: every mistake a user's arguments can hold.

mod message;
#[cfg(test)]
mod tests;

pub(crate) use message::list;
#[cfg(any(test, feature = "safetensors"))]
pub(crate) use message::quoted;
use std::fmt;
use std::io;
use std::sync::Arc;

/// A mistake in what was passed in, by kind.
///
/// Each message names the argument, what was expected and what came; `{:?}` is the same message. What a file says is shown
/// in part if it is long, and without control characters. Two errors are equal if their variant and message are.
#[non_exhaustive]
#[derive(Clone)]
pub enum Error {
    /// The last axis of `inputs` is not the cell's input size.
    InputSize {
        /// The cell's input size.
        expected: usize,
        /// The shape of `inputs`.
        inputs: (usize, usize, usize),
    },
    /// `sequence_length` has not one entry for each row of the batch.
    SequenceLengthBatch {
        /// Number of entries in `sequence_length`.
        found: usize,
        /// Rows in `inputs`.
        batch: usize,
        /// The shape of `inputs`.
        inputs: (usize, usize, usize),
    },
    /// An entry of `sequence_length` is larger than the number of steps.
    SequenceLengthTooLong {
        /// The row.
        row: usize,
        /// Its entry.
        length: usize,
        /// Steps there are.
        seq: usize,
        /// The shape of `inputs`, if there are any.
        inputs: Option<(usize, usize, usize)>,
    },
    /// A leaf of a state, or of a state's gradient, has another shape than the cell's state.
    StateShape {
        /// The argument.
        argument: String,
        /// Position of the leaf in the state's fixed order (an LSTM: 0 is c, 1 is h).
        leaf: usize,
        /// (batch, features) of the cell's state.
        expected: (usize, usize),
        /// (batch, features) of the leaf that came.
        found: (usize, usize),
    },
    /// A state, or a state's gradient, has another number of leaves than the cell's state.
    StateLeaves {
        /// The argument.
        argument: String,
        /// Leaves of the cell's state.
        expected: usize,
        /// Leaves that came.
        found: usize,
    },
    /// A size, or the length of a list, that must be at least 1 is 0.
    ZeroSize {
        /// Name of the argument.
        argument: &'static str,
    },
    /// A number is outside the range its option allows.
    InvalidNumber {
        /// Name of the option.
        argument: &'static str,
        /// The range allowed, in words.
        expected: &'static str,
        /// The number that came.
        found: f64,
    },
    /// A wrapper that joins a cell's input and output needs them equally wide.
    UnequalSizes {
        /// The wrapper.
        wrapper: &'static str,
        /// The cell's input size.
        input_size: usize,
        /// The cell's output size.
        output_size: usize,
    },
    /// A weight of the sizes asked for would be larger than memory: than the `isize::MAX` bytes that an array can have, or
    /// than what the allocator gives. (Where it gives more than the machine has, the machine ends the program.)
    TooLarge {
        /// The parameter's name.
        name: String,
        /// Its shape, `usize::MAX` where that is beyond counting.
        shape: [usize; 2],
    },
    /// A weight is not there that a cell's options, a parameter or an importer asks for.
    MissingWeight {
        /// Its name.
        name: String,
        /// What asks for it, or what is there instead.
        reason: String,
    },
    /// A weight is there that nothing takes.
    UnexpectedWeight {
        /// Its name.
        name: String,
        /// What is taken instead.
        reason: String,
    },
    /// An array has another shape than the cell, the layer or the other arguments ask for.
    ArrayShape {
        /// The argument or the weight, with its position where there are several.
        argument: String,
        /// The shape asked for.
        expected: Vec<usize>,
        /// The shape that came.
        found: Vec<usize>,
    },
    /// A number that counts from 0 is not below what there is to count: a row, a class.
    OutOfBounds {
        /// The argument, with its position where there are several.
        argument: String,
        /// The number.
        found: usize,
        /// How many there are.
        count: usize,
        /// What is counted.
        of: &'static str,
    },
    /// A parameter, or a gradient, is not that of the model an optimizer was built for.
    OptimizerParameter {
        /// Name of the argument.
        argument: &'static str,
        /// Position of the parameter.
        position: usize,
        /// Name and shape in the model that the optimizer was built for.
        expected: String,
        /// Name and shape that came.
        found: String,
    },
    /// A letter of a word is not in the alphabet.
    UnknownLetter {
        /// The letter.
        letter: char,
        /// The word it stands in.
        word: String,
        /// The alphabet.
        alphabet: String,
    },
    /// A letter stands twice in the alphabet.
    RepeatedLetter {
        /// The letter.
        letter: char,
        /// The alphabet.
        alphabet: String,
    },
    /// Words that must be equally long are not.
    WordLength {
        /// Position of the word.
        word: usize,
        /// Letters in the first word.
        expected: usize,
        /// Letters in this word.
        found: usize,
    },
    /// A list has not one entry for each layer of `cells_fw`.
    LayerCount {
        /// Name of the list.
        argument: &'static str,
        /// Layers in `cells_fw`.
        expected: usize,
        /// Entries that came.
        found: usize,
    },
    /// A cell's input size is not what it is given: the output of the layer below, the input of the other direction.
    CellInputSize {
        /// The cell, as the argument and its position.
        cell: String,
        /// Features that it is given.
        expected: usize,
        /// Its input size.
        found: usize,
    },
    /// A tensor has another shape than asked for.
    TensorShape {
        /// The tensor's name.
        name: String,
        /// The shape asked for, in words where a size is free.
        expected: String,
        /// The shape that came.
        found: Vec<usize>,
    },
    /// A tensor's numbers are of a type that cannot be read without loss.
    TensorDtype {
        /// The tensor's name.
        name: String,
        /// The types that can be read.
        expected: &'static str,
        /// The type that came.
        found: String,
    },
    /// Two parameters have the same name.
    RepeatedParameter {
        /// The name.
        name: String,
    },
    /// A cell has an option that the framework it is written for does not know.
    NotRepresentable {
        /// The framework's module.
        module: &'static str,
        /// What the module has, in words.
        expected: &'static str,
        /// The option that came.
        found: String,
    },
    /// Bytes are not a safetensors file.
    InvalidFile {
        /// What is wrong with them.
        reason: String,
    },
    /// A file could not be read or written.
    Io {
        /// Its path.
        path: String,
        /// What the operating system says; [`source`](std::error::Error::source) returns it too.
        error: Arc<io::Error>,
    },
    /// What has the path of a file is none: a folder, a pipe, a device.
    NotRegularFile {
        /// The path.
        path: String,
        /// What is there.
        found: &'static str,
    },
}

/// The message, which is what a `main` that returns an error prints.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Error {
    fn eq(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other) && self.to_string() == other.to_string()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(&**error),
            _ => None,
        }
    }
}
