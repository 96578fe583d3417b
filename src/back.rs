//! [`Back`]: what a backward pass reads and writes. [`Part`]: a run of it.

use ndarray::{ArrayRef, Axis, Dimension, Ix2, Ix3};

/// The arrays of a backward pass over one step, (batch, features), or over a run of steps, (seq, batch, features). For
/// cells use the aliases [`StepBack`](crate::train::StepBack) and [`RunBack`](crate::train::RunBack).
///
/// `E` is the type of the numbers, `D` the arrays' dimension, `S` the state and `G` the gradients of the parameters.
#[derive(Debug)]
pub struct Back<'a, E, D: Dimension, S, G> {
    /// The inputs of the forward pass.
    pub inputs: &'a ArrayRef<E, D>,
    /// The gradients of the outputs.
    pub d_outputs: &'a ArrayRef<E, D>,
    /// Holds the gradients of the new state; receives those of the old state.
    pub d_state: &'a mut S,
    /// Overwritten with the gradients of the inputs.
    pub d_inputs: &'a mut ArrayRef<E, D>,
    /// The gradients of the parameters are added to it.
    pub gradient: &'a mut G,
}

impl<E, S, G> Back<'_, E, Ix2, S, G> {
    /// Passes this step to `run` as a run of one step.
    pub fn as_run<R>(self, run: impl FnOnce(Back<'_, E, Ix3, S, G>) -> R) -> R {
        let Self { inputs, d_outputs, d_state, d_inputs, gradient } = self;
        let (inputs, d_outputs) = (inputs.view().insert_axis(Axis(0)), d_outputs.view().insert_axis(Axis(0)));
        let mut d_inputs = d_inputs.view_mut().insert_axis(Axis(0));
        run(Back { inputs: &inputs, d_outputs: &d_outputs, d_state, d_inputs: &mut d_inputs, gradient })
    }
}

/// A workspace during a backward run. If the run panics instead of [ending](Self::end), the workspace is as new: what
/// earlier parts of the pass left in it belongs to no other pass.
pub(crate) struct Part<'a, W: Default>(pub &'a mut W);

impl<W: Default> Part<'_, W> {
    /// Keeps what the run left.
    pub fn end(self) {
        std::mem::forget(self);
    }
}

impl<W: Default> Drop for Part<'_, W> {
    fn drop(&mut self) {
        *self.0 = W::default();
    }
}
