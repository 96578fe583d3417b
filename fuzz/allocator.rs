//! The system's allocator, with a bound on what a target may use.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Counts bytes in use, the most of them, and the most asked for at once.
struct Counting;
static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static LARGEST: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is the system allocator's own; the counters only watch.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(live, Relaxed);
        LARGEST.fetch_max(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Whatever the file: names of parameters, messages, nodes of trees.
const FIXED: usize = 64 << 10;

/// Runs `load` and fails if it had more than `peak` bytes in use, or asked for more than `single` at once, beside `FIXED`.
pub fn bounded<T>(peak: usize, single: usize, load: impl FnOnce() -> T) -> T {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    LARGEST.store(0, Relaxed);
    let result = load();
    let (used, largest) = (PEAK.load(Relaxed) - before, LARGEST.load(Relaxed));
    assert!(used <= peak + FIXED, "{used} bytes in use, where {peak} and {FIXED} are enough");
    assert!(largest <= single + FIXED, "{largest} bytes at once, where {single} and {FIXED} are enough");
    result
}

