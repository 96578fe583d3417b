//! What the built-in cells' ways back share.

/// A step as a run of one step, for a cell whose runs are the fast path.
macro_rules! steps_as_runs {
    ($state:ty, $record:ty) => {
        fn step_recording(
            &self,
            input: &ArrayRef2<E>,
            state: &mut $state,
            output: &mut ArrayRef2<E>,
            workspace: &mut Workspace<E>,
        ) -> $record {
            let (inputs, mut outputs) = (input.view().insert_axis(Axis(0)), output.view_mut().insert_axis(Axis(0)));
            let mut records = Vec::with_capacity(1);
            self.unroll_recording(&inputs, state, &mut outputs, &mut records, workspace);
            records.remove(0)
        }

        fn step_backward(
            &self,
            record: $record,
            input: &ArrayRef2<E>,
            d_output: &ArrayRef2<E>,
            d_state: &mut $state,
            d_input: &mut ArrayRef2<E>,
            gradients: &mut [ArrayD<E>],
            workspace: &mut Workspace<E>,
        ) {
            let (inputs, d_outputs) = (input.view().insert_axis(Axis(0)), d_output.view().insert_axis(Axis(0)));
            let mut d_inputs = d_input.view_mut().insert_axis(Axis(0));
            let records = &mut vec![record];
            self.unroll_backward(records, &inputs, &d_outputs, d_state, &mut d_inputs, gradients, workspace);
        }
    };
}

pub(super) use steps_as_runs;
