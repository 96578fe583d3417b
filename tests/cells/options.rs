//! A cell tells its options: a builder set from the getters makes a cell of the same options.

use crate::common::{
    Rng, basic_rnn_options, gru_options, layer_norm_lstm_options, lstm_options, randomized, rng, ugrnn_options,
};
use ndarray::Array3;
use rnn_cell::fused::Linear;
use rnn_cell::{
    BasicRnn, DropoutWrapper, Float, Gru, HighwayWrapper, LayerNormLstm, Lstm, ParametersMut, RnnCell, Ugrnn,
    dynamic_rnn,
};
use std::fmt::Debug;

/// Compares what two cells print, which lists all options, and what they compute.
fn same<C: RnnCell + Debug>(name: &str, cell: &C, again: &C) {
    assert_eq!(format!("{cell:?}"), format!("{again:?}"), "{name}");
    let x = Array3::from_shape_fn((2, 4, cell.input_size()), |(b, t, i)| C::Elem::of(((b + 3 * t + i) as f64).sin()));
    let run = |cell: &C| {
        let (outputs, _) = dynamic_rnn(cell, &x, None, Some(cell.training_state(2, 1))).unwrap();
        outputs
    };
    assert_eq!(run(cell), run(again), "{name}");
}

fn built<C: ParametersMut<E>, E: Float>(cell: Result<C, rnn_cell::Error>, rng: &mut Rng) -> C {
    randomized(cell.unwrap(), rng)
}

fn cells<E: Float>() {
    let rng = &mut rng(1);
    for (name, options) in basic_rnn_options::<E>() {
        let cell: BasicRnn<E> = built(options(BasicRnn::builder(3, 5)).build(rng), rng);
        let again = BasicRnn::builder(3, 5).activation(cell.activation()).use_bias(cell.use_bias());
        same(name, &cell, &again.build_from(cell.weights().clone()).unwrap());
    }
    for (name, options) in lstm_options::<E>() {
        let cell: Lstm<E> = built(options(Lstm::builder(3, 5)).build(rng), rng);
        let mut again = Lstm::builder(3, 5)
            .forget_bias(cell.forget_bias())
            .use_bias(cell.use_bias())
            .use_peepholes(cell.use_peepholes())
            .activation(cell.activation())
            .gate_activation(cell.gate_activation());
        if let Some(clip) = cell.cell_clip() {
            again = again.cell_clip(clip);
        }
        if let Some(num_proj) = cell.num_proj() {
            again = again.num_proj(num_proj);
        }
        if let Some(clip) = cell.proj_clip() {
            again = again.proj_clip(clip);
        }
        same(name, &cell, &again.build_from(cell.weights().clone()).unwrap());
    }
    for (name, options) in gru_options::<E>() {
        let cell: Gru<E> = built(options(Gru::builder(3, 5)).build(rng), rng);
        let again = Gru::builder(3, 5)
            .reset(cell.reset())
            .use_bias(cell.use_bias())
            .activation(cell.activation())
            .gate_activation(cell.gate_activation());
        same(name, &cell, &again.build_from(cell.weights().clone()).unwrap());
    }
    let gain: (_, fn(rnn_cell::cells::LayerNormLstmBuilder<E>) -> _) =
        ("layer_norm_lstm, gain and shift", |b| b.norm_gain(E::of(0.5)).norm_shift(E::of(0.25)));
    for (name, options) in layer_norm_lstm_options::<E>().into_iter().chain([gain]) {
        let cell: LayerNormLstm<E> = built(options(LayerNormLstm::builder(3, 5)).build(rng), rng);
        let again = LayerNormLstm::builder(3, 5)
            .forget_bias(cell.forget_bias())
            .layer_norm(cell.layer_norm())
            .norm_gain(cell.norm_gain())
            .norm_shift(cell.norm_shift())
            .dropout_keep_prob(cell.dropout_keep_prob())
            .activation(cell.activation());
        same(name, &cell, &again.build_from(cell.weights().clone()).unwrap());
    }
    for (name, options) in ugrnn_options::<E>() {
        let cell: Ugrnn<E> = built(options(Ugrnn::builder(3, 5)).build(rng), rng);
        let again = Ugrnn::builder(3, 5).forget_bias(cell.forget_bias()).activation(cell.activation());
        same(name, &cell, &again.build_from(cell.weights().clone()).unwrap());
    }
}

#[test]
fn a_cell_built_from_its_options_is_the_same_cell() {
    cells::<f32>();
    cells::<f64>();
}

#[test]
fn a_wrapper_built_from_its_options_is_the_same_wrapper() {
    let rng = &mut rng(1);
    let gru = || Gru::<f64>::new(3, 3, &mut crate::common::rng(2));
    for (keep, variational) in [([0.9, 0.8, 0.7], false), ([0.5, 1.0, 0.6], true)] {
        let builder = DropoutWrapper::builder(gru()).input_keep_prob(keep[0]).output_keep_prob(keep[1]);
        let cell = builder.state_keep_prob(keep[2]).variational_recurrent(variational).build().unwrap();
        assert_eq!([cell.input_keep_prob(), cell.output_keep_prob(), cell.state_keep_prob()], keep);
        let again = DropoutWrapper::builder(gru())
            .input_keep_prob(cell.input_keep_prob())
            .output_keep_prob(cell.output_keep_prob())
            .state_keep_prob(cell.state_keep_prob())
            .variational_recurrent(cell.variational_recurrent());
        same("dropout", &cell, &again.build().unwrap());
    }
    for (coupled, bias) in [(true, 1.0), (false, -0.5)] {
        let builder = HighwayWrapper::builder(gru()).couple_carry_transform_gates(coupled).carry_bias_init(bias);
        let cell = builder.build(rng).unwrap();
        assert_eq!((cell.couple_carry_transform_gates(), cell.carry_bias_init()), (coupled, bias));
        let again = HighwayWrapper::builder(gru())
            .couple_carry_transform_gates(cell.couple_carry_transform_gates())
            .carry_bias_init(cell.carry_bias_init());
        same("highway", &cell, &again.build_from(cell.weights().clone()).unwrap());
    }
    let product: Linear<f64> =
        Linear::<f64>::builder(5).input_size(3).recurrent_size(2).gates(4).use_bias(false).build(rng).unwrap();
    let found = (product.input_size(), product.recurrent_size(), product.units(), product.gates(), product.use_bias());
    assert_eq!(found, (3, 2, 5, 4, false));
}

/// A clip must not hide a NaN.
#[test]
fn a_nan_goes_through_every_clip() {
    let rng = &mut rng(1);
    let clipped = Lstm::<f32>::builder(3, 20).cell_clip(0.5);
    for options in [clipped.clone(), clipped.num_proj(20).proj_clip(0.5)] {
        let cell = options.build(rng).unwrap();
        let mut x = Array3::zeros((2, 2, 3));
        x[[1, 0, 2]] = f32::NAN;
        let (outputs, state) = dynamic_rnn(&cell, &x, None, None).unwrap();
        let rows = outputs.outer_iter().map(|row| row.iter().all(|y| y.is_nan()));
        assert!(rows.eq([false, true]), "{outputs}");
        assert!(state.c.row(1).iter().all(|c| c.is_nan()) && state.c.row(0).iter().all(|c| c.is_finite()));
    }
}
