//! Checks of what every driver takes: inputs, lengths and an initial state.

use crate::{Error, Float, RnnCell, State};
use ndarray::{Array3, ArrayView3, ArrayViewMut3, s};
use std::ops::Range;

/// `Err` unless `inputs` (batch, seq, input) fit the cell and each length is at most seq.
pub(crate) fn check_inputs<C: RnnCell>(
    cell: &C,
    inputs: (usize, usize, usize),
    (batch, seq): (usize, usize),
    sequence_length: Option<&[usize]>,
) -> Result<(), Error> {
    let expected = cell.input_size();
    if inputs.2 != expected {
        return Err(Error::InputSize { expected, inputs });
    }
    let Some(lengths) = sequence_length else { return Ok(()) };
    if lengths.len() != batch {
        return Err(Error::SequenceLengthBatch { found: lengths.len(), batch, inputs });
    }
    match lengths.iter().position(|&length| length > seq) {
        Some(row) => Err(Error::SequenceLengthTooLong { row, length: lengths[row], seq, inputs }),
        None => Ok(()),
    }
}

/// The initial state, checked against the cell's, or zeros.
pub(crate) fn checked_state<C: RnnCell>(
    cell: &C,
    batch: usize,
    initial_state: Option<C::State>,
) -> Result<C::State, Error> {
    let Some(state) = initial_state else { return Ok(cell.zero_state(batch)) };
    check_state(&leaf_shapes(&cell.zero_state(0)), batch, &state)?;
    Ok(state)
}

/// `Err` unless `state` has `batch` rows and as many leaves as the cell's state, of the same features.
pub(super) fn check_state<E: Float, S: State<E>>(
    expected: &[(usize, usize)],
    batch: usize,
    state: &S,
) -> Result<(), Error> {
    let (mut leaves, mut wrong) = (0, None);
    state.visit(&mut |leaf| {
        let expected = expected.get(leaves).map(|&(_, features)| (batch, features));
        if wrong.is_none() && expected.is_some_and(|expected| leaf.dim() != expected) {
            wrong = Some((leaves, expected.unwrap_or_default(), leaf.dim()));
        }
        leaves += 1;
    });
    if leaves != expected.len() {
        return Err(Error::InitialStateLeaves { expected: expected.len(), found: leaves });
    }
    match wrong {
        Some((leaf, expected, found)) => Err(Error::InitialStateShape { leaf, expected, found }),
        None => Ok(()),
    }
}

/// The shapes of a state's leaves, in their fixed order.
pub(super) fn leaf_shapes<E: Float, S: State<E>>(state: &S) -> Vec<(usize, usize)> {
    let mut shapes = Vec::new();
    state.visit(&mut |leaf| shapes.push(leaf.dim()));
    shapes
}

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
