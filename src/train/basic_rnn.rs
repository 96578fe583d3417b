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
        let initial = Record::start(inputs.dim().0, state);
        self.run(inputs, state, outputs, true, workspace);
        records.push(Record::new(initial, outputs.view()));
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
        let (kernel, bias) = gradients.split_first_mut().expect("there is one gradient a parameter");
        let fixed = "a gradient has its parameter's shape";
        let kernel = kernel.view_mut().into_dimensionality::<Ix2>().expect(fixed);
        let bias = bias.first_mut().filter(|_| self.weights().bias.is_some());
        let bias = bias.map(|bias| bias.view_mut().into_dimensionality::<Ix1>().expect(fixed));
        let (to_inputs, to_h) = self.transposed();
        let (inputs, d_outputs, d_inputs) = (inputs.view(), d_outputs.view(), d_inputs.view_mut());
        let (packs, activation) = ((&to_inputs, &to_h), self.activation());
        backward(record, packs, activation, inputs, d_outputs, d_state, d_inputs, (kernel, bias), workspace);
    }
}
