//! Exports cells under Flax's names.

use super::super::layout::{
    GruBlocks, IFCO, RZN, check_default, check_plain, gru_blocks, lstm_blocks, nothing, refused,
};
use super::super::{Tensors, single};
use crate::{Activation, BasicRnn, Dense, Error, Float, Gru, GruReset, Lstm, RnnCell};
use ndarray::{Array1, Array2, ArrayView2, s};

/// Exports a cell as a `SimpleCell` of `flax.linen`. A cell without a bias gets one of −0, which changes no bit of a sum.
///
/// # Errors
/// [`Error::NotRepresentable`] if its activation is not tanh.
pub fn export_simple<E: Float>(cell: &BasicRnn<E>, prefix: &str) -> Result<Tensors<'static, E>, Error> {
    let (kernel, bias) = simple(cell)?;
    let mut gates = Gates::new(prefix, cell.input_size());
    gates.kernels(kernel.view(), &["i"], &["h"]);
    gates.biases(&bias.unwrap_or_else(|| nothing(cell.output_size())), &["i"]);
    Ok(gates.tensors)
}

/// Exports a cell as an `LSTMCell` or `OptimizedLSTMCell` of `flax.linen`. `forget_bias` goes into `hf/bias`. A cell
/// without a bias gets one of −0.
///
/// # Errors
/// [`Error::NotRepresentable`] if the cell has peepholes, a projection, a clip, or activations other than tanh and sigmoid.
pub fn export_lstm<E: Float>(cell: &Lstm<E>, prefix: &str) -> Result<Tensors<'static, E>, Error> {
    let (kernel, bias) = lstm(cell)?;
    let hidden = ["hi", "hf", "hg", "ho"];
    let mut gates = Gates::new(prefix, cell.input_size());
    gates.kernels(kernel.view(), &["ii", "if", "ig", "io"], &hidden);
    gates.biases(&bias.unwrap_or_else(|| nothing(4 * cell.hidden_size())), &hidden);
    Ok(gates.tensors)
}

/// Exports a cell as a `GRUCell` of `flax.linen`. A cell without biases gets biases of −0.
///
/// # Errors
/// [`Error::NotRepresentable`] if it resets before the product or has activations other than tanh and sigmoid.
pub fn export_gru<E: Float>(cell: &Gru<E>, prefix: &str) -> Result<Tensors<'static, E>, Error> {
    let (kernel, biases) = gru(cell)?;
    let width = 3 * cell.hidden_size();
    let [input, recurrent] = biases.unwrap_or_else(|| [nothing(width), nothing(width)]);
    let names = ["ir", "iz", "in"];
    let mut gates = Gates::new(prefix, cell.input_size());
    gates.kernels(kernel.view(), &names, &["hr", "hz", "hn"]);
    gates.biases(&input, &names);
    gates.biases(&recurrent.slice(s![2 * cell.hidden_size()..]).to_owned(), &["hn"]);
    Ok(gates.tensors)
}

/// Exports a [`Dense`].
#[must_use]
pub fn export_dense<E: Float>(dense: &Dense<E>, prefix: &str) -> Tensors<'static, E> {
    single::export_dense(dense, prefix)
}

/// Exports a cell as a `SimpleCell` of `flax.nnx`. A cell without a bias gets one of −0.
///
/// # Errors
/// As [`export_simple`].
pub fn export_nnx_simple<E: Float>(cell: &BasicRnn<E>, prefix: &str) -> Result<Tensors<'static, E>, Error> {
    let (kernel, bias) = simple(cell)?;
    let bias = bias.unwrap_or_else(|| nothing(cell.output_size()));
    Ok(side_by_side(prefix, cell.input_size(), &kernel, ("dense_i", bias)))
}

/// Exports a cell as an `OptimizedLSTMCell` of `flax.nnx`. `forget_bias` goes into its bias. A cell without a bias gets
/// one of −0.
///
/// # Errors
/// As [`export_lstm`].
pub fn export_nnx_lstm<E: Float>(cell: &Lstm<E>, prefix: &str) -> Result<Tensors<'static, E>, Error> {
    let (kernel, bias) = lstm(cell)?;
    let bias = bias.unwrap_or_else(|| nothing(4 * cell.hidden_size()));
    Ok(side_by_side(prefix, cell.input_size(), &kernel, ("dense_h", bias)))
}

/// Exports a cell as a `GRUCell` of `flax.nnx`. A cell without biases gets one of −0.
///
/// # Errors
/// As [`export_gru`], and [`Error::NotRepresentable`] if a number of its `candidate_recurrent_bias` is not 0.
pub fn export_nnx_gru<E: Float>(cell: &Gru<E>, prefix: &str) -> Result<Tensors<'static, E>, Error> {
    let (kernel, biases) = gru(cell)?;
    let width = 3 * cell.hidden_size();
    let [input, recurrent] = biases.unwrap_or_else(|| [nothing(width), nothing(width)]);
    if recurrent.iter().any(|&number| number != E::zero()) {
        let expected = "no recurrent bias of the candidate";
        return Err(refused("a GRUCell of flax.nnx", expected, "one that is not 0"));
    }
    Ok(side_by_side(prefix, cell.input_size(), &kernel, ("dense_i", input)))
}

fn simple<E: Float>(cell: &BasicRnn<E>) -> Result<(Array2<E>, Option<Array1<E>>), Error> {
    if cell.activation() != Activation::Tanh {
        return Err(refused("Flax's SimpleCell", "tanh", format!("{:?}", cell.activation())));
    }
    Ok((cell.weights().kernel.clone(), cell.weights().bias.clone()))
}

fn lstm<E: Float>(cell: &Lstm<E>) -> Result<(Array2<E>, Option<Array1<E>>), Error> {
    const MODULE: &str = "Flax's LSTMCell";
    check_plain(MODULE, cell)?;
    check_default(MODULE, [cell.activation(), cell.gate_activation()])?;
    Ok(lstm_blocks(cell, &IFCO, E::zero()))
}

fn gru<E: Float>(cell: &Gru<E>) -> Result<GruBlocks<E>, Error> {
    const MODULE: &str = "Flax's GRUCell";
    if cell.reset() == GruReset::Before {
        return Err(refused(MODULE, "GruReset::After", "GruReset::Before"));
    }
    check_default(MODULE, [cell.activation(), cell.gate_activation()])?;
    Ok(gru_blocks(cell, &RZN))
}

/// The tensors of a cell that has the gates in matrices of their own.
struct Gates<'p, E: Float> {
    prefix: &'p str,
    input: usize,
    tensors: Tensors<'static, E>,
}

impl<'p, E: Float> Gates<'p, E> {
    fn new(prefix: &'p str, input: usize) -> Self {
        Self { prefix, input, tensors: Tensors::new() }
    }

    /// A matrix for each block of columns, the input's rows under the first names, the others under the second.
    fn kernels(&mut self, kernel: ArrayView2<E>, from_input: &[&str], from_hidden: &[&str]) {
        let width = kernel.ncols() / from_input.len();
        for (names, rows) in [(from_input, 0..self.input), (from_hidden, self.input..kernel.nrows())] {
            for (block, name) in names.iter().enumerate() {
                let matrix = kernel.slice(s![rows.clone(), block * width..(block + 1) * width]).to_owned();
                self.tensors.insert(format!("{}{name}/kernel", self.prefix), matrix);
            }
        }
    }

    fn biases(&mut self, bias: &Array1<E>, names: &[&str]) {
        let width = bias.len() / names.len();
        for (block, name) in names.iter().enumerate() {
            let bias = bias.slice(s![block * width..(block + 1) * width]).to_owned();
            self.tensors.insert(format!("{}{name}/bias", self.prefix), bias);
        }
    }
}

/// The tensors of a cell of `nnx` that has the gates side by side, and one bias.
fn side_by_side<E: Float>(
    prefix: &str,
    input: usize,
    kernel: &Array2<E>,
    (biased, bias): (&str, Array1<E>),
) -> Tensors<'static, E> {
    let mut tensors = Tensors::new();
    tensors.insert(format!("{prefix}dense_i/kernel"), kernel.slice(s![..input, ..]).to_owned());
    tensors.insert(format!("{prefix}dense_h/kernel"), kernel.slice(s![input.., ..]).to_owned());
    tensors.insert(format!("{prefix}{biased}/bias"), bias);
    tensors
}
