//! Abuse: sizes beyond memory, large batches, extreme numbers, and one cell used from many threads.

use crate::common::{Check, Echo, Rng, array, driver, each_cell, leaves, numbers, randomized, rng, state};
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
