//! Scheduled sampling (Bengio et al., 2015): training on a mixture of given inputs and the model's own outputs.

use super::choice::Draws;
use super::embedding_helper::check_classes;
use super::helper::{
    Helper, HelperStep, HelperStepBack, RowBackFn, RowFn, Source, TrainableHelper, check_input, check_probability,
    feed_back, reads_no_output,
};
use crate::checks::check_shape;
use crate::{Embedding, Error, Float};
use ndarray::{ArrayRef2, ArrayRef3, ArrayView3, aview1, s};

/// Which draw of a row at a step decides whether to sample. Draw 0 is the sample.
const WHETHER: u64 = 1;

/// Reads the given inputs, or with some probability the embedding of a token drawn from the logits: TensorFlow 1's
/// `ScheduledEmbeddingTrainingHelper`. A sample is the token, `None` where none was drawn.
#[derive(Debug, Clone)]
pub struct ScheduledEmbeddingTrainingHelper<'a, E> {
    source: Source<'a, E>,
    embedding: &'a Embedding<E>,
    sampling_probability: f64,
    draws: Draws,
}

impl<'a, E: Float> ScheduledEmbeddingTrainingHelper<'a, E> {
    /// `inputs` (batch, seq, input) with the steps of each row, the embedding that drawn tokens are looked up in, and the
    /// probability of drawing, 0 to 1.
    #[must_use]
    pub fn new(
        inputs: &'a ArrayRef3<E>,
        sequence_length: &'a [usize],
        embedding: &'a Embedding<E>,
        sampling_probability: f64,
    ) -> Self {
        let source = Source { inputs: inputs.view(), lengths: sequence_length };
        Self { source, embedding, sampling_probability, draws: Draws { seed: 0, first_row: 0 } }
    }

    /// Whether `inputs` are (seq, batch, input). Default: false.
    #[must_use]
    pub fn time_major(mut self, time_major: bool) -> Self {
        self.source.time_major(time_major);
        self
    }

    /// The seed of all draws. Default: 0.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.draws.seed = seed;
        self
    }
}

impl<E: Float> Helper for ScheduledEmbeddingTrainingHelper<'_, E> {
    type Elem = E;
    type Sample = Option<usize>;

    fn batch_size(&self) -> usize {
        self.source.inputs.dim().0
    }
    fn is_endless(&self) -> bool {
        false
    }
    fn initialize(&mut self, classes: usize, inputs: &mut ArrayRef2<E>, finished: &mut [bool]) -> Result<(), Error> {
        check_probability("sampling_probability", self.sampling_probability)?;
        check_input("inputs", self.source.width(), inputs)?;
        check_input("the embedding", self.embedding.features(), inputs)?;
        check_classes(self.embedding, classes)?;
        self.source.initialize(inputs, finished)
    }
    fn next(&mut self, mut step: HelperStep<'_, E, Option<usize>>) -> Result<(), Error> {
        for at in 0..step.rows.len() {
            let place = (step.rows[at], step.time);
            let draws = self.draws.uniform(place.0, place.1, WHETHER) < self.sampling_probability;
            step.samples[at] = match draws {
                true => {
                    let found = self.draws.class(place, &step.outputs.row(at), 1.0);
                    Some(self.source.unless_past(&step, at, found)?)
                }
                false => None,
            };
            self.source.next(&mut step, at);
            if let Some(token) = step.samples[at] {
                step.next_inputs.row_mut(at).assign(&self.embedding.embeddings().row(token));
            }
        }
        Ok(())
    }
}

reads_no_output!(ScheduledEmbeddingTrainingHelper);

/// Reads the given inputs, or with some probability its own last output: TensorFlow 1's
/// `ScheduledOutputTrainingHelper`. A sample says whether the output was read.
pub struct ScheduledOutputTrainingHelper<'a, E> {
    source: Source<'a, E>,
    sampling_probability: f64,
    draws: Draws,
    next_inputs_fn: Option<RowFn<'a, E>>,
    backward_fn: Option<RowBackFn<'a, E>>,
    auxiliary_inputs: Option<ArrayView3<'a, E>>,
}

impl<'a, E: Float> ScheduledOutputTrainingHelper<'a, E> {
    /// `inputs` (batch, seq, input) with the steps of each row, and the probability of reading the output, 0 to 1.
    #[must_use]
    pub fn new(inputs: &'a ArrayRef3<E>, sequence_length: &'a [usize], sampling_probability: f64) -> Self {
        let source = Source { inputs: inputs.view(), lengths: sequence_length };
        let draws = Draws { seed: 0, first_row: 0 };
        Self { source, sampling_probability, draws, next_inputs_fn: None, backward_fn: None, auxiliary_inputs: None }
    }

    /// Turns a row's output into an input. Default: the output itself.
    #[must_use]
    pub fn next_inputs_fn(mut self, next_inputs_fn: impl FnMut(&[E]) -> Vec<E> + 'a) -> Self {
        self.next_inputs_fn = Some(Box::new(next_inputs_fn));
        self
    }

    /// For training with a `next_inputs_fn`: turns an output and the gradient of the input made of it into the gradient
    /// of the output. Default: none, and a recorded decoder with such a function cannot go backward.
    #[must_use]
    pub fn backward_fn(mut self, backward_fn: impl FnMut(&[E], &[E]) -> Vec<E> + 'a) -> Self {
        self.backward_fn = Some(Box::new(backward_fn));
        self
    }

    /// Further inputs (batch, seq, auxiliary), appended to every input, given or read back. Default: none.
    #[must_use]
    pub fn auxiliary_inputs(mut self, auxiliary_inputs: &'a ArrayRef3<E>) -> Self {
        self.auxiliary_inputs = Some(auxiliary_inputs.view());
        self
    }

    /// The seed of all draws. Default: 0.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.draws.seed = seed;
        self
    }

    fn append(&self, row: usize, time: usize, inputs: &mut ArrayRef2<E>, at: usize) {
        let Some(auxiliary) = &self.auxiliary_inputs else { return };
        if time < auxiliary.dim().1 {
            let mut to = inputs.slice_mut(s![at, self.source.width()..]);
            to.assign(&auxiliary.slice(s![row, time, ..]));
        }
    }
}

impl<E: Float> Helper for ScheduledOutputTrainingHelper<'_, E> {
    type Elem = E;
    type Sample = bool;

    fn batch_size(&self) -> usize {
        self.source.inputs.dim().0
    }
    fn is_endless(&self) -> bool {
        false
    }
    fn initialize(&mut self, _: usize, inputs: &mut ArrayRef2<E>, finished: &mut [bool]) -> Result<(), Error> {
        check_probability("sampling_probability", self.sampling_probability)?;
        let (batch, seq, width) = self.source.inputs.dim();
        let more = self.auxiliary_inputs.as_ref().map_or(0, |auxiliary| auxiliary.dim().2);
        check_input("inputs and auxiliary_inputs", width + more, inputs)?;
        if let Some(auxiliary) = &self.auxiliary_inputs {
            check_shape("auxiliary_inputs", &[batch, seq, more], auxiliary.shape())?;
        }
        self.source.initialize(inputs, finished)?;
        for row in 0..batch {
            self.append(row, 0, inputs, row);
        }
        Ok(())
    }
    fn next(&mut self, mut step: HelperStep<'_, E, bool>) -> Result<(), Error> {
        for at in 0..step.rows.len() {
            let row = step.rows[at];
            step.samples[at] = self.draws.uniform(row, step.time, WHETHER) < self.sampling_probability;
            self.source.next(&mut step, at);
            if step.samples[at] {
                let output: Vec<E> = step.outputs.row(at).to_vec();
                let input = match &mut self.next_inputs_fn {
                    Some(next_inputs_fn) => next_inputs_fn(&output),
                    None => output,
                };
                let width = self.source.width();
                check_shape("what ScheduledOutputTrainingHelper makes of an output", &[width], &[input.len()])?;
                step.next_inputs.slice_mut(s![at, ..width]).assign(&aview1(&input));
            }
            self.append(row, step.time + 1, step.next_inputs, at);
        }
        Ok(())
    }
}

impl<E: Float> TrainableHelper for ScheduledOutputTrainingHelper<'_, E> {
    fn next_backward(&mut self, mut step: HelperStepBack<'_, E, bool>) -> Result<(), Error> {
        let width = self.source.width();
        for at in (0..step.rows.len()).filter(|&at| step.samples[at]).collect::<Vec<_>>() {
            if self.next_inputs_fn.is_some() && self.backward_fn.is_none() {
                return Err(Error::NoDerivative { argument: "next_inputs_fn" });
            }
            feed_back(&mut step, (at, width), self.backward_fn.as_mut())?;
        }
        Ok(())
    }
}

impl<E> std::fmt::Debug for ScheduledOutputTrainingHelper<'_, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScheduledOutputTrainingHelper").finish_non_exhaustive()
    }
}
