//! What counts allocations, and the cells of `fused`.

mod allocations;
#[path = "../common/allocator.rs"]
mod allocator;
mod attention;
#[path = "../fused/cells.rs"]
mod cells;
#[path = "../common/mod.rs"]
mod common;
mod fused;
#[path = "../../examples/fused/ind_rnn.rs"]
mod ind_rnn;
mod linear;
#[path = "../../examples/fused/lstm.rs"]
mod lstm;
#[path = "../../examples/fused/mgu.rs"]
mod mgu;
#[path = "../fused/sru.rs"]
mod sru;
#[cfg(feature = "rayon")]
mod threads;
mod training;
#[path = "../../examples/fused/ugrnn.rs"]
mod ugrnn;
#[cfg(feature = "safetensors")]
mod weights;

/// Runs where no other thread can help: asking for help allocates, and counts are per thread.
#[cfg(feature = "rayon")]
fn one_thread(run: impl FnOnce() + Send) {
    rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(run);
}

#[cfg(not(feature = "rayon"))]
fn one_thread(run: impl FnOnce()) {
    run();
}
