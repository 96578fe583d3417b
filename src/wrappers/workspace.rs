//! [`WrapperWorkspace`]: a wrapper's buffers.

use crate::Float;
use ndarray::{ArrayView3, ArrayViewMut3};

/// A wrapper's own buffers and the workspace of the cell inside. Empty at first; the first step fills it.
#[derive(Clone, Default)]
pub struct WrapperWorkspace<E, W> {
    pub(crate) buffers: [Buffer<E>; 2],
    pub(crate) inner: W,
}

impl<E, W> std::fmt::Debug for WrapperWorkspace<E, W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WrapperWorkspace").finish_non_exhaustive()
    }
}

/// Numbers for an array of any shape. Grows and never shrinks.
#[derive(Clone, Default)]
pub(crate) struct Buffer<E>(Vec<E>);

impl<E: Float> Buffer<E> {
    /// An array that holds whatever numbers were there before.
    pub(crate) fn array(&mut self, shape: (usize, usize, usize)) -> ArrayViewMut3<'_, E> {
        let len = shape.0 * shape.1 * shape.2;
        if self.0.len() < len {
            self.0.resize(len, E::zero());
        }
        ArrayViewMut3::from_shape(shape, &mut self.0[..len]).expect("the slice is as long as the shape")
    }

    /// The array written before, of the same shape.
    pub(crate) fn written(&self, shape: (usize, usize, usize)) -> ArrayView3<'_, E> {
        let len = shape.0 * shape.1 * shape.2;
        ArrayView3::from_shape(shape, &self.0[..len]).expect("the slice is as long as the shape")
    }
}
