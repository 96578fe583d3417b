//! What an equation sees of one row: slices of its sums, of the state, of temporaries and of the output.

use super::places::{Step, Ways};
use super::plan::MOST;
use crate::kernel::rows::Rows;
use std::ops::Range;

/// One row of one step, forward.
///
/// Slices are as long as [`units`](Self::units) says. Where a stage takes whole rows, that is all of them; where it does
/// not, it is some neighbouring units, the same of every slice, and a slice of another width cannot be had.
///
/// What may be written is handed out once: asking a second time for the same slice panics.
pub struct Forward<'a, E> {
    step: &'a Step<'a, E>,
    at: At,
}

/// One row of one step, back. All slices are whole rows.
pub struct Backward<'a, E> {
    step: &'a Step<'a, E>,
    ways: &'a Ways<'a, E>,
    at: At,
}

/// Which row of a step, which units of it, and what has been handed out to be written.
pub(super) struct At {
    row: usize,
    units: Range<usize>,
    /// Units of the stage.
    width: usize,
    /// Whether slices of other widths can be had.
    whole: bool,
    taken: u32,
}

/// Kinds of what may be written, `MOST` of each.
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

    /// What nobody writes for `'a`: of a row that [`Forward::new`] or [`Backward::new`] promised.
    #[inline(always)]
    fn read<'a, E>(&self, rows: Rows<'a, E>) -> &'a [E] {
        let (from, to) = self.range(rows.width());
        // SAFETY: the row exists, and nobody writes it: the promise of whoever made the row. `range` keeps to the width.
        unsafe { rows.slice(self.row, from, to) }
    }

    /// What is this row's alone, handed out once.
    #[inline(always)]
    fn write<'a, E>(&mut self, what: usize, rows: Rows<'a, E>) -> &'a mut [E] {
        self.take(what);
        let (from, to) = self.range(rows.width());
        // SAFETY: as above, and nobody else has these units; `take` saw that they were not handed out before.
        unsafe { rows.slice_mut(self.row, from, to) }
    }

    /// The sums of a stage, slot by slot, handed out once.
    #[inline(always)]
    fn write_sums<'a, E, const N: usize>(&mut self, step: &Step<'a, E>, stage: usize) -> [&'a mut [E]; N] {
        self.take(SUMS + stage);
        let (stride, sums) = (step.slots[stage], step.sums[stage]);
        assert_eq!(N * stride, sums.width(), "stage {stage} has another number of sums");
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
    /// Row and step exist. For `'a` nobody writes the old state, inputs and what earlier stages finished elsewhere; and of the
    /// sums, the new state, temporaries and output nobody else has these units of this row.
    #[inline(always)]
    pub(super) unsafe fn new(step: &'a Step<'a, E>, at: At) -> Self {
        Self { step, at }
    }

    /// The sums of stage number `stage`: of this one, or what an earlier one left of its own. One slice a gate, in the order of
    /// the product's columns: `let [r, u] = row.sums(0);`. What is left in them is what the way back finds; in a run without a
    /// way back it does not matter ([`is_recording`](Self::is_recording)).
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

    /// The same leaf after the step, to be written: it holds other numbers before.
    ///
    /// # Panics
    /// If it was handed out before.
    #[inline(always)]
    pub fn new_state(&mut self, leaf: usize) -> &'a mut [E] {
        self.at.write(STATE + leaf, self.step.new[leaf])
    }

    /// A temporary: what a stage hands to a later one of the same step.
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

    /// Whether there will be a way back, that finds what is left in the sums.
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
    /// Row and step exist. For `'a` nobody writes states and the output's gradient, and of everything else nobody else has this
    /// row.
    #[inline(always)]
    pub(super) unsafe fn new(step: &'a Step<'a, E>, ways: &'a Ways<'a, E>, at: At) -> Self {
        Self { step, ways, at }
    }

    /// What the way forward left in the sums of stage number `stage`, to be made the gradients of these sums before that stage's
    /// way back ends. Until then any stage may read them, or write a gradient in the place of a value. One slice a gate.
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

    /// The gradient of a leaf: of the new state, to be made that of the old one, as far as the equation goes. What flows
    /// back through a stage's product is added by the driver, after the stage.
    ///
    /// # Panics
    /// If it was handed out before.
    #[inline(always)]
    pub fn d_state(&mut self, leaf: usize) -> &'a mut [E] {
        self.at.write(STATE + leaf, self.ways.leaves[leaf].step(0))
    }

    /// What the way forward left in a temporary; may be overwritten.
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

    /// Sums over steps of this row: where the gradients of a cell's own weights add up. (Those of its products do not: see
    /// [`Samples`](crate::fused::Samples).) Add to them and nothing else: between steps they may be moved to a longer sum and
    /// begin at 0 again.
    ///
    /// # Panics
    /// If it was handed out before.
    #[inline(always)]
    pub fn accumulator(&mut self, accumulator: usize) -> &'a mut [E] {
        self.at.write(ACCUMULATOR + accumulator, self.ways.accumulators[accumulator].step(0))
    }

    /// The gradient of the output: it belongs in one stage, the one that wrote the output.
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
