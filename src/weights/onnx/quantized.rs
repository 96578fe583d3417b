//! ONNX Runtime's `DynamicQuantizeLSTM`.

use super::directions::lstm_directions;
use super::options::Options;
use crate::weights::Tensors;
use crate::{Bidirectional, Error, Float, Lstm};
use ndarray::{Array2, Array3, ArrayD, Ix3};

/// Imports a `com.microsoft.DynamicQuantizeLSTM` with one direction, the operator into which `quantize_dynamic` turns
/// an `LSTM`. A weight is (code − zero point) · scale.
///
/// | name | shape |
/// |---|---|
/// | `W`, I8 or U8 | (directions, input, 4 · hidden); the `LSTM`'s is transposed |
/// | `R`, I8 or U8 | (directions, hidden, 4 · hidden) |
/// | `W_scale`, `R_scale` | (directions), or (directions, 4 · hidden) |
/// | `W_zero_point`, `R_zero_point`, I8 or U8 | as the scales |
/// | `B`, `P` | as the `LSTM`'s |
///
/// These are the operator's inputs number 1, 2, 8, 10, 9, 11, 3 and 7. To run in 8 bits here too, compress the cell:
/// [`Compressed::new`](crate::Compressed::new) has two scales per unit of a gate.
///
/// ```
/// use ndarray::{Array2, Array3};
/// use rnn_cell::{Compressed, WeightFormat, weights::{Tensors, onnx}};
///
/// let mut tensors = Tensors::<f32>::new();
/// for (name, rows) in [("W", 2), ("R", 3)] {
///     tensors.insert(name, Array3::from_shape_fn((1, rows, 12), |(_, k, unit)| (k * 7 + unit) as f32 - 9.0));
///     tensors.insert(format!("{name}_scale"), Array2::from_elem((1, 12), 0.01));
///     tensors.insert(format!("{name}_zero_point"), Array2::zeros((1, 12)));
/// }
/// let cell = onnx::dynamic_quantize_lstm(&mut tensors, "", &onnx::Options::default())?;
/// let cell = Compressed::new(cell, WeightFormat::Int8)?;
/// # Ok::<(), rnn_cell::Error>(())
/// ```
///
/// # Errors
/// - [`Error::MissingWeight`] if a tensor is missing.
/// - [`Error::TensorShape`] or [`Error::TensorDtype`] if one does not match the table or cannot be read without loss.
pub fn dynamic_quantize_lstm<E: Float>(
    tensors: &mut Tensors<'_, E>,
    prefix: &str,
    options: &Options,
) -> Result<Lstm<E>, Error> {
    directions(tensors, prefix, &[*options; _]).map(|[cell]| cell)
}

/// Imports a `DynamicQuantizeLSTM` with both directions, forward and backward.
///
/// # Errors
/// As [`dynamic_quantize_lstm`].
pub fn bidirectional_dynamic_quantize_lstm<E: Float>(
    tensors: &mut Tensors<'_, E>,
    prefix: &str,
    options: &Options,
) -> Result<Bidirectional<Lstm<E>>, Error> {
    directions(tensors, prefix, &[*options; _]).map(|[fw, bw]| Bidirectional { fw, bw })
}

pub(super) fn directions<E: Float, const N: usize>(
    tensors: &mut Tensors<'_, E>,
    prefix: &str,
    options: &[Options; N],
) -> Result<[Lstm<E>; N], Error> {
    let mut dequantized = Tensors::new();
    for name in ["W", "R"] {
        let name = format!("{prefix}{name}");
        let matrices = matrices::<E, N>(tensors, &name)?;
        dequantized.insert(name, matrices.permuted_axes([0, 2, 1]));
    }
    for name in ["B", "P"].map(|name| format!("{prefix}{name}")) {
        if tensors.contains(&name) {
            dequantized.insert(name.clone(), tensors.take(&name)?);
        }
    }
    lstm_directions(&mut dequantized, prefix, options)
}

/// (code − zero point) · scale, (directions, depth, 4 · hidden).
fn matrices<E: Float, const N: usize>(tensors: &mut Tensors<'_, E>, name: &str) -> Result<Array3<E>, Error> {
    let (scale, zero_point) = (format!("{name}_scale"), format!("{name}_zero_point"));
    let columns = match tensors.shape(name)? {
        &[directions, depth, columns] if directions == N && depth > 0 && columns > 0 => columns,
        found => {
            let expected = format!("({N}, input or hidden, 4 · hidden) with no axis of length 0");
            return Err(Error::TensorShape { name: name.into(), expected, found: found.into() });
        }
    };
    for name in [&scale, &zero_point] {
        let found = tensors.shape(name)?;
        if found != [N] && found != [N, columns] {
            let expected = format!("[{N}] or [{N}, {columns}]");
            return Err(Error::TensorShape { name: name.clone(), expected, found: found.into() });
        }
    }
    let codes: ArrayD<E> = tensors.take_codes(name)?;
    let (scales, zero_points) = (tensors.take(&scale)?, tensors.take_codes(&zero_point)?);
    let [scales, zero_points] = [scales, zero_points].map(|all| {
        Array2::from_shape_fn((N, columns), |(direction, column)| {
            // One for all columns, or one for each.
            if all.ndim() == 1 { all[[direction]] } else { all[[direction, column]] }
        })
    });
    let mut weights: Array3<E> = codes.into_dimensionality::<Ix3>().expect("three axes were checked");
    for (direction, mut weights) in weights.outer_iter_mut().enumerate() {
        for (column, mut weights) in weights.columns_mut().into_iter().enumerate() {
            let (zero_point, scale) = (zero_points[[direction, column]], scales[[direction, column]]);
            weights.mapv_inplace(|code| (code - zero_point) * scale);
        }
    }
    Ok(weights)
}
