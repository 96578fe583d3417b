//! [`Helper`]: chooses what a decoder reads next.

use super::choice::best;
use crate::checks::{check_lengths, check_number, check_shape};
use crate::{Error, Float};
use ndarray::{ArrayRef2, ArrayRef3, ArrayView3, aview1, s};

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

/// A [`Helper`] through which gradients flow: it can be recorded, with
/// [`DynamicDecode::record`](super::DynamicDecode::record).
pub trait TrainableHelper: Helper {
    /// Goes back through a call of [`next`](Helper::next), the last one first: where the next input was made of the
    /// output, passes its gradient on. Through samples that were chosen no gradient flows.
    ///
    /// # Errors
    /// If a derivative is missing.
    fn next_backward(&mut self, step: HelperStepBack<'_, Self::Elem, Self::Sample>) -> Result<(), Error>;
}

/// What a [`TrainableHelper`] reads and writes about a step.
#[derive(Debug)]
pub struct HelperStepBack<'a, E, S> {
    /// The step, from 0.
    pub time: usize,
    /// As in [`HelperStep::rows`].
    pub rows: &'a [usize],
    /// The decoder's outputs, (rows, output).
    pub outputs: &'a ArrayRef2<E>,
    /// The samples chosen.
    pub samples: &'a [S],
    /// The gradients of the next inputs, (rows, input); 0 where none was read. Set to 0 what you pass on: the rest is
    /// the gradient of inputs that came from elsewhere.
    pub d_next_inputs: &'a mut ArrayRef2<E>,
    /// The gradients of the outputs, (rows, output), to add to.
    pub d_outputs: &'a mut ArrayRef2<E>,
}

/// A helper whose inputs come from elsewhere, or are looked up by samples: nothing flows to the outputs.
macro_rules! reads_no_output {
    ($helper:ident) => {
        impl<E: Float> TrainableHelper for $helper<'_, E> {
            fn next_backward(&mut self, _: HelperStepBack<'_, E, Self::Sample>) -> Result<(), Error> {
                Ok(())
            }
        }
    };
}

pub(super) use reads_no_output;

reads_no_output!(TrainingHelper);

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

    /// What was chosen for row `at` of a step. Past the row's length, where it reads anything, no choice is no error.
    pub(super) fn unless_past<S>(
        &self,
        step: &HelperStep<'_, E, S>,
        at: usize,
        found: Result<usize, Error>,
    ) -> Result<usize, Error> {
        if step.time < self.lengths[step.rows[at]] { found } else { Ok(found.unwrap_or(0)) }
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
            let found = best(step.rows[at], step.time, &step.outputs.row(at));
            step.samples[at] = self.source.unless_past(&step, at, found)?;
            self.source.next(&mut step, at);
        }
        Ok(())
    }
}

/// Turns one row into another.
pub(super) type RowFn<'a, E> = Box<dyn FnMut(&[E]) -> Vec<E> + 'a>;

/// Turns an output and the gradient of what was made of it into the gradient of the output.
pub(super) type RowBackFn<'a, E> = Box<dyn FnMut(&[E], &[E]) -> Vec<E> + 'a>;

/// Passes the gradient of a row's next input, its first `width` numbers, on to that of the output it was made of.
pub(super) fn feed_back<E: Float, S>(
    step: &mut HelperStepBack<'_, E, S>,
    (at, width): (usize, usize),
    mut backward_fn: Option<&mut RowBackFn<'_, E>>,
) -> Result<(), Error> {
    let mut d_input = step.d_next_inputs.slice_mut(s![at, ..width]);
    let mut d_output = d_input.to_vec();
    if let Some(backward_fn) = &mut backward_fn {
        d_output = backward_fn(&step.outputs.row(at).to_vec(), &d_output);
    }
    d_input.fill(E::zero());
    let mut to = step.d_outputs.row_mut(at);
    check_shape("what backward_fn returns", to.shape(), &[d_output.len()])?;
    to += &aview1(&d_output);
    Ok(())
}

/// `Err` unless a probability is from 0 to 1. (TensorFlow takes others for 0 or 1.)
pub(super) fn check_probability(argument: &'static str, probability: f64) -> Result<(), Error> {
    check_number(argument, probability, (0.0..=1.0).contains(&probability), "from 0 to 1").map(|_| ())
}
