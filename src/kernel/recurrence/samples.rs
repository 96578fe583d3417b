//! [`Samples`]: what a backward run leaves for the gradients of weights.

use super::places::{Places, Ways};
use crate::kernel::Element;
use crate::kernel::isa::Isa;
use crate::kernel::product::add_weight_gradients;
use crate::kernel::registry::Kernels;
use crate::kernel::rows::Grid;
use crate::kernel::weight_gradients::{GradientWorkspace, Sums};
use ndarray::{Array1, ArrayViewMut2, Axis};
use std::ops::Range;

/// All samples of a backward run: the gradients of the sums, and what was multiplied. A sample is one step of one row.
pub struct Samples<'a, E> {
    isa: Isa,
    places: &'a Places<'a, E>,
    ways: &'a Ways<'a, E>,
    workspace: &'a mut GradientWorkspace<E>,
}

/// What a product multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The inputs.
    Input,
    /// The leaf of the old state with this number.
    State(usize),
    /// The temporary with this number.
    Temporary(usize),
}

/// Columns summed at once.
const COLUMNS: usize = 64;

/// Sources that a product can have.
const SOURCES: usize = 2;

impl<'a, E: Kernels> Samples<'a, E> {
    pub(super) fn new(
        isa: Isa,
        (places, ways): (&'a Places<'a, E>, &'a Ways<'a, E>),
        workspace: &'a mut GradientWorkspace<E>,
    ) -> Self {
        Self { isa, places, ways, workspace }
    }

    /// Adds Σ \[sources, 1\]ᵀ · (gradients of the sums of some slots of a stage) to `kernel` (features of all sources,
    /// slots · units), and its last row to `bias`.
    ///
    /// # Panics
    /// If a gradient has another shape, or is not contiguous.
    pub(crate) fn add_product(
        &mut self,
        (stage, slots): (usize, Range<usize>),
        sources: &[Source],
        kernel: ArrayViewMut2<'_, E>,
        bias: Option<&mut Array1<E>>,
    ) {
        let units = self.places.units[stage];
        let d = self.places.sums[stage].columns(slots.start * units, slots.end * units);
        let mut grids = [Grid::NONE; SOURCES];
        for (grid, source) in grids.iter_mut().zip(sources) {
            *grid = self.source(*source, d.dim().0);
        }
        let bias = bias.map(|bias| bias.as_slice_mut().expect("gradients are contiguous"));
        // SAFETY: the backward run has ended, so records are only read.
        let (grids, d) = unsafe { (grids.map(|grid| grid.frozen()), d.frozen()) };
        let sums = Sums { sources: &grids[..sources.len()], d, kernel, bias };
        add_weight_gradients(self.isa, sums, self.workspace);
    }

    fn source(&self, source: Source, steps: usize) -> Grid<'a, E> {
        match source {
            Source::Input => self.places.x,
            // The record has the state after the last step too.
            Source::State(leaf) => self.places.leaves[leaf].all().first(steps),
            Source::Temporary(temporary) => self.places.temporaries[temporary],
        }
    }

    /// Adds accumulator number `accumulator`, summed over all rows, to a gradient. Takes the numbers from `from` on, as
    /// many as `to` has.
    ///
    /// # Panics
    /// If the accumulator has fewer.
    pub fn add_accumulated(&self, accumulator: usize, from: usize, to: &mut Array1<E>) {
        let (grid, before) = (self.ways.accumulators[accumulator], self.ways.accumulated[accumulator]);
        let (_, rows, width) = if before.width() > 0 { before.dim() } else { grid.dim() };
        let end = from.saturating_add(to.len());
        assert!(end <= width, "accumulator {accumulator} has {width} numbers a row, not {end}");
        for (mut to, from) in to.axis_chunks_iter_mut(Axis(0), COLUMNS).zip((from..end).step_by(COLUMNS)) {
            let (mut sums, end) = ([0.0; COLUMNS], from + to.len());
            for row in 0..rows {
                // SAFETY: the backward run has ended. A run of many stretches, and gathered runs, have all their sums in
                // `before`.
                unsafe {
                    if before.width() > 0 {
                        add(&mut sums, before.step(0).slice(row, from, end));
                    } else {
                        add(&mut sums, grid.step(0).slice(row, from, end));
                    }
                }
            }
            to.iter_mut().zip(sums).for_each(|(to, sum)| *to = E::number(E::value(*to) + sum));
        }
    }
}

fn add<E: Element>(sums: &mut [f64], numbers: &[E]) {
    sums.iter_mut().zip(numbers).for_each(|(sum, &number)| *sum += E::value(number));
}
