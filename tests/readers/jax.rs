//! Parameters of `flax.nnx` and of Haiku.

use crate::{check_close, fixture, run, take};
use ndarray::{Array1, Array2};
use rnn_cell::Error;
use rnn_cell::weights::{Tensors, flax, haiku, npz};

#[test]
fn cells_of_nnx_run_as_in_flax() {
    let bytes = fixture("flax_nnx.npz");
    let t = &mut npz::read_tensors::<f32>(&bytes).unwrap();
    let x = take(t, "x");
    let simple = flax::simple(t, "simple/").unwrap();
    check_close("SimpleCell", &run(&simple, &x), &take(t, "outputs/simple"));
    let lstm = flax::lstm(t, "lstm/").unwrap();
    check_close("LSTMCell", &run(&lstm, &x), &take(t, "outputs/lstm"));
    let optimized = flax::lstm(t, "optimized/").unwrap();
    check_close("OptimizedLSTMCell", &run(&optimized, &x), &take(t, "outputs/optimized"));
    let gru = flax::gru(t, "gru/").unwrap();
    check_close("GRUCell", &run(&gru, &x), &take(t, "outputs/gru"));
    assert!(t.is_empty());
}

#[test]
fn modules_of_haiku_run_as_in_haiku() {
    let bytes = fixture("haiku.npz");
    let t = &mut npz::read_tensors::<f32>(&bytes).unwrap();
    let x = take(t, "x");
    for name in ["one_bias", "vanilla_rnn"] {
        let cell = haiku::vanilla_rnn(t, &format!("{name}/vanilla_rnn/")).unwrap();
        check_close(name, &run(&cell, &x), &take(t, &format!("outputs/{name}")));
    }
    let lstm = haiku::lstm(t, "lstm/lstm/").unwrap();
    check_close("LSTM", &run(&lstm, &x), &take(t, "outputs/lstm"));
    let gru = haiku::gru(t, "gru/gru/").unwrap();
    check_close("GRU", &run(&gru, &x), &take(t, "outputs/gru"));
    assert!(t.is_empty());
}

#[test]
fn shapes_that_do_not_fit_are_errors() {
    for shape in [(5, 9), (2, 8)] {
        let mut tensors = Tensors::<f32>::new();
        tensors.insert("linear/w", Array2::zeros(shape));
        tensors.insert("linear/b", Array1::zeros(shape.1));
        let error = haiku::lstm(&mut tensors, "").unwrap_err();
        assert!(matches!(error, Error::TensorShape { .. }), "{error}");
    }
    let mut tensors = Tensors::<f32>::new();
    tensors.insert("dense_i/kernel", Array2::zeros((3, 8)));
    tensors.insert("dense_h/kernel", Array2::zeros((2, 6)));
    let error = flax::lstm(&mut tensors, "").unwrap_err();
    assert!(matches!(error, Error::TensorShape { .. }), "{error}");
}
