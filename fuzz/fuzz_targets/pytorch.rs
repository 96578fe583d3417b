//! Bytes that may be anything, as a file of PyTorch.

#![no_main]

mod bounded;

use bounded::bounded;
use libfuzzer_sys::fuzz_target;
use rnn_cell::weights::pytorch;

// An operation of one byte may add a value of 16 bytes or a node of 32 to a list that doubles when it is full.
fuzz_target!(|bytes: &[u8]| {
    let (peak, single) = (80 * bytes.len(), 64 * bytes.len());
    bounded(peak, single, || {
        let Ok(mut tensors) = pytorch::read_tensors::<f64>(bytes) else { return };
        let names: Vec<String> = tensors.names().map(String::from).collect();
        names.iter().for_each(|name| drop(tensors.take(name)));
    });
});
