//! What an equation sees of one row: slices of its sums, state, temporaries and output.

use super::at::{ACCUMULATOR, At, D_STATE, D_TEMPORARY, NEW_STATE, TEMPORARY};
use super::places::{Step, Ways};
use std::ops::Range;

/// One row of one step, forward.
///
/// Slices are as long as [`units`](Self::units) says. If the stage takes whole rows, these are all units. If not, they
/// are some contiguous units, the same in every slice, and asking for a slice of another width panics.
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

impl<'a, E> Forward<'a, E> {
    /// Reads the old state and the inputs, and writes the sums, the new state, temporaries and output.
    #[inline(always)]
    pub(super) fn new(step: &'a Step<'a, E>, at: At) -> Self {
        Self { step, at }
    }

    /// The sums of stage number `stage`: this stage's, or an earlier one's as it left them. One slice per gate, in the
    /// order of the product's columns: `let [r, u] = row.sums(0);`. Backward finds them as you leave them. In a run
    /// without backward (see [`is_recording`](Self::is_recording)), what you leave does not matter.
    ///
    /// # Panics
    /// If the stage comes later or does not have `N` gates, or its sums were handed out before.
    #[inline(always)]
    #[track_caller]
    pub fn sums<const N: usize>(&mut self, stage: usize) -> [&'a mut [E]; N] {
        self.at.sums_so_far(self.step, stage)
    }

    /// A leaf of the state before the step.
    ///
    /// # Panics
    /// If there is none.
    #[inline(always)]
    #[track_caller]
    #[must_use]
    pub fn state(&self, leaf: usize) -> &'a [E] {
        self.at.read("state", leaf, &self.step.old)
    }

    /// The same leaf after the step, to be written. Until then it holds unrelated numbers.
    ///
    /// # Panics
    /// If there is none, or it was handed out before.
    #[inline(always)]
    #[track_caller]
    pub fn new_state(&mut self, leaf: usize) -> &'a mut [E] {
        self.at.write(NEW_STATE, leaf, &self.step.new)
    }

    /// A temporary, for a later stage of the same step, or for backward.
    ///
    /// # Panics
    /// If there is none, or it was handed out before.
    #[inline(always)]
    #[track_caller]
    pub fn temporary(&mut self, temporary: usize) -> &'a mut [E] {
        self.at.write(TEMPORARY, temporary, &self.step.temporaries)
    }

    /// The output, to be written.
    ///
    /// # Panics
    /// If it was handed out before.
    #[inline(always)]
    #[track_caller]
    pub fn output(&mut self) -> &'a mut [E] {
        self.at.output(self.step.output)
    }

    /// The step's input, all of it.
    #[inline(always)]
    #[must_use]
    pub fn input(&self) -> &'a [E] {
        self.at.whole_row(self.step.x)
    }

    /// Which units of the row these are. Cut the cell's own weights to them: in a large batch a row's units come in
    /// several calls.
    #[inline(always)]
    #[must_use]
    pub fn units(&self) -> Range<usize> {
        self.at.units()
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
        self.at.row()
    }
}

impl<'a, E> Backward<'a, E> {
    /// Reads the states and the output's gradient, and writes anything else.
    #[inline(always)]
    pub(super) fn new(step: &'a Step<'a, E>, ways: &'a Ways<'a, E>, at: At) -> Self {
        Self { step, ways, at }
    }

    /// What forward left in the sums of stage number `stage`. Turn them into their gradients before that stage's
    /// backward ends. Until then, any stage may read them or replace a value by a gradient. One slice per gate.
    ///
    /// # Panics
    /// If the stage does not have `N` gates, or its sums were handed out before.
    #[inline(always)]
    #[track_caller]
    pub fn sums<const N: usize>(&mut self, stage: usize) -> [&'a mut [E]; N] {
        self.at.sums(self.step, stage)
    }

    /// A leaf of the state before the step.
    ///
    /// # Panics
    /// If there is none.
    #[inline(always)]
    #[track_caller]
    #[must_use]
    pub fn state(&self, leaf: usize) -> &'a [E] {
        self.at.read("state", leaf, &self.step.old)
    }

    /// A leaf of the state after the step.
    ///
    /// # Panics
    /// If there is none.
    #[inline(always)]
    #[track_caller]
    #[must_use]
    pub fn new_state(&self, leaf: usize) -> &'a [E] {
        self.at.read("new_state", leaf, &self.step.new)
    }

    /// The gradient of a leaf: of the new state, to be turned into that of the old one, as far as the equation goes.
    /// After the stage, the driver adds what flows back through the stage's product.
    ///
    /// # Panics
    /// If there is none, or it was handed out before.
    #[inline(always)]
    #[track_caller]
    pub fn d_state(&mut self, leaf: usize) -> &'a mut [E] {
        self.at.write(D_STATE, leaf, &self.ways.leaves)
    }

    /// What forward left in a temporary. May be overwritten.
    ///
    /// # Panics
    /// If there is none, or it was handed out before.
    #[inline(always)]
    #[track_caller]
    pub fn temporary(&mut self, temporary: usize) -> &'a mut [E] {
        self.at.write(TEMPORARY, temporary, &self.step.temporaries)
    }

    /// The gradient of a temporary: what flowed back through the product that multiplied it, or what a later stage wrote.
    ///
    /// # Panics
    /// If there is none, or it was handed out before.
    #[inline(always)]
    #[track_caller]
    pub fn d_temporary(&mut self, temporary: usize) -> &'a mut [E] {
        self.at.write(D_TEMPORARY, temporary, &self.ways.temporaries)
    }

    /// Sums over steps of this row, for the gradients of a cell's own weights. (For those of its products see
    /// [`Samples`](crate::fused::Samples).) Only add to them: between steps they may be moved to a longer sum and start
    /// again at 0.
    ///
    /// # Panics
    /// If there is none, or it was handed out before.
    #[inline(always)]
    #[track_caller]
    pub fn accumulator(&mut self, accumulator: usize) -> &'a mut [E] {
        self.at.write(ACCUMULATOR, accumulator, &self.ways.accumulators)
    }

    /// The gradient of the output. Use it in one stage only, the one that wrote the output.
    #[inline(always)]
    #[track_caller]
    #[must_use]
    pub fn d_output(&self) -> &'a [E] {
        self.at.d_output(self.ways.output.step(self.step.t))
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
        self.at.row()
    }
}
