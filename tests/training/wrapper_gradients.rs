//! Law 7 for dropout and layer normalization: gradients agree with central differences in f64, option by option. Random
//! nestings are in properties_training.rs.

use ndarray::Array3;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rnn_cell::train::{self, TrainableCell};
use rnn_cell::{Activation, DropoutWrapper, Gru, LayerNormLstm, Lstm, MultiRnnCell, ParametersMut, State};

/// (batch, seq, lengths): masked or not, sorted or not.
const SHAPES: [(usize, usize, Option<[usize; 3]>); 4] =
    [(1, 1, None), (2, 4, None), (3, 4, Some([4, 2, 0])), (3, 3, Some([1, 3, 2]))];

/// Compares with central differences on all `SHAPES`, with dropout off and on.
fn check<C: TrainableCell<Elem = f64>>(name: &str, mut cell: C) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
    // tf.contrib's initial gains and biases are all alike, which would hide mixing them up.
    cell.visit_parameters_mut(&mut |_, mut value| value.mapv_inplace(|v| v + rng.random_range(-0.3..0.3)));
    for (batch, seq, lengths) in SHAPES {
        for seed in [None, Some(8)] {
            let x = Array3::from_shape_simple_fn((batch, seq, cell.input_size()), || rng.random_range(-1.0..1.0));
            let mut state = cell.zero_state(batch);
            state.visit_mut(&mut |mut leaf| leaf.mapv_inplace(|_| rng.random_range(-1.0..1.0)));
            state.seed_dropout(seed);
            let lengths = lengths.as_ref().map(|lengths| &lengths[..]);
            let name = format!("{name}, ({batch}, {seq}), lengths {lengths:?}, dropout {seed:?}");
            let error = train::gradient_error(&mut cell, &x, lengths, Some(state)).unwrap();
            assert!(error < 1e-8, "{name}: {error:e}");
        }
    }
}

fn rng() -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(5)
}

fn lstm(input: usize, hidden: usize) -> Lstm<f64> {
    Lstm::new(input, hidden, &mut rng())
}

fn gru(input: usize, hidden: usize) -> Gru<f64> {
    Gru::new(input, hidden, &mut rng())
}

/// Normalizing a nearly constant row is so steep that the differences are inaccurate. Large sums vary enough.
fn steady(mut cell: LayerNormLstm<f64>) -> LayerNormLstm<f64> {
    cell.visit_parameters_mut(&mut |name, mut value| {
        if name == "kernel" {
            value.mapv_inplace(|v| 4.0 * v);
        }
    });
    cell
}

#[test]
fn dropout() {
    for variational in [false, true] {
        let builder = || DropoutWrapper::builder(lstm(3, 4)).variational_recurrent(variational);
        check("input", builder().input_keep_prob(0.6).build().unwrap());
        check("output", builder().output_keep_prob(0.5).build().unwrap());
        check("state", builder().state_keep_prob(0.7).build().unwrap());
        check("all", builder().input_keep_prob(0.7).output_keep_prob(0.6).state_keep_prob(0.8).build().unwrap());
        let twice = builder().input_keep_prob(0.7).state_keep_prob(0.6).build().unwrap();
        check("twice", DropoutWrapper::builder(twice).output_keep_prob(0.5).state_keep_prob(0.7).build().unwrap());
        let stack = MultiRnnCell::new((gru(2, 2), lstm(2, 2))).unwrap();
        check("state of a stack", DropoutWrapper::builder(stack).state_keep_prob(0.6).build().unwrap());
    }
}

#[test]
fn layer_norm_lstm() {
    // With one seed for both, a sum lies on the kink of softsign's slope, where differences are off by about their step.
    for (norm, seed) in [(true, 5), (false, 6)] {
        let rng = || Xoshiro256PlusPlus::seed_from_u64(seed);
        let builder = || LayerNormLstm::<f64>::builder(2, 6).layer_norm(norm);
        check(&format!("norm {norm}"), steady(builder().build(&mut rng()).unwrap()));
        let cell = builder().dropout_keep_prob(0.6).forget_bias(-0.5).build(&mut rng()).unwrap();
        check(&format!("norm {norm}, dropout"), steady(cell));
        for activation in [Activation::Relu, Activation::Sigmoid, Activation::Elu, Activation::Softsign] {
            let cell = builder().activation(activation).build(&mut rng()).unwrap();
            check(&format!("norm {norm}, {activation:?}"), steady(cell));
        }
    }
}

/// Another dropout seed gives another gradient, so the tests above do compare masks.
#[test]
fn seeds_differ() {
    let cell = DropoutWrapper::builder(lstm(3, 4)).state_keep_prob(0.5).build().unwrap();
    let x = Array3::ones((2, 3, 3));
    let gradient = |seed| {
        let state = rnn_cell::RnnCell::training_state(&cell, 2, seed);
        let (outputs, _, tape) = train::dynamic_rnn(&cell, &x, None, Some(state)).unwrap();
        tape.backward(&outputs).unwrap().parameters
    };
    assert_eq!(gradient(1), gradient(1));
    assert_ne!(gradient(1), gradient(2));
}
