//! Memory handed out piece by piece, and arrays as grids: in place, or copied if their rows are not contiguous.

use super::Element;
use super::buffer::count;
use super::rows::{Frozen, Grid};
use ndarray::{ArrayView3, ArrayViewMut2, ArrayViewMut3};

/// Memory, handed out piece by piece.
pub(super) struct Arena<'a, E>(&'a mut [E]);

/// Numbers in one cache line (`f32`) or two (`f64`). Every piece of a workspace begins on a line.
const LINE: usize = 16;

/// Numbers that a piece of this shape takes: whole lines.
///
/// # Panics
/// If the shape is larger than memory can be.
pub(super) fn room<const N: usize>(shape: [usize; N]) -> usize {
    count([count(shape).div_ceil(LINE), LINE])
}

/// Numbers from one row to the next. Rows a multiple of 1 KiB apart would share few sets of the L1 cache.
pub(super) fn spaced(width: usize) -> usize {
    if width > 0 && width.is_multiple_of(256) { width.saturating_add(16) } else { width }
}

/// Numbers of all pieces. If a `usize` cannot count them, its maximum, which no allocation has.
pub(super) fn total(pieces: impl IntoIterator<Item = usize>) -> usize {
    pieces.into_iter().fold(0, usize::saturating_add)
}

impl<'a, E: Element> Arena<'a, E> {
    pub(super) fn new(numbers: &'a mut [E]) -> Self {
        Self(numbers)
    }

    /// # Panics
    /// If too few are left.
    pub(super) fn take(&mut self, numbers: usize) -> &'a mut [E] {
        let (taken, left) = std::mem::take(&mut self.0).split_at_mut(numbers);
        self.0 = left;
        taken
    }

    /// As [`take`](Self::take), but the rest then begins on a line.
    pub(super) fn take_lines(&mut self, numbers: usize) -> &'a mut [E] {
        &mut self.take(room([numbers]))[..numbers]
    }
}

/// Whether the numbers of a row are contiguous.
pub(super) fn is_contiguous(features: usize, stride: isize) -> bool {
    features <= 1 || stride == 1
}

/// The array itself if the numbers of a row are contiguous, else a copy in the arena.
pub(super) fn readable<'r, 'a: 'r, 'b: 'r, E: Element>(
    array: ArrayView3<'a, E>,
    arena: &mut Arena<'b, E>,
) -> Frozen<'r, E> {
    let dim = array.dim();
    if is_contiguous(dim.2, array.strides()[2]) {
        return Frozen::of_array(array);
    }
    Frozen::of(copy(array, arena.take_lines(array.len())), dim)
}

fn copy<'a, 'b, E: Element>(numbers: impl IntoIterator<Item = &'b E>, to: &'a mut [E]) -> &'a mut [E] {
    to.iter_mut().zip(numbers).for_each(|(to, &from)| *to = from);
    to
}

/// Numbers that [`readable`] or [`writable`] takes from the arena.
pub(super) fn copy_numbers(dim: (usize, usize, usize), stride: isize) -> usize {
    if is_contiguous(dim.2, stride) { 0 } else { room([dim.0, dim.1, dim.2]) }
}

/// The array itself if the numbers of a row are contiguous, else room in the arena, to be [`copied_back`].
pub(super) fn writable<'r, 'a: 'r, 'b: 'r, E: Element>(
    array: &mut ArrayViewMut3<'a, E>,
    arena: &mut Arena<'b, E>,
) -> Grid<'r, E> {
    let dim = array.dim();
    if is_contiguous(dim.2, array.strides()[2]) {
        return Grid::of_array(array);
    }
    Grid::of(arena.take_lines(array.len()), dim)
}

/// Copies a [`writable`] grid to its array, unless the grid is the array itself.
pub(super) fn copied_back<E: Element>(grid: Frozen<'_, E>, array: &mut ArrayViewMut3<'_, E>) {
    if is_contiguous(array.dim().2, array.strides()[2]) {
        return;
    }
    for (step, mut to) in array.outer_iter_mut().enumerate() {
        store_leaf(&mut to, grid, step);
    }
}

/// A state's leaf as a grid whose steps all share the leaf's memory, if the numbers of a row are contiguous.
pub(super) fn leaf_in_place<'r, 'a: 'r, E: Element>(
    leaf: &mut ArrayViewMut2<'a, E>,
    steps: usize,
) -> Option<Grid<'r, E>> {
    is_contiguous(leaf.ncols(), leaf.strides()[1]).then(|| Grid::of_rows(leaf, steps))
}

/// A copy of a leaf, as a grid of one step.
pub(super) fn leaf_copied<'a, E: Element>(leaf: &ArrayViewMut2<'_, E>, arena: &mut Arena<'a, E>) -> Grid<'a, E> {
    Grid::of(copy(leaf, arena.take_lines(leaf.len())), (1, leaf.nrows(), leaf.ncols()))
}

/// Copies a leaf to a step of a grid.
///
/// # Safety
/// The step exists and is as wide as the leaf, and nobody else has it.
pub(super) unsafe fn load_leaf<E: Element>(leaf: &ArrayViewMut2<'_, E>, grid: Grid<'_, E>, step: usize) {
    for (row, from) in leaf.rows().into_iter().enumerate() {
        let to = grid.at(step, row);
        // SAFETY: the caller's promise. Written through pointers, as a record's memory holds no numbers yet.
        unsafe {
            match from.as_slice() {
                Some(from) => to.copy_from_nonoverlapping(from.as_ptr(), from.len()),
                None => from.iter().enumerate().for_each(|(at, &from)| to.add(at).write(from)),
            }
        }
    }
}

/// Copies a step of a grid to a leaf.
pub(super) fn store_leaf<E: Element>(leaf: &mut ArrayViewMut2<'_, E>, grid: Frozen<'_, E>, step: usize) {
    for (row, mut to) in leaf.rows_mut().into_iter().enumerate() {
        let from = grid.row(step, row);
        match to.as_slice_mut() {
            Some(to) => to.copy_from_slice(from),
            None => to.iter_mut().zip(from).for_each(|(to, &from)| *to = from),
        }
    }
}
