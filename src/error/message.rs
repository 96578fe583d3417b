//! The messages of [`Error`].

use super::Error;
use std::fmt;

/// Implements `Display` from a list of variants and their messages.
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
        "leaf {leaf} of {} is {found:?}, but must be {expected:?} (batch, features)", text(argument);
    StateLeaves { argument, expected, found } =>
        "{} has {found} leaves, but the cell's state has {expected}", text(argument);
    MemoryLengthBatch { found, memory } =>
        "memory_sequence_length has {found} entries, but the memory has a batch of {} (it is {memory:?})", memory.0;
    MemoryLength { row, length, memory } =>
        "memory_sequence_length[{row}] is {length}, but must be from 1 to {} (the memory is {memory:?})", memory.1;
    NoMemory { mechanism, row } =>
        "row {row} of the state has no memory for mechanism {mechanism}: start from a state of AttentionWrapper::attend";
    Endless { } => "the decoder may never end, but maximum_iterations is not set";
    AllNan { row, time } => "the logits of row {row} at step {time} are all NaN";
    NoDerivative { argument } => "a gradient flows through {argument}, whose derivative is not given: set backward_fn";
    ZeroSize { argument } => "{argument} is 0, but must be at least 1";
    InvalidNumber { argument, expected, found } => "{argument} is {found}, but must be {expected}";
    UnequalSizes { wrapper, input_size, output_size } =>
        "{wrapper} needs equal sizes, but the cell's input_size is {input_size} and its output_size is {output_size}";
    TooLarge { name, shape } =>
        "weight {} would have shape {shape:?}, which is more than memory can hold", quoted(name);
    MissingWeight { name, reason } => "weight {} is missing: {}", quoted(name), text(reason);
    UnexpectedWeight { name, reason } => "weight {} is unexpected: {}", quoted(name), text(reason);
    ArrayShape { argument, expected, found } => "{} has shape {found:?}, but must have {expected:?}", text(argument);
    OutOfBounds { argument, found, count, of } => "{} is {found}, but there are only {count} {of}", text(argument);
    OptimizerParameter { argument, position, expected, found } =>
        "parameter {position} of {argument} is {}, but the optimizer expects {}", text(found), text(expected);
    UnknownLetter { letter, word, alphabet } =>
        "letter {letter:?} of word {} is not in the alphabet {}", quoted(word), quoted(alphabet);
    RepeatedLetter { letter, alphabet } => "letter {letter:?} appears twice in the alphabet {}", quoted(alphabet);
    WordLength { word, expected, found } => "words[{word}] has {found} letters, but words[0] has {expected}";
    LayerCount { argument, expected, found } => "{argument} has {found} layers, but cells_fw has {expected}";
    CellInputSize { cell, expected, found } =>
        "{} has an input_size of {found}, but is given {expected} features", text(cell);
    TensorShape { name, expected, found } =>
        "tensor {} has shape {found:?}, but must have {}", quoted(name), text(expected);
    TensorDtype { name, expected, found } => "tensor {} is {}, but must be {expected}", quoted(name), text(found);
    RepeatedParameter { name } => "two parameters are named {}, but names must differ", quoted(name);
    NotRepresentable { module, expected, found } => "{module} has {expected}, but the cell has {}", text(found);
    NotCompressible { what, reason } => "{} cannot be compressed: {}", text(what), text(reason);
    NotImportable { name, reason } => "layer {} cannot be imported: {}", quoted(name), text(reason);
    InvalidFile { format, reason } => "invalid {format} file: {}", text(reason);
    FeatureOff { path, format, feature } =>
        "file {} is {format}: to read it, turn on the feature \"{feature}\" of rnn-cell", quoted_path(path);
    Io { path, error } => "file {}: {}", quoted_path(path), text(&error.to_string());
    NotRegularFile { path, found } => "file {} is {found}, but must be a regular file", quoted_path(path);
}

/// The same as `Display`, so that a `main` that returns an error prints its message.
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

/// Quotes a name for a message. A hostile one may be as long as its file and hold commands for the terminal.
pub(crate) fn quoted(name: &str) -> String {
    quoted_to(name, 100)
}

fn quoted_to(name: &str, max_chars: usize) -> String {
    match name.char_indices().nth(max_chars) {
        Some((end, _)) => format!("{:?}…", &name[..end]),
        None => format!("{name:?}"),
    }
}

fn quoted_path(path: &str) -> String {
    quoted_to(path, 4096)
}

/// Escapes and shortens words that may contain such names.
fn text(words: &str) -> String {
    escaped(words, 2000)
}

/// A name without quotes, for a table.
pub(crate) fn shown(name: &str) -> String {
    escaped(name, 100)
}

fn escaped(words: &str, max_chars: usize) -> String {
    let mut shown = String::new();
    for letter in words.chars().take(max_chars) {
        match letter {
            '"' | '\'' | '\\' => shown.push(letter),
            _ => shown.extend(letter.escape_debug()),
        }
    }
    if words.chars().nth(max_chars).is_some() {
        shown.push('…');
    }
    shown
}

/// Quotes names as a list short enough to read.
#[cfg(any(test, feature = "hdf5", feature = "pytorch", feature = "safetensors"))]
pub(crate) fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    list_to(names, 12)
}

/// Quotes the first `max_names` names and counts the rest.
pub(crate) fn list_to<'a>(mut names: impl Iterator<Item = &'a str>, max_names: usize) -> String {
    let mut shown: Vec<String> = names.by_ref().take(max_names).map(quoted).collect();
    match names.count() {
        0 => {}
        more => shown.push(format!("… ({more} more)")),
    }
    shown.join(", ")
}
