//! [`Codes`]: where a run keeps the 8-bit codes that its products multiply.

use super::hoists::HOISTED_STEPS;
use super::plan::{MOST, Plan, Stage};
use crate::kernel::compact::WeightFormat;
use crate::kernel::compact::codes;
use crate::kernel::memory::{Arena, room, spaced, total};
use crate::kernel::registry::Kernels;
use crate::kernel::rows::Grid;

/// The 8-bit codes that a run's products multiply.
pub(super) struct Codes<'a, E> {
    /// Those of the inputs, shared by all stages: of many steps if input products are computed for many at once.
    pub x: Grid<'a, E>,
    /// The stage that computes these, the first one to use them.
    pub first: usize,
    /// Those of what a stage's product multiplies besides the inputs, of one step.
    pub operands: [Grid<'a, E>; MOST],
}

/// How wide the codes of a stage are: of the inputs, and of what it multiplies besides.
fn widths<E: Kernels>(stage: &Stage<'_, E>) -> [usize; 2] {
    match stage.product.and_then(|product| product.forward().compact()) {
        Some(compact) if compact.format() == WeightFormat::Int8 => {
            [compact.shape().inputs, compact.shape().recurrent].map(codes::width)
        }
        _ => [0, 0],
    }
}

impl<'a, E: Kernels> Codes<'a, E> {
    /// Numbers that the codes take from an arena.
    pub(super) fn numbers(plan: &Plan<'_, E>, steps: usize, rows: usize) -> usize {
        let operands = plan.stages().iter().map(|stage| room([rows, spaced(widths(stage)[1])]));
        let inputs = plan.stages().iter().map(|stage| widths(stage)[0]).max().unwrap_or(0);
        total(operands.chain([room([steps, rows, spaced(inputs)])]))
    }

    /// Room for the codes, those of inputs for `steps` steps.
    pub(super) fn new(plan: &Plan<'_, E>, steps: usize, rows: usize, arena: &mut Arena<'a, E>) -> Self {
        let mut grid = |steps: usize, width: usize| {
            let stride = spaced(width);
            Grid::spaced(arena.take_lines(steps * rows * stride), (steps, rows, width), stride)
        };
        let first = plan.stages().iter().position(|stage| widths(stage)[0] > 0);
        let x = first.map_or(Grid::NONE, |first| grid(steps, widths(&plan.stages()[first])[0]));
        let mut operands = [Grid::NONE; MOST];
        for (operand, stage) in operands.iter_mut().zip(plan.stages()).filter(|(_, stage)| widths(stage)[1] > 0) {
            *operand = grid(1, widths(stage)[1]);
        }
        Self { x, first: first.unwrap_or(MOST), operands }
    }

    /// Where the codes of step `t` of the inputs are, among those that are kept: of one step, or of many if any stage is
    /// hoisted, even if others are not. They are computed at place 0.
    pub(super) fn place(&self, t: usize) -> usize {
        if self.x.dim().0 > 1 { t % HOISTED_STEPS } else { 0 }
    }
}
