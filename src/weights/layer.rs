//! [`Layer`]: what is known of a recurrent layer in a file.

use crate::error::quoted;
use std::fmt;

/// A recurrent layer, or a stack of them, that was recognized in a file.
///
/// It prints as two lines: what it is, and the line of Rust that loads it.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The framework or format whose names it has, such as `PyTorch`.
    pub source: &'static str,
    /// The kind, in the source's words, such as `LSTM`.
    pub kind: &'static str,
    /// What its tensors' names begin with, or the name of its node.
    pub prefix: String,
    /// Features of the inputs, 0 if its weights are not in the file.
    pub input_size: usize,
    /// Units of the state, 0 if its weights are not in the file.
    pub hidden_size: usize,
    /// Layers on top of one another under this prefix.
    pub layers: usize,
    /// Whether it runs in both directions.
    pub bidirectional: bool,
    /// What else is known of it, such as its activations. May be empty.
    pub options: String,
    /// The line of Rust that loads it, or why no cell does. `tensors` are the file's
    /// [`tensors`](super::File::tensors), `model` is its model of ONNX or Keras.
    pub load: String,
    /// The names of its tensors.
    pub tensors: Vec<String>,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, kind, input_size, hidden_size, .. } = self;
        write!(f, "{} {source} {kind}", quoted(&self.prefix))?;
        if *hidden_size > 0 {
            write!(f, ", {input_size} to {hidden_size}")?;
        }
        if self.layers > 1 {
            write!(f, ", {} layers", self.layers)?;
        }
        if self.bidirectional {
            write!(f, ", bidirectional")?;
        }
        if !self.options.is_empty() {
            write!(f, ", {}", self.options)?;
        }
        write!(f, "\n    {}", self.load)
    }
}
