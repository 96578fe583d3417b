//! Bytes that may be anything, as an index and a data file of TensorFlow's checkpoints, one after the other.

#![no_main]

mod bounded;

use bounded::bounded;
use libfuzzer_sys::fuzz_target;
use rnn_cell::weights::tensorflow;

// Keys that share beginnings may be 16 times as long as the index.
fuzz_target!(|bytes: &[u8]| {
    // The length of the index comes first.
    let Some((len, files)) = bytes.split_first_chunk() else { return };
    let Some((index, data)) = files.split_at_checked(u16::from_le_bytes(*len).into()) else { return };
    let (peak, single) = (40 * bytes.len(), 16 * bytes.len());
    bounded(peak, single, || {
        let Ok(mut tensors) = tensorflow::read_checkpoint::<f64>(index, &[data]) else { return };
        let names: Vec<String> = tensors.names().map(String::from).collect();
        names.iter().for_each(|name| drop(tensors.take(name)));
    });
});
