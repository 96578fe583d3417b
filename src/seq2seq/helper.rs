//! [`Helper`]: chooses what a decoder reads next.

use crate::checks::{check_lengths, check_number, check_shape};
use crate::seed::{GOLDEN, fold};
use crate::{Error, Float};
use ndarray::{ArrayRef1, ArrayRef2, ArrayRef3, ArrayView3, Axis, aview1, s};

/// Chooses a sample from each step's output, and the next input: TensorFlow 1's `Helper`.
///
/// [`TrainingHelper`], [`GreedyEmbeddingHelper`](super::GreedyEmbeddingHelper) and others are helpers. Implement it to
/// add others.
pub trait Helper {
    /// `f32` or `f64`.
    type Elem: Float;
    /// What is chosen from an output, such as a token. Finished rows get the default.
    type Sample: Clone + Default;

    /// Number of rows.
    fn batch_size(&self) -> usize;

    /// Whether rows may never finish. Default: true.
    fn is_endless(&self) -> bool {
        true
    }

    /// Checks the helper's arguments against the width of an input and of an output, and writes the first `inputs`
    /// (batch, input). Sets `finished` for rows that make no step.
    ///
    /// # Errors
    /// If an argument does not fit.
    fn initialize(
        &mut self,
        output_size: usize,
        inputs: &mut ArrayRef2<Self::Elem>,
        finished: &mut [bool],
    ) -> Result<(), Error>;

    /// Chooses the samples of a step, and what the next step reads.
    ///
    /// # Errors
    /// If no sample can be chosen.
    fn next(&mut self, step: HelperStep<'_, Self::Elem, Self::Sample>) -> Result<(), Error>;
}

/// What a [`Helper`] reads and writes after a step.
#[derive(Debug)]
pub struct HelperStep<'a, E, S> {
    /// The step, from 0.
    pub time: usize,
    /// The rows of the batch that the step computed. Row i of every array is for `rows[i]`.
    pub rows: &'a [usize],
    /// The decoder's outputs, (rows, output).
    pub outputs: &'a ArrayRef2<E>,
    /// Receives the samples.
    pub samples: &'a mut [S],
    /// Receives the next inputs, (rows, input).
    pub next_inputs: &'a mut ArrayRef2<E>,
    /// Set to true for rows that finish with this step.
    pub finished: &'a mut [bool],
}

/// `Err` unless the first inputs are as wide as the helper's.
pub(super) fn check_input<E>(argument: &str, width: usize, inputs: &ArrayRef2<E>) -> Result<(), Error> {
    check_shape(format_args!("a row of {argument}"), &[inputs.ncols()], &[width])
}

/// The position of the largest number of a row. The first of equal ones wins, and NaN are skipped.
///
/// # Errors
/// [`Error::AllNan`] if there is no number.
pub(super) fn best<E: Float>(row: usize, time: usize, logits: &ArrayRef1<E>) -> Result<usize, Error> {
    let mut best = None;
    for (at, &logit) in logits.iter().enumerate().filter(|(_, logit)| !logit.is_nan()) {
        if best.is_none_or(|(_, most)| logit > most) {
            best = Some((at, logit));
        }
    }
    best.map(|(at, _)| at).ok_or(Error::AllNan { row, time })
}

/// A number in [0, 1) that depends on nothing else, and a position to draw for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draws {
    pub seed: u64,
    /// The number of the batch's first row.
    pub first_row: usize,
}

impl Draws {
    /// The draw number `what` of a row at a step.
    pub(super) fn uniform(self, row: usize, time: usize, what: u64) -> f64 {
        let key = fold(fold(self.seed, (self.first_row + row) as u64), time as u64);
        (fold(key, what.wrapping_add(GOLDEN)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A class with probability softmax(logits / temperature). NaN logits are never drawn.
    ///
    /// # Errors
    /// [`Error::AllNan`] if there is no number.
    pub(super) fn class<E: Float>(
        self,
        (row, time): (usize, usize),
        logits: &ArrayRef1<E>,
        temperature: f64,
    ) -> Result<usize, Error> {
        let best = best(row, time, logits)?;
        let largest = logits[best].as_f64();
        // A NaN's and, if the largest is infinite, its own exponential are not numbers.
        let weight = |logit: &E| match ((logit.as_f64() - largest) / temperature).exp() {
            weight if weight.is_finite() => weight,
            _ => 0.0,
        };
        let sum: f64 = logits.iter().map(weight).sum();
        let mut left = self.uniform(row, time, 0) * sum;
        for (at, logit) in logits.iter().enumerate() {
            left -= weight(logit);
            if left < 0.0 {
                return Ok(at);
            }
        }
        Ok(best)
    }
}

/// Reads `inputs`, whatever the outputs are: TensorFlow 1's `TrainingHelper`. Samples are the classes with the largest
/// logits.
///
/// A row finishes after its `sequence_length`; a row of length 0 makes no step.
#[derive(Debug, Clone)]
pub struct TrainingHelper<'a, E> {
    pub(super) source: Source<'a, E>,
}

impl<'a, E: Float> TrainingHelper<'a, E> {
    /// `inputs` (batch, seq, input) and the steps of each row.
    #[must_use]
    pub fn new(inputs: &'a ArrayRef3<E>, sequence_length: &'a [usize]) -> Self {
        Self { source: Source { inputs: inputs.view(), lengths: sequence_length } }
    }

    /// Whether `inputs` are (seq, batch, input). Default: false.
    #[must_use]
    pub fn time_major(mut self, time_major: bool) -> Self {
        self.source.time_major(time_major);
        self
    }
}

/// Inputs that are read step by step.
#[derive(Debug, Clone)]
pub(super) struct Source<'a, E> {
    /// (batch, seq, input).
    pub inputs: ArrayView3<'a, E>,
    pub lengths: &'a [usize],
}

impl<E: Float> Source<'_, E> {
    pub(super) fn time_major(&mut self, time_major: bool) {
        if time_major {
            self.inputs.swap_axes(0, 1);
        }
    }

    /// Writes the first step to the first columns of `inputs`.
    pub(super) fn initialize(&self, inputs: &mut ArrayRef2<E>, finished: &mut [bool]) -> Result<(), Error> {
        let (batch, seq, width) = self.inputs.dim();
        if self.lengths.len() != batch {
            return Err(Error::SequenceLengthBatch { found: self.lengths.len(), batch, inputs: (batch, seq, width) });
        }
        check_lengths(self.lengths, seq, Some((batch, seq, width)))?;
        for (row, (finished, &length)) in finished.iter_mut().zip(self.lengths).enumerate() {
            *finished = length == 0;
            if seq > 0 {
                inputs.slice_mut(s![row, ..width]).assign(&self.inputs.slice(s![row, 0, ..]));
            }
        }
        Ok(())
    }

    /// Sets whether row `at` of a step finishes; writes its next step to the first columns.
    pub(super) fn next<S>(&self, step: &mut HelperStep<'_, E, S>, at: usize) {
        let (row, next) = (step.rows[at], step.time + 1);
        step.finished[at] = next >= self.lengths[row];
        let (_, seq, width) = self.inputs.dim();
        let mut to = step.next_inputs.slice_mut(s![at, ..width]);
        match next < seq {
            true => to.assign(&self.inputs.slice(s![row, next, ..])),
            // Only a row that has finished, and goes on, reads this.
            false => to.fill(E::zero()),
        }
    }

    /// Features per input.
    pub(super) fn width(&self) -> usize {
        self.inputs.dim().2
    }
}

impl<E: Float> Helper for TrainingHelper<'_, E> {
    type Elem = E;
    type Sample = usize;

    fn batch_size(&self) -> usize {
        self.source.inputs.dim().0
    }
    fn is_endless(&self) -> bool {
        false
    }
    fn initialize(&mut self, _: usize, inputs: &mut ArrayRef2<E>, finished: &mut [bool]) -> Result<(), Error> {
        check_input("inputs", self.source.width(), inputs)?;
        self.source.initialize(inputs, finished)
    }
    fn next(&mut self, mut step: HelperStep<'_, E, usize>) -> Result<(), Error> {
        for at in 0..step.rows.len() {
            step.samples[at] = best(step.rows[at], step.time, &step.outputs.row(at))?;
            self.source.next(&mut step, at);
        }
        Ok(())
    }
}

/// Reads `start_inputs` first, then what a function computes from each output: TensorFlow 1's `InferenceHelper`.
///
/// Functions take one row; all but `end_fn` return one. Samples may be of any width.
pub struct InferenceHelper<'a, E> {
    start_inputs: &'a ArrayRef2<E>,
    sample_fn: RowFn<'a, E>,
    end_fn: EndFn<'a, E>,
    next_inputs_fn: Option<RowFn<'a, E>>,
}

/// Whether a row is the last.
type EndFn<'a, E> = Box<dyn FnMut(&[E]) -> bool + 'a>;

/// Turns one row into another.
pub(super) type RowFn<'a, E> = Box<dyn FnMut(&[E]) -> Vec<E> + 'a>;

impl<'a, E: Float> InferenceHelper<'a, E> {
    /// `start_inputs` (batch, input); `sample_fn` turns an output into a sample; `end_fn` says whether a sample is a
    /// row's last.
    #[must_use]
    pub fn new(
        start_inputs: &'a ArrayRef2<E>,
        sample_fn: impl FnMut(&[E]) -> Vec<E> + 'a,
        end_fn: impl FnMut(&[E]) -> bool + 'a,
    ) -> Self {
        Self { start_inputs, sample_fn: Box::new(sample_fn), end_fn: Box::new(end_fn), next_inputs_fn: None }
    }

    /// Turns a sample into the next input. Default: the sample itself.
    #[must_use]
    pub fn next_inputs_fn(mut self, next_inputs_fn: impl FnMut(&[E]) -> Vec<E> + 'a) -> Self {
        self.next_inputs_fn = Some(Box::new(next_inputs_fn));
        self
    }
}

impl<E: Float> Helper for InferenceHelper<'_, E> {
    type Elem = E;
    type Sample = Vec<E>;

    fn batch_size(&self) -> usize {
        self.start_inputs.nrows()
    }
    fn initialize(&mut self, _: usize, inputs: &mut ArrayRef2<E>, _: &mut [bool]) -> Result<(), Error> {
        check_shape("start_inputs", inputs.shape(), self.start_inputs.shape())?;
        inputs.assign(self.start_inputs);
        Ok(())
    }
    fn next(&mut self, step: HelperStep<'_, E, Vec<E>>) -> Result<(), Error> {
        let rows = step.outputs.axis_iter(Axis(0)).zip(step.samples).zip(step.finished);
        for (((output, sample), finished), mut next) in rows.zip(step.next_inputs.rows_mut()) {
            *sample = (self.sample_fn)(&output.iter().copied().collect::<Vec<_>>());
            *finished = (self.end_fn)(sample);
            let input = match &mut self.next_inputs_fn {
                Some(next_inputs_fn) => next_inputs_fn(sample),
                None => sample.clone(),
            };
            check_shape("what InferenceHelper makes of an output", next.shape(), &[input.len()])?;
            next.assign(&aview1(&input));
        }
        Ok(())
    }
}

impl<E> std::fmt::Debug for InferenceHelper<'_, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InferenceHelper").finish_non_exhaustive()
    }
}

/// `Err` unless a probability is from 0 to 1. (TensorFlow takes others for 0 or 1.)
pub(super) fn check_probability(argument: &'static str, probability: f64) -> Result<(), Error> {
    check_number(argument, probability, (0.0..=1.0).contains(&probability), "from 0 to 1").map(|_| ())
}
