//! [`Buffer`]: numbers on cache-line boundaries, so that a vector never straddles two lines.

use super::Element;

#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
struct Line<E>([E; 16]);

/// Zeroed, 64-byte aligned, grows and never shrinks.
#[derive(Clone, Default)]
pub(crate) struct Buffer<E>(Vec<Line<E>>);

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
