//! Stacks whose number of layers is said, and gates that have tensors of their own.

use crate::{bits, randomized, rng};
use ndarray::{Array1, Array2, Axis, s};
use rnn_cell::weights::{Stack, Tensors, keras, pytorch, tensorflow};
use rnn_cell::{BasicRnn, Error, Gru, GruReset, Lstm, stack_bidirectional_dynamic_rnn};

fn layers(count: usize, width: usize) -> Vec<Gru<f64>> {
    let input = |layer| if layer == 0 { 3 } else { width };
    let cell = |layer| Gru::<f64>::builder(input(layer), 4).reset(GruReset::After).build(&mut rng(1)).unwrap();
    (0..count).map(|layer| randomized(cell(layer), layer as u64)).collect()
}

/// `found` layers are there. As many as are there may be said; more or fewer are errors that name a tensor.
fn check(found: usize, import: impl Fn(Option<usize>) -> Result<usize, Error>, missing: &str, extra: &str) {
    assert_eq!(import(None), Ok(found));
    assert_eq!(import(Some(found)), Ok(found));
    let error = import(Some(found + 1)).unwrap_err();
    assert!(matches!(&error, Error::MissingWeight { name, .. } if name == missing), "{error}");
    assert!(error.to_string().ends_with("3 layers are expected, but only 2 are there"), "{error}");
    let error = import(Some(found - 1)).unwrap_err();
    assert!(matches!(&error, Error::UnexpectedWeight { name, .. } if name == extra), "{error}");
    assert!(error.to_string().ends_with("1 layer is expected, but there are more"), "{error}");
    assert_eq!(import(Some(0)), Err(Error::ZeroSize { argument: "layers" }));
}

fn stack(prefix: &str, layers: Option<usize>) -> Stack<'_> {
    layers.map_or(Stack::new(prefix), |layers| Stack::new(prefix).layers(layers))
}

#[test]
fn pytorch_counts_layers() {
    let tensors = pytorch::export_gru(&layers(2, 4), None, "a.").unwrap();
    let one = |layers| pytorch::gru(&mut tensors.clone(), stack("a.", layers)).map(|stack| stack.cells().len());
    check(2, one, "a.weight_ih_l2", "a.weight_ih_l1");
    let tensors = pytorch::export_gru(&layers(2, 8), Some(&layers(2, 8)), "a.").unwrap();
    let both = |layers| pytorch::bidirectional_gru(&mut tensors.clone(), stack("a.", layers)).map(|pair| pair.bw.len());
    check(2, both, "a.weight_ih_l2", "a.weight_ih_l1");

    let cells = [3, 4].map(|input| Lstm::<f64>::new(input, 4, &mut rng(1)));
    let tensors = pytorch::export_lstm(&cells, None, "").unwrap();
    let one = |layers| pytorch::lstm(&mut tensors.clone(), stack("", layers)).map(|stack| stack.cells().len());
    check(2, one, "weight_ih_l2", "weight_ih_l1");
    let cells = [3, 8].map(|input| Lstm::<f64>::new(input, 4, &mut rng(1)));
    let tensors = pytorch::export_lstm(&cells, Some(&cells), "").unwrap();
    let both = |layers| pytorch::bidirectional_lstm(&mut tensors.clone(), stack("", layers)).map(|pair| pair.fw.len());
    check(2, both, "weight_ih_l2", "weight_ih_l1");

    let cells = [3, 4].map(|input| BasicRnn::<f64>::new(input, 4, &mut rng(1)));
    let tensors = pytorch::export_rnn(&cells, None, "").unwrap();
    let one = |layers| {
        let mut tensors = tensors.clone();
        pytorch::rnn(&mut tensors, stack("", layers), &Default::default()).map(|stack| stack.cells().len())
    };
    check(2, one, "weight_ih_l2", "weight_ih_l1");
    let cells = [3, 8].map(|input| BasicRnn::<f64>::new(input, 4, &mut rng(1)));
    let tensors = pytorch::export_rnn(&cells, Some(&cells), "").unwrap();
    let both = |layers| {
        let mut tensors = tensors.clone();
        pytorch::bidirectional_rnn(&mut tensors, stack("", layers), &Default::default()).map(|pair| pair.fw.len())
    };
    check(2, both, "weight_ih_l2", "weight_ih_l1");
}

/// Any tensor of a layer that is one too many is found, a backward one too.
#[test]
fn parts_of_another_layer_are_found() {
    let exported = pytorch::export_gru(&layers(2, 8), Some(&layers(2, 8)), "").unwrap();
    for left in ["weight_hh_l1", "bias_ih_l1_reverse"] {
        let mut tensors = exported.clone();
        tensors.retain(|name| !name.contains("_l1") || name == left);
        let error = pytorch::bidirectional_gru(&mut tensors, Stack::new("").layers(1)).unwrap_err();
        assert!(matches!(&error, Error::UnexpectedWeight { name, .. } if name == left), "{error}");
    }
    // A hole is not the end.
    let mut tensors = exported.clone();
    tensors.retain(|name| !name.contains("_l0"));
    let error = pytorch::bidirectional_gru(&mut tensors, Stack::new("").layers(2)).unwrap_err();
    assert!(matches!(&error, Error::MissingWeight { name, .. } if name == "weight_ih_l0"), "{error}");
}

#[test]
fn tensorflow_counts_cells() {
    let mut tensors = Tensors::new();
    for (layer, cell) in [3, 4].into_iter().map(|input| Lstm::<f64>::new(input, 4, &mut rng(1))).enumerate() {
        let scope = format!("rnn/multi_rnn_cell/cell_{layer}/lstm_cell/");
        tensors.append(tensorflow::export_lstm(&cell, &scope).unwrap());
    }
    let import = |layers| {
        let mut tensors = tensors.clone();
        let cells = tensorflow::multi(&mut tensors, stack("rnn/multi_rnn_cell/", layers), |tensors, prefix| {
            tensorflow::lstm(tensors, &format!("{prefix}lstm_cell/"), &tensorflow::Options::default())
        });
        cells.map(|cells| cells.len())
    };
    check(2, import, "rnn/multi_rnn_cell/cell_2/", "rnn/multi_rnn_cell/cell_1/lstm_cell/bias");
}

/// The outputs are those of the cells that were exported under the scopes of tf.contrib.rnn.
#[test]
fn a_bidirectional_stack_of_tensorflow_is_read() {
    let cell = |input, seed| randomized(Lstm::<f64>::new(input, 4, &mut rng(seed)), seed);
    let (fw, bw) = ([cell(3, 1), cell(8, 2)], [cell(3, 3), cell(8, 4)]);
    let mut tensors = Tensors::new();
    for (side, cells) in [("fw", &fw), ("bw", &bw)] {
        for (layer, cell) in cells.iter().enumerate() {
            let scope = format!("stack_bidirectional_rnn/cell_{layer}/bidirectional_rnn/{side}/lstm_cell/");
            tensors.append(tensorflow::export_lstm(cell, &scope).unwrap());
        }
    }
    let import = |layers| {
        let mut tensors = tensors.clone();
        let stack = stack("stack_bidirectional_rnn/", layers);
        let pair = tensorflow::stack_bidirectional(&mut tensors, stack, |tensors, prefix| {
            tensorflow::lstm(tensors, &format!("{prefix}lstm_cell/"), &tensorflow::Options::default())
        })?;
        tensors.finish()?;
        Ok::<_, Error>(pair)
    };
    let (missing, extra) =
        ("stack_bidirectional_rnn/cell_2/", "stack_bidirectional_rnn/cell_1/bidirectional_rnn/bw/lstm_cell/bias");
    check(2, |layers| import(layers).map(|pair| pair.fw.len()), missing, extra);
    let pair = import(Some(2)).unwrap();
    let x = crate::input(5);
    let run = |fw: &[_], bw: &[_]| stack_bidirectional_dynamic_rnn(fw, bw, &x, None, None, None).unwrap().0;
    assert_eq!(run(&pair.fw, &pair.bw), run(&fw, &bw));
}

/// Old Keras had a matrix for each gate.
#[test]
fn gates_in_matrices_of_their_own_are_joined() {
    let cell = randomized(Lstm::<f64>::builder(3, 4).forget_bias(0.0).build(&mut rng(1)).unwrap(), 1);
    let mut whole = keras::export_lstm(&cell, "").unwrap();
    let kernel = whole.take_matrix("kernel", (3, 16)).unwrap();
    let recurrent_kernel = whole.take_matrix("recurrent_kernel", (4, 16)).unwrap();
    let bias = whole.take_vector("bias", 16).unwrap();
    let mut tensors = Tensors::new();
    for (block, gate) in ["i", "f", "c", "o"].into_iter().enumerate() {
        let columns = s![.., block * 4..block * 4 + 4];
        tensors.insert(format!("W_{gate}"), kernel.slice(columns).to_owned());
        tensors.insert(format!("U_{gate}"), recurrent_kernel.slice(columns).to_owned());
        tensors.insert(format!("b_{gate}"), bias.slice(s![block * 4..block * 4 + 4]).to_owned());
    }
    let of = |letter: &str| ["i", "f", "c", "o"].map(|gate| format!("{letter}_{gate}"));
    for (letter, axis, to) in [("W", 1, "kernel"), ("U", 1, "recurrent_kernel"), ("b", 0, "bias")] {
        let names = of(letter);
        tensors.join(&names.each_ref().map(|name| &**name), axis, to).unwrap();
    }
    let back = keras::lstm(&mut tensors, "", &Default::default()).unwrap();
    tensors.finish().unwrap();
    assert_eq!(bits(&back), bits(&cell));
}

#[test]
fn what_cannot_be_joined_is_named_and_stays() {
    let mut tensors = Tensors::<f64>::new();
    tensors.insert("a", Array2::zeros((2, 3)));
    tensors.insert("b", Array2::zeros((2, 4)));
    tensors.insert("c", Array2::zeros((3, 3)));
    tensors.insert("d", Array1::zeros(3));
    let mut fails = |names: &[&str], axis, message: &str| {
        assert_eq!(tensors.join(names, axis, "to").unwrap_err().to_string(), message);
        assert_eq!(tensors.len(), 4);
    };
    fails(&["a", "c"], 1, "tensor \"c\" has shape [3, 3], but must have [2, 3]");
    fails(&["a", "d"], 0, "tensor \"d\" has shape [3], but must have [2, 3]");
    fails(&["d", "a"], 1, "tensor \"d\" has shape [3], but must have more than 1 axes, to be joined along axis 1");
    fails(&["a", "b", "a"], 1, "weight \"a\" is missing: it was named before");
    fails(&["a", "e"], 1, "weight \"e\" is missing: the tensors left are \"a\", \"b\", \"c\", \"d\"");
    fails(&[], 1, "weight \"to\" is missing: no tensors were named to join");
    tensors.join(&["a", "b"], 1, "a").unwrap();
    assert_eq!(tensors.take("a").unwrap().len_of(Axis(1)), 7);
    assert!(!tensors.contains("b"));
}
