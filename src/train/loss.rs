//! Softmax cross-entropy of sequences and its gradient: [`sequence_loss`], and [`SequenceLoss`] with its options.

use crate::checks::{check_lengths, check_number, check_shape};
use crate::logits::exponentials;
use crate::{Error, Float};
use ndarray::{Array2, Array3, ArrayD, ArrayRef1, ArrayRef2, ArrayRef3, ArrayViewMut1, Axis};

/// The axes [`sequence_losses`] and [`SequenceLoss`] average over: TensorFlow 1's `average_across_timesteps` and `average_across_batch`.
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
    SequenceLoss { average, label_smoothing: 0.0 }.losses(logits, targets, weights)
}

/// [`sequence_loss`] with options: what to average over, and label smoothing (Szegedy et al., 2016).
///
/// With smoothing s over K classes, the target class has the probability 1 − s + s / K, and each other class s / K, as in
/// TensorFlow 1's `tf.losses.softmax_cross_entropy` and PyTorch's `CrossEntropyLoss`:
///
/// ```text
/// loss[b, t] = ln Σₖ exp(logits[b, t, k]) − (1 − s) · logits[b, t, targets[b, t]] − s / K · Σₖ logits[b, t, k]
/// ```
///
/// ```
/// use ndarray::{Array2, array};
/// use rnn_cell::train::SequenceLoss;
///
/// let smoothed = SequenceLoss::builder().label_smoothing(0.1).build()?;
/// let (loss, d_logits) = smoothed.losses(&array![[[9.0, 1.0]]], &array![[0]], &Array2::ones((1, 1)))?;
/// assert!(d_logits[[0, 0, 0]] > 0.0); // surer than 0.95
/// assert_eq!(loss.ndim(), 0);
/// # Ok::<(), rnn_cell::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SequenceLoss {
    average: Average,
    label_smoothing: f64,
}

/// Options of a [`SequenceLoss`].
#[derive(Debug, Clone, Copy)]
#[must_use = "a builder does nothing until it builds"]
pub struct SequenceLossBuilder(SequenceLoss);

impl SequenceLossBuilder {
    /// The axes to average over. Default: [`Average::TimestepsAndBatch`].
    pub fn average(mut self, average: Average) -> Self {
        self.0.average = average;
        self
    }

    /// The probability that is spread over all classes, at least 0 and below 1. Default: 0.
    pub fn label_smoothing(mut self, label_smoothing: f64) -> Self {
        self.0.label_smoothing = label_smoothing;
        self
    }

    /// Creates the loss.
    ///
    /// # Errors
    /// [`Error::InvalidNumber`] if `label_smoothing` is out of range.
    pub fn build(self) -> Result<SequenceLoss, Error> {
        let smoothing = self.0.label_smoothing;
        check_number("label_smoothing", smoothing, (0.0..1.0).contains(&smoothing), "at least 0 and below 1")?;
        Ok(self.0)
    }
}

impl SequenceLoss {
    /// Starts a loss. Every option has a default.
    pub fn builder() -> SequenceLossBuilder {
        SequenceLossBuilder(Self { average: Average::TimestepsAndBatch, label_smoothing: 0.0 })
    }

    /// Returns the averaged losses and the gradient of their sum with respect to the logits. The arguments are those of
    /// [`sequence_loss`].
    ///
    /// # Errors
    /// As [`sequence_loss`].
    pub fn losses<E: Float>(
        &self,
        logits: &ArrayRef3<E>,
        targets: &ArrayRef2<usize>,
        weights: &ArrayRef2<E>,
    ) -> Result<(ArrayD<E>, Array3<E>), Error> {
        let Self { average, label_smoothing: smoothing } = *self;
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
            let (logits, d) =
                (logits.slice(ndarray::s![row, step, ..]), d_logits.slice_mut(ndarray::s![row, step, ..]));
            let (weight, place) = (weight.as_f64(), place((row, step)));
            losses[place] += weight * cross_entropy(&logits, target, smoothing, E::of(weight / total[place]), d);
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
}

/// Returns the cross entropy of the smoothed target and softmax(logits), and sets `d` to `weight` · (softmax(logits) −
/// smoothed target).
fn cross_entropy<E: Float>(
    logits: &ArrayRef1<E>,
    target: usize,
    smoothing: f64,
    weight: E,
    mut d: ArrayViewMut1<E>,
) -> f64 {
    let (largest, sum) = exponentials(logits, &mut d);
    let all = E::of(sum);
    let below_largest = |logit: E| (logit - largest).as_f64();
    if smoothing == 0.0 {
        d.mapv_inplace(|exp| weight * (exp / all));
        d[target] -= weight;
        return sum.ln() - below_largest(logits[target]);
    }
    let each = smoothing / logits.len() as f64;
    let spread = weight * E::of(each);
    d.mapv_inplace(|exp| weight * (exp / all) - spread);
    d[target] -= weight * E::of(1.0 - smoothing);
    let all_logits: f64 = logits.iter().map(|&logit| below_largest(logit)).sum();
    sum.ln() - (1.0 - smoothing) * below_largest(logits[target]) - each * all_logits
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
