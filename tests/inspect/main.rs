//! What `examples/inspect` says of every fixture, and that its lines load what they name.

mod fixtures;
#[allow(dead_code)]
#[path = "../../examples/inspect.rs"]
mod inspect;
#[rustfmt::skip]
mod pasted;

use fixtures::{ERRORS, LAYERS};
use rnn_cell::weights::{self, File};
use std::collections::BTreeSet;
use std::path::Path;

/// Opened by a path from the folder of the package, where tests run.
fn open(fixture: &str) -> Result<File, rnn_cell::Error> {
    weights::open(Path::new("fixtures").join(fixture))
}

#[test]
fn every_fixture_is_in_a_list() {
    let mut found = BTreeSet::new();
    for folder in ["", "onnx/", "readers/"] {
        for entry in std::fs::read_dir(Path::new("fixtures").join(folder)).unwrap() {
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
