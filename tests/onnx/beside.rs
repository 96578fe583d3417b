//! Constants whose numbers are in files beside the model, as
//! `onnx.save_model(…, save_as_external_data=True, convert_attribute=True)` moves them there.

use crate::wire::{bytes, graph, integer, model, node, text};
use rnn_cell::Error;
use rnn_cell::weights::onnx::Model;
use std::path::{Path, PathBuf};

const SHAPE: [i64; 3] = [1, 1, 1];

/// The attribute of this name: a number in a file.
fn attribute(name: &str, location: &str, offset: &str) -> Vec<u8> {
    let entry = |key: &str, value: &str| bytes(13, &[text(1, key), text(2, value)].concat());
    let entries = [entry("location", location), entry("offset", offset), entry("length", "4")].concat();
    let shape: Vec<u8> = SHAPE.iter().flat_map(|&len| integer(1, len)).collect();
    [text(1, name), bytes(5, &[shape, integer(2, 1), entries, integer(14, 1)].concat())].concat()
}

fn constant(to: &str, attribute: Vec<u8>) -> Vec<u8> {
    node("Constant", "", &[], &[to], &[attribute])
}

/// An `RNN` of the constants `w` and `r`.
fn rnn(name: &str) -> Vec<u8> {
    node("RNN", name, &["x", "w", "r"], &[], &[])
}

/// A folder of its own, with the numbers 0 to 4 in `numbers.bin`.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(folder.join("inner")).unwrap();
    let numbers: Vec<u8> = (0..5_u8).flat_map(|number| f32::from(number).to_le_bytes()).collect();
    std::fs::write(folder.join("inner/numbers.bin"), numbers).unwrap();
    folder.join("inner")
}

fn open(folder: &Path, file: &[u8]) -> Result<Model<'static>, Error> {
    let path = folder.join("model.onnx");
    std::fs::write(&path, file).unwrap();
    Model::open(path)
}

/// W and R of a node.
fn weights(model: &Model<'_>, name: &str) -> Vec<f32> {
    let cell = model.node(name).unwrap().rnn::<f32>().unwrap();
    cell.weights().kernel.iter().copied().collect()
}

#[test]
fn constants_beside_the_model_are_read_wherever_they_are() {
    let at = |to: &str, offset: &str| constant(to, attribute("value", "numbers.bin", offset));
    let inner = graph(&[at("w", "0"), at("r", "8"), rnn("inner")], &[]);
    let branch = [text(1, "then_branch"), bytes(6, &inner)].concat();
    // A function whose weights are its own, its caller's and its attribute's default.
    let referred = |name: &str| [text(1, "value"), text(21, name)].concat();
    let call = |attributes: &[Vec<u8>]| [node("f", "", &["x"], &[], attributes), text(7, "own")].concat();
    let nodes = [constant("w", referred("given")), constant("r", referred("default")), rnn("called")];
    let function = [
        [text(1, "f"), text(10, "own"), text(4, "x"), text(6, "given")].concat(),
        nodes.iter().flat_map(|node| bytes(7, node)).collect(),
        bytes(11, &attribute("default", "default.bin", "0")),
    ]
    .concat();
    let nodes = [
        at("w", "4"),
        at("r", "12"),
        rnn("outer"),
        node("If", "", &["c"], &[], &[branch]),
        call(&[attribute("given", "numbers.bin", "16")]),
        call(&[attribute("given", "given.bin", "0")]),
    ];
    let file = [model(&graph(&nodes, &[])), bytes(25, &function)].concat();
    let folder = folder("onnx_constants");
    for (name, number) in [("given.bin", 6.0_f32), ("default.bin", 7.0)] {
        std::fs::write(folder.join(name), number.to_le_bytes()).unwrap();
    }
    let model = open(&folder, &file).unwrap();
    for (name, numbers) in
        [("outer", [1.0, 3.0]), ("inner", [0.0, 2.0]), ("called", [4.0, 7.0]), ("called_1", [6.0, 7.0])]
    {
        assert_eq!(weights(&model, name), numbers, "{name}");
    }
    let error = Model::from_bytes(&file).unwrap().node("outer").unwrap().rnn::<f32>().unwrap_err().to_string();
    assert!(error.contains("are in the file \"numbers.bin\", which only `Model::open` reads"), "{error}");
}

#[test]
fn constants_are_read_from_the_models_folder_only() {
    let folder = folder("onnx_constants_outside");
    std::fs::write(folder.join("../outside.bin"), [0; 4]).unwrap();
    let one = |location: &str, offset: &str| {
        let nodes =
            [constant("w", attribute("value", location, offset)), constant("r", attribute("value", location, offset))];
        open(&folder, &model(&graph(&[&nodes[..], &[rnn("rnn")]].concat(), &[])))
    };
    for location in ["../outside.bin", "/outside.bin", "a/../../outside.bin", "", "../inner/numbers.bin"] {
        let error = one(location, "0").unwrap_err().to_string();
        assert!(error.ends_with("which is not in its folder"), "{location}: {error}");
    }
    assert!(matches!(one("missing.bin", "0"), Err(Error::Io { path, .. }) if path.ends_with("missing.bin")));
    assert!(matches!(one("../inner", "0"), Err(Error::InvalidFile { .. })));
    for offset in ["17", "18446744073709551615"] {
        let error = one("numbers.bin", offset).unwrap().node("rnn").unwrap().rnn::<f32>().unwrap_err().to_string();
        assert!(error.contains("4 bytes from byte"), "{error}");
    }
    let many = |count: usize| -> Vec<Vec<u8>> {
        (0..count).map(|k| constant(&format!("c{k}"), attribute("value", &format!("{k}.bin"), "0"))).collect()
    };
    let error = Model::from_bytes(model(&graph(&many(257), &[]))).unwrap_err().to_string();
    assert!(error.ends_with("its tensors are in more than 256 files"), "{error}");
    Model::from_bytes(model(&graph(&many(256), &[]))).unwrap();
    // A list of tensors, too.
    let [first, second] = ["a.bin", "b.bin"].map(|location| attribute("values", location, "0"));
    let tensor = &first[text(1, "values").len()..];
    let list = [[0x52].as_slice(), &tensor[1..], &second].concat();
    let error = open(&folder, &model(&graph(&[node("Other", "", &[], &["y"], &[list])], &[]))).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if path.ends_with("a.bin")), "{error}");
}
