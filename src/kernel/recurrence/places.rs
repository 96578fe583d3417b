//! Where a run keeps everything: in buffers that runs reuse, or in a record.

use super::plan::{MOST, Widths};
use crate::kernel::Element;
use crate::kernel::buffer::uninit;
use crate::kernel::memory::{Arena, room, spaced, total};
use crate::kernel::rows::{Grid, Rows};
use std::mem::MaybeUninit;

/// What a run of steps leaves for backward: for each step and row, the sums as the equation left them, the temporaries,
/// and the state before and after.
pub struct Record<E> {
    pub(super) steps: usize,
    pub(super) rows: usize,
    pub(super) widths: Widths,
    /// Written by the run before anybody reads: sums by products, the old state when it is loaded, the rest before the
    /// first step. All is one piece, because allocators are more likely to keep one large piece for the next run than
    /// several.
    numbers: Box<[MaybeUninit<E>]>,
}

impl<E> std::fmt::Debug for Record<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record").field("steps", &self.steps).field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl<E: Element> Record<E> {
    pub(super) fn new(steps: usize, rows: usize, widths: Widths) -> Self {
        let pieces = |widths: [usize; MOST], steps| total(widths.map(|width| room([steps, rows, spaced(width)])));
        let numbers = [pieces(widths.sums, steps), pieces(widths.temporaries, steps), pieces(widths.leaves, steps + 1)];
        Self { steps, rows, widths, numbers: uninit([total(numbers)]) }
    }
}

/// A leaf of the state before the first step and after each step: all kept, or the last two in turn.
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

    /// The grid whose step `t` is the state before step `t`.
    #[inline(always)]
    pub(super) fn before(self, t: usize) -> Grid<'a, E> {
        if t.is_multiple_of(2) { self.even } else { self.odd }
    }

    fn width(&self) -> usize {
        self.even.width()
    }

    /// All that is kept.
    pub(super) fn all(self) -> Grid<'a, E> {
        self.even
    }
}

/// Where a run keeps everything that the equation sees in forward.
pub(super) struct Places<'a, E> {
    pub recording: bool,
    /// The numbers of all stages, leaves and temporaries are below this.
    used: usize,
    pub units: [usize; MOST],
    /// From one slot of a stage's sums to the next.
    pub slots: [usize; MOST],
    pub sums: [Grid<'a, E>; MOST],
    pub temporaries: [Grid<'a, E>; MOST],
    pub leaves: [Leaf<'a, E>; MOST],
    pub x: Grid<'a, E>,
    pub output: Grid<'a, E>,
}

/// Where everything of one step is. Anything that a cell does not have is [`Rows::NONE`].
pub(super) struct Step<'a, E> {
    pub t: usize,
    pub recording: bool,
    pub units: [usize; MOST],
    pub slots: [usize; MOST],
    pub sums: [Rows<'a, E>; MOST],
    pub temporaries: [Rows<'a, E>; MOST],
    /// The state's leaves before the step, and after it.
    pub old: [Rows<'a, E>; MOST],
    pub new: [Rows<'a, E>; MOST],
    pub x: Rows<'a, E>,
    pub output: Rows<'a, E>,
}

impl<E> Step<'_, E> {
    /// The gates of each stage, with both halves of a split one.
    pub(super) fn gates(&self) -> [usize; MOST] {
        std::array::from_fn(|k| self.sums[k].width().checked_div(self.slots[k]).unwrap_or(0))
    }
}

impl<'a, E> Places<'a, E> {
    /// No step yet. [`go`](Self::go) moves it to one.
    pub(super) fn no_step(&self) -> Step<'a, E> {
        let none = [Rows::NONE; MOST];
        let (x, output) = (Rows::NONE, Rows::NONE);
        let &Self { recording, units, slots, .. } = self;
        Step { t: 0, recording, units, slots, sums: none, temporaries: none, old: none, new: none, x, output }
    }

    /// Moves `step` to step number `t`.
    #[inline(always)]
    pub(super) fn go(&self, step: &mut Step<'a, E>, t: usize) {
        step.t = t;
        step.x = self.x.step(t);
        if self.output.width() > 0 {
            step.output = self.output.step(t);
        }
        for k in 0..self.used {
            if self.sums[k].width() > 0 {
                step.sums[k] = self.sums[k].step(t);
            }
            if self.temporaries[k].width() > 0 {
                step.temporaries[k] = self.temporaries[k].step(t);
            }
            if self.leaves[k].width() > 0 {
                step.old[k] = self.leaves[k].before(t).step(t);
                step.new[k] = self.leaves[k].before(t + 1).step(t + 1);
            }
        }
    }
}

impl<'a, E: Element> Places<'a, E> {
    /// No places yet, for a run of these widths.
    pub(super) fn empty(recording: bool, widths: &Widths) -> Self {
        Self {
            recording,
            used: widths.used,
            units: widths.units,
            slots: widths.units,
            sums: [Grid::NONE; MOST],
            temporaries: [Grid::NONE; MOST],
            leaves: [Leaf::kept(Grid::NONE); MOST],
            x: Grid::NONE,
            output: Grid::NONE,
        }
    }

    /// Puts everything except inputs and output in the memory of a record.
    pub(super) fn record(&mut self, record: &'a mut Record<E>) {
        let Record { steps, rows, widths, numbers } = record;
        let (steps, rows, mut left) = (*steps, *rows, &mut numbers[..]);
        let mut grid = |steps: usize, width: usize| {
            let stride = spaced(width);
            let (piece, rest) = std::mem::take(&mut left).split_at_mut(room([steps, rows, stride]));
            left = rest;
            // Nothing is read before it is written: a stage's product writes a step's sums for all rows before its
            // equation sees them, `load_leaf` the first state, `Run::clear` the rest.
            Grid::unwritten(&mut piece[..steps * rows * stride], (steps, rows, width), stride)
        };
        self.sums = widths.sums.map(|width| grid(steps, width));
        self.temporaries = widths.temporaries.map(|width| grid(steps, width));
        self.leaves = widths.leaves.map(|width| Leaf::kept(grid(steps + 1, width)));
    }

    /// What an equation may leave unwritten, temporaries and new states, and the first step of each.
    pub(super) fn to_clear(&self) -> impl Iterator<Item = (Grid<'a, E>, usize)> {
        let leaves = self.leaves.iter().map(|leaf| (leaf.all(), 1));
        let kept = self.temporaries.iter().map(|&temporary| (temporary, 0)).chain(leaves);
        kept.filter(|(grid, _)| grid.width() > 0)
    }

    /// Numbers that [`scratch`](Self::scratch) takes.
    ///
    /// # Panics
    /// If a piece is larger than memory can be.
    pub(super) fn scratch_numbers(rows: usize, widths: &Widths) -> usize {
        let Widths { temporaries, leaves, padded, .. } = widths;
        let pieces = |k: usize| [widths.slots(k) * spaced(padded[k]), temporaries[k], leaves[k], leaves[k]];
        total((0..widths.used).flat_map(pieces).map(|width| room([rows, spaced(width)])))
    }

    /// As [`record`](Self::record), but each step reuses the memory of the last one.
    pub(super) fn scratch(&mut self, (steps, rows): (usize, usize), widths: &Widths, arena: &mut Arena<'a, E>) {
        let mut grid = |steps: usize, width: usize| {
            let stride = spaced(width);
            Grid::repeated(arena.take_lines(rows * stride), (steps, rows, width), stride)
        };
        for k in 0..widths.used {
            if widths.sums[k] > 0 {
                self.slots[k] = spaced(widths.padded[k]);
                self.sums[k] = grid(steps, widths.slots(k) * self.slots[k]);
            }
            if widths.temporaries[k] > 0 {
                self.temporaries[k] = grid(steps, widths.temporaries[k]);
            }
            if widths.leaves[k] > 0 {
                let width = widths.leaves[k];
                self.leaves[k] = Leaf::in_turn(grid(steps + 1, width), grid(steps + 1, width));
            }
        }
    }
}

/// Where the gradients are that the equation sees in backward. All except the outputs' are of one step.
pub(super) struct Ways<'a, E> {
    pub leaves: [Rows<'a, E>; MOST],
    pub temporaries: [Rows<'a, E>; MOST],
    pub accumulators: [Rows<'a, E>; MOST],
    /// What accumulators summed before the current stretch of steps. Nothing in a run of one stretch.
    pub accumulated: [Rows<'a, f64>; MOST],
    pub output: Grid<'a, E>,
}

impl<'a, E: Element> Ways<'a, E> {
    /// The accumulators that have a second level, and that.
    pub(super) fn stretches(&self) -> impl Iterator<Item = (Rows<'a, E>, Rows<'a, f64>)> {
        self.accumulators.into_iter().zip(self.accumulated).filter(|(_, accumulated)| accumulated.width() > 0)
    }
}
