//! Files that are broken, or made to cost more than they are: named errors, no panic, bounded memory.

use crate::allocator::measured;
use crate::models::path;
use crate::wire::{bytes, graph, integer, model, node, tensor, text};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::Error;
use rnn_cell::weights::onnx::Model;

const FIXTURES: [&str; 9] = [
    "attributes",
    "constants",
    "external",
    "nested",
    "quantized",
    "refused",
    "torch_dynamo_lstm",
    "torch_gru",
    "torch_rnn",
];

/// Bytes in use for each byte of the file while it is opened: a list of names, and both a list and its nodes' names.
const LIST: usize = 12;
/// Bytes in use for each byte of the file while cells are made: copies on the way, the tensors, a cell and its packed
/// weights.
const CELLS: usize = 64;
/// Whatever the file: the most nodes that are listed, messages, padded panels.
const FIXED: usize = 1 << 20;

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(path(&format!("{name}.onnx"))).unwrap()
}

/// Reads all of a file, in bounded memory. `Ok` tells how many cells were made.
pub fn read(file: &[u8]) -> Result<usize, Error> {
    let (opened, _, peak) =
        measured(|| Model::from_bytes(file).and_then(|model| model.nodes().map(|nodes| nodes.len())));
    assert!(peak <= LIST * file.len() + FIXED, "{peak} bytes to open a file of {}", file.len());
    let count = opened?;
    let (cells, _, peak) = measured(|| {
        let model = Model::from_bytes(file).unwrap();
        let _ = model.tensors::<f32>();
        let mut cells = 0;
        for node in model.nodes().unwrap() {
            let _ = (node.place(), node.sizes(), node.initial_h::<f32>(), node.initial_c::<f32>());
            cells += usize::from(node.lstm::<f32>().is_ok());
            cells += usize::from(node.gru::<f32>().is_ok());
            cells += usize::from(node.rnn::<f32>().is_ok());
            cells += usize::from(node.bidirectional_lstm::<f32>().is_ok());
            cells += usize::from(node.bidirectional_gru::<f32>().is_ok());
            cells += usize::from(node.bidirectional_rnn::<f32>().is_ok());
        }
        cells
    });
    assert!(peak <= CELLS * file.len() + FIXED, "{peak} bytes for {count} nodes of a file of {}", file.len());
    Ok(cells)
}

fn refused(file: &[u8]) -> String {
    match read(file) {
        Err(error @ Error::InvalidFile { format: "ONNX", .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

/// The error of the only node, an `RNN` that reads these values.
pub fn node_refused(nodes: &[Vec<u8>], tensors: &[Vec<u8>], [w, r]: [&str; 2]) -> String {
    let rnn = node("RNN", "rnn", &["x", w, r], &["y"], &[]);
    let file = model(&graph(&[nodes, &[rnn]].concat(), tensors));
    assert_eq!(read(&file).unwrap(), 0);
    let model = Model::from_bytes(&file).unwrap();
    model.node("rnn").unwrap().rnn::<f32>().unwrap_err().to_string()
}

/// W and R of a simple network of one unit.
pub fn weights() -> [Vec<u8>; 2] {
    ["w", "r"].map(|name| tensor(name, &[1, 1, 1], &1.0_f32.to_le_bytes()))
}

#[test]
fn truncated_files_are_refused_wherever_they_end() {
    for name in FIXTURES {
        let file = fixture(name);
        let whole = read(&file);
        let mut shortest = file.len();
        // Every length of the small files.
        for len in (0..file.len()).step_by(1 + file.len() / 3000) {
            match read(&file[..len]) {
                Err(error) => assert!(matches!(error, Error::InvalidFile { format: "ONNX", .. }), "{name}: {error}"),
                // Only what follows the graph is missing: functions and the operators' versions.
                Ok(cells) => {
                    shortest = shortest.min(len);
                    assert!(cells <= *whole.as_ref().unwrap(), "{name}");
                }
            }
        }
        assert!(shortest > file.len() / 2, "{name}: {shortest} of {} bytes are a model", file.len());
    }
}

#[test]
fn files_with_random_changes_are_read_or_refused() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(18);
    let (mut read_whole, mut refused) = (0, 0);
    for name in FIXTURES {
        let file = fixture(name);
        for _ in 0..300 {
            let mut changed = file.clone();
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..changed.len());
                changed[at] = rng.random();
            }
            match read(&changed) {
                Ok(_) => read_whole += 1,
                Err(_) => refused += 1,
            }
        }
    }
    // Most changes meet a weight, or a length.
    assert!(read_whole > 100 && refused > 100, "{read_whole} and {refused}");
}

#[test]
fn what_is_no_model_is_refused() {
    for (file, reason) in [
        (&b""[..], "it has no graph"),
        (b"\x08\x0a", "it has no graph"),
        (b"\x3a\x05ab", "field 7 must have 5 bytes, but only 2 are left"),
        (b"\x3b", "field 7 has wire type 3, which is not read"),
        (b"\x00\x00", "a field has number 0"),
        (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "an integer has more than 64 bits"),
        (b"\x08\x80", "it ends within a number"),
        (b"\x38\x01", "a number was found where a message or text belongs"),
        (b"\x3a\x04\x0a\x02\x1a\x01", "field 3 must have 1 bytes, but only 0 are left"),
    ] {
        assert_eq!(refused(file), format!("invalid ONNX file: {reason}"));
    }
    let bad_name = model(&graph(&[bytes(3, b"\xff"), node("RNN", "", &["x", "w", "r"], &[], &[])], &[]));
    assert_eq!(read(&bad_name).unwrap(), 0);
    let bad_name = model(&graph(&[bytes(2, b"\xff")], &[]));
    assert_eq!(refused(&bad_name), "invalid ONNX file: a name is not UTF-8");
    let without = model(&graph(&[node("LSTM", "a", &["x"], &["y"], &[])], &[]));
    assert_eq!(refused(&without), "invalid ONNX file: node \"a\" (LSTM) has no W and R");
    let [w, _] = weights();
    assert_eq!(refused(&model(&graph(&[], &[w.clone(), w]))), "invalid ONNX file: two values are named \"w\"");
}

#[test]
fn circles_and_long_ways_end() {
    let identity = |from: &str, to: &str| node("Identity", "", &[from], &[to], &[]);
    let [w, r] = weights();
    let tensors = [w, r];
    let circle = node_refused(&[identity("a", "b"), identity("b", "a")], &tensors, ["a", "r"]);
    assert!(circle.ends_with("more than 64 operators, or a circle of them, lie before its weights"), "{circle}");
    let long: Vec<Vec<u8>> = (0..64).map(|k| identity(&format!("w{k}"), &format!("w{}", k + 1))).collect();
    let way = |from: usize| [&[identity("w", &format!("w{from}"))], &long[from..]].concat();
    let too_long = node_refused(&way(0), &tensors, ["w64", "r"]);
    assert!(too_long.contains("more than 64 operators"), "{too_long}");
    let rnn = node("RNN", "rnn", &["x", "w64", "r"], &["y"], &[]);
    assert_eq!(read(&model(&graph(&[way(1), vec![rnn]].concat(), &tensors))).unwrap(), 1);
    // Twice as much with every step: by numbers, or by bytes.
    let double: Vec<Vec<u8>> = (0..40)
        .map(|k| {
            let (from, to) = (format!("w{k}"), format!("w{}", k + 1));
            node("Concat", "", &[&from, &from], &[&to], &[[text(1, "axis"), integer(3, 0)].concat()])
        })
        .collect();
    for (len, reason) in [(1, "more than 4096 values"), (50_000, "more than 16 times the model")] {
        let first = tensor("w0", &[1, len, 1], &vec![0; 4 * len as usize]);
        let message = node_refused(&double, &[first, tensors[1].clone()], ["w40", "r"]);
        assert!(message.contains(reason), "{message}");
    }
}

#[test]
fn shapes_that_overflow_or_lie_are_named() {
    let [_, r] = weights();
    let refused = |w: Vec<u8>| node_refused(&[], &[w, r.clone()], ["w", "r"]);
    let max = i64::MAX;
    let message = refused(tensor("w", &[max, max, 4], &[0; 4]));
    assert!(message.contains("takes more bytes than memory has addresses for"), "{message}");
    let message = refused(tensor("w", &[1, -1, 1], &[0; 4]));
    assert!(message.contains("tensor \"w\" has an axis of length -1"), "{message}");
    let message = refused(tensor("w", &[1; 65], &[0; 4]));
    assert!(message.contains("tensor \"w\" has 65 axes, but may have 64"), "{message}");
    let message = refused(tensor("w", &[1, 1_000_000, 1_000_000], &[0; 4]));
    assert!(message.contains("of F32 takes 4000000000000 bytes, but has 4"), "{message}");
    let message = refused(tensor("w", &[1, 0, max], &[]));
    assert!(message.contains("tensor \"rnn/W\" has shape [1, 0, 9223372036854775807]"), "{message}");
    // A list of integers that claims to be longer, and types that are not read.
    let typed = |dtype: i64, data: Vec<u8>| [integer(1, 1 << 40), integer(2, dtype), text(8, "w"), data].concat();
    let message = refused(typed(10, integer(5, 7)));
    assert!(message.contains("[1099511627776] of F16 takes 2199023255552 bytes, but has 0"), "{message}");
    let message = refused(typed(22, bytes(9, &[0])));
    assert!(message.contains("tensor \"w\" is INT4"), "{message}");
    let message = refused(typed(99, bytes(9, &[0])));
    assert!(message.contains("of a type that ONNX lacks"), "{message}");
}

#[test]
fn lists_of_hardly_anything_take_a_small_multiple() {
    let many = |field: &[u8], count: usize| field.repeat(count);
    let file = |graph: Vec<u8>| model(&graph);
    // Nodes, initializers and inputs without anything, and outputs of one node with short names.
    assert_eq!(read(&file(many(&bytes(1, b""), 500_000))).unwrap(), 0);
    assert_eq!(read(&file(many(&bytes(5, b""), 500_000))).unwrap(), 0);
    assert_eq!(read(&file(many(&bytes(11, b""), 500_000))).unwrap(), 0);
    let outputs: Vec<u8> = (0..250_000_u32).flat_map(|k| text(2, &format!("{k:x}"))).collect();
    assert_eq!(read(&file(bytes(1, &outputs))).unwrap(), 0);
    let rnn = bytes(1, &node("RNN", "", &["x", "w", "r"], &["y"], &[]));
    assert!(refused(&file(many(&rnn, 1025))).contains("two values are named \"y\""));
    let rnn = bytes(1, &node("RNN", "", &["x", "w", "r"], &[], &[]));
    assert_eq!(read(&file(many(&rnn, 1024))).unwrap(), 0);
    assert!(refused(&file(many(&rnn, 1025))).contains("more than 1024 recurrent nodes"));
    let long = node("RNN", &"n".repeat(1025), &["x", "w", "r"], &[], &[]);
    assert!(refused(&file(bytes(1, &long))).contains("more than 1024 bytes"));
    // Activations and their numbers without end.
    let endless = [
        [text(1, "activations"), many(&text(9, "tanh"), 100_000)].concat(),
        [text(1, "activation_alpha"), bytes(7, &[0; 400_000])].concat(),
    ];
    let rnn = node("RNN", "rnn", &["x", "w", "r"], &["y"], &endless);
    assert_eq!(read(&file(graph(&[rnn], &weights()))).unwrap(), 0);
}

#[test]
fn graphs_and_calls_inside_one_another_are_limited() {
    let mut inner = graph(&[node("RNN", "rnn", &["x", "w", "r"], &["y"], &[])], &weights());
    for _ in 0..31 {
        inner = graph(&[node("If", "", &["c"], &[], &[[text(1, "then_branch"), bytes(6, &inner)].concat()])], &[]);
    }
    assert_eq!(read(&model(&inner)).unwrap(), 1);
    let deeper = graph(&[node("If", "", &["c"], &[], &[[text(1, "then_branch"), bytes(6, &inner)].concat()])], &[]);
    assert!(refused(&model(&deeper)).contains("more than 32 graphs or functions are inside one another"));

    let call = |name: &str| [node(name, "", &[], &[], &[]), text(7, "own")].concat();
    let function = |name: &str, calls: &[Vec<u8>]| {
        let nodes: Vec<u8> = calls.iter().flat_map(|call| bytes(7, call)).collect();
        bytes(25, &[text(1, name), text(10, "own"), nodes].concat())
    };
    // One that calls itself, and thirty of which each calls the next one four times.
    let circle = [model(&graph(&[call("f")], &[])), function("f", &[call("f")])].concat();
    assert!(refused(&circle).contains("more than 32 graphs or functions"));
    let mut file = model(&graph(&[call("f0")], &[]));
    for k in 0..30 {
        file.extend(function(&format!("f{k}"), &[(); 4].map(|()| call(&format!("f{}", k + 1)))));
    }
    assert!(refused(&file).contains("more than 10000000 fields"));
    // Few calls of a node whose attribute, or whose tensor, is a long list.
    let long = integer(8, 1).repeat(100_000);
    for attribute in [long.clone(), bytes(5, &long)] {
        let last = node("Constant", "", &[], &[], &[attribute]);
        let calls = graph(&vec![call("f"); 100], &[]);
        let file = [model(&calls), function("f", &[last])].concat();
        assert!(refused(&file).contains("more than 10000000 fields"));
    }
    let file = [model(&graph(&[], &[])), function("f", &[]).repeat(4097)].concat();
    assert!(refused(&file).contains("more than 4096 functions"));
}
