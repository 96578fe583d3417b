//! [`Buffer`]: numbers on cache-line boundaries, so that a vector never straddles two lines.

use super::Element;
use ndarray::{Array, Dimension, LinalgScalar, ShapeBuilder};
use std::mem::MaybeUninit;
use std::ops::Range;

#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
struct Line<E>([E; 16]);

/// Zeroed, 64-byte aligned, grows and never shrinks.
#[derive(Clone)]
pub(crate) struct Buffer<E>(Vec<Line<E>>);

impl<E> Default for Buffer<E> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<E: Element> Buffer<E> {
    /// Whole lines of numbers, and nothing between them: what the pointers and slices below rely on.
    const NUMBERS_ONLY: () = assert!(size_of::<Line<E>>() == 16 * size_of::<E>());

    /// Makes room for an array of this shape; what was there stays, the rest is 0.
    ///
    /// # Panics
    /// If there cannot be so many numbers.
    pub(crate) fn grow<const N: usize>(&mut self, shape: [usize; N]) {
        let lines = count(shape).div_ceil(16);
        if lines > self.0.len() {
            self.0.reserve_exact(lines - self.0.len());
            self.0.resize(lines, Line::default());
        }
    }

    pub(crate) fn as_ptr(&self) -> *const E {
        self.0.as_ptr().cast()
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut E {
        self.0.as_mut_ptr().cast()
    }

    pub(crate) fn as_slice(&self) -> &[E] {
        let () = Self::NUMBERS_ONLY;
        // SAFETY: the vector's lines, borrowed as long as the slice: sixteen `E` each.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), 16 * self.0.len()) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [E] {
        let () = Self::NUMBERS_ONLY;
        // SAFETY: as above, and borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr(), 16 * self.0.len()) }
    }
}

/// Numbers of an array of this shape. Kernels compute places in it without looking for overflow.
///
/// # Panics
/// If a `usize` cannot count them: a few steps too many on a 32-bit machine.
pub(crate) fn count<const N: usize>(shape: [usize; N]) -> usize {
    let product = shape.iter().try_fold(1, |product: usize, &size| product.checked_mul(size));
    product.unwrap_or_else(|| panic!("an array {shape:?} is larger than memory can be"))
}

/// Room for numbers of this shape that are written before they are read, on huge pages where they are many.
///
/// # Panics
/// If there cannot be so many numbers.
pub(crate) fn uninit<E: Element, const N: usize>(shape: [usize; N]) -> Box<[MaybeUninit<E>]> {
    let mut room = Box::new_uninit_slice(count(shape));
    prefer_huge_pages(&mut room);
    room
}

/// `ndarray`'s zeros, on huge pages where they are many.
pub(crate) fn zeros<E: LinalgScalar, D: Dimension>(shape: impl ShapeBuilder<Dim = D>) -> Array<E, D> {
    let mut array = Array::zeros(shape);
    prefer_huge_pages(array.as_slice_memory_order_mut().expect("a new array is contiguous"));
    array
}

/// Asks for huge pages where memory is large and new: the faults for each 4 KiB of a large batch's record cost a twentieth
/// of training it, and more where threads share them.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn prefer_huge_pages<T>(memory: &mut [T]) {
    use std::ffi::{c_int, c_void};
    unsafe extern "C" {
        fn madvise(start: *mut c_void, length: usize, advice: c_int) -> c_int;
    }
    const MADV_HUGEPAGE: c_int = 14;
    const HUGE_PAGE: usize = 1 << 21;

    let Range { start, end } = memory.as_mut_ptr_range();
    let (start, end) = (start.cast::<u8>(), end.cast::<u8>());
    let start = start.wrapping_add(start.align_offset(HUGE_PAGE));
    let length = (end as usize).saturating_sub(start as usize) / HUGE_PAGE * HUGE_PAGE;
    if length > 0 {
        // SAFETY: both ends lie inside `memory`, which is ours alone, on boundaries of 2 MiB and so of pages. The advice
        // changes nothing of what they hold. A system that cannot follow it says so: no matter.
        unsafe { madvise(start.cast(), length, MADV_HUGEPAGE) };
    }
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn prefer_huge_pages<T>(_: &mut [T]) {}
