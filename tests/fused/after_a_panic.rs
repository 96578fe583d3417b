//! A backward pass after one that panicked: nothing of that one may be left in the workspace.

use crate::{Author, RIGHT, Wants, author};
use ndarray::Array3;
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use rnn_cell::seq2seq::{AttentionWrapper, BahdanauAttention};
use rnn_cell::train::{Back, TrainableCell};
use rnn_cell::{BasicRnn, DropoutWrapper, HighwayWrapper, Lstm, MultiRnnCell, Parameters, ResidualWrapper};
use std::panic::{AssertUnwindSafe, catch_unwind};

const STEPS: usize = 3;
const ROWS: usize = 2;

/// Runs forward, then back as one part. The gradients of the inputs have `more` features too many.
fn part<C: TrainableCell<Elem = f64>>(
    cell: &C,
    (start, more): (&C::State, usize),
    gradient: &mut C::Gradient,
    workspace: &mut C::Workspace,
) -> C::State {
    let x = Array3::from_shape_fn((STEPS, ROWS, cell.input_size()), |(t, b, i)| ((7 * t + 3 * b + i) as f64).sin());
    let (mut state, mut y) = (start.clone(), Array3::zeros((STEPS, ROWS, cell.output_size())));
    let mut records = Vec::new();
    cell.unroll_recording(&x, &mut state, &mut y, &mut records, workspace);
    let mut d_inputs = Array3::zeros((STEPS, ROWS, cell.input_size() + more));
    let back = Back { inputs: &x, d_outputs: &y, d_state: &mut state, d_inputs: &mut d_inputs, gradient };
    cell.part_backward(&mut records, back, workspace);
    state
}

/// The gradients of a pass of one part.
fn pass<C: TrainableCell<Elem = f64>>(
    cell: &C,
    start: &C::State,
    workspace: &mut C::Workspace,
) -> Vec<(String, Vec<f64>)> {
    let mut gradient = cell.zero_gradient();
    let mut d_state = part(cell, (start, 0), &mut gradient, workspace);
    cell.finish_backward(&mut d_state, &mut gradient, workspace);
    let mut numbers = Vec::new();
    gradient.visit_parameters(&mut |name, array| numbers.push((name.into(), array.iter().copied().collect())));
    numbers
}

/// `right` and `wrong` have the same weights.
fn check<C: TrainableCell<Elem = f64>>(name: &str, right: &C, wrong: (&C, usize)) {
    check_from(name, &right.zero_state(ROWS), right, wrong);
}

fn check_from<C: TrainableCell<Elem = f64>>(name: &str, start: &C::State, right: &C, (wrong, more): (&C, usize)) {
    let (mut workspace, mut gradient) = (C::Workspace::default(), right.zero_gradient());
    part(right, (start, 0), &mut gradient, &mut workspace);
    let panics = || part(wrong, (start, more), &mut gradient, &mut workspace);
    assert!(catch_unwind(AssertUnwindSafe(panics)).is_err(), "{name}");
    assert_eq!(pass(right, start, &mut workspace), pass(right, start, &mut C::Workspace::default()), "{name}");
}

fn of_stage(stage: usize) -> Author<f64> {
    author(match stage {
        0 => Wants {
            backward: |stage, row| if stage == 0 { panic!("stage 0") } else { (RIGHT.backward)(stage, row) },
            ..RIGHT
        },
        _ => Wants { backward: |_, _| panic!("stage 1"), ..RIGHT },
    })
}

#[test]
fn in_an_equation() {
    for stage in [0, 1] {
        check("a cell", &author(RIGHT), (&of_stage(stage), 0));
        let upper = || Lstm::new(3, 4, &mut Xoshiro256PlusPlus::seed_from_u64(5));
        let layers = |lower| MultiRnnCell::new((lower, upper())).unwrap();
        check("the layers above", &layers(author(RIGHT)), (&layers(of_stage(stage)), 0));
    }
}

#[test]
fn in_an_argument() {
    let cell = || BasicRnn::<f64>::new(3, 3, &mut Xoshiro256PlusPlus::seed_from_u64(6));
    check("a cell", &cell(), (&cell(), 1));
    let layers = MultiRnnCell::new(vec![cell(), cell()]).unwrap();
    check("layers", &layers, (&layers, 1));
    let residual = ResidualWrapper::new(cell()).unwrap();
    check("residual", &residual, (&residual, 1));
    let highway = HighwayWrapper::builder(cell()).build(&mut Xoshiro256PlusPlus::seed_from_u64(7)).unwrap();
    check("highway", &highway, (&highway, 1));
    let dropout = DropoutWrapper::builder(cell()).build().unwrap();
    check("dropout", &dropout, (&dropout, 1));

    // Its layer, its query layer and the cell inside each leave something behind.
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(8);
    let mechanism = BahdanauAttention::builder(4).memory_depth(2).query_depth(3).build(rng).unwrap();
    let attention = AttentionWrapper::builder(BasicRnn::new(3 + 5, 3, rng), [mechanism]);
    let attention = attention.attention_layer_size([5]).build(rng).unwrap();
    let memory = Array3::from_shape_fn((ROWS, 4, 2), |(b, t, k)| ((5 * b + 3 * t + k) as f64).sin());
    check_from("attention", &attention.attend(&memory, None).unwrap(), &attention, (&attention, 1));
}
