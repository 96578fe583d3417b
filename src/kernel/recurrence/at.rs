//! [`At`]: hands the slices of a row to an equation, or panics in the terms of the cell's author.
//!
//! Panics name the line of the equation that asked, hence `track_caller`. Their messages are made out of line, to keep
//! the equations' loops small.

use super::places::Step;
use super::plan::{MOST, in_use};
use crate::kernel::rows::Rows;
use std::ops::Range;

/// Which row of a step, for which stage and which of its units, and which writable slices have been handed out.
pub(super) struct At {
    row: usize,
    stage: usize,
    units: Range<usize>,
    /// Units of the stage.
    width: usize,
    /// Whether slices of other widths are available.
    whole: bool,
    /// A bit for each writable slice.
    taken: u32,
}

/// A kind of writable slices, `MOST` at most.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    accessor: &'static str,
    /// Of the first of them, in [`At::taken`].
    bit: usize,
}

const SUMS: Kind = Kind { accessor: "sums", bit: 0 };
pub(super) const NEW_STATE: Kind = Kind { accessor: "new_state", bit: MOST };
pub(super) const D_STATE: Kind = Kind { accessor: "d_state", bit: 2 * MOST };
pub(super) const TEMPORARY: Kind = Kind { accessor: "temporary", bit: 3 * MOST };
pub(super) const D_TEMPORARY: Kind = Kind { accessor: "d_temporary", bit: 4 * MOST };
pub(super) const ACCUMULATOR: Kind = Kind { accessor: "accumulator", bit: 5 * MOST };
const OUTPUT: Kind = Kind { accessor: "output", bit: 6 * MOST };

impl At {
    #[inline(always)]
    pub(super) fn new((row, stage): (usize, usize), units: Range<usize>, width: usize, whole: bool) -> Self {
        Self { row, stage, units, width, whole, taken: 0 }
    }

    #[inline(always)]
    pub(super) fn row(&self) -> usize {
        self.row
    }

    #[inline(always)]
    pub(super) fn units(&self) -> Range<usize> {
        self.units.clone()
    }

    #[inline(always)]
    fn asked(&self, accessor: &'static str, number: usize) -> Asked {
        Asked { stage: self.stage, accessor, number }
    }

    /// One of several slices that nobody writes for `'a`, as promised to `Forward::new` or `Backward::new`.
    #[inline(always)]
    #[track_caller]
    pub(super) fn read<'a, E>(&self, accessor: &'static str, number: usize, all: &[Rows<'a, E>; MOST]) -> &'a [E] {
        let asked = self.asked(accessor, number);
        self.read_rows(asked, asked.of(all, self.width))
    }

    #[inline(always)]
    #[track_caller]
    pub(super) fn d_output<'a, E>(&self, rows: Rows<'a, E>) -> &'a [E] {
        self.read_rows(self.asked("d_output", 0), rows)
    }

    #[inline(always)]
    #[track_caller]
    fn read_rows<'a, E>(&self, asked: Asked, rows: Rows<'a, E>) -> &'a [E] {
        let (from, to) = self.range(asked, rows.width());
        // SAFETY: the row exists and nobody writes it, as its maker promised. `range` stays within the width.
        unsafe { rows.slice(self.row, from, to) }
    }

    /// One of several slices that belong to this row alone, handed out once.
    #[inline(always)]
    #[track_caller]
    pub(super) fn write<'a, E>(&mut self, kind: Kind, number: usize, all: &[Rows<'a, E>; MOST]) -> &'a mut [E] {
        let asked = self.asked(kind.accessor, number);
        self.write_rows(kind, asked, asked.of(all, self.width))
    }

    #[inline(always)]
    #[track_caller]
    pub(super) fn output<'a, E>(&mut self, rows: Rows<'a, E>) -> &'a mut [E] {
        self.write_rows(OUTPUT, self.asked(OUTPUT.accessor, 0), rows)
    }

    #[inline(always)]
    #[track_caller]
    fn write_rows<'a, E>(&mut self, kind: Kind, asked: Asked, rows: Rows<'a, E>) -> &'a mut [E] {
        self.take(kind, asked);
        let (from, to) = self.range(asked, rows.width());
        // SAFETY: as above, and nobody else has these units; `take` checked that they were not handed out before.
        unsafe { rows.slice_mut(self.row, from, to) }
    }

    /// The sums of a stage, slot by slot, handed out once.
    #[inline(always)]
    #[track_caller]
    pub(super) fn sums<'a, E, const N: usize>(&mut self, step: &Step<'a, E>, stage: usize) -> [&'a mut [E]; N] {
        let asked = self.asked(SUMS.accessor, stage);
        let sums = asked.of_sums(step, N);
        self.take(SUMS, asked);
        let stride = step.slots[stage];
        let (from, to) = self.range(asked, step.units[stage]);
        // A loop that the compiler unrolls early: the array stays in registers.
        let mut slots = std::array::from_fn(|_| &mut [][..]);
        for (slot, place) in slots.iter_mut().enumerate() {
            // SAFETY: as above; slots do not overlap.
            *place = unsafe { sums.slice_mut(self.row, slot * stride + from, slot * stride + to) };
        }
        slots
    }

    /// As [`sums`](Self::sums), in forward, where those of later stages hold no numbers yet.
    #[inline(always)]
    #[track_caller]
    pub(super) fn sums_so_far<'a, E, const N: usize>(&mut self, step: &Step<'a, E>, stage: usize) -> [&'a mut [E]; N] {
        if stage > self.stage {
            self.asked(SUMS.accessor, stage).refuse_later();
        }
        self.sums(step, stage)
    }

    /// The part of a slice of `width` numbers that belongs to this stage's units.
    #[inline(always)]
    #[track_caller]
    fn range(&self, asked: Asked, width: usize) -> (usize, usize) {
        if width == self.width {
            return (self.units.start, self.units.end);
        }
        if !self.whole {
            asked.refuse_part(width, self.width);
        }
        (0, width)
    }

    #[inline(always)]
    #[track_caller]
    fn take(&mut self, kind: Kind, asked: Asked) {
        let bit = 1 << (kind.bit + asked.number);
        if self.taken & bit != 0 {
            asked.refuse_twice();
        }
        self.taken |= bit;
    }
}

/// What a stage's equation asks for: an accessor and its argument.
#[derive(Clone, Copy)]
struct Asked {
    stage: usize,
    accessor: &'static str,
    number: usize,
}

impl Asked {
    /// For a stage of `units` units.
    ///
    /// # Panics
    /// If the cell has no such place.
    #[inline(always)]
    #[track_caller]
    fn of<'a, E>(self, all: &[Rows<'a, E>; MOST], units: usize) -> Rows<'a, E> {
        // Most places are as wide as the stage. The caller compares that too, so it costs nothing here.
        if self.number >= MOST || (all[self.number].width() != units && all[self.number].width() == 0) {
            self.refuse_missing(all);
        }
        all[self.number]
    }

    /// # Panics
    /// If the cell has no such stage, or not with so many gates.
    #[inline(always)]
    #[track_caller]
    fn of_sums<'a, E>(self, step: &Step<'a, E>, gates: usize) -> Rows<'a, E> {
        let width = step.sums.get(self.number).map_or(0, Rows::width);
        if width == 0 || step.slots[self.number].checked_mul(gates) != Some(width) {
            self.refuse_gates(gates, step);
        }
        step.sums[self.number]
    }

    #[cold]
    #[inline(never)]
    #[track_caller]
    fn refuse_missing<E>(self, all: &[Rows<'_, E>; MOST]) -> ! {
        let widths = all.map(|rows| rows.width());
        panic!("{self}, but those of the cell, counted from 0, have the widths {:?}", in_use(&widths));
    }

    #[cold]
    #[inline(never)]
    #[track_caller]
    fn refuse_gates<E>(self, gates: usize, step: &Step<'_, E>) -> ! {
        let found = step.gates();
        panic!("{self} of {gates} gates, but the stages, counted from 0, have {:?} gates", in_use(&found));
    }

    #[cold]
    #[inline(never)]
    #[track_caller]
    fn refuse_later(self) -> ! {
        panic!("{self}, but that stage's sums are computed later");
    }

    #[cold]
    #[inline(never)]
    #[track_caller]
    fn refuse_part(self, width: usize, units: usize) -> ! {
        panic!("{self} of width {width}, but gets some of its {units} units at a time: it must take whole rows");
    }

    #[cold]
    #[inline(never)]
    #[track_caller]
    fn refuse_twice(self) -> ! {
        panic!("{self} twice, but what may be written is handed out once");
    }
}

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { stage, accessor, number } = self;
        match *accessor {
            "output" | "d_output" => write!(f, "stage {stage} asks for {accessor}()"),
            _ => write!(f, "stage {stage} asks for {accessor}({number})"),
        }
    }
}
