//! What loading takes beside the file: the cell's own arrays and one tensor. Counted by an allocator, so one test alone.

use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::weights::{pytorch, safetensors};
use rnn_cell::{Lstm, RnnCell};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes in use, and the most since the last reset.
struct Counting {
    live: AtomicUsize,
    peak: AtomicUsize,
}

#[global_allocator]
static ALLOCATOR: Counting = Counting { live: AtomicUsize::new(0), peak: AtomicUsize::new(0) };

// SAFETY: every call is the system allocator's own; the counters only watch.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = self.live.fetch_add(layout.size(), Relaxed) + layout.size();
        self.peak.fetch_max(live, Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        self.live.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The result, bytes it keeps, and the most that were in use on the way, both above what was in use before.
fn measured<T>(run: impl FnOnce() -> T) -> (T, usize, usize) {
    let before = ALLOCATOR.live.load(Relaxed);
    ALLOCATOR.peak.store(before, Relaxed);
    let result = run();
    let kept = ALLOCATOR.live.load(Relaxed).saturating_sub(before);
    (result, kept, ALLOCATOR.peak.load(Relaxed) - before)
}

/// Names, shapes and the parsed header.
const SMALL: usize = 64 << 10;

#[test]
fn loading_takes_the_cell_and_one_tensor() {
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(1);
    let hidden = 192;
    let cells = [(64, 1), (hidden, 2)]
        .map(|(input, seed)| Lstm::<f32>::new(input, hidden, &mut Xoshiro256PlusPlus::seed_from_u64(seed)));

    // By parameter name, into a cell that is there: nothing beside the file.
    let file = safetensors::to_bytes(&cells[1]).unwrap();
    let mut cell = Lstm::<f32>::new(hidden, hidden, rng);
    let (result, _, peak) = measured(|| safetensors::from_bytes(&mut cell, &file));
    result.unwrap();
    assert!(peak < SMALL, "{peak} bytes beside a file of {}", file.len());

    // Through an importer: the largest tensor beside the cells.
    let path = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("memory.safetensors");
    safetensors::save_tensors(pytorch::export_lstm(&cells, None, "").unwrap(), &path).unwrap();
    let file = std::fs::read(path).unwrap();
    let tensor = 4 * hidden * hidden * size_of::<f32>();
    let (imported, kept, peak) = measured(|| {
        let mut tensors = safetensors::read_tensors::<f32>(&file).unwrap();
        let cells = pytorch::lstm(&mut tensors, "").unwrap();
        tensors.finish().unwrap();
        cells
    });
    assert_eq!(imported.output_size(), hidden);
    assert!(kept >= 4 * tensor, "packed and public weights of two layers are {kept} bytes, and a tensor {tensor}");
    assert!(peak <= kept + tensor + SMALL, "{peak} bytes, but cells are {kept} and the largest tensor {tensor}");

    // A claim without bytes behind it takes nothing.
    let claim = br#"{"kernel":{"dtype":"F32","shape":[1000000,1000000],"data_offsets":[0,4000000000000]}}"#;
    let file = [&(claim.len() as u64).to_le_bytes()[..], claim].concat();
    let (result, _, peak) = measured(|| safetensors::from_bytes(&mut cell, &file));
    assert!(result.is_err());
    assert!(peak < SMALL, "{peak} bytes");
}
