//! Bytes that may be anything, as a file of Keras.

#![no_main]

mod bounded;

use bounded::bounded;
use libfuzzer_sys::fuzz_target;
use rnn_cell::weights::keras;

// What is compressed may become 1 MiB and 32 times the file, and an f16 of it four times that.
fuzz_target!(|bytes: &[u8]| {
    let (peak, single) = ((1 << 20) * 5 + 170 * bytes.len(), (1 << 20) * 4 + 130 * bytes.len());
    bounded(peak, single, || {
        let Ok(mut tensors) = keras::read_model::<f64>(bytes).map(|model| model.tensors) else { return };
        let names: Vec<String> = tensors.names().map(String::from).collect();
        names.iter().for_each(|name| drop(tensors.take(name)));
    });
});
