//! Small attention models, one per mechanism and option.

use ndarray::{Array, Array3, Dimension, ShapeBuilder};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rnn_cell::seq2seq::{
    AttentionMechanism, AttentionWrapper, BahdanauAttention, BahdanauMonotonicAttention, LuongAttention,
    LuongMonotonicAttention, MonotonicMode, Probability,
};
use rnn_cell::{Float, Gru, Lstm, ParametersMut, RnnCell};

pub type Rng = Xoshiro256PlusPlus;

pub fn rng(seed: u64) -> Rng {
    Rng::seed_from_u64(seed)
}

/// Numbers between −1 and 1.
pub fn array<E: Float, D: Dimension>(shape: impl ShapeBuilder<Dim = D>, rng: &mut Rng) -> Array<E, D> {
    Array::from_shape_simple_fn(shape, || E::of(rng.random_range(-1.0..1.0)))
}

pub const HIDDEN: usize = 4;
pub const DEPTH: usize = 3;
pub const INPUT: usize = 2;

/// Every kind of mechanism with each option, by name. Bahdanau's keys are wider than the query.
pub fn mechanisms<E: Float>(rng: &mut Rng) -> Vec<(String, AttentionMechanism<E>)> {
    let mut all = Vec::new();
    for probability in [Probability::Softmax, Probability::Hardmax, Probability::Sigmoid] {
        for option in [false, true] {
            let luong = LuongAttention::builder(HIDDEN).memory_depth(DEPTH).scale(option).probability_fn(probability);
            all.push((format!("luong, scale {option}, {probability:?}"), luong.build(rng).unwrap()));
            let bahdanau = BahdanauAttention::builder(5).memory_depth(DEPTH).query_depth(HIDDEN);
            let bahdanau = bahdanau.normalize(option).probability_fn(probability);
            all.push((format!("bahdanau, normalize {option}, {probability:?}"), bahdanau.build(rng).unwrap()));
        }
    }
    for mode in [MonotonicMode::Recursive, MonotonicMode::Parallel, MonotonicMode::Hard] {
        for option in [false, true] {
            let luong = LuongMonotonicAttention::builder(HIDDEN).memory_depth(DEPTH).scale(option);
            let luong = luong.mode(mode).score_bias_init(-0.4);
            all.push((format!("luong monotonic, scale {option}, {mode:?}"), luong.build(rng).unwrap()));
            let bahdanau = BahdanauMonotonicAttention::builder(5).memory_depth(DEPTH).query_depth(HIDDEN);
            let bahdanau = bahdanau.normalize(option).mode(mode).score_bias_init(0.3);
            all.push((format!("bahdanau monotonic, normalize {option}, {mode:?}"), bahdanau.build(rng).unwrap()));
        }
    }
    for (_, mechanism) in &mut all {
        scatter(mechanism, rng);
    }
    all
}

/// Moves every weight off its initial value: a 0 or a 1 hides mistakes.
pub fn scatter<E: Float, P: ParametersMut<E>>(model: &mut P, rng: &mut Rng) {
    model.visit_parameters_mut(&mut |_, mut array| {
        array.mapv_inplace(|weight| weight + E::of(rng.random_range(-0.3..0.3)));
    });
}

/// A GRU that attends.
pub fn attending<E: Float>(
    mechanism: AttentionMechanism<E>,
    layer: Option<usize>,
    rng: &mut Rng,
) -> AttentionWrapper<Gru<E>> {
    let cell = Gru::new(INPUT + layer.unwrap_or(DEPTH), HIDDEN, rng);
    let builder = AttentionWrapper::builder(cell, [mechanism]);
    let builder = match layer {
        Some(size) => builder.attention_layer_size([size]),
        None => builder,
    };
    let mut cell = builder.build(rng).unwrap();
    scatter(&mut cell, rng);
    cell
}

/// Two mechanisms of different kinds around an LSTM, which is the output, with histories.
pub fn two_mechanisms<E: Float>(rng: &mut Rng) -> AttentionWrapper<Lstm<E>> {
    let bahdanau = BahdanauAttention::builder(5).memory_depth(DEPTH).query_depth(HIDDEN).normalize(true);
    let luong = LuongMonotonicAttention::builder(HIDDEN).memory_depth(DEPTH);
    let mechanisms = [bahdanau.build(rng).unwrap(), luong.build(rng).unwrap()];
    let builder = AttentionWrapper::builder(Lstm::new(INPUT + 5, HIDDEN, rng), mechanisms);
    let builder = builder.attention_layer_size([2, 3]).output_attention(false).alignment_history(true);
    let mut cell = builder.build(rng).unwrap();
    scatter(&mut cell, rng);
    cell
}

/// Memory (3, 5, depth) and its lengths.
pub fn memory<E: Float>(rng: &mut Rng) -> (Array3<E>, [usize; 3]) {
    (array((3, 5, DEPTH), rng), [5, 1, 3])
}

/// Runs `check` on every model.
pub fn each_model<E: Float>(check: &mut dyn FnMut(&str, &AttentionWrapper<Gru<E>>)) {
    let mut rng = rng(17);
    for layer in [None, Some(3)] {
        for (name, mechanism) in mechanisms::<E>(&mut rng) {
            let cell = attending(mechanism, layer, &mut rng);
            assert_eq!(cell.input_size(), INPUT);
            check(&format!("{name}, layer {layer:?}"), &cell);
        }
    }
}
