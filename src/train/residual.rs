//! The residual's backward: the output's gradient is also the input's.

use super::cell::TrainableCell;
use super::runs::steps_as_runs;
use crate::ResidualWrapper;
use crate::wrappers::residual::AddInput;
use ndarray::{ArrayRef2, ArrayRef3, Axis};

/// Around [`ResidualWrapper::new`]'s plain sum; a residual function of the user's has no backward.
impl<C: TrainableCell> TrainableCell for ResidualWrapper<C, AddInput> {
    /// The cell's, of a run.
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

    fn unroll_backward(
        &self,
        records: &mut Vec<Self::Record>,
        inputs: &ArrayRef3<C::Elem>,
        d_outputs: &ArrayRef3<C::Elem>,
        d_state: &mut C::State,
        d_inputs: &mut ArrayRef3<C::Elem>,
        gradient: &mut C::Gradient,
        workspace: &mut C::Workspace,
    ) {
        let mut inner = records.pop().expect("each run forward left a record");
        self.cell().unroll_backward(&mut inner, inputs, d_outputs, d_state, d_inputs, gradient, workspace);
        *d_inputs += d_outputs;
    }
}
