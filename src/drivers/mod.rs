//! Drivers: what runs any cell over a sequence.

mod dynamic;
pub(crate) mod lengths;
#[cfg(feature = "rayon")]
mod parallel;

pub use dynamic::{dynamic_rnn, dynamic_rnn_time_major};
