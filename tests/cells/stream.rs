//! Compares random operations on a [`Stream`] with a plain model: each row alone, a loop over `step`.

use crate::common::description::{Description, config, description};
use crate::common::{leaves, number, rng, state};
use ndarray::{Array2, Array3, s};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use rnn_cell::train::BoxedTrainableCell;
use rnn_cell::{DynState, Error, Float, RnnCell, State, Stream};
use std::panic::{AssertUnwindSafe, catch_unwind};

#[derive(Debug, Clone)]
enum Operation {
    /// A step of random numbers, with `columns` apart or adjacent.
    Push {
        seed: u64,
        columns: bool,
    },
    /// This many steps at once.
    PushSteps {
        seed: u64,
        steps: usize,
        columns: bool,
    },
    /// With this many extra rows and features, if not both are 0.
    PushWrong(usize, usize),
    /// The same, with this many steps.
    PushStepsWrong(usize, usize, usize),
    Reset,
    ResetRow(Index),
    /// This far past the last row.
    ResetRowOutside(usize),
    SetState {
        seed: u64,
        dropout: bool,
    },
    /// With an extra row or an extra leaf.
    SetWrongState {
        rows: bool,
    },
    /// Overwrites one row in place.
    ChangeRow {
        seed: u64,
        row: Index,
    },
    /// Leaves a state with an extra row or an extra leaf, by a panic or not.
    ChangeWrong {
        rows: bool,
        panics: bool,
    },
    /// Keeps a copy of the state.
    Save,
    /// Continues from it.
    Restore,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => (any::<u64>(), any::<bool>()).prop_map(|(seed, columns)| Operation::Push { seed, columns }),
        3 => (any::<u64>(), prop_oneof![4 => 0..=4_usize, 1 => 23..=26_usize], any::<bool>())
            .prop_map(|(seed, steps, columns)| Operation::PushSteps { seed, steps, columns }),
        1 => (0..2_usize, 0..2_usize).prop_map(|(rows, features)| Operation::PushWrong(rows, features)),
        1 => (0..3_usize, 0..2_usize, 0..2_usize)
            .prop_map(|(steps, rows, features)| Operation::PushStepsWrong(steps, rows, features)),
        1 => Just(Operation::Reset),
        2 => any::<Index>().prop_map(Operation::ResetRow),
        1 => (0..3_usize).prop_map(Operation::ResetRowOutside),
        1 => (any::<u64>(), any::<bool>()).prop_map(|(seed, dropout)| Operation::SetState { seed, dropout }),
        1 => any::<bool>().prop_map(|rows| Operation::SetWrongState { rows }),
        2 => (any::<u64>(), any::<Index>()).prop_map(|(seed, row)| Operation::ChangeRow { seed, row }),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(rows, panics)| Operation::ChangeWrong { rows, panics }),
        1 => Just(Operation::Save),
        1 => Just(Operation::Restore),
    ]
}

/// The model of a stream, with one state per row.
struct Model<'a, E: Float> {
    cell: &'a BoxedTrainableCell<E>,
    initial: Vec<DynState<E>>,
    rows: Vec<DynState<E>>,
    output: Array2<E>,
}

impl<E: Float> Model<'_, E> {
    fn push(&mut self, input: &Array2<E>) {
        for (row, state) in self.rows.iter_mut().enumerate() {
            let (x, mut out) = (input.slice(s![row..=row, ..]), self.output.slice_mut(s![row..=row, ..]));
            self.cell.step(&x, state, &mut out, &mut Default::default());
        }
    }

    fn reset_row(&mut self, row: usize) {
        self.rows[row].copy_row(0, &self.initial[row], 0);
    }

    fn check(&self, stream: &Stream<&BoxedTrainableCell<E>>) {
        assert_eq!(stream.batch_size(), self.rows.len());
        assert_eq!(stream.output(), self.output);
        for (row, state) in self.rows.iter().enumerate() {
            assert_eq!(leaves(&stream.state().select_rows(&[row])), leaves(state), "row {row}");
        }
    }
}

fn rows_of<E: Float>(state: &DynState<E>) -> Vec<DynState<E>> {
    (0..state.batch_size()).map(|row| state.select_rows(&[row])).collect()
}

/// Leaves one after another, with an extra row or leaf.
fn wrong_state<E: Float>(
    cell: &BoxedTrainableCell<E>,
    batch: usize,
    rows: bool,
    argument: &str,
) -> (DynState<E>, Error) {
    let argument = argument.to_owned();
    let mut all = leaves(&cell.zero_state(batch + usize::from(rows)));
    if rows {
        let found = all[0].dim();
        (cell.zero_state(batch + 1), Error::StateShape { argument, leaf: 0, expected: (batch, found.1), found })
    } else {
        let expected = all.len();
        all.push(all[0].clone());
        (DynState::new(all), Error::StateLeaves { argument, expected, found: expected + 1 })
    }
}

fn run<E: Float>(
    description: &Description,
    input: usize,
    batch: usize,
    start: Option<bool>,
    seed: u64,
    operations: &[Operation],
) {
    let mut rng = rng(seed);
    let cell = description.build::<E>(input, &mut rng);
    let random_state = |seed: u64, dropout: bool| {
        let mut state = state(&cell, batch, &mut crate::common::rng(seed));
        if !dropout {
            state.seed_dropout(None);
        }
        state
    };
    let initial = start.map_or_else(|| cell.zero_state(batch), |dropout| random_state(seed, dropout));
    let mut stream = match start {
        None => Stream::new(&cell, batch),
        Some(_) => {
            let (wrong, error) = wrong_state(&cell, batch, seed.is_multiple_of(2), "initial_state");
            assert_eq!(Stream::with_initial_state(&cell, batch, wrong).err(), Some(error));
            Stream::with_initial_state(&cell, batch, initial.clone()).unwrap()
        }
    };
    let rows = rows_of(&initial);
    let output = Array2::zeros((batch, cell.output_size()));
    let mut model = Model { cell: &cell, initial: rows.clone(), rows, output };
    let mut saved = None;
    model.check(&stream);
    for operation in operations {
        match *operation {
            Operation::Push { seed, columns } => {
                let rng = &mut crate::common::rng(seed);
                let mut x = Array2::from_shape_simple_fn((batch, input), || number(rng, 2.0));
                if columns {
                    x = x.t().as_standard_layout().into_owned().reversed_axes();
                }
                model.push(&x);
                assert_eq!(stream.push(&x).unwrap(), model.output);
            }
            Operation::PushSteps { seed, steps, columns } => {
                let rng = &mut crate::common::rng(seed);
                let mut x = Array3::from_shape_simple_fn((steps, batch, input), || number(rng, 2.0));
                if columns {
                    x = x.t().as_standard_layout().into_owned().reversed_axes();
                }
                let expected: Vec<_> = x
                    .outer_iter()
                    .map(|x| {
                        model.push(&x.to_owned());
                        model.output.clone()
                    })
                    .collect();
                let outputs = stream.push_steps(&x).unwrap();
                assert_eq!(outputs.dim(), (steps, batch, model.output.ncols()));
                assert!(outputs.outer_iter().eq(expected.iter().map(|output| output.view())));
            }
            Operation::PushWrong(0, 0) | Operation::PushStepsWrong(_, 0, 0) => {}
            Operation::PushStepsWrong(steps, rows, features) => {
                let found = [steps, batch + rows, input + features];
                let (expected, found_shape) = (vec![steps, batch, input], found.to_vec());
                let error = Error::ArrayShape { argument: "inputs".into(), expected, found: found_shape };
                assert_eq!(stream.push_steps(&Array3::zeros(found)), Err(error));
            }
            Operation::PushWrong(rows, features) => {
                let found = [batch + rows, input + features];
                let (expected, found_shape) = (vec![batch, input], found.to_vec());
                let error = Error::ArrayShape { argument: "input".into(), expected, found: found_shape };
                assert_eq!(stream.push(&Array2::zeros(found)), Err(error));
            }
            Operation::Reset => {
                stream.reset();
                (0..batch).for_each(|row| model.reset_row(row));
            }
            Operation::ResetRow(row) if batch > 0 => {
                let row = row.index(batch);
                stream.reset_row(row).unwrap();
                model.reset_row(row);
            }
            Operation::ResetRow(_) => {}
            Operation::ResetRowOutside(past) => {
                let row = batch + past;
                assert_eq!(
                    stream.reset_row(row),
                    Err(Error::OutOfBounds { argument: "row".into(), found: row, count: batch, of: "rows" })
                );
            }
            Operation::SetState { seed, dropout } => {
                let state = random_state(seed, dropout);
                model.rows = rows_of(&state);
                stream.set_state(state).unwrap();
            }
            Operation::SetWrongState { rows } => {
                let (wrong, error) = wrong_state(&cell, batch, rows, "state");
                assert_eq!(stream.set_state(wrong), Err(error));
            }
            Operation::ChangeRow { seed, row } if batch > 0 => {
                let (row, other) = (row.index(batch), random_state(seed, false));
                let change = |state: &mut DynState<E>| state.copy_row(row, &other, 0);
                stream.change_state(change).unwrap();
                model.rows[row].copy_row(0, &other, 0);
            }
            Operation::ChangeRow { .. } => {}
            Operation::ChangeWrong { rows, panics } => {
                let (wrong, error) = wrong_state(&cell, batch, rows, "state");
                let change = |state: &mut DynState<E>| {
                    *state = wrong;
                    // Not `panic!`, which would print.
                    if panics {
                        std::panic::resume_unwind(Box::new("half way"));
                    }
                };
                let result = catch_unwind(AssertUnwindSafe(|| stream.change_state(change)));
                assert_eq!(result.ok(), (!panics).then_some(Err(error)));
                model.rows = rows_of(&initial);
            }
            Operation::Save => saved = Some((stream.state().clone(), model.rows.clone())),
            Operation::Restore => {
                if let Some((state, rows)) = &saved {
                    stream.set_state(state.clone()).unwrap();
                    model.rows.clone_from(rows);
                }
            }
        }
        model.check(&stream);
    }
}

proptest! {
    #![proptest_config(config(256))]
    #[test]
    fn a_stream_is_a_loop_over_rows_and_steps(
        cell in description(prop_oneof![4 => 1..=7_usize, 1 => 15..=18_usize]),
        (input, batch) in (1..=18_usize, 0..=8_usize),
        start in proptest::option::of(any::<bool>()),
        seed in any::<u64>(),
        operations in vec(operation(), 0..24),
    ) {
        run::<f32>(&cell, input, batch, start, seed, &operations);
        run::<f64>(&cell, input, batch, start, seed, &operations);
    }
}
