//! Losses and their gradients: [`sequence_loss`] and [`mean_squared_error`].

use crate::checks::{check_lengths, check_shape};
use crate::logits::exponentials;
use crate::{Error, Float};
use ndarray::{
    Array, Array2, Array3, ArrayD, ArrayRef, ArrayRef1, ArrayRef2, ArrayRef3, ArrayViewMut1, Axis, Dimension,
};

/// The axes [`sequence_losses`] averages over: TensorFlow 1's `average_across_timesteps` and `average_across_batch`.
///
/// Averages are weighted: Σ weight · loss / Σ weight, and 0 if Σ weight is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Average {
    /// Over both: one number, shape ().
    TimestepsAndBatch,
    /// Over the steps of each row: (batch).
    Timesteps,
    /// Over the rows at each step: (seq).
    Batch,
    /// No average: weight · loss of each row and step, (batch, seq).
    Neither,
}

/// Softmax cross-entropy of a batch of sequences, averaged over all steps and rows, and its gradient with respect to
/// the logits: `tf.contrib.seq2seq.sequence_loss` with its default flags.
///
/// ```text
/// loss = Σ weights[b, t] · (ln Σₖ exp(logits[b, t, k]) − logits[b, t, targets[b, t]]) / Σ weights
/// ```
///
/// `logits` are (batch, seq, classes), `targets` and `weights` (batch, seq). A target is the number of a class, from 0.
/// A weight of 0 masks a step: its logits and target are ignored, even NaN or an invalid class, and its gradient is 0.
/// [`sequence_weights`] makes such weights from lengths.
///
/// ```
/// use ndarray::{Array3, array};
/// use rnn_cell::train::{sequence_loss, sequence_weights};
///
/// let logits = Array3::<f64>::zeros((1, 3, 4)); // four classes, all equally probable
/// let weights = sequence_weights(&[2], 3)?; // the third step is padding
/// let (loss, d_logits) = sequence_loss(&logits, &array![[3, 0, 0]], &weights)?;
/// assert!((loss - 4_f64.ln()).abs() < 1e-11);
/// assert_eq!(d_logits.dim(), (1, 3, 4));
/// # Ok::<(), rnn_cell::Error>(())
/// ```
///
/// # Errors
/// - [`Error::ArrayShape`] if `targets` or `weights` are not (batch, seq).
/// - [`Error::OutOfBounds`] if a step of nonzero weight has a target that is not a class.
pub fn sequence_loss<E: Float>(
    logits: &ArrayRef3<E>,
    targets: &ArrayRef2<usize>,
    weights: &ArrayRef2<E>,
) -> Result<(E, Array3<E>), Error> {
    let (loss, d_logits) = sequence_losses(logits, targets, weights, Average::TimestepsAndBatch)?;
    Ok((loss[[]], d_logits))
}

/// [`sequence_loss`] with TensorFlow's averaging flags: returns the averaged losses and the gradient of their sum.
///
/// # Errors
/// As [`sequence_loss`].
pub fn sequence_losses<E: Float>(
    logits: &ArrayRef3<E>,
    targets: &ArrayRef2<usize>,
    weights: &ArrayRef2<E>,
    average: Average,
) -> Result<(ArrayD<E>, Array3<E>), Error> {
    let (batch, seq, classes) = logits.dim();
    check_shape("targets", &[batch, seq], targets.shape())?;
    check_shape("weights", &[batch, seq], weights.shape())?;

    // Axes that are averaged over have length 1. Sums are in f64: an f32 would lose the last of many steps.
    let (rows, steps) = match average {
        Average::TimestepsAndBatch => (1, 1),
        Average::Timesteps => (batch, 1),
        Average::Batch => (1, seq),
        Average::Neither => (batch, seq),
    };
    let place = |(row, step): (usize, usize)| (row.min(rows - 1), step.min(steps - 1));
    // What each step's weight is divided by.
    let mut total = Array2::<f64>::zeros((rows, steps));
    weights.indexed_iter().for_each(|(at, weight)| total[place(at)] += weight.as_f64());
    if average == Average::Neither {
        total.fill(1.0);
    }
    // Without any weight the average is 0.
    total.mapv_inplace(|total| if total == 0.0 { f64::INFINITY } else { total });

    let mut losses = Array2::zeros((rows, steps));
    let mut d_logits = Array3::zeros((batch, seq, classes));
    for ((row, step), &weight) in weights.indexed_iter() {
        if weight == E::zero() {
            continue;
        }
        let target = targets[[row, step]];
        if target >= classes {
            let argument = format!("targets[{row}, {step}]");
            return Err(Error::OutOfBounds { argument, found: target, count: classes, of: "classes" });
        }
        let (logits, d) = (logits.slice(ndarray::s![row, step, ..]), d_logits.slice_mut(ndarray::s![row, step, ..]));
        let (weight, place) = (weight.as_f64(), place((row, step)));
        losses[place] += weight * cross_entropy(&logits, target, E::of(weight / total[place]), d);
    }
    let losses = (losses / total).mapv(E::of);
    let losses = match average {
        Average::TimestepsAndBatch => losses.into_shape_with_order(()).expect("there is one loss").into_dyn(),
        Average::Timesteps => losses.remove_axis(Axis(1)).into_dyn(),
        Average::Batch => losses.remove_axis(Axis(0)).into_dyn(),
        Average::Neither => losses.into_dyn(),
    };
    Ok((losses, d_logits))
}

/// Returns −ln softmax(logits)\[target\] and sets `d` to `weight` · (softmax(logits) − one-hot(target)).
fn cross_entropy<E: Float>(logits: &ArrayRef1<E>, target: usize, weight: E, mut d: ArrayViewMut1<E>) -> f64 {
    let (largest, sum) = exponentials(logits, &mut d);
    let all = E::of(sum);
    d.mapv_inplace(|exp| weight * (exp / all));
    d[target] -= weight;
    sum.ln() - (logits[target] - largest).as_f64()
}

/// Weights (batch, seq) for [`sequence_loss`]: 1 for the first `sequence_length[b]` steps of row b, 0 for the others.
/// This is TensorFlow's `sequence_mask`.
///
/// # Errors
/// [`Error::SequenceLengthTooLong`] if a length exceeds `seq`.
pub fn sequence_weights<E: Float>(sequence_length: &[usize], seq: usize) -> Result<Array2<E>, Error> {
    check_lengths(sequence_length, seq, None)?;
    let weight = |(row, step): (usize, usize)| if step < sequence_length[row] { E::one() } else { E::zero() };
    Ok(Array2::from_shape_fn((sequence_length.len(), seq), weight))
}

/// The mean of (prediction − target)² over all n numbers, and its gradient with respect to the predictions,
/// 2 · (prediction − target) / n. This is TensorFlow 1's `tf.losses.mean_squared_error`. Empty arrays give 0.
///
/// Padding is not masked: pass only valid steps, or set the targets of padded steps to the predictions. These then add
/// nothing to the sum but still count in n.
///
/// # Errors
/// [`Error::ArrayShape`] if `targets` and `predictions` have different shapes.
pub fn mean_squared_error<E: Float, D: Dimension>(
    predictions: &ArrayRef<E, D>,
    targets: &ArrayRef<E, D>,
) -> Result<(E, Array<E, D>), Error> {
    check_shape("targets", predictions.shape(), targets.shape())?;
    let mut d = predictions.to_owned();
    d.zip_mut_with(targets, |d, &target| *d -= target);
    let n = d.len().max(1) as f64;
    // In f64 the squares do not overflow, and the sum does not lose the last of many.
    let squares = d.iter().fold(0.0, |sum, d| sum + d.as_f64() * d.as_f64());
    let scale = E::of(2.0 / n);
    d.mapv_inplace(|d| d * scale);
    Ok((E::of(squares / n), d))
}
