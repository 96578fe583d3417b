//! [`Hoists`]: input products that are computed for many steps at once.

use super::plan::{MOST, Plan};
use crate::kernel::memory::{self, Arena};
use crate::kernel::product::Product;
use crate::kernel::registry::Kernels;
use crate::kernel::rows::Grid;

/// Steps whose input products are computed at once: four full tiles of rows.
pub(super) const HOISTED_STEPS: usize = 24;
/// With fewer rows than this, the input half is hoisted out of the time loop.
const HOIST_BELOW: usize = 6;
/// With fewer inputs than this, it is not: the product is less work than storing and loading it.
const HOIST_INPUTS: usize = 16;

/// For each stage, the numbers of a row's input products if they are computed for many steps at once, else 0.
pub(super) struct Hoists {
    steps: usize,
    widths: [usize; MOST],
}

impl Hoists {
    pub(super) fn new<E: Kernels>(plan: &Plan<'_, E>, steps: usize, rows: usize) -> Self {
        let mut widths = [0; MOST];
        for (width, stage) in widths.iter_mut().zip(plan.stages()) {
            // Compressed, the recurrent half is what takes the inputs' half up.
            let takes_up = |product: &Product<E>| product.shape().recurrent > 0 || !product.is_compressed();
            let worth = |product: &&Product<E>| product.shape().inputs >= HOIST_INPUTS && takes_up(product);
            if steps > 1 && rows < HOIST_BELOW {
                *width = stage.product.filter(worth).map_or(0, |product| product.forward().panel_sums());
            }
        }
        Self { steps: HOISTED_STEPS.min(steps), widths }
    }

    /// Steps whose inputs are encoded at once.
    pub(super) fn code_steps(&self) -> usize {
        if self.widths == [0; MOST] { 1 } else { self.steps }
    }

    /// Whether a stage's input products are computed for many steps at once.
    pub(super) fn has(&self, stage: usize) -> bool {
        self.widths[stage] > 0
    }

    pub(super) fn numbers(&self, rows: usize) -> usize {
        memory::total(self.widths.map(|width| memory::room([self.steps, rows, width])))
    }

    pub(super) fn grids<'a, E: Kernels>(&self, rows: usize, arena: &mut Arena<'a, E>) -> [Grid<'a, E>; MOST] {
        let mut grids = [Grid::NONE; MOST];
        for (grid, &width) in grids.iter_mut().zip(&self.widths).filter(|(_, width)| **width > 0) {
            *grid = Grid::of(arena.take_lines(self.steps * rows * width), (self.steps, rows, width));
        }
        grids
    }
}
