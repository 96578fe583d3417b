//! Bytes that may be anything, as a file of Keras.

#![no_main]

mod bounded;

use bounded::bounded;
use libfuzzer_sys::fuzz_target;
use rnn_cell::weights::keras;

// What is compressed may become 1 MiB and 32 times the file, is copied once for the HDF5 reader and once for its tensors,
// and an f16 of it becomes four times that. A compressed configuration may have 64 KiB.
fuzz_target!(|bytes: &[u8]| {
    let len = bytes.len();
    let (mut peak, single) = (5 * ((1 << 20) + 34 * len), 4 * ((1 << 20) + 33 * len));
    if bytes.starts_with(b"PK") {
        peak += 2 * ((1 << 20) + 32 * len) + 80 * (len + (64 << 10));
    }
    bounded(peak, single, || {
        let read = if bytes.starts_with(b"{") {
            // A list, a zero, and a shard.
            let (list, shard) = bytes.split_at(bytes.iter().position(|&byte| byte == 0).unwrap_or(len));
            keras::read_shards::<f64>(list, &[("k.weights.h5", shard.get(1..).unwrap_or_default())])
        } else {
            keras::read_model(bytes).map(|model| model.tensors)
        };
        let Ok(mut tensors) = read else { return };
        let names: Vec<String> = tensors.names().map(String::from).collect();
        names.iter().for_each(|name| drop(tensors.take(name)));
    });
});
