//! [`Error`]: what can be wrong with arguments, options, weights and files.

mod message;
#[cfg(test)]
mod tests;

#[cfg(any(test, feature = "hdf5", feature = "pytorch", feature = "safetensors"))]
pub(crate) use message::list;
pub(crate) use message::{list_to, quoted, shown};
use std::io;
use std::sync::Arc;

/// Says what is wrong with an argument, an option, a weight or a file, by kind of mistake.
///
/// Each message names the argument and says what was expected and what was found; `{:?}` prints the same message. Long
/// text from a file is cut, and control characters are escaped. Errors with the same variant and message are equal.
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
    /// `sequence_length` does not have one entry per row of the batch.
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
        /// Number of steps.
        seq: usize,
        /// The shape of `inputs`, if there are inputs.
        inputs: Option<(usize, usize, usize)>,
    },
    /// A leaf of a state, or of a state's gradient, does not have the same shape as in the cell's state.
    StateShape {
        /// The argument.
        argument: String,
        /// Position of the leaf in the state's fixed order (an LSTM: 0 is c, 1 is h).
        leaf: usize,
        /// (batch, features) of the cell's state.
        expected: (usize, usize),
        /// (batch, features) of the leaf found.
        found: (usize, usize),
    },
    /// A state, or a state's gradient, does not have as many leaves as the cell's state.
    StateLeaves {
        /// The argument.
        argument: String,
        /// Leaves of the cell's state.
        expected: usize,
        /// Leaves found.
        found: usize,
    },
    /// A size or the length of a list is 0, but must be at least 1.
    ZeroSize {
        /// Name of the argument.
        argument: &'static str,
    },
    /// `memory_sequence_length` does not have one entry per row of the memory.
    MemoryLengthBatch {
        /// Number of entries.
        found: usize,
        /// The shape of the memory.
        memory: (usize, usize, usize),
    },
    /// An entry of `memory_sequence_length` is 0 or larger than the memory's number of steps.
    MemoryLength {
        /// The row.
        row: usize,
        /// Its entry.
        length: usize,
        /// The shape of the memory.
        memory: (usize, usize, usize),
    },
    /// A state has no memory to attend to.
    NoMemory {
        /// The mechanism, counted from 0.
        mechanism: usize,
        /// The row.
        row: usize,
    },
    /// A decoder that may never end has no limit.
    Endless,
    /// The logits of a row are all NaN, so that none can be chosen.
    AllNan {
        /// The row of the batch.
        row: usize,
        /// The step.
        time: usize,
    },
    /// A gradient flows through a function whose derivative is not given.
    NoDerivative {
        /// The function.
        argument: &'static str,
    },
    /// A number is outside the range its option allows.
    InvalidNumber {
        /// Name of the option.
        argument: &'static str,
        /// The range allowed, in words.
        expected: &'static str,
        /// The number found.
        found: f64,
    },
    /// A wrapper needs a cell whose input and output sizes are equal.
    UnequalSizes {
        /// The wrapper.
        wrapper: &'static str,
        /// The cell's input size.
        input_size: usize,
        /// The cell's output size.
        output_size: usize,
    },
    /// A weight of the requested size does not fit in memory: it exceeds the `isize::MAX` bytes of an array, or the
    /// allocator refuses it. (If the allocator grants more than there is, the operating system may end the program.)
    TooLarge {
        /// The parameter's name.
        name: String,
        /// Its shape. A size that overflows is `usize::MAX`.
        shape: [usize; 2],
    },
    /// A weight that a cell's options, a parameter or an importer requires is missing.
    MissingWeight {
        /// Its name.
        name: String,
        /// What requires it, or what was found instead.
        reason: String,
    },
    /// A weight was found that nothing uses.
    UnexpectedWeight {
        /// Its name.
        name: String,
        /// What is expected instead.
        reason: String,
    },
    /// An array does not have the shape that the cell, the layer or the other arguments require.
    ArrayShape {
        /// The argument or the weight, with its position if there are several.
        argument: String,
        /// The required shape.
        expected: Vec<usize>,
        /// The shape found.
        found: Vec<usize>,
    },
    /// An index of a row or a class, counted from 0, is too large.
    OutOfBounds {
        /// The argument, with its position if there are several.
        argument: String,
        /// The index.
        found: usize,
        /// How many there are.
        count: usize,
        /// What is counted.
        of: &'static str,
    },
    /// A parameter or gradient does not match the model that the optimizer was built for.
    OptimizerParameter {
        /// Name of the argument.
        argument: &'static str,
        /// Position of the parameter.
        position: usize,
        /// Name and shape in the model that the optimizer was built for.
        expected: String,
        /// Name and shape found.
        found: String,
    },
    /// A letter of a word is not in the alphabet.
    UnknownLetter {
        /// The letter.
        letter: char,
        /// The word that contains it.
        word: String,
        /// The alphabet.
        alphabet: String,
    },
    /// A letter appears twice in the alphabet.
    RepeatedLetter {
        /// The letter.
        letter: char,
        /// The alphabet.
        alphabet: String,
    },
    /// The words differ in length.
    WordLength {
        /// Position of the word.
        word: usize,
        /// Letters in the first word.
        expected: usize,
        /// Letters in this word.
        found: usize,
    },
    /// A list does not have one entry per layer of `cells_fw`.
    LayerCount {
        /// Name of the list.
        argument: &'static str,
        /// Layers in `cells_fw`.
        expected: usize,
        /// Entries found.
        found: usize,
    },
    /// A cell's input size differs from what it is given: the layer below's output, or the other direction's input.
    CellInputSize {
        /// The cell, as the argument and its position.
        cell: String,
        /// Features it is given.
        expected: usize,
        /// Its input size.
        found: usize,
    },
    /// A tensor does not have the required shape.
    TensorShape {
        /// The tensor's name.
        name: String,
        /// The required shape, in words if a size is free.
        expected: String,
        /// The shape found.
        found: Vec<usize>,
    },
    /// A tensor's element type cannot be read without loss.
    TensorDtype {
        /// The tensor's name.
        name: String,
        /// The types that can be read.
        expected: &'static str,
        /// The type found.
        found: String,
    },
    /// Two parameters have the same name.
    RepeatedParameter {
        /// The name.
        name: String,
    },
    /// A cell cannot be exported: the framework does not have one of its options.
    NotRepresentable {
        /// The framework's module.
        module: &'static str,
        /// What the module has, in words.
        expected: &'static str,
        /// What the cell has.
        found: String,
    },
    /// A cell or one of its weights cannot be compressed.
    NotCompressible {
        /// The cell or the weight.
        what: String,
        /// Why not.
        reason: String,
    },
    /// A layer of a file has what no cell has.
    NotImportable {
        /// The layer's name.
        name: String,
        /// What no cell has, or which function reads it.
        reason: String,
    },
    /// The contents of a weight file are invalid.
    InvalidFile {
        /// The file's format.
        format: &'static str,
        /// What is wrong with them.
        reason: String,
    },
    /// A file's format needs a feature of this crate that is off.
    FeatureOff {
        /// The file's path.
        path: String,
        /// Its format.
        format: &'static str,
        /// The feature that reads it.
        feature: &'static str,
    },
    /// A file could not be read or written.
    Io {
        /// Its path.
        path: String,
        /// The operating system's error. [`source`](std::error::Error::source) returns it too.
        error: Arc<io::Error>,
    },
    /// A path leads to something other than a regular file: a folder, a pipe, a device.
    NotRegularFile {
        /// The path.
        path: String,
        /// What was found there.
        found: &'static str,
    },
}
