//! Bytes that may be anything, as a file of NumPy.

#![no_main]

mod bounded;

use bounded::bounded;
use libfuzzer_sys::fuzz_target;
use rnn_cell::weights::npz;

// What is compressed may become 1 MiB and 32 times the file, and an f16 of it four times that.
fuzz_target!(|bytes: &[u8]| {
    let (peak, single) = ((1 << 20) * 5 + 170 * bytes.len(), (1 << 20) * 4 + 130 * bytes.len());
    bounded(peak, single, || {
        let Ok(mut tensors) = npz::read_tensors::<f64>(bytes) else { return };
        let names: Vec<String> = tensors.names().map(String::from).collect();
        names.iter().for_each(|name| drop(tensors.take(name)));
    });
});
