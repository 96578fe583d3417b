//! Imports weights from other frameworks and compares the outputs with theirs.
//!
//! The scripts in `tools/` make the files. They hold each case's tensors, an input `CASE/x` and `CASE/outputs`.

use ndarray::{Array3, ArrayD, Ix3};
use rnn_cell::weights::{Tensors, flax, keras, onnx, pytorch, safetensors, tensorflow};
use rnn_cell::{Activation, Bidirectional, Error, Float, MultiRnnCell, RnnCell};
use rnn_cell::{bidirectional_dynamic_rnn, concat_outputs, dynamic_rnn, stack_bidirectional_dynamic_rnn};
use std::path::PathBuf;

/// A fixture's bytes.
pub fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/{name}.safetensors"));
    std::fs::read(path).unwrap()
}

/// The outputs of a cell.
pub fn run<E: Float, C: RnnCell<Elem = E>>(cell: &C, x: &Array3<E>) -> Array3<E> {
    dynamic_rnn(cell, x, None, None).unwrap().0
}

/// The outputs of stacked bidirectional layers, each taking both sides of the one below.
pub fn both<E: Float, C: RnnCell<Elem = E>>(cells: &Bidirectional<Vec<C>>, x: &Array3<E>) -> Array3<E> {
    stack_bidirectional_dynamic_rnn(&cells.fw, &cells.bw, x, None, None, None).unwrap().0
}

/// The outputs of one bidirectional layer.
pub fn pair<E: Float, C: RnnCell<Elem = E>>(cells: &Bidirectional<C>, x: &Array3<E>) -> Array3<E> {
    let ((fw, bw), _) = bidirectional_dynamic_rnn(&cells.fw, &cells.bw, x, None, None, None).unwrap();
    concat_outputs(&fw, &bw)
}

/// Runs `model` on the case's input and compares; `model` must have taken all of the case's tensors.
fn check<E: Float>(
    tensors: &mut Tensors<'_, E>,
    case: &str,
    mut model: impl FnMut(&mut Tensors<'_, E>, &Array3<E>) -> Array3<E>,
) {
    let mut take = |what: &str| -> Array3<E> {
        let array: ArrayD<E> = tensors.take(&format!("{case}/{what}")).unwrap();
        array.into_dimensionality::<Ix3>().unwrap()
    };
    let (x, expected) = (take("x"), take("outputs"));
    let outputs = model(tensors, &x);
    assert_eq!(outputs.dim(), expected.dim(), "{case}");
    let left =
        tensors.names().find(|name| name.starts_with(&format!("{case}/")) || name.starts_with(&format!("{case}.")));
    assert_eq!(left, None, "{case}");
    let error = outputs.iter().zip(&expected).map(|(a, b)| (a.as_f64() - b.as_f64()).abs()).fold(0.0, f64::max);
    let tolerance = if size_of::<E>() == 8 { 1e-12 } else { 2e-6 };
    assert!(error <= tolerance, "{case}: outputs differ by {error:e}");
}

fn pytorch_cases<E: Float>(file: &str) {
    let bytes = fixture(file);
    let t = &mut safetensors::read_tensors::<E>(&bytes).unwrap();
    check(t, "rnn_tanh", |t, x| both(&pytorch::bidirectional_rnn(t, "rnn_tanh.", &Default::default()).unwrap(), x));
    let relu = pytorch::Options::default().nonlinearity(Activation::Relu);
    check(t, "rnn_relu", |t, x| run(&pytorch::rnn(t, "rnn_relu.", &relu).unwrap(), x));
    check(t, "lstm", |t, x| both(&pytorch::bidirectional_lstm(t, "lstm.").unwrap(), x));
    check(t, "lstm_no_bias", |t, x| run(&pytorch::lstm(t, "lstm_no_bias.").unwrap(), x));
    check(t, "lstm_proj", |t, x| both(&pytorch::bidirectional_lstm(t, "lstm_proj.").unwrap(), x));
    check(t, "gru", |t, x| run(&pytorch::gru(t, "gru.").unwrap(), x));
    check(t, "gru_bidirectional", |t, x| both(&pytorch::bidirectional_gru(t, "gru_bidirectional.").unwrap(), x));
    check(t, "gru_no_bias", |t, x| run(&pytorch::gru(t, "gru_no_bias.").unwrap(), x));
    assert!(t.is_empty());
}

#[test]
fn pytorch_files() {
    pytorch_cases::<f32>("pytorch_f32");
    pytorch_cases::<f64>("pytorch_f64");
}

fn keras_cases<E: Float>(file: &str) {
    let bytes = fixture(file);
    let t = &mut safetensors::read_tensors::<E>(&bytes).unwrap();
    let default = keras::Options::default();
    let relu = default.activation(Activation::Relu);
    let hard = default.recurrent_activation(Activation::HardSigmoid);
    let before = default.reset_after(false);
    check(t, "simple_rnn", |t, x| {
        run(&keras::simple_rnn(t, "simple_rnn/simple_rnn/simple_rnn_cell/", &relu).unwrap(), x)
    });
    check(t, "lstm", |t, x| run(&keras::lstm(t, "lstm/lstm/lstm_cell/", &default).unwrap(), x));
    check(t, "lstm_hard_sigmoid", |t, x| {
        run(&keras::lstm(t, "lstm_hard_sigmoid/lstm_1/lstm_cell/", &hard).unwrap(), x)
    });
    check(t, "gru", |t, x| run(&keras::gru(t, "gru/gru/gru_cell/", &default).unwrap(), x));
    check(t, "gru_reset_before", |t, x| run(&keras::gru(t, "gru_reset_before/gru_1/gru_cell/", &before).unwrap(), x));
    check(t, "gru_no_bias", |t, x| run(&keras::gru(t, "gru_no_bias/gru_2/gru_cell/", &default).unwrap(), x));
    check(t, "both", |t, x| {
        let mut side = |side| keras::lstm(t, &format!("both/bidirectional/{side}_lstm/lstm_cell/"), &default).unwrap();
        pair(&Bidirectional { fw: side("forward"), bw: side("backward") }, x)
    });
    assert!(t.is_empty());
}

#[test]
fn keras_files() {
    keras_cases::<f32>("keras_f32");
    keras_cases::<f64>("keras_f64");
}

fn tensorflow_cases<E: Float>(file: &str) {
    let bytes = fixture(file);
    let t = &mut safetensors::read_tensors::<E>(&bytes).unwrap();
    assert!(t.contains("lstm/global_step") && t.contains("lstm/rnn/lstm_cell/kernel/Adam_1"));
    tensorflow::drop_training_variables(t);
    check(t, "basic_rnn", |t, x| {
        run(&tensorflow::basic_rnn(t, "basic_rnn/rnn/basic_rnn_cell/", &Default::default()).unwrap(), x)
    });
    check(t, "lstm", |t, x| {
        let options = tensorflow::Options::default().cell_clip(0.5).proj_clip(0.3).forget_bias(0.5);
        run(&tensorflow::lstm(t, "lstm/rnn/lstm_cell/", &options).unwrap(), x)
    });
    check(t, "multi", |t, x| {
        let cells = tensorflow::multi(t, "multi/rnn/multi_rnn_cell/", |t, prefix| {
            tensorflow::lstm(t, &format!("{prefix}lstm_cell/"), &Default::default())
        });
        run(&MultiRnnCell::new(cells.unwrap()).unwrap(), x)
    });
    check(t, "bidirectional", |t, x| {
        let cells = tensorflow::bidirectional(t, "bidirectional/bidirectional_rnn/", |t, prefix| {
            tensorflow::gru(t, &format!("{prefix}gru_cell/"), &Default::default())
        });
        pair(&cells.unwrap(), x)
    });
    assert!(t.is_empty());
}

#[test]
fn tensorflow_files() {
    tensorflow_cases::<f32>("tensorflow_f32");
    tensorflow_cases::<f64>("tensorflow_f64");
}

#[test]
fn onnx_files() {
    let bytes = fixture("onnx_f32");
    let t = &mut safetensors::read_tensors::<f32>(&bytes).unwrap();
    let default = onnx::Options::default();
    let relu = default.activation(Activation::Relu);
    let after = default.linear_before_reset(true);
    check(t, "rnn", |t, x| run(&onnx::rnn(t, "rnn/", &default).unwrap(), x));
    check(t, "rnn_relu_both", |t, x| pair(&onnx::bidirectional_rnn(t, "rnn_relu_both/", &relu).unwrap(), x));
    check(t, "lstm", |t, x| run(&onnx::lstm(t, "lstm/", &default).unwrap(), x));
    check(t, "lstm_both", |t, x| pair(&onnx::bidirectional_lstm(t, "lstm_both/", &default).unwrap(), x));
    check(t, "lstm_no_bias", |t, x| run(&onnx::lstm(t, "lstm_no_bias/", &default).unwrap(), x));
    check(t, "gru", |t, x| run(&onnx::gru(t, "gru/", &default).unwrap(), x));
    check(t, "gru_both", |t, x| pair(&onnx::bidirectional_gru(t, "gru_both/", &after).unwrap(), x));
    assert!(t.is_empty());
}

fn flax_cases<E: Float>(file: &str) {
    let bytes = fixture(file);
    let t = &mut safetensors::read_tensors::<E>(&bytes).unwrap();
    check(t, "simple", |t, x| run(&flax::simple(t, "simple/cell/").unwrap(), x));
    check(t, "lstm", |t, x| run(&flax::lstm(t, "lstm/cell/").unwrap(), x));
    check(t, "optimized_lstm", |t, x| run(&flax::lstm(t, "optimized_lstm/cell/").unwrap(), x));
    check(t, "gru", |t, x| run(&flax::gru(t, "gru/cell/").unwrap(), x));
    assert!(t.is_empty());
}

#[test]
fn flax_files() {
    flax_cases::<f32>("flax_f32");
    flax_cases::<f64>("flax_f64");
}

#[test]
fn tensors_are_counted() {
    let mut tensors = Tensors::<f32>::new();
    assert_eq!((tensors.len(), tensors.is_empty()), (0, true));
    tensors.insert("a", ndarray::arr1(&[1.0]));
    tensors.insert("b", ndarray::arr1(&[2.0]));
    tensors.insert("b", ndarray::arr1(&[3.0]));
    assert_eq!((tensors.len(), tensors.is_empty()), (2, false));
    tensors.take("b").unwrap();
    assert_eq!((tensors.len(), tensors.is_empty()), (1, false));
}

/// The table has the same layout everywhere; only its name differs.
#[test]
fn embeddings() {
    let table = ndarray::array![[1.0_f32, 2.0, 3.0], [4.0, 5.0, 6.0]];
    let mut tensors = Tensors::new();
    for name in ["model.emb.weight", "model/embedding/embeddings", "decoder/table"] {
        tensors.insert(name, table.clone());
    }
    tensors.insert("flat/embeddings", ndarray::array![1.0]);
    for embedding in [
        pytorch::embedding(&mut tensors, "model.emb.").unwrap(),
        keras::embedding(&mut tensors, "model/embedding/").unwrap(),
        tensorflow::embedding(&mut tensors, "decoder/table").unwrap(),
    ] {
        assert_eq!(embedding.embeddings(), table);
    }
    assert!(matches!(keras::embedding(&mut tensors, "flat/"), Err(Error::TensorShape { .. })));
    assert!(matches!(keras::embedding(&mut tensors, "none/"), Err(Error::MissingWeight { .. })));
}

#[test]
fn options_are_those_of_the_cell() {
    let tensors = |names: &[(&str, &[usize])]| {
        let mut tensors = Tensors::<f32>::new();
        names.iter().for_each(|(name, shape)| tensors.insert(*name, ArrayD::zeros(*shape)));
        tensors
    };
    let rnn = tensors(&[("kernel", &[5, 2]), ("bias", &[2])]);
    let lstm = tensors(&[("kernel", &[5, 8]), ("bias", &[8])]);
    let gates = [("gates/kernel", &[5, 4][..]), ("gates/bias", &[4])];
    let gru = tensors(&[&gates[..], &[("candidate/kernel", &[5, 2]), ("candidate/bias", &[2])]].concat());

    let found = tensorflow::lstm(&mut lstm.clone(), "", &Default::default()).unwrap();
    assert_eq!((found.forget_bias(), found.cell_clip(), found.proj_clip()), (1.0, None, None));
    assert_eq!(found.activation(), Activation::Tanh);
    let options = tensorflow::Options::default().activation(Activation::Relu).forget_bias(0.25).cell_clip(2.0);
    let options = options.proj_clip(0.1);
    let found = tensorflow::lstm(&mut lstm.clone(), "", &options).unwrap();
    assert_eq!((found.forget_bias(), found.cell_clip(), found.proj_clip()), (0.25, Some(2.0), Some(0.1)));
    assert_eq!(found.activation(), Activation::Relu);
    assert_eq!(tensorflow::gru(&mut gru.clone(), "", &options).unwrap().activation(), Activation::Relu);
    assert_eq!(tensorflow::basic_rnn(&mut rnn.clone(), "", &options).unwrap().activation(), Activation::Relu);

    let error = tensorflow::lstm(&mut lstm.clone(), "", &options.cell_clip(0.0)).unwrap_err();
    assert!(matches!(&error, Error::InvalidNumber { argument, .. } if *argument == "cell_clip"), "{error}");
}
