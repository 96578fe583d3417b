//! Packed weights, the fused recurrent products, and exp, tanh and sigmoid in registers: the only room with `unsafe`.
//!
//! It knows arrays and numbers, not cells. One generic source serves `f32` and `f64` and every instruction set.
//!
//! **One order of summation.** Every sum of a gate is bias, then the inputs in their order, then the recurrent values in
//! theirs, one fused multiply-add each, in one chain. How many rows share a tile, whether the input half was hoisted out
//! of the time loop, and which thread computes a row change nothing: the bits are the same.
//!
//! [`pack`] lays weights out in panels, [`tile`] multiplies a few rows by a panel and hands the sums to an [`Epilogue`]
//! in registers, [`pass`] walks all panels and rows for one step, [`sequence`] walks the steps.

// Loops over the const generics of a tile index several arrays at once; written so, they unroll.
#![allow(clippy::needless_range_loop)]
// A macro counts in blocks of 4, 2 and 1; only for the 1 would another comparison be shorter.
#![allow(clippy::int_plus_one)]

mod activation;
mod buffer;
pub(crate) mod gru;
pub(crate) mod gru_backward;
pub(crate) mod isa;
pub(crate) mod linear;
pub(crate) mod lstm;
pub(crate) mod lstm_backward;
mod math;
pub(crate) mod pack;
mod pass;
mod product;
pub(crate) mod rnn;
pub(crate) mod rnn_backward;
mod sequence;
mod simd;
mod team;
#[cfg(test)]
mod tests;
#[cfg(feature = "rayon")]
pub(crate) mod threads;
mod tile;

pub use activation::Activation;
pub(crate) use buffer::zeros;
pub use isa::instruction_set;
#[cfg(feature = "rayon")]
pub(crate) use sequence::ROWS_A_THREAD;
pub use sequence::Workspace;
pub(crate) use sequence::make_standard;
pub use simd::Element;
