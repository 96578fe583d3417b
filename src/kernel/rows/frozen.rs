//! [`Frozen`]: a grid that is only read.

use super::Grid;
use ndarray::ArrayView3;

/// A [`Grid`] that nobody writes, so anybody may read its rows.
pub struct Frozen<'a, E>(Grid<'a, E>);

impl<E> Clone for Frozen<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Frozen<'_, E> {}

impl<'a, E> Grid<'a, E> {
    /// # Safety
    /// All these places exist and hold numbers. Nobody writes them while the result, or a slice of it, is in use.
    pub(in crate::kernel) unsafe fn frozen(self) -> Frozen<'a, E> {
        Frozen(self)
    }
}

impl<'a, E> Frozen<'a, E> {
    /// No steps.
    pub(in crate::kernel) const NONE: Self = Self(Grid::NONE);

    /// # Panics
    /// If the numbers of a row are not contiguous.
    pub(in crate::kernel) fn of_array(array: ArrayView3<'a, E>) -> Self {
        let strides = [array.strides()[0], array.strides()[1], array.strides()[2]];
        Self(Grid::strided(array.as_ptr().cast_mut(), strides, array.dim()))
    }

    /// As [`Grid::of`].
    ///
    /// # Panics
    /// If `numbers` has another length.
    pub(in crate::kernel) fn of(numbers: &'a mut [E], dim: (usize, usize, usize)) -> Self {
        Self(Grid::of(numbers, dim))
    }

    /// As [`Grid::spaced`].
    ///
    /// # Panics
    /// If `numbers` has another length, or rows overlap.
    pub(in crate::kernel) fn spaced(numbers: &'a mut [E], dim: (usize, usize, usize), stride: usize) -> Self {
        Self(Grid::spaced(numbers, dim, stride))
    }

    /// The grid, for a product to read.
    pub(in crate::kernel) fn grid(self) -> Grid<'a, E> {
        self.0
    }

    pub(in crate::kernel) fn dim(&self) -> (usize, usize, usize) {
        self.0.dim()
    }

    pub(in crate::kernel) fn width(&self) -> usize {
        self.0.width
    }

    /// As [`Grid::columns`].
    ///
    /// # Panics
    /// If they do not exist.
    pub(in crate::kernel) fn columns(self, from: usize, to: usize) -> Self {
        Self(self.0.columns(from, to))
    }

    /// As [`Grid::first`].
    ///
    /// # Panics
    /// If there are fewer.
    pub(in crate::kernel) fn first(self, steps: usize) -> Self {
        Self(self.0.first(steps))
    }

    /// # Panics
    /// If there is no such row.
    #[inline(always)]
    pub(in crate::kernel) fn row(self, step: usize, row: usize) -> &'a [E] {
        let Self(grid) = self;
        if step >= grid.steps || row >= grid.rows {
            refuse_row((step, row), (grid.steps, grid.rows));
        }
        // SAFETY: the row exists and nobody writes it: the memory is borrowed, or `Grid::frozen`'s caller promised it.
        unsafe { grid.step(step).slice(row, 0, grid.width) }
    }
}

/// Out of line and by value: a message made in place would have the caller's loop write to memory what it mentions.
#[cold]
#[inline(never)]
fn refuse_row(row: (usize, usize), rows: (usize, usize)) -> ! {
    panic!("{row:?} of {rows:?}");
}
