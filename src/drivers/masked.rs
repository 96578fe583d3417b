//! A cell unrolled over rows of different lengths: what all drivers of whole sequences stand on.
//!
//! Arrays are checked and time-major, whatever the user's layout.

use super::lengths::{gather, longest_first, runs, scatter};
use crate::{RnnCell, State};
use ndarray::{Array3, ArrayBase, ArrayView2, ArrayView3, ArrayViewMut3, Ix3, RawData, s};

/// A view with steps as the first axis.
pub(super) fn by_step<S: RawData>(array: ArrayBase<S, Ix3>, time_major: bool) -> ArrayBase<S, Ix3> {
    if time_major { array } else { array.permuted_axes([1, 0, 2]) }
}

/// Runs each row for its length over checked arrays. `outputs` must be zeros; steps past a length stay so.
pub(super) fn unroll_masked<C: RnnCell>(
    cell: &C,
    inputs: ArrayView3<C::Elem>,
    sequence_length: Option<&[usize]>,
    mut state: C::State,
    outputs: ArrayViewMut3<C::Elem>,
) -> C::State {
    let (seq, batch, _) = inputs.dim();
    let Some(lengths) = sequence_length.filter(|lengths| lengths.iter().any(|&length| length != seq)) else {
        return unroll_shared(cell, inputs, None, state, outputs);
    };
    if lengths.is_sorted_by(|a, b| a >= b) {
        return unroll_shared(cell, inputs, Some(lengths), state, outputs);
    }

    let order = longest_first(lengths);
    let sorted_lengths: Vec<usize> = order.iter().map(|&row| lengths[row]).collect();
    let sorted_inputs = gather(inputs, &order, &sorted_lengths);
    let mut sorted_outputs = Array3::zeros((sorted_lengths[0], batch, cell.output_size()));
    let (x, out) = (sorted_inputs.view(), sorted_outputs.view_mut());
    let sorted_state = unroll_shared(cell, x, Some(&sorted_lengths), state.select_rows(&order), out);
    scatter(&sorted_outputs, &order, &sorted_lengths, outputs);
    for (from, &to) in order.iter().enumerate() {
        state.copy_row(to, &sorted_state, from);
    }
    state
}

/// As [`unroll_masked`], for lengths that never increase, if any; on several threads where that is worth it.
fn unroll_shared<C: RnnCell>(
    cell: &C,
    inputs: ArrayView3<C::Elem>,
    lengths: Option<&[usize]>,
    state: C::State,
    outputs: ArrayViewMut3<C::Elem>,
) -> C::State {
    #[cfg(feature = "rayon")]
    {
        let (seq, batch, _) = inputs.dim();
        let parts = super::parallel::parts(cell, batch, seq, lengths);
        if parts > 1 {
            return super::parallel::unroll_parts(cell, inputs, lengths, state, outputs, parts);
        }
    }
    unroll_rows(cell, inputs, lengths, state, outputs, &mut C::Workspace::default())
}

/// As [`unroll_shared`], here and now.
pub(super) fn unroll_rows<C: RnnCell>(
    cell: &C,
    inputs: ArrayView3<C::Elem>,
    lengths: Option<&[usize]>,
    mut state: C::State,
    mut outputs: ArrayViewMut3<C::Elem>,
    workspace: &mut C::Workspace,
) -> C::State {
    if let Some(lengths) = lengths {
        return unroll_sorted(cell, inputs, lengths, state, outputs, workspace);
    }
    cell.unroll(&inputs, &mut state, &mut outputs, workspace);
    state
}

/// Runs of steps with the same rows active.
fn unroll_sorted<C: RnnCell>(
    cell: &C,
    inputs: ArrayView3<C::Elem>,
    lengths: &[usize],
    mut finals: C::State,
    mut outputs: ArrayViewMut3<C::Elem>,
    workspace: &mut C::Workspace,
) -> C::State {
    let mut running = finals.clone();
    for (steps, active) in runs(lengths) {
        for row in active..running.batch_size() {
            finals.copy_row(row, &running, row);
        }
        running.truncate_rows(active);
        let x = inputs.slice(s![steps.clone(), ..active, ..]);
        let mut out = outputs.slice_mut(s![steps, ..active, ..]);
        cell.unroll(&x, &mut running, &mut out, workspace);
    }
    for row in 0..running.batch_size() {
        finals.copy_row(row, &running, row);
    }
    finals
}

/// [`unroll_masked`] in pieces that end where a row resets, or after every step if all states are wanted.
/// `resets` are (seq, batch).
pub(super) fn unroll_pieces<C: RnnCell>(
    cell: &C,
    inputs: ArrayView3<C::Elem>,
    sequence_length: Option<&[usize]>,
    resets: Option<ArrayView2<bool>>,
    mut state: C::State,
    mut outputs: ArrayViewMut3<C::Elem>,
    mut states: Option<&mut Vec<C::State>>,
) -> C::State {
    let (seq, batch, _) = inputs.dim();
    let length = |row: usize| sequence_length.map_or(seq, |lengths| lengths[row]);
    let resets_at = |step: usize, row: usize| step < length(row) && resets.is_some_and(|resets| resets[[step, row]]);
    let initial = state.clone();
    let mut start = 0;
    while start < seq {
        for row in (0..batch).filter(|&row| resets_at(start, row)) {
            state.copy_row(row, &initial, row);
        }
        let next_reset = || (start + 1..seq).find(|&step| (0..batch).any(|row| resets_at(step, row)));
        let end = if states.is_some() { start + 1 } else { next_reset().unwrap_or(seq) };
        let lengths: Vec<usize> = (0..batch).map(|row| length(row).clamp(start, end) - start).collect();
        let x = inputs.slice(s![start..end, .., ..]);
        state = unroll_masked(cell, x, Some(&lengths), state, outputs.slice_mut(s![start..end, .., ..]));
        if let Some(states) = &mut states {
            states.push(state.clone());
        }
        start = end;
    }
    state
}
