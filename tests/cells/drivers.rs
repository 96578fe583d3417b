//! Compares every driver with a plain loop over single rows, for every cell, bit for bit.

use crate::common::driver_both;
use ndarray::{Array2, Array3, ArrayRef2, Axis, Zip, array, s};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rnn_cell::GruReset;
use rnn_cell::*;
use std::sync::Arc;

const BATCH: usize = 4;
const SEQ: usize = 6;
const INPUT: usize = 3;
/// Unsorted lengths, with an empty row and a full one.
const LENGTHS: [usize; BATCH] = [3, 6, 0, 5];

/// A cell that overrides no provided method: h' = decay · h + x.
struct Leaky<E>(E);

impl<E: Float> RnnCell for Leaky<E> {
    type Elem = E;
    type State = Array2<E>;
    type Workspace = ();

    fn input_size(&self) -> usize {
        INPUT
    }
    fn output_size(&self) -> usize {
        INPUT
    }
    fn zero_state(&self, batch: usize) -> Array2<E> {
        Array2::zeros((batch, INPUT))
    }
    fn step(&self, input: &ArrayRef2<E>, state: &mut Array2<E>, output: &mut ArrayRef2<E>, _: &mut ()) {
        Zip::from(&mut *state).and(input).for_each(|h, &x| *h = self.0 * *h + x);
        output.assign(state);
    }
}

fn rng() -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(7)
}

/// Calls `check` for every cell, with and without options, in f32 and f64.
macro_rules! for_every_cell {
    ($check:ident) => {
        for_every_cell!($check, f32);
        for_every_cell!($check, f64);
    };
    ($check:ident, $E:ty) => {
        let rng = &mut rng();
        $check(&Leaky::<$E>(0.5));
        $check(&BasicRnn::<$E>::new(INPUT, 5, rng));
        $check(&Lstm::<$E>::new(INPUT, 5, rng));
        let lstm = Lstm::<$E>::builder(INPUT, 5).use_peepholes(true).num_proj(4).cell_clip(0.3).proj_clip(0.2);
        $check(&lstm.build(rng).unwrap());
        $check(&Gru::<$E>::new(INPUT, 5, rng));
        $check(&Gru::<$E>::builder(INPUT, 5).reset(GruReset::After).build(rng).unwrap());
        $check(&&Box::new(Gru::<$E>::new(INPUT, 5, rng)));
    };
}

/// Inputs (batch, seq, input); with lengths, NaN in the padding.
fn inputs<E: Float>(shape: (usize, usize, usize), lengths: Option<&[usize]>) -> Array3<E> {
    let rng = &mut rng();
    let mut x = Array3::from_shape_simple_fn(shape, || E::of(rng.random_range(-1.0..1.0)));
    for (row, &length) in lengths.unwrap_or_default().iter().enumerate() {
        x.slice_mut(s![row, length.., ..]).fill(E::nan());
    }
    x
}

fn random_state<C: RnnCell>(cell: &C, batch: usize) -> C::State {
    let rng = &mut rng();
    let mut state = cell.zero_state(batch);
    state.visit_mut(&mut |mut leaf| leaf.mapv_inplace(|_| C::Elem::of(rng.random_range(-0.2..0.2))));
    state
}

fn assert_same_state<E: Float, S: State<E>>(found: &S, expected: &S) {
    let leaves = |state: &S| {
        let mut leaves = Vec::new();
        state.visit(&mut |leaf| leaves.push(leaf.to_owned()));
        leaves
    };
    assert_eq!(leaves(found), leaves(expected));
}

/// The specification: each row alone, step by step, forward or from the last step backward.
fn plain_loop<C: RnnCell>(
    cell: &C,
    x: &Array3<C::Elem>,
    lengths: Option<&[usize]>,
    initial: &C::State,
    backward: bool,
) -> (Array3<C::Elem>, C::State) {
    let (batch, seq, _) = x.dim();
    let mut outputs = Array3::zeros((batch, seq, cell.output_size()));
    let mut finals = initial.clone();
    for row in 0..batch {
        let mut state = initial.select_rows(&[row]);
        let mut workspace = C::Workspace::default();
        let length = lengths.map_or(seq, |lengths| lengths[row]);
        for t in 0..length {
            let t = if backward { length - 1 - t } else { t };
            let mut output = outputs.slice_mut(s![row..row + 1, t, ..]);
            cell.step(&x.slice(s![row..row + 1, t, ..]), &mut state, &mut output, &mut workspace);
        }
        finals.copy_row(row, &state, 0);
    }
    (outputs, finals)
}

fn time_major<E: Float>(x: &Array3<E>) -> Array3<E> {
    x.view().permuted_axes([1, 0, 2]).as_standard_layout().into_owned()
}

#[test]
fn bidirectional_is_two_loops() {
    fn check<C: RnnCell>(cell: &C) {
        let lengths = [None, Some(&LENGTHS), Some(&[4; BATCH]), Some(&[0; BATCH]), Some(&[6, 5, 3, 0])];
        for lengths in lengths.map(|lengths| lengths.map(|lengths| &lengths[..])) {
            let x = inputs((BATCH, SEQ, INPUT), lengths);
            let (zero, other) = (cell.zero_state(BATCH), random_state(cell, BATCH));
            let expected_fw = plain_loop(cell, &x, lengths, &zero, false);
            let expected_bw = plain_loop(cell, &x, lengths, &other, true);

            let initial = Some(other.clone());
            let ((fw, bw), states) = bidirectional_dynamic_rnn(cell, cell, &x, lengths, None, initial).unwrap();
            assert_eq!((&fw, &bw), (&expected_fw.0, &expected_bw.0));
            assert!(fw.is_standard_layout() && bw.is_standard_layout());
            assert_same_state(&states.0, &expected_fw.1);
            assert_same_state(&states.1, &expected_bw.1);

            let (x, initial) = (time_major(&x), Some(other));
            let ((fw_tm, bw_tm), states) =
                driver_both(cell, lengths, [None, initial]).time_major(true).run(&x).unwrap();
            assert_eq!((fw_tm, bw_tm), (time_major(&fw), time_major(&bw)));
            assert_same_state(&states.1, &expected_bw.1);
        }
    }
    for_every_cell!(check);
}

#[test]
fn directions_may_be_of_two_types_and_large_enough_for_two_threads() {
    let (batch, seq, input) = (8, 40, 64);
    let forward = Lstm::<f32>::new(input, 96, &mut rng());
    let backward = Gru::new(input, 64, &mut rng());
    let x = inputs((batch, seq, input), None);
    let ((fw, bw), (state_fw, state_bw)) =
        bidirectional_dynamic_rnn(&forward, &backward, &x, None, None, None).unwrap();
    assert_eq!((fw.clone(), state_fw), plain_loop(&forward, &x, None, &forward.zero_state(batch), false));
    assert_eq!((bw.clone(), state_bw), plain_loop(&backward, &x, None, &backward.zero_state(batch), true));
    let both = concat_outputs(&fw, &bw);
    assert_eq!((both.slice(s![.., .., ..96]), both.slice(s![.., .., 96..])), (fw.view(), bw.view()));
}

#[test]
#[should_panic(expected = "outputs_fw are (2, 3, 4), but outputs_bw are (2, 2, 4)")]
fn outputs_of_different_steps_do_not_concatenate() {
    let _ = concat_outputs(&Array3::<f32>::zeros((2, 3, 4)), &Array3::zeros((2, 2, 4)));
}

#[test]
fn parameters_of_two_directions_are_prefixed() {
    let mut pair = Bidirectional { fw: Gru::<f32>::new(3, 2, &mut rng()), bw: BasicRnn::new(3, 2, &mut rng()) };
    let names = ["fw/gates/kernel", "fw/gates/bias", "fw/candidate/kernel", "fw/candidate/bias"];
    let names = [&names[..], &["bw/kernel", "bw/bias"]].concat();
    let mut found = Vec::new();
    pair.visit_parameters(&mut |name, _| found.push(name.to_string()));
    assert_eq!(found, names);

    found.clear();
    pair.visit_parameters_mut(&mut |name, mut weight| {
        found.push(name.to_string());
        weight.fill(0.0);
    });
    assert_eq!(found, names);
    assert_eq!(pair.bw.weights().kernel, Array2::<f32>::zeros((5, 2)));
}

#[test]
fn a_stack_is_a_loop_over_layers() {
    fn check<E: Float>(lengths: Option<&[usize]>) {
        let rng = &mut rng();
        let cells_fw = [Lstm::<E>::new(INPUT, 5, rng), Lstm::new(5 + 2, 4, rng), Lstm::new(4 + 3, 2, rng)];
        let cells_bw = [Gru::new(INPUT, 2, rng), Gru::new(5 + 2, 3, rng), Gru::new(4 + 3, 6, rng)];
        let initial_bw: Vec<_> = cells_bw.iter().map(|cell| random_state(cell, BATCH)).collect();
        let x = inputs((BATCH, SEQ, INPUT), lengths);
        let (outputs, states_fw, states_bw) =
            stack_bidirectional_dynamic_rnn(&cells_fw, &cells_bw, &x, lengths, None, Some(initial_bw.clone())).unwrap();

        let mut expected = x;
        for layer in 0..3 {
            let initial = Some(initial_bw[layer].clone());
            let (cell_fw, cell_bw) = (&cells_fw[layer], &cells_bw[layer]);
            let ((fw, bw), states) =
                bidirectional_dynamic_rnn(cell_fw, cell_bw, &expected, lengths, None, initial).unwrap();
            assert_eq!((&states_fw[layer], &states_bw[layer]), (&states.0, &states.1));
            expected = concat_outputs(&fw, &bw);
        }
        assert_eq!(outputs, expected);
        assert!(outputs.is_standard_layout());
    }
    for lengths in [None, Some(&LENGTHS[..])] {
        check::<f32>(lengths);
        check::<f64>(lengths);
    }
}

#[test]
fn static_rnn_is_dynamic_rnn_over_stacked_steps() {
    fn check<C: RnnCell>(cell: &C) {
        for lengths in [None, Some(&LENGTHS[..])] {
            let x = inputs((BATCH, SEQ, INPUT), lengths);
            let initial = random_state(cell, BATCH);
            let expected = plain_loop(cell, &x, lengths, &initial, false);
            let views: Vec<_> = x.axis_iter(Axis(1)).collect();
            let (outputs, state) = static_rnn(cell, &views, lengths, Some(initial.clone())).unwrap();
            assert_eq!(outputs, expected.0.axis_iter(Axis(1)).collect::<Vec<_>>());
            assert_same_state(&state, &expected.1);

            let arrays: Vec<_> = views.iter().map(|view| view.to_owned()).collect();
            let (outputs, state_fw, state_bw) =
                static_bidirectional_rnn(cell, cell, &arrays, lengths, Some(initial.clone()), None).unwrap();
            let expected_bw = plain_loop(cell, &x, lengths, &cell.zero_state(BATCH), true);
            let both = concat_outputs(&expected.0, &expected_bw.0);
            assert_eq!(outputs, both.axis_iter(Axis(1)).collect::<Vec<_>>());
            assert_same_state(&state_fw, &expected.1);
            assert_same_state(&state_bw, &expected_bw.1);
        }
    }
    for_every_cell!(check);
}

#[test]
fn raw_rnn_with_lengths_is_dynamic_rnn_up_to_the_longest_row() {
    fn check<C: RnnCell>(cell: &C) {
        for lengths in [[3, 4, 0, 1], [0; BATCH], [SEQ; BATCH]] {
            // NaN in the padding: what the closure gives finished rows does not matter.
            let x = inputs((BATCH, SEQ, INPUT), Some(&lengths));
            let initial = random_state(cell, BATCH);
            let (expected, expected_state) = plain_loop(cell, &x, Some(&lengths), &initial, false);
            let mut calls = 0;
            let (outputs, state) = raw_rnn(cell, BATCH, |step| {
                assert_eq!((step.time, step.output.is_some()), (calls, calls > 0));
                calls += 1;
                if step.time == 0 {
                    *step.state = initial.clone();
                }
                for (finished, &length) in step.finished.iter_mut().zip(&lengths) {
                    *finished = step.time >= length;
                }
                if step.time < SEQ {
                    step.next_input.assign(&x.index_axis(Axis(1), step.time));
                }
            })
            .unwrap();
            let steps = *lengths.iter().max().unwrap();
            assert_eq!(calls, steps + 1);
            assert_eq!(outputs, expected.slice(s![.., ..steps, ..]).permuted_axes([1, 0, 2]));
            assert!(outputs.is_standard_layout());
            assert_same_state(&state, &expected_state);
        }
    }
    for_every_cell!(check);
}

#[test]
fn raw_rnn_keeps_finished_rows_and_takes_changes_of_the_others() {
    // h' = h + x: row 0 makes 1 step, row 1 makes 3.
    let (outputs, state) = raw_rnn(&Leaky(1.0), 2, |step| {
        step.next_input.fill(1.0);
        if let Some(output) = step.output {
            assert_eq!(output[[0, 0]], if step.time == 1 { 1.0 } else { 0.0 });
            step.emit = Some(output.slice(s![.., ..1]).mapv(|h| -h));
            // Counts in the call in which a row finishes, and not in later ones.
            *step.state += 10.0;
        }
        // `false` in later calls does not revive row 0.
        step.finished.copy_from_slice(&[step.time == 1, step.time == 3]);
    })
    .unwrap();
    assert_eq!(outputs, array![[[-1.0], [-1.0]], [[0.0], [-12.0]], [[0.0], [-23.0]]]);
    assert_eq!(state, array![[11.0, 11.0, 11.0], [33.0, 33.0, 33.0]]);
}

#[test]
fn raw_rnn_refuses_wrong_states_and_emits() {
    let cell = Leaky(1.0);
    let wrong_state = raw_rnn(&cell, 2, |step| *step.state = Array2::zeros((3, INPUT)));
    let message = "leaf 0 of the state at time 0 is (3, 3), but must be (2, 3) (batch, features)";
    assert_eq!(wrong_state.unwrap_err().to_string(), message);
    let wrong_emit = raw_rnn(&cell, 2, |step| step.emit = Some(Array2::zeros((2, step.time))));
    let message = "emit at time 2 has shape [2, 2], but must have [2, 1]";
    assert_eq!(wrong_emit.unwrap_err().to_string(), message);
}

#[test]
fn streams_own_borrow_or_share_their_cell() {
    let shared = Arc::new(Gru::<f64>::new(INPUT, 2, &mut rng()));
    let x = Array2::from_elem((1, INPUT), 0.5);
    let mut owned = Stream::new(Gru::clone(&shared), 1);
    let expected = owned.push(&x).unwrap();
    assert_eq!(Stream::new(&*shared, 1).push(&x).unwrap(), expected);
    let mut streams: Vec<_> = (0..1000).map(|_| Stream::new(Arc::clone(&shared), 1)).collect();
    for stream in &mut streams {
        assert_eq!(stream.push(&x).unwrap(), expected);
    }
    assert_eq!(Arc::strong_count(&shared), 1001);
    let (cell, state) = streams.pop().unwrap().into_parts();
    assert!(Arc::ptr_eq(&cell, &shared) && state == *expected);
}

#[test]
fn a_workspace_serves_any_cell_of_its_type() {
    let mut workspace = DynamicRnnWorkspace::default();
    for (input, hidden, lengths) in [(3, 5, [2, 6, 0, 6]), (7, 9, [1, 2, 3, 4]), (2, 3, [4, 2, 1, 0]), (3, 5, [6; 4])] {
        let cell = Lstm::<f32>::new(input, hidden, &mut rng());
        let x = inputs((BATCH, SEQ, input), Some(&lengths));
        let (expected, expected_state) = plain_loop(&cell, &x, Some(&lengths), &cell.zero_state(BATCH), false);
        let mut outputs = Array3::from_elem(expected.dim(), f32::NAN);
        let driver = DynamicRnn::new(&cell).sequence_length(&lengths);
        let state = driver.run_into(&x, &mut outputs, &mut workspace).unwrap();
        assert_eq!((outputs, state), (expected, expected_state));
    }
}

#[test]
fn no_rows_and_no_steps_are_fine() {
    fn check<C: RnnCell>(cell: &C) {
        for (batch, seq) in [(0, SEQ), (BATCH, 0), (0, 0)] {
            let x = Array3::zeros((batch, seq, INPUT));
            let initial = random_state(cell, batch);
            let shape = (batch, seq, cell.output_size());
            for lengths in [None, Some(&vec![0; batch][..])] {
                let start = || Some(initial.clone());
                let ((fw, bw), states) = bidirectional_dynamic_rnn(cell, cell, &x, lengths, start(), start()).unwrap();
                assert_eq!((fw, bw), (Array3::zeros(shape), Array3::zeros(shape)));
                assert_same_state(&states.0, &initial);
                assert_same_state(&states.1, &initial);
            }
            let (outputs, ..) = stack_bidirectional_dynamic_rnn(&[cell], &[cell], &x, None, None, None).unwrap();
            assert_eq!(outputs.dim(), (batch, seq, 2 * cell.output_size()));
            let resets = Array2::from_elem((batch, seq), true);
            let driver = DynamicRnn::new(cell).initial_state(initial.clone()).resets(&resets);
            let (outputs, states, last) = driver.run_with_states(&x).unwrap();
            assert_eq!((outputs.dim(), states.len()), (shape, seq));
            assert_same_state(&last, &initial);
        }
        let steps = vec![Array2::zeros((0, INPUT)); SEQ];
        assert_eq!(static_rnn(cell, &steps, None, None).unwrap().0.len(), SEQ);
        assert_eq!(raw_rnn(cell, 0, |_| ()).unwrap().0.dim(), (0, 0, cell.output_size()));
        let mut stream = Stream::new(cell, 0);
        assert_eq!(stream.push(&steps[0]).unwrap().dim(), (0, cell.output_size()));
        assert_eq!(stream.push_steps(&Array3::zeros((3, 0, INPUT))).unwrap().dim(), (3, 0, cell.output_size()));
    }
    for_every_cell!(check);
}

#[test]
fn mistakes_are_named() {
    let rng = &mut rng();
    let cell = Lstm::<f32>::new(4, 2, rng);
    let wide = Lstm::<f32>::new(5, 2, rng);
    let x = Array3::<f32>::zeros((2, 3, 4));
    let state = |batch, features| LstmState { c: Array2::zeros((batch, 2)), h: Array2::zeros((batch, features)) };
    let check = |error: Error, message: &str| assert_eq!(error.to_string(), message);

    let error = bidirectional_dynamic_rnn(&cell, &wide, &x, None, None, None).unwrap_err();
    check(error, "cell_bw has an input_size of 5, but is given 4 features");
    let error = bidirectional_dynamic_rnn(&cell, &cell, &x, Some(&[3, 4]), None, None).unwrap_err();
    check(error, "sequence_length[1] is 4, but inputs have only 3 steps (inputs are (2, 3, 4))");
    let error = driver_both(&cell, Some(&[1]), [None, None]).time_major(true).run(&x).unwrap_err();
    check(error, "sequence_length has 1 entries, but inputs have a batch of 3 (inputs are (2, 3, 4))");
    let error = bidirectional_dynamic_rnn(&cell, &cell, &x, None, None, Some(state(2, 1))).unwrap_err();
    let leaf = |state: &str| format!("leaf 1 of {state} is (2, 1), but must be (2, 2) (batch, features)");
    check(error, &leaf("initial_state_bw"));

    let empty: [&Lstm<f32>; 0] = [];
    let error = stack_bidirectional_dynamic_rnn(&empty, &empty, &x, None, None, None).unwrap_err();
    check(error, "cells_fw.len() is 0, but must be at least 1");
    let error = stack_bidirectional_dynamic_rnn(&[&cell, &cell], &[&cell], &x, None, None, None).unwrap_err();
    check(error, "cells_bw has 1 layers, but cells_fw has 2");
    let error = stack_bidirectional_dynamic_rnn(&[&cell, &cell], &[&cell, &wide], &x, None, None, None).unwrap_err();
    check(error, "cells_bw[1] has an input_size of 5, but is given 4 features");
    let cells = [&cell, &cell];
    let error = stack_bidirectional_dynamic_rnn(&cells, &cells, &x, None, None, Some(vec![])).unwrap_err();
    check(error, "initial_states_bw has 0 layers, but cells_fw has 2");
    let states = Some(vec![state(2, 2), state(2, 1)]);
    let error = stack_bidirectional_dynamic_rnn(&cells, &cells, &x, None, states, None).unwrap_err();
    check(error, &leaf("initial_states_fw[1]"));

    let error = static_rnn(&cell, &[] as &[Array2<f32>], None, None).unwrap_err();
    check(error, "inputs.len() is 0, but must be at least 1");
    let steps = [Array2::zeros((2, 4)), Array2::zeros((1, 4))];
    let error = static_rnn(&cell, &steps, None, None).unwrap_err();
    check(error, "inputs[1] has shape [1, 4], but must have [2, 4]");
    let error = static_bidirectional_rnn(&cell, &wide, &steps[..1], None, None, None).unwrap_err();
    check(error, "cell_bw has an input_size of 5, but is given 4 features");

    let error = DynamicRnn::new(&cell).resets(&array![[true, false]]).run(&x).unwrap_err();
    check(error, "resets has shape [1, 2], but must have [2, 3]");

    let (mut outputs, mut workspace) = (Array3::from_elem((2, 3, 3), 5.0), DynamicRnnWorkspace::default());
    let error = DynamicRnn::new(&cell).run_into(&x, &mut outputs, &mut workspace).unwrap_err();
    check(error, "outputs has shape [2, 3, 3], but must have [2, 3, 2]");
    let mut outputs = outputs.slice_move(s![.., .., ..2]);
    let driver = DynamicRnn::new(&cell).initial_state(state(2, 1));
    check(driver.run_into(&x, &mut outputs, &mut workspace).unwrap_err(), &leaf("initial_state"));
    let driver = DynamicRnn::new(&cell).sequence_length(&[3, 4]);
    let error = driver.run_into(&x, &mut outputs, &mut workspace).unwrap_err();
    check(error, "sequence_length[1] is 4, but inputs have only 3 steps (inputs are (2, 3, 4))");
    assert_eq!(outputs, Array3::from_elem((2, 3, 2), 5.0), "what fails leaves the outputs alone");

    let mut stream = Stream::new(&cell, 2);
    check(stream.push_steps(&x).unwrap_err(), "inputs has shape [2, 3, 4], but must have [2, 2, 4]");
    check(stream.push(&steps[1]).unwrap_err(), "input has shape [1, 4], but must have [2, 4]");
    check(stream.reset_row(2).unwrap_err(), "row is 2, but there are only 2 rows");
    check(stream.set_state(state(2, 1)).unwrap_err(), &leaf("state"));
    check(Stream::with_initial_state(&cell, 2, state(2, 1)).unwrap_err(), &leaf("initial_state"));
}
