//! Imports weights from other frameworks and compares the outputs with theirs. Also exports.
//!
//! The scripts in `tools/` make the files. They hold each case's tensors, an input `CASE/x` and `CASE/outputs`.

use ndarray::{Array3, ArrayD, Axis, Ix3};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::GruReset;
use rnn_cell::cells::LstmBuilder;
use rnn_cell::weights::{Tensors, flax, keras, onnx, pytorch, safetensors, tensorflow};
use rnn_cell::{Activation, BasicRnn, Bidirectional, Error, Float, Gru, Lstm, MultiRnnCell, ParametersMut, RnnCell};
use rnn_cell::{bidirectional_dynamic_rnn, concat_outputs, dynamic_rnn, stack_bidirectional_dynamic_rnn};
use std::path::PathBuf;

/// A fixture's bytes.
fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{name}.safetensors"));
    std::fs::read(path).unwrap()
}

/// The outputs of a cell.
fn run<E: Float, C: RnnCell<Elem = E>>(cell: &C, x: &Array3<E>) -> Array3<E> {
    dynamic_rnn(cell, x, None, None).unwrap().0
}

/// The outputs of stacked bidirectional layers, each taking both sides of the one below.
fn both<E: Float, C: RnnCell<Elem = E>>(cells: &Bidirectional<Vec<C>>, x: &Array3<E>) -> Array3<E> {
    stack_bidirectional_dynamic_rnn(&cells.fw, &cells.bw, x, None, None, None).unwrap().0
}

/// The outputs of one bidirectional layer.
fn pair<E: Float, C: RnnCell<Elem = E>>(cells: &Bidirectional<C>, x: &Array3<E>) -> Array3<E> {
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

#[test]
fn pytorch_tensors_that_do_not_fit() {
    let bytes = fixture("pytorch_f64");
    let tensors = || safetensors::read_tensors::<f64>(&bytes).unwrap();

    // One direction of a module with two.
    let error = pytorch::lstm(&mut tensors(), "lstm.").unwrap_err();
    assert!(matches!(&error, Error::UnexpectedWeight { name, .. } if name == "lstm.weight_ih_l0_reverse"), "{error}");
    assert!(error.to_string().contains("bidirectional"), "{error}");
    let error = pytorch::bidirectional_gru(&mut tensors(), "gru.").unwrap_err();
    assert!(matches!(&error, Error::MissingWeight { name, .. } if name == "gru.weight_ih_l0_reverse"), "{error}");

    // Another kind of module.
    let error = pytorch::bidirectional_gru(&mut tensors(), "lstm.").unwrap_err();
    assert!(matches!(&error, Error::TensorShape { name, .. } if name == "lstm.weight_ih_l0"), "{error}");
    assert_eq!(error.to_string(), "tensor \"lstm.weight_ih_l0\" has shape [16, 3], but must have (3 · hidden, input)");

    // If two matrices disagree, the one at fault is named. A size that nothing tells stays a word.
    let misfit = |name: &str, shape: (usize, usize)| {
        let mut tensors = tensors();
        tensors.insert(name, ndarray::Array2::zeros(shape));
        pytorch::gru(&mut tensors, "gru.").unwrap_err().to_string()
    };
    let hidden = tensors().shape("gru.weight_hh_l0").unwrap()[1];
    assert_eq!(
        misfit("gru.weight_hh_l0", (3 * hidden, hidden + 1)),
        format!(
            "tensor \"gru.weight_hh_l0\" has shape {:?}, but must have {:?}",
            [3 * hidden, hidden + 1],
            [3 * hidden, hidden]
        )
    );
    assert_eq!(
        misfit("gru.weight_ih_l0", (3, 3 * hidden)),
        format!("tensor \"gru.weight_ih_l0\" has shape {:?}, but must have [{}, input]", [3, 3 * hidden], 3 * hidden)
    );

    // One extra tensor, one missing.
    let mut more = tensors();
    more.insert("gru.weight_hr_l0", ndarray::Array2::zeros((2, 4)));
    let error = pytorch::gru(&mut more, "gru.").unwrap_err();
    assert!(matches!(&error, Error::UnexpectedWeight { name, .. } if name == "gru.weight_hr_l0"), "{error}");
    for missing in ["gru.bias_ih_l1", "gru.weight_ih_l1", "gru.weight_ih_l2"] {
        let mut less = tensors();
        less.retain(|name| name != missing);
        let error = pytorch::gru(&mut less, "gru.").unwrap_err();
        assert!(matches!(&error, Error::MissingWeight { name, .. } if name == missing), "{missing}: {error}");
    }
    // A layer without biases cannot be in a module with biases, and the other way round.
    let mut less = tensors();
    less.retain(|name| !["gru.bias_ih_l1", "gru.bias_hh_l1"].contains(&name));
    let error = pytorch::gru(&mut less, "gru.").unwrap_err();
    assert!(matches!(&error, Error::MissingWeight { name, .. } if name == "gru.bias_ih_l1"), "{error}");
    let mut less = tensors();
    less.retain(|name| !["gru_bidirectional.bias_ih_l0", "gru_bidirectional.bias_hh_l0"].contains(&name));
    let error = pytorch::bidirectional_gru(&mut less, "gru_bidirectional.").unwrap_err();
    assert!(matches!(&error, Error::MissingWeight { name, .. } if name == "gru_bidirectional.bias_ih_l0"), "{error}");

    // f64 is rounded only on request.
    let mut single = safetensors::read_tensors::<f32>(&bytes).unwrap();
    let error = pytorch::gru(&mut single, "gru.").unwrap_err();
    assert_eq!(error.to_string(), "tensor \"gru.weight_ih_l0\" is F64, but must be F32, F16 or BF16");
    let mut single = tensors().cast::<f32>().unwrap();
    assert_eq!(pytorch::gru(&mut single, "gru.").unwrap().cells().len(), 3);
    let error = single.finish().unwrap_err();
    assert!(matches!(&error, Error::UnexpectedWeight { name, .. } if name == "gru/outputs"), "{error}");
}

/// Each tensor of a module under `prefix` in turn is missing (except `optional` ones), has an extra axis, or holds
/// integers. The error must name it.
fn each_misfit(
    file: &str,
    prefix: &str,
    optional: &[&str],
    import: impl Fn(&mut Tensors<'_, f32>, &str) -> Result<(), Error>,
) {
    let bytes = fixture(file);
    let tensors = safetensors::read_tensors::<f32>(&bytes).unwrap();
    let other = |name: &str| name.ends_with("/x") || name.ends_with("/outputs") || name.contains("Adam");
    let names: Vec<&str> = tensors.names().filter(|name| name.starts_with(prefix) && !other(name)).collect();
    assert!(names.len() > 1, "{prefix}");
    import(&mut tensors.clone(), prefix).unwrap();
    for misfit in names {
        let mut less = tensors.clone();
        less.retain(|name| name != misfit);
        match import(&mut less, prefix) {
            Err(Error::MissingWeight { name, .. }) if name == misfit => {}
            other => assert!(optional.contains(&&misfit[prefix.len()..]), "without {misfit}: {other:?}"),
        }
        let mut deep = tensors.clone();
        let array = deep.take(misfit).unwrap();
        deep.insert(misfit, array.insert_axis(Axis(0)));
        let error = import(&mut deep, prefix).unwrap_err();
        assert!(matches!(&error, Error::TensorShape { name, .. } if name == misfit), "{misfit}: {error}");

        let (info, integers) =
            (format!("\"{misfit}\":{{\"dtype\":\"F32\""), format!("\"{misfit}\":{{\"dtype\":\"I32\""));
        let at = bytes.windows(info.len()).position(|window| window == info.as_bytes()).unwrap();
        let bytes = [&bytes[..at], integers.as_bytes(), &bytes[at + info.len()..]].concat();
        let error = import(&mut safetensors::read_tensors(&bytes).unwrap(), prefix).unwrap_err();
        assert!(matches!(&error, Error::TensorDtype { name, .. } if name == misfit), "{misfit}: {error}");
    }
}

#[test]
fn the_tensor_that_does_not_fit_is_named() {
    each_misfit("pytorch_f32", "rnn_tanh.", &[], |t, p| {
        pytorch::bidirectional_rnn(t, p, &Default::default()).map(drop)
    });
    each_misfit("pytorch_f32", "lstm.", &[], |t, p| pytorch::bidirectional_lstm(t, p).map(drop));
    let projections = ["weight_hr_l0", "weight_hr_l0_reverse", "weight_hr_l1", "weight_hr_l1_reverse"];
    each_misfit("pytorch_f32", "lstm_proj.", &projections, |t, p| pytorch::bidirectional_lstm(t, p).map(drop));
    each_misfit("pytorch_f32", "gru.", &[], |t, p| pytorch::gru(t, p).map(drop));

    let (keras, before) = (keras::Options::default(), keras::Options::default().reset_after(false));
    each_misfit("keras_f32", "simple_rnn/simple_rnn/simple_rnn_cell/", &["bias"], |t, p| {
        keras::simple_rnn(t, p, &keras).map(drop)
    });
    each_misfit("keras_f32", "lstm/lstm/lstm_cell/", &["bias"], |t, p| keras::lstm(t, p, &keras).map(drop));
    each_misfit("keras_f32", "gru/gru/gru_cell/", &["bias"], |t, p| keras::gru(t, p, &keras).map(drop));
    each_misfit("keras_f32", "gru_reset_before/gru_1/gru_cell/", &["bias"], |t, p| keras::gru(t, p, &before).map(drop));

    each_misfit("tensorflow_f32", "basic_rnn/rnn/basic_rnn_cell/", &[], |t, p| {
        tensorflow::basic_rnn(t, p, &Default::default()).map(drop)
    });
    each_misfit("tensorflow_f32", "lstm/rnn/lstm_cell/", &["projection/kernel"], |t, p| {
        tensorflow::lstm(t, p, &Default::default()).map(drop)
    });
    each_misfit("tensorflow_f32", "bidirectional/bidirectional_rnn/fw/gru_cell/", &[], |t, p| {
        tensorflow::gru(t, p, &Default::default()).map(drop)
    });

    each_misfit("onnx_f32", "rnn/", &["B"], |t, p| onnx::rnn(t, p, &Default::default()).map(drop));
    each_misfit("onnx_f32", "lstm_both/", &["B", "P"], |t, p| {
        onnx::bidirectional_lstm(t, p, &Default::default()).map(drop)
    });
    each_misfit("onnx_f32", "gru/", &["B"], |t, p| onnx::gru(t, p, &Default::default()).map(drop));

    each_misfit("flax_f32", "simple/cell/", &[], |t, p| flax::simple(t, p).map(drop));
    each_misfit("flax_f32", "lstm/cell/", &[], |t, p| flax::lstm(t, p).map(drop));
    each_misfit("flax_f32", "gru/cell/", &[], |t, p| flax::gru(t, p).map(drop));
}

#[test]
fn a_kernel_of_no_whole_gates_is_named() {
    let mut tensors = Tensors::new();
    tensors.insert("kernel", ndarray::Array2::<f32>::zeros((5, 10)));
    tensors.insert("bias", ndarray::Array1::<f32>::zeros(10));
    let error = tensorflow::lstm(&mut tensors, "", &Default::default()).unwrap_err();
    assert_eq!(error.to_string(), "tensor \"kernel\" has shape [5, 10], but must have [5, 8]");
    // All rows are the state's: there are none for inputs.
    tensors.insert("kernel", ndarray::Array2::<f32>::zeros((2, 8)));
    tensors.insert("bias", ndarray::Array1::<f32>::zeros(8));
    let error = tensorflow::lstm(&mut tensors, "", &Default::default()).unwrap_err();
    let message = "tensor \"kernel\" has shape [2, 8], but must have more than 2 rows (input + 2)";
    assert_eq!(error.to_string(), message);
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
