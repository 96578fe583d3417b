//! The way from a node back to its constants: it ends, and tensors on it have few axes.

use crate::hostile::{node_refused, read, weights};
use crate::wire::{graph, integer, model, node, tensor, text};
use rnn_cell::weights::onnx::Model;

#[test]
fn circles_and_long_ways_of_expands_end() {
    let expand = |from: &str, to: &str| node("Expand", "", &[from, "s"], &[to], &[]);
    let [w, r] = weights();
    let tensors = [w, r, tensor("h", &[1, 1, 1], &2.0_f32.to_le_bytes())];
    let start = |nodes: &[Vec<u8>], h: &str| {
        let rnn = node("RNN", "rnn", &["x", "w", "r", "", "", h], &["y"], &[]);
        let file = model(&graph(&[nodes, &[rnn]].concat(), &tensors));
        assert_eq!(read(&file).unwrap(), 1);
        Model::from_bytes(&file).unwrap().only_node().unwrap().initial_h::<f32>()
    };
    let refused = "more than 64 operators, or a circle of them, lie before its weights";
    for circle in [vec![expand("a", "a")], vec![expand("a", "b"), expand("b", "a")]] {
        let message = start(&circle, "a").unwrap_err().to_string();
        assert!(message.ends_with(refused), "{message}");
    }
    let way = |count: usize| {
        let name = |k: usize| if k == 0 { "h".to_string() } else { format!("h{k}") };
        let nodes: Vec<Vec<u8>> = (0..count).map(|k| expand(&name(k), &name(k + 1))).collect();
        start(&nodes, &name(count))
    };
    assert_eq!(way(64).unwrap().unwrap(), ndarray::arr3(&[[[2.0]]]));
    for count in [65, 50_000] {
        let message = way(count).unwrap_err().to_string();
        assert!(message.ends_with(refused), "{count}: {message}");
    }
    // An operator of this name in another domain may do anything.
    let other = [expand("h", "a"), text(7, "own")].concat();
    assert_eq!(start(&[other], "a").unwrap(), None);
}

#[test]
fn more_axes_than_a_tensor_has_are_refused() {
    let [w, r] = weights();
    let integers = |name: &str, list: &[i64]| {
        let list: Vec<u8> = list.iter().flat_map(|&number| integer(8, number)).collect();
        [text(1, name), list].concat()
    };
    let refused = |op: &str, attributes: &[Vec<u8>]| {
        let nodes = [node(op, "", &["w"], &["a"], attributes)];
        node_refused(&nodes, &[w.clone(), r.clone()], ["a", "r"])
    };
    let axes: Vec<i64> = (0..65).collect();
    for (op, name, list) in [
        ("Reshape", "shape", vec![1; 65]),
        ("Unsqueeze", "axes", axes.clone()),
        ("Squeeze", "axes", vec![0; 65]),
        ("Transpose", "perm", axes.clone()),
        ("Slice", "starts", vec![0; 65]),
    ] {
        let message = refused(op, &[integers(name, &list)]);
        assert!(message.ends_with(&format!("{op} has {name} of 65 numbers, but at most 64 are read")), "{message}");
    }
    // 62 axes and the three that are there.
    let message = refused("Unsqueeze", &[integers("axes", &axes[..62])]);
    assert!(message.ends_with("Unsqueeze makes 65 axes, but at most 64 are read"), "{message}");
    let nodes = [
        node("Unsqueeze", "", &["w"], &["a"], &[integers("axes", &axes[..61])]),
        node("Transpose", "", &["a"], &["b"], &[]),
        node("Reshape", "", &["b"], &["c"], &[integers("shape", &[1; 64])]),
        node("Squeeze", "", &["c"], &["d"], &[integers("axes", &axes[3..64])]),
        node("RNN", "rnn", &["x", "d", "r"], &["y"], &[]),
    ];
    assert_eq!(read(&model(&graph(&nodes, &[w.clone(), r.clone()]))).unwrap(), 1);
}
