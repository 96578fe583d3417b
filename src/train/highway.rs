//! The highway's backward.

use super::cell::TrainableCell;
use super::runs::{add_weight_gradients, steps_as_runs};
use crate::kernel::Workspace;
use crate::wrappers::highway::HighwayGate;
use crate::wrappers::workspace::WrapperWorkspace;
use crate::{Float, HighwayWrapper};
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, Array3, ArrayD, ArrayRef2, ArrayRef3, Axis, Ix2, Zip, s};

/// What a recorded run of a [`HighwayWrapper`] keeps: the cell's records, its outputs and the gates, all as wide as the
/// input.
pub struct HighwayRecord<R, E> {
    inner: Vec<R>,
    /// The cell's, (seq, batch, output).
    outputs: Array3<E>,
    carry: Array3<E>,
    /// There if the gates are not coupled.
    transform: Option<Array3<E>>,
}

impl<C: TrainableCell> TrainableCell for HighwayWrapper<C> {
    type Record = HighwayRecord<C::Record, C::Elem>;

    steps_as_runs!();

    fn unroll_recording(
        &self,
        inputs: &ArrayRef3<C::Elem>,
        state: &mut C::State,
        outputs: &mut ArrayRef3<C::Elem>,
        records: &mut Vec<Self::Record>,
        workspace: &mut WrapperWorkspace<C::Elem, (C::Workspace, Workspace<C::Elem>)>,
    ) {
        let (cell_workspace, workspace) = &mut workspace.inner;
        let mut inner = Vec::new();
        self.cell().unroll_recording(inputs, state, outputs, &mut inner, cell_workspace);
        let mut record = HighwayRecord {
            inner,
            outputs: outputs.to_owned(),
            carry: Array3::zeros(inputs.dim()),
            transform: self.weights().transform_w.as_ref().map(|_| Array3::zeros(inputs.dim())),
        };
        self.join(inputs, outputs, workspace, |gate, t, row, values| {
            let kept = match gate {
                HighwayGate::Carry => &mut record.carry,
                HighwayGate::Transform => record.transform.as_mut().expect("the gates are not coupled"),
            };
            kept.slice_mut(s![t, row, ..]).iter_mut().zip(values).for_each(|(to, &value)| *to = value);
        });
        records.push(record);
    }

    fn unroll_backward(
        &self,
        records: &mut Vec<Self::Record>,
        inputs: &ArrayRef3<C::Elem>,
        d_outputs: &ArrayRef3<C::Elem>,
        d_state: &mut C::State,
        d_inputs: &mut ArrayRef3<C::Elem>,
        gradients: &mut [ArrayD<C::Elem>],
        workspace: &mut WrapperWorkspace<C::Elem, (C::Workspace, Workspace<C::Elem>)>,
    ) {
        let record = records.pop().expect("each run forward left a record");
        // The cell's outputs and the gates become the gradients of the cell's outputs and of the gates' sums.
        let HighwayRecord { inner: mut records, outputs: mut y, mut carry, mut transform } = record;
        let one = C::Elem::from_f64(1.0);
        let mut d_x = Array3::zeros(inputs.dim());
        Zip::from(&mut d_x).and(d_outputs).and(&carry).for_each(|d_x, &d, &carry| *d_x = d * carry);
        match &mut transform {
            None => Zip::from(&mut y).and(&mut carry).and(d_outputs).and(inputs).for_each(|y, carry, &d, &x| {
                let (value, gate) = (*y, *carry);
                *y = d * (one - gate);
                *carry = d * (x - value) * gate * (one - gate);
            }),
            Some(transform) => {
                Zip::from(&mut y).and(transform).and(d_outputs).for_each(|y, transform, &d| {
                    let (value, gate) = (*y, *transform);
                    *y = d * gate;
                    *transform = d * value * gate * (one - gate);
                });
                let carry = Zip::from(&mut carry).and(d_outputs).and(inputs);
                carry.for_each(|gate, &d, &x| *gate = d * x * *gate * (one - *gate));
            }
        }
        let own = if transform.is_some() { 4 } else { 2 };
        let (cells, gates) = gradients.split_at_mut(gradients.len() - own);
        self.cell().unroll_backward(&mut records, inputs, &y, d_state, d_inputs, cells, &mut workspace.inner.0);

        let weights = self.weights();
        let (carry_gradients, transform_gradients) = gates.split_at_mut(2);
        gate_back(inputs, carry, &weights.carry_w, carry_gradients, &mut d_x);
        if let (Some(d), Some(matrix)) = (transform, &weights.transform_w) {
            gate_back(inputs, d, matrix, transform_gradients, &mut d_x);
        }
        *d_inputs += &*d_x;
    }
}

/// From `d`, the gradients of a gate's sums, to those of its `matrix` and bias (`gradients`) and inputs, all added.
fn gate_back<E: Float>(
    inputs: &ArrayRef3<E>,
    d: Array3<E>,
    matrix: &Array2<E>,
    gradients: &mut [ArrayD<E>],
    d_x: &mut Array3<E>,
) {
    let (steps, batch, features) = inputs.dim();
    let flat = (steps * batch, features);
    let d = d.into_shape_with_order(flat).expect("a gate's values are stored in order");
    let mut d_x = d_x.view_mut().into_shape_with_order(flat).expect("gradients of inputs are stored in order");
    general_mat_mul(E::one(), &d, &matrix.t(), E::one(), &mut d_x);
    let [d_matrix, d_bias] = gradients else { unreachable!("a gate has a matrix and a bias") };
    let d_matrix = d_matrix.view_mut().into_dimensionality::<Ix2>().expect("a gradient has its parameter's shape");
    add_weight_gradients(&inputs.view(), &d, d_matrix);
    *d_bias += &d.sum_axis(Axis(0));
}
