//! Lines that `inspect` printed, pasted. They compile and load, and it still prints them.

#![allow(unused_variables)]

use crate::{inspect, open};
use rnn_cell::{Error, RnnCell};

const HERE: &str = include_str!("pasted.rs");

/// Asserts that `inspect` prints each line of the function of this name.
fn printed(function: &str, fixture: &str) {
    let text = inspect::described(&open(fixture).unwrap()).unwrap();
    let (_, body) = HERE.split_once(&format!("fn {function}() -> Result<(), Error> {{\n")).unwrap();
    let (body, _) = body.split_once("    // So far").unwrap();
    assert!(body.lines().count() > 2, "{function}");
    for line in body.lines() {
        assert!(text.lines().any(|printed| printed == line), "{line} is not in {text}");
    }
}

fn sizes<C: RnnCell>(cell: &C) -> (usize, usize) {
    (cell.input_size(), cell.output_size())
}

#[test]
fn pytorch() -> Result<(), Error> {
    use rnn_cell::weights::{self, pytorch};
    let file = weights::open("fixtures/pytorch_f64.safetensors")?;
    let mut tensors = file.tensors::<f64>()?;
    let cells = pytorch::bidirectional_lstm(&mut tensors, "lstm_proj.")?;
    let cells = pytorch::rnn(&mut tensors, "rnn_relu.", &Default::default())?;
    // So far it was pasted.
    assert_eq!(sizes(&cells), (3, 4));
    printed("pytorch", "pytorch_f64.safetensors");
    Ok(())
}

#[test]
fn weight_norm() -> Result<(), Error> {
    use rnn_cell::weights::{self, pytorch};
    let file = weights::open("fixtures/readers/weight_norm.pt")?;
    let mut tensors = file.tensors::<f32>()?;
    pytorch::fold_weight_norm(&mut tensors)?; let cells = pytorch::lstm(&mut tensors, "model.")?;
    // So far it was pasted.
    assert_eq!(sizes(&cells), (3, 2));
    printed("weight_norm", "readers/weight_norm.pt");
    Ok(())
}

#[test]
fn parametrizations() -> Result<(), Error> {
    use rnn_cell::weights::{self, pytorch};
    let file = weights::open("fixtures/readers/parametrizations.pt")?;
    let mut tensors = file.tensors::<f32>()?;
    pytorch::fold_weight_norm(&mut tensors)?; let cells = pytorch::gru(&mut tensors, "model.")?;
    // So far it was pasted.
    assert_eq!(sizes(&cells), (3, 2));
    printed("parametrizations", "readers/parametrizations.pt");
    Ok(())
}

#[test]
fn keras_tensors() -> Result<(), Error> {
    use rnn_cell::weights::{self, keras};
    let file = weights::open("fixtures/keras_f32.safetensors")?;
    let mut tensors = file.tensors::<f32>()?;
    let cell = keras::gru(&mut tensors, "gru_reset_before/gru_1/gru_cell/", &Default::default())?;
    let cell = keras::gru(&mut tensors, "gru/gru/gru_cell/", &Default::default())?;
    // So far it was pasted.
    assert_eq!(sizes(&cell), (3, 4));
    printed("keras_tensors", "keras_f32.safetensors");
    Ok(())
}

#[test]
fn keras_model() -> Result<(), Error> {
    use rnn_cell::weights::{self, keras};
    let file = weights::open("fixtures/readers/keras3.keras")?;
    let mut model = file.keras::<f32>()?;
    let layer = model.layer("bidirectional/backward_lstm")?; let cell = keras::lstm(&mut model.tensors, layer.prefix(), &layer.options()?)?;
    // So far it was pasted.
    assert_eq!(sizes(&cell), (3, 2));
    printed("keras_model", "readers/keras3.keras");
    Ok(())
}

#[test]
fn onnx_model() -> Result<(), Error> {
    use rnn_cell::weights;
    let file = weights::open("fixtures/onnx/torch_lstm.onnx")?;
    let model = file.onnx().expect("it is an ONNX model");
    let cell = model.node("/rnn/LSTM_1")?.bidirectional_lstm::<f32>()?;
    // So far it was pasted.
    assert_eq!(sizes(&cell.bw), (8, 4));
    printed("onnx_model", "onnx/torch_lstm.onnx");
    Ok(())
}

#[test]
fn onnx_tensors() -> Result<(), Error> {
    use rnn_cell::weights::{self, onnx};
    let file = weights::open("fixtures/onnx_int8.safetensors")?;
    let mut tensors = file.tensors::<f32>()?;
    let cell = onnx::bidirectional_dynamic_quantize_lstm(&mut tensors, "lstm_both/", &Default::default())?;
    // So far it was pasted.
    assert_eq!(sizes(&cell.fw), (5, 8));
    printed("onnx_tensors", "onnx_int8.safetensors");
    Ok(())
}

#[test]
fn tensorflow() -> Result<(), Error> {
    use rnn_cell::weights::{self, tensorflow};
    let file = weights::open("fixtures/readers/tf1.ckpt.index")?;
    let mut tensors = file.tensors::<f32>()?;
    let cell = tensorflow::lstm(&mut tensors, "rnn/lstm_cell/", &Default::default())?;
    // So far it was pasted.
    assert_eq!(sizes(&cell), (3, 2));
    printed("tensorflow", "readers/tf1.ckpt.index");
    Ok(())
}

#[test]
fn flax() -> Result<(), Error> {
    use rnn_cell::weights::{self, flax};
    let file = weights::open("fixtures/readers/flax_nnx.npz")?;
    let mut tensors = file.tensors::<f32>()?;
    let cell = flax::simple(&mut tensors, "simple/")?;
    let cell = flax::gru(&mut tensors, "gru/")?;
    let cell = flax::lstm(&mut tensors, "lstm/")?;
    let cell = flax::lstm(&mut tensors, "optimized/")?;
    // So far it was pasted.
    assert_eq!(sizes(&cell), (3, 2));
    printed("flax", "readers/flax_nnx.npz");
    Ok(())
}

#[test]
fn haiku() -> Result<(), Error> {
    use rnn_cell::weights::{self, haiku};
    let file = weights::open("fixtures/readers/haiku.npz")?;
    let mut tensors = file.tensors::<f32>()?;
    let cell = haiku::vanilla_rnn(&mut tensors, "one_bias/vanilla_rnn/")?;
    let cell = haiku::lstm(&mut tensors, "lstm/lstm/")?;
    let cell = haiku::gru(&mut tensors, "gru/gru/")?;
    // So far it was pasted.
    assert_eq!(sizes(&cell), (3, 2));
    printed("haiku", "readers/haiku.npz");
    Ok(())
}
