//! What safe code can get wrong, and the assertion in `src/kernel` that refuses it before memory is touched. The message
//! must be that assertion's: a panic that comes from elsewhere may come too late. `tests/memory_safety.txt` lists all
//! assertions with their tests; those that only a mistake in the kernels can trip have theirs in `src/kernel/tests`.

mod forward;
mod gradients;
mod list;
mod product;
mod strides;

use crate::common::{message, rng};
use ndarray::{Array2, Array3};
use rnn_cell::fused::{
    Backward, Forward, FusedCell, Linear, Samples, Stage, Stages, TrainableFusedCell, Vector, Workspace,
};
use rnn_cell::train::{Back, TrainableCell};
use rnn_cell::{Parameters, ParametersMut, RnnCell};

/// Inputs, units and rows of the cells below.
const INPUTS: usize = 3;
const UNITS: usize = 5;
const ROWS: usize = 2;
const STEPS: usize = 4;

type StagesOf = fn(&Linear<f32>) -> Stages<'_, f32>;
type ForwardOf = fn(&mut Forward<'_, f32>);
type BackwardOf = fn(&mut Backward<'_, f32>);
type GradientsOf = fn(&Linear<f32>, &mut Samples<'_, f32>);

#[track_caller]
fn refuses(expected: &str, run: impl FnOnce()) {
    let found = message(run).unwrap_or_else(|| panic!("no panic, but {expected:?} was expected"));
    assert!(found.contains(expected), "{found:?}, but {expected:?} was expected");
}

/// A cell that says of itself, and does, what a test wants. Unchanged, it makes no mistake.
#[derive(Clone)]
struct Lying {
    linear: Linear<f32>,
    input_size: usize,
    output_size: usize,
    leaf: usize,
    stages: StagesOf,
    forward: ForwardOf,
    /// How many numbers beyond a row the equation loads and stores.
    beyond: usize,
    backward: BackwardOf,
    gradients: GradientsOf,
}

fn linear(input: usize, recurrent: usize, gates: usize) -> Linear<f32> {
    let builder = Linear::<f32>::builder(UNITS).input_size(input).recurrent_size(recurrent).gates(gates);
    builder.build(&mut rng(1)).unwrap()
}

fn honest() -> Lying {
    Lying {
        linear: linear(INPUTS, UNITS, 1),
        input_size: INPUTS,
        output_size: UNITS,
        leaf: UNITS,
        stages: |linear| Stages::new([Stage::new(linear).state(0)]),
        forward: |row| {
            let [sum] = row.sums(0);
            row.new_state(0).copy_from_slice(sum);
            row.output().copy_from_slice(sum);
        },
        beyond: 0,
        backward: |_| {},
        gradients: |_, _| {},
    }
}

impl FusedCell for Lying {
    type Elem = f32;
    type State = Array2<f32>;

    fn input_size(&self) -> usize {
        self.input_size
    }
    fn output_size(&self) -> usize {
        self.output_size
    }
    fn zero_state(&self, batch: usize) -> Array2<f32> {
        Array2::zeros((batch, self.leaf))
    }
    fn stages(&self) -> Stages<'_, f32> {
        (self.stages)(&self.linear)
    }
    fn forward<V: Vector<f32>>(&self, _: usize, row: &mut Forward<'_, f32>) {
        (self.forward)(row);
        if self.beyond > 0 {
            let (h, mut copy) = (row.state(0), [0.0; UNITS]);
            for at in V::units(h.len() + self.beyond) {
                V::load(h, at).store(&mut copy, at);
            }
        }
    }
}

impl TrainableFusedCell for Lying {
    type Gradient = ();

    fn zero_gradient(&self) {}
    fn backward<V: Vector<f32>>(&self, _: usize, row: &mut Backward<'_, f32>) {
        (self.backward)(row);
    }
    fn gradients(&self, samples: &mut Samples<'_, f32>, (): &mut ()) {
        (self.gradients)(&self.linear, samples);
    }
}

impl Parameters<f32> for Lying {}
impl ParametersMut<f32> for Lying {}

rnn_cell::trainable_fused_cell!(Lying);

/// One step of a cell.
fn step(cell: &Lying) {
    let (x, mut h) = (Array2::zeros((ROWS, cell.input_size)), Array2::zeros((ROWS, cell.leaf)));
    let mut output = Array2::zeros((ROWS, cell.output_size));
    cell.step(&x, &mut h, &mut output, &mut Workspace::default());
}

/// A run forward and back.
fn there_and_back(cell: &Lying) {
    let (x, mut h) = (Array3::zeros((STEPS, ROWS, cell.input_size)), Array2::zeros((ROWS, cell.leaf)));
    let (mut y, mut d_x) = (Array3::zeros((STEPS, ROWS, cell.output_size)), x.clone());
    let (mut records, mut workspace) = (Vec::new(), Workspace::default());
    cell.unroll_recording(&x, &mut h, &mut y, &mut records, &mut workspace);
    let back = Back { inputs: &x, d_outputs: &y, d_state: &mut h, d_inputs: &mut d_x, gradient: &mut () };
    cell.unroll_backward(&mut records, back, &mut workspace);
}

#[test]
fn what_is_right_is_accepted() {
    step(&honest());
    there_and_back(&honest());
}
