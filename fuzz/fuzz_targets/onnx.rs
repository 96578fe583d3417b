//! Bytes that may be anything, as an ONNX model.

#![no_main]

mod bounded;

use bounded::bounded;
use libfuzzer_sys::fuzz_target;
use rnn_cell::weights::onnx::Model;

/// Bytes in use for each byte of the file while it is opened: its list of names.
const LIST: usize = 12;
/// Bytes in use for each byte of the file while cells are made: copies on the way, the tensors, a cell and its packed
/// weights. A code of 8 bits becomes an `f32`.
const CELLS: usize = 64;
/// The nodes that are listed, at most 1024, with their names.
const NODES: usize = 4 << 20;
/// Packing fills up each row of a kernel to whole vectors of 64 bytes, for each of up to four gates.
const PANELS: usize = 4 * 64;

fuzz_target!(|bytes: &[u8]| {
    let len = bytes.len();
    let list = LIST * len + NODES;
    let Ok(model) = bounded(list, list, || Model::from_bytes(bytes)) else { return };
    let _ = bounded(list, list, || model.tensors::<f32>().map(drop));
    let Ok(nodes) = bounded(list, list, || model.nodes()) else { panic!("the file was opened, so its nodes are listed") };
    let each = (CELLS + PANELS) * len + NODES;
    for node in nodes {
        let _ = bounded(each, each, || node.place());
        let _ = bounded(each, each, || node.initial_h::<f32>());
        let cells: [bool; 9] = [
            bounded(each, each, || node.lstm::<f32>().is_ok()),
            bounded(each, each, || node.reverse_lstm::<f32>().is_ok()),
            bounded(each, each, || node.bidirectional_lstm::<f32>().is_ok()),
            bounded(each, each, || node.gru::<f32>().is_ok()),
            bounded(each, each, || node.reverse_gru::<f32>().is_ok()),
            bounded(each, each, || node.bidirectional_gru::<f32>().is_ok()),
            bounded(each, each, || node.rnn::<f32>().is_ok()),
            bounded(each, each, || node.reverse_rnn::<f32>().is_ok()),
            bounded(each, each, || node.bidirectional_rnn::<f32>().is_ok()),
        ];
        let made = cells.into_iter().filter(|&made| made).count();
        assert!(made <= 1, "a node is of one kind and one direction");
        assert!(made == 0 || node.refused().is_none(), "no cell does what is refused");
    }
});
