//! [`clip_by_global_norm`]: gradients that exploded, cut to a length.

use super::Gradients;
use crate::checks::check_positive;
use crate::{Error, Float};

/// Scales all gradients by `clip_norm` / max(global norm, `clip_norm`), and returns the global norm they had, √ Σ g² over
/// every number: TensorFlow 1's `tf.clip_by_global_norm`, after Pascanu, Mikolov and Bengio (2013).
///
/// Gradients of a smaller norm stay as they are, bit for bit. If the norm is not finite every gradient becomes NaN, as in
/// TensorFlow, so that the mistake cannot pass unseen. The gradients of several parts of a model are clipped together:
/// [`Gradients::join`] them first.
///
/// ```
/// use rnn_cell::train::{Dense, Gradients, clip_by_global_norm};
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
pub fn clip_by_global_norm<E: Float>(gradients: &mut Gradients<E>, clip_norm: E) -> Result<E, Error> {
    let clip = check_positive("clip_norm", clip_norm)?.as_f64();
    // Summed in f64: the square of an f32 gradient does not overflow there.
    let squares = gradients.arrays().iter().flatten().map(|g| g.as_f64() * g.as_f64());
    let norm = squares.sum::<f64>().sqrt();
    if !norm.is_finite() {
        gradients.arrays_mut().iter_mut().for_each(|array| array.fill(E::nan()));
    } else if norm > clip {
        let scale = E::from_f64(clip / norm);
        gradients.arrays_mut().iter_mut().for_each(|array| array.mapv_inplace(|g| g * scale));
    }
    Ok(E::from_f64(norm))
}
