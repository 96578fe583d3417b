//! Law 7 for wrappers: gradients agree with central differences in f64, however cells are nested, with dropout and without.

use ndarray::Array3;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rnn_cell::train::{self, BoxedTrainableCell, TrainableCell};
use rnn_cell::{
    Activation, BasicRnn, DropoutWrapper, Gru, HighwayWrapper, LayerNormLstm, Lstm, MultiRnnCell, Parameters,
    ResidualWrapper, State,
};

/// (batch, seq, lengths): masked or not, sorted or not.
const SHAPES: [(usize, usize, Option<[usize; 3]>); 4] =
    [(1, 1, None), (2, 4, None), (3, 4, Some([4, 2, 0])), (3, 3, Some([1, 3, 2]))];

/// Against central differences on all `SHAPES`, with dropout off and on.
fn check<C: TrainableCell<Elem = f64>>(name: &str, mut cell: C) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
    // tf.contrib's initial gains and biases are all alike, which would hide that one is taken for another.
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

/// Normalizing a row that hardly varies is so steep that the differences themselves are off; large sums vary.
fn steady(mut cell: LayerNormLstm<f64>) -> LayerNormLstm<f64> {
    cell.visit_parameters_mut(&mut |name, mut value| {
        if name == "kernel" {
            value.mapv_inplace(|v| 4.0 * v);
        }
    });
    cell
}

#[test]
fn multi() {
    check("vec of one", MultiRnnCell::new(vec![gru(2, 3)]).unwrap());
    check("vec", MultiRnnCell::new(vec![lstm(3, 3), lstm(3, 3), lstm(3, 3)]).unwrap());
    check("tuple of one", MultiRnnCell::new((lstm(2, 3),)).unwrap());
    check("tuple of two", MultiRnnCell::new((lstm(2, 3), gru(3, 2))).unwrap());
    let rnn = || BasicRnn::new(2, 2, &mut rng());
    check("tuple of three", MultiRnnCell::new((gru(1, 2), rnn(), lstm(2, 3))).unwrap());
    check("tuple of four", MultiRnnCell::new((gru(1, 2), rnn(), lstm(2, 3), gru(3, 1))).unwrap());
    let inner = MultiRnnCell::new(vec![gru(2, 2), gru(2, 2)]).unwrap();
    check("nested", MultiRnnCell::new((inner, lstm(2, 3))).unwrap());
}

#[test]
fn residual() {
    check("lstm", ResidualWrapper::new(lstm(3, 3)).unwrap());
    check("twice", ResidualWrapper::new(ResidualWrapper::new(gru(2, 2)).unwrap()).unwrap());
}

#[test]
fn highway() {
    for coupled in [true, false] {
        let wrapped = HighwayWrapper::builder(lstm(3, 3)).couple_carry_transform_gates(coupled);
        check(&format!("lstm, coupled {coupled}"), wrapped.build(&mut rng()).unwrap());
        let dropped = DropoutWrapper::builder(gru(2, 2)).output_keep_prob(0.6).build().unwrap();
        let wrapped = HighwayWrapper::builder(dropped).couple_carry_transform_gates(coupled).carry_bias_init(-0.5);
        check(&format!("dropout, coupled {coupled}"), wrapped.build(&mut rng()).unwrap());
    }
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
    for norm in [true, false] {
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

#[test]
fn nested() {
    let layer = |input, hidden| {
        let dropout = DropoutWrapper::builder(lstm(input, hidden)).input_keep_prob(0.7).state_keep_prob(0.8);
        ResidualWrapper::new(dropout.variational_recurrent(true).build().unwrap()).unwrap()
    };
    check("multi of residual of dropout of lstm", MultiRnnCell::new(vec![layer(3, 3), layer(3, 3)]).unwrap());
    let normal = LayerNormLstm::<f64>::builder(5, 5).dropout_keep_prob(0.8).build(&mut rng()).unwrap();
    let highway =
        HighwayWrapper::builder(steady(normal)).couple_carry_transform_gates(false).build(&mut rng()).unwrap();
    let dropped = DropoutWrapper::builder(highway).output_keep_prob(0.7).build().unwrap();
    check("dropout of highway of layer norm", MultiRnnCell::new((layer(5, 5), dropped)).unwrap());
}

#[test]
fn boxed() {
    check("boxed", BoxedTrainableCell::new(gru(2, 3)));
    let dropped = DropoutWrapper::builder(gru(3, 3)).output_keep_prob(0.7).state_keep_prob(0.8).build().unwrap();
    let stack = MultiRnnCell::new((lstm(2, 2), gru(2, 3))).unwrap();
    let layers = vec![
        BoxedTrainableCell::new(stack),
        BoxedTrainableCell::new(ResidualWrapper::new(dropped).unwrap()),
        BoxedTrainableCell::new(HighwayWrapper::builder(lstm(3, 3)).build(&mut rng()).unwrap()),
        BoxedTrainableCell::new(steady(LayerNormLstm::new(3, 5, &mut rng()))),
        BoxedTrainableCell::new(BoxedTrainableCell::new(BasicRnn::new(5, 2, &mut rng()))),
    ];
    check("mixed", MultiRnnCell::new(layers).unwrap());
}

/// Another dropout seed is another gradient, so the tests above do compare masks.
#[test]
fn seeds_differ() {
    let cell = DropoutWrapper::builder(lstm(3, 4)).state_keep_prob(0.5).build().unwrap();
    let x = Array3::ones((2, 3, 3));
    let gradient = |seed| {
        let state = rnn_cell::RnnCell::training_state(&cell, 2, seed);
        let (outputs, _, tape) = train::dynamic_rnn(&cell, &x, None, Some(state)).unwrap();
        tape.backward(&outputs, None).unwrap().parameters
    };
    assert_eq!(gradient(1), gradient(1));
    assert_ne!(gradient(1), gradient(2));
}
