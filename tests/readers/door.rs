//! The one door: `examples/inspect` lists what is in each file.

#[allow(dead_code)]
#[path = "../../examples/inspect.rs"]
mod inspect;

use crate::npz::{npy, zip};
use crate::{fixture, path};
use rnn_cell::weights::{self, npz};
use std::path::{Path, PathBuf};

fn described(path: &Path) -> Result<String, rnn_cell::Error> {
    weights::open(path).and_then(|file| inspect::described(&file))
}

/// What it says first, and the files that it says it of.
const FIRST_LINES: [(&str, &str); 14] = [
    (
        "a PyTorch file, 1 recurrent layer",
        "compressed.pt data_parallel.pt data_parallel_legacy.pt gru.pt gru_legacy.pt",
    ),
    ("a PyTorch file, 1 recurrent layer", "lstm.pt lstm_legacy.pt protocol4.pt"),
    ("a PyTorch file, 0 recurrent layers", "optimizer.pt optimizer_legacy.pt types.pt types_legacy.pt views.pt"),
    ("an HDF5 file, 9 recurrent layers", "keras2.h5 keras3.h5"),
    ("an HDF5 file, 2 recurrent layers", "keras2_cudnn.h5"),
    ("an HDF5 file, 1 recurrent layer", "keras2.weights.h5 keras2_only_weights.h5 keras3.weights.h5"),
    ("an HDF5 file, 0 recurrent layers", "compressed.weights.h5 keras3_bfloat16.weights.h5"),
    ("a Keras archive, 9 recurrent layers", "keras2.keras keras3.keras keras3_compressed.keras"),
    ("a Keras archive, 1 recurrent layer", "keras2_small.keras keras3_hard.keras keras3_small.keras"),
    ("a list of Keras shards, 2 recurrent layers", "keras3_shards.weights.json"),
    ("a NumPy archive, 4 recurrent layers", "flax_nnx.npz haiku.npz"),
    ("a NumPy archive, 0 recurrent layers", "arrays.npz compressed.npz keras3.npz types.npz versions.npz"),
    ("a TensorFlow checkpoint, 1 recurrent layer", "tf1.ckpt.index tf2.index"),
    ("a TensorFlow checkpoint, 0 recurrent layers", "tf_types.index"),
];

#[test]
fn inspect_lists_each_file() {
    for (first, names) in FIRST_LINES {
        for name in names.split(' ') {
            let text = described(&path(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(text.lines().next().unwrap(), first, "{name}");
        }
    }
    let text = described(&path("haiku.npz")).unwrap();
    for (prefix, kind, function) in [
        ("gru/gru/", "GRU", "gru"),
        ("lstm/lstm/", "LSTM", "lstm"),
        ("one_bias/vanilla_rnn/", "VanillaRNN", "vanilla_rnn"),
        ("vanilla_rnn/vanilla_rnn/", "VanillaRNN", "vanilla_rnn"),
    ] {
        let line = format!(
            "\n{prefix:?} Haiku {kind}, 3 to 2\n    let cell = haiku::{function}(&mut tensors, {prefix:?})?;\n"
        );
        assert!(text.contains(&line), "{line}{text}");
    }
    // The importers take all that their lines name.
    assert_eq!(text.split("other tensors").nth(1).unwrap().lines().filter(|line| line.contains('/')).count(), 4);
}

/// `torch.save(…, pickle_protocol=4, _use_new_zipfile_serialization=False)` begins with a frame.
#[test]
fn old_files_of_later_pickles_are_opened() {
    let layers = |path: &Path| described(path).unwrap().split_once("\n\"model.\" ").unwrap().1.to_string();
    let old = fixture("lstm_legacy.pt");
    for start in [&b"\x80\x03"[..], b"\x80\x04\x95\x0d\0\0\0\0\0\0\0"] {
        let later = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("later.pt");
        std::fs::write(&later, [start, &old[2..]].concat()).unwrap();
        assert_eq!(layers(&later), layers(&path("lstm_legacy.pt")));
    }
}

#[test]
fn what_is_refused_is_named() {
    for (name, part) in [
        ("bomb.pt", "at most 1392064 are read"),
        ("bomb.npz", "at most 1366976 are read"),
        ("bomb.weights.h5", "it would take much more memory than its length"),
        ("expanded.pt", "does not fit in a storage of 1 numbers"),
        ("module.pt", "\"torch.nn.modules.linear.Linear\" is not a class that tensors need"),
        ("structured.npz", "does not describe a plain array"),
        ("tf_partitioned.index", "it is partitioned: save it whole"),
        ("tf_v1.index", "the format since TensorFlow 0.12"),
        (
            "keras3_shards_00000.weights.h5",
            "\"keras3_shards_00000.weights.h5\" is one shard of several: open their list, \"keras3_shards.weights.json\"",
        ),
    ] {
        let error = described(&path(name)).err().unwrap_or_else(|| panic!("{name}: it was read"));
        assert!(error.to_string().contains(part), "{error}");
    }
    // A name alone is none of a shard.
    let alone = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("epoch_00003.weights.h5");
    std::fs::write(&alone, fixture("keras3.weights.h5")).unwrap();
    assert!(described(&alone).unwrap().starts_with("an HDF5 file, 1 recurrent layer"));
}

/// A tensor whose type is not read may claim any shape.
#[test]
fn sizes_that_overflow_are_no_layers() {
    let huge = 1_usize << (usize::BITS - 1);
    let array = |rows: usize, columns: usize| {
        npy(&format!("{{'descr': '>f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}"), &[])
    };
    for entries in [
        [("gates/kernel.npy", array(huge + 1, 4)), ("candidate/kernel.npy", array(1, huge))],
        [("w_i.npy", array(1, huge)), ("w_h.npy", array(huge, huge))],
        [("rnn/linear/w.npy", array(1, huge)), ("rnn/linear_1/w.npy", array(huge, 1))],
        [("lstm/linear/w.npy", array(huge, usize::MAX)), ("lstm/linear/b.npy", array(1, 1))],
        [("kernel.npy", array(huge, huge)), ("recurrent_kernel.npy", array(huge, usize::MAX))],
        [("weight_ih_l0.npy", array(huge, huge)), ("weight_hh_l0.npy", array(huge, usize::MAX))],
    ] {
        let bytes = zip(&entries);
        let tensors = npz::read_tensors::<f32>(&bytes).unwrap();
        assert_eq!(weights::layers(&tensors), [], "{:?}", entries[0].0);
    }
}
