//! Abuse: sizes beyond memory, very long and very wide runs, extreme numbers, and one cell used from many threads.

use crate::common::{Check, Echo, Rng, array, by_steps, driver, each_cell, leaves, numbers, randomized, rng, state};
use ndarray::{Array1, Array2, Array3, Axis, array, s};
use rnn_cell::GruReset;
use rnn_cell::cells::{BasicRnnWeights, GruWeights, LstmWeights};
use rnn_cell::train::{self, TrainableCell};
use rnn_cell::{
    Activation, BasicRnn, BoxedCell, Dense, DropoutWrapper, Error, Float, Gru, HighwayWrapper, LayerNormLstm, Lstm,
    MultiRnnCell, Parameters, RnnCell, State, Stream, dynamic_rnn,
};
use std::panic::{AssertUnwindSafe, catch_unwind};

// ── Sizes ──

/// (input, hidden): products that overflow, sums that overflow, and 2⁵⁵ bytes, more than any allocator can address.
const BEYOND_MEMORY: [(usize, usize); 7] = [
    (usize::MAX, 1),
    (1, usize::MAX),
    (usize::MAX / 2, usize::MAX / 2),
    (usize::MAX - 3, 4),
    (usize::MAX / 4, 2),
    (1, usize::MAX / 4 + 1),
    (1, if usize::BITS == 64 { 1 << 26 } else { usize::MAX / 8 }),
];

#[track_caller]
fn assert_too_large<T>(result: Result<T, Error>) {
    let error = result.err().expect("weights beyond memory are an error");
    assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
}

#[test]
fn weights_beyond_memory_are_an_error() {
    let rng = &mut rng(1);
    for (input, hidden) in BEYOND_MEMORY {
        assert_too_large(BasicRnn::<f64>::builder(input, hidden).build(rng));
        assert_too_large(Lstm::<f32>::builder(input, hidden).use_peepholes(true).build(rng));
        assert_too_large(Gru::<f32>::builder(input, hidden).reset(GruReset::After).build(rng));
        assert_too_large(LayerNormLstm::<f32>::builder(input, hidden).build(rng));
        let wide = HighwayWrapper::builder(Echo(input.max(hidden)));
        assert_too_large(wide.couple_carry_transform_gates(false).build(rng));
    }
    assert_too_large(Lstm::<f32>::builder(2, 3).num_proj(usize::MAX / 2).build(rng));
    assert_too_large(Lstm::<f32>::builder(2, 3).num_proj(usize::MAX).build(rng));
    assert!(catch_unwind(|| Dense::<f32>::new(usize::MAX / 2, 5, &mut crate::common::rng(1))).is_err());
    let error = Lstm::<f32>::builder(usize::MAX, 1).build(rng).unwrap_err();
    let message = "weight \"kernel\" would have shape [18446744073709551615, 4], which is more than memory can hold";
    if usize::BITS == 64 {
        assert_eq!(error.to_string(), message);
    }
}

#[test]
#[should_panic(expected = "which is more than memory can hold")]
fn new_panics_where_a_builder_is_an_error() {
    let _ = Lstm::<f32>::new(usize::MAX / 2, 3, &mut rng(1));
}

/// The shapes these sizes would wrap around to.
#[test]
fn weights_of_a_shape_that_wrapped_around_are_refused() {
    let none = |rows: usize, columns: usize| Array2::<f32>::zeros((rows, columns));
    let shape = |error: Error| assert!(matches!(error, Error::ArrayShape { .. }), "{error:?}");
    let weights = BasicRnnWeights { kernel: none(0, 1), bias: Some(Array1::zeros(1)) };
    shape(BasicRnn::builder(usize::MAX, 1).build_from(weights).unwrap_err());
    let weights = LstmWeights { kernel: none(0, 4), bias: Some(Array1::zeros(4)), peepholes: None, projection: None };
    shape(Lstm::builder(usize::MAX, 1).build_from(weights).unwrap_err());
    let quarter = usize::MAX / 4 + 1;
    let weights = LstmWeights { kernel: none(1, 0), bias: Some(Array1::zeros(0)), peepholes: None, projection: None };
    shape(Lstm::builder(1, quarter).num_proj(1).build_from(LstmWeights { kernel: none(2, 0), ..weights }).unwrap_err());
    let weights = GruWeights {
        gates_kernel: none(0, 2),
        gates_bias: Some(Array1::zeros(2)),
        candidate_kernel: none(0, 1),
        candidate_bias: Some(Array1::zeros(1)),
        candidate_recurrent_bias: None,
    };
    shape(Gru::builder(usize::MAX, 1).build_from(weights).unwrap_err());
}

#[test]
fn a_batch_beyond_memory_panics_as_ndarray_does() {
    let lstm = Lstm::<f32>::new(1, 3, &mut rng(1));
    for batch in [usize::MAX, usize::MAX / 2, usize::MAX / 3 + 1, usize::MAX / 16] {
        assert!(catch_unwind(AssertUnwindSafe(|| lstm.zero_state(batch))).is_err());
        assert!(catch_unwind(AssertUnwindSafe(|| Stream::new(&lstm, batch))).is_err());
    }
    // One broadcast number: the inputs take no memory, but the outputs would.
    let x = array![[[0.5_f32]]];
    let x = x.broadcast((1, usize::MAX / 4, 1)).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| dynamic_rnn(&lstm, &x, None, None))).is_err());
}

#[test]
fn one_unit_and_4099_units() {
    let rng = &mut rng(2);
    for hidden in [1, 4099] {
        check_lstm(&Lstm::<f32>::new(1, hidden, rng), rng);
        check_rows(&BasicRnn::<f32>::new(3, hidden, rng), rng);
        check_rows(&Gru::<f32>::new(1, hidden, rng), rng);
    }
    for hidden in [1, 1025] {
        // A single normalized unit leaves only beta, which is 0 unless changed.
        check_rows(&randomized(LayerNormLstm::<f32>::new(1, hidden, rng), rng), rng);
    }
    check_rows(&Lstm::<f32>::builder(4099, 1).num_proj(4099).build(rng).unwrap(), rng);

    // Backward through 4099 units to two numbers.
    let mut cell = BasicRnn::<f64>::new(1, 4099, rng);
    for hidden in [4099, 1] {
        if hidden == 1 {
            cell = BasicRnn::new(1, 1, rng);
        }
        let x = array![[[0.3], [-0.7]]];
        let (outputs, _, tape) = train::dynamic_rnn(&cell, &x, None, None).unwrap();
        let gradients = tape.backward(&outputs).unwrap();
        let loss = |x: &Array3<f64>| 0.5 * dynamic_rnn(&cell, x, None, None).unwrap().0.mapv(|y| y * y).sum();
        for step in 0..2 {
            let shifted = |by: f64| {
                let mut x = x.clone();
                x[[0, step, 0]] += by;
                loss(&x)
            };
            let difference = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
            let gradient: f64 = gradients.inputs[[0, step, 0]];
            assert!((gradient - difference).abs() < 1e-8 * gradient.abs().max(1.0), "{gradient} {difference}");
        }
    }
}

/// Rows of a batch are finite and have the bits that they have alone.
fn check_rows<C: RnnCell<Elem = f32>>(cell: &C, rng: &mut Rng) {
    let x = array((7, 3, cell.input_size()), rng);
    let (outputs, last) = dynamic_rnn(cell, &x, None, None).unwrap();
    assert!(outputs.iter().all(|y| y.is_finite()) && outputs.iter().any(|&y| y != 0.0));
    for row in 0..7 {
        let (alone, alone_last) = by_steps(cell, x.slice(s![row..=row, .., ..]), cell.zero_state(1));
        assert_eq!(outputs.slice(s![row..=row, .., ..]), alone);
        assert_eq!(leaves(&last.select_rows(&[row])), leaves(&alone_last));
    }
}

/// The first step of a row follows its equations.
fn check_lstm(cell: &Lstm<f32>, rng: &mut Rng) {
    check_rows(cell, rng);
    let (x, hidden) = (array((1, 1, 1), rng), cell.hidden_size());
    let state = state(cell, 1, rng);
    let (outputs, _) = dynamic_rnn(cell, &x, None, Some(state.clone())).unwrap();
    let wide = |array: &Array2<f32>| array.mapv(f64::from);
    let input: Array2<f64> = ndarray::concatenate![Axis(1), array![[f64::from(x[[0, 0, 0]])]], wide(&state.h)];
    let sums = input.dot(&wide(&cell.weights().kernel));
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    for (unit, &y) in outputs.iter().enumerate() {
        let [i, j, f, o] = [0, 1, 2, 3].map(|gate| sums[[0, gate * hidden + unit]]);
        let c = sigmoid(f + 1.0) * f64::from(state.c[[0, unit]]) + sigmoid(i) * j.tanh();
        assert!((f64::from(y) - sigmoid(o) * c.tanh()).abs() < 2e-6, "unit {unit}");
    }
}

const MILLION: usize = 1_000_000;

#[test]
fn a_million_steps() {
    fn check<C: RnnCell<Elem = f64>>(cell: &C) {
        let x = array((1, MILLION, 1), &mut rng(3));
        let (expected, expected_last) = by_steps(cell, x.view(), cell.zero_state(1));
        let (outputs, last) = dynamic_rnn(cell, &x, None, None).unwrap();
        assert!(outputs == expected && leaves(&last) == leaves(&expected_last));
        assert!(outputs.iter().all(|y| y.is_finite()));
    }
    let rng = &mut rng(4);
    check(&BasicRnn::new(1, 3, rng));
    check(&Lstm::builder(1, 3).use_peepholes(true).num_proj(2).build(rng).unwrap());
    check(&MultiRnnCell::new((Gru::new(1, 2, rng), Gru::new(2, 1, rng))).unwrap());
}

#[test]
fn a_million_steps_of_ragged_rows_and_back() {
    let rng = &mut rng(3);
    let cell = Gru::<f64>::new(1, 2, rng);
    let x = array((1, MILLION, 1), rng);
    let (whole, _) = dynamic_rnn(&cell, &x, None, None).unwrap();
    let lengths = [MILLION - 1, 3, MILLION];
    let (ragged, _) = dynamic_rnn(&cell, &ndarray::concatenate![Axis(0), x, x, x], Some(&lengths), None).unwrap();
    for (row, length) in lengths.into_iter().enumerate() {
        assert!(ragged.slice(s![row, ..length, ..]) == whole.slice(s![0, ..length, ..]));
        assert!(ragged.slice(s![row, length.., ..]).iter().all(|&y| y == 0.0));
    }

    let (outputs, _, tape) = train::dynamic_rnn(&cell, &x, None, None).unwrap();
    assert!(outputs == whole);
    let plain = tape.backward(&outputs).unwrap();
    let (_, _, tape) = driver(&cell, None, None).checkpoint_every(1000).record(&x).unwrap();
    let checkpointed = tape.backward(&outputs).unwrap();
    for (plain, checkpointed) in plain.parameters.arrays().iter().zip(checkpointed.parameters.arrays()) {
        let largest = plain.iter().fold(1.0_f64, |largest, d| largest.max(d.abs()));
        assert!(plain.iter().zip(checkpointed).all(|(p, c)| (p - c).abs() <= 1e-9 * largest));
    }
}

#[test]
fn a_batch_of_ten_thousand() {
    let rng = &mut rng(5);
    let cell = MultiRnnCell::new((Lstm::<f32>::new(2, 3, rng), Gru::new(3, 2, rng))).unwrap();
    let x = array((10_000, 7, 2), rng);
    let lengths: Vec<usize> = (0..10_000).map(|row| row * 5 % 8).collect();
    let (outputs, last) = dynamic_rnn(&cell, &x, Some(&lengths), None).unwrap();
    let by_step = x.view().permuted_axes([1, 0, 2]);
    let (twin, _) = driver(&cell, Some(&lengths), None).time_major(true).run(&by_step).unwrap();
    assert!(twin.view().permuted_axes([1, 0, 2]) == outputs);
    for (row, &length) in lengths.iter().enumerate() {
        let (alone, alone_last) = dynamic_rnn(&cell, &x.slice(s![row..=row, ..length, ..]), None, None).unwrap();
        assert_eq!(outputs.slice(s![row..=row, ..length, ..]), alone);
        assert_eq!(leaves(&last.select_rows(&[row])), leaves(&alone_last));
    }
    let (outputs, _, tape) = train::dynamic_rnn(&cell, &x, Some(&lengths), None).unwrap();
    assert!(tape.backward(&outputs).unwrap().inputs.iter().all(|d| d.is_finite()));
}

// ── Numbers ──

/// Every number, even the smallest, passes a weight of 1 unchanged.
#[test]
fn no_number_is_flushed_to_zero() {
    fn check<E: Float>(tiny: &[f64]) {
        let kernel = || Array2::from_shape_vec((2, 1), vec![E::one(), E::zero()]).unwrap();
        let weights = || BasicRnnWeights { kernel: kernel(), bias: None };
        let build = |activation| BasicRnn::builder(1, 1).use_bias(false).activation(activation).build_from(weights());
        let run = |activation, x: E| {
            let (y, _) =
                dynamic_rnn(&build(activation).unwrap(), &Array3::from_elem((1, 1, 1), x), None, None).unwrap();
            y[[0, 0, 0]]
        };
        for &tiny in tiny {
            for x in [E::of(tiny), E::of(-tiny)] {
                assert_ne!(x, E::zero());
                assert_eq!(run(Activation::Linear, x), x);
                // tanh x = x where x³ is negligible.
                assert_eq!(run(Activation::Tanh, x), x);
                assert_eq!(run(Activation::Softsign, x), x);
            }
        }
        for x in [E::max_value(), E::min_value(), E::infinity(), E::neg_infinity()] {
            assert_eq!(run(Activation::Linear, x), x);
            assert_eq!(run(Activation::Tanh, x), x.signum());
            assert_eq!(run(Activation::Sigmoid, x), E::of(if x > E::zero() { 1.0 } else { 0.0 }));
            assert_eq!(run(Activation::HardSigmoid, x), E::of(if x > E::zero() { 1.0 } else { 0.0 }));
            assert_eq!(run(Activation::Relu, x), if x > E::zero() { x } else { E::zero() });
            assert_eq!(run(Activation::Elu, x), if x > E::zero() { x } else { -E::one() });
        }
        for activation in [Activation::Relu, Activation::Elu, Activation::HardSigmoid, Activation::Softsign] {
            assert!(run(activation, E::nan()).is_nan(), "{activation:?}");
        }
    }
    // A state that shrinks stops above 0, where rounding gives back what was taken.
    let shrinking = BasicRnnWeights { kernel: Array2::from_shape_vec((2, 1), vec![0.0, 0.9]).unwrap(), bias: None };
    let cell = BasicRnn::builder(1, 1).use_bias(false).activation(Activation::Linear).build_from(shrinking).unwrap();
    let (_, h) = dynamic_rnn(&cell, &Array3::zeros((1, 2000, 1)), None, Some(Array2::ones((1, 1)))).unwrap();
    assert_eq!(h[[0, 0]], 6e-45_f32);
    check::<f32>(&[1e-45, 1e-40, f64::from(f32::MIN_POSITIVE), 1e-30]);
    check::<f64>(&[5e-324, 1e-310, f64::MIN_POSITIVE, 1e-200]);
}

#[test]
fn huge_and_infinite_inputs_saturate() {
    fn check<C: RnnCell>(cell: &C) {
        for huge in [f64::from(f32::MAX), f64::MAX, f64::INFINITY].map(C::Elem::of) {
            for (feature, x) in [(0, huge), (1, -huge), (2, huge)] {
                let mut inputs = Array3::from_elem((2, 30, 3), C::Elem::of(0.1));
                inputs.slice_mut(s![1, 3.., feature]).fill(x);
                let (outputs, last) = dynamic_rnn(cell, &inputs, None, None).unwrap();
                let bounded = |y: &C::Elem| y.as_f64().abs() <= 31.0;
                assert!(numbers(outputs.view(), &last).iter().all(bounded), "{outputs}");
            }
        }
    }
    fn check_all<E: Float>() {
        let rng = &mut rng(6);
        check(&randomized(BasicRnn::<E>::new(3, 5, rng), rng));
        check(&randomized(Lstm::<E>::new(3, 5, rng), rng));
        check(&randomized(Gru::<E>::new(3, 5, rng), rng));
        check(&randomized(Gru::<E>::builder(3, 5).reset(GruReset::After).build(rng).unwrap(), rng));
    }
    check_all::<f32>();
    check_all::<f64>();
}

/// A row with a NaN state has NaN outputs; the other rows are not affected.
struct NanState;

impl<E: Float> Check<E> for NanState {
    fn check<C: RnnCell<Elem = E> + Parameters<E>>(&mut self, name: &str, make: impl Fn(usize, usize, &mut Rng) -> C) {
        for batch in [1, 2, 7, 13] {
            let rng = &mut rng(7);
            let cell = make(5, 9, rng);
            let x = array((batch, 4, cell.input_size()), rng);
            let mut initial = state(&cell, batch, rng);
            initial.seed_dropout(None);
            let (clean, clean_last) = dynamic_rnn(&cell, &x, None, Some(initial.clone())).unwrap();
            for row in [0, batch / 2, batch - 1] {
                let mut initial = initial.clone();
                initial.visit_mut(&mut |mut leaf| leaf.row_mut(row).fill(E::nan()));
                let (outputs, last) = dynamic_rnn(&cell, &x, None, Some(initial)).unwrap();
                assert!(outputs.index_axis(Axis(0), row).iter().all(|y| y.is_nan()), "{name}: {outputs}");
                for other in (0..batch).filter(|&other| other != row) {
                    assert_eq!(outputs.index_axis(Axis(0), other), clean.index_axis(Axis(0), other), "{name}");
                    assert_eq!(
                        leaves(&last.select_rows(&[other])),
                        leaves(&clean_last.select_rows(&[other])),
                        "{name}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_nan_state_stays_in_its_row() {
    each_cell::<f32>(&mut NanState);
    each_cell::<f64>(&mut NanState);
}

// ── Hands ──

#[test]
fn eight_threads_share_one_cell() {
    fn check<C: TrainableCell<Elem = f32>>(cell: &C, (batch, seq): (usize, usize))
    where
        C::State: Sync,
    {
        let rng = &mut rng(8);
        let x = array((batch, seq, cell.input_size()), rng);
        let lengths: Vec<usize> = (0..batch).map(|row| seq - row * 3 % (seq + 1)).collect();
        let initial = cell.training_state(batch, 3);
        let run = || {
            let (outputs, last) = dynamic_rnn(cell, &x, Some(&lengths), Some(initial.clone())).unwrap();
            let mut all = numbers(outputs.view(), &last);
            let mut stream = Stream::with_initial_state(cell, batch, initial.clone()).unwrap();
            for input in x.axis_iter(Axis(1)) {
                all.extend(stream.push(&input).unwrap());
            }
            let (outputs, last, tape) = train::dynamic_rnn(cell, &x, Some(&lengths), Some(initial.clone())).unwrap();
            let gradients = tape.d_final_state(last).backward(&outputs).unwrap();
            all.extend(gradients.parameters.arrays().iter().flatten());
            all.extend(numbers(gradients.inputs.view(), &gradients.initial_state));
            all.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        let alone = run();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| [run(), run()])).collect();
            for thread in threads {
                assert!(thread.join().unwrap().iter().all(|found| *found == alone));
            }
        });
    }
    let rng = &mut rng(9);
    let layer = |rng: &mut Rng| {
        let builder = DropoutWrapper::builder(Lstm::<f32>::new(4, 4, rng)).input_keep_prob(0.8).state_keep_prob(0.7);
        builder.build().unwrap()
    };
    check(&MultiRnnCell::new(vec![layer(rng), layer(rng)]).unwrap(), (9, 13));
    check(&Gru::<f32>::new(4, 5, rng), (3, 9));
    // Large enough to be shared, if there is a pool.
    check(&Lstm::<f32>::builder(20, 256).num_proj(64).build(rng).unwrap(), (13, 24));
    let _ = |cell: BoxedCell<f32>| std::thread::spawn(move || drop(cell));
}
