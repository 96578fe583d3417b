//! [`dynamic_rnn`]: any cell over a batch of sequences of different lengths.

use super::DynamicRnn;
use super::lengths::{gather, longest_first, runs, scatter};
use crate::{Error, RnnCell, State};
use ndarray::{Array3, ArrayRef3, ArrayView3, ArrayViewMut3, s};

/// What a driver returns: outputs and the final state.
pub(super) type Unrolled<C> = (Array3<<C as RnnCell>::Elem>, <C as RnnCell>::State);

/// Runs `cell` over `inputs` (batch, seq, input): returns outputs (batch, seq, output), C-contiguous, and the final state.
///
/// It is TensorFlow 1's `tf.nn.dynamic_rnn`; in four lines, for one row:
///
/// ```text
/// for t in 0..sequence_length[row] {
///     cell.step(inputs[t], &mut state, &mut outputs[t]);
/// }
/// outputs[sequence_length[row]..] = 0
/// ```
///
/// Without `sequence_length` every row is `seq` long. Past a row's length its output is exactly 0, its state stays as the
/// last valid step left it, and nothing is computed: what stands in the padding, NaN included, does not matter. A row of
/// length 0 keeps the initial state. Without `initial_state` the state starts as [`RnnCell::zero_state`]. An empty batch
/// and a sequence of no steps are fine. `inputs` may have any strides. [`DynamicRnn`] has more options.
///
/// # Errors
/// [`Error::InputSize`] if `inputs` are not as wide as the cell's input, [`Error::SequenceLengthBatch`] if
/// `sequence_length` has not one entry a row, [`Error::SequenceLengthTooLong`] if an entry exceeds `seq`,
/// [`Error::InitialStateShape`] and [`Error::InitialStateLeaves`] if `initial_state` is of another batch or width.
pub fn dynamic_rnn<C: RnnCell>(
    cell: &C,
    inputs: &ArrayRef3<C::Elem>,
    sequence_length: Option<&[usize]>,
    initial_state: Option<C::State>,
) -> Result<Unrolled<C>, Error> {
    DynamicRnn { sequence_length, initial_state, ..DynamicRnn::new(cell) }.run(inputs)
}

/// [`dynamic_rnn`] over time-major arrays: `inputs` (seq, batch, input), outputs (seq, batch, output).
///
/// # Errors
/// As [`dynamic_rnn`].
pub fn dynamic_rnn_time_major<C: RnnCell>(
    cell: &C,
    inputs: &ArrayRef3<C::Elem>,
    sequence_length: Option<&[usize]>,
    initial_state: Option<C::State>,
) -> Result<Unrolled<C>, Error> {
    DynamicRnn { sequence_length, initial_state, time_major: true, ..DynamicRnn::new(cell) }.run(inputs)
}

/// Runs each row for its length over checked, time-major arrays. `outputs` must be zeros; steps past a length stay so.
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
    let sorted_state = unroll_shared(cell, x, Some(&sorted_lengths), state.select(&order), out);
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
        running.truncate(active);
        let x = inputs.slice(s![steps.clone(), ..active, ..]);
        let mut out = outputs.slice_mut(s![steps, ..active, ..]);
        cell.unroll(&x, &mut running, &mut out, workspace);
    }
    for row in 0..running.batch_size() {
        finals.copy_row(row, &running, row);
    }
    finals
}
