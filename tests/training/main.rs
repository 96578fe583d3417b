//! Training: gradients, tapes, losses, optimizers.

mod backward_panics;
#[path = "../common/mod.rs"]
mod common;
mod dense;
mod fused_gradients;
mod gradients;
mod laws;
mod losses;
mod memory_safety;
mod optimizers;
mod options;
mod properties;
mod recorded_runs;
#[cfg(feature = "rayon")]
mod threads;
mod wrapper_gradients;
