//! The GRU's backward: weights transposed and packed, then one run back in the kernel.

use super::cell::TrainableCell;
use super::runs::steps_as_runs;
use crate::kernel::Workspace;
use crate::kernel::gru_backward::{Gradients, Record, backward};
use crate::{Float, Gru};
use ndarray::{Array2, ArrayD, ArrayRef2, ArrayRef3, Axis, Ix1, Ix2};

impl<E: Float> TrainableCell for Gru<E> {
    type Record = Record<E>;

    steps_as_runs!();

    fn unroll_recording(
        &self,
        inputs: &ArrayRef3<E>,
        state: &mut Array2<E>,
        outputs: &mut ArrayRef3<E>,
        records: &mut Vec<Record<E>>,
        workspace: &mut Workspace<E>,
    ) {
        let mut record = Record::new();
        self.run(inputs, state, outputs, Some(&mut record), workspace);
        records.push(record);
    }

    fn unroll_backward(
        &self,
        records: &mut Vec<Record<E>>,
        inputs: &ArrayRef3<E>,
        d_outputs: &ArrayRef3<E>,
        d_state: &mut Array2<E>,
        d_inputs: &mut ArrayRef3<E>,
        gradients: &mut [ArrayD<E>],
        workspace: &mut Workspace<E>,
    ) {
        let record = records.pop().expect("each run forward left a record");
        let weights = self.weights();
        let mut arrays = gradients.iter_mut();
        let mut next = || arrays.next().expect("there is one gradient a parameter").view_mut();
        let fixed = "a gradient has its parameter's shape";
        let gradients = Gradients {
            gates_kernel: next().into_dimensionality::<Ix2>().expect(fixed),
            gates_bias: weights.gates_bias.is_some().then(|| next().into_dimensionality::<Ix1>().expect(fixed)),
            candidate_kernel: next().into_dimensionality::<Ix2>().expect(fixed),
            candidate_bias: weights.candidate_bias.is_some().then(|| next().into_dimensionality::<Ix1>().expect(fixed)),
            candidate_recurrent_bias: weights
                .candidate_recurrent_bias
                .is_some()
                .then(|| next().into_dimensionality::<Ix1>().expect(fixed)),
        };
        assert!(arrays.next().is_none(), "there is one gradient a parameter");
        let (transposed, activations) = (self.transposed(), self.activations());
        let (inputs, d_outputs, d_inputs) = (inputs.view(), d_outputs.view(), d_inputs.view_mut());
        backward(record, transposed, activations, inputs, d_outputs, d_state, d_inputs, gradients, workspace);
    }
}
