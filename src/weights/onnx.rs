//! ONNX: the tensors of the operators `RNN`, `LSTM` and `GRU`.
//!
//! | name | shape | blocks of the second axis |
//! |---|---|---|
//! | `W` | (directions, gates · hidden, input) | RNN: one; LSTM: i, o, f, c; GRU: z, r, h |
//! | `R` | (directions, gates · hidden, hidden) | the same |
//! | `B` | (directions, 2 · gates · hidden), optional | W's bias, then R's; they are added |
//! | `P` | (directions, 3 · hidden), optional, LSTM | peepholes i, o, f |
//!
//! Direction 0 is forward (or the only one), direction 1 backward. Matrices are the transpose of ours. c is our j; z is
//! our u, h' = (1 − z) ⊙ h̃ + z ⊙ h. There is no `forget_bias`. [`Options`] holds what the operator keeps in
//! attributes. `clip`, which clips the sums before the activations, and `input_forget` = 1
//! have no counterpart here.
//!
//! With the feature `onnx`, `Model` opens a file, finds its recurrent nodes, and makes cells of them with all their
//! attributes. In a graph the tensors have arbitrary names: `Node::tensors` calls them `{node}/W` and so on.
//!
//! Without the feature, give the importers here tensors of these names. The attributes are then up to you: pass
//! [`Options`], and check that the node has no `clip`, no `input_forget` and the direction that you expect.
//! `tools/onnx_fixture.py` writes such a file.
//!
//! The tensors of ONNX Runtime's `DynamicQuantizeLSTM` are imported by [`dynamic_quantize_lstm`].

#[cfg(feature = "onnx")]
mod attributes;
mod directions;
#[cfg(feature = "onnx")]
mod export;
#[cfg(feature = "onnx")]
mod follow;
#[cfg(feature = "onnx")]
mod graph;
#[cfg(feature = "onnx")]
mod kind;
#[cfg(feature = "onnx")]
mod model;
#[cfg(feature = "onnx")]
mod node;
#[cfg(feature = "onnx")]
mod operator;
#[cfg(feature = "onnx")]
mod operators;
mod quantized;
#[cfg(feature = "onnx")]
mod tensor;
#[cfg(feature = "onnx")]
mod wire;

#[cfg(feature = "onnx")]
pub use {
    export::Export,
    kind::{Direction, Kind},
    model::Model,
    node::Node,
    operator::Operator,
};

pub use quantized::{bidirectional_dynamic_quantize_lstm, dynamic_quantize_lstm};

use super::Tensors;
use crate::{Activation, BasicRnn, Bidirectional, Error, Float, Gru, Lstm};
use directions::{gru_directions, lstm_directions, rnn_directions};

/// Options that an operator keeps in its attributes. The defaults are ONNX's.
///
/// ```
/// use rnn_cell::weights::onnx::Options;
/// let of_pytorch = Options::default().linear_before_reset(true);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Options {
    activation: Activation,
    gate_activation: Activation,
    linear_before_reset: bool,
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

#[cfg(feature = "onnx")]
impl Options {
    /// In words, as far as an operator has them.
    fn described(&self, kind: Kind) -> String {
        let Self { activation, gate_activation, linear_before_reset } = self;
        match kind {
            Kind::Rnn => format!("{activation:?}"),
            Kind::Gru => format!("{gate_activation:?} and {activation:?}, linear_before_reset={linear_before_reset}"),
            Kind::Lstm | Kind::DynamicQuantizeLstm => format!("{gate_activation:?} and {activation:?}"),
        }
    }
}

/// Imports an `RNN` with one direction. Of the options, only `activation` matters.
///
/// # Errors
/// - [`Error::MissingWeight`] if a tensor is missing.
/// - [`Error::TensorShape`] or [`Error::TensorDtype`] if one does not match the table or cannot be read without loss.
pub fn rnn<E: Float>(tensors: &mut Tensors<'_, E>, prefix: &str, options: &Options) -> Result<BasicRnn<E>, Error> {
    rnn_directions(tensors, prefix, &[*options; _]).map(|[cell]| cell)
}

/// Imports an `RNN` with both directions, forward and backward.
///
/// # Errors
/// As [`rnn`].
pub fn bidirectional_rnn<E: Float>(
    tensors: &mut Tensors<'_, E>,
    prefix: &str,
    options: &Options,
) -> Result<Bidirectional<BasicRnn<E>>, Error> {
    rnn_directions(tensors, prefix, &[*options; _]).map(|[fw, bw]| Bidirectional { fw, bw })
}

/// Imports an `LSTM` with one direction, and with peepholes if there is a `P`.
///
/// # Errors
/// As [`rnn`].
pub fn lstm<E: Float>(tensors: &mut Tensors<'_, E>, prefix: &str, options: &Options) -> Result<Lstm<E>, Error> {
    lstm_directions(tensors, prefix, &[*options; _]).map(|[cell]| cell)
}

/// Imports an `LSTM` with both directions, forward and backward.
///
/// # Errors
/// As [`rnn`].
pub fn bidirectional_lstm<E: Float>(
    tensors: &mut Tensors<'_, E>,
    prefix: &str,
    options: &Options,
) -> Result<Bidirectional<Lstm<E>>, Error> {
    lstm_directions(tensors, prefix, &[*options; _]).map(|[fw, bw]| Bidirectional { fw, bw })
}

/// Imports a `GRU` with one direction.
///
/// # Errors
/// As [`rnn`].
pub fn gru<E: Float>(tensors: &mut Tensors<'_, E>, prefix: &str, options: &Options) -> Result<Gru<E>, Error> {
    gru_directions(tensors, prefix, &[*options; _]).map(|[cell]| cell)
}

/// Imports a `GRU` with both directions, forward and backward.
///
/// # Errors
/// As [`rnn`].
pub fn bidirectional_gru<E: Float>(
    tensors: &mut Tensors<'_, E>,
    prefix: &str,
    options: &Options,
) -> Result<Bidirectional<Gru<E>>, Error> {
    gru_directions(tensors, prefix, &[*options; _]).map(|[fw, bw]| Bidirectional { fw, bw })
}

#[cfg(feature = "onnx")]
fn invalid(reason: String) -> Error {
    Error::InvalidFile { format: "ONNX", reason }
}
