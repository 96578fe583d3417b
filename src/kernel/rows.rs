//! [`Rows`] and [`Grid`]: numbers in memory, seen as the rows of one step and of many steps.
//!
//! Both know their bounds and check them in debug builds. Asking where a row begins is safe; following the pointer
//! needs the caller's promise. Members of a team may share the memory and write different rows, or different places of
//! a row. So the views hand out pointers, and slices only if the caller promises that nobody else has them.

use super::buffer::count;
use ndarray::{ArrayViewMut2, ArrayViewMut3};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

mod frozen;

pub use frozen::Frozen;

/// Rows of `width` contiguous numbers. Row r begins r · `stride` numbers after row 0.
pub struct Rows<'a, E> {
    ptr: *mut E,
    stride: isize,
    rows: usize,
    width: usize,
    memory: PhantomData<&'a E>,
}

/// [`Rows`] as a tile reads them. Only debug builds keep the bounds, so that calling a tile stays cheap.
pub struct Lines<'a, E> {
    ptr: *mut E,
    stride: isize,
    #[cfg(debug_assertions)]
    ends: (usize, usize),
    memory: PhantomData<&'a E>,
}

/// Rows of `width` contiguous numbers for each of several steps.
pub struct Grid<'a, E> {
    ptr: *mut E,
    step: isize,
    row: isize,
    steps: usize,
    rows: usize,
    width: usize,
    memory: PhantomData<&'a E>,
}

impl<E> Clone for Rows<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Rows<'_, E> {}

impl<E> Clone for Grid<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Grid<'_, E> {}

impl<E> Clone for Lines<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Lines<'_, E> {}

impl<E> Lines<'_, E> {
    /// Where row `row` begins, if it exists.
    #[inline(always)]
    pub(super) fn at(self, row: usize) -> *mut E {
        self.debug_assert_inside(row + 1, 0);
        self.ptr.wrapping_offset(row as isize * self.stride)
    }

    /// The rows from `row` on, with their numbers from `column` on.
    #[inline(always)]
    pub(super) fn from(mut self, row: usize, column: usize) -> Self {
        self.debug_assert_inside(row, column);
        self.ptr = self.ptr.wrapping_offset(row as isize * self.stride).wrapping_add(column);
        #[cfg(debug_assertions)]
        {
            self.ends = (self.ends.0 - row, self.ends.1 - column);
        }
        self
    }

    /// Asserts in debug builds that there are `rows` rows of `width` numbers.
    #[inline(always)]
    pub(super) fn debug_assert_inside(&self, rows: usize, width: usize) {
        #[cfg(debug_assertions)]
        assert!(rows <= self.ends.0 && width <= self.ends.1, "{rows} rows of {width} in {:?}", self.ends);
        let _ = (rows, width);
    }
}

impl<'a, E> Rows<'a, E> {
    #[inline(always)]
    pub(super) fn lines(self) -> Lines<'a, E> {
        Lines {
            ptr: self.ptr,
            stride: self.stride,
            #[cfg(debug_assertions)]
            ends: (self.rows, self.width),
            memory: PhantomData,
        }
    }

    /// No rows.
    pub(super) const NONE: Self =
        Self { ptr: NonNull::dangling().as_ptr(), stride: 0, rows: 0, width: 0, memory: PhantomData };

    /// The same row, `rows` times.
    pub(super) fn repeated(row: &'a [E], rows: usize) -> Self {
        Self { ptr: row.as_ptr().cast_mut(), stride: 0, rows, width: row.len(), memory: PhantomData }
    }

    /// The columns of a row-major matrix of `rows` columns, as rows whose numbers are `rows` apart.
    pub(super) fn of_columns(matrix: &'a [E], rows: usize) -> Self {
        Self { ptr: matrix.as_ptr().cast_mut(), stride: 1, rows, width: matrix.len() + 1 - rows, memory: PhantomData }
    }

    /// The same, as the only step of a grid.
    pub(super) fn grid(self) -> Grid<'a, E> {
        let Self { ptr, stride, rows, width, memory } = self;
        Grid { ptr, step: 0, row: stride, steps: 1, rows, width, memory }
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Where row `row` begins, if it exists.
    #[inline(always)]
    pub(super) fn at(self, row: usize) -> *mut E {
        debug_assert!(row < self.rows, "row {row} of {}", self.rows);
        self.ptr.wrapping_offset(row as isize * self.stride)
    }

    /// The rows from `row` on, with their numbers from `column` on.
    #[inline(always)]
    pub(super) fn from(self, row: usize, column: usize) -> Self {
        debug_assert!(row <= self.rows && column <= self.width, "({row}, {column}) of ({}, {})", self.rows, self.width);
        let ptr = self.ptr.wrapping_offset(row as isize * self.stride).wrapping_add(column);
        Self { ptr, rows: self.rows - row, width: self.width - column, ..self }
    }
}

impl<E> Rows<'_, E> {
    /// # Safety
    /// The row exists, `from` and `to` are in it, and nobody writes these numbers for `'b`.
    #[inline(always)]
    pub(super) unsafe fn slice<'b>(self, row: usize, from: usize, to: usize) -> &'b [E] {
        debug_assert!(from <= to && to <= self.width, "{from} to {to} of {}", self.width);
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts(self.at(row).add(from), to - from) }
    }

    /// # Safety
    /// As [`slice`](Self::slice), and nobody else reads them.
    #[inline(always)]
    pub(super) unsafe fn slice_mut<'b>(self, row: usize, from: usize, to: usize) -> &'b mut [E] {
        debug_assert!(from <= to && to <= self.width, "{from} to {to} of {}", self.width);
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.at(row).add(from), to - from) }
    }
}

impl<'a, E> Grid<'a, E> {
    /// No steps.
    pub(super) const NONE: Self =
        Self { ptr: NonNull::dangling().as_ptr(), step: 0, row: 0, steps: 0, rows: 0, width: 0, memory: PhantomData };

    /// The array itself. It is borrowed for `'a`, and may be read or written elsewhere when nobody uses the grid.
    ///
    /// # Panics
    /// If the numbers of a row are not contiguous.
    pub(super) fn of_array(array: &mut ArrayViewMut3<'a, E>) -> Self {
        Self::strided(array.as_mut_ptr(), [array.strides()[0], array.strides()[1], array.strides()[2]], array.dim())
    }

    /// The same rows for each of `steps` steps: those of an array, as in [`of_array`](Self::of_array).
    ///
    /// # Panics
    /// If the numbers of a row are not contiguous.
    pub(super) fn of_rows(array: &mut ArrayViewMut2<'a, E>, steps: usize) -> Self {
        let (rows, width) = array.dim();
        Self::strided(array.as_mut_ptr(), [0, array.strides()[0], array.strides()[1]], (steps, rows, width))
    }

    /// The places of an array.
    ///
    /// # Panics
    /// If the numbers of a row are not contiguous.
    fn strided(ptr: *mut E, strides: [isize; 3], (steps, rows, width): (usize, usize, usize)) -> Self {
        assert!(width <= 1 || strides[2] == 1, "the numbers of a row are neighbours");
        Self { ptr, step: strides[0], row: strides[1], steps, rows, width, memory: PhantomData }
    }

    /// Steps one after another, each with its rows one after another.
    ///
    /// # Panics
    /// If `numbers` has another length.
    pub(super) fn of(numbers: &'a mut [E], dim: (usize, usize, usize)) -> Self {
        Self::spaced(numbers, dim, dim.2)
    }

    /// As [`of`](Self::of), with rows `stride` numbers apart.
    ///
    /// # Panics
    /// If `numbers` has another length, or rows overlap.
    pub(super) fn spaced(numbers: &'a mut [E], dim: (usize, usize, usize), stride: usize) -> Self {
        Self::in_memory((numbers.as_mut_ptr(), numbers.len()), dim, stride)
    }

    /// As [`spaced`](Self::spaced), in memory that holds no numbers yet: each must be written before it is read.
    ///
    /// # Panics
    /// If `room` has another length, or rows overlap.
    pub(super) fn unwritten(room: &'a mut [MaybeUninit<E>], dim: (usize, usize, usize), stride: usize) -> Self {
        Self::in_memory((room.as_mut_ptr().cast(), room.len()), dim, stride)
    }

    /// # Panics
    /// If the memory has another length, or rows overlap.
    fn in_memory((ptr, len): (*mut E, usize), (steps, rows, width): (usize, usize, usize), stride: usize) -> Self {
        assert_eq!(len, count([steps, rows, stride]), "a grid is as large as its memory");
        assert!(width <= stride, "rows do not overlap");
        let (step, row) = ((rows * stride) as isize, stride as isize);
        Self { ptr, step, row, steps, rows, width, memory: PhantomData }
    }

    /// The same rows for each of `steps` steps, `stride` numbers apart.
    pub(super) fn repeated(numbers: &'a mut [E], (steps, rows, width): (usize, usize, usize), stride: usize) -> Self {
        Self { step: 0, steps, ..Self::spaced(numbers, (1, rows, width), stride) }
    }

    pub(super) fn dim(&self) -> (usize, usize, usize) {
        (self.steps, self.rows, self.width)
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Where row `row` of step `step` begins, if both exist.
    #[inline(always)]
    pub(super) fn at(self, step: usize, row: usize) -> *mut E {
        debug_assert!(step < self.steps && row < self.rows, "({step}, {row}) of ({}, {})", self.steps, self.rows);
        self.ptr.wrapping_offset(step as isize * self.step + row as isize * self.row)
    }

    /// The rows of a step.
    #[inline(always)]
    pub(super) fn step(self, step: usize) -> Rows<'a, E> {
        debug_assert!(step < self.steps, "step {step} of {}", self.steps);
        let ptr = self.ptr.wrapping_offset(step as isize * self.step);
        Rows { ptr, stride: self.row, rows: self.rows, width: self.width, memory: PhantomData }
    }

    /// The steps of a row, from `step` on, as rows.
    #[inline(always)]
    pub(super) fn steps_of(self, row: usize, step: usize) -> Rows<'a, E> {
        let ptr = self.at(step, row);
        Rows { ptr, stride: self.step, rows: self.steps - step, width: self.width, memory: PhantomData }
    }

    /// The numbers from column `from` to column `to`.
    ///
    /// # Panics
    /// If they do not exist.
    pub(super) fn columns(self, from: usize, to: usize) -> Self {
        assert!(from <= to && to <= self.width, "columns {from} to {to} of {}", self.width);
        Self { ptr: self.ptr.wrapping_add(from), width: to - from, ..self }
    }

    /// The first `steps` steps.
    ///
    /// # Panics
    /// If there are fewer.
    pub(super) fn first(self, steps: usize) -> Self {
        assert!(steps <= self.steps, "{steps} steps of {}", self.steps);
        Self { steps, ..self }
    }
}
