//! States of any strides.

use super::{INPUTS, ROWS, UNITS};
use crate::common::{numbers, rng};
use ndarray::{Array2, Array3, Axis, ShapeBuilder, s};
use rnn_cell::fused::Workspace;
use rnn_cell::train::{Back, TrainableCell};
use rnn_cell::{Lstm, LstmState, RnnCell};

/// The numbers of a state, in memory that begins and ends elsewhere: a view of other strides, owned.
fn strided(state: &Array2<f32>) -> [Array2<f32>; 4] {
    let (rows, width) = state.dim();
    let mut fortran = Array2::zeros((rows, width).f());
    let mut reversed = Array2::zeros((rows, width));
    reversed.invert_axis(Axis(1));
    let mut all_reversed = Array2::zeros((rows, width));
    all_reversed.invert_axis(Axis(0));
    all_reversed.invert_axis(Axis(1));
    let mut every_second = Array2::zeros((rows, 2 * width - 1));
    every_second.slice_collapse(s![.., ..;2]);
    [&mut fortran, &mut reversed, &mut all_reversed, &mut every_second].map(|array| {
        array.assign(state);
        std::mem::take(array)
    })
}

/// The numbers of a run and of the run back, with states as they come.
fn run_with(cell: &Lstm<f32>, steps: usize, state: LstmState<f32>, d_state: LstmState<f32>) -> Vec<f32> {
    let (mut state, mut d_state, mut workspace) = (state, d_state, Workspace::default());
    let x = Array3::from_shape_fn((steps, ROWS, INPUTS), |(t, row, at)| (t + 2 * row + 3 * at) as f32 * 0.1);
    let (mut y, mut d_x) = (Array3::zeros((steps, ROWS, UNITS)), Array3::zeros(x.dim()));
    cell.unroll(&x, &mut state, &mut y, &mut workspace);
    let mut all = numbers(y.view(), &state);
    let mut records = Vec::new();
    cell.unroll_recording(&x, &mut state, &mut y, &mut records, &mut workspace);
    all.extend(numbers(y.view(), &state));
    let gradient = &mut cell.zero_gradient();
    let back = Back { inputs: &x, d_outputs: &y, d_state: &mut d_state, d_inputs: &mut d_x, gradient };
    cell.unroll_backward(&mut records, back, &mut workspace);
    all.extend(numbers(d_x.view(), &d_state));
    all
}

#[test]
fn strides_of_a_state() {
    let cell = Lstm::<f32>::new(INPUTS, UNITS, &mut rng(3));
    let [c, h, d_c, d_h] =
        [1, 2, 3, 4].map(|k| Array2::from_shape_fn((ROWS, UNITS), |(i, j)| (k * i + j) as f32 * 0.1));
    for steps in [1, 2] {
        let both = |c: &Array2<f32>, h: &Array2<f32>| LstmState { c: c.clone(), h: h.clone() };
        let expected = run_with(&cell, steps, both(&c, &h), both(&d_c, &d_h));
        let [cs, hs, d_cs, d_hs] = [&c, &h, &d_c, &d_h].map(strided);
        for at in 0..cs.len() {
            let other = (at + 1) % cs.len();
            let found = run_with(&cell, steps, both(&cs[at], &hs[other]), both(&d_cs[at], &d_hs[other]));
            assert_eq!(found, expected, "{steps} steps, {at}");
        }
    }
}
