//! [`Samples`]: what a backward run leaves for the gradients of weights.

use super::plan::{MOST, Operand, Plan, in_use};
use crate::kernel::Element;
use crate::kernel::isa::Isa;
use crate::kernel::product::{Product, add_weight_gradients};
use crate::kernel::registry::Kernels;
use crate::kernel::rows::Frozen;
use crate::kernel::weight_gradients::{GradientWorkspace, Sums};
use ndarray::{Array1, ArrayViewMut2, Axis};
use std::ops::Range;

/// All samples of a backward run: the gradients of the sums, and what was multiplied. A sample is one step of one row.
pub struct Samples<'a, E> {
    isa: Isa,
    plan: &'a Plan<'a, E>,
    left: &'a Left<'a, E>,
    workspace: &'a mut GradientWorkspace<E>,
}

/// What a backward run has left, for each sample: (steps, rows, width). Nobody writes it any more.
pub(super) struct Left<'a, E> {
    pub units: [usize; MOST],
    pub x: Frozen<'a, E>,
    /// The gradients of the sums.
    pub sums: [Frozen<'a, E>; MOST],
    /// The states before each step. More steps may follow.
    pub leaves: [Frozen<'a, E>; MOST],
    pub temporaries: [Frozen<'a, E>; MOST],
    /// The accumulators, of one step.
    pub accumulators: [Frozen<'a, E>; MOST],
    /// What accumulators summed before, of one step. If there is any, a run of many stretches, or gathered runs, have all
    /// their sums here.
    pub accumulated: [Frozen<'a, f64>; MOST],
}

/// Columns summed at once.
const COLUMNS: usize = 64;

impl<'a, E: Kernels> Samples<'a, E> {
    pub(super) fn new(
        isa: Isa,
        plan: &'a Plan<'a, E>,
        left: &'a Left<'a, E>,
        workspace: &'a mut GradientWorkspace<E>,
    ) -> Self {
        Self { isa, plan, left, workspace }
    }

    /// The stages that have this product.
    pub(crate) fn stages_of(&self, product: &Product<E>) -> impl Iterator<Item = usize> {
        let is_this =
            move |stage: &usize| self.plan.stages()[*stage].product.is_some_and(|of| std::ptr::eq(of, product));
        (0..self.plan.stages().len()).filter(is_this)
    }

    /// Adds Σ \[x, h, 1\]ᵀ · (gradients of the sums of some slots of a stage) to `kernel` (features of x and h, slots ·
    /// units), and its last row to `bias`. x are the inputs and h what the stage names; of a split gate, the first slot
    /// multiplied only x, and the last only h.
    ///
    /// # Panics
    /// If there is no such product, or a gradient has another shape or is not contiguous.
    pub(crate) fn add_product(
        &mut self,
        (stage, slots): (usize, Range<usize>),
        kernel: ArrayViewMut2<'_, E>,
        bias: Option<&mut Array1<E>>,
    ) {
        let units = self.left.units[stage];
        let d = self.left.sums[stage].columns(slots.start * units, slots.end * units);
        let sources = self.sources(stage, &slots, d.dim().0);
        let bias = bias.map(|bias| bias.as_slice_mut().expect("gradients are contiguous"));
        add_weight_gradients(self.isa, Sums { sources: &sources, d, kernel, bias }, self.workspace);
    }

    /// What some slots of a stage multiplied: of the inputs and of what the stage names, those without numbers are
    /// empty.
    fn sources(&self, stage: usize, slots: &Range<usize>, steps: usize) -> [Frozen<'a, E>; 2] {
        let stage = &self.plan.stages()[stage];
        let shape = stage.product.expect("the stage has a product").shape();
        let nothing = self.left.x.columns(0, 0);
        let x = if slots.end <= shape.gates && shape.inputs > 0 { self.left.x } else { nothing };
        let h = match stage.operand {
            _ if slots.start + shape.gates < shape.slots() => nothing,
            Operand::Nothing => nothing,
            // The record has the state after the last step too.
            Operand::State(leaf) => self.left.leaves[leaf].first(steps),
            Operand::Temporary(temporary) => self.left.temporaries[temporary],
        };
        [x, h]
    }

    /// Adds accumulator number `accumulator`, summed over all rows, to a gradient. Takes the numbers from `from` on, as
    /// many as `to` has.
    ///
    /// # Panics
    /// If there is no such accumulator, or it has fewer.
    pub fn add_accumulated(&self, accumulator: usize, from: usize, to: &mut Array1<E>) {
        let Left { accumulators, accumulated, .. } = self.left;
        let widths: [usize; MOST] = std::array::from_fn(|k| accumulators[k].width().max(accumulated[k].width()));
        let end = from.saturating_add(to.len());
        assert!(
            accumulator < MOST && end <= widths[accumulator],
            "add_accumulated asks accumulator {accumulator} for the numbers {from} to {end}, but those of the cell, counted \
             from 0, have the widths {:?}",
            in_use(&widths)
        );
        let (rows, before) = (accumulators[accumulator], accumulated[accumulator]);
        let count = rows.dim().1.max(before.dim().1);
        for (mut to, from) in to.axis_chunks_iter_mut(Axis(0), COLUMNS).zip((from..end).step_by(COLUMNS)) {
            let (mut sums, end) = ([0.0; COLUMNS], from + to.len());
            for row in 0..count {
                if before.width() > 0 {
                    add(&mut sums, &before.row(0, row)[from..end]);
                } else {
                    add(&mut sums, &rows.row(0, row)[from..end]);
                }
            }
            to.iter_mut().zip(sums).for_each(|(to, sum)| *to = E::number(E::value(*to) + sum));
        }
    }
}

fn add<E: Element>(sums: &mut [f64], numbers: &[E]) {
    sums.iter_mut().zip(numbers).for_each(|(sum, &number)| *sum += E::value(number));
}
