//! The residual's backward pass: the input gets the output's gradient too, or what the user's derivative makes of it.

use super::cell::{RunBack, TrainableCell};
use super::runs::{backward_in_parts, steps_as_runs};
use crate::ResidualWrapper;
use crate::back::{Back, Part};
use crate::wrappers::residual::{AddInput, ResidualBack, ResidualFn, WithDerivative};
use ndarray::{Array3, ArrayRef2, ArrayRef3, Axis};

/// For the plain sum of [`ResidualWrapper::new`].
impl<C: TrainableCell> TrainableCell for ResidualWrapper<C, AddInput> {
    /// The inner cell's records of a run.
    type Record = Vec<C::Record>;
    type Gradient = C::Gradient;

    fn zero_gradient(&self) -> C::Gradient {
        self.cell().zero_gradient()
    }

    steps_as_runs!();

    fn unroll_recording(
        &self,
        inputs: &ArrayRef3<C::Elem>,
        state: &mut C::State,
        outputs: &mut ArrayRef3<C::Elem>,
        records: &mut Vec<Self::Record>,
        workspace: &mut C::Workspace,
    ) {
        let mut inner = Vec::new();
        self.cell().unroll_recording(inputs, state, outputs, &mut inner, workspace);
        records.push(inner);
        *outputs += inputs;
    }

    backward_in_parts!();

    fn part_backward(&self, records: &mut Vec<Self::Record>, back: RunBack<'_, Self>, workspace: &mut C::Workspace) {
        let part = Part(workspace);
        let mut inner = records.pop().expect("each run forward left a record");
        let Back { inputs, d_outputs, d_state, d_inputs, gradient } = back;
        let back = Back { inputs, d_outputs, d_state, d_inputs, gradient };
        self.cell().part_backward(&mut inner, back, part.0);
        *d_inputs += d_outputs;
        part.end();
    }

    fn finish_backward(&self, d_state: &mut C::State, gradient: &mut C::Gradient, workspace: &mut C::Workspace) {
        self.cell().finish_backward(d_state, gradient, workspace);
    }
}

/// What a recorded run of a [`ResidualWrapper::with_residual_fns`] keeps: the cell's records, and its outputs.
pub struct ResidualRecord<R, E> {
    records: Vec<R>,
    /// (seq, batch, output), before they were joined.
    outputs: Array3<E>,
}

impl<R, E> std::fmt::Debug for ResidualRecord<R, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResidualRecord").field("outputs", &self.outputs.dim()).finish_non_exhaustive()
    }
}

/// For a residual function of the user's own, with its derivative.
impl<C, R, D> TrainableCell for ResidualWrapper<C, WithDerivative<R, D>>
where
    C: TrainableCell,
    R: Fn(&ArrayRef2<C::Elem>, &mut ArrayRef2<C::Elem>) + Sync,
    D: Fn(&mut ResidualBack<'_, C::Elem>) + Sync,
{
    type Record = ResidualRecord<C::Record, C::Elem>;
    type Gradient = C::Gradient;

    fn zero_gradient(&self) -> C::Gradient {
        self.cell().zero_gradient()
    }

    steps_as_runs!();

    fn unroll_recording(
        &self,
        inputs: &ArrayRef3<C::Elem>,
        state: &mut C::State,
        outputs: &mut ArrayRef3<C::Elem>,
        records: &mut Vec<Self::Record>,
        workspace: &mut C::Workspace,
    ) {
        let mut inner = Vec::new();
        self.cell().unroll_recording(inputs, state, outputs, &mut inner, workspace);
        records.push(ResidualRecord { records: inner, outputs: outputs.to_owned() });
        for (input, mut output) in inputs.outer_iter().zip(outputs.outer_iter_mut()) {
            self.residual().join(&input, &mut output);
        }
    }

    backward_in_parts!();

    fn part_backward(&self, records: &mut Vec<Self::Record>, back: RunBack<'_, Self>, workspace: &mut C::Workspace) {
        let part = Part(workspace);
        let ResidualRecord { records: mut inner, outputs } = records.pop().expect("each run forward left a record");
        let Back { inputs, d_outputs: d_joined, d_state, d_inputs, gradient } = back;
        let (mut d_x, mut d_y) = (Array3::zeros(inputs.raw_dim()), Array3::zeros(outputs.raw_dim()));
        for step in 0..inputs.len_of(Axis(0)) {
            (self.residual().derivative())(&mut ResidualBack {
                inputs: &inputs.index_axis(Axis(0), step),
                outputs: &outputs.index_axis(Axis(0), step),
                d_joined: &d_joined.index_axis(Axis(0), step),
                d_inputs: &mut d_x.index_axis_mut(Axis(0), step),
                d_outputs: &mut d_y.index_axis_mut(Axis(0), step),
            });
        }
        let back = Back { inputs, d_outputs: &d_y, d_state, d_inputs: &mut *d_inputs, gradient };
        self.cell().part_backward(&mut inner, back, part.0);
        *d_inputs += &*d_x;
        part.end();
    }

    fn finish_backward(&self, d_state: &mut C::State, gradient: &mut C::Gradient, workspace: &mut C::Workspace) {
        self.cell().finish_backward(d_state, gradient, workspace);
    }
}
