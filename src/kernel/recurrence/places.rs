//! Where everything of a run is: in buffers that runs reuse, or in a record.

use super::plan::{MOST, Widths};
use crate::kernel::Element;
use crate::kernel::buffer::{uninit, zeroed};
use crate::kernel::memory::{Arena, lines};
use crate::kernel::rows::Grid;
use std::mem::MaybeUninit;
use std::ops::Range;

/// What a run of steps leaves for the way back: for each step and row the sums as the equation left them, the temporaries, and
/// the state before and after.
pub struct Record<E> {
    pub(super) steps: usize,
    pub(super) rows: usize,
    pub(super) widths: Widths,
    /// Of stages with a product, which writes all of them before anybody reads.
    sums: [Box<[MaybeUninit<E>]>; MOST],
    temporaries: [Vec<E>; MOST],
    leaves: [Vec<E>; MOST],
}

impl<E> std::fmt::Debug for Record<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record").field("steps", &self.steps).field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl<E: Element> Record<E> {
    pub(super) fn new(steps: usize, rows: usize, widths: Widths) -> Self {
        let zeros = |steps: usize| move |width: usize| zeroed([steps, rows, spaced(width)]);
        Self {
            steps,
            rows,
            widths,
            sums: widths.sums.map(|width| uninit([steps, rows, spaced(width)])),
            temporaries: widths.temporaries.map(zeros(steps)),
            leaves: widths.leaves.map(zeros(steps + 1)),
        }
    }
}

/// Numbers from one row to the next. Rows that are a multiple of 1 KiB apart would share few sets of the first cache.
pub(super) fn spaced(width: usize) -> usize {
    if width > 0 && width.is_multiple_of(256) { width + 16 } else { width }
}

/// A leaf of the state before the first step and after each: all kept, or the last two in turn.
pub(super) struct Leaf<'a, E> {
    even: Grid<'a, E>,
    odd: Grid<'a, E>,
}

impl<E> Clone for Leaf<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Leaf<'_, E> {}

impl<'a, E> Leaf<'a, E> {
    pub(super) fn kept(all: Grid<'a, E>) -> Self {
        Self { even: all, odd: all }
    }

    pub(super) fn in_turn(even: Grid<'a, E>, odd: Grid<'a, E>) -> Self {
        Self { even, odd }
    }

    /// Where the state before step `t` is, at step `t` of what is returned.
    #[inline(always)]
    pub(super) fn before(self, t: usize) -> Grid<'a, E> {
        if t.is_multiple_of(2) { self.even } else { self.odd }
    }

    /// All that is kept.
    pub(super) fn all(self) -> Grid<'a, E> {
        self.even
    }
}

/// Where everything is that the equation sees on the way forward.
pub(super) struct Places<'a, E> {
    pub recording: bool,
    pub units: [usize; MOST],
    /// From one slot of a stage's sums to the next.
    pub slots: [usize; MOST],
    pub sums: [Grid<'a, E>; MOST],
    pub temporaries: [Grid<'a, E>; MOST],
    pub leaves: [Leaf<'a, E>; MOST],
    pub x: Grid<'a, E>,
    pub output: Grid<'a, E>,
}

impl<'a, E: Element> Places<'a, E> {
    /// Nothing yet, for a run of these widths.
    fn empty(recording: bool, widths: &Widths) -> Self {
        Self {
            recording,
            units: widths.units,
            slots: widths.units,
            sums: [Grid::NONE; MOST],
            temporaries: [Grid::NONE; MOST],
            leaves: [Leaf::kept(Grid::NONE); MOST],
            x: Grid::NONE,
            output: Grid::NONE,
        }
    }

    /// Everything but inputs and output, in the memory of a record.
    pub(super) fn recorded(record: &'a mut Record<E>) -> Self {
        let Record { steps, rows, widths, sums, temporaries, leaves } = record;
        let (steps, rows) = (*steps, *rows);
        let mut places = Self::empty(true, widths);
        let grid = |numbers, steps: usize, width: usize| Grid::spaced(numbers, (steps, rows, width), spaced(width));
        for (k, ((sums, temporaries), leaves)) in sums.iter_mut().zip(temporaries).zip(leaves).enumerate() {
            let (width, stride) = (widths.sums[k], spaced(widths.sums[k]));
            let strides = ((rows * stride) as isize, stride as isize);
            // SAFETY: there is room for every step and row, borrowed mutably. A stage's product writes the sums of all rows of a
            // step, forward, before its equation sees them: a record that is handed out has all of them.
            places.sums[k] = unsafe { Grid::new(sums.as_mut_ptr().cast(), strides, (steps, rows, width)) };
            places.temporaries[k] = grid(temporaries, steps, widths.temporaries[k]);
            places.leaves[k] = Leaf::kept(grid(leaves, steps + 1, widths.leaves[k]));
        }
        places
    }

    /// Numbers that [`scratch`](Self::scratch) takes.
    pub(super) fn scratch_numbers(rows: usize, widths: &Widths) -> usize {
        let Widths { temporaries, leaves, .. } = widths;
        let mut numbers = 0;
        for k in 0..MOST {
            let sums = widths.slots(k) * spaced(widths.units[k]);
            numbers += lines(rows * spaced(sums));
            numbers += lines(rows * spaced(temporaries[k])) + 2 * lines(rows * spaced(leaves[k]));
        }
        numbers
    }

    /// As [`recorded`](Self::recorded), each step in the memory of the last one.
    pub(super) fn scratch((steps, rows): (usize, usize), widths: &Widths, arena: &mut Arena<'a, E>) -> Self {
        let mut grid = |steps: usize, width: usize| {
            let stride = spaced(width);
            Grid::repeated(arena.take_lines(rows * stride), (steps, rows, width), stride)
        };
        let mut places = Self::empty(false, widths);
        // Most are not there: a single step is a few hundred nanoseconds.
        for k in 0..MOST {
            if widths.sums[k] > 0 {
                places.slots[k] = spaced(widths.units[k]);
                places.sums[k] = grid(steps, widths.slots(k) * places.slots[k]);
            }
            if widths.temporaries[k] > 0 {
                places.temporaries[k] = grid(steps, widths.temporaries[k]);
            }
            if widths.leaves[k] > 0 {
                let width = widths.leaves[k];
                places.leaves[k] = Leaf::in_turn(grid(steps + 1, width), grid(steps + 1, width));
            }
        }
        places
    }
}

/// Where the gradients are that the equation sees on the way back.
pub(super) struct Ways<'a, E> {
    pub leaves: [Grid<'a, E>; MOST],
    pub temporaries: [Grid<'a, E>; MOST],
    pub accumulators: [Grid<'a, E>; MOST],
    /// What they held before the present stretch of steps; nothing in a run of one stretch.
    pub accumulated: [Grid<'a, f64>; MOST],
    pub output: Grid<'a, E>,
}

impl<E: Element> Ways<'_, E> {
    /// Moves what the accumulators of some rows hold to what they held before.
    ///
    /// # Safety
    /// The rows exist, and nobody else has them.
    pub(super) unsafe fn end_stretch(&self, rows: Range<usize>) {
        for (accumulator, accumulated) in self.accumulators.iter().zip(self.accumulated) {
            for row in rows.clone().filter(|_| accumulated.width() > 0) {
                // SAFETY: the caller's promise; both grids have the same rows.
                let (numbers, before) = unsafe {
                    let numbers = accumulator.slice_mut(0, row, 0, accumulator.width());
                    (numbers, accumulated.slice_mut(0, row, 0, accumulated.width()))
                };
                for (number, before) in numbers.iter_mut().zip(before) {
                    *before += E::value(*number);
                    *number = E::default();
                }
            }
        }
    }
}
