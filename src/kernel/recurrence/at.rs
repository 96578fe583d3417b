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
    /// Whether slices of other widths are available. Then `units` are all of the stage.
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
    /// # Safety
    /// The row exists, and so do the units: all of them if `whole`. For as long as slices of the row are in use, nobody
    /// writes what is read through this, and nobody else has these units of this row in what is written:
    /// [`Forward`](super::row::Forward) and [`Backward`](super::row::Backward) say which is which.
    #[inline(always)]
    pub(super) unsafe fn new((row, stage): (usize, usize), units: Range<usize>, width: usize, whole: bool) -> Self {
        debug_assert!(!whole || units == (0..width), "a stage of whole rows gets all units");
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

    /// One of several slices that nobody writes for `'a`, as promised to `At::new`.
    #[inline(always)]
    #[track_caller]
    pub(super) fn read<'a, E>(&self, accessor: &'static str, number: usize, all: &[Rows<'a, E>; MOST]) -> &'a [E] {
        let rows = self.of(accessor, number, all);
        let (from, to) = self.range(accessor, number, rows.width());
        self.slice(rows, from, to)
    }

    #[inline(always)]
    #[track_caller]
    pub(super) fn d_output<'a, E>(&self, rows: Rows<'a, E>) -> &'a [E] {
        let (from, to) = self.range("d_output", 0, rows.width());
        self.slice(rows, from, to)
    }

    /// All of a row that nobody writes for `'a`.
    #[inline(always)]
    pub(super) fn whole_row<'a, E>(&self, rows: Rows<'a, E>) -> &'a [E] {
        self.slice(rows, 0, rows.width())
    }

    /// Places that exist in a row that nobody writes for `'a`.
    #[inline(always)]
    fn slice<'a, E>(&self, rows: Rows<'a, E>, from: usize, to: usize) -> &'a [E] {
        // SAFETY: the row exists and nobody writes it, as promised to `new`. Callers stay within the width.
        unsafe { rows.slice(self.row, from, to) }
    }

    /// One of several slices that belong to this row alone, handed out once.
    #[inline(always)]
    #[track_caller]
    pub(super) fn write<'a, E>(&mut self, kind: Kind, number: usize, all: &[Rows<'a, E>; MOST]) -> &'a mut [E] {
        let rows = self.of(kind.accessor, number, all);
        self.write_rows(kind, number, rows)
    }

    #[inline(always)]
    #[track_caller]
    pub(super) fn output<'a, E>(&mut self, rows: Rows<'a, E>) -> &'a mut [E] {
        self.write_rows(OUTPUT, 0, rows)
    }

    #[inline(always)]
    #[track_caller]
    fn write_rows<'a, E>(&mut self, kind: Kind, number: usize, rows: Rows<'a, E>) -> &'a mut [E] {
        self.take(kind, number);
        let (from, to) = self.range(kind.accessor, number, rows.width());
        // SAFETY: as above, and nobody else has these units; `take` checked that they were not handed out before.
        unsafe { rows.slice_mut(self.row, from, to) }
    }

    /// The sums of a stage, slot by slot, handed out once.
    #[inline(always)]
    #[track_caller]
    pub(super) fn sums<'a, E, const N: usize>(&mut self, step: &Step<'a, E>, stage: usize) -> [&'a mut [E]; N] {
        let sums = self.of_sums(step, stage, N);
        self.take(SUMS, stage);
        let stride = step.slots[stage];
        let (from, to) = self.range(SUMS.accessor, stage, step.units[stage]);
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
            refuse_later(self.stage, stage);
        }
        self.sums(step, stage)
    }

    /// The part of a slice of `width` numbers that belongs to this stage's units.
    #[inline(always)]
    #[track_caller]
    fn range(&self, accessor: &'static str, number: usize, width: usize) -> (usize, usize) {
        if !self.whole && width != self.width {
            refuse_part(self.stage, accessor, number, width, self.width);
        }
        // The units of a whole row are all units, from 0 on.
        (self.units.start, if self.whole { width } else { self.units.end })
    }

    #[inline(always)]
    #[track_caller]
    fn take(&mut self, kind: Kind, number: usize) {
        let bit = 1 << (kind.bit + number);
        if self.taken & bit != 0 {
            refuse_twice(self.stage, kind.accessor, number);
        }
        self.taken |= bit;
    }

    /// # Panics
    /// If the cell has no such place.
    #[inline(always)]
    #[track_caller]
    fn of<'a, E>(&self, accessor: &'static str, number: usize, all: &[Rows<'a, E>; MOST]) -> Rows<'a, E> {
        if number >= MOST || all[number].width() == 0 {
            refuse_missing(self.stage, accessor, number, all);
        }
        all[number]
    }

    /// # Panics
    /// If the cell has no such stage, or not with so many gates.
    #[inline(always)]
    #[track_caller]
    fn of_sums<'a, E>(&self, step: &Step<'a, E>, stage: usize, gates: usize) -> Rows<'a, E> {
        let width = step.sums.get(stage).map_or(0, Rows::width);
        if width == 0 || step.slots[stage].checked_mul(gates) != Some(width) {
            refuse_gates(self.stage, stage, gates, step);
        }
        step.sums[stage]
    }
}

// What refuses takes scalars: what a message needs stays in registers, and nothing is written to memory before it is
// known that there will be a message.

#[cold]
#[inline(never)]
#[track_caller]
fn refuse_missing<E>(stage: usize, accessor: &'static str, number: usize, all: &[Rows<'_, E>; MOST]) -> ! {
    let (asked, widths) = (Asked { stage, accessor, number }, all.map(|rows| rows.width()));
    panic!("{asked}, but those of the cell, counted from 0, have the widths {:?}", in_use(&widths));
}

#[cold]
#[inline(never)]
#[track_caller]
fn refuse_gates<E>(stage: usize, number: usize, gates: usize, step: &Step<'_, E>) -> ! {
    let (asked, found) = (Asked { stage, accessor: SUMS.accessor, number }, step.gates());
    panic!("{asked} of {gates} gates, but the stages, counted from 0, have {:?} gates", in_use(&found));
}

#[cold]
#[inline(never)]
#[track_caller]
fn refuse_later(stage: usize, number: usize) -> ! {
    let asked = Asked { stage, accessor: SUMS.accessor, number };
    panic!("{asked}, but that stage's sums are computed later");
}

#[cold]
#[inline(never)]
#[track_caller]
fn refuse_part(stage: usize, accessor: &'static str, number: usize, width: usize, units: usize) -> ! {
    let asked = Asked { stage, accessor, number };
    panic!(
        "{asked} of width {width}, but gets some of its {units} units at a time: it must take whole rows, unless the \
         width is wrong"
    );
}

#[cold]
#[inline(never)]
#[track_caller]
fn refuse_twice(stage: usize, accessor: &'static str, number: usize) -> ! {
    let asked = Asked { stage, accessor, number };
    panic!("{asked} twice, but what may be written is handed out once");
}

/// What a stage's equation asks for: an accessor and its argument.
struct Asked {
    stage: usize,
    accessor: &'static str,
    number: usize,
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
