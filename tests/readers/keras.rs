//! What Keras 2 and 3 saved, in every format they have.

use crate::npz::zip;
use crate::{check_close, fixture, path, run, take};
use ndarray::{Array3, Axis, array, concatenate};
use rnn_cell::weights::keras::{self, Kind, Model, Shards};
use rnn_cell::weights::{self, Format, Tensors, npz};
use rnn_cell::{Activation, Dense, Error, RnnCell};
use std::path::PathBuf;

/// The outputs of a layer of the model, over the steps in its order.
fn layer(model: &mut Model<'_, f32>, name: &str, x: &Array3<f32>) -> Array3<f32> {
    let layer = model.layer(name).unwrap();
    let mut x = x.clone();
    if layer.go_backwards() {
        x.invert_axis(Axis(1));
    }
    let (tensors, prefix, options) = (&mut model.tensors, layer.prefix(), &layer.options().unwrap());
    match layer.kind() {
        Kind::SimpleRnn => run(&keras::simple_rnn(tensors, prefix, options).unwrap(), &x),
        Kind::Lstm => run(&keras::lstm(tensors, prefix, options).unwrap(), &x),
        Kind::Gru => run(&keras::gru(tensors, prefix, options).unwrap(), &x),
        kind => panic!("{kind:?} is new"),
    }
}

/// The last layer of both models, whose weights are left.
fn dense(tensors: &mut Tensors<'_, f32>, prefix: &str, x: &Array3<f32>) -> Array3<f32> {
    let kernel = tensors.take_matrix(&format!("{prefix}kernel"), (2, 1)).unwrap();
    let bias = tensors.take_vector(&format!("{prefix}bias"), 1).unwrap();
    Dense::from_weights(kernel, Some(bias)).unwrap().forward(x).unwrap()
}

pub(crate) fn expected(name: &str) -> [Array3<f32>; 2] {
    let bytes = fixture(name);
    let mut tensors = npz::read_tensors::<f32>(&bytes).unwrap();
    ["x", "outputs"].map(|name| take(&mut tensors, name))
}

#[test]
fn models_run_as_in_keras() {
    for (file, dense_prefix) in [
        ("keras2.h5", "dense/"),
        ("keras2.keras", "layers/dense/"),
        ("keras3.h5", "dense/"),
        ("keras3.keras", "layers/dense/"),
        ("keras3_compressed.keras", "layers/dense/"),
    ] {
        let bytes = fixture(file);
        let mut model = keras::read_model::<f32>(&bytes).unwrap_or_else(|error| panic!("{file}: {error}"));
        let major = &file[5..6];
        assert!(model.version.starts_with(major), "{}", model.version);
        let names: Vec<&str> = model.layers.iter().map(|layer| layer.name()).collect();
        let expected_names = [
            "bidirectional/forward_lstm",
            "bidirectional/backward_lstm",
            "gate",
            "simple_rnn",
            "a/lstm",
            "b/lstm",
            "rnn/gru_cell",
            "rnn/lstm_cell",
            "cell",
        ];
        assert_eq!(names, expected_names, "{file}");
        assert!(model.layers.iter().all(|layer| layer.return_sequences()), "{file}");
        assert_eq!(model.layers[1].merge_mode(), Some("concat"));
        assert_eq!(model.layers[2].merge_mode(), None);
        let [x, outputs] = expected(&format!("keras{major}.npz"));
        let forward = layer(&mut model, "bidirectional/forward_lstm", &x);
        let mut backward = layer(&mut model, "bidirectional/backward_lstm", &x);
        backward.invert_axis(Axis(1));
        let mut x = concatenate![Axis(2), forward, backward];
        for name in &expected_names[2..] {
            x = layer(&mut model, name, &x);
        }
        let found = dense(&mut model.tensors, dense_prefix, &x);
        check_close(file, &found, &outputs);
        model.tensors.finish().unwrap();
    }
}

#[test]
fn cudnn_layers_are_converted() {
    let bytes = fixture("keras2_cudnn.h5");
    let mut model = keras::read_model::<f32>(&bytes).unwrap();
    let [x, outputs] = expected("keras2_cudnn.npz");
    assert_eq!(model.tensors.shape("a/bias").unwrap(), [8]);
    assert_eq!(model.tensors.shape("b/bias").unwrap(), [2, 6]);
    let x = layer(&mut model, "a", &x);
    check_close("CuDNN", &layer(&mut model, "b", &x), &outputs);
    model.tensors.finish().unwrap();
}

#[test]
fn weights_alone_have_no_layers() {
    for (file, prefix) in [
        ("keras2.weights.h5", "layers/gru/cell/"),
        ("keras3.weights.h5", "layers/gru/cell/"),
        ("keras2_only_weights.h5", "gru/gru_cell/"),
    ] {
        let bytes = fixture(file);
        let mut model = keras::read_model::<f32>(&bytes).unwrap();
        assert!(model.layers.is_empty());
        let gru = keras::gru(&mut model.tensors, prefix, &keras::Options::default()).unwrap();
        assert_eq!((gru.input_size(), gru.output_size()), (3, 2), "{file}");
        assert_eq!(model.tensors.len(), 2, "{file}");
    }
}

/// What `max_shard_size` divides: two layers are in two files each.
#[test]
fn shards_are_put_together() {
    let path = path("keras3_shards.weights.json");
    let shards = Shards::open(&path).unwrap();
    let file = weights::open(&path).unwrap();
    assert_eq!(file.format(), Format::KerasShards);
    let layers = file.layers().unwrap();
    assert_eq!(
        layers.iter().map(|layer| &*layer.prefix).collect::<Vec<_>>(),
        ["layers/gru/cell/", "layers/lstm/cell/"]
    );
    let [x, outputs] = expected("keras3_shards.npz");
    for mut tensors in [shards.tensors::<f32>().unwrap(), file.tensors().unwrap()] {
        let options = &keras::Options::default();
        let hidden = run(&keras::lstm(&mut tensors, "layers/lstm/cell/", options).unwrap(), &x);
        let hidden = run(&keras::gru(&mut tensors, "layers/gru/cell/", options).unwrap(), &hidden);
        check_close("shards", &dense(&mut tensors, "layers/dense/", &hidden), &outputs);
        tensors.finish().unwrap();
    }
}

#[test]
fn shards_that_do_not_belong_together_are_refused() {
    let list = String::from_utf8(fixture("keras3_shards.weights.json")).unwrap();
    let names = [0, 1, 2].map(|shard| format!("keras3_shards_0000{shard}.weights.h5"));
    let files = names.each_ref().map(|name| fixture(name));
    let refused = |list: &str, order: &[usize], part: &str| {
        let shards: Vec<(&str, &[u8])> = order.iter().zip(&names).map(|(&at, name)| (&**name, &*files[at])).collect();
        let error = keras::read_shards::<f32>(list.as_bytes(), &shards).err().unwrap_or_else(|| panic!("{part}"));
        assert!(matches!(error, Error::InvalidFile { format: "Keras", .. }), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    };
    refused(&list, &[0, 1], "shard \"keras3_shards_00002.weights.h5\": it is missing");
    refused(
        &list,
        &[1, 1, 2],
        "shard \"keras3_shards_00000.weights.h5\": it has \"/layers/gru/cell/vars\", which the list",
    );
    refused(&list, &[0, 0, 2], "shard \"keras3_shards_00001.weights.h5\": \"layers/lstm/cell/kernel\" is in another");
    let more = list
        .replace("/layers/dense/vars", "/layers/dense/vars\": \"keras3_shards_00000.weights.h5\", \"/layers/b/vars");
    refused(&more, &[0, 1, 2], "shard \"keras3_shards_00000.weights.h5\": it lacks \"/layers/dense/vars\"");
    refused("{\"weight_map\": {}}", &[], "its list names no shards");
    refused("{}", &[], "its configuration cannot be read: missing field `weight_map`");
    for name in ["../../secret.weights.h5", "a\\\\b.weights.h5", "c:d.weights.h5", "/etc/passwd", ""] {
        let list = format!("{{\"weight_map\": {{\"/layers/dense/vars\": [\"{name}\"]}}}}");
        refused(&list, &[], "its list must name shards beside it, such as \"model_00000.weights.h5\", but names");
    }
    let alone = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("alone.weights.json");
    std::fs::write(&alone, list).unwrap();
    let error = Shards::open(&alone).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if path.ends_with("keras3_shards_00000.weights.h5")), "{error}");
}

#[test]
fn sixteen_bits() {
    let bytes = fixture("keras2_small.keras");
    let mut tensors = keras::read_model::<f32>(&bytes).unwrap().tensors;
    assert!(tensors.take("layers/dense/kernel").unwrap().iter().any(|&number| number != 0.0));
    let bytes = fixture("keras3_bfloat16.weights.h5");
    let mut tensors = keras::read_model::<f32>(&bytes).unwrap().tensors;
    assert_eq!(tensors.take("layers/dense/kernel").unwrap(), array![[1.0], [-2.0], [0.5]].into_dyn());
    assert_eq!(tensors.take("layers/dense/bias").unwrap(), array![0.25].into_dyn());
}

/// It is x / 6 + 0.5 there, and was 0.2 x + 0.5 in Keras 2.
#[test]
fn the_hard_sigmoid_of_keras_3() {
    let bytes = fixture("keras3_hard.keras");
    let mut model = keras::read_model::<f32>(&bytes).unwrap();
    let [x, outputs] = expected("keras3_hard.npz");
    check_close("hard", &layer(&mut model, "hard", &x), &outputs);
}

/// GRUs and LSTMs had hard sigmoid gates before 2.3, and GRUs reset before the product before 3.
#[test]
fn what_a_configuration_does_not_say_is_its_versions_default() {
    let config = br#"{"class_name":"Sequential","config":{"layers":[
        {"class_name":"GRU","config":{"name":"gru","activation":"tanh"}}]}}"#;
    for (version, gates, reset_after) in [
        ("2.2.4", Activation::HardSigmoid, false),
        ("2.3.0", Activation::Sigmoid, false),
        ("2.15.0", Activation::Sigmoid, false),
        ("3.0.0", Activation::Sigmoid, true),
    ] {
        let bytes = zip(&[
            ("metadata.json", format!("{{\"keras_version\":\"{version}\"}}").into_bytes()),
            ("config.json", config.to_vec()),
            ("model.weights.h5", fixture("keras2.weights.h5")),
        ]);
        let model = keras::read_model::<f32>(&bytes).unwrap();
        let expected = keras::Options::default().recurrent_activation(gates).reset_after(reset_after);
        assert_eq!(model.layer("gru").unwrap().options().unwrap(), expected, "{version}");
    }
}

#[test]
fn what_no_cell_has_is_named() {
    for (file, name, part) in [
        ("keras2_small.keras", "gru", "activation is \"softplus\", which no cell has"),
        ("keras3_small.keras", "gru", "activation is \"softplus\", which no cell has"),
    ] {
        let bytes = fixture(file);
        let model = keras::read_model::<f32>(&bytes).unwrap();
        let error = model.layer(name).unwrap().options().unwrap_err();
        assert!(matches!(error, Error::NotImportable { .. }), "{error}");
        assert!(error.to_string().contains(part), "{error}");
        let error = model.layer("lstm_1").unwrap_err();
        assert_eq!(error.to_string(), format!("weight \"lstm_1\" is missing: the recurrent layers are \"{name}\""));
    }
}

#[test]
fn compressed_weights_are_read_up_to_a_limit() {
    let bytes = fixture("compressed.weights.h5");
    let mut tensors = keras::read_model::<f32>(&bytes).unwrap().tensors;
    assert_eq!(tensors.take("layers/dense/kernel").unwrap(), array![[1.0], [-2.0], [0.5]].into_dyn());
    let error = tensors.take("layers/dense/bias").unwrap_err();
    assert!(matches!(error, Error::TensorDtype { .. }), "{error}");
    let bytes = fixture("bomb.weights.h5");
    let error = keras::read_model::<f32>(&bytes).expect_err("it is refused");
    assert!(error.to_string().contains("it would take much more memory than its length"), "{error}");
}

#[test]
fn other_files_are_refused() {
    for (bytes, part) in [
        (vec![], "invalid Keras file"),
        (b"PK\x05\x06".to_vec(), "the zip archive cannot be read"),
        (fixture("gru.pt"), "the archive has no \"metadata.json\""),
        (fixture("keras2.h5")[..2000].to_vec(), "invalid Keras file"),
        (fixture("cycle.weights.h5"), "its groups are nested deeper than 64, or contain themselves"),
        (fixture("chunk.weights.h5"), "it would take much more memory than its length"),
        (fixture("filters.weights.h5"), "its filters must be of [1, 2, 3, 32000], each once, but are [1, 1]"),
        (fixture("overflow.weights.h5"), "takes more bytes than memory has addresses for"),
    ] {
        let error = keras::read_model::<f32>(&bytes).err().unwrap_or_else(|| panic!("{part}: it was read"));
        assert!(matches!(error, Error::InvalidFile { format: "Keras", .. }), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
}

/// The configuration counts the layers: one whose weights are not in the file is named.
#[test]
fn a_layer_without_weights_is_named() {
    let mut bytes = fixture("keras2.h5");
    assert!(keras::read_model::<f32>(&bytes).unwrap().missing.is_empty());
    let (name, other) = (br#""name": "gate""#, br#""name": "gone""#);
    let at = bytes.windows(name.len()).position(|window| window == name).unwrap();
    bytes[at..at + name.len()].copy_from_slice(other);
    let model = keras::read_model::<f32>(&bytes).unwrap();
    assert_eq!(model.missing, ["gone"]);
    assert_eq!(model.layers.len(), 8);
    let message = "weight \"gone\" is missing: the configuration lists this layer, but the file has no weights of it";
    assert_eq!(model.layer("gone").unwrap_err().to_string(), message);
    let path = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("gone.h5");
    std::fs::write(&path, &bytes).unwrap();
    let layers = rnn_cell::weights::open(&path).unwrap().layers().unwrap();
    let line = "\"gone\" Keras layer\n    not imported: the configuration lists it, but the file has no weights of it";
    assert_eq!(layers.last().unwrap().to_string(), line);
}
