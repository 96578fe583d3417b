//! Options of the drivers, combined at random: each combination gives what plain steps of single rows give, bit for bit,
//! whatever is asked for: outputs, states, layers, or a list of steps.

use crate::common::description::{config, description};
use crate::common::problem::{Problem, Run, assert_same, assert_same_state, laid_out, problem};
use crate::common::{array, by_steps, driver, driver_both, leaves, number, numbers, rng, state};
use ndarray::{Array2, Array3, Axis, Dimension, concatenate, s, stack};
use proptest::collection::vec;
use proptest::prelude::*;
use rand::RngExt;
use rnn_cell::train::BoxedTrainableCell;
use rnn_cell::{
    BidirectionalRnn, BoxedCell, DynState, DynamicRnn, DynamicRnnWorkspace, Error, Float, Gru, Lstm, MultiRnnCell,
    RawRnn, RnnCell, StackBidirectionalRnn, State, raw_rnn,
};

/// The options of a run, as proptest draws them.
#[derive(Debug, Clone)]
struct Options {
    lengths: bool,
    initial: [bool; 2],
    time_major: bool,
    /// How often a step resets.
    resets: Option<f64>,
}

fn options() -> impl Strategy<Value = Options> {
    let resets = proptest::option::of(prop_oneof![3 => 0.0..0.5, 1 => Just(1.0)]);
    let flags = any::<(bool, [bool; 2], bool)>();
    (flags, resets).prop_map(|((lengths, initial, time_major), resets)| Options {
        lengths,
        initial,
        time_major,
        resets,
    })
}

/// Swaps batch and time of an array that is to be time-major.
fn turned<E: Clone, D: Dimension>(mut array: ndarray::Array<E, D>, time_major: bool) -> ndarray::Array<E, D> {
    if time_major {
        array.swap_axes(0, 1);
    }
    array
}

/// The specification: each row alone, step by step, from the initial state at its start and at its resets.
fn specified<C: RnnCell>(
    cell: &C,
    x: &Array3<C::Elem>,
    (lengths, resets): (&[usize], &Array2<bool>),
    initial: &C::State,
) -> (Array3<C::Elem>, C::State) {
    let (mut outputs, mut last) = (Array3::zeros((x.dim().0, x.dim().1, cell.output_size())), initial.clone());
    for (row, &length) in lengths.iter().enumerate() {
        let start = initial.select_rows(&[row]);
        let mut row_state = start.clone();
        for step in 0..length {
            if resets[[row, step]] {
                row_state = start.clone();
            }
            let part = s![row..=row, step..=step, ..];
            let (output, next) = by_steps(cell, x.slice(part), row_state);
            outputs.slice_mut(part).assign(&output);
            row_state = next;
        }
        last.copy_row(row, &row_state, 0);
    }
    (outputs, last)
}

proptest! {
    #![proptest_config(config(192))]

    #[test]
    fn options_combine(problem in problem(), options in options()) {
        one_way::<f32>(&problem, &options);
        one_way::<f64>(&problem, &options);
    }

    #[test]
    fn options_of_both_directions_combine(problem in problem(), options in options()) {
        both_ways::<f32>(&problem, &options);
        both_ways::<f64>(&problem, &options);
    }

    #[test]
    fn a_stack_of_both_directions_is_its_layers(
        cells in vec((description(1..=9_usize), description(1..=9_usize)), 1..=3),
        lengths in vec(0..=7_usize, 0..=7),
        options in options(),
        seed in any::<u64>(),
    ) {
        let (seq, rng) = (lengths.iter().max().unwrap_or(&0) + 1, &mut rng(seed));
        let (mut width, mut cells_fw, mut cells_bw) = (3, Vec::new(), Vec::new());
        for (fw, bw) in &cells {
            cells_fw.push(fw.build::<f32>(width, rng));
            cells_bw.push(bw.build::<f32>(width, rng));
            width = cells_fw.last().unwrap().output_size() + cells_bw.last().unwrap().output_size();
        }
        let x = array((lengths.len(), seq, 3), rng);
        let mut initial = |cells: &[BoxedTrainableCell<f32>], is_set: bool| {
            is_set.then(|| cells.iter().map(|cell| state(cell, lengths.len(), rng)).collect::<Vec<_>>())
        };
        let initial = [initial(&cells_fw, options.initial[0]), initial(&cells_bw, options.initial[1])];
        let given = turned(x.clone(), options.time_major);
        let driver = || {
            let mut driver = StackBidirectionalRnn::new(&cells_fw, &cells_bw).time_major(options.time_major);
            if options.lengths {
                driver = driver.sequence_length(&lengths);
            }
            if let Some(fw) = &initial[0] {
                driver = driver.initial_states_fw(fw.clone());
            }
            if let Some(bw) = &initial[1] {
                driver = driver.initial_states_bw(bw.clone());
            }
            driver
        };
        let (layers, states_fw, states_bw) = driver().run_with_layers(&given).unwrap();
        let (outputs, only_fw, only_bw) = driver().run(&given).unwrap();
        prop_assert_eq!(layers.len(), cells.len());
        assert_eq!(&outputs, layers.last().unwrap());

        let mut below = x;
        for (layer, outputs) in layers.into_iter().enumerate() {
            let mut driver = BidirectionalRnn::new(&cells_fw[layer], &cells_bw[layer]);
            if options.lengths {
                driver = driver.sequence_length(&lengths);
            }
            if let Some(fw) = &initial[0] {
                driver = driver.initial_state_fw(fw[layer].clone());
            }
            if let Some(bw) = &initial[1] {
                driver = driver.initial_state_bw(bw[layer].clone());
            }
            let ((fw, bw), states) = driver.run(&below).unwrap();
            below = concatenate![Axis(2), fw, bw];
            prop_assert!(outputs.is_standard_layout());
            prop_assert_eq!(&turned(outputs, options.time_major), &below);
            for state in [&states_fw[layer], &only_fw[layer]] {
                prop_assert_eq!(leaves(state), leaves(&states.0));
            }
            for state in [&states_bw[layer], &only_bw[layer]] {
                prop_assert_eq!(leaves(state), leaves(&states.1));
            }
        }
    }
}

fn one_way<E: Float>(problem: &Problem, options: &Options) {
    let Run { cell, x, initial, mut rng } =
        if options.lengths { problem.run_with_poison::<E>() } else { problem.run::<E>() };
    let (batch, seq, _) = x.dim();
    let lengths = if options.lengths { problem.lengths.clone() } else { vec![seq; batch] };
    let initial = if options.initial[0] { initial } else { cell.zero_state(batch) };
    let often = options.resets.unwrap_or(0.0);
    let resets = Array2::from_shape_simple_fn((batch, seq), || rng.random_bool(often));
    let (expected, expected_last) = specified(&cell, &x, (&lengths, &resets), &initial);
    let same = |outputs: Array3<E>, last: &DynState<E>| {
        assert_same(&numbers(expected.view(), &expected_last), &numbers(outputs.view(), last));
        assert_same_state(&cell, &expected_last, last);
    };

    let (given, given_resets) = (turned(x.clone(), options.time_major), turned(resets, options.time_major));
    let driver = || {
        let initial = options.initial[0].then(|| initial.clone());
        let driver = driver(&cell, options.lengths.then_some(&lengths[..]), initial).time_major(options.time_major);
        if options.resets.is_some() { driver.resets(&given_resets) } else { driver }
    };
    let (outputs, last) = driver().run(&given).unwrap();
    assert!(outputs.is_standard_layout());
    let shape = outputs.raw_dim();
    same(turned(outputs, options.time_major), &last);
    let (outputs, states, last) = driver().run_with_states(&given).unwrap();
    assert_eq!(states.len(), seq);
    same(turned(outputs, options.time_major), &last);
    let mut outputs = laid_out(Array3::from_elem(shape, E::nan()), problem.layout);
    let last = driver().run_into(&given, &mut outputs, &mut DynamicRnnWorkspace::default()).unwrap();
    same(turned(outputs, options.time_major), &last);
    if seq > 0 {
        let steps: Vec<_> = x.axis_iter(Axis(1)).collect();
        let (outputs, last) = driver().run_steps(&steps).unwrap();
        let outputs: Vec<_> = outputs.iter().map(|output| output.view()).collect();
        same(stack(Axis(1), &outputs).unwrap(), &last);
    }
}

fn both_ways<E: Float>(problem: &Problem, options: &Options) {
    let Run { cell, x, initial, .. } =
        if options.lengths { problem.run_with_poison::<E>() } else { problem.run::<E>() };
    let (batch, seq, _) = x.dim();
    let lengths = if options.lengths { problem.lengths.clone() } else { vec![seq; batch] };
    let reversed = |from: &Array3<E>| {
        let mut to = Array3::zeros(from.dim());
        for (row, &length) in lengths.iter().enumerate() {
            to.slice_mut(s![row, ..length, ..]).assign(&from.slice(s![row, ..length;-1, ..]));
        }
        to
    };
    let initial = options.initial.map(|is_set| is_set.then(|| initial.clone()));
    let start = |state: &Option<DynState<E>>| state.clone().unwrap_or_else(|| cell.zero_state(batch));
    let none = Array2::from_elem((batch, seq), false);
    let (fw, state_fw) = specified(&cell, &x, (&lengths, &none), &start(&initial[0]));
    let (bw, state_bw) = specified(&cell, &reversed(&x), (&lengths, &none), &start(&initial[1]));
    let bw = reversed(&bw);
    let driver = || {
        let driver = driver_both(&cell, options.lengths.then_some(&lengths[..]), initial.clone());
        driver.time_major(options.time_major)
    };
    let (outputs, states) = driver().run(&turned(x.clone(), options.time_major)).unwrap();
    assert!(outputs.0.is_standard_layout() && outputs.1.is_standard_layout());
    assert_same(&numbers(fw.view(), &state_fw), &numbers(turned(outputs.0, options.time_major).view(), &states.0));
    assert_same(&numbers(bw.view(), &state_bw), &numbers(turned(outputs.1, options.time_major).view(), &states.1));
    if seq > 0 {
        let steps: Vec<_> = x.axis_iter(Axis(1)).collect();
        let (outputs, last_fw, last_bw) = driver().run_steps(&steps).unwrap();
        let outputs: Vec<_> = outputs.iter().map(|output| output.view()).collect();
        let both = concatenate![Axis(2), fw, bw];
        assert_same(&numbers(both.view(), &state_fw), &numbers(stack(Axis(1), &outputs).unwrap().view(), &last_fw));
        assert_same(&numbers(both.view(), &state_bw), &numbers(both.view(), &last_bw));
    }
}

// ── The layers of a stack ──

/// Each layer's outputs are those of the layer alone over the outputs of the one below.
fn layers_of<E: Float>(
    cells: Vec<BoxedCell<E>>,
    x: &Array3<E>,
    initial: Option<Vec<DynState<E>>>,
    (lengths, resets, time_major): (Option<&[usize]>, Option<&Array2<bool>>, bool),
) {
    let stack = MultiRnnCell::new(cells).unwrap();
    let given = turned(x.clone(), time_major);
    let given_resets = resets.map(|resets| turned(resets.clone(), time_major));
    let driver_of_stack = || {
        let driver = driver(&stack, lengths, initial.clone()).time_major(time_major);
        if let Some(resets) = &given_resets { driver.resets(resets) } else { driver }
    };
    let (layers, last) = driver_of_stack().run_with_layers(&given).unwrap();
    let (outputs, only_last) = driver_of_stack().run(&given).unwrap();
    assert_eq!(layers.len(), stack.cells().len());
    assert_same(outputs.as_slice().unwrap(), layers.last().unwrap().as_slice().unwrap());

    let mut below = x.clone();
    for (layer, outputs) in layers.into_iter().enumerate() {
        let cell = &stack.cells()[layer];
        let alone = driver(cell, lengths, initial.as_ref().map(|states| states[layer].clone()));
        let alone = if let Some(resets) = resets { alone.resets(resets) } else { alone };
        let (expected, expected_last) = alone.run(&below).unwrap();
        assert!(outputs.is_standard_layout());
        let found = numbers(turned(outputs, time_major).view(), &last[layer]);
        assert_same(&numbers(expected.view(), &expected_last), &found);
        assert_same_state(cell, &expected_last, &last[layer]);
        assert_same_state(cell, &expected_last, &only_last[layer]);
        below = expected;
    }
}

proptest! {
    #![proptest_config(config(128))]

    #[test]
    fn layers_of_a_stack_are_runs_of_each(
        cells in vec(description(1..=9_usize), 1..=4),
        lengths in vec(0..=9_usize, 0..=9),
        options in options(),
        dropout in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let (seq, rng) = (lengths.iter().max().unwrap_or(&0) + 1, &mut rng(seed));
        let (mut width, mut layers) = (3, Vec::new());
        for cell in &cells {
            layers.push(BoxedCell::new(cell.build::<f64>(width, rng)));
            width = layers.last().unwrap().output_size();
        }
        let mut x = array((lengths.len(), seq, 3), rng);
        if options.lengths {
            for (row, &length) in lengths.iter().enumerate() {
                x.slice_mut(s![row, length.., ..]).fill(f64::NAN);
            }
        }
        let initial = options.initial[0].then(|| {
            layers.iter().map(|cell| {
                let mut state = state(cell, lengths.len(), rng);
                state.seed_dropout(dropout.then_some(seed));
                state
            }).collect::<Vec<_>>()
        });
        let resets = options.resets.map(|often| {
            Array2::from_shape_simple_fn((lengths.len(), seq), || rng.random_bool(often))
        });
        layers_of(layers, &x, initial, (options.lengths.then_some(&lengths[..]), resets.as_ref(), options.time_major));
    }
}

#[test]
fn layers_of_a_tuple() {
    let rng = &mut rng(3);
    let cell = MultiRnnCell::new((Lstm::<f32>::new(3, 5, rng), Gru::new(5, 4, rng), Lstm::new(4, 2, rng))).unwrap();
    let x = Array3::from_shape_simple_fn((4, 6, 3), || number(rng, 1.0));
    let lengths = [3, 6, 0, 5];
    let (layers, last) = DynamicRnn::new(&cell).sequence_length(&lengths).run_with_layers(&x).unwrap();
    let (a, state_a) = DynamicRnn::new(&cell.cells().0).sequence_length(&lengths).run(&x).unwrap();
    let (b, state_b) = DynamicRnn::new(&cell.cells().1).sequence_length(&lengths).run(&a).unwrap();
    let (c, state_c) = DynamicRnn::new(&cell.cells().2).sequence_length(&lengths).run(&b).unwrap();
    assert_eq!(layers, [a, b, c]);
    assert_eq!(last, (state_a, state_b, state_c));
    let error = DynamicRnn::new(&cell).sequence_length(&[1]).run_with_layers(&x).unwrap_err();
    assert_eq!(error.to_string(), "sequence_length has 1 entries, but inputs have a batch of 4 (inputs are (4, 6, 3))");
}

// ── raw_rnn ──

#[test]
fn raw_rnn_starts_from_the_initial_state() {
    let rng = &mut rng(4);
    let cell = Lstm::<f64>::new(2, 3, rng);
    let initial = state(&cell, 2, rng);
    let x = array((2, 5, 2), rng);
    let (expected, expected_last) = driver(&cell, Some(&[5, 3]), Some(initial.clone())).run(&x).unwrap();
    let (outputs, last) = RawRnn::new(&cell, 2)
        .initial_state(initial.clone())
        .run(|step| {
            if step.time == 0 {
                assert_eq!(*step.state, initial);
            }
            step.finished.copy_from_slice(&[step.time >= 5, step.time >= 3]);
            if step.time < 5 {
                step.next_input.assign(&x.index_axis(Axis(1), step.time));
            }
        })
        .unwrap();
    assert_eq!((turned(outputs, true), last), (expected, expected_last));
    let error = RawRnn::new(&cell, 3).initial_state(initial).run(|_| ()).unwrap_err();
    let message = "leaf 0 of initial_state is (2, 3), but must be (3, 3) (batch, features)";
    assert_eq!(error.to_string(), message);
}

#[test]
fn an_error_of_the_closure_ends_raw_rnn() {
    #[derive(Debug, PartialEq)]
    enum Mine {
        Own(usize),
        Theirs(Error),
    }
    impl From<Error> for Mine {
        fn from(error: Error) -> Self {
            Self::Theirs(error)
        }
    }
    let cell = Gru::<f32>::new(1, 1, &mut rng(5));
    let mut calls = 0;
    let own = RawRnn::new(&cell, 2).try_run(|step| {
        calls += 1;
        if step.time == 2 { Err(Mine::Own(step.time)) } else { Ok(()) }
    });
    assert_eq!((own.unwrap_err(), calls), (Mine::Own(2), 3));
    let theirs = RawRnn::new(&cell, 2).try_run(|step| {
        *step.state = Array2::zeros((1, 1));
        Ok::<_, Mine>(())
    });
    assert!(matches!(theirs, Err(Mine::Theirs(Error::StateShape { .. }))));
    let ended = |step: &mut rnn_cell::RawStep<'_, Gru<f32>>| step.finished.fill(step.time == 3);
    let fine = RawRnn::new(&cell, 2).try_run(|step| {
        ended(step);
        Ok::<_, Mine>(())
    });
    assert_eq!(fine.unwrap(), raw_rnn(&cell, 2, ended).unwrap());
}

// ── Mistakes ──

#[test]
fn a_list_of_steps_is_refused_like_an_array() {
    let cell = Gru::<f32>::new(4, 2, &mut rng(6));
    let steps = vec![Array2::<f32>::zeros((2, 4)); 3];
    let resets = Array2::from_elem((3, 2), false);
    assert!(DynamicRnn::new(&cell).resets(&resets).time_major(true).run_steps(&steps).is_ok());
    let error = DynamicRnn::new(&cell).resets(&resets).run_steps(&steps).unwrap_err();
    assert_eq!(error.to_string(), "resets has shape [3, 2], but must have [2, 3]");
    let error = DynamicRnn::new(&cell).sequence_length(&[3, 4]).run_steps(&steps).unwrap_err();
    assert_eq!(error.to_string(), "sequence_length[1] is 4, but inputs have only 3 steps (inputs are (2, 3, 4))");
    let error = BidirectionalRnn::new(&cell, &cell).initial_state_bw(Array2::zeros((1, 2))).run_steps(&steps);
    let message = "leaf 0 of initial_state_bw is (1, 2), but must be (2, 2) (batch, features)";
    assert_eq!(error.unwrap_err().to_string(), message);
}
