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
mod forward;
mod jobs;
mod places;
mod row;
mod samples;

pub(crate) use backward::{Back, unroll_backward};
#[cfg(feature = "rayon")]
pub(crate) use forward::ROWS_A_THREAD;
pub(crate) use forward::{Io, unroll};
pub use jobs::{BackwardRows, Concrete, ForwardRows};
pub use places::Record;
pub use row::{Backward, Forward};
pub use samples::{Samples, Source};

use super::Element;
use super::product::Product;
use super::vector::Vector;

/// Most stages, leaves of a state, and temporaries of a cell.
pub(crate) const MOST: usize = 4;

/// What is a cell's own.
pub(crate) trait Equation<E: Element>: Sync {
    /// From the sums of a stage to what the stage makes of them, for one row.
    fn forward<V: Vector<E>>(&self, stage: usize, row: &mut Forward<'_, E>);

    /// The same for some rows, compiled for every instruction set.
    fn forward_rows(&self, rows: &ForwardRows<'_, E>);
}

/// The way back of an [`Equation`].
pub(crate) trait EquationBack<E: Element>: Equation<E> {
    /// From the gradients of what the stage made to those of its sums, for one row.
    fn backward<V: Vector<E>>(&self, stage: usize, row: &mut Backward<'_, E>);

    /// The same for some rows, compiled for every instruction set.
    fn backward_rows(&self, rows: &BackwardRows<'_, E>);
}

/// What a product multiplies besides the inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operand {
    Nothing,
    /// The old state's leaf of this number.
    State(usize),
    /// The temporary of this number, which an earlier stage has written.
    Temporary(usize),
}

/// A part of a step: a product, or none, and what the equation makes of its sums.
pub(crate) struct Stage<'a, E> {
    pub product: Option<&'a Product<E>>,
    pub operand: Operand,
    /// Units of each sum; of a stage without a product the width of what it works on.
    pub units: usize,
    /// The equation wants all units of a row at once.
    pub whole_rows: bool,
}

impl<E> Clone for Stage<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Stage<'_, E> {}

/// The stages of a step, and the widths of what they hand to each other.
pub(crate) struct Plan<'a, E> {
    stages: [Stage<'a, E>; MOST],
    count: usize,
    temporaries: [usize; MOST],
    temporary_count: usize,
    /// Not of a step: sums over the steps of a row, on the way back.
    accumulators: [usize; MOST],
    accumulator_count: usize,
}

impl<'a, E> Plan<'a, E> {
    pub(crate) fn new() -> Self {
        let none = Stage { product: None, operand: Operand::Nothing, units: 0, whole_rows: false };
        Self {
            stages: [none; MOST],
            count: 0,
            temporaries: [0; MOST],
            temporary_count: 0,
            accumulators: [0; MOST],
            accumulator_count: 0,
        }
    }

    /// # Panics
    /// If there are more than [`MOST`].
    pub(crate) fn stage(mut self, stage: Stage<'a, E>) -> Self {
        self.stages[self.count] = stage;
        self.count += 1;
        self
    }

    /// # Panics
    /// If there are more than [`MOST`].
    pub(crate) fn temporary(mut self, width: usize) -> Self {
        self.temporaries[self.temporary_count] = width;
        self.temporary_count += 1;
        self
    }

    /// # Panics
    /// If there are more than [`MOST`].
    pub(crate) fn accumulator(mut self, width: usize) -> Self {
        self.accumulators[self.accumulator_count] = width;
        self.accumulator_count += 1;
        self
    }

    fn stages(&self) -> &[Stage<'a, E>] {
        &self.stages[..self.count]
    }
}

/// How wide everything is that a run holds for each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Widths {
    inputs: usize,
    output: usize,
    /// Of all sums of each stage.
    sums: [usize; MOST],
    units: [usize; MOST],
    leaves: [usize; MOST],
    temporaries: [usize; MOST],
}

impl Widths {
    /// Sums of each unit of a stage.
    fn slots(&self, stage: usize) -> usize {
        if self.units[stage] == 0 { 0 } else { self.sums[stage] / self.units[stage] }
    }

    /// # Panics
    /// If a stage's product does not fit what it multiplies.
    fn new<E: super::Kernels>(plan: &Plan<'_, E>, inputs: usize, output: usize, leaves: [usize; MOST]) -> Self {
        let mut widths =
            Self { inputs, output, sums: [0; MOST], units: [0; MOST], leaves, temporaries: plan.temporaries };
        for (k, stage) in plan.stages().iter().enumerate() {
            widths.units[k] = stage.units;
            let Some(product) = stage.product else { continue };
            let shape = product.shape();
            widths.sums[k] = shape.slots() * shape.units;
            let operand = match stage.operand {
                Operand::Nothing => 0,
                Operand::State(leaf) => leaves[leaf],
                Operand::Temporary(temporary) => plan.temporaries[temporary],
            };
            assert_eq!(shape.units, stage.units, "a stage is as wide as its product");
            assert!(shape.inputs == inputs || shape.inputs == 0, "inputs must be (seq, batch, input)");
            assert_eq!(shape.recurrent, operand, "the state must be as wide as the cell's");
        }
        widths
    }
}
