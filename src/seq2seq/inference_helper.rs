//! [`InferenceHelper`]: reads what functions make of the outputs.

use super::helper::{Helper, HelperStep, HelperStepBack, RowBackFn, RowFn, TrainableHelper, feed_back};
use crate::checks::check_shape;
use crate::{Error, Float};
use ndarray::{ArrayRef2, Axis, aview1};

/// Reads `start_inputs` first, then what a function computes from each output: TensorFlow 1's `InferenceHelper`.
///
/// Functions take one row; all but `end_fn` return one. Samples may be of any width.
pub struct InferenceHelper<'a, E> {
    start_inputs: &'a ArrayRef2<E>,
    sample_fn: RowFn<'a, E>,
    end_fn: EndFn<'a, E>,
    next_inputs_fn: Option<RowFn<'a, E>>,
    backward_fn: Option<RowBackFn<'a, E>>,
}

/// Whether a row is the last.
type EndFn<'a, E> = Box<dyn FnMut(&[E]) -> bool + 'a>;

impl<'a, E: Float> InferenceHelper<'a, E> {
    /// `start_inputs` (batch, input); `sample_fn` turns an output into a sample; `end_fn` says whether a sample is a
    /// row's last.
    #[must_use]
    pub fn new(
        start_inputs: &'a ArrayRef2<E>,
        sample_fn: impl FnMut(&[E]) -> Vec<E> + 'a,
        end_fn: impl FnMut(&[E]) -> bool + 'a,
    ) -> Self {
        Self {
            start_inputs,
            sample_fn: Box::new(sample_fn),
            end_fn: Box::new(end_fn),
            next_inputs_fn: None,
            backward_fn: None,
        }
    }

    /// Turns a sample into the next input. Default: the sample itself.
    #[must_use]
    pub fn next_inputs_fn(mut self, next_inputs_fn: impl FnMut(&[E]) -> Vec<E> + 'a) -> Self {
        self.next_inputs_fn = Some(Box::new(next_inputs_fn));
        self
    }

    /// For training: turns an output and the gradient of the next input made of it into the gradient of the output,
    /// through `sample_fn` and `next_inputs_fn`. Default: none, and a recorded decoder cannot go backward.
    #[must_use]
    pub fn backward_fn(mut self, backward_fn: impl FnMut(&[E], &[E]) -> Vec<E> + 'a) -> Self {
        self.backward_fn = Some(Box::new(backward_fn));
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

impl<E: Float> TrainableHelper for InferenceHelper<'_, E> {
    fn next_backward(&mut self, mut step: HelperStepBack<'_, E, Vec<E>>) -> Result<(), Error> {
        let backward_fn = self.backward_fn.as_mut().ok_or(Error::NoDerivative { argument: "sample_fn" })?;
        let width = step.d_next_inputs.ncols();
        (0..step.rows.len()).try_for_each(|at| feed_back(&mut step, (at, width), Some(&mut *backward_fn)))
    }
}

impl<E> std::fmt::Debug for InferenceHelper<'_, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InferenceHelper").finish_non_exhaustive()
    }
}
