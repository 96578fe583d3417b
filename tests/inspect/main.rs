//! What `examples/inspect` says of every fixture, and that its lines load what they name.

#[allow(dead_code)]
#[path = "../../examples/inspect.rs"]
mod inspect;
#[rustfmt::skip]
mod pasted;

use rnn_cell::weights::{self, File};
use std::collections::BTreeSet;
use std::path::Path;

/// Opened by a path from the folder of the package, where tests run.
fn open(fixture: &str) -> Result<File, rnn_cell::Error> {
    weights::open(Path::new("tests/fixtures").join(fixture))
}

/// The fixtures, and the kinds and sizes of their layers, in the order of the text.
const LAYERS: &[(&str, &[&str])] = &[
    ("flax_f32.safetensors", FLAX),
    ("flax_f64.safetensors", FLAX),
    ("keras_f32.safetensors", KERAS),
    ("keras_f64.safetensors", KERAS),
    (
        "onnx/attributes.onnx",
        &[
            "ONNX LSTM, 3 to 4",
            "ONNX LSTM, 3 to 4, reverse",
            "ONNX LSTM, 3 to 4, bidirectional",
            "ONNX GRU, 3 to 4",
            "ONNX GRU, 3 to 4",
            "ONNX GRU, 3 to 4, bidirectional",
            "ONNX RNN, 3 to 4",
            "ONNX RNN, 3 to 4, reverse",
            "ONNX RNN, 3 to 4, bidirectional",
            "ONNX RNN, 3 to 4, bidirectional",
            "ONNX LSTM, 3 to 4, bidirectional",
            "ONNX GRU, 3 to 4",
            "ONNX RNN, 3 to 4",
            "ONNX GRU, 3 to 4",
            "ONNX LSTM, 3 to 4",
        ],
    ),
    (
        "onnx/constants.onnx",
        &[
            "ONNX RNN, 3 to 4",
            "ONNX RNN, 3 to 4",
            "ONNX RNN, 3 to 4",
            "ONNX RNN, 3 to 4",
            "ONNX RNN, 3 to 4",
            "ONNX RNN, 3 to 4",
            "ONNX RNN, 3 to 4",
            "ONNX GRU, 3 to 4",
            "ONNX GRU, 3 to 4",
            "ONNX RNN, 3 to 4",
            "ONNX RNN, 3 to 4",
        ],
    ),
    ("onnx/external.onnx", &["ONNX GRU, 3 to 4, bidirectional"]),
    (
        "onnx/nested.onnx",
        &[
            "ONNX RNN, 3 to 4",
            "ONNX RNN, 3 to 4",
            "ONNX RNN, 3 to 4",
            "ONNX RNN, 3 to 4",
            "ONNX GRU, 3 to 4",
            "ONNX RNN, 3 to 4, reverse",
            "ONNX RNN, 3 to 4",
        ],
    ),
    ("onnx/outputs.safetensors", &[]),
    ("onnx/quantized.onnx", &["ONNX DynamicQuantizeLSTM, 3 to 4, bidirectional", "ONNX DynamicQuantizeLSTM, 3 to 4"]),
    (
        "onnx/refused.onnx",
        &[
            "ONNX LSTM, 3 to 4",
            "ONNX LSTM, 3 to 4",
            "ONNX LSTM, 3 to 4",
            "ONNX RNN, 3 to 4",
            "ONNX RNN, 3 to 4",
            "ONNX RNN, 3 to 4",
            "ONNX GRU, 3 to 4",
            "ONNX GRU, 3 to 4",
            // Weights that are not in the file have no sizes.
            "ONNX RNN, Tanh",
            "ONNX RNN, Tanh",
        ],
    ),
    ("onnx/torch_dynamo_lstm.onnx", &["ONNX LSTM, 3 to 4"]),
    ("onnx/torch_gru.onnx", &["ONNX GRU, 3 to 4"]),
    ("onnx/torch_lstm.onnx", &["ONNX LSTM, 3 to 4, bidirectional", "ONNX LSTM, 8 to 4, bidirectional"]),
    ("onnx/torch_rnn.onnx", &["ONNX RNN, 3 to 4, Relu"]),
    (
        "onnx_f32.safetensors",
        &[
            "ONNX GRU, 3 to 4",
            "ONNX GRU, 3 to 4, bidirectional",
            "ONNX LSTM, 3 to 4, peepholes",
            "ONNX LSTM, 3 to 4, bidirectional, peepholes",
            "ONNX LSTM, 3 to 4, no bias",
            "ONNX RNN, 3 to 4",
            "ONNX RNN, 3 to 4, bidirectional",
        ],
    ),
    ("onnx_int8.safetensors", &["ONNX DynamicQuantizeLSTM, 5 to 8", "ONNX DynamicQuantizeLSTM, 5 to 8, bidirectional"]),
    ("pytorch_f32.safetensors", PYTORCH),
    ("pytorch_f64.safetensors", PYTORCH),
    ("readers/arrays.npz", &[]),
    ("readers/compressed.npz", &[]),
    ("readers/compressed.pt", &["PyTorch LSTM, 3 to 2, 2 layers, bidirectional"]),
    ("readers/compressed.weights.h5", &[]),
    ("readers/data_parallel.pt", &["PyTorch GRU, 3 to 2"]),
    ("readers/data_parallel_legacy.pt", &["PyTorch GRU, 3 to 2"]),
    (
        "readers/flax_nnx.npz",
        &[
            "Flax nnx GRUCell, 3 to 2",
            "Flax LSTMCell, 3 to 2",
            "Flax nnx OptimizedLSTMCell, 3 to 2",
            "Flax nnx SimpleCell, 3 to 2",
        ],
    ),
    ("readers/gru.pt", &["PyTorch GRU, 3 to 2"]),
    ("readers/gru_legacy.pt", &["PyTorch GRU, 3 to 2"]),
    (
        "readers/haiku.npz",
        &["Haiku GRU, 3 to 2", "Haiku LSTM, 3 to 2", "Haiku VanillaRNN, 3 to 2", "Haiku VanillaRNN, 3 to 2"],
    ),
    ("readers/keras2.h5", KERAS_H5),
    ("readers/keras2.keras", KERAS_ARCHIVE),
    ("readers/keras2.npz", &[]),
    ("readers/keras2.weights.h5", &["Keras GRU, 3 to 2, reset_after=True"]),
    ("readers/keras2_cudnn.h5", &["Keras LSTM, 3 to 2", "Keras GRU, 2 to 2"]),
    ("readers/keras2_cudnn.npz", &[]),
    ("readers/keras2_only_weights.h5", &["Keras GRU, 3 to 2, reset_after=True"]),
    ("readers/keras2_small.keras", &["Keras GRU, 3 to 2"]),
    ("readers/keras3.h5", KERAS_H5),
    ("readers/keras3.keras", KERAS_ARCHIVE),
    ("readers/keras3.npz", &[]),
    ("readers/keras3.weights.h5", &["Keras GRU, 3 to 2, reset_after=True"]),
    ("readers/keras3_bfloat16.weights.h5", &[]),
    ("readers/keras3_compressed.keras", KERAS_ARCHIVE),
    ("readers/keras3_hard.keras", &["Keras LSTM, 3 to 2"]),
    ("readers/keras3_hard.npz", &[]),
    ("readers/keras3_shards.npz", &[]),
    ("readers/keras3_shards.weights.json", &["Keras GRU, 2 to 2, reset_after=True", "Keras LSTM, 3 to 2"]),
    ("readers/keras3_small.keras", &["Keras GRU, 3 to 2"]),
    ("readers/lstm.pt", &["PyTorch LSTM, 3 to 2, 2 layers, bidirectional"]),
    ("readers/lstm_legacy.pt", &["PyTorch LSTM, 3 to 2, 2 layers, bidirectional"]),
    ("readers/optimizer.pt", &[]),
    ("readers/optimizer_legacy.pt", &[]),
    ("readers/parametrizations.pt", &["PyTorch GRU, 3 to 2"]),
    ("readers/parametrizations_legacy.pt", &["PyTorch GRU, 3 to 2"]),
    ("readers/protocol4.pt", &["PyTorch GRU, 3 to 2"]),
    ("readers/tf1.ckpt.index", &["TensorFlow LSTMCell, 3 to 2, peepholes"]),
    ("readers/tf2.index", &["Keras GRU, 3 to 2, reset_after=True"]),
    ("readers/tf_types.index", &[]),
    ("readers/types.npz", &[]),
    ("readers/types.pt", &[]),
    ("readers/types_legacy.pt", &[]),
    ("readers/versions.npz", &[]),
    ("readers/views.pt", &[]),
    ("readers/views_legacy.pt", &[]),
    ("readers/weight_norm.pt", &["PyTorch LSTM, 3 to 2"]),
    ("readers/weight_norm_legacy.pt", &["PyTorch LSTM, 3 to 2"]),
    ("tensorflow_f32.safetensors", TENSORFLOW),
    ("tensorflow_f64.safetensors", TENSORFLOW),
];

const FLAX: &[&str] =
    &["Flax GRUCell, 3 to 4", "Flax LSTMCell, 3 to 4", "Flax LSTMCell, 3 to 4", "Flax SimpleCell, 3 to 4"];

const KERAS: &[&str] = &[
    "Keras LSTM, 3 to 4",
    "Keras LSTM, 3 to 4",
    "Keras GRU, 3 to 4, reset_after=True",
    "Keras GRU, 3 to 4, no bias, so that reset_after is not in the file",
    "Keras GRU, 3 to 4, reset_after=False",
    "Keras LSTM, 3 to 4",
    "Keras LSTM, 3 to 4, no bias",
    "Keras SimpleRNN, 3 to 4",
];

const KERAS_H5: &[&str] = &[
    "Keras LSTM, 2 to 2",
    "Keras LSTM, 2 to 2",
    "Keras LSTM, 3 to 2",
    "Keras LSTM, 3 to 2",
    "Keras GRU, 2 to 2",
    "Keras GRU, 4 to 2",
    "Keras GRU, 2 to 2",
    "Keras LSTM, 2 to 2",
    "Keras SimpleRNN, 2 to 2",
];

const KERAS_ARCHIVE: &[&str] = &[
    "Keras LSTM, 3 to 2",
    "Keras LSTM, 3 to 2",
    "Keras GRU, 4 to 2",
    "Keras GRU, 2 to 2",
    "Keras LSTM, 2 to 2",
    "Keras GRU, 2 to 2",
    "Keras LSTM, 2 to 2",
    "Keras LSTM, 2 to 2",
    "Keras SimpleRNN, 2 to 2",
];

const PYTORCH: &[&str] = &[
    "PyTorch GRU, 3 to 4, 3 layers",
    "PyTorch GRU, 3 to 4, 2 layers, bidirectional",
    "PyTorch GRU, 3 to 4, no bias",
    "PyTorch LSTM, 3 to 4, 2 layers, bidirectional",
    "PyTorch LSTM, 3 to 4, 2 layers, no bias",
    "PyTorch LSTM, 3 to 5, 2 layers, bidirectional, projected to 2",
    "PyTorch RNN, 3 to 4, its nonlinearity is not in the file",
    "PyTorch RNN, 3 to 4, 2 layers, bidirectional, its nonlinearity is not in the file",
];

const TENSORFLOW: &[&str] = &[
    "TensorFlow BasicRNNCell, 3 to 4",
    "TensorFlow GRUCell, 3 to 4",
    "TensorFlow GRUCell, 3 to 4",
    "TensorFlow LSTMCell, 3 to 4, peepholes, projected to 3",
    "TensorFlow LSTMCell, 3 to 4",
    "TensorFlow LSTMCell, 4 to 5",
];

/// Fixtures that are no weight files, parts of others, or refused.
const ERRORS: &[(&str, &str)] = &[
    ("losses.json", "is none of: "),
    ("onnx/external.bin", "is none of: "),
    ("optimizers.json", "is none of: "),
    ("readers/bomb.npz", "would become"),
    ("readers/bomb.pt", "would become"),
    ("readers/bomb.weights.h5", "would take much more memory"),
    ("readers/chunk.weights.h5", "would take much more memory"),
    ("readers/cycle.weights.h5", "nested deeper than 64, or contain themselves"),
    ("readers/expanded.pt", "does not fit in a storage"),
    ("readers/filters.weights.h5", "its filters must be of"),
    ("readers/keras3_shards_00000.weights.h5", "is one shard of several"),
    ("readers/keras3_shards_00001.weights.h5", "is one shard of several"),
    ("readers/keras3_shards_00002.weights.h5", "is one shard of several"),
    ("readers/module.pt", "is not a class that tensors need"),
    ("readers/overflow.weights.h5", "more bytes than memory has addresses for"),
    ("readers/sparse.pt", "is not a class that tensors need"),
    ("readers/structured.npz", "does not describe a plain array"),
    ("readers/tf1.ckpt.data-00000-of-00001", "is none of: "),
    ("readers/tf2.data-00000-of-00001", "is none of: "),
    ("readers/tf_partitioned.data-00000-of-00001", "is none of: "),
    ("readers/tf_partitioned.index", "it is partitioned"),
    ("readers/tf_types.data-00000-of-00002", "is none of: "),
    ("readers/tf_types.data-00001-of-00002", "is none of: "),
    ("readers/tf_v1.index", "not that of a tensor bundle"),
];

#[test]
fn every_fixture_is_in_a_list() {
    let mut found = BTreeSet::new();
    for folder in ["", "onnx/", "readers/"] {
        for entry in std::fs::read_dir(Path::new("tests/fixtures").join(folder)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                found.insert(format!("{folder}{}", entry.file_name().to_str().unwrap()));
            }
        }
    }
    let listed = LAYERS.iter().map(|(name, _)| *name).chain(ERRORS.iter().map(|(name, _)| *name));
    let listed: BTreeSet<String> = listed.map(String::from).collect();
    assert_eq!(found, listed);
}

#[test]
fn the_layers_of_every_fixture_are_named() {
    for (name, layers) in LAYERS {
        let text = inspect::described(&open(name).unwrap()).unwrap();
        println!("==== {name}\n{text}");
        let count = format!(", {} recurrent layer{}\n", layers.len(), if layers.len() == 1 { "" } else { "s" });
        assert!(text.lines().next().unwrap().ends_with(count.trim_end()), "{name}: {text}");
        let lines: Vec<&str> = text.lines().collect();
        // A layer's description precedes its line of Rust.
        let pairs = lines.windows(2).filter(|pair| pair[0].starts_with('"') && pair[1].starts_with("    "));
        let (described, loads): (Vec<&str>, Vec<&str>) =
            pairs.map(|pair| (pair[0].split_once("\" ").unwrap().1, pair[1].trim())).unzip();
        assert_eq!(described.len(), layers.len(), "{name}: {text}");
        for (found, expected) in described.iter().zip(*layers) {
            assert!(found.starts_with(expected), "{name}: {found} is not {expected}");
        }
        let loads = loads.iter().any(|load| !load.starts_with("not imported: "));
        assert_eq!(lines.iter().any(|line| line.starts_with("    use rnn_cell::")), loads, "{name}: {text}");
    }
}

#[test]
fn what_cannot_be_listed_says_why() {
    for (name, reason) in ERRORS {
        let error = open(name).and_then(|file| inspect::described(&file)).unwrap_err().to_string();
        assert!(error.contains(reason), "{name}: {error}");
    }
}

/// Names of TensorFlow before 1.2: the line loads the layer, which takes its tensors.
#[test]
fn old_names_of_tensorflow_are_known() -> Result<(), rnn_cell::Error> {
    use rnn_cell::weights::{Tensors, tensorflow};
    let mut tensors = Tensors::<f32>::new();
    for (name, rows, columns) in
        [("rnn/lstm_cell", 5, 8), ("rnn/basic_rnn_cell", 5, 2), ("gru_cell/gates", 5, 4), ("gru_cell/candidate", 5, 2)]
    {
        tensors.insert(format!("{name}/weights"), ndarray::Array2::zeros((rows, columns)));
        tensors.insert(format!("{name}/biases"), ndarray::Array1::zeros(columns));
    }
    let layers = weights::layers(&tensors);
    let lines: Vec<String> = layers.iter().map(ToString::to_string).collect();
    let expected = [
        "\"gru_cell/\" TensorFlow GRUCell, 3 to 2\n    \
         let cell = tensorflow::gru(&mut tensors, \"gru_cell/\", &Default::default())?;",
        "\"rnn/basic_rnn_cell/\" TensorFlow BasicRNNCell, 3 to 2\n    \
         let cell = tensorflow::basic_rnn(&mut tensors, \"rnn/basic_rnn_cell/\", &Default::default())?;",
        "\"rnn/lstm_cell/\" TensorFlow LSTMCell, 3 to 2\n    \
         let cell = tensorflow::lstm(&mut tensors, \"rnn/lstm_cell/\", &Default::default())?;",
    ];
    assert_eq!(lines, expected);
    let taken: usize = layers.iter().map(|layer| layer.tensors.len()).sum();
    assert_eq!(taken, tensors.len());
    tensorflow::gru(&mut tensors, "gru_cell/", &Default::default())?;
    tensorflow::basic_rnn(&mut tensors, "rnn/basic_rnn_cell/", &Default::default())?;
    tensorflow::lstm(&mut tensors, "rnn/lstm_cell/", &Default::default())?;
    tensors.finish()
}

/// A `Linear` of Haiku has the names that its LSTM has; the module's own name decides.
#[test]
fn other_modules_of_haiku_are_no_layers() {
    let mut tensors = weights::Tensors::<f32>::new();
    for (name, rows, columns) in [("mlp/linear", 5, 8), ("mlp/linear_1", 8, 8), ("head/linear", 5, 8), ("attn", 3, 6)] {
        tensors.insert(format!("{name}/w"), ndarray::Array2::zeros((rows, columns)));
        tensors.insert(format!("{name}/w_h"), ndarray::Array2::zeros((rows, columns)));
        tensors.insert(format!("{name}/w_i"), ndarray::Array2::zeros((rows, columns)));
    }
    assert_eq!(weights::layers(&tensors), []);
}
