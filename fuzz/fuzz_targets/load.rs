//! Bytes that may be anything, as a weight file.

#![no_main]

mod bounded;

use bounded::bounded;
use libfuzzer_sys::fuzz_target;
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::train::Adam;
use rnn_cell::weights::{Tensors, flax, keras, onnx, pytorch, safetensors, tensorflow};
use rnn_cell::{BasicRnn, Error, Float, Gru, Lstm, ParametersMut};
use safetensors_library::{Dtype, SafeTensors};
use std::sync::LazyLock;

/// Bytes in use for one of the file. One of the header becomes at most 11 of metadata, in half-empty nodes of a tree, or 7
/// of a list of tensors. One of the numbers, an f16 read as f64, becomes 4 of a cell's weights, 4 of the same packed and 4
/// of the tensor that is being copied.
const PEAK_FACTOR: usize = 12;
/// Bytes of one allocation for one of the file: an f16 read as f64.
const WIDENED: usize = 4;
/// Packing fills up each row of a kernel to whole vectors of 64 bytes, one for each of up to four gates. A cell of a single
/// unit is little else.
const PANELS: usize = 4 * 64;

/// Opening a file takes no allocation beyond the file's size.
fn opened<T>(bytes: &[u8], open: impl FnOnce() -> T) -> T {
    bounded(PEAK_FACTOR * bytes.len(), bytes.len(), open)
}

/// What `seeds/` holds the parameters of.
struct Models {
    stack: Vec<Lstm<f32>>,
    rnn: BasicRnn<f32>,
    gru: Gru<f64>,
    adam: Adam<f32>,
}

static MODELS: LazyLock<Models> = LazyLock::new(|| {
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(1);
    let rnn = BasicRnn::new(1, 1, rng);
    Models {
        stack: vec![Lstm::new(1, 1, rng), Lstm::new(1, 1, rng)],
        adam: Adam::builder().build(&rnn).expect("TensorFlow's options are in range"),
        rnn,
        gru: Gru::new(1, 1, rng),
    }
});

fuzz_target!(|bytes: &[u8]| {
    LazyLock::force(&MODELS);
    let Models { stack, rnn, gru, adam } = &*MODELS;
    load(bytes, stack);
    load(bytes, rnn);
    load(bytes, gru);
    load(bytes, adam);
    let _ = opened(bytes, || safetensors::read_metadata(bytes));
    let Ok(tensors) = opened(bytes, || safetensors::read_tensors::<f64>(bytes)) else { return };
    compare_with_library(bytes, tensors.clone());
    let rows: usize = tensors.names().map(|name| rows(&tensors, name)).sum();
    let import = |importer: &dyn Fn(&mut Tensors<'_, f64>) -> Result<(), Error>| {
        let (peak, single) = (PEAK_FACTOR * bytes.len() + PANELS * rows, WIDENED * bytes.len() + PANELS * rows);
        let _ = bounded(peak, single, || importer(&mut tensors.clone()));
    };
    import(&|t| pytorch::rnn(t, "", &pytorch::Options::default()).map(drop));
    import(&|t| pytorch::lstm(t, "").map(drop));
    import(&|t| pytorch::bidirectional_lstm(t, "lstm.").map(drop));
    import(&|t| pytorch::gru(t, "").map(drop));
    import(&|t| keras::lstm(t, "", &keras::Options::default()).map(drop));
    import(&|t| keras::gru(t, "", &keras::Options::default()).map(drop));
    import(&|t| tensorflow::lstm(t, "", &tensorflow::Options::default()).map(drop));
    import(&|t| tensorflow::gru(t, "", &tensorflow::Options::default()).map(drop));
    import(&|t| onnx::lstm(t, "", &onnx::Options::default()).map(drop));
    import(&|t| onnx::bidirectional_gru(t, "", &onnx::Options::default()).map(drop));
    import(&|t| flax::lstm(t, "").map(drop));
    import(&|t| flax::gru(t, "").map(drop));
    import(&|t| {
        let names: Vec<String> = t.names().map(String::from).collect();
        names.iter().try_for_each(|name| t.take(name).map(drop))
    });
});

/// Rows of kernels that a tensor may become: either axis of a matrix, for each direction where these are the first axis.
fn rows(tensors: &Tensors<'_, f64>, name: &str) -> usize {
    let shape = tensors.shape(name).unwrap_or_default();
    match shape {
        _ if shape.contains(&0) || tensors.check(name, shape).is_err() => 0,
        [directions, a, b] => directions * (a + b),
        _ => shape.iter().sum(),
    }
}

/// Loads by parameter name: either all is written or nothing.
fn load<E: Float, P: ParametersMut<E> + Clone>(bytes: &[u8], model: &P) {
    let mut loaded = model.clone();
    if opened(bytes, || safetensors::from_bytes(&mut loaded, bytes).is_err()) {
        assert_eq!(safetensors::to_bytes(&loaded), safetensors::to_bytes(model));
    }
}

/// What is read here is a file to the library too, and holds the same tensors.
fn compare_with_library(bytes: &[u8], mut tensors: Tensors<'_, f64>) {
    let names: Vec<String> = tensors.names().map(String::from).collect();
    let arrays: Result<Vec<_>, _> = names.iter().map(|name| tensors.take(name)).collect();
    // A type that is not read here may be one that the library does not know.
    let Ok(arrays) = arrays else { return };
    let file = SafeTensors::deserialize(bytes).expect("the library reads what is read here");
    assert_eq!(file.len(), names.len());
    for (name, array) in names.iter().zip(arrays) {
        let theirs = file.tensor(name).expect("the library finds what is found here");
        assert_eq!(theirs.shape(), array.shape());
        let same = |(ours, theirs): (&f64, f64)| *ours == theirs || ours.is_nan() && theirs.is_nan();
        assert!(match theirs.dtype() {
            Dtype::F64 =>
                array.iter().zip(theirs.data().as_chunks().0.iter().map(|b| f64::from_le_bytes(*b))).all(same),
            Dtype::F32 => {
                array.iter().zip(theirs.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b).into())).all(same)
            }
            _ => true,
        });
    }
}
