//! Bytes that may be anything, as a file of PyTorch.

#![no_main]

mod bounded;

use bounded::bounded;
use libfuzzer_sys::fuzz_target;
use rnn_cell::weights::pytorch;

// An operation of one byte may add a value of 16 bytes or a node of 32 to a list that doubles when it is full. What is
// compressed may become 1 MiB and 32 times the file, tensors copy as much of it, and an f16 of it becomes four times that.
// A compressed pickle may have 64 KiB.
fuzz_target!(|bytes: &[u8]| {
    let len = bytes.len();
    let (mut peak, mut single) = (80 * len, 64 * len);
    if bytes.starts_with(b"PK") {
        peak += 6 * ((1 << 20) + 32 * len) + 80 * (64 << 10);
        single += 4 * ((1 << 20) + 32 * len);
    }
    bounded(peak, single, || {
        let Ok(mut tensors) = pytorch::read_tensors::<f64>(bytes) else { return };
        let names: Vec<String> = tensors.names().map(String::from).collect();
        names.iter().for_each(|name| drop(tensors.take(name)));
    });
});
