//! The weights of `CuDNNLSTM` and `CuDNNGRU`, as those of `LSTM` and `GRU`.

use super::config::Kind;
use crate::weights::Tensors;
use crate::{Error, Float};
use ndarray::{Array2, Axis, s};

/// Converts the layer's weights in place: each gate's block of a kernel is stored transposed, and both biases in one
/// vector. An `LSTM` adds them. A `GRU` with `reset_after` keeps both, as the reset gate is between them.
///
/// # Errors
/// [`Error::MissingWeight`], [`Error::TensorShape`] and [`Error::TensorDtype`].
pub(super) fn convert<E: Float>(tensors: &mut Tensors<'_, E>, prefix: &str, kind: Kind) -> Result<(), Error> {
    let gates = if kind == Kind::Lstm { 4 } else { 3 };
    let [kernel, recurrent_kernel, bias] = ["kernel", "recurrent_kernel", "bias"].map(|name| format!("{prefix}{name}"));
    let [input, _] = tensors.axes(&kernel, "(input, gates · hidden)")?;
    let [hidden, _] = tensors.axes(&recurrent_kernel, "(hidden, gates · hidden)")?;
    tensors.check(&kernel, &[input, gates * hidden])?;
    tensors.check(&recurrent_kernel, &[hidden, gates * hidden])?;
    tensors.check(&bias, &[2 * gates * hidden])?;
    for (name, rows) in [(kernel, input), (recurrent_kernel, hidden)] {
        let mut matrix = tensors.take_matrix(&name, (rows, gates * hidden))?;
        for gate in 0..gates {
            let mut block = matrix.slice_mut(s![.., gate * hidden..(gate + 1) * hidden]);
            // Its numbers in a row are those of the transposed block.
            let numbers = block.iter().copied().collect();
            let transposed = Array2::from_shape_vec((hidden, rows), numbers).expect("the block has as many numbers");
            block.assign(&transposed.t());
        }
        tensors.insert(name, matrix);
    }
    let both = tensors.take_vector(&bias, 2 * gates * hidden)?;
    let both = both.into_shape_with_order((2, gates * hidden)).expect("they are as many");
    if kind == Kind::Lstm {
        tensors.insert(bias, both.sum_axis(Axis(0)));
    } else {
        tensors.insert(bias, both);
    }
    Ok(())
}
