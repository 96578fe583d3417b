//! What the backward passes of cells and wrappers share.

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
            back: crate::back::Back<'_, Self::Elem, ndarray::Ix2, Self::State, Self::Gradient>,
            workspace: &mut Self::Workspace,
        ) {
            back.as_run(|back| self.unroll_backward(&mut vec![record], back, workspace));
        }
    };
}

/// A whole backward run, for a cell that has its part and its end.
macro_rules! backward_in_parts {
    () => {
        fn unroll_backward(
            &self,
            records: &mut Vec<Self::Record>,
            back: crate::back::Back<'_, Self::Elem, ndarray::Ix3, Self::State, Self::Gradient>,
            workspace: &mut Self::Workspace,
        ) {
            let crate::back::Back { inputs, d_outputs, d_state, d_inputs, gradient } = back;
            let part =
                crate::back::Back { inputs, d_outputs, d_state: &mut *d_state, d_inputs, gradient: &mut *gradient };
            self.part_backward(records, part, workspace);
            self.finish_backward(d_state, gradient, workspace);
        }
    };
}

pub(crate) use {backward_in_parts, steps_as_runs};
