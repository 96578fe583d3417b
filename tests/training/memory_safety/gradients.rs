//! A run back, and the gradients of weights.

use super::{GradientsOf, INPUTS, Lying, ROWS, STEPS, StagesOf, UNITS, honest, linear, refuses, there_and_back};
use ndarray::{Array1, Array2, Array3};
use rnn_cell::fused::{Stage, Stages, Workspace};
use rnn_cell::train::{Back, TrainableCell};

/// What does not belong to the record of a run of `ROWS` rows and `STEPS` steps of [`honest`].
struct Other {
    inputs: (usize, usize, usize),
    d_inputs: (usize, usize, usize),
    d_outputs: (usize, usize, usize),
    state: (usize, usize),
    cell: Lying,
}

fn belongs() -> Other {
    let (inputs, d_outputs) = ((STEPS, ROWS, INPUTS), (STEPS, ROWS, UNITS));
    Other { inputs, d_inputs: inputs, d_outputs, state: (ROWS, UNITS), cell: honest() }
}

impl Other {
    fn run_back(self) {
        let Self { inputs, d_inputs, d_outputs, state, cell } = self;
        let (x, mut y) = (Array3::zeros((STEPS, ROWS, INPUTS)), Array3::zeros((STEPS, ROWS, UNITS)));
        let (mut records, mut workspace) = (Vec::new(), Workspace::default());
        let mut h = Array2::zeros((ROWS, UNITS));
        honest().unroll_recording(&x, &mut h, &mut y, &mut records, &mut workspace);
        let (inputs, mut d_inputs) = (Array3::zeros(inputs), Array3::zeros(d_inputs));
        let (d_outputs, mut d_state) = (Array3::zeros(d_outputs), Array2::zeros(state));
        let (d_state, d_inputs) = (&mut d_state, &mut d_inputs);
        let back = Back { inputs: &inputs, d_outputs: &d_outputs, d_state, d_inputs, gradient: &mut () };
        cell.unroll_backward(&mut records, back, &mut workspace);
    }
}

/// Runs a cell there and back, and leaves its samples in the workspace.
fn leave(cell: &Lying, workspace: &mut Workspace<f32>) {
    let (x, mut h) = (Array3::zeros((STEPS, ROWS, cell.input_size)), Array2::zeros((ROWS, cell.leaf)));
    let (mut y, mut d_x) = (Array3::zeros((STEPS, ROWS, cell.output_size)), x.clone());
    let mut records = Vec::new();
    cell.unroll_recording(&x, &mut h, &mut y, &mut records, workspace);
    let back = Back { inputs: &x, d_outputs: &y, d_state: &mut h, d_inputs: &mut d_x, gradient: &mut () };
    cell.part_backward(&mut records, back, workspace);
}

/// A cell with other inputs.
fn other() -> Lying {
    Lying { linear: linear(INPUTS + 1, UNITS, 1), input_size: INPUTS + 1, ..honest() }
}

#[test]
fn samples_of_two_cells() {
    let mut workspace = Workspace::default();
    leave(&honest(), &mut workspace);
    leave(&honest(), &mut workspace);
    refuses("one cell's backward pass ends before another's", || leave(&other(), &mut workspace));
}

#[test]
fn samples_of_another_cell() {
    let more: StagesOf = |linear| Stages::new([Stage::new(linear).state(0)]).accumulator(1);
    let cells = [Lying { linear: linear(INPUTS, UNITS, 2), ..honest() }, Lying { stages: more, ..honest() }];
    for cell in cells {
        let mut workspace = Workspace::default();
        leave(&honest(), &mut workspace);
        let mut state = Array2::zeros((ROWS, UNITS));
        let finish = || cell.finish_backward(&mut state, &mut (), &mut workspace);
        refuses("finish the backward pass of the cell that ran", finish);
    }
}

#[test]
fn inputs_of_a_record() {
    belongs().run_back();
    let others = [(STEPS + 1, ROWS, INPUTS), (STEPS - 1, ROWS, INPUTS), (STEPS, ROWS + 1, INPUTS), (STEPS, ROWS, 1)];
    for inputs in others {
        let run = || Other { inputs, d_inputs: inputs, ..belongs() }.run_back();
        refuses("inputs must be those of the record", run);
    }
}

#[test]
fn gradients_of_inputs() {
    let others = [(STEPS + 1, ROWS, INPUTS), (STEPS - 1, ROWS, INPUTS), (STEPS, ROWS - 1, INPUTS), (STEPS, ROWS, 1)];
    for d_inputs in others {
        refuses("d_inputs must be (seq, batch, input)", || Other { d_inputs, ..belongs() }.run_back());
    }
}

#[test]
fn gradients_of_outputs() {
    let others = [(STEPS + 1, ROWS, UNITS), (STEPS - 1, ROWS, UNITS), (STEPS, ROWS - 1, UNITS), (STEPS, ROWS, 1)];
    for d_outputs in others {
        refuses("d_outputs must be (seq, batch, output)", || Other { d_outputs, ..belongs() }.run_back());
    }
}

#[test]
fn rows_of_a_states_gradient() {
    for rows in [ROWS - 1, ROWS + 1, 0] {
        refuses("d_state must be the state's shape", || Other { state: (rows, UNITS), ..belongs() }.run_back());
    }
}

#[test]
fn width_of_a_states_gradient() {
    for leaf in [UNITS - 1, UNITS + 1, 0] {
        let run = || Other { state: (ROWS, leaf), cell: Lying { leaf, ..honest() }, ..belongs() }.run_back();
        refuses("d_state must be the state's shape", run);
    }
}

#[test]
fn record_of_another_cell() {
    let stages: [StagesOf; 2] = [
        |linear| Stages::new([Stage::new(linear).state(0)]).temporary(1),
        |linear| Stages::new([Stage::new(linear).state(0), Stage::without_product(1)]),
    ];
    for stages in stages {
        let run = || Other { cell: Lying { stages, ..honest() }, ..belongs() }.run_back();
        refuses("the record must be this cell's", run);
    }
    let run = || Other { cell: Lying { linear: linear(INPUTS, UNITS, 2), ..honest() }, ..belongs() }.run_back();
    refuses("the record must be this cell's", run);
}

#[test]
fn numbers_of_an_accumulator() {
    let stages: StagesOf = |linear| Stages::new([Stage::new(linear).state(0)]).accumulator(UNITS);
    let beyond: [GradientsOf; 3] = [
        |_, samples| samples.add_accumulated(0, 0, &mut Array1::zeros(UNITS + 1)),
        |_, samples| samples.add_accumulated(0, UNITS - 1, &mut Array1::zeros(2)),
        |_, samples| samples.add_accumulated(0, usize::MAX, &mut Array1::zeros(2)),
    ];
    for gradients in beyond {
        refuses("have the widths [5]", || there_and_back(&Lying { stages, gradients, ..honest() }));
    }
}
