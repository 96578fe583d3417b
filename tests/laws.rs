//! The laws every cell and driver keeps, over every cell, option and wrapper of `common`'s list, in f32 and f64.

mod common;

use common::{Check, Rng, array, by_steps, each_cell, leaves, numbers, rng, state};
use ndarray::{Array2, Array3, ArrayRef2, ArrayView3, Axis, concatenate, s};
use rand::RngExt;
use rnn_cell::{
    DynamicRnn, Float, Parameters, RnnCell, State, Stream, bidirectional_dynamic_rnn, dynamic_rnn,
    dynamic_rnn_time_major, raw_rnn, static_rnn,
};
use std::sync::atomic::{AtomicUsize, Ordering};

const SIZES: [usize; 7] = [1, 2, 3, 5, 7, 17, 33];

/// One shape and its numbers.
struct Problem<C: RnnCell> {
    cell: C,
    x: Array3<C::Elem>,
    initial: C::State,
    lengths: Vec<usize>,
}

/// Some random shapes of a cell, and an empty batch, a sequence of no steps, one long enough to be cut by kernels.
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

/// Asserts that two runs agree to the laws' tolerance: relative to the largest value.
#[track_caller]
fn assert_close<E: Float>(name: &str, expected: &[E], found: &[E]) {
    assert_eq!(expected.len(), found.len(), "{name}");
    let tolerance = if size_of::<E>() == 8 { 1e-12 } else { 1e-5 };
    let largest = expected.iter().fold(1.0_f64, |largest, e| largest.max(e.as_f64().abs()));
    for (e, f) in expected.iter().zip(found) {
        // Written so that NaN fails.
        assert!((e.as_f64() - f.as_f64()).abs() <= tolerance * largest, "{name}: {e} became {f}");
    }
}

#[track_caller]
fn assert_same_bits<E: Float>(name: &str, expected: &[E], found: &[E]) {
    let bits = |numbers: &[E]| numbers.iter().map(|number| number.as_f64().to_bits()).collect::<Vec<_>>();
    assert!(bits(expected) == bits(found), "{name}: {expected:?} became {found:?}");
}

/// The test functions of a law: over every cell, in both types.
macro_rules! law {
    ($test:ident, $law:ident) => {
        #[test]
        fn $test() {
            each_cell::<f32>(&mut $law);
            each_cell::<f64>(&mut $law);
        }
    };
}

struct UnrollIsStepping;
law!(unroll_is_stepping, UnrollIsStepping);

impl<E: Float> Check<E> for UnrollIsStepping {
    fn check<C: RnnCell<Elem = E> + Parameters<E>>(&mut self, name: &str, make: impl Fn(usize, usize, &mut Rng) -> C) {
        for Problem { cell, x, initial, .. } in problems(1, make) {
            let (outputs, last) = by_steps(&cell, x.view(), initial.clone());
            let (mut unrolled, mut state) = (Array3::from_elem(outputs.dim(), E::nan()), initial);
            let mut by_step = unrolled.view_mut().permuted_axes([1, 0, 2]);
            cell.unroll(&x.view().permuted_axes([1, 0, 2]), &mut state, &mut by_step, &mut C::Workspace::default());
            assert_close(name, &numbers(outputs.view(), &last), &numbers(unrolled.view(), &state));
        }
    }
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
                assert_close(name, &numbers(expected.view(), &last), &numbers(found, &state.select_rows(&[row])));
                let padding = outputs.slice(s![row, length.., ..]);
                assert!(padding.iter().all(|o| o.as_f64().to_bits() == 0), "{name}: padding is {padding}");
                if length == 0 {
                    assert_eq!(leaves(&state.select_rows(&[row])), leaves(&initial.select_rows(&[row])), "{name}");
                }
            }
        }
    }
}

struct BatchIsALoop;
law!(a_batch_is_a_loop_and_a_cut_sequence_is_whole, BatchIsALoop);

impl<E: Float> Check<E> for BatchIsALoop {
    fn check<C: RnnCell<Elem = E> + Parameters<E>>(&mut self, name: &str, make: impl Fn(usize, usize, &mut Rng) -> C) {
        for Problem { cell, x, initial, lengths } in problems(3, make) {
            let (batch, seq, _) = x.dim();
            let run = |x: ArrayView3<E>, lengths: &[usize], state| dynamic_rnn(&cell, &x, Some(lengths), Some(state));
            let (outputs, last) = run(x.view(), &lengths, initial.clone()).unwrap();
            let whole = numbers(outputs.view(), &last);

            for row in 0..batch {
                let (alone, alone_last) =
                    run(x.slice(s![row..=row, .., ..]), &lengths[row..=row], initial.select_rows(&[row])).unwrap();
                let expected = numbers(outputs.slice(s![row..=row, .., ..]), &last.select_rows(&[row]));
                assert_close(name, &expected, &numbers(alone.view(), &alone_last));
            }

            let cut = seq / 2;
            let (head, tail) = x.view().split_at(Axis(1), cut);
            let head_lengths: Vec<usize> = lengths.iter().map(|&length| length.min(cut)).collect();
            let tail_lengths: Vec<usize> = lengths.iter().map(|&length| length.saturating_sub(cut)).collect();
            let (first, between) = run(head, &head_lengths, initial).unwrap();
            let (second, carried) = run(tail, &tail_lengths, between).unwrap();
            let joined = concatenate(Axis(1), &[first.view(), second.view()]).unwrap();
            assert_close(name, &whole, &numbers(joined.view(), &carried));
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
                dynamic_rnn_time_major(&cell, &time_major, Some(&lengths), Some(initial.clone())).unwrap();
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

            // Outputs and states of a caller's own layout.
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

struct OtherDrivers;
law!(all_drivers_give_the_same_bits, OtherDrivers);

impl<E: Float> Check<E> for OtherDrivers {
    fn check<C: RnnCell<Elem = E> + Parameters<E>>(&mut self, name: &str, make: impl Fn(usize, usize, &mut Rng) -> C) {
        for Problem { cell, x, initial, lengths } in problems(6, make) {
            let (batch, seq, _) = x.dim();
            let (outputs, last) = dynamic_rnn(&cell, &x, Some(&lengths), Some(initial.clone())).unwrap();
            let whole = numbers(outputs.view(), &last);

            let builder = DynamicRnn::new(&cell).sequence_length(&lengths).initial_state(initial.clone());
            let (watched, states, watched_last) = builder.run_with_states(&x).unwrap();
            assert_same_bits(name, &whole, &numbers(watched.view(), &watched_last));
            assert_eq!(states.len(), seq, "{name}");

            // Up to the longest row.
            let steps = lengths.iter().copied().max().unwrap_or(0);
            let (raw, raw_last) = raw_rnn(&cell, batch, |step| {
                if step.time == 0 {
                    *step.state = initial.clone();
                }
                if step.time < steps {
                    step.next_input.assign(&x.index_axis(Axis(1), step.time));
                }
                for (finished, &length) in step.finished.iter_mut().zip(&lengths) {
                    *finished = step.time >= length;
                }
            })
            .unwrap();
            let head = outputs.slice(s![.., ..steps, ..]);
            assert_same_bits(name, &numbers(head, &last), &numbers(raw.permuted_axes([1, 0, 2]).view(), &raw_last));

            // Backward is forward over each row reversed within its length.
            let mut reversed = x.clone();
            for (row, &length) in lengths.iter().enumerate() {
                reversed.slice_mut(s![row, ..length, ..]).assign(&x.slice(s![row, ..length;-1, ..]));
            }
            let (mut back, back_last) = dynamic_rnn(&cell, &reversed, Some(&lengths), Some(initial.clone())).unwrap();
            for (row, &length) in lengths.iter().enumerate() {
                let turned = back.slice(s![row, ..length;-1, ..]).to_owned();
                back.slice_mut(s![row, ..length, ..]).assign(&turned);
            }
            let states = (Some(initial.clone()), Some(initial.clone()));
            let ((fw, bw), (fw_last, bw_last)) =
                bidirectional_dynamic_rnn(&cell, &cell, &x, Some(&lengths), states.0, states.1).unwrap();
            assert_same_bits(name, &whole, &numbers(fw.view(), &fw_last));
            assert_same_bits(name, &numbers(back.view(), &back_last), &numbers(bw.view(), &bw_last));

            if seq == 0 {
                continue;
            }
            let list: Vec<_> = x.axis_iter(Axis(1)).collect();
            let (list, list_last) = static_rnn(&cell, &list, Some(&lengths), Some(initial.clone())).unwrap();
            let list: Vec<_> = list.iter().map(|step| step.view()).collect();
            let list = ndarray::stack(Axis(1), &list).unwrap();
            assert_same_bits(name, &whole, &numbers(list.view(), &list_last));

            let (outputs, last) = dynamic_rnn(&cell, &x, None, Some(initial.clone())).unwrap();
            let mut stream = Stream::with_initial_state(&cell, batch, initial).unwrap();
            for (input, output) in x.axis_iter(Axis(1)).zip(outputs.axis_iter(Axis(1))) {
                let pushed = stream.push(&input).unwrap();
                assert_same_bits(name, &output.iter().copied().collect::<Vec<_>>(), pushed.as_slice().unwrap());
            }
            assert_same_bits(name, &numbers(outputs.view(), &last), &numbers(outputs.view(), stream.state()));
        }
    }
}

/// Counts the rows it computes.
struct Counting {
    rows: AtomicUsize,
}

impl RnnCell for Counting {
    type Elem = f64;
    type State = Array2<f64>;
    type Workspace = ();

    fn input_size(&self) -> usize {
        1
    }
    fn output_size(&self) -> usize {
        1
    }
    fn zero_state(&self, batch: usize) -> Array2<f64> {
        Array2::zeros((batch, 1))
    }
    fn step(&self, input: &ArrayRef2<f64>, state: &mut Array2<f64>, output: &mut ArrayRef2<f64>, _: &mut ()) {
        self.rows.fetch_add(input.nrows(), Ordering::Relaxed);
        *state += &input.view();
        output.assign(state);
    }
}

#[test]
fn padding_costs_nothing() {
    let mut rng = rng(4);
    for batch in [0, 1, 2, 3, 5, 7, 17, 33] {
        for seq in [0, 1, 2, 3, 5, 7, 17, 33] {
            let x = Array3::<f64>::ones((batch, seq, 1));
            let unsorted: Vec<usize> = (0..batch).map(|_| rng.random_range(0..=seq)).collect();
            let mut sorted = unsorted.clone();
            sorted.sort_by(|a, b| b.cmp(a));
            for lengths in [unsorted, sorted, vec![seq; batch], vec![0; batch]] {
                let valid: usize = lengths.iter().sum();
                let cell = Counting { rows: AtomicUsize::new(0) };
                let (_, sums) = dynamic_rnn(&cell, &x, Some(&lengths), None).unwrap();
                assert_eq!(cell.rows.into_inner(), valid, "{lengths:?}");
                assert_eq!(sums.column(0).to_vec(), lengths.iter().map(|&l| l as f64).collect::<Vec<_>>());

                let cell = Counting { rows: AtomicUsize::new(0) };
                let time_major = x.view().permuted_axes([1, 0, 2]);
                dynamic_rnn_time_major(&cell, &time_major, Some(&lengths), None).unwrap();
                assert_eq!(cell.rows.into_inner(), valid, "{lengths:?}, time-major");

                let cell = Counting { rows: AtomicUsize::new(0) };
                bidirectional_dynamic_rnn(&cell, &cell, &x, Some(&lengths), None, None).unwrap();
                assert_eq!(cell.rows.into_inner(), 2 * valid, "{lengths:?}, both ways");

                let cell = Counting { rows: AtomicUsize::new(0) };
                raw_rnn(&cell, batch, |step| {
                    for (finished, &length) in step.finished.iter_mut().zip(&lengths) {
                        *finished = step.time >= length;
                    }
                })
                .unwrap();
                assert_eq!(cell.rows.into_inner(), valid, "{lengths:?}, raw");
            }
        }
    }
}
