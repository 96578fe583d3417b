//! What each [`Error`] says.

use super::Error;
use std::fmt;

/// `Display`, from a list of variants and their messages.
macro_rules! messages {
    ($($variant:ident { $($field:tt)* } => $format:literal $(, $value:expr)*;)*) => {
        impl fmt::Display for Error {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant { $($field)* } => write!(f, $format $(, $value)*),)*
                }
            }
        }
    };
}

messages! {
    InputSize { expected, inputs } =>
        "inputs have {} features, but the cell's input_size is {expected} (inputs are {inputs:?})", inputs.2;
    SequenceLengthBatch { found, batch, inputs } =>
        "sequence_length has {found} entries, but inputs have a batch of {batch} (inputs are {inputs:?})";
    SequenceLengthTooLong { row, length, seq, inputs: Some(inputs) } =>
        "sequence_length[{row}] is {length}, but inputs have only {seq} steps (inputs are {inputs:?})";
    SequenceLengthTooLong { row, length, seq, inputs: None } =>
        "sequence_length[{row}] is {length}, but there are only {seq} steps";
    StateShape { argument, leaf, expected, found } =>
        "leaf {leaf} of {argument} is {found:?}, but the cell's state is {expected:?} (batch, features)";
    StateLeaves { argument, expected, found } =>
        "{argument} has {found} leaves, but the cell's state has {expected}";
    ZeroSize { argument } => "{argument} is 0, but must be at least 1";
    InvalidNumber { argument, expected, found } => "{argument} is {found}, but must be {expected}";
    UnequalSizes { wrapper, input_size, output_size } =>
        "{wrapper} needs a cell as wide as its input, but input_size is {input_size} and output_size {output_size}";
    TooLarge { name, shape } => "weight {name} would have shape {shape:?}, which is more than memory can hold";
    MissingWeight { name } => "weight {name} is missing, but the cell's options ask for it";
    UnexpectedWeight { name } => "weight {name} came, but the cell's options have no use for it";
    ArrayShape { argument, expected, found } => "{argument} has shape {found:?}, but must have {expected:?}";
    TargetClass { row, step, target, classes } =>
        "targets[{row}, {step}] is {target}, but logits have only {classes} classes";
    OptimizerParameter { argument, position, expected, found } =>
        "parameter {position} of {argument} is {found}, but the optimizer was built for {expected} there";
    UnknownLetter { letter, word, alphabet } => "letter {letter:?} of word {word:?} is not in the alphabet {alphabet:?}";
    RepeatedLetter { letter, alphabet } => "letter {letter:?} stands twice in the alphabet {alphabet:?}";
    WordLength { word, expected, found } => "words[{word}] has {found} letters, but words[0] has {expected}";
    Empty { argument } => "{argument} is empty, but must have at least 1 entry";
    InputSizesDiffer { fw, bw } =>
        "cell_bw's input_size is {bw}, but cell_fw's is {fw}: both read the same inputs";
    LayerCount { argument, expected, found } => "{argument} has {found} layers, but cells_fw has {expected}";
    LayerInputSize { layer, expected, found } =>
        "{layer} has an input_size of {found}, but the layer below puts out {expected} features";
    RowOutOfBounds { row, batch } => "row is {row}, but the batch has only {batch} rows";
    MissingTensor { name, found, count } =>
        "tensor {name:?} is missing; {count} left: {}{}", found.join(", "), if found.len() < *count { ", …" } else { "" };
    ExtraTensor { name, expected } => "tensor {name:?} came, but {expected}";
    TensorShape { name, expected, found } => "tensor {name:?} has shape {found:?}, but must have {expected}";
    TensorDtype { name, expected, found } => "tensor {name:?} is {found}, but must be {expected}";
    RepeatedParameter { name } => "two parameters are named {name:?}, but names must differ";
    NotRepresentable { module, expected, found } => "{module} has {expected}, but the cell has {found}";
    InvalidFile { reason } => "the bytes must be a safetensors file: {reason}";
    Io { path, reason } => "file {path:?}: {reason}";
}
