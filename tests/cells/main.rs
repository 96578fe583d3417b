//! Cells, wrappers and drivers, forward.

mod abuse;
mod auto_traits;
#[path = "../common/mod.rs"]
mod common;
mod compressed;
mod driver_options;
mod drivers;
mod errors;
mod forwarded;
mod instruction_sets;
mod laws;
mod layer_norm_lstm;
mod options;
mod parameters;
mod pictures;
mod properties;
mod recorded;
mod stream;
#[cfg(feature = "rayon")]
mod threads;
mod wrappers;
