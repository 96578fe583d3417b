//! A product by itself.

use super::{INPUTS, ROWS, STEPS, UNITS, linear, refuses};
use ndarray::{Array1, Array2, Array3, Axis, ShapeBuilder};
use rnn_cell::Arrays;
use rnn_cell::fused::{LinearWeights, Workspace};

/// Arrays for a product of `INPUTS` to `UNITS`, right unless a test changes them.
struct Arrays3 {
    x: Array3<f32>,
    d: Array3<f32>,
    d_x: Array3<f32>,
    gradient: LinearWeights<f32>,
}

fn arrays() -> Arrays3 {
    let x = Array3::zeros((STEPS, ROWS, INPUTS));
    let gradient = linear(INPUTS, 0, 1).weights().zeros();
    Arrays3 { d_x: x.clone(), x, d: Array3::zeros((STEPS, ROWS, UNITS)), gradient }
}

impl Arrays3 {
    fn forward(mut self) {
        linear(INPUTS, 0, 1).forward(&self.x, &mut self.d, &mut Workspace::default());
    }
    fn backward(mut self) {
        let gradient = &mut self.gradient;
        linear(INPUTS, 0, 1).backward(&self.x, &self.d, &mut self.d_x, gradient, &mut Workspace::default());
    }
}

#[test]
fn inputs_of_a_product_by_itself() {
    arrays().forward();
    for inputs in [INPUTS - 1, INPUTS + 1, 0] {
        let x = Array3::zeros((STEPS, ROWS, inputs));
        refuses("x must be (seq, batch, input)", || Arrays3 { x, ..arrays() }.forward());
    }
}

#[test]
fn inputs_of_a_product_by_itself_backward() {
    arrays().backward();
    for inputs in [INPUTS - 1, INPUTS + 1, 0] {
        let x = Array3::zeros((STEPS, ROWS, inputs));
        refuses("x must be (seq, batch, input)", || Arrays3 { d_x: x.clone(), x, ..arrays() }.backward());
    }
}

/// Shapes that are not (steps, rows, units).
const NOT_UNITS: [(usize, usize, usize); 4] =
    [(STEPS - 1, ROWS, UNITS), (STEPS, ROWS - 1, UNITS), (ROWS, STEPS, UNITS), (STEPS, ROWS, UNITS - 1)];

#[test]
fn what_is_multiplied() {
    for shape in NOT_UNITS {
        let d = Array3::zeros(shape);
        refuses("what is multiplied must be (seq, batch, units)", || Arrays3 { d, ..arrays() }.forward());
    }
}

#[test]
fn gradients_of_what_is_multiplied() {
    for shape in NOT_UNITS {
        let d = Array3::zeros(shape);
        refuses("d must be (seq, batch, units)", || Arrays3 { d, ..arrays() }.backward());
    }
}

#[test]
fn gradients_of_inputs_of_a_product_by_itself() {
    for shape in [(STEPS - 1, ROWS, INPUTS), (STEPS, ROWS - 1, INPUTS), (STEPS, ROWS, INPUTS - 1)] {
        let d_x = Array3::zeros(shape);
        refuses("d_x must be (seq, batch, input)", || Arrays3 { d_x, ..arrays() }.backward());
    }
}

#[test]
fn gradients_of_weights() {
    let gradient = |kernel: Array2<f32>, bias: Option<usize>| LinearWeights { kernel, bias: bias.map(Array1::zeros) };
    for shape in [(INPUTS - 1, UNITS), (INPUTS + 1, UNITS), (INPUTS, UNITS - 1), (UNITS, INPUTS)] {
        let gradient = gradient(Array2::zeros(shape), None);
        refuses("a gradient has its kernel's shape", || Arrays3 { gradient, ..arrays() }.backward());
    }
}

#[test]
fn strides_of_a_gradient() {
    let fortran = Array2::zeros((INPUTS, UNITS).f());
    let mut reversed = Array2::zeros((INPUTS, UNITS));
    reversed.invert_axis(Axis(1));
    for kernel in [fortran, reversed] {
        let gradient = LinearWeights { kernel, bias: None };
        refuses("gradients are contiguous", || Arrays3 { gradient, ..arrays() }.backward());
    }
    let mut bias = Array1::zeros(UNITS);
    bias.invert_axis(Axis(0));
    let gradient = LinearWeights { bias: Some(bias), ..arrays().gradient };
    refuses("gradients are contiguous", || Arrays3 { gradient, ..arrays() }.backward());
}

#[test]
fn gradients_of_a_bias() {
    for units in [UNITS - 1, UNITS + 1, 0] {
        let gradient = LinearWeights { bias: Some(Array1::zeros(units)), ..arrays().gradient };
        refuses("a gradient has its bias's shape", || Arrays3 { gradient, ..arrays() }.backward());
    }
}
