//! What PyTorch's weights do not record.

use crate::Activation;

/// Options of an `nn.RNN` that its weights do not record. The defaults are PyTorch's.
///
/// ```
/// use rnn_cell::{Activation, weights::pytorch::Options};
/// let of_relu = Options::default().nonlinearity(Activation::Relu);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Options {
    pub(super) nonlinearity: Activation,
}

impl Default for Options {
    fn default() -> Self {
        Self { nonlinearity: Activation::Tanh }
    }
}

impl Options {
    /// `nonlinearity`. Default: tanh.
    pub fn nonlinearity(mut self, nonlinearity: Activation) -> Self {
        self.nonlinearity = nonlinearity;
        self
    }
}
