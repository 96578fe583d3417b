//! Exports cells under Keras's names.

use super::super::layout::{IFCO, ZRH, check_plain, gru_blocks, lstm_blocks};
use super::super::{Tensors, single};
use crate::{BasicRnn, Dense, Embedding, Error, Float, Gru, GruReset, Lstm, RnnCell};
use ndarray::{Array1, Array2, Axis, s, stack};

/// Exports a cell as a `SimpleRNN`. Give the layer the cell's `activation`, and `use_bias=False` if it has no bias.
///
/// ```
/// # use rand::SeedableRng;
/// # let rng = &mut rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// use rnn_cell::{BasicRnn, Dense, weights::keras};
///
/// let (cell, dense) = (BasicRnn::<f32>::new(3, 4, rng), Dense::<f32>::new(4, 1, rng));
/// let mut tensors = keras::export_simple_rnn(&cell, "simple_rnn/simple_rnn_cell/");
/// tensors.append(keras::export_dense(&dense, "dense/"));
/// // With the feature `safetensors`: safetensors::save_tensors(tensors, "model.safetensors")?;
/// # assert_eq!(tensors.len(), 5);
/// ```
#[must_use]
pub fn export_simple_rnn<E: Float>(cell: &BasicRnn<E>, prefix: &str) -> Tensors<'static, E> {
    let weights = cell.weights();
    tensors(prefix, cell.input_size(), weights.kernel.clone(), weights.bias.clone())
}

/// Exports a cell as an `LSTM`. Give the layer the cell's activations. `forget_bias` goes into `bias`.
///
/// # Errors
/// [`Error::NotRepresentable`] if the cell has peepholes, a projection or a clip.
pub fn export_lstm<E: Float>(cell: &Lstm<E>, prefix: &str) -> Result<Tensors<'static, E>, Error> {
    check_plain("Keras's LSTM", cell)?;
    let (kernel, bias) = lstm_blocks(cell, &IFCO, E::zero());
    Ok(tensors(prefix, cell.input_size(), kernel, bias))
}

/// Exports a cell as a `GRU`. Give the layer the cell's activations, and as `reset_after` whether its
/// [`reset`](Gru::reset) comes after the product.
#[must_use]
pub fn export_gru<E: Float>(cell: &Gru<E>, prefix: &str) -> Tensors<'static, E> {
    let (kernel, biases) = gru_blocks(cell, &ZRH);
    let mut all = tensors(prefix, cell.input_size(), kernel, None);
    if let Some([input, recurrent]) = biases {
        let name = format!("{prefix}bias");
        match cell.reset() {
            GruReset::Before => all.insert(name, input),
            GruReset::After => all.insert(name, stack![Axis(0), input, recurrent]),
        }
    }
    all
}

/// Exports a [`Dense`]. Its activation is linear.
#[must_use]
pub fn export_dense<E: Float>(dense: &Dense<E>, prefix: &str) -> Tensors<'static, E> {
    single::export_dense(dense, prefix)
}

/// Exports an [`Embedding`].
#[must_use]
pub fn export_embedding<E: Float>(embedding: &Embedding<E>, prefix: &str) -> Tensors<'static, E> {
    single::export_embedding(embedding, &format!("{prefix}embeddings"))
}

fn tensors<E: Float>(prefix: &str, input: usize, kernel: Array2<E>, bias: Option<Array1<E>>) -> Tensors<'static, E> {
    let mut tensors = Tensors::new();
    tensors.insert(format!("{prefix}kernel"), kernel.slice(s![..input, ..]).to_owned());
    tensors.insert(format!("{prefix}recurrent_kernel"), kernel.slice(s![input.., ..]).to_owned());
    if let Some(bias) = bias {
        tensors.insert(format!("{prefix}bias"), bias);
    }
    tensors
}
