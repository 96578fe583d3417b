//! One driver that steps the equation of any cell, forward and backward.
//!
//! ```text
//! forward, step t                                   backward, step t
//! for each stage                                    for each stage, last first
//!     sums = bias + x·W (+ h·U)                         sums' gradients   from the equation, row by row
//!     row by row: the equation turns sums and           gradient of h     += sums' gradients · Uᵀ
//!     old state into new state and output           then, over all steps: gradients of x, W, U and bias
//! ```
//!
//! The driver owns what all cells share: products, input halves computed for many steps at once, memory, records and
//! teams of threads. **One order of summation:** every sum of a gate is the bias, then the inputs in order, then the
//! recurrent values in order, one fused multiply-add each, in one chain. The bits are the same however many rows share
//! a tile, whether or not the input half was computed earlier, and whichever thread computes a row.

mod at;
mod backward;
mod codes;
mod compact;
mod driver;
mod equation;
mod forward;
mod gather;
mod hoists;
mod places;
mod plan;
mod row;
mod samples;

pub use crate::kernel::element::Concrete;
pub use backward::Back;
pub use driver::Driver;
pub use equation::{BackwardRows, Equation, EquationBack, ForwardRows};
pub(crate) use equation::{RowEquation, RowEquationBack};
pub use forward::Io;
pub use places::Record;
pub use plan::{MOST, Operand, Plan, Stage};
pub use row::{Backward, Forward};
pub use samples::Samples;
