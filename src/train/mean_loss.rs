//! Losses of each number by itself, and their gradients: [`mean_squared_error`] and [`sigmoid_cross_entropy`].

use crate::checks::check_shape;
use crate::{Error, Float};
use ndarray::{Array, ArrayRef, Dimension, Zip, arr0};

/// The mean of (prediction − target)² over all n numbers, and its gradient with respect to the predictions,
/// 2 · (prediction − target) / n. This is TensorFlow 1's `tf.losses.mean_squared_error`. Empty arrays give 0.
///
/// Padding is not masked: for that, [`weighted_mean_squared_error`] takes weights.
///
/// # Errors
/// [`Error::ArrayShape`] if `targets` and `predictions` have different shapes.
pub fn mean_squared_error<E: Float, D: Dimension>(
    predictions: &ArrayRef<E, D>,
    targets: &ArrayRef<E, D>,
) -> Result<(E, Array<E, D>), Error> {
    weighted_mean(predictions, targets, None, squared_error)
}

/// [`mean_squared_error`] with a weight for each number: Σ weight · (prediction − target)² / Σ weight, and its gradient
/// with respect to the predictions. It is 0 if Σ weight is 0.
///
/// Each axis of `weights` is as long as that of the predictions, or 1 for all of them to share a weight. A weight of 0
/// masks a number: it and its target are ignored, even NaN, and its gradient is 0. (TensorFlow 1's default divides by the
/// number of weights that are not 0, its `Reduction.MEAN` by their sum. For weights of 0 and 1 they are the same.)
///
/// ```
/// use ndarray::{Axis, array};
/// use rnn_cell::train::{sequence_weights, weighted_mean_squared_error};
///
/// let predictions = array![[[1.0, 2.0], [7.0, 7.0]]]; // (1, 2, 2): the second step is padding
/// let weights = sequence_weights(&[1], 2)?.insert_axis(Axis(2)); // (1, 2, 1)
/// let (loss, d) = weighted_mean_squared_error(&predictions, &array![[[1.0, 0.0], [0.0, 0.0]]], &weights)?;
/// assert_eq!((loss, d), (2.0, array![[[0.0, 2.0], [0.0, 0.0]]]));
/// # Ok::<(), rnn_cell::Error>(())
/// ```
///
/// # Errors
/// [`Error::ArrayShape`] if `targets` or `weights` do not fit `predictions`.
pub fn weighted_mean_squared_error<E: Float, D: Dimension>(
    predictions: &ArrayRef<E, D>,
    targets: &ArrayRef<E, D>,
    weights: &ArrayRef<E, D>,
) -> Result<(E, Array<E, D>), Error> {
    weighted_mean(predictions, targets, Some(weights), squared_error)
}

/// The mean binary cross entropy of independent labels, and its gradient with respect to the logits: TensorFlow 1's
/// `tf.losses.sigmoid_cross_entropy`, PyTorch's `BCEWithLogitsLoss`.
///
/// ```text
/// loss = Σ weight · −(target · ln σ(logit) + (1 − target) · ln(1 − σ(logit))) / Σ weight
/// ```
///
/// A target is the probability of the label, from 0 to 1; it is not checked. Large logits do not overflow. Each weight
/// is 1 here: [`weighted_sigmoid_cross_entropy`] takes others.
///
/// ```
/// use ndarray::array;
/// use rnn_cell::train::sigmoid_cross_entropy;
///
/// let (loss, d_logits) = sigmoid_cross_entropy(&array![0.0_f64, 1000.0], &array![1.0, 1.0])?;
/// assert!((loss - 2_f64.ln() / 2.0).abs() < 1e-12);
/// assert_eq!(d_logits, array![-0.25, 0.0]);
/// # Ok::<(), rnn_cell::Error>(())
/// ```
///
/// # Errors
/// [`Error::ArrayShape`] if `targets` and `logits` have different shapes.
pub fn sigmoid_cross_entropy<E: Float, D: Dimension>(
    logits: &ArrayRef<E, D>,
    targets: &ArrayRef<E, D>,
) -> Result<(E, Array<E, D>), Error> {
    weighted_mean(logits, targets, None, binary_cross_entropy)
}

/// [`sigmoid_cross_entropy`] with a weight for each number. `weights` are those of [`weighted_mean_squared_error`].
///
/// # Errors
/// [`Error::ArrayShape`] if `targets` or `weights` do not fit `logits`.
pub fn weighted_sigmoid_cross_entropy<E: Float, D: Dimension>(
    logits: &ArrayRef<E, D>,
    targets: &ArrayRef<E, D>,
    weights: &ArrayRef<E, D>,
) -> Result<(E, Array<E, D>), Error> {
    weighted_mean(logits, targets, Some(weights), binary_cross_entropy)
}

/// The cross entropy of one logit and its derivative.
fn binary_cross_entropy(logit: f64, target: f64) -> (f64, f64) {
    // exp(−|logit|) never overflows, and ln_1p keeps what is left of a small one.
    let small = (-logit.abs()).exp();
    let sigmoid = if logit >= 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) };
    (logit.max(0.0) - logit * target + small.ln_1p(), sigmoid - target)
}

/// (prediction − target)² and its derivative.
fn squared_error(prediction: f64, target: f64) -> (f64, f64) {
    let difference = prediction - target;
    (difference * difference, 2.0 * difference)
}

/// The weighted mean of a loss of each number, and its gradient. `loss` returns a number's loss and its derivative.
///
/// In f64, squares do not overflow, and sums do not lose the last of many.
fn weighted_mean<E: Float, D: Dimension>(
    predictions: &ArrayRef<E, D>,
    targets: &ArrayRef<E, D>,
    weights: Option<&ArrayRef<E, D>>,
    loss: impl Fn(f64, f64) -> (f64, f64),
) -> Result<(E, Array<E, D>), Error> {
    check_shape("targets", predictions.shape(), targets.shape())?;
    let (shape, one) = (predictions.raw_dim(), arr0(E::one()));
    let weights = match weights {
        None => one.broadcast(shape.clone()),
        Some(weights) => {
            let mut fits = predictions.shape().to_vec();
            fits.iter_mut().zip(weights.shape()).for_each(|(fit, &len)| *fit = if len == 1 { 1 } else { *fit });
            check_shape("weights", &fits, weights.shape())?;
            weights.broadcast(shape.clone())
        }
    };
    let weights = weights.expect("each axis is as long, or 1");
    let total: f64 = weights.iter().map(|weight| weight.as_f64()).sum();
    let (mut sum, mut d) = (0.0, Array::zeros(shape));
    if total != 0.0 {
        Zip::from(&mut d).and(predictions).and(targets).and(&weights).for_each(|d, &prediction, &target, &weight| {
            if weight != E::zero() {
                let (loss, slope) = loss(prediction.as_f64(), target.as_f64());
                sum += weight.as_f64() * loss;
                *d = E::of(slope * (weight.as_f64() / total));
            }
        });
        sum /= total;
    }
    Ok((E::of(sum), d))
}
