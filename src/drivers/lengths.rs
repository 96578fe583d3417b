//! Rows of different lengths: sorted, gathered and scattered, and the runs of steps that they share.

use crate::Float;
use ndarray::{Array3, ArrayView3, ArrayViewMut3, s};
use std::ops::Range;

/// Runs of steps with the same rows active, of `lengths` that never increase: (steps, number of active rows).
pub(crate) fn runs(lengths: &[usize]) -> impl Iterator<Item = (Range<usize>, usize)> + '_ {
    let mut start = 0;
    std::iter::from_fn(move || {
        let active = lengths.partition_point(|&length| length > start);
        let end = *lengths[..active].last()?;
        let run = (start..end, active);
        start = end;
        Some(run)
    })
}

/// Rows by length, longest first, so that those still running are always the first ones.
pub(crate) fn longest_first(lengths: &[usize]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&row| std::cmp::Reverse(lengths[row]));
    order
}

/// Rows `order` of (seq, rows, features), each for its length; `lengths` are theirs, longest first. 0 beyond.
pub(crate) fn gather<E: Float>(from: ArrayView3<E>, order: &[usize], lengths: &[usize]) -> Array3<E> {
    let steps = lengths.first().copied().unwrap_or(0);
    let mut to = Array3::zeros((steps, order.len(), from.dim().2));
    for (row, (&source, &length)) in order.iter().zip(lengths).enumerate() {
        to.slice_mut(s![..length, row, ..]).assign(&from.slice(s![..length, source, ..]));
    }
    to
}

/// Undoes [`gather`]; what lies beyond the lengths is left alone.
pub(crate) fn scatter<E: Float>(from: &Array3<E>, order: &[usize], lengths: &[usize], mut to: ArrayViewMut3<E>) {
    for (row, (&target, &length)) in order.iter().zip(lengths).enumerate() {
        to.slice_mut(s![..length, target, ..]).assign(&from.slice(s![..length, row, ..]));
    }
}
