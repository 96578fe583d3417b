//! What an operator keeps in its attributes.

use crate::Activation;

/// Options that an operator keeps in its attributes. The defaults are ONNX's.
///
/// ```
/// use rnn_cell::weights::onnx::Options;
/// let of_pytorch = Options::default().linear_before_reset(true);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Options {
    pub(super) activation: Activation,
    pub(super) gate_activation: Activation,
    pub(super) linear_before_reset: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { activation: Activation::Tanh, gate_activation: Activation::Sigmoid, linear_before_reset: false }
    }
}

impl Options {
    /// The activation of the candidate and of c (`g` and `h` in `activations`, which must be equal). Default: tanh.
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// The activation of the gates (`f` in `activations`). Default: sigmoid. An `RNN` has none.
    pub fn gate_activation(mut self, gate_activation: Activation) -> Self {
        self.gate_activation = gate_activation;
        self
    }

    /// `linear_before_reset` of `GRU`: the reset gate comes after the product. Default: false. (PyTorch writes true.)
    pub fn linear_before_reset(mut self, linear_before_reset: bool) -> Self {
        self.linear_before_reset = linear_before_reset;
        self
    }
}
