//! Initial states: their axes are the same, whatever the node's.

use crate::wire::{graph, integer, model, node, tensor, text};
use ndarray::{Array3, arr3};
use rnn_cell::Error;
use rnn_cell::weights::onnx::Model;

/// The initial h and c of an LSTM of 2 units that has these attributes and starts from the value `h`.
fn starts(directions: usize, layout: i64, nodes: &[Vec<u8>], h: &[Vec<u8>]) -> Result<[Option<Array3<f32>>; 2], Error> {
    let zeros = |name: &str| tensor(name, &[directions as i64, 8, 2], &vec![0; directions * 64]);
    let direction = if directions == 2 { "bidirectional" } else { "reverse" };
    let attributes = [
        [text(1, "direction"), text(4, direction)].concat(),
        [text(1, "layout"), integer(3, layout)].concat(),
        [text(1, "hidden_size"), integer(3, 2)].concat(),
    ];
    let lstm = node("LSTM", "lstm", &["x", "w", "r", "", "", "h", "h"], &["y"], &attributes);
    let file = model(&graph(&[nodes, &[lstm]].concat(), &[&[zeros("w"), zeros("r")], h].concat()));
    let model = Model::from_bytes(file)?;
    let node = model.only_node()?;
    assert_eq!(node.batch_major(), layout == 1);
    Ok([node.initial_h()?, node.initial_c()?])
}

fn numbers(name: &str, dims: &[i64]) -> Vec<u8> {
    let count = dims.iter().product::<i64>() as usize;
    let numbers: Vec<u8> = (0..count).flat_map(|number| (number as f32).to_le_bytes()).collect();
    tensor(name, dims, &numbers)
}

#[test]
fn states_of_a_batch_major_node_have_directions_first() {
    let found = starts(2, 0, &[], &[numbers("h", &[2, 3, 2])]).unwrap();
    let expected = arr3(&[[[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]], [[6.0, 7.0], [8.0, 9.0], [10.0, 11.0]]]);
    assert_eq!(found, [(); 2].map(|()| Some(expected.clone())));
    // (batch, directions, hidden).
    let found = starts(2, 1, &[], &[numbers("h", &[3, 2, 2])]).unwrap();
    let expected = arr3(&[[[0.0, 1.0], [4.0, 5.0], [8.0, 9.0]], [[2.0, 3.0], [6.0, 7.0], [10.0, 11.0]]]);
    assert_eq!(found, [(); 2].map(|()| Some(expected.clone())));
    assert!(found[0].as_ref().unwrap().is_standard_layout());
    let found = starts(1, 1, &[], &[numbers("h", &[3, 1, 2])]).unwrap();
    assert_eq!(found[0].as_ref().unwrap(), arr3(&[[[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]]));
}

#[test]
fn an_expanded_state_has_every_direction() {
    let expand = || [node("Expand", "", &["given", "shape of x"], &["h"], &[])];
    let expanded = |directions, layout, dims: &[i64]| {
        let [h, c] = starts(directions, layout, &expand(), &[numbers("given", dims)]).unwrap();
        assert_eq!(h, c);
        h.unwrap()
    };
    // One state for all rows and directions, with as many axes as there are or fewer.
    for layout in [0, 1] {
        for dims in [&[1, 1, 2][..], &[1, 2], &[2]] {
            assert_eq!(expanded(2, layout, dims), arr3(&[[[0.0, 1.0]], [[0.0, 1.0]]]), "{layout}, {dims:?}");
            assert_eq!(expanded(1, layout, dims), arr3(&[[[0.0, 1.0]]]), "{layout}, {dims:?}");
        }
    }
    // One for each row, and one for each direction.
    let both = [[0.0, 1.0], [2.0, 3.0]];
    assert_eq!(expanded(2, 0, &[1, 2, 2]), arr3(&[both, both]));
    assert_eq!(expanded(2, 0, &[2, 1, 2]), arr3(&[[[0.0, 1.0]], [[2.0, 3.0]]]));
    assert_eq!(expanded(2, 1, &[2, 1, 2]), arr3(&[both, both]));
    assert_eq!(expanded(2, 1, &[1, 2, 2]), arr3(&[[[0.0, 1.0]], [[2.0, 3.0]]]));
}

#[test]
fn states_of_other_shapes_are_refused() {
    for (directions, layout, dims) in
        [(1, 0, &[2, 3, 2][..]), (2, 0, &[3, 2, 2]), (2, 1, &[2, 3, 2]), (1, 0, &[3, 2]), (1, 0, &[1, 1, 3, 2])]
    {
        let error = starts(directions, layout, &[], &[numbers("h", dims)]).unwrap_err().to_string();
        let expected = match layout {
            0 => format!("({directions}, batch, hidden)"),
            _ => format!("(batch, {directions}, hidden)"),
        };
        assert_eq!(error, format!("tensor \"lstm/initial_h\" has shape {dims:?}, but must have {expected}"));
    }
}
