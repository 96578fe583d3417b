//! The residual's backward: the output's gradient is also the input's.

use super::cell::TrainableCell;
use crate::ResidualWrapper;
use crate::wrappers::residual::AddInput;
use ndarray::{ArrayD, ArrayRef2, ArrayRef3};

/// Around [`ResidualWrapper::new`]'s plain sum; a residual function of the user's has no backward.
impl<C: TrainableCell> TrainableCell for ResidualWrapper<C, AddInput> {
    type Record = C::Record;

    fn step_recording(
        &self,
        input: &ArrayRef2<C::Elem>,
        state: &mut C::State,
        output: &mut ArrayRef2<C::Elem>,
        workspace: &mut C::Workspace,
    ) -> C::Record {
        let record = self.cell().step_recording(input, state, output, workspace);
        *output += input;
        record
    }

    fn step_backward(
        &self,
        record: C::Record,
        input: &ArrayRef2<C::Elem>,
        d_output: &ArrayRef2<C::Elem>,
        d_state: &mut C::State,
        d_input: &mut ArrayRef2<C::Elem>,
        gradients: &mut [ArrayD<C::Elem>],
        workspace: &mut C::Workspace,
    ) {
        self.cell().step_backward(record, input, d_output, d_state, d_input, gradients, workspace);
        *d_input += d_output;
    }

    fn unroll_recording(
        &self,
        inputs: &ArrayRef3<C::Elem>,
        state: &mut C::State,
        outputs: &mut ArrayRef3<C::Elem>,
        records: &mut Vec<C::Record>,
        workspace: &mut C::Workspace,
    ) {
        self.cell().unroll_recording(inputs, state, outputs, records, workspace);
        *outputs += inputs;
    }

    fn unroll_backward(
        &self,
        records: &mut Vec<C::Record>,
        inputs: &ArrayRef3<C::Elem>,
        d_outputs: &ArrayRef3<C::Elem>,
        d_state: &mut C::State,
        d_inputs: &mut ArrayRef3<C::Elem>,
        gradients: &mut [ArrayD<C::Elem>],
        workspace: &mut C::Workspace,
    ) {
        self.cell().unroll_backward(records, inputs, d_outputs, d_state, d_inputs, gradients, workspace);
        *d_inputs += d_outputs;
    }
}
