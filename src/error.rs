//! [`Error`]: every mistake a user's arguments can hold.

mod message;

/// A mistake in what was passed in, by kind.
///
/// Each message names the argument, what was expected and what came.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq)]
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
    /// A size that must be at least 1 is 0.
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
    /// A weight that the cell's options ask for is not there.
    MissingWeight {
        /// The parameter's name.
        name: String,
    },
    /// A weight came that the cell's options have no use for.
    UnexpectedWeight {
        /// The parameter's name.
        name: String,
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
    /// A target is not a class.
    TargetClass {
        /// Its row in `targets`.
        row: usize,
        /// Its step in `targets`.
        step: usize,
        /// The target.
        target: usize,
        /// Classes in `logits`.
        classes: usize,
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
    /// A list that must have entries has none.
    Empty {
        /// Name of the argument.
        argument: &'static str,
    },
    /// The cells of the two directions take inputs of different sizes.
    InputSizesDiffer {
        /// The forward cell's input size.
        fw: usize,
        /// The backward cell's input size.
        bw: usize,
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
    /// A layer's input size is not what the layer below it puts out.
    LayerInputSize {
        /// The layer, as the argument and its position.
        layer: String,
        /// Features that the layer below puts out.
        expected: usize,
        /// The layer's input size.
        found: usize,
    },
    /// A row lies outside the batch.
    RowOutOfBounds {
        /// The row.
        row: usize,
        /// Rows there are.
        batch: usize,
    },
    /// A tensor is not among those that came.
    MissingTensor {
        /// The tensor's name.
        name: String,
        /// Names of some that are left, in order: those taken before are gone.
        found: Vec<String>,
        /// How many are left.
        count: usize,
    },
    /// A tensor came that nothing takes.
    ExtraTensor {
        /// The tensor's name.
        name: String,
        /// What is taken instead, in words.
        expected: String,
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
        /// What the operating system says.
        reason: String,
    },
}

impl std::error::Error for Error {}
