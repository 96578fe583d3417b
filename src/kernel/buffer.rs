//! [`Buffer`]: numbers on cache-line boundaries, so that a vector never straddles two lines.

use super::Element;
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
        Self(Box::new_uninit_slice(len))
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
