//! Exports cells under the names of TensorFlow's variables.

use super::super::layout::{nothing, refused};
use super::super::{Tensors, single};
use crate::{Activation, BasicRnn, Dense, Embedding, Error, Float, Gru, GruReset, Lstm, Parameters, RnnCell};

/// Exports a cell as the variables of a `BasicRNNCell`. A cell without a bias gets one of −0, which changes no bit of a
/// sum.
#[must_use]
pub fn export_basic_rnn<E: Float>(cell: &BasicRnn<E>, prefix: &str) -> Tensors<'static, E> {
    variables(cell, prefix, &[("bias", cell.output_size())])
}

/// Exports a cell as the variables of an `LSTMCell`, or of a `BasicLSTMCell`. Give that the cell's options: forget_bias,
/// the clips, the activation. A cell without a bias gets one of −0.
///
/// ```
/// # use rand::SeedableRng;
/// # let rng = &mut rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// use rnn_cell::{Lstm, weights::{Tensors, tensorflow}};
///
/// let cells = [Lstm::<f32>::new(3, 4, rng), Lstm::new(4, 4, rng)];
/// let mut tensors = Tensors::new();
/// for (layer, cell) in cells.iter().enumerate() {
///     tensors.append(tensorflow::export_lstm(cell, &format!("rnn/multi_rnn_cell/cell_{layer}/lstm_cell/"))?);
/// }
/// # assert_eq!(tensors.len(), 4);
/// # Ok::<(), rnn_cell::Error>(())
/// ```
///
/// # Errors
/// [`Error::NotRepresentable`] if its gates are not sigmoid.
pub fn export_lstm<E: Float>(cell: &Lstm<E>, prefix: &str) -> Result<Tensors<'static, E>, Error> {
    check_gates("TensorFlow's LSTMCell", cell.gate_activation())?;
    Ok(variables(cell, prefix, &[("bias", 4 * cell.hidden_size())]))
}

/// Exports a cell as the variables of a `GRUCell`. Give that the cell's activation. A cell without biases gets biases of
/// −0.
///
/// # Errors
/// [`Error::NotRepresentable`] if it resets after the product, or its gates are not sigmoid.
pub fn export_gru<E: Float>(cell: &Gru<E>, prefix: &str) -> Result<Tensors<'static, E>, Error> {
    const MODULE: &str = "TensorFlow's GRUCell";
    if cell.reset() == GruReset::After {
        return Err(refused(MODULE, "GruReset::Before", "GruReset::After"));
    }
    check_gates(MODULE, cell.gate_activation())?;
    let hidden = cell.hidden_size();
    Ok(variables(cell, prefix, &[("gates/bias", 2 * hidden), ("candidate/bias", hidden)]))
}

/// Exports a [`Dense`] as the variables of a `tf.layers.dense`.
#[must_use]
pub fn export_dense<E: Float>(dense: &Dense<E>, prefix: &str) -> Tensors<'static, E> {
    single::export_dense(dense, prefix)
}

/// Exports an [`Embedding`] as a variable, whose whole name this is.
#[must_use]
pub fn export_embedding<E: Float>(embedding: &Embedding<E>, name: &str) -> Tensors<'static, E> {
    single::export_embedding(embedding, name)
}

fn check_gates(module: &'static str, found: Activation) -> Result<(), Error> {
    if found == Activation::Sigmoid {
        return Ok(());
    }
    Err(refused(module, "sigmoid gates", format!("{found:?}")))
}

/// The parameters, whose names are TensorFlow's, and these biases if they are absent.
fn variables<E: Float>(cell: &impl Parameters<E>, prefix: &str, biases: &[(&str, usize)]) -> Tensors<'static, E> {
    let mut tensors = Tensors::new();
    for (name, len) in biases {
        tensors.insert(format!("{prefix}{name}"), nothing(*len));
    }
    cell.visit_parameters(&mut |name, array| tensors.insert(format!("{prefix}{name}"), array.to_owned()));
    tensors
}
