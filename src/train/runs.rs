//! What the ways back of cells and wrappers share.

use crate::Float;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView3, ArrayViewMut2};

/// Adds xᵀ · d over all samples (step, row): `x` is (seq, batch, features), `d` (samples, units).
pub(super) fn add_weight_gradients<E: Float>(x: &ArrayView3<E>, d: &Array2<E>, mut gradient: ArrayViewMut2<E>) {
    let x = x.to_shape((d.nrows(), x.dim().2)).expect("a sample is a step of a row");
    general_mat_mul(E::one(), &x.t(), d, E::one(), &mut gradient);
}

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
            gradients: &mut [ArrayD<Self::Elem>],
            workspace: &mut Self::Workspace,
        ) {
            let (inputs, d_outputs) = (input.view().insert_axis(Axis(0)), d_output.view().insert_axis(Axis(0)));
            let mut d_inputs = d_input.view_mut().insert_axis(Axis(0));
            let records = &mut vec![record];
            self.unroll_backward(records, &inputs, &d_outputs, d_state, &mut d_inputs, gradients, workspace);
        }
    };
}

pub(super) use steps_as_runs;
