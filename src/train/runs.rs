//! What the ways back of cells and wrappers share.

/// A step as a run of one step, for a cell whose runs are the fast path and leave one record each.
macro_rules! steps_as_runs {
    () => {
        fn step_recording(
            &self,
            input: &ArrayRef2<Self::Elem>,
            state: &mut Self::State,
            output: &mut ArrayRef2<Self::Elem>,
            workspace: &mut Self::Workspace,
        ) -> Self::Record {
            let (inputs, mut outputs) = (input.view().insert_axis(Axis(0)), output.view_mut().insert_axis(Axis(0)));
            let mut records = Vec::with_capacity(1);
            self.unroll_recording(&inputs, state, &mut outputs, &mut records, workspace);
            records.remove(0)
        }

        fn step_backward(
            &self,
            record: Self::Record,
            input: &ArrayRef2<Self::Elem>,
            d_output: &ArrayRef2<Self::Elem>,
            d_state: &mut Self::State,
            d_input: &mut ArrayRef2<Self::Elem>,
            gradient: &mut Self::Gradient,
            workspace: &mut Self::Workspace,
        ) {
            let (inputs, d_outputs) = (input.view().insert_axis(Axis(0)), d_output.view().insert_axis(Axis(0)));
            let mut d_inputs = d_input.view_mut().insert_axis(Axis(0));
            let records = &mut vec![record];
            self.unroll_backward(records, &inputs, &d_outputs, d_state, &mut d_inputs, gradient, workspace);
        }
    };
}

pub(crate) use steps_as_runs;
