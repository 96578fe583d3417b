//! The laws over random cells, shapes, lengths and numbers, bit for bit. Failures shrink to a small case.
//!
//! `PROPTEST_CASES=5000 cargo test --test cells properties` tries more than the few cases of every run.

use crate::common::description::{config, pieces};
use crate::common::problem::{Problem, Run, assert_same, assert_same_state, laid_out, problem, special};
use crate::common::{by_steps, driver, numbers, rng};
use ndarray::{Array2, Array3, ArrayRef2, Axis, concatenate, s};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use rand::RngExt;
use rnn_cell::{
    BoxedCell, DynState, DynamicRnn, DynamicRnnWorkspace, Float, Parameters, ParametersMut, RnnCell, State,
    bidirectional_dynamic_rnn, dynamic_rnn, raw_rnn, static_rnn,
};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A property in f32 and f64: calls `law` with each problem and everything else that is drawn.
macro_rules! law {
    ($name:ident, $law:ident, $cases:literal $(, $extra:ident in $strategy:expr)*) => {
        proptest! {
            #![proptest_config(config($cases))]
            #[test]
            fn $name(problem in problem() $(, $extra in $strategy)*) {
                $law::<f32>(&problem $(, &$extra)*);
                $law::<f64>(&problem $(, &$extra)*);
            }
        }
    };
}

law!(unroll_is_stepping, stepping, 256, cuts in vec(any::<Index>(), 0..3));

fn stepping<E: Float>(problem: &Problem, cuts: &[Index]) {
    let Run { cell, x, initial, .. } = problem.run::<E>();
    let (batch, seq, _) = x.dim();
    let (expected, expected_last) = by_steps(&cell, x.view(), initial.clone());
    let mut outputs = laid_out(Array3::from_elem((batch, seq, cell.output_size()), E::nan()), problem.layout);
    let (mut state, mut workspace) = (initial, Default::default());
    for steps in pieces(seq, cuts) {
        let x = x.slice(s![.., steps.clone(), ..]).permuted_axes([1, 0, 2]);
        let mut out = outputs.slice_mut(s![.., steps, ..]).permuted_axes([1, 0, 2]);
        cell.unroll(&x, &mut state, &mut out, &mut workspace);
    }
    assert_same(&numbers(expected.view(), &expected_last), &numbers(outputs.view(), &state));
    assert_same_state(&cell, &expected_last, &state);
}

law!(past_a_rows_length_outputs_are_zero_and_the_state_stays, masking, 256);

fn masking<E: Float>(problem: &Problem) {
    let Run { cell, x, initial, .. } = problem.run_with_poison::<E>();
    let lengths = &problem.lengths;
    let (outputs, last) = dynamic_rnn(&cell, &x, Some(lengths), Some(initial.clone())).unwrap();
    assert!(outputs.is_standard_layout());
    for (row, &length) in lengths.iter().enumerate() {
        let (expected, expected_last) =
            by_steps(&cell, x.slice(s![row..=row, ..length, ..]), initial.select_rows(&[row]));
        let found = outputs.slice(s![row..=row, ..length, ..]);
        assert_same(&numbers(expected.view(), &expected_last), &numbers(found, &last.select_rows(&[row])));
        assert_same_state(&cell, &expected_last, &last.select_rows(&[row]));
        assert!(outputs.slice(s![row, length.., ..]).iter().all(|y| y.as_f64().to_bits() == 0), "row {row}");
    }
}

law!(
    a_batch_is_a_loop_and_a_cut_sequence_is_whole,
    batch_is_a_loop,
    256,
    rows in vec(any::<Index>(), 0..9),
    cuts in vec(any::<Index>(), 0..3)
);

fn batch_is_a_loop<E: Float>(problem: &Problem, rows: &[Index], cuts: &[Index]) {
    let Run { cell, x, initial, .. } = problem.run::<E>();
    let lengths = &problem.lengths;
    let (batch, seq, _) = x.dim();
    let (outputs, last) = dynamic_rnn(&cell, &x, Some(lengths), Some(initial.clone())).unwrap();

    // Rows in any order, some twice.
    let rows: Vec<usize> = rows.iter().filter(|_| batch > 0).map(|row| row.index(batch)).collect();
    let some_lengths: Vec<usize> = rows.iter().map(|&row| lengths[row]).collect();
    let some_x = x.select(Axis(0), &rows);
    let (some, some_last) = dynamic_rnn(&cell, &some_x, Some(&some_lengths), Some(initial.select_rows(&rows))).unwrap();
    assert_same(
        &numbers(outputs.select(Axis(0), &rows).view(), &last.select_rows(&rows)),
        &numbers(some.view(), &some_last),
    );
    assert_same_state(&cell, &last.select_rows(&rows), &some_last);

    let (mut parts, mut state) = (Vec::new(), initial);
    for steps in pieces(seq, cuts) {
        let lengths: Vec<usize> =
            lengths.iter().map(|&length| length.clamp(steps.start, steps.end) - steps.start).collect();
        let (part, next) = dynamic_rnn(&cell, &x.slice(s![.., steps, ..]), Some(&lengths), Some(state)).unwrap();
        (state, _) = (next, parts.push(part));
    }
    let parts: Vec<_> = parts.iter().map(|part| part.view()).collect();
    let joined = concatenate(Axis(1), &parts).unwrap();
    assert_same(&numbers(outputs.view(), &last), &numbers(joined.view(), &state));
    assert_same_state(&cell, &last, &state);
}

law!(rows_do_not_influence_each_other, independent_rows, 256, row in any::<Index>());

fn independent_rows<E: Float>(problem: &Problem, row: &Index) {
    let Run { cell, mut x, mut initial, mut rng } = problem.run::<E>();
    if x.dim().0 == 0 {
        return;
    }
    let row = row.index(x.dim().0);
    let others: Vec<usize> = (0..x.dim().0).filter(|&other| other != row).collect();
    let run = |x: &Array3<E>, initial: &DynState<E>| {
        let (outputs, last) = dynamic_rnn(&cell, x, Some(&problem.lengths), Some(initial.clone())).unwrap();
        numbers(outputs.select(Axis(0), &others).view(), &last.select_rows(&others))
    };
    let clean = run(&x, &initial);
    x.index_axis_mut(Axis(0), row).mapv_inplace(|_| special(&mut rng));
    initial.visit_mut(&mut |mut leaf| leaf.row_mut(row).mapv_inplace(|_| special(&mut rng)));
    assert_same(&clean, &run(&x, &initial));
}

law!(all_drivers_give_the_same_bits, drivers, 256);

fn drivers<E: Float>(problem: &Problem) {
    let Run { cell, x, initial, .. } = problem.run_with_poison::<E>();
    let lengths = &problem.lengths;
    let (batch, seq, _) = x.dim();
    let start = || Some(initial.clone());
    let (outputs, last) = dynamic_rnn(&cell, &x, Some(lengths), start()).unwrap();
    let whole = numbers(outputs.view(), &last);

    let (twin, twin_last) =
        driver(&cell, Some(lengths), start()).time_major(true).run(&x.view().permuted_axes([1, 0, 2])).unwrap();
    assert_same(&whole, &numbers(twin.view().permuted_axes([1, 0, 2]), &twin_last));

    // Into an array and a workspace with other contents and lengths.
    let mut workspace = DynamicRnnWorkspace::default();
    let mut into = laid_out(Array3::from_elem(outputs.dim(), E::nan()), problem.layout);
    let turned: Vec<usize> = lengths.iter().rev().copied().collect();
    for other in [None, Some(&turned[..batch / 2])] {
        let rows = other.map_or(batch, <[usize]>::len);
        let some_x = x.slice(s![..rows, .., ..]).mapv(|x| if x.is_nan() { E::zero() } else { x });
        let driver = DynamicRnn::new(&cell);
        let driver = if let Some(lengths) = other { driver.sequence_length(lengths) } else { driver };
        driver.run_into(&some_x, &mut into.slice_mut(s![..rows, .., ..]), &mut workspace).unwrap();

        into.fill(E::nan());
        let driver = DynamicRnn::new(&cell).sequence_length(lengths).initial_state(initial.clone());
        let into_last = driver.run_into(&x, &mut into, &mut workspace).unwrap();
        assert_same(&whole, &numbers(into.view(), &into_last));
        assert_same_state(&cell, &last, &into_last);
    }

    // Up to the longest row.
    let steps = lengths.iter().copied().max().unwrap_or(0);
    let raw = raw_rnn(&cell, batch, |step| {
        if step.time == 0 {
            *step.state = initial.clone();
        }
        if step.time < steps {
            step.next_input.assign(&x.index_axis(Axis(1), step.time));
        }
        step.finished.iter_mut().zip(lengths).for_each(|(finished, &length)| *finished = step.time >= length);
    });
    let (raw, raw_last) = raw.unwrap();
    let head = outputs.slice(s![.., ..steps, ..]);
    assert_same(&numbers(head, &last), &numbers(raw.view().permuted_axes([1, 0, 2]), &raw_last));

    // Backward equals forward over each row reversed within its length.
    let turned = |from: &Array3<E>| {
        let mut to = Array3::zeros(from.dim());
        for (row, &length) in lengths.iter().enumerate() {
            to.slice_mut(s![row, ..length, ..]).assign(&from.slice(s![row, ..length;-1, ..]));
        }
        to
    };
    let (back, back_last) = dynamic_rnn(&cell, &turned(&x), Some(lengths), start()).unwrap();
    let ((fw, bw), (fw_last, bw_last)) =
        bidirectional_dynamic_rnn(&cell, &cell, &x, Some(lengths), start(), start()).unwrap();
    assert_same(&whole, &numbers(fw.view(), &fw_last));
    assert_same(&numbers(turned(&back).view(), &back_last), &numbers(bw.view(), &bw_last));

    if seq > 0 {
        let list: Vec<_> = x.axis_iter(Axis(1)).collect();
        let (list, list_last) = static_rnn(&cell, &list, Some(lengths), start()).unwrap();
        let list: Vec<_> = list.iter().map(|step| step.view()).collect();
        assert_same(&whole, &numbers(ndarray::stack(Axis(1), &list).unwrap().view(), &list_last));
    }
}

law!(a_reset_row_starts_anew_and_a_finished_one_is_frozen, resets, 256, often in 0.0..0.5);

fn resets<E: Float>(problem: &Problem, often: &f64) {
    let Run { cell, x, initial, mut rng } = problem.run_with_poison::<E>();
    let (batch, seq, _) = x.dim();
    let resets = Array2::from_shape_simple_fn((batch, seq), || rng.random_bool(*often));
    let driver = || DynamicRnn::new(&cell).sequence_length(&problem.lengths).initial_state(initial.clone());
    let (outputs, states, last) = driver().resets(&resets).run_with_states(&x).unwrap();
    assert_eq!(states.len(), seq);

    let mut expected = Array3::zeros(outputs.dim());
    for (row, &length) in problem.lengths.iter().enumerate() {
        let start = initial.select_rows(&[row]);
        let (mut state, mut workspace) = (start.clone(), Default::default());
        for t in 0..seq {
            if t < length {
                if resets[[row, t]] {
                    state.copy_row(0, &start, 0);
                }
                let mut out = expected.slice_mut(s![row..=row, t, ..]);
                cell.step(&x.slice(s![row..=row, t, ..]), &mut state, &mut out, &mut workspace);
            }
            let none = Array3::zeros((0, 0, 0));
            assert_same(&numbers(none.view(), &state), &numbers(none.view(), &states[t].select_rows(&[row])));
        }
        assert_same_state(&cell, &state, &last.select_rows(&[row]));
    }
    assert_same(expected.as_slice().unwrap(), outputs.as_slice().unwrap());

    let whole = numbers(outputs.view(), &last);
    let (fast, fast_last) = driver().resets(&resets).run(&x).unwrap();
    assert_same(&whole, &numbers(fast.view(), &fast_last));
    let by_step = x.view().permuted_axes([1, 0, 2]);
    let by_step_resets = resets.t();
    let driver = || driver().time_major(true).resets(&by_step_resets);
    let (twin, twin_last) = driver().run(&by_step).unwrap();
    let (watched, _, watched_last) = driver().run_with_states(&by_step).unwrap();
    let (mut into, mut workspace) = (Array3::from_elem(twin.dim(), E::nan()), Default::default());
    for _ in 0..2 {
        let into_last = driver().run_into(&by_step, &mut into, &mut workspace).unwrap();
        assert_same(&whole, &numbers(into.view().permuted_axes([1, 0, 2]), &into_last));
    }
    assert_same(&whole, &numbers(twin.view().permuted_axes([1, 0, 2]), &twin_last));
    assert_same(&whole, &numbers(watched.view().permuted_axes([1, 0, 2]), &watched_last));
}

law!(parameters_round_trip, round_trip, 256);

fn round_trip<E: Float>(problem: &Problem) {
    let Run { cell, x, initial, .. } = problem.run::<E>();
    let mut other = problem.cell.build_around::<E>(problem.around, problem.input, &mut rng(problem.seed ^ 1));
    let mut saved = Vec::new();
    cell.visit_parameters(&mut |name, weight| saved.push((name.to_owned(), weight.to_owned())));
    let mut names: Vec<&String> = saved.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");

    let mut loaded = saved.iter();
    other.visit_parameters_mut(&mut |name, mut weight| {
        let (saved_name, saved) = loaded.next().unwrap();
        assert_eq!((name, weight.shape()), (saved_name.as_str(), saved.shape()));
        weight.assign(saved);
    });
    assert!(loaded.next().is_none());
    let run = |cell: &BoxedCell<E>| {
        let (outputs, last) = dynamic_rnn(cell, &x, None, Some(initial.clone())).unwrap();
        numbers(outputs.view(), &last)
    };
    assert_same(&run(&cell), &run(&other));
}

/// Counts the rows it computes.
struct Counting(AtomicUsize);

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
        self.0.fetch_add(input.nrows(), Ordering::Relaxed);
        *state += &input.view();
        output.assign(state);
    }
}

proptest! {
    #![proptest_config(config(512))]
    #[test]
    fn padding_costs_nothing(mut lengths in vec(0..=33_usize, 0..=33), extra in 0..3_usize, sorted in any::<bool>()) {
        if sorted {
            lengths.sort_by(|a, b| b.cmp(a));
        }
        let (batch, seq) = (lengths.len(), lengths.iter().max().unwrap_or(&0) + extra);
        let x = Array3::<f64>::ones((batch, seq, 1));
        let time_major = x.view().permuted_axes([1, 0, 2]);
        let valid: usize = lengths.iter().sum();
        let expected: Vec<f64> = lengths.iter().map(|&length| length as f64).collect();
        let counted = |run: &dyn Fn(&Counting) -> Array2<f64>| {
            let cell = Counting(AtomicUsize::new(0));
            assert_eq!(run(&cell).column(0).to_vec(), expected);
            cell.0.into_inner()
        };
        assert_eq!(counted(&|cell| dynamic_rnn(cell, &x, Some(&lengths), None).unwrap().1), valid);
        let twin = |cell: &_| driver(cell, Some(&lengths), None).time_major(true).run(&time_major).unwrap().1;
        assert_eq!(counted(&twin), valid);
        let both = counted(&|cell| bidirectional_dynamic_rnn(cell, cell, &x, Some(&lengths), None, None).unwrap().1.1);
        assert_eq!(both, 2 * valid);
        let watched = |cell: &_| DynamicRnn::new(cell).sequence_length(&lengths).run_with_states(&x).unwrap().2;
        assert_eq!(counted(&watched), valid);
        let raw = counted(&|cell| {
            let steps = raw_rnn(cell, batch, |step| {
                step.next_input.fill(1.0);
                step.finished.iter_mut().zip(&lengths).for_each(|(done, &length)| *done = step.time >= length);
            });
            steps.unwrap().1
        });
        assert_eq!(raw, valid);
    }
}

/// Large enough to leave the calling thread, by rows and by units.
#[cfg(feature = "rayon")]
mod threads {
    use super::*;
    use crate::common::description::description;
    use crate::common::number;

    proptest! {
        #![proptest_config(config(24))]
        #[test]
        fn threads_change_no_bit(
            cell in description(40..300_usize),
            lengths in vec(0..=40_usize, 1..=30),
            threads in 2..=5_usize,
            seed in any::<u64>(),
        ) {
            let mut rng = rng(seed);
            let cell = cell.build::<f32>(33, &mut rng);
            let (batch, seq) = (lengths.len(), lengths.iter().max().unwrap_or(&0) + 1);
            let x = Array3::from_shape_simple_fn((batch, seq, 33), || number(&mut rng, 1.0));
            let initial = cell.training_state(batch, seed);
            let run = |threads: usize, lengths: Option<&[usize]>| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let (cell, x, initial) = (&cell, &x, Some(initial.clone()));
                let (outputs, last) = pool.install(move || dynamic_rnn(cell, x, lengths, initial).unwrap());
                numbers(outputs.view(), &last)
            };
            for lengths in [None, Some(&lengths[..])] {
                assert_same(&run(1, lengths), &run(threads, lengths));
            }
        }
    }
}
