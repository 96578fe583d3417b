//! The residual's backward pass: the input gets the output's gradient too.

use super::cell::{RunBack, TrainableCell};
use super::runs::steps_as_runs;
use crate::ResidualWrapper;
use crate::back::Back;
use crate::wrappers::residual::AddInput;
use ndarray::{ArrayRef2, ArrayRef3, Axis};

/// For the plain sum of [`ResidualWrapper::new`]. A residual function of the user's own has no backward pass.
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

    fn unroll_backward(&self, records: &mut Vec<Self::Record>, back: RunBack<'_, Self>, workspace: &mut C::Workspace) {
        let mut inner = records.pop().expect("each run forward left a record");
        let Back { inputs, d_outputs, d_state, d_inputs, gradient } = back;
        let back = Back { inputs, d_outputs, d_state, d_inputs, gradient };
        self.cell().unroll_backward(&mut inner, back, workspace);
        *d_inputs += d_outputs;
    }
}
