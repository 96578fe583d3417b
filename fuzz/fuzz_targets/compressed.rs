//! Bytes that may be anything, as a file of a compressed cell.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ndarray::Array3;
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::weights::{onnx, safetensors};
use rnn_cell::{Compressed, Gru, GruReset, Lstm, MultiRnnCell, ParametersMut, RnnCell, WeightFormat, dynamic_rnn, ndarray};
use std::sync::LazyLock;

type Stack = MultiRnnCell<(Lstm<f32>, Gru<f32>)>;

static MODELS: LazyLock<[Compressed<Stack>; 2]> = LazyLock::new(|| {
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(1);
    let lstm = Lstm::builder(1, 2).num_proj(1).use_peepholes(true).build(rng).expect("sizes are above 0");
    let gru = Gru::<f32>::builder(1, 1).reset(GruReset::After).build(rng).expect("sizes are above 0");
    let stack = MultiRnnCell::new((lstm, gru)).expect("layers fit");
    [WeightFormat::Bf16, WeightFormat::Int8]
        .map(|format| Compressed::new(stack.clone(), format).expect("weights are finite"))
});

fuzz_target!(|bytes: &[u8]| {
    for model in &*MODELS {
        load(bytes, model);
    }
    if let Ok(mut tensors) = safetensors::read_tensors::<f32>(bytes) {
        let _ = onnx::dynamic_quantize_lstm(&mut tensors, "", &onnx::Options::default());
    }
});

/// Either all is written, and comes back, or nothing. What was written runs.
fn load<C: RnnCell<Elem = f32> + ParametersMut<f32> + Clone>(bytes: &[u8], model: &Compressed<C>) {
    let mut loaded = model.clone();
    let written = |cell: &Compressed<C>| safetensors::compressed_to_bytes(cell).expect("names differ");
    if safetensors::compressed_from_bytes(&mut loaded, bytes).is_err() {
        assert_eq!(written(&loaded), written(model));
        return;
    }
    let bytes = written(&loaded);
    let mut again = model.clone();
    safetensors::compressed_from_bytes(&mut again, &bytes).expect("what was written can be read");
    assert_eq!(written(&again), bytes);
    let x = Array3::ones((2, 3, model.input_size()));
    dynamic_rnn(&loaded, &x, None, None).expect("the shapes fit");
}
