//! Exports to PyTorch and TensorFlow, and the way back.

use super::importers::{both, pair, run};
use ndarray::Array3;
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::GruReset;
use rnn_cell::cells::LstmBuilder;
use rnn_cell::weights::{Tensors, pytorch, safetensors, tensorflow};
use rnn_cell::{Activation, BasicRnn, Bidirectional, Error, Gru, Lstm, MultiRnnCell, ParametersMut};
use std::path::PathBuf;

/// Random weights, biases too.
fn randomize<P: ParametersMut<f64>>(cells: &mut [P], rng: &mut Xoshiro256PlusPlus) {
    for cell in cells {
        cell.visit_parameters_mut(&mut |_, mut array| {
            let len = array.len();
            let random = rnn_cell::init::uniform::<f64, _>((1, len), 0.6, rng);
            array.iter_mut().zip(&random).for_each(|(to, from)| *to = *from);
        });
    }
}

fn input(rng: &mut Xoshiro256PlusPlus) -> Array3<f64> {
    rnn_cell::init::uniform((12, 3), 2.0, rng).into_shape_with_order((2, 6, 3)).unwrap()
}

/// Writes an export with an input and our outputs, for `tools/pytorch_load.py` and `tools/tensorflow_load.py`.
fn write(case: &str, tensors: &Tensors<'_, f64>, x: &Array3<f64>, outputs: &Array3<f64>) {
    let mut tensors = tensors.clone();
    tensors.insert("x", x.view());
    tensors.insert("outputs", outputs.view());
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("exported_{case}.safetensors"));
    // The file of an earlier run must not pass for this one's.
    let _ = std::fs::remove_file(&path);
    safetensors::save_tensors(tensors.clone(), &path).unwrap();
    let bytes = std::fs::read(path).unwrap();
    let mut read = safetensors::read_tensors::<f64>(&bytes).unwrap();
    let names: Vec<String> = tensors.names().map(String::from).collect();
    assert!(read.names().eq(&names));
    for name in names {
        assert_eq!(read.take(&name).unwrap(), tensors.take(&name).unwrap());
    }
}

#[test]
fn exported_to_pytorch_and_back() {
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(6);
    let x = input(rng);
    let near = |a: Array3<f64>, b: &Array3<f64>| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12);

    let mut layers = |input| {
        let mut cells = [BasicRnn::<f64>::new(3, 4, rng), BasicRnn::new(input, 4, rng)];
        randomize(&mut cells, rng);
        cells.to_vec()
    };
    let cells = Bidirectional { fw: layers(8), bw: layers(8) };
    let outputs = both(&cells, &x);
    let mut tensors = pytorch::export_rnn(&cells.fw, Some(&cells.bw), "").unwrap();
    write("rnn", &tensors, &x, &outputs);
    let back = pytorch::bidirectional_rnn(&mut tensors, "", &Default::default()).unwrap();
    assert!(near(both(&back, &x), &outputs));
    tensors.finish().unwrap();

    // forget_bias 1 must end up in PyTorch's bias.
    let mut cells = [Lstm::<f64>::new(3, 4, rng), Lstm::new(4, 4, rng)];
    randomize(&mut cells, rng);
    let outputs = run(&MultiRnnCell::new(cells.to_vec()).unwrap(), &x);
    let mut tensors = pytorch::export_lstm(&cells, None, "").unwrap();
    write("lstm", &tensors, &x, &outputs);
    assert!(near(run(&pytorch::lstm(&mut tensors, "").unwrap(), &x), &outputs));
    tensors.finish().unwrap();

    let mut cells = [(); 2].map(|()| Lstm::<f64>::builder(3, 5).num_proj(2).build(rng).unwrap());
    randomize(&mut cells, rng);
    let [fw, bw] = cells;
    let cells = Bidirectional { fw: vec![fw], bw: vec![bw] };
    let outputs = both(&cells, &x);
    let mut tensors = pytorch::export_lstm(&cells.fw, Some(&cells.bw), "").unwrap();
    write("lstm_proj", &tensors, &x, &outputs);
    assert!(near(both(&pytorch::bidirectional_lstm(&mut tensors, "").unwrap(), &x), &outputs));
    tensors.finish().unwrap();

    let mut cells = [3, 4].map(|input| Gru::<f64>::builder(input, 4).reset(GruReset::After).build(rng).unwrap());
    randomize(&mut cells, rng);
    let outputs = run(&MultiRnnCell::new(cells.to_vec()).unwrap(), &x);
    let mut tensors = pytorch::export_gru(&cells, None, "decoder.").unwrap();
    assert!(tensors.contains("decoder.weight_hh_l1"));
    assert!(near(run(&pytorch::gru(&mut tensors, "decoder.").unwrap(), &x), &outputs));
    tensors.finish().unwrap();
    write("gru", &pytorch::export_gru(&cells, None, "").unwrap(), &x, &outputs);
}

#[test]
fn exported_to_tensorflow_and_back() {
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(8);
    let x = input(rng);

    let mut cells = [Lstm::builder(3, 5).use_peepholes(true).num_proj(2), Lstm::builder(2, 4)]
        .map(|builder| builder.cell_clip(0.5).forget_bias(0.25).build(rng).unwrap());
    randomize(&mut cells, rng);
    let outputs = run(&MultiRnnCell::new(cells.to_vec()).unwrap(), &x);
    let mut tensors = Tensors::new();
    for (layer, cell) in cells.iter().enumerate() {
        let scope = format!("rnn/multi_rnn_cell/cell_{layer}/lstm_cell/");
        tensors.append(tensorflow::export_lstm(cell, &scope).unwrap());
    }
    write("tensorflow_stack", &tensors, &x, &outputs);
    let back = tensorflow::multi(&mut tensors, "rnn/multi_rnn_cell/", |t, prefix| {
        let options = tensorflow::Options::default().cell_clip(0.5).forget_bias(0.25);
        tensorflow::lstm(t, &format!("{prefix}lstm_cell/"), &options)
    });
    assert_eq!(run(&MultiRnnCell::new(back.unwrap()).unwrap(), &x), outputs);
    tensors.finish().unwrap();

    let mut cells = [(); 2].map(|()| Gru::<f64>::new(3, 4, rng));
    randomize(&mut cells, rng);
    let [fw, bw] = cells;
    let cells = Bidirectional { fw, bw };
    let outputs = pair(&cells, &x);
    let mut tensors = tensorflow::export_gru(&cells.fw, "bidirectional_rnn/fw/gru_cell/").unwrap();
    tensors.append(tensorflow::export_gru(&cells.bw, "bidirectional_rnn/bw/gru_cell/").unwrap());
    write("tensorflow_pair", &tensors, &x, &outputs);
    let back = tensorflow::bidirectional(&mut tensors, "bidirectional_rnn/", |t, prefix| {
        tensorflow::gru(t, &format!("{prefix}gru_cell/"), &Default::default())
    });
    assert_eq!(pair(&back.unwrap(), &x), outputs);
    tensors.finish().unwrap();

    let mut cells = [3, 8].map(|input| [(); 2].map(|()| BasicRnn::<f64>::new(input, 4, rng)));
    cells.iter_mut().for_each(|layer| randomize(layer, rng));
    let [[fw_0, bw_0], [fw_1, bw_1]] = cells;
    let cells = Bidirectional { fw: vec![fw_0, fw_1], bw: vec![bw_0, bw_1] };
    let outputs = both(&cells, &x);
    let mut tensors = Tensors::new();
    for (side, cells) in [("fw", &cells.fw), ("bw", &cells.bw)] {
        for (layer, cell) in cells.iter().enumerate() {
            let scope = format!("stack_bidirectional_rnn/cell_{layer}/bidirectional_rnn/{side}/basic_rnn_cell/");
            tensors.append(tensorflow::export_basic_rnn(cell, &scope));
        }
    }
    write("tensorflow_layers", &tensors, &x, &outputs);
    let back = tensorflow::stack_bidirectional(&mut tensors, "stack_bidirectional_rnn/", |t, prefix| {
        tensorflow::basic_rnn(t, &format!("{prefix}basic_rnn_cell/"), &Default::default())
    });
    assert_eq!(both(&back.unwrap(), &x), outputs);
    tensors.finish().unwrap();
}

#[test]
fn what_pytorch_does_not_have_is_not_exported() {
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(7);
    let refused = |result: Result<Tensors<'_, f64>, Error>, found: &str| match result {
        Err(Error::NotRepresentable { found: what, .. }) => assert!(what.contains(found), "{what}"),
        other => panic!("{other:?}"),
    };
    let lstm = |options: &dyn Fn(LstmBuilder<f64>) -> LstmBuilder<f64>| {
        options(Lstm::builder(3, 4)).build(&mut Xoshiro256PlusPlus::seed_from_u64(7)).unwrap()
    };
    let export = |cell| pytorch::export_lstm(&[cell], None, "");
    refused(export(lstm(&|b| b.use_peepholes(true))), "peepholes");
    refused(export(lstm(&|b| b.cell_clip(1.0))), "clip");
    refused(export(lstm(&|b| b.num_proj(2).proj_clip(1.0))), "clip");
    refused(export(lstm(&|b| b.num_proj(4))), "num_proj");
    refused(export(lstm(&|b| b.use_bias(false))), "forget_bias");
    refused(export(lstm(&|b| b.activation(Activation::Relu))), "Relu");
    assert!(export(lstm(&|b| b.use_bias(false).forget_bias(0.0))).is_ok());
    refused(pytorch::export_gru(&[Gru::<f64>::new(3, 4, rng)], None, ""), "Before");
    refused(
        pytorch::export_rnn(&[BasicRnn::<f64>::new(3, 4, rng), BasicRnn::new(3, 4, rng)], None, ""),
        "layer 1 from 3 to 4 features",
    );
    refused(pytorch::export_rnn::<f64>(&[], None, ""), "0 forward and 0 backward layers");
    refused(pytorch::export_rnn(&[BasicRnn::<f64>::new(3, 4, rng)], Some(&[]), ""), "1 forward and 0 backward layers");
    let sigmoid = BasicRnn::<f64>::builder(3, 4).activation(Activation::Sigmoid).build(rng).unwrap();
    refused(pytorch::export_rnn(&[sigmoid], None, ""), "Sigmoid");
    let gru = |use_bias, activation| {
        let builder = Gru::<f64>::builder(3, 3).reset(GruReset::After).use_bias(use_bias).activation(activation);
        builder.build(&mut Xoshiro256PlusPlus::seed_from_u64(7)).unwrap()
    };
    refused(pytorch::export_gru(&[gru(true, Activation::Relu)], None, ""), "Relu and Sigmoid");
    // A module has one set of options.
    let [with, without] = [true, false].map(|use_bias| gru(use_bias, Activation::Tanh));
    refused(pytorch::export_gru(&[with, without], None, ""), "differs");
    let mut rnn = |use_bias| BasicRnn::<f64>::builder(4, 4).use_bias(use_bias).build(rng).unwrap();
    refused(pytorch::export_rnn(&[rnn(true), rnn(false)], None, ""), "differs");
    let plain = |use_bias| lstm(&|b| b.forget_bias(0.0).use_bias(use_bias));
    let error = pytorch::export_lstm(&[plain(true)], Some(&[plain(false)]), "").unwrap_err();
    let message = "nn.LSTM has layers with the same hidden size and options, but the cell has one that differs";
    assert_eq!(error.to_string(), message);
}
