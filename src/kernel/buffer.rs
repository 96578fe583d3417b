//! [`Buffer`]: numbers on cache-line boundaries, so that a vector never straddles two lines.

use super::Element;
use ndarray::{Array, Dimension, LinalgScalar, ShapeBuilder};
use std::mem::MaybeUninit;

#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
struct Line<E>([E; 16]);

/// A zeroed, 64-byte aligned buffer that grows and never shrinks.
#[derive(Clone)]
pub(crate) struct Buffer<E>(Vec<Line<E>>);

impl<E> Default for Buffer<E> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<E: Copy + Default> Buffer<E> {
    /// Lines are whole and hold nothing but numbers: the pointers and slices below rely on it.
    const NUMBERS_ONLY: () = assert!(size_of::<Line<E>>() == 16 * size_of::<E>());

    /// Makes room for an array of this shape. Existing numbers stay; new ones are 0.
    ///
    /// # Panics
    /// If the shape is larger than memory can be.
    pub(crate) fn grow<const N: usize>(&mut self, shape: [usize; N]) {
        let lines = count(shape).div_ceil(16);
        if lines > self.0.len() {
            self.0.reserve_exact(lines - self.0.len());
            self.0.resize(lines, Line::default());
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&self.0[..])
    }

    pub(crate) fn as_ptr(&self) -> *const E {
        self.0.as_ptr().cast()
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut E {
        self.0.as_mut_ptr().cast()
    }

    pub(crate) fn as_slice(&self) -> &[E] {
        let () = Self::NUMBERS_ONLY;
        // SAFETY: these are the vector's lines, sixteen `E` each, borrowed for as long as the slice.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), 16 * self.0.len()) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [E] {
        let () = Self::NUMBERS_ONLY;
        // SAFETY: as above, and borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr(), 16 * self.0.len()) }
    }
}

/// Counts the numbers of an array of this shape. Kernels then compute places in it without checking for overflow.
///
/// # Panics
/// If a `usize` cannot count them. On a 32-bit machine a few steps too many are enough.
pub(crate) fn count<const N: usize>(shape: [usize; N]) -> usize {
    let product = shape.iter().try_fold(1, |product: usize, &size| product.checked_mul(size));
    product.unwrap_or_else(|| panic!("an array {shape:?} is larger than memory can be"))
}

/// Uninitialized room for an array of this shape, on huge pages if it is large.
///
/// # Panics
/// If the shape is larger than memory can be.
pub(crate) fn uninit<E: Element, const N: usize>(shape: [usize; N]) -> Box<[MaybeUninit<E>]> {
    let mut room = Box::new_uninit_slice(count(shape));
    prefer_huge_pages(&mut room);
    room
}

/// `ndarray`'s zeros, on huge pages if the array is large.
pub(crate) fn zeros<E: LinalgScalar, D: Dimension>(shape: impl ShapeBuilder<Dim = D>) -> Array<E, D> {
    let mut array = Array::zeros(shape);
    prefer_huge_pages(array.as_slice_memory_order_mut().expect("a new array is contiguous"));
    array
}

/// Asks for huge pages if memory is large and new. Page faults for each 4 KiB of a large batch's record cost a
/// twentieth of its training time, and more if threads share them.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn prefer_huge_pages<T>(memory: &mut [T]) {
    use std::ffi::{c_int, c_void};
    unsafe extern "C" {
        fn madvise(start: *mut c_void, length: usize, advice: c_int) -> c_int;
    }
    const MADV_HUGEPAGE: c_int = 14;
    const HUGE_PAGE: usize = 1 << 21;

    let std::ops::Range { start, end } = memory.as_mut_ptr_range();
    let (start, end) = (start.cast::<u8>(), end.cast::<u8>());
    let start = start.wrapping_add(start.align_offset(HUGE_PAGE));
    let length = (end as usize).saturating_sub(start as usize) / HUGE_PAGE * HUGE_PAGE;
    if length > 0 {
        // SAFETY: both ends lie inside `memory`, which is ours alone, on 2 MiB boundaries and so on page boundaries.
        // The advice does not change the contents. A system that cannot follow it returns an error, which is ignored.
        unsafe { madvise(start.cast(), length, MADV_HUGEPAGE) };
    }
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn prefer_huge_pages<T>(_: &mut [T]) {}
