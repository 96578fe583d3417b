//! The way from a node back to its constants: it ends, and tensors on it have few axes.

use crate::hostile::{read, weights};
use crate::wire::{graph, model, node, tensor, text};
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
