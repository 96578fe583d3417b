//! The laws that every cell and driver keeps, over every cell, option and wrapper of `common`'s list, in f32 and f64.
//! properties.rs tests them over random cells, nestings and numbers.

use crate::common::{
    Check, Rng, array, by_steps, driver, each_cell, each_compressed_cell, leaves, numbers, rng, state,
};
use ndarray::{Array3, s};
use rand::RngExt;
use rnn_cell::{Float, Parameters, RnnCell, State, dynamic_rnn};

const SIZES: [usize; 7] = [1, 2, 3, 5, 7, 17, 33];

/// One shape and its numbers.
struct Problem<C: RnnCell> {
    cell: C,
    x: Array3<C::Elem>,
    initial: C::State,
    lengths: Vec<usize>,
}

/// Random shapes for a cell, an empty batch, a sequence without steps, and one long enough for kernels to cut.
fn problems<C: RnnCell>(seed: u64, make: impl Fn(usize, usize, &mut Rng) -> C) -> Vec<Problem<C>> {
    let mut rng = rng(seed);
    let mut shapes = vec![(0, 3), (3, 0), (0, 0), (1, 33), (5, 61), (33, 7)];
    for _ in 0..6 {
        let mut size = || SIZES[rng.random_range(0..SIZES.len())];
        shapes.push((size(), size()));
    }
    let problem = |(batch, seq)| {
        let (input, hidden) = (SIZES[rng.random_range(0..SIZES.len())], SIZES[rng.random_range(0..SIZES.len())]);
        let cell = make(input, hidden, &mut rng);
        Problem {
            x: array((batch, seq, cell.input_size()), &mut rng),
            initial: state(&cell, batch, &mut rng),
            lengths: (0..batch).map(|_| rng.random_range(0..=seq)).collect(),
            cell,
        }
    };
    shapes.into_iter().map(problem).collect()
}

#[track_caller]
fn assert_same_bits<E: Float>(name: &str, expected: &[E], found: &[E]) {
    let bits = |numbers: &[E]| numbers.iter().map(|number| number.as_f64().to_bits()).collect::<Vec<_>>();
    assert!(bits(expected) == bits(found), "{name}: {expected:?} became {found:?}");
}

/// The test functions of a law, over every cell in f32, f64 and compressed.
macro_rules! law {
    ($test:ident, $law:ident) => {
        #[test]
        fn $test() {
            each_cell::<f32>(&mut $law);
            each_cell::<f64>(&mut $law);
            each_compressed_cell(&mut $law);
        }
    };
}

struct Masking;
law!(past_a_rows_length_outputs_are_zero_and_the_state_stays, Masking);

impl<E: Float> Check<E> for Masking {
    fn check<C: RnnCell<Elem = E> + Parameters<E>>(&mut self, name: &str, make: impl Fn(usize, usize, &mut Rng) -> C) {
        for Problem { cell, mut x, initial, lengths } in problems(2, make) {
            for (row, &length) in lengths.iter().enumerate() {
                let poison = [E::nan(), E::infinity(), E::neg_infinity()][row % 3];
                x.slice_mut(s![row, length.., ..]).fill(poison);
            }
            let (outputs, state) = dynamic_rnn(&cell, &x, Some(&lengths), Some(initial.clone())).unwrap();
            for (row, &length) in lengths.iter().enumerate() {
                let alone = x.slice(s![row..=row, ..length, ..]);
                let (expected, last) = by_steps(&cell, alone, initial.select_rows(&[row]));
                let found = outputs.slice(s![row..=row, ..length, ..]);
                assert_same_bits(name, &numbers(expected.view(), &last), &numbers(found, &state.select_rows(&[row])));
                let padding = outputs.slice(s![row, length.., ..]);
                assert!(padding.iter().all(|o| o.as_f64().to_bits() == 0), "{name}: padding is {padding}");
                if length == 0 {
                    assert_eq!(leaves(&state.select_rows(&[row])), leaves(&initial.select_rows(&[row])), "{name}");
                }
            }
        }
    }
}

struct SameBits;
law!(batch_size_and_unrolling_change_no_bit, SameBits);

impl<E: Float> Check<E> for SameBits {
    fn check<C: RnnCell<Elem = E> + Parameters<E>>(&mut self, name: &str, make: impl Fn(usize, usize, &mut Rng) -> C) {
        for Problem { cell, x, initial, lengths } in problems(8, make) {
            let (outputs, last) = dynamic_rnn(&cell, &x, None, Some(initial.clone())).unwrap();
            let (again, again_last) = dynamic_rnn(&cell, &x, None, Some(initial.clone())).unwrap();
            let whole = numbers(outputs.view(), &last);
            assert_same_bits(name, &whole, &numbers(again.view(), &again_last));
            let (steps, steps_last) = by_steps(&cell, x.view(), initial.clone());
            assert_same_bits(name, &whole, &numbers(steps.view(), &steps_last));

            let (ragged, ragged_last) = dynamic_rnn(&cell, &x, Some(&lengths), Some(initial.clone())).unwrap();
            for (row, &length) in lengths.iter().enumerate() {
                let (alone, alone_last) =
                    dynamic_rnn(&cell, &x.slice(s![row..=row, ..length, ..]), None, Some(initial.select_rows(&[row])))
                        .unwrap();
                let found = numbers(ragged.slice(s![row..=row, ..length, ..]), &ragged_last.select_rows(&[row]));
                assert_same_bits(name, &numbers(alone.view(), &alone_last), &found);
                let head = outputs.slice(s![row..=row, ..length, ..]);
                assert_same_bits(name, &head.iter().copied().collect::<Vec<_>>(), alone.as_slice().unwrap());
            }
        }
    }
}

struct AnyStrides;
law!(the_layout_of_arrays_changes_no_bit, AnyStrides);

impl<E: Float> Check<E> for AnyStrides {
    fn check<C: RnnCell<Elem = E> + Parameters<E>>(&mut self, name: &str, make: impl Fn(usize, usize, &mut Rng) -> C) {
        for Problem { cell, x, initial, lengths } in problems(5, make) {
            let (batch, seq, input) = x.dim();
            let (outputs, last) = dynamic_rnn(&cell, &x, Some(&lengths), Some(initial.clone())).unwrap();
            assert!(outputs.is_standard_layout(), "{name}");
            let whole = numbers(outputs.view(), &last);

            // The same numbers in three other layouts.
            let mut features_first = Array3::zeros((input, seq, batch));
            let mut every_second = Array3::from_elem((2 * batch, 2 * seq, 2 * input), E::nan());
            let mut backwards = Array3::zeros(x.dim());
            features_first.view_mut().reversed_axes().assign(&x);
            every_second.slice_mut(s![..;2, ..;2, ..;2]).assign(&x);
            backwards.slice_mut(s![..;-1, ..;-1, ..;-1]).assign(&x);
            let views = [
                features_first.view().reversed_axes(),
                every_second.slice(s![..;2, ..;2, ..;2]),
                backwards.slice(s![..;-1, ..;-1, ..;-1]),
            ];
            for view in views {
                let (outputs, last) = dynamic_rnn(&cell, &view, Some(&lengths), Some(initial.clone())).unwrap();
                assert!(outputs.is_standard_layout(), "{name}");
                assert_same_bits(name, &whole, &numbers(outputs.view(), &last));
            }

            let time_major = x.view().permuted_axes([1, 0, 2]);
            let (twin, twin_last) =
                driver(&cell, Some(&lengths), Some(initial.clone())).time_major(true).run(&time_major).unwrap();
            assert!(twin.is_standard_layout(), "{name}");
            assert_same_bits(name, &whole, &numbers(twin.view().permuted_axes([1, 0, 2]), &twin_last));

            // One row broadcast over the batch: stride 0.
            if batch > 0 {
                let row = x.slice(s![..1, .., ..]);
                let same = row.broadcast(x.dim()).unwrap();
                let (spread, _) = dynamic_rnn(&cell, &same, Some(&lengths), Some(initial.clone())).unwrap();
                let (copied, _) = dynamic_rnn(&cell, &same.to_owned(), Some(&lengths), Some(initial.clone())).unwrap();
                assert_same_bits(name, copied.as_slice().unwrap(), spread.as_slice().unwrap());
            }

            // Outputs and states in a caller's own layout.
            let mut states = initial.clone();
            let mut wide = Array3::from_elem((cell.output_size(), 2 * batch, seq), E::nan());
            {
                let mut outputs = wide.slice_mut(s![..;-1, ..;2, ..]).permuted_axes([2, 1, 0]);
                cell.unroll(&time_major, &mut states, &mut outputs, &mut C::Workspace::default());
            }
            let found = wide.slice(s![..;-1, ..;2, ..]).permuted_axes([1, 2, 0]);
            let (expected, last) = by_steps(&cell, x.view(), initial);
            assert_same_bits(name, &numbers(expected.view(), &last), &numbers(found, &states));
        }
    }
}

struct Copies;
law!(a_state_becomes_a_copy_of_any_other, Copies);

impl<E: Float> Check<E> for Copies {
    fn check<C: RnnCell<Elem = E> + Parameters<E>>(&mut self, name: &str, make: impl Fn(usize, usize, &mut Rng) -> C) {
        let rng = &mut rng(6);
        let cell = make(3, 5, rng);
        // More and fewer rows than the state has or had, with dropout on and off.
        let mut copy = state(&cell, 4, rng);
        for (batch, dropout) in [(7, true), (2, false), (4, true), (0, true), (3, false), (7, true)] {
            let mut from = state(&cell, batch, rng);
            if !dropout {
                from.seed_dropout(None);
            }
            copy.copy_from(&from);
            let x: Array3<E> = array((batch, 2, cell.input_size()), rng);
            let run = |state: &C::State| {
                let (outputs, last) = by_steps(&cell, x.view(), state.clone());
                [numbers(outputs.view(), state), numbers(outputs.view(), &last)].concat()
            };
            assert_same_bits(name, &run(&from), &run(&copy));
            copy.truncate_rows(batch / 2);
        }
    }
}
