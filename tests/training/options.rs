//! Options of the recorded drivers, combined at random: each combination gives what simple recorded runs give.

use crate::common::description::config;
use crate::common::{driver, driver_both, leaves, rng};
use crate::properties::{Problem, Run, all, any_problem, assert_close};
use ndarray::{Array, Array2, Array3, Dimension, s};
use proptest::prelude::*;
use rand::RngExt;
use rnn_cell::train::{self, RunGradients};
use rnn_cell::{DynState, DynamicRnn, Float, Lstm, LstmState, RnnCell, State, one_hot};
use std::ops::Range;

/// The options of a run, as proptest draws them.
#[derive(Debug, Clone)]
struct Options {
    lengths: bool,
    initial: bool,
    time_major: bool,
    /// How often a step resets.
    resets: Option<f64>,
    checkpoint_every: Option<usize>,
}

fn options() -> impl Strategy<Value = Options> {
    let resets = proptest::option::of(prop_oneof![3 => 0.0..0.5, 1 => Just(1.0)]);
    (any::<(bool, bool, bool)>(), resets, proptest::option::of(1..=9_usize)).prop_map(
        |((lengths, initial, time_major), resets, checkpoint_every)| Options {
            lengths,
            initial,
            time_major,
            resets,
            checkpoint_every,
        },
    )
}

/// A copy with batch and time swapped, in memory too, if it is to be time-major.
fn laid_out<E: Clone, D: Dimension>(array: &Array<E, D>, time_major: bool) -> Array<E, D> {
    let mut view = array.view();
    if time_major {
        view.swap_axes(0, 1);
    }
    view.as_standard_layout().into_owned()
}

type Whole<E> = (Array3<E>, DynState<E>, RunGradients<E, DynState<E>>);

impl Options {
    /// The problem with these options: (batch, seq) resets, lengths of all rows, initial state.
    fn of<E: Float>(&self, problem: &Problem, run: &Run<E>) -> (Array2<bool>, Vec<usize>, DynState<E>) {
        let (batch, seq, _) = run.x.dim();
        let mut rng = rng(problem.seed);
        let often = self.resets.unwrap_or(0.0);
        let resets = Array2::from_shape_simple_fn((batch, seq), || rng.random_bool(often));
        let lengths = if self.lengths { problem.lengths.clone() } else { vec![seq; batch] };
        let initial = if self.initial { run.initial.clone() } else { run.cell.zero_state(batch) };
        (resets, lengths, initial)
    }

    /// Outputs and gradients in batch-major layout.
    fn run<E: Float>(&self, problem: &Problem, run: &Run<E>, time_major: bool) -> Whole<E> {
        let (resets, lengths, initial) = self.of(problem, run);
        let lengths = self.lengths.then_some(&lengths[..]);
        let resets = laid_out(&resets, time_major);
        let (x, d_outputs) = (laid_out(&run.x, time_major), laid_out(&run.d_outputs, time_major));
        let mut driver = driver(&run.cell, lengths, self.initial.then_some(initial)).time_major(time_major);
        if self.resets.is_some() {
            driver = driver.resets(&resets);
        }
        let (outputs, last, tape) = match self.checkpoint_every {
            None => driver.record(&x).unwrap(),
            Some(every) => driver.checkpoint_every(every).record(&x).unwrap(),
        };
        assert!(outputs.is_standard_layout());
        let mut gradients = tape.d_final_state(run.d_last.clone()).backward(&d_outputs).unwrap();
        assert!(gradients.inputs.is_standard_layout());
        gradients.inputs = laid_out(&gradients.inputs, time_major);
        (laid_out(&outputs, time_major), last, gradients)
    }
}

/// The pieces of a row between its resets.
fn pieces(resets: &Array2<bool>, row: usize, length: usize) -> Vec<Range<usize>> {
    let mut starts: Vec<usize> = (1..length).filter(|&step| resets[[row, step]]).collect();
    starts.insert(0, 0);
    let ends = starts.iter().skip(1).copied().chain([length]);
    starts.iter().zip(ends).map(|(&start, end)| start..end).collect()
}

proptest! {
    #![proptest_config(config(192))]

    #[test]
    fn options_combine(problem in any_problem(), options in options()) {
        let run = problem.run::<f64>();
        let (resets, lengths, initial) = options.of(&problem, &run);
        let (outputs, last, gradients) = options.run(&problem, &run, options.time_major);

        let (mut d_x, mut expected) = (Array3::zeros(run.x.dim()), Array3::zeros(outputs.dim()));
        let mut d_initial = run.d_last.clone();
        d_initial.visit_mut(&mut |mut leaf| leaf.fill(0.0));
        let mut sums: Vec<_> = gradients.parameters.arrays().iter().map(|array| array * 0.0).collect();
        for (row, &length) in lengths.iter().enumerate() {
            let pieces = pieces(&resets, row, length);
            for (piece, steps) in pieces.iter().enumerate() {
                let (start, part) = (initial.select_rows(&[row]), s![row..=row, steps.clone(), ..]);
                let x = run.x.slice(part);
                let (out, state, tape) = train::dynamic_rnn(&run.cell, &x, None, Some(start)).unwrap();
                expected.slice_mut(part).assign(&out);
                let is_last = piece + 1 == pieces.len();
                if is_last {
                    assert_eq!(leaves(&state), leaves(&last.select_rows(&[row])));
                }
                let tape = if is_last { tape.d_final_state(run.d_last.select_rows(&[row])) } else { tape };
                let back = tape.backward(&run.d_outputs.slice(part)).unwrap();
                d_x.slice_mut(part).assign(&back.inputs);
                sums.iter_mut().zip(back.parameters.arrays()).for_each(|(sum, part)| *sum += part);
                let parts = leaves(&back.initial_state);
                let mut parts = parts.iter();
                d_initial.visit_mut(&mut |mut leaf| {
                    let mut leaf = leaf.row_mut(row);
                    leaf += &parts.next().unwrap().row(0);
                });
            }
        }
        assert_eq!(outputs, expected);
        assert_close(&d_x, &gradients.inputs);
        assert_close(leaves(&d_initial).iter().flatten(), leaves(&gradients.initial_state).iter().flatten());
        assert_close(sums.iter().flatten(), gradients.parameters.arrays().iter().flatten());
    }

    #[test]
    fn time_major_is_batch_major_bit_for_bit(problem in any_problem(), options in options()) {
        time_major::<f32>(&problem, &options);
        time_major::<f64>(&problem, &options);
    }
}

fn time_major<E: Float>(problem: &Problem, options: &Options) {
    let run = problem.run::<E>();
    let [batch_major, time_major] = [false, true].map(|time_major| {
        let (outputs, last, gradients) = options.run(problem, &run, time_major);
        (outputs, leaves(&last), all(&gradients))
    });
    assert_eq!(batch_major, time_major);

    // Both directions. They know no resets.
    let (_, lengths, initial) = options.of(problem, &run);
    let lengths = options.lengths.then_some(&lengths[..]);
    let [batch_major, time_major] = [false, true].map(|time_major| {
        let (x, d) = (laid_out(&run.x, time_major), laid_out(&run.d_outputs, time_major));
        let driver = driver_both(&run.cell, lengths, [options.initial.then(|| initial.clone()), None]);
        let driver = driver.time_major(time_major);
        let ((fw, bw), states, tape) = match options.checkpoint_every {
            None => driver.record(&x).unwrap(),
            Some(every) => driver.checkpoint_every(every).record(&x).unwrap(),
        };
        let back = tape.d_final_state_fw(run.d_last.clone()).backward(&d, &d).unwrap();
        let outputs = [fw, bw].map(|outputs| laid_out(&outputs, time_major));
        let states = [states.0, states.1, back.initial_states.0, back.initial_states.1];
        (outputs, states.map(|state| leaves(&state)), laid_out(&back.inputs, time_major), back.parameters)
    });
    assert_eq!(batch_major, time_major);
}

/// The gradient at a reset, against central differences of the forward run.
#[test]
fn resets_agree_with_central_differences() {
    let cell = Lstm::<f64>::new(4, 3, &mut rng(1));
    let x = one_hot(&["hellohe", "lleelho", "oooehll"], "helo").unwrap();
    let resets = Array2::from_shape_fn((3, 7), |(row, step)| [[3, 5], [0, 0], [1, 6]][row].contains(&step));
    let lengths = [7, 4, 6];
    let mut rng = rng(2);
    let mut random = || Array2::from_shape_simple_fn((3, 3), || rng.random_range(-0.5..0.5));
    let initial = LstmState { c: random(), h: random() };
    let driver = |initial: &LstmState<f64>| {
        DynamicRnn::new(&cell).sequence_length(&lengths).resets(&resets).initial_state(initial.clone())
    };
    let loss = |x: &Array3<f64>, initial: &LstmState<f64>| {
        let (outputs, last) = driver(initial).run(x).unwrap();
        outputs.iter().map(|y| y * y).sum::<f64>() / 2.0 + last.c.sum()
    };
    for every in [None, Some(1), Some(4)] {
        let (outputs, last, tape) = match every {
            None => driver(&initial).record(&x).unwrap(),
            Some(every) => driver(&initial).checkpoint_every(every).record(&x).unwrap(),
        };
        let d_last = LstmState { c: last.c.mapv(|_| 1.0), h: last.h.mapv(|_| 0.0) };
        let back = tape.d_final_state(d_last).backward(&outputs).unwrap();
        let difference = |shift: &dyn Fn(f64) -> f64| (shift(1e-5) - shift(-1e-5)) / 2e-5;
        for (at, d) in back.inputs.indexed_iter() {
            let expected = difference(&|by| {
                let mut x = x.clone();
                x[at] += by;
                loss(&x, &initial)
            });
            assert!((d - expected).abs() < 1e-8, "x{at:?}: {d}, expected {expected}");
        }
        for (at, d) in back.initial_state.c.indexed_iter() {
            let expected = difference(&|by| {
                let mut initial = initial.clone();
                initial.c[at] += by;
                loss(&x, &initial)
            });
            assert!((d - expected).abs() < 1e-8, "c{at:?}: {d}, expected {expected}");
        }
    }
}

/// A tape keeps the cell and the inputs borrowed, and nothing else.
#[test]
fn a_tape_outlives_lengths_and_resets() {
    let cell = Lstm::<f64>::new(4, 3, &mut rng(1));
    let x = one_hot(&["hell", "lleo"], "helo").unwrap();
    let (outputs, tape) = {
        let (lengths, resets) = (vec![4, 2], Array2::from_elem((2, 4), true));
        let (outputs, _, tape) = DynamicRnn::new(&cell).sequence_length(&lengths).resets(&resets).record(&x).unwrap();
        (outputs, tape)
    };
    assert_eq!(tape.backward(&outputs).unwrap().inputs.dim(), (2, 4, 4));
}
