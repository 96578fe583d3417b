//! [`clip_by_global_norm`]: limits exploding gradients.

use super::Gradients;
use crate::checks::check_positive;
use crate::{Error, Float};

/// Scales all gradients by `clip_norm` / max(global norm, `clip_norm`) and returns the global norm they had, √ Σ g²
/// over every number. This is TensorFlow 1's `tf.clip_by_global_norm`, after Pascanu, Mikolov and Bengio (2013).
///
/// Gradients with a smaller norm stay as they are, bit for bit. If any gradient is not finite, all become NaN, as in
/// TensorFlow, so the mistake cannot go unnoticed. To clip the gradients of several parts of a model together,
/// [`Gradients::join`] them first.
///
/// The norm is an `f64`, because that of `f32` gradients may overflow an `f32`. It is infinite or NaN if a gradient is,
/// and infinite if it overflows even an `f64`; gradients are clipped then too. Without gradients it is 0.
///
/// ```
/// use rnn_cell::Dense;
/// use rnn_cell::train::{Gradients, clip_by_global_norm};
///
/// let dense = Dense::<f32>::from_weights(ndarray::array![[1.0]], Some(ndarray::array![1.0]))?;
/// let mut gradients = Gradients::zeros(&dense);
/// gradients.arrays_mut()[0].fill(3.0);
/// gradients.arrays_mut()[1].fill(-4.0);
/// assert_eq!(clip_by_global_norm(&mut gradients, 2.5)?, 5.0);
/// assert_eq!(gradients.get("bias").unwrap()[0], -2.0);
/// # Ok::<(), rnn_cell::Error>(())
/// ```
///
/// # Errors
/// [`Error::InvalidNumber`] unless `clip_norm` is finite and above 0.
pub fn clip_by_global_norm<E: Float>(gradients: &mut Gradients<E>, clip_norm: E) -> Result<f64, Error> {
    let clip = check_positive("clip_norm", clip_norm)?.as_f64();
    let numbers = || gradients.arrays().iter().flatten().map(|g| g.as_f64());
    let largest = numbers().fold(0.0_f64, |largest, g| largest.max(g.abs()));
    // Squares of f32 numbers fit easily in f64. Those of very large or small f64 numbers are in units of the largest.
    let unit = if largest > 1e140 && largest.is_finite() || 0.0 < largest && largest < 1e-140 { largest } else { 1.0 };
    let in_units = numbers().fold(0.0, |sum, g| sum + (g / unit) * (g / unit)).sqrt();
    let norm = unit * in_units;
    if !in_units.is_finite() {
        gradients.arrays_mut().iter_mut().for_each(|array| array.fill(E::nan()));
    } else if norm > clip {
        // In f64: the factor itself may be too small for an `E`.
        let scaled = |g: E| E::of(g.as_f64() / unit * (clip / in_units));
        gradients.arrays_mut().iter_mut().for_each(|array| array.mapv_inplace(scaled));
    }
    Ok(norm)
}
