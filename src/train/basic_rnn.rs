//! The simple recurrent network's backward.

use super::cell::TrainableCell;
use super::runs::steps_as_runs;
use crate::kernel::Workspace;
use crate::kernel::rnn_backward::{Record, backward};
use crate::{BasicRnn, Float};
use ndarray::{Array2, ArrayD, ArrayRef2, ArrayRef3, Axis, Ix1, Ix2};

impl<E: Float> TrainableCell for BasicRnn<E> {
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
        let has_bias = self.weights().bias.is_some();
        assert_eq!(gradients.len(), 1 + usize::from(has_bias), "there is one gradient a parameter");
        let (kernel, bias) = gradients.split_first_mut().expect("there is a kernel");
        let fixed = "a gradient has its parameter's shape";
        let kernel = kernel.view_mut().into_dimensionality::<Ix2>().expect(fixed);
        let bias = bias.first_mut().map(|bias| bias.view_mut().into_dimensionality::<Ix1>().expect(fixed));
        let (inputs, d_outputs, d_inputs) = (inputs.view(), d_outputs.view(), d_inputs.view_mut());
        let (transposed, activation) = (self.transposed(), self.activation());
        backward(record, transposed, activation, inputs, d_outputs, d_state, d_inputs, (kernel, bias), workspace);
    }
}
