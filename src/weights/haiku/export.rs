//! Exports cells under Haiku's names.

use super::super::Tensors;
use super::super::layout::{ZRH, check_default, check_plain, gru_blocks, lstm_blocks, nothing, refused};
use crate::{Activation, BasicRnn, Error, Float, Gru, GruReset, Lstm, RnnCell};
use ndarray::s;

/// Exports a cell as a `VanillaRNN`. Its second bias is −0, which changes no bit of a sum, and so is the first if the cell
/// has none.
///
/// # Errors
/// [`Error::NotRepresentable`] if its activation is not relu.
pub fn export_vanilla_rnn<E: Float>(cell: &BasicRnn<E>, prefix: &str) -> Result<Tensors<'static, E>, Error> {
    if cell.activation() != Activation::Relu {
        return Err(refused("Haiku's VanillaRNN", "relu", format!("{:?}", cell.activation())));
    }
    let (kernel, input) = (&cell.weights().kernel, cell.input_size());
    let nothing = nothing(cell.output_size());
    let mut tensors = Tensors::new();
    tensors.insert(format!("{prefix}linear/w"), kernel.slice(s![..input, ..]).to_owned());
    tensors.insert(format!("{prefix}linear/b"), cell.weights().bias.clone().unwrap_or_else(|| nothing.clone()));
    tensors.insert(format!("{prefix}linear_1/w"), kernel.slice(s![input.., ..]).to_owned());
    tensors.insert(format!("{prefix}linear_1/b"), nothing);
    Ok(tensors)
}

/// Exports a cell as an `LSTM`. What `forget_bias` is more than Haiku's own 1 goes into `b`.
///
/// # Errors
/// [`Error::NotRepresentable`] if the cell has peepholes, a projection, a clip, or activations other than tanh and sigmoid.
pub fn export_lstm<E: Float>(cell: &Lstm<E>, prefix: &str) -> Result<Tensors<'static, E>, Error> {
    const MODULE: &str = "Haiku's LSTM";
    check_plain(MODULE, cell)?;
    check_default(MODULE, [cell.activation(), cell.gate_activation()])?;
    let (kernel, bias) = lstm_blocks(cell, &[0, 1, 2, 3], E::one());
    let mut tensors = Tensors::new();
    tensors.insert(format!("{prefix}linear/w"), kernel);
    tensors.insert(format!("{prefix}linear/b"), bias.unwrap_or_else(|| nothing(4 * cell.hidden_size())));
    Ok(tensors)
}

/// Exports a cell as a `GRU`. A cell without biases gets biases of 0.
///
/// # Errors
/// [`Error::NotRepresentable`] if it resets after the product or has activations other than tanh and sigmoid.
pub fn export_gru<E: Float>(cell: &Gru<E>, prefix: &str) -> Result<Tensors<'static, E>, Error> {
    const MODULE: &str = "Haiku's GRU";
    if cell.reset() == GruReset::After {
        return Err(refused(MODULE, "GruReset::Before", "GruReset::After"));
    }
    check_default(MODULE, [cell.activation(), cell.gate_activation()])?;
    let (mut kernel, biases) = gru_blocks(cell, &ZRH);
    let (input, hidden) = (cell.input_size(), cell.hidden_size());
    let mut bias = match biases {
        Some([bias, _]) => bias,
        None => nothing(3 * hidden),
    };
    // Haiku's z is 1 − u.
    kernel.slice_mut(s![.., ..hidden]).mapv_inplace(|number| -number);
    bias.slice_mut(s![..hidden]).mapv_inplace(|number| -number);
    let mut tensors = Tensors::new();
    tensors.insert(format!("{prefix}w_i"), kernel.slice(s![..input, ..]).to_owned());
    tensors.insert(format!("{prefix}w_h"), kernel.slice(s![input.., ..]).to_owned());
    tensors.insert(format!("{prefix}b"), bias);
    Ok(tensors)
}
