//! Parameters of `flax.nnx`.

use crate::{check_close, fixture, run, take};
use rnn_cell::weights::{flax, npz};

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
