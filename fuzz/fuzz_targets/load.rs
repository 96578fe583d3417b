//! Bytes that may be anything, as a weight file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::weights::{Tensors, flax, keras, onnx, pytorch, safetensors, tensorflow};
use rnn_cell::{Activation, BasicRnn, Error, Float, Gru, Lstm, Parameters};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Counts bytes in use and the most of them.
struct Counting;
static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is the system allocator's own; the counters only watch.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(live, Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Runs `load` and fails if it takes more memory than `factor` times the file.
fn bounded<T>(bytes: &[u8], factor: usize, load: impl FnOnce() -> T) -> T {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let result = load();
    let (peak, allowed) = (PEAK.load(Relaxed) - before, factor * bytes.len() + (64 << 10));
    assert!(peak <= allowed, "{peak} bytes for a file of {}", bytes.len());
    result
}

/// What `seeds/` holds the parameters of.
struct Models {
    stack: Vec<Lstm<f32>>,
    rnn: BasicRnn<f32>,
    gru: Gru<f64>,
}

static MODELS: LazyLock<Models> = LazyLock::new(|| {
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(1);
    Models {
        stack: vec![Lstm::new(1, 1, rng), Lstm::new(1, 1, rng)],
        rnn: BasicRnn::new(1, 1, rng),
        gru: Gru::new(1, 1, rng),
    }
});

/// What parsing may take for a byte of the file: a header of `[0,0,…]` grows to numbers of the parser's own.
const PARSING: usize = 64;
/// What cells may take for a byte of the file: f16 widened to f64, kept twice, panels of a single unit padded to a vector.
const CELLS: usize = 4 * 2 * 16 + PARSING;

fuzz_target!(|bytes: &[u8]| {
    LazyLock::force(&MODELS);
    let Models { stack, rnn, gru } = &*MODELS;
    load(bytes, stack);
    load(bytes, rnn);
    load(bytes, gru);
    let _ = bounded(bytes, PARSING, || safetensors::read_metadata(bytes));
    if bounded(bytes, PARSING, || safetensors::read_tensors::<f32>(bytes).is_err()) {
        return;
    }
    import(bytes, |t| pytorch::rnn(t, "", Activation::Tanh).map(drop));
    import(bytes, |t| pytorch::lstm(t, "").map(drop));
    import(bytes, |t| pytorch::bidirectional_lstm(t, "lstm.").map(drop));
    import(bytes, |t| pytorch::gru(t, "").map(drop));
    import(bytes, |t| keras::lstm(t, "", &keras::Options::default()).map(drop));
    import(bytes, |t| keras::gru(t, "", &keras::Options::default()).map(drop));
    import(bytes, |t| tensorflow::lstm(t, "", |builder| builder).map(drop));
    import(bytes, |t| tensorflow::gru(t, "", |builder| builder).map(drop));
    import(bytes, |t| onnx::lstm(t, "", &onnx::Options::default()).map(drop));
    import(bytes, |t| onnx::bidirectional_gru(t, "", &onnx::Options::default()).map(drop));
    import(bytes, |t| flax::lstm(t, "").map(drop));
    import(bytes, |t| flax::gru(t, "").map(drop));
    import(bytes, |t| {
        let names: Vec<String> = t.names().map(String::from).collect();
        names.iter().try_for_each(|name| t.take(name).map(drop))
    });
});

/// Loads by parameter name: either all is written or nothing.
fn load<E: Float, P: Parameters<E> + Clone>(bytes: &[u8], model: &P) {
    let mut loaded = model.clone();
    if bounded(bytes, PARSING, || safetensors::from_bytes(&mut loaded, bytes).is_err()) {
        assert_eq!(safetensors::to_bytes(&loaded), safetensors::to_bytes(model));
    }
}

fn import(bytes: &[u8], importer: impl FnOnce(&mut Tensors<'_, f64>) -> Result<(), Error>) {
    let _ = bounded(bytes, CELLS, || {
        safetensors::read_tensors::<f64>(bytes).and_then(|mut tensors| importer(&mut tensors))
    });
}
