//! What an equation sees of one row: slices of its sums, state, temporaries and output.

use super::places::{Step, Ways};
use super::plan::MOST;
use crate::kernel::rows::Rows;
use std::ops::Range;

/// One row of one step, forward.
///
/// Slices are as long as [`units`](Self::units) says. If the stage takes whole rows, these are all units. If not, they
/// are some contiguous units, the same in every slice, and slices of another width are not available.
///
/// Each writable slice is handed out once. Asking for it a second time panics.
pub struct Forward<'a, E> {
    step: &'a Step<'a, E>,
    at: At,
}

/// One row of one step, backward. All slices are whole rows.
pub struct Backward<'a, E> {
    step: &'a Step<'a, E>,
    ways: &'a Ways<'a, E>,
    at: At,
}

/// Which row of a step, which units of it, and which writable slices have been handed out.
pub(super) struct At {
    row: usize,
    units: Range<usize>,
    /// Units of the stage.
    width: usize,
    /// Whether slices of other widths are available.
    whole: bool,
    taken: u32,
}

/// Kinds of writable slices, `MOST` of each.
const SUMS: usize = 0;
const STATE: usize = MOST;
const TEMPORARY: usize = 2 * MOST;
const D_TEMPORARY: usize = 3 * MOST;
const ACCUMULATOR: usize = 4 * MOST;
const OUTPUT: usize = 5 * MOST;

impl At {
    #[inline(always)]
    pub(super) fn new(row: usize, units: Range<usize>, width: usize, whole: bool) -> Self {
        Self { row, units, width, whole, taken: 0 }
    }

    /// The part of a slice of `width` numbers that belongs to this stage's units.
    #[inline(always)]
    fn range(&self, width: usize) -> (usize, usize) {
        if width == self.width {
            return (self.units.start, self.units.end);
        }
        assert!(width > 0, "the cell's stages and state have no such slice");
        assert!(self.whole, "a slice of {width} numbers in a stage of {} units: it must take whole rows", self.width);
        (0, width)
    }

    #[inline(always)]
    fn take(&mut self, what: usize) {
        assert!(self.taken & (1 << what) == 0, "what may be written is handed out once");
        self.taken |= 1 << what;
    }

    /// A slice that nobody writes for `'a`, as promised to [`Forward::new`] or [`Backward::new`].
    #[inline(always)]
    fn read<'a, E>(&self, rows: Rows<'a, E>) -> &'a [E] {
        let (from, to) = self.range(rows.width());
        // SAFETY: the row exists and nobody writes it, as its maker promised. `range` stays within the width.
        unsafe { rows.slice(self.row, from, to) }
    }

    /// A slice that belongs to this row alone, handed out once.
    #[inline(always)]
    fn write<'a, E>(&mut self, what: usize, rows: Rows<'a, E>) -> &'a mut [E] {
        self.take(what);
        let (from, to) = self.range(rows.width());
        // SAFETY: as above, and nobody else has these units; `take` checked that they were not handed out before.
        unsafe { rows.slice_mut(self.row, from, to) }
    }

    /// The sums of a stage, slot by slot, handed out once.
    #[inline(always)]
    fn write_sums<'a, E, const N: usize>(&mut self, step: &Step<'a, E>, stage: usize) -> [&'a mut [E]; N] {
        self.take(SUMS + stage);
        let (stride, sums) = (step.slots[stage], step.sums[stage]);
        let width = stride.checked_mul(N).filter(|&width| width > 0);
        assert_eq!(width, Some(sums.width()), "stage {stage} has another number of sums");
        let (from, to) = self.range(step.units[stage]);
        // A loop that the compiler unrolls early: the array stays in registers.
        let mut slots = std::array::from_fn(|_| &mut [][..]);
        for (slot, place) in slots.iter_mut().enumerate() {
            // SAFETY: as above; slots do not overlap.
            *place = unsafe { sums.slice_mut(self.row, slot * stride + from, slot * stride + to) };
        }
        slots
    }
}

impl<'a, E> Forward<'a, E> {
    /// # Safety
    /// Row and step exist. For `'a`, nobody writes the old state, inputs or what earlier stages finished elsewhere, and
    /// nobody else has these units of this row in the sums, the new state, temporaries or output.
    #[inline(always)]
    pub(super) unsafe fn new(step: &'a Step<'a, E>, at: At) -> Self {
        Self { step, at }
    }

    /// The sums of stage number `stage`: this stage's, or an earlier one's as it left them. One slice per gate, in the
    /// order of the product's columns: `let [r, u] = row.sums(0);`. Backward finds them as you leave them. In a run
    /// without backward (see [`is_recording`](Self::is_recording)), what you leave does not matter.
    ///
    /// # Panics
    /// If the stage does not have `N` sums, or they were handed out before.
    #[inline(always)]
    pub fn sums<const N: usize>(&mut self, stage: usize) -> [&'a mut [E]; N] {
        self.at.write_sums(self.step, stage)
    }

    /// A leaf of the state before the step.
    #[inline(always)]
    #[must_use]
    pub fn state(&self, leaf: usize) -> &'a [E] {
        self.at.read(self.step.old[leaf])
    }

    /// The same leaf after the step, to be written. Until then it holds unrelated numbers.
    ///
    /// # Panics
    /// If it was handed out before.
    #[inline(always)]
    pub fn new_state(&mut self, leaf: usize) -> &'a mut [E] {
        self.at.write(STATE + leaf, self.step.new[leaf])
    }

    /// A temporary, which one stage hands to a later one of the same step.
    ///
    /// # Panics
    /// If it was handed out before.
    #[inline(always)]
    pub fn temporary(&mut self, temporary: usize) -> &'a mut [E] {
        self.at.write(TEMPORARY + temporary, self.step.temporaries[temporary])
    }

    /// The output, to be written.
    ///
    /// # Panics
    /// If it was handed out before.
    #[inline(always)]
    pub fn output(&mut self) -> &'a mut [E] {
        self.at.write(OUTPUT, self.step.output)
    }

    /// The step's input, all of it.
    #[inline(always)]
    #[must_use]
    pub fn input(&self) -> &'a [E] {
        // SAFETY: inputs are only read.
        unsafe { self.step.x.slice(self.at.row, 0, self.step.x.width()) }
    }

    /// Which units of the row these are.
    #[inline(always)]
    #[must_use]
    pub fn units(&self) -> Range<usize> {
        self.at.units.clone()
    }

    /// Whether the run is recorded for backward, which finds what is left in the sums.
    #[inline(always)]
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.step.recording
    }

    /// The step of this run, from 0.
    #[inline(always)]
    #[must_use]
    pub fn step(&self) -> usize {
        self.step.t
    }

    /// The row of this run, from 0.
    #[inline(always)]
    #[must_use]
    pub fn row(&self) -> usize {
        self.at.row
    }
}

impl<'a, E> Backward<'a, E> {
    /// # Safety
    /// Row and step exist. For `'a`, nobody writes states or the output's gradient, and nobody else has this row of
    /// anything else.
    #[inline(always)]
    pub(super) unsafe fn new(step: &'a Step<'a, E>, ways: &'a Ways<'a, E>, at: At) -> Self {
        Self { step, ways, at }
    }

    /// What forward left in the sums of stage number `stage`. Turn them into their gradients before that stage's
    /// backward ends. Until then, any stage may read them or replace a value by a gradient. One slice per gate.
    ///
    /// # Panics
    /// If the stage does not have `N` sums, or they were handed out before.
    #[inline(always)]
    pub fn sums<const N: usize>(&mut self, stage: usize) -> [&'a mut [E]; N] {
        self.at.write_sums(self.step, stage)
    }

    /// A leaf of the state before the step.
    #[inline(always)]
    #[must_use]
    pub fn state(&self, leaf: usize) -> &'a [E] {
        self.at.read(self.step.old[leaf])
    }

    /// A leaf of the state after the step.
    #[inline(always)]
    #[must_use]
    pub fn new_state(&self, leaf: usize) -> &'a [E] {
        self.at.read(self.step.new[leaf])
    }

    /// The gradient of a leaf: of the new state, to be turned into that of the old one, as far as the equation goes.
    /// After the stage, the driver adds what flows back through the stage's product.
    ///
    /// # Panics
    /// If it was handed out before.
    #[inline(always)]
    pub fn d_state(&mut self, leaf: usize) -> &'a mut [E] {
        self.at.write(STATE + leaf, self.ways.leaves[leaf].step(0))
    }

    /// What forward left in a temporary. May be overwritten.
    ///
    /// # Panics
    /// If it was handed out before.
    #[inline(always)]
    pub fn temporary(&mut self, temporary: usize) -> &'a mut [E] {
        self.at.write(TEMPORARY + temporary, self.step.temporaries[temporary])
    }

    /// The gradient of a temporary: what flowed back through the product that multiplied it, or what a later stage wrote.
    ///
    /// # Panics
    /// If it was handed out before.
    #[inline(always)]
    pub fn d_temporary(&mut self, temporary: usize) -> &'a mut [E] {
        self.at.write(D_TEMPORARY + temporary, self.ways.temporaries[temporary].step(0))
    }

    /// Sums over steps of this row, for the gradients of a cell's own weights. (For those of its products see
    /// [`Samples`](crate::fused::Samples).) Only add to them: between steps they may be moved to a longer sum and start
    /// again at 0.
    ///
    /// # Panics
    /// If it was handed out before.
    #[inline(always)]
    pub fn accumulator(&mut self, accumulator: usize) -> &'a mut [E] {
        self.at.write(ACCUMULATOR + accumulator, self.ways.accumulators[accumulator].step(0))
    }

    /// The gradient of the output. Use it in one stage only, the one that wrote the output.
    #[inline(always)]
    #[must_use]
    pub fn d_output(&self) -> &'a [E] {
        self.at.read(self.ways.output.step(self.step.t))
    }

    /// The step of this run, from 0.
    #[inline(always)]
    #[must_use]
    pub fn step(&self) -> usize {
        self.step.t
    }

    /// The row of this run, from 0.
    #[inline(always)]
    #[must_use]
    pub fn row(&self) -> usize {
        self.at.row
    }
}
