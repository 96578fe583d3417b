//! Haiku (`dm-haiku`): `VanillaRNN`, `LSTM` and `GRU`.
//!
//! | module | name | shape | blocks of columns |
//! |---|---|---|---|
//! | VanillaRNN | `linear/w`, `linear_1/w` | (input, hidden), (hidden, hidden) | one |
//! | | `linear/b`, `linear_1/b` | (hidden) | the second absent with `double_bias=False` |
//! | LSTM | `linear/w`, `linear/b` | (input + hidden, 4 · hidden), (4 · hidden) | i, g, f, o |
//! | GRU | `w_i`, `w_h`, `b` | (input, 3 · hidden), (hidden, 3 · hidden), (3 · hidden) | z, r, a |
//!
//! A VanillaRNN's activation is relu. An LSTM's g is our j, and 1 is added to its forget gate, as `forget_bias` here. A GRU
//! resets before the product and blends h' = (1 − z) ⊙ h + z ⊙ a, so that z is 1 − u: its weights change their sign.
//!
//! Parameters are nested dictionaries. Their keys joined by `/` are the names; a module's own name is the prefix
//! (`lstm/`, or `encoder/~/lstm/` in another module).
//!
//! # Writing the file
//!
//! ```python
//! numpy.savez("model.npz", **{f"{module}/{name}": w for module, ws in params.items() for name, w in ws.items()})
//! ```
//!
//! The script is `tools/haiku_fixture.py`. [`export_lstm`] and its relatives write these names, which `tools/jax_load.py`
//! loads.

mod export;

pub use export::{export_gru, export_lstm, export_vanilla_rnn};

use super::Tensors;
use super::layout::{BlockGru, ZRH, nothing, put};
use crate::cells::{BasicRnnWeights, LstmWeights};
use crate::{Activation, BasicRnn, Error, Float, Gru, GruReset, Lstm};
use ndarray::{Array2, s};

/// Imports a `VanillaRNN`, with one bias or two.
///
/// # Errors
/// - [`Error::MissingWeight`] if a tensor is missing.
/// - [`Error::TensorShape`] or [`Error::TensorDtype`] if one does not match the table or cannot be read without loss.
pub fn vanilla_rnn<E: Float>(tensors: &mut Tensors<'_, E>, prefix: &str) -> Result<BasicRnn<E>, Error> {
    let names = ["linear/w", "linear_1/w", "linear/b", "linear_1/b"];
    let [w, recurrent_w, b, recurrent_b] = names.map(|name| format!("{prefix}{name}"));
    let [input, hidden] = tensors.axes(&w, "(input, hidden)")?;
    tensors.check(&recurrent_w, &[hidden, hidden])?;
    let mut bias = tensors.take_vector(&b, hidden)?;
    if tensors.contains(&recurrent_b) {
        bias += &tensors.take_vector(&recurrent_b, hidden)?;
    }
    let mut kernel = Array2::zeros((input + hidden, hidden));
    put(&mut kernel, 0, tensors.take_matrix(&w, (input, hidden))?.view(), &[0]);
    put(&mut kernel, input, tensors.take_matrix(&recurrent_w, (hidden, hidden))?.view(), &[0]);
    BasicRnn::<E>::builder(input, hidden)
        .activation(Activation::Relu)
        .build_from(BasicRnnWeights { kernel, bias: Some(bias) })
}

/// Imports an `LSTM`.
///
/// # Errors
/// As [`vanilla_rnn`].
pub fn lstm<E: Float>(tensors: &mut Tensors<'_, E>, prefix: &str) -> Result<Lstm<E>, Error> {
    let [w, b] = ["linear/w", "linear/b"].map(|name| format!("{prefix}{name}"));
    let [rows, columns] = tensors.axes(&w, "(input + hidden, 4 · hidden)")?;
    let hidden = columns / 4;
    if columns != 4 * hidden || rows <= hidden {
        let expected = "(input + hidden, 4 · hidden)".into();
        return Err(Error::TensorShape { name: w, expected, found: vec![rows, columns] });
    }
    let bias = Some(tensors.take_vector(&b, columns)?);
    let kernel = tensors.take_matrix(&w, (rows, columns))?;
    Lstm::builder(rows - hidden, hidden).build_from(LstmWeights { kernel, bias, peepholes: None, projection: None })
}

/// Imports a `GRU`.
///
/// # Errors
/// As [`vanilla_rnn`].
pub fn gru<E: Float>(tensors: &mut Tensors<'_, E>, prefix: &str) -> Result<Gru<E>, Error> {
    let [w_i, w_h, b] = ["w_i", "w_h", "b"].map(|name| format!("{prefix}{name}"));
    let [input, _] = tensors.axes(&w_i, "(input, 3 · hidden)")?;
    let [hidden, _] = tensors.axes(&w_h, "(hidden, 3 · hidden)")?;
    tensors.check(&w_h, &[hidden, 3 * hidden])?;
    tensors.check(&w_i, &[input, 3 * hidden])?;
    let mut bias = tensors.take_vector(&b, 3 * hidden)?;
    bias.slice_mut(s![..hidden]).mapv_inplace(|number| -number);
    let mut gru = BlockGru::new(input, hidden, ZRH);
    for (name, row, rows) in [(w_i, 0, input), (w_h, input, hidden)] {
        let mut matrix = tensors.take_matrix(&name, (rows, 3 * hidden))?;
        matrix.slice_mut(s![.., ..hidden]).mapv_inplace(|number| -number);
        gru.put(row, matrix.view());
    }
    let recurrent = nothing(bias.len());
    gru.build(Some([bias.view(), recurrent.view()]), GruReset::Before, [Activation::Tanh, Activation::Sigmoid])
}
