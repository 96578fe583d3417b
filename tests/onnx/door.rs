//! One door: formats told from bytes, layers recognized, and each loaded by the function that its line names.

#[allow(dead_code)]
#[path = "../../examples/inspect.rs"]
mod inspect;

use crate::models::path;
use rnn_cell::weights::{self, Format, Layer, Tensors, flax, keras, onnx, pytorch, tensorflow};
use rnn_cell::{Error, RnnCell};
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// A zip archive of empty files, with its list behind other bytes, and a comment.
fn zip(names: &[&str], far: bool) -> Vec<u8> {
    let mut bytes = [b"PK\x03\x04", &[0; 60][..], b"PK\x01\x02", b"no entry"].concat();
    let start = bytes.len();
    for name in names {
        let mut entry = [b"PK\x01\x02", &[0; 42][..]].concat();
        entry[28] = name.len() as u8;
        entry[30] = 3;
        bytes.extend([&entry, name.as_bytes(), b"ext"].concat());
    }
    let place = if far {
        let record = bytes.len() as u64;
        bytes.extend([b"PK\x06\x06", &[0; 44][..], &(start as u64).to_le_bytes()].concat());
        bytes.extend([b"PK\x06\x07", &[0; 4][..], &record.to_le_bytes(), &[0; 4]].concat());
        u32::MAX
    } else {
        start as u32
    };
    bytes.extend([b"PK\x05\x06", &[0; 12][..], &place.to_le_bytes(), b"\x07\0comment"].concat());
    bytes
}

#[test]
fn formats_are_told_from_bytes() {
    for far in [false, true] {
        assert_eq!(Format::of(&zip(&["model/data.pkl", "model/data/0"], far)), Some(Format::Pytorch));
        assert_eq!(Format::of(&zip(&["metadata.json", "model.weights.h5"], far)), Some(Format::Keras));
        assert_eq!(Format::of(&zip(&["a.npy", "b.npy"], far)), Some(Format::Npz));
        assert_eq!(Format::of(&zip(&["readme.txt"], far)), None);
        let whole = zip(&["a.npy"], far);
        for len in 0..whole.len() {
            assert_eq!(Format::of(&whole[..len]).filter(|&format| format != Format::Npz), None);
        }
    }
    assert_eq!(Format::of(b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."), Some(Format::Pytorch));
    assert_eq!(Format::of(b"\x80\x02}q\x00."), None);
    // The same number in later pickles: of protocol 4 on, in a frame.
    let number = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
    let frame = b"\x95\x0d\0\0\0\0\0\0\0";
    for (start, is_pytorch) in [
        (&b"\x80\x03"[..], true),
        (&[&b"\x80\x04"[..], frame].concat(), true),
        (&[&b"\x80\x05"[..], frame].concat(), true),
        (b"\x80\x06", false),
        (b"\x81\x03", false),
        (&[&b"\x80\x04"[..], &frame[..8]].concat(), false),
    ] {
        let whole = [start, number].concat();
        assert_eq!(Format::of(&whole), is_pytorch.then_some(Format::Pytorch), "{whole:x?}");
        (0..whole.len() - 1).for_each(|len| assert_eq!(Format::of(&whole[..len]), None, "{whole:x?}, {len} bytes"));
    }
    // An ONNX model without a producer: its own version, small, large or negative, then a text or the graph.
    for (bytes, is_onnx) in [
        (&b"\x08\x0a\x28\x01\x3a\0"[..], true),
        (b"\x08\x0a\x28\x80\x01\x32\0", true),
        (b"\x08\x0a\x28\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x3a\0", true),
        (b"\x08\x0a\x28\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x3a\0", false),
        (b"\x08\x0a\x28\x01", false),
        (b"\x08\x0a\x28\x80", false),
        (b"\x08\x0a\x28\x01\x28\x01\x3a\0", false),
        (b"\x08\0\x28\x01\x3a\0", false),
        (b"\x08\x0a\x29\x01\x3a\0", false),
    ] {
        assert_eq!(Format::of(bytes), is_onnx.then_some(Format::Onnx), "{bytes:x?}");
    }
    assert_eq!(Format::of(b"\x89HDF\r\n\x1a\n\0\0"), Some(Format::Hdf5));
    let list = b"{\n \"weight_map\": {\"/layers/dense/vars\": [\"model_00000.weights.h5\"]}}";
    assert_eq!(Format::of(list), Some(Format::KerasShards));
    // Other libraries' lists of shards, which are not read.
    assert_eq!(Format::of(b"{\"weight_map\": {\"a\": \"model-00001-of-00002.safetensors\"}}"), None);
    let index = [&[0; 40][..], &0xdb47_7524_8b80_fb57_u64.to_le_bytes()].concat();
    assert_eq!(Format::of(&index), Some(Format::TensorFlow));
    for (name, format) in [
        ("keras_f32.safetensors", Format::Safetensors),
        ("onnx/attributes.onnx", Format::Onnx),
        ("onnx/torch_lstm.onnx", Format::Onnx),
        ("onnx/torch_dynamo_lstm.onnx", Format::Onnx),
        ("onnx/quantized.onnx", Format::Onnx),
    ] {
        assert_eq!(Format::of(&std::fs::read(fixture(name)).unwrap()), Some(format), "{name}");
    }
    for bytes in [&b""[..], b"{}", b"\x93NUMPY", b"#!/bin/sh\n", &[0xff; 64], &[0; 64]] {
        assert_eq!(Format::of(bytes), None);
    }
}

#[test]
fn what_cannot_be_opened_is_named() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let unknown = folder.join("unknown.bin");
    std::fs::write(&unknown, b"#!/bin/sh").unwrap();
    let error = weights::open(&unknown).unwrap_err().to_string();
    let end = "unknown.bin\" has 9 bytes, begins with [23, 21, 2f, 62, 69, 6e, 2f, 73], and is none of: an HDF5 file, a \
               Keras archive, a list of Keras shards, a PyTorch file, a NumPy archive, a TensorFlow checkpoint, a safetensors file, an ONNX model";
    assert!(error.starts_with("invalid weight file: ") && error.ends_with(end), "{error}");
    assert!(matches!(weights::open(&folder), Err(Error::NotRegularFile { .. })));
    assert!(matches!(weights::open(folder.join("nothing")), Err(Error::Io { .. })));
    let broken = folder.join("broken.onnx");
    std::fs::write(&broken, b"\x08\x0a\x3a\x7f").unwrap();
    assert!(matches!(weights::open(&broken), Err(Error::InvalidFile { format: "ONNX", .. })));
}

/// Calls the function that the layer's line names. Returns the sizes of the first cell, and the number of layers.
fn load(layer: &Layer, t: &mut Tensors<'_, f32>) -> (usize, usize, usize) {
    fn of<C: RnnCell>(cell: &C, layers: usize) -> (usize, usize, usize) {
        (cell.input_size(), cell.output_size(), layers)
    }
    let prefix = &*layer.prefix;
    let (call, rest) = layer.load.split_once("(&mut tensors, ").unwrap();
    let (variable, call) = call.rsplit_once(" = ").unwrap();
    assert!(rest.starts_with(&format!("{prefix:?}")) && rest.ends_with(")?;"), "{}", layer.load);
    let stack = |cells: usize| {
        assert_eq!(variable, "let cells");
        cells
    };
    match call {
        "pytorch::rnn" => {
            pytorch::rnn(t, prefix, &Default::default()).map(|c| of(&c.cells()[0], stack(c.cells().len())))
        }
        "pytorch::lstm" => pytorch::lstm(t, prefix).map(|c| of(&c.cells()[0], stack(c.cells().len()))),
        "pytorch::gru" => pytorch::gru(t, prefix).map(|c| of(&c.cells()[0], stack(c.cells().len()))),
        "pytorch::bidirectional_rnn" => {
            pytorch::bidirectional_rnn(t, prefix, &Default::default()).map(|c| of(&c.fw[0], stack(c.bw.len())))
        }
        "pytorch::bidirectional_lstm" => {
            pytorch::bidirectional_lstm(t, prefix).map(|c| of(&c.fw[0], stack(c.bw.len())))
        }
        "pytorch::bidirectional_gru" => pytorch::bidirectional_gru(t, prefix).map(|c| of(&c.fw[0], stack(c.bw.len()))),
        "keras::simple_rnn" => keras::simple_rnn(t, prefix, &Default::default()).map(|c| of(&c, 1)),
        "keras::lstm" => keras::lstm(t, prefix, &Default::default()).map(|c| of(&c, 1)),
        "keras::gru" => keras::gru(t, prefix, &Default::default()).map(|c| of(&c, 1)),
        "tensorflow::basic_rnn" => tensorflow::basic_rnn(t, prefix, &Default::default()).map(|c| of(&c, 1)),
        "tensorflow::lstm" => tensorflow::lstm(t, prefix, &Default::default()).map(|c| of(&c, 1)),
        "tensorflow::gru" => tensorflow::gru(t, prefix, &Default::default()).map(|c| of(&c, 1)),
        "flax::simple" => flax::simple(t, prefix).map(|c| of(&c, 1)),
        "flax::lstm" => flax::lstm(t, prefix).map(|c| of(&c, 1)),
        "flax::gru" => flax::gru(t, prefix).map(|c| of(&c, 1)),
        "onnx::rnn" => onnx::rnn(t, prefix, &Default::default()).map(|c| of(&c, 1)),
        "onnx::lstm" => onnx::lstm(t, prefix, &Default::default()).map(|c| of(&c, 1)),
        "onnx::gru" => onnx::gru(t, prefix, &Default::default()).map(|c| of(&c, 1)),
        "onnx::bidirectional_rnn" => onnx::bidirectional_rnn(t, prefix, &Default::default()).map(|c| of(&c.fw, 1)),
        "onnx::bidirectional_lstm" => onnx::bidirectional_lstm(t, prefix, &Default::default()).map(|c| of(&c.fw, 1)),
        "onnx::bidirectional_gru" => onnx::bidirectional_gru(t, prefix, &Default::default()).map(|c| of(&c.fw, 1)),
        "onnx::dynamic_quantize_lstm" => onnx::dynamic_quantize_lstm(t, prefix, &Default::default()).map(|c| of(&c, 1)),
        "onnx::bidirectional_dynamic_quantize_lstm" => {
            onnx::bidirectional_dynamic_quantize_lstm(t, prefix, &Default::default()).map(|c| of(&c.fw, 1))
        }
        other => panic!("{other}"),
    }
    .unwrap_or_else(|error| panic!("{}: {error}", layer.load))
}

/// Every layer of a fixture is found, its line loads it, and its tensors are those that this takes.
#[test]
fn the_lines_load_what_they_name() {
    for (name, count) in [
        ("pytorch_f32", 8),
        ("keras_f32", 8),
        ("tensorflow_f32", 6),
        ("onnx_f32", 7),
        ("onnx_int8", 2),
        ("flax_f32", 4),
    ] {
        let file = weights::open(fixture(&format!("{name}.safetensors"))).unwrap();
        assert_eq!(file.format(), Format::Safetensors);
        let layers = file.layers().unwrap();
        let prefixes: Vec<&str> = layers.iter().map(|layer| &*layer.prefix).collect();
        assert_eq!(layers.len(), count, "{name}: {prefixes:?}");
        for layer in layers {
            let mut tensors = file.tensors::<f32>().unwrap();
            let all = tensors.len();
            let (input, output, stacked) = load(&layer, &mut tensors);
            let projected = layer.options.contains("projected");
            assert_eq!((input, stacked), (layer.input_size, layer.layers), "{layer}");
            assert_eq!(output != layer.hidden_size, projected, "{layer}");
            assert!(!layer.tensors.iter().any(|name| tensors.contains(name)), "{layer}");
            assert_eq!(all - tensors.len(), layer.tensors.len(), "{layer}");
        }
    }
}

#[test]
fn tensors_of_other_layers_are_no_layers() {
    let mut tensors = Tensors::<f32>::new();
    for name in ["dense/kernel", "kernel", "R", "a.weight_ih_l0", "b/recurrent_kernel", "gates/kernel", "x/h/kernel"] {
        tensors.insert(name, ndarray::Array2::zeros((5, 7)));
    }
    tensors.insert("lstm_cell/kernel", ndarray::Array2::zeros((2, 8)));
    tensors.insert("W", ndarray::Array3::zeros((0, 0, 0)));
    assert_eq!(weights::layers(&tensors), []);
}

#[test]
fn inspect_lists_a_model() {
    let described = |path: &Path| inspect::described(&weights::open(path).unwrap()).unwrap();
    let text = described(&path("refused.onnx"));
    assert!(text.starts_with(
        "an ONNX model, 10 recurrent layers\n\n\"clip\" ONNX LSTM, 3 to 4, Sigmoid and Tanh\n    not imported: clip"
    ));
    assert_eq!(text.matches("not imported: ").count(), 10, "{text}");
    let text = described(&path("nested.onnx"));
    let lines = "\"in_function\" ONNX RNN, 3 to 4, reverse, Tanh, in function \"layer\" of layer \"call.in_function\"\n    \
                 let cell = model.node(\"in_function\")?.reverse_rnn::<f32>()?;\n";
    assert!(text.contains(lines), "{text}");
    let text = described(&path("torch_gru.onnx"));
    assert!(text.starts_with("an ONNX model, 1 recurrent layer\n"), "{text}");
    assert!(text.contains("linear_before_reset=true, a constant initial state\n"), "{text}");
    let text = described(&path("quantized.onnx"));
    assert!(text.contains("DynamicQuantizeLSTM, 3 to 4, bidirectional, Sigmoid and Tanh\n"), "{text}");
    let text = described(&fixture("pytorch_f32.safetensors"));
    assert!(text.starts_with("a safetensors file, 8 recurrent layers\n"), "{text}");
    let lines = "\"lstm_proj.\" PyTorch LSTM, 3 to 5, 2 layers, bidirectional, projected to 2\n    let cells = \
                 pytorch::bidirectional_lstm(&mut tensors, \"lstm_proj.\")?;\n";
    assert!(text.contains(lines), "{text}");
    assert!(text.contains("\nother tensors\ngru/outputs "), "{text}");
}
