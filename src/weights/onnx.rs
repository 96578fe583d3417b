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
mod initial;
#[cfg(feature = "onnx")]
mod kind;
#[cfg(feature = "onnx")]
mod listed;
#[cfg(feature = "onnx")]
mod model;
#[cfg(feature = "onnx")]
mod node;
#[cfg(feature = "onnx")]
mod operator;
#[cfg(feature = "onnx")]
mod operators;
mod options;
mod quantized;
#[cfg(feature = "onnx")]
mod tensor;
#[cfg(feature = "onnx")]
mod walk;
#[cfg(feature = "onnx")]
mod wire;

#[cfg(feature = "onnx")]
pub use {
    export::Export,
    kind::{Direction, Kind},
    model::Model,
    node::Node,
    operator::{Operator, export},
};

pub use options::Options;
pub use quantized::{bidirectional_dynamic_quantize_lstm, dynamic_quantize_lstm};

use super::Tensors;
use crate::{BasicRnn, Bidirectional, Error, Float, Gru, Lstm};
use directions::{gru_directions, lstm_directions, rnn_directions};

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
