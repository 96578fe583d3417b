//! Everything a cell of your own needs to run and train as fast as the built-in ones.
//!
//! The built-in cells use this module too. A cell supplies its equation as a [`FusedCell`]; the crate supplies packed
//! [`Linear`] products, input products over many steps at once, ragged batches, threads, records and weight gradients.
//! After the first step only records are allocated, and what the feature `rayon` needs to share a large step.
//!
//! | | |
//! |---|---|
//! | [`Linear`] | bias + \[x, h\] · kernel, packed once |
//! | [`FusedCell`] | a cell: its stages, and its equation forward |
//! | [`TrainableFusedCell`] | its equation backward |
//! | [`fused_cell!`](crate::fused_cell), [`trainable_fused_cell!`](crate::trainable_fused_cell) | make it an [`RnnCell`](crate::RnnCell), a [`TrainableCell`](crate::train::TrainableCell) |
//! | [`Vector`] | as many numbers of a row as a register holds, with operators, `tanh` and `sigmoid` |
//! | [`Stages`], [`Stage`] | the products of a step and what they multiply |
//! | [`Forward`], [`Backward`], [`Samples`] | what the equation reads and writes |
//!
//! # A cell from its equation
//!
//! The update gate recurrent network, forward and backward. `sums` holds the gates' sums. The forward pass leaves in it
//! what the backward pass needs, and the backward pass overwrites it with the gradients of the sums.
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
//! # A cell of two stages
//!
//! A stage is a product and what the equation computes from its sums. If a product multiplies what other sums decide,
//! it has a stage of its own, and the earlier stage leaves it a temporary. The backward pass takes the stages in reverse:
//! it finds in `d_temporary` what flowed back through the product. Here a value that both stages need is a temporary
//! too, because sums hold either a value or its gradient.
//!
//! ```
#![doc = include_str!("../../examples/fused/mgu.rs")]
//!
//! use rand::SeedableRng;
//! let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
//! let mut cell = MyMgu::<f64>::new(4, 3, &mut rng)?;
//! let x = rnn_cell::one_hot(&["hello", "eolll"], "helo")?;
//! assert!(rnn_cell::train::gradient_error(&mut cell, &x, Some(&[5, 3]), None)? < 1e-8);
//! # Ok::<(), rnn_cell::Error>(())
//! ```
//!
//! # Mistakes
//!
//! A slice that the cell does not have, a stage that multiplies something of another width, or gradients of another
//! stage panic. The message says what was asked and what there is; for a slice, it names the line of your equation.
//! Nothing checks the equation itself: that is what [`gradient_error`](crate::train::gradient_error) is for. It does not
//! see weights that are not cut to [`Forward::units`]: those are wrong in large batches only.
//!
//! # Speed
//!
//! - Mark `forward` and `backward` `#[inline(always)]`: that compiles them into each instruction set's loops over rows.
//! - Write the loop over a row with [`Vector::units`]. A plain loop over the slices works too, but is vectorized only
//!   where the compiler sees how. [`Activation::apply`](crate::Activation::apply) takes a whole slice.
//! - By default a stage gets some units of a row at a time, and threads can share the units of a row. So cut weights of
//!   the cell's own that have a number per unit, as in `&u[row.units()]`. A stage that needs whole rows, as layer
//!   normalization does, says so with [`Stage::whole_rows`].

mod back;
pub(crate) mod cell;
mod linear;
pub(crate) mod macros;
mod stages;
pub(crate) mod weights;

pub use crate::kernel::recurrence::{Backward, Forward, Record, Samples};
pub use crate::kernel::{Units, UnitsOf, Vector, Workspace};
pub use back::{finish_backward, part_backward, unroll_backward};
pub use cell::{FusedCell, TrainableFusedCell, unroll, unroll_recording};
pub use linear::{Linear, LinearBuilder, LinearWeights};
pub use stages::{Stage, Stages};

use crate::kernel::product::apply;
use crate::kernel::slices::Function;
use crate::{Activation, Float};

impl Activation {
    /// Applies the activation to every number, in place.
    ///
    /// ```
    /// let mut row = [-1.0_f32, 0.0, 2.0];
    /// rnn_cell::Activation::Relu.apply(&mut row);
    /// assert_eq!(row, [0.0, 0.0, 2.0]);
    /// ```
    pub fn apply<E: Float>(self, values: &mut [E]) {
        apply(Function::Value(self), values);
    }

    /// Replaces every value y of the activation with its derivative there: 1 − y² for tanh, y (1 − y) for sigmoid. The
    /// derivative of relu at 0 is 0, as in TensorFlow.
    pub fn apply_slope<E: Float>(self, values: &mut [E]) {
        apply(Function::Slope(self), values);
    }
}
