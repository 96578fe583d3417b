//! The door into the kernels: what a cell of your own needs to run, and to be trained, as fast as the built-in ones.
//!
//! The built-in cells are written with nothing else. A cell brings its equation, a [`FusedCell`]: what becomes of the sums of
//! its gates. The crate does the rest: [`Linear`] products on packed weights, input halves computed for many steps at once,
//! rows of different lengths, threads, records and the gradients of weights. After the first step nothing is allocated.
//!
//! | | |
//! |---|---|
//! | [`Linear`] | bias + \[x, h\] · kernel, packed once |
//! | [`FusedCell`] | a cell: its stages, and its equation forward |
//! | [`TrainableFusedCell`] | the equation back |
//! | [`fused_cell!`](crate::fused_cell), [`trainable_fused_cell!`](crate::trainable_fused_cell) | make it an [`RnnCell`](crate::RnnCell), a [`TrainableCell`](crate::train::TrainableCell) |
//! | [`Vector`] | numbers of a row, as many as a register holds, with operators, `tanh` and `sigmoid` |
//! | [`Stages`], [`Stage`] | which products a step has, and what they multiply |
//! | [`Forward`], [`Backward`], [`Samples`] | what the equation sees |
//!
//! # A cell from its equation
//!
//! The update gate recurrent network, forward and back. `sums` holds the gates' sums; the way forward leaves in them what the
//! way back needs, and the way back makes them the sums' gradients.
//!
//! ```
#![doc = include_str!("../../examples/fused/ugrnn.rs")]
//!
//! use rand::SeedableRng;
//! let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
//! let mut cell = MyUgrnn::<f64>::new(4, 3, &mut rng)?;
//! let x = rnn_cell::one_hot(&["hello", "eolll"], "helo")?;
//! let (outputs, h) = rnn_cell::dynamic_rnn(&cell, &x, Some(&[5, 3]), None)?;
//! assert_eq!((outputs.dim(), h.dim()), ((2, 5, 3), (2, 3)));
//! assert!(rnn_cell::train::gradient_error(&mut cell, &x, Some(&[5, 3]), None)? < 1e-8);
//! # Ok::<(), rnn_cell::Error>(())
//! ```
//!
//! # Speed
//!
//! - Mark `forward` and `backward` `#[inline(always)]`: they are then compiled as a part of the loops over rows, once for each
//!   instruction set.
//! - Write the loop over a row with [`Vector::units`]. A plain loop over the slices works too, and is vectorized where the
//!   compiler sees how; [`Activation::apply`](crate::Activation::apply) takes a whole slice.
//! - A stage that works unit by unit gets some units of a row at a time, and threads share a row's units. One that needs whole
//!   rows, as layer normalization does, says so: [`Stage::whole_rows`].

pub(crate) mod cell;
mod linear;
pub(crate) mod macros;
mod stages;
pub(crate) mod weights;

pub use crate::kernel::recurrence::{Backward, Forward, Record, Samples, Source};
pub use crate::kernel::{Units, UnitsOf, Vector, Workspace};
pub use cell::{FusedCell, TrainableFusedCell, unroll, unroll_backward, unroll_recording};
pub use linear::{Linear, LinearBuilder, LinearWeights};
pub use stages::{Stage, Stages};

use crate::kernel::product::apply;
use crate::kernel::slices::Function;
use crate::{Activation, Float};

impl Activation {
    /// Replaces every number by the activation's value there.
    ///
    /// ```
    /// let mut row = [-1.0_f32, 0.0, 2.0];
    /// rnn_cell::Activation::Relu.apply(&mut row);
    /// assert_eq!(row, [0.0, 0.0, 2.0]);
    /// ```
    pub fn apply<E: Float>(self, values: &mut [E]) {
        apply(Function::Value(self), values);
    }

    /// Replaces every value of the activation by the derivative there: of tanh 1 − y², of sigmoid y (1 − y). That of relu is
    /// 0 at 0, as TensorFlow has it.
    pub fn apply_slope<E: Float>(self, values: &mut [E]) {
        apply(Function::Slope(self), values);
    }
}
