//! One driver of steps, forward and back, over the equation of any cell.
//!
//! ```text
//! forward, step t                                   back, step t
//! for each stage                                    for each stage, the last first
//!     sums = bias + x·W (+ h·U)                         sums' gradients   from the equation, row by row
//!     row by row: the equation makes of its sums        gradient of h     += sums' gradients · Uᵀ
//!     and the old state the new state and output    then, over all steps: gradients of x, of W, U and bias
//! ```
//!
//! The driver owns what all cells share: products, input halves computed for many steps at once, memory and records, teams
//! of threads. **One order of summation:** every sum of a gate is bias, then the inputs in their order, then the recurrent
//! values in theirs, one fused multiply-add each, in one chain. How many rows share a tile, whether the input half was
//! computed before, and which thread computes a row change nothing: the bits are the same.

mod backward;
mod driver;
mod equation;
mod forward;
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
pub use samples::{Samples, Source};
