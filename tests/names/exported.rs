//! What a framework does not have is not exported; the rest is written for the frameworks' own scripts.

use crate::exports::{Exported, basic_rnn, gru, lstm, run};
use crate::{input, randomized, rng};
use ndarray::Array3;
use rnn_cell::cells::LstmBuilder;
use rnn_cell::weights::{Tensors, flax, haiku, keras, pytorch, safetensors, tensorflow};
use rnn_cell::{Activation, Dense, Error, Gru, GruReset, Lstm};
use std::path::PathBuf;

fn refused(result: Exported, found: &str) {
    match result {
        Err(Error::NotRepresentable { found: what, .. }) => assert!(what.contains(found), "{what}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_framework_does_not_have_is_not_exported() {
    let builder = || Lstm::<f64>::builder(3, 4);
    let make = |builder: LstmBuilder<f64>| builder.build(&mut rng(8)).unwrap();
    for (builder, found) in [
        (builder().use_peepholes(true), "peepholes"),
        (builder().num_proj(2), "a projection"),
        (builder().cell_clip(1.0), "a clip"),
    ] {
        let cell = make(builder);
        for export in [keras::export_lstm, flax::export_lstm, flax::export_nnx_lstm, haiku::export_lstm] {
            refused(export(&cell, ""), found);
        }
    }
    let relu = make(builder().activation(Activation::Relu));
    for export in [flax::export_lstm, flax::export_nnx_lstm, haiku::export_lstm] {
        refused(export(&relu, ""), "Relu and Sigmoid");
    }
    let hard = make(builder().gate_activation(Activation::HardSigmoid));
    refused(tensorflow::export_lstm(&hard, ""), "HardSigmoid");
    for export in [flax::export_simple, flax::export_nnx_simple] {
        refused(export(&basic_rnn(Activation::Relu, true), ""), "Relu");
    }
    refused(haiku::export_vanilla_rnn(&basic_rnn(Activation::Tanh, true), ""), "Tanh");
    for export in [flax::export_gru, flax::export_nnx_gru] {
        refused(export(&gru(GruReset::Before, true), ""), "Before");
    }
    for export in [tensorflow::export_gru, haiku::export_gru] {
        refused(export(&gru(GruReset::After, true), ""), "After");
    }
}

/// Writes an export with an input and our outputs, for the scripts `tools/*_load.py`.
fn write(case: &str, mut tensors: Tensors<'static, f64>, x: &Array3<f64>, outputs: &Array3<f64>) {
    tensors.insert("x", x.clone());
    tensors.insert("outputs", outputs.clone());
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("exported_{case}.safetensors"));
    let _ = std::fs::remove_file(&path);
    safetensors::save_tensors(tensors, &path).unwrap();
    assert!(path.exists());
}

#[test]
fn files_for_the_frameworks_scripts_are_written() {
    let x = input(9);
    let (tanh, relu) = (basic_rnn(Activation::Tanh, true), basic_rnn(Activation::Relu, true));
    let lstm = lstm(1.0, true);
    let [before, after] = [GruReset::Before, GruReset::After].map(|reset| gru(reset, true));
    let dense = randomized(Dense::<f64>::new(4, 2, &mut rng(10)), 10);

    let mut tensors = keras::export_simple_rnn(&relu, "simple_rnn/simple_rnn_cell/");
    tensors.append(keras::export_dense(&dense, "dense/"));
    write("keras_simple_rnn", tensors, &x, &dense.forward(&run(&relu, &x)).unwrap());
    write("keras_lstm", keras::export_lstm(&lstm, "lstm/lstm_cell/").unwrap(), &x, &run(&lstm, &x));
    write("keras_gru", keras::export_gru(&after, "gru/gru_cell/"), &x, &run(&after, &x));
    write("keras_gru_before", keras::export_gru(&before, "gru/gru_cell/"), &x, &run(&before, &x));

    write("flax_simple", flax::export_simple(&tanh, "cell/").unwrap(), &x, &run(&tanh, &x));
    write("flax_lstm", flax::export_lstm(&lstm, "cell/").unwrap(), &x, &run(&lstm, &x));
    write("flax_gru", flax::export_gru(&after, "cell/").unwrap(), &x, &run(&after, &x));
    let mut weights = after.weights().clone();
    weights.candidate_recurrent_bias = Some(ndarray::Array1::zeros(4));
    let plain = Gru::<f64>::builder(3, 4).reset(GruReset::After).build_from(weights).unwrap();
    write("nnx_simple", flax::export_nnx_simple(&tanh, "").unwrap(), &x, &run(&tanh, &x));
    write("nnx_lstm", flax::export_nnx_lstm(&lstm, "").unwrap(), &x, &run(&lstm, &x));
    write("nnx_gru", flax::export_nnx_gru(&plain, "").unwrap(), &x, &run(&plain, &x));

    write("haiku_vanilla_rnn", haiku::export_vanilla_rnn(&relu, "vanilla_rnn/").unwrap(), &x, &run(&relu, &x));
    write("haiku_lstm", haiku::export_lstm(&lstm, "lstm/").unwrap(), &x, &run(&lstm, &x));
    write("haiku_gru", haiku::export_gru(&before, "gru/").unwrap(), &x, &run(&before, &x));

    let mut tensors = pytorch::export_gru(std::slice::from_ref(&after), None, "gru.").unwrap();
    tensors.append(pytorch::export_dense(&dense, "linear."));
    write("module", tensors, &x, &dense.forward(&run(&after, &x)).unwrap());
}
