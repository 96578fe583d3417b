//! [`Buffer`]: numbers on cache-line boundaries, so that a vector never straddles two lines.

use super::Element;
use ndarray::{Array, Dimension, ShapeBuilder};
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
    pub(crate) fn new(len: usize) -> Self {
        let mut buffer = Self(Vec::new());
        buffer.grow(len);
        buffer
    }

    /// Makes room for `len` numbers; what was there stays, the rest is 0.
    pub(crate) fn grow(&mut self, len: usize) {
        let lines = len.div_ceil(16);
        if lines > self.0.len() {
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
        // SAFETY: a `Line` is sixteen `E` and no padding (64 or 128 bytes, aligned to 64).
        unsafe { std::slice::from_raw_parts(self.as_ptr(), 16 * self.0.len()) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [E] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr(), 16 * self.0.len()) }
    }
}

/// Room for numbers that are written before they are read, and never cleared.
pub(crate) struct Scratch<E>(Box<[MaybeUninit<E>]>);

impl<E: Element> Scratch<E> {
    pub(crate) fn new(len: usize) -> Self {
        let mut room = Box::new_uninit_slice(len);
        prefer_huge_pages(&mut room);
        Self(room)
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut E {
        self.0.as_mut_ptr().cast()
    }

    /// # Panics
    /// If the range is out of bounds.
    ///
    /// # Safety
    /// The range was written.
    pub(crate) unsafe fn written(&self, range: Range<usize>) -> &[E] {
        let range = &self.0[range];
        // SAFETY: initialised, by the caller's promise.
        unsafe { std::slice::from_raw_parts(range.as_ptr().cast(), range.len()) }
    }

    /// Writes numbers from position `at` on.
    ///
    /// # Panics
    /// If there is no room.
    pub(crate) fn write(&mut self, at: usize, numbers: impl Iterator<Item = E>) {
        let mut room = self.0[at..].iter_mut();
        for number in numbers {
            room.next().expect("a scratch is made large enough").write(number);
        }
    }
}

/// `ndarray`'s zeros.
pub(crate) fn zeros<E: crate::Float, D: Dimension>(shape: impl ShapeBuilder<Dim = D>) -> Array<E, D> {
    let mut array = Array::zeros(shape);
    prefer_huge_pages(array.as_slice_memory_order_mut().expect("a new array is contiguous"));
    array
}

/// Asks for huge pages where memory is large and new: a fault for each 4 KiB of a batch's record costs a tenth of training
/// it, and more where threads share the faults.
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
        // SAFETY: whole pages inside `memory`; what they hold stays as it is. A kernel that cannot do it says so: no matter.
        unsafe { madvise(start.cast(), length, MADV_HUGEPAGE) };
    }
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn prefer_huge_pages<T>(_: &mut [T]) {}
