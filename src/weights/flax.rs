//! Flax (`flax.linen` and `flax.nnx`): `SimpleCell`, `LSTMCell`, `OptimizedLSTMCell`, `GRUCell` and `Dense`.
//!
//! Every gate has its own matrices, named by source (`i` input, `h` hidden) and gate:
//!
//! | cell | `kernel` (input, hidden) | `kernel` (hidden, hidden) | `bias` (hidden) |
//! |---|---|---|---|
//! | SimpleCell | `i/kernel` | `h/kernel` | `i/bias` |
//! | LSTMCell, OptimizedLSTMCell | `ii`, `if`, `ig`, `io` | `hi`, `hf`, `hg`, `ho` | `hi/bias`, `hf/bias`, … |
//! | GRUCell | `ir`, `iz`, `in` | `hr`, `hz`, `hn` | `ir/bias`, `iz/bias`, `in/bias`, `hn/bias` |
//!
//! A Dense has `kernel` (input, features) and, unless `use_bias=False`, `bias` (features).
//!
//! g is our j, z our u, n our candidate; matrices have our layout. The GRU resets after the product
//! ([`GruReset::After`]), h' = (1 − z) ⊙ n + z ⊙ h, and `hn/bias` is inside the reset gate. There is no `forget_bias`.
//!
//! `nnx` has the gates side by side, except in `LSTMCell`, where `if` is called `if_`:
//!
//! | cell of `nnx` | `dense_i/kernel` (input, gates · hidden), `dense_h/kernel` (hidden, gates · hidden) | bias |
//! |---|---|---|
//! | SimpleCell | one | `dense_i/bias` |
//! | OptimizedLSTMCell | i, f, g, o | `dense_h/bias` |
//! | GRUCell | r, z, n | `dense_i/bias` |
//!
//! Parameters are nested dictionaries. Their keys joined by `/` are the names; keys before those in the table are the
//! prefix (`encoder/`).
//!
//! # Writing the file
//!
//! ```python
//! from flax.traverse_util import flatten_dict
//! from safetensors.flax import save_file
//!
//! save_file(flatten_dict(variables["params"], sep="/"), "model.safetensors")
//! ```
//!
//! For `nnx`: `{"/".join(map(str, k)): v.get_value() for k, v in nnx.to_flat_state(nnx.state(model, nnx.Param))}`.
//!
//! Used in `tools/flax_fixture.py` and `tools/flax_nnx_fixture.py`. [`export_lstm`] and its relatives write these names,
//! which `tools/jax_load.py` loads:
//!
//! ```python
//! params = unflatten_dict(load_file("model.safetensors"), sep="/")  # flax.traverse_util
//! ```

mod export;
mod nnx;

pub use export::{
    export_dense, export_gru, export_lstm, export_nnx_gru, export_nnx_lstm, export_nnx_simple, export_simple,
};

use super::{BatchNorm, Tensors, single};
use crate::cells::{BasicRnnWeights, GruWeights, LstmWeights};
use crate::{BasicRnn, Dense, Error, Float, Gru, GruReset, Lstm};
use ndarray::{Array1, Array2, s};

/// Imports a `SimpleCell` with default options (tanh, not residual).
///
/// # Errors
/// - [`Error::MissingWeight`] if a tensor is missing.
/// - [`Error::TensorShape`] or [`Error::TensorDtype`] if one does not match the table or cannot be read without loss.
pub fn simple<E: Float>(tensors: &mut Tensors<'_, E>, prefix: &str) -> Result<BasicRnn<E>, Error> {
    if nnx::is_dense(tensors, prefix) {
        return nnx::simple(tensors, prefix);
    }
    let gates = Gates::new(tensors, prefix, &["i"], &["h"], &["i/bias"])?;
    let bias = Some(gates.bias(tensors, "i")?);
    let kernel = gates.kernel(tensors, &["i"], &["h"])?;
    BasicRnn::<E>::builder(gates.input, gates.hidden).build_from(BasicRnnWeights { kernel, bias })
}

/// Imports an `LSTMCell` or `OptimizedLSTMCell` with default activations.
///
/// # Errors
/// As [`simple`].
pub fn lstm<E: Float>(tensors: &mut Tensors<'_, E>, prefix: &str) -> Result<Lstm<E>, Error> {
    if nnx::is_dense(tensors, prefix) {
        return nnx::lstm(tensors, prefix);
    }
    let forget = if tensors.contains(&format!("{prefix}if_/kernel")) { "if_" } else { "if" };
    // In our order: i, j, f, o.
    let (input, hidden) = (["ii", "ig", forget, "io"], ["hi", "hg", "hf", "ho"]);
    let gates = Gates::new(tensors, prefix, &input, &hidden, &["hi/bias", "hg/bias", "hf/bias", "ho/bias"])?;
    let bias = Some(gates.biases(tensors, &hidden)?);
    let kernel = gates.kernel(tensors, &input, &hidden)?;
    let builder = Lstm::builder(gates.input, gates.hidden).forget_bias(E::zero());
    builder.build_from(LstmWeights { kernel, bias, peepholes: None, projection: None })
}

/// Imports a `GRUCell` with default activations.
///
/// # Errors
/// As [`simple`].
pub fn gru<E: Float>(tensors: &mut Tensors<'_, E>, prefix: &str) -> Result<Gru<E>, Error> {
    if nnx::is_dense(tensors, prefix) {
        return nnx::gru(tensors, prefix);
    }
    let (input, hidden) = (["ir", "iz", "in"], ["hr", "hz", "hn"]);
    let gates = Gates::new(tensors, prefix, &input, &hidden, &["ir/bias", "iz/bias", "in/bias", "hn/bias"])?;
    let weights = GruWeights {
        gates_bias: Some(gates.biases(tensors, &input[..2])?),
        candidate_bias: Some(gates.bias(tensors, "in")?),
        candidate_recurrent_bias: Some(gates.bias(tensors, "hn")?),
        gates_kernel: gates.kernel(tensors, &input[..2], &hidden[..2])?,
        candidate_kernel: gates.kernel(tensors, &input[2..], &hidden[2..])?,
    };
    Gru::<E>::builder(gates.input, gates.hidden).reset(GruReset::After).build_from(weights)
}

/// Imports a `Dense`, with or without a bias.
///
/// # Errors
/// As [`simple`].
pub fn dense<E: Float>(tensors: &mut Tensors<'_, E>, prefix: &str) -> Result<Dense<E>, Error> {
    single::dense(tensors, prefix)
}

/// Imports a `BatchNorm`, to fold it into the next layer. In `linen`, `scale` and `bias` are in `params`, `mean` and `var`
/// in `batch_stats`: flatten both into one file. `epsilon` is in neither: Flax's default is 1e-5.
///
/// # Errors
/// As [`simple`], and [`Error::InvalidNumber`] if `epsilon` is negative or not finite.
pub fn batch_norm<E: Float>(tensors: &mut Tensors<'_, E>, prefix: &str, epsilon: f64) -> Result<BatchNorm<E>, Error> {
    let names = ["scale", "bias", "mean", "var"].map(|name| format!("{prefix}{name}"));
    BatchNorm::take(tensors, names, epsilon)
}

/// A cell's prefix and its sizes, which come from the checked shapes.
struct Gates<'p> {
    prefix: &'p str,
    input: usize,
    hidden: usize,
}

impl<'p> Gates<'p> {
    fn new<E: Float>(
        tensors: &Tensors<'_, E>,
        prefix: &'p str,
        from_input: &[&str],
        from_hidden: &[&str],
        biases: &[&str],
    ) -> Result<Self, Error> {
        let first = format!("{prefix}{}/kernel", from_input[0]);
        let [input, hidden] = tensors.axes(&first, "(input, hidden)")?;
        for gate in from_input {
            tensors.check(&format!("{prefix}{gate}/kernel"), &[input, hidden])?;
        }
        for gate in from_hidden {
            tensors.check(&format!("{prefix}{gate}/kernel"), &[hidden, hidden])?;
        }
        for bias in biases {
            tensors.check(&format!("{prefix}{bias}"), &[hidden])?;
        }
        Ok(Self { prefix, input, hidden })
    }

    /// Our kernel: one block of columns per gate, the input's rows first.
    fn kernel<E: Float>(
        &self,
        tensors: &mut Tensors<'_, E>,
        from_input: &[&str],
        from_hidden: &[&str],
    ) -> Result<Array2<E>, Error> {
        let Self { prefix, input, hidden } = *self;
        let mut kernel = Array2::zeros((input + hidden, from_input.len() * hidden));
        for (gates, rows) in [(from_input, 0..input), (from_hidden, input..input + hidden)] {
            for (block, gate) in gates.iter().enumerate() {
                let matrix = tensors.take_matrix(&format!("{prefix}{gate}/kernel"), (rows.len(), hidden))?;
                kernel.slice_mut(s![rows.clone(), block * hidden..(block + 1) * hidden]).assign(&matrix);
            }
        }
        Ok(kernel)
    }

    fn bias<E: Float>(&self, tensors: &mut Tensors<'_, E>, gate: &str) -> Result<Array1<E>, Error> {
        tensors.take_vector(&format!("{}{gate}/bias", self.prefix), self.hidden)
    }

    fn biases<E: Float>(&self, tensors: &mut Tensors<'_, E>, gates: &[&str]) -> Result<Array1<E>, Error> {
        let mut biases = Array1::zeros(gates.len() * self.hidden);
        for (gate, mut block) in gates.iter().zip(biases.exact_chunks_mut(self.hidden)) {
            block.assign(&self.bias(tensors, gate)?);
        }
        Ok(biases)
    }
}
