//! The highway's backward pass.

use super::cell::{RunBack, TrainableCell};
use super::runs::{backward_in_parts, steps_as_runs};
use crate::back::{Back, Part};
use crate::fused::Workspace;
use crate::kernel::layer::{self, BackArrays};
use crate::kernel::product::Product;
use crate::wrappers::highway::HighwayWeights;
use crate::wrappers::workspace::WrapperWorkspace;
use crate::{Arrays, Float, HighwayWrapper, Parameters, ParametersMut};
use ndarray::{Array1, Array2, Array3, ArrayD, ArrayRef2, ArrayRef3, ArrayViewD, ArrayViewMutD, Axis, Zip};

/// The gradients of a [`HighwayWrapper`]'s parameters: the cell's, then the gates'.
#[derive(Debug, Clone, PartialEq)]
pub struct HighwayGradient<G, E> {
    /// The gradients of the cell's parameters.
    pub cell: G,
    /// The gradients of the gates' parameters.
    pub gates: HighwayWeights<E>,
}

impl<E: Float, G: Parameters<E>> Parameters<E> for HighwayGradient<G, E> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        self.cell.visit_parameters(visit);
        self.gates.visit_parameters(visit);
    }
    fn take_parameters(self, take: &mut dyn FnMut(&str, ArrayD<E>)) {
        self.cell.take_parameters(take);
        self.gates.take_parameters(take);
    }
}

impl<E: Float, G: ParametersMut<E>> ParametersMut<E> for HighwayGradient<G, E> {
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        self.cell.visit_parameters_mut(visit);
        self.gates.visit_parameters_mut(visit);
    }
}

/// What a recorded [`HighwayWrapper`] run keeps: the cell's records and outputs, and the gates, as wide as the input.
pub struct HighwayRecord<R, E> {
    inner: Vec<R>,
    /// The cell's outputs, (seq, batch, output).
    outputs: Array3<E>,
    carry: Array3<E>,
    /// `None` if the gates are coupled.
    transform: Option<Array3<E>>,
}

impl<C: TrainableCell> TrainableCell for HighwayWrapper<C> {
    type Record = HighwayRecord<C::Record, C::Elem>;
    type Gradient = HighwayGradient<C::Gradient, C::Elem>;

    fn zero_gradient(&self) -> Self::Gradient {
        HighwayGradient { cell: self.cell().zero_gradient(), gates: self.weights().zeros() }
    }

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
        let gates = (record.carry.view_mut(), record.transform.as_mut().map(|transform| transform.view_mut()));
        self.join(inputs, outputs, gates, workspace);
        records.push(record);
    }

    backward_in_parts!();

    fn part_backward(
        &self,
        records: &mut Vec<Self::Record>,
        back: RunBack<'_, Self>,
        workspace: &mut WrapperWorkspace<C::Elem, (C::Workspace, Workspace<C::Elem>)>,
    ) {
        let part = Part(workspace);
        let Back { inputs, d_outputs, d_state, d_inputs, gradient } = back;
        let record = records.pop().expect("each run forward left a record");
        // Gradients overwrite these below: those of the cell's outputs and of the gates' sums.
        let HighwayRecord { inner: mut records, outputs: mut y, mut carry, mut transform } = record;
        let one = C::Elem::of(1.0);
        let mut d_x = Array3::zeros(inputs.dim());
        let mut through_carry = Array3::zeros(inputs.dim());
        Zip::from(&mut through_carry).and(d_outputs).and(&carry).for_each(|d_x, &d, &carry| *d_x = d * carry);
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
        let HighwayGradient { cell, gates } = gradient;
        let (cell_workspace, workspace) = &mut part.0.inner;
        let back = Back { inputs, d_outputs: &y, d_state, d_inputs, gradient: cell };
        self.cell().part_backward(&mut records, back, cell_workspace);
        Zip::from(&mut *d_inputs).and(&through_carry).for_each(|d_x, &d| *d_x += d);

        let (carry_product, transform_product) = self.products();
        let HighwayWeights { carry_w, carry_b, transform_w, transform_b } = gates;
        gate_back(carry_product, (inputs, &carry), (carry_w, carry_b), &mut d_x, workspace);
        Zip::from(&mut *d_inputs).and(&d_x).for_each(|d_x, &d| *d_x += d);
        if let (Some(product), Some(d), Some(matrix), Some(bias)) =
            (transform_product, transform, transform_w, transform_b)
        {
            gate_back(product, (inputs, &d), (matrix, bias), &mut d_x, workspace);
            Zip::from(&mut *d_inputs).and(&d_x).for_each(|d_x, &d| *d_x += d);
        }
        part.end();
    }

    fn finish_backward(
        &self,
        d_state: &mut C::State,
        gradient: &mut Self::Gradient,
        workspace: &mut WrapperWorkspace<C::Elem, (C::Workspace, Workspace<C::Elem>)>,
    ) {
        self.cell().finish_backward(d_state, &mut gradient.cell, &mut workspace.inner.0);
    }
}

/// Computes from `d`, the gradients of a gate's sums, those of its inputs, and adds those of its matrix and bias.
fn gate_back<E: Float>(
    product: &Product<E>,
    (inputs, d): (&ArrayRef3<E>, &Array3<E>),
    (matrix, bias): (&mut Array2<E>, &mut Array1<E>),
    d_x: &mut Array3<E>,
    workspace: &mut Workspace<E>,
) {
    let (kernel, bias) = (matrix.view_mut(), Some(bias));
    let arrays = BackArrays { x: inputs.view(), d: d.view(), d_x: d_x.view_mut(), kernel, bias };
    layer::backward(product, arrays, false, workspace);
}
