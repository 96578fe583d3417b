//! [`static_rnn`] and [`static_bidirectional_rnn`]: sequences as lists of steps.

use super::bidirectional::Both;
use super::dynamic::dynamic_rnn_time_major;
use super::schedule::Schedule;
use crate::checks::{check_directions, check_inputs, check_shape, checked_state};
use crate::{Error, Float, RnnCell};
use ndarray::{Array2, Array3, ArrayRef2, Axis};
use std::ops::Deref;

/// Outputs of each step, and the final state.
type UnrolledList<C> = (Vec<Array2<<C as RnnCell>::Elem>>, <C as RnnCell>::State);
/// Outputs of each step, and the final states, forward and backward.
type UnrolledLists<C, D> = (Vec<Array2<<C as RnnCell>::Elem>>, <C as RnnCell>::State, <D as RnnCell>::State);

/// Runs `cell` over a list of steps, each (batch, input). Returns the outputs of each step, (batch, output), and the
/// final state.
///
/// This is TensorFlow 1's `tf.nn.static_rnn`. It equals [`dynamic_rnn`](crate::dynamic_rnn) over the stacked steps,
/// with the same lengths, padding and initial state. `inputs` may be arrays or views:
///
/// ```
/// use rand::SeedableRng;
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let cell = rnn_cell::Gru::<f32>::new(4, 2, &mut rng);
/// let x = rnn_cell::one_hot(&["hello", "eolll"], "helo")?;          // (batch, seq, input)
/// let steps: Vec<_> = x.axis_iter(ndarray::Axis(1)).collect();       // seq views of (batch, input)
/// let (outputs, state) = rnn_cell::static_rnn(&cell, &steps, None, None)?;
/// assert_eq!((outputs.len(), &outputs[4]), (5, &state));
/// # Ok::<(), rnn_cell::Error>(())
/// ```
///
/// # Errors
/// - [`Error::ZeroSize`] if `inputs` has no steps, which would leave the batch unknown.
/// - [`Error::ArrayShape`] if the steps differ in shape.
/// - As [`dynamic_rnn`](crate::dynamic_rnn).
pub fn static_rnn<C: RnnCell>(
    cell: &C,
    inputs: &[impl Deref<Target = ArrayRef2<C::Elem>>],
    sequence_length: Option<&[usize]>,
    initial_state: Option<C::State>,
) -> Result<UnrolledList<C>, Error> {
    let (outputs, state) = dynamic_rnn_time_major(cell, &stacked(inputs)?, sequence_length, initial_state)?;
    Ok((outputs.outer_iter().map(|output| output.to_owned()).collect(), state))
}

/// Runs one cell forward and one backward over a list of steps, each (batch, input). Returns the outputs of each step,
/// \[fw, bw\] along the last axis, (batch, fw output + bw output), and the final states, forward and backward.
///
/// This is TensorFlow 1's `tf.nn.static_bidirectional_rnn`. It equals
/// [`bidirectional_dynamic_rnn`](crate::bidirectional_dynamic_rnn) with its outputs concatenated.
///
/// # Errors
/// As [`static_rnn`] and [`bidirectional_dynamic_rnn`](crate::bidirectional_dynamic_rnn).
pub fn static_bidirectional_rnn<C: RnnCell, D: RnnCell<Elem = C::Elem>>(
    cell_fw: &C,
    cell_bw: &D,
    inputs: &[impl Deref<Target = ArrayRef2<C::Elem>>],
    sequence_length: Option<&[usize]>,
    initial_state_fw: Option<C::State>,
    initial_state_bw: Option<D::State>,
) -> Result<UnrolledLists<C, D>, Error> {
    let x = stacked(inputs)?;
    let (seq, batch, _) = x.dim();
    check_directions(cell_fw, cell_bw)?;
    check_inputs(cell_fw, x.dim(), (batch, seq), sequence_length)?;
    let (mut state_fw, mut state_bw) = (
        checked_state("initial_state_fw", cell_fw, batch, initial_state_fw)?,
        checked_state("initial_state_bw", cell_bw, batch, initial_state_bw)?,
    );
    let width_fw = cell_fw.output_size();
    let mut outputs = Array3::zeros((seq, batch, width_fw.saturating_add(cell_bw.output_size())));
    let schedule = Schedule::new(seq, batch, sequence_length);
    let both = outputs.view_mut().split_at(Axis(2), width_fw);
    let both = Both { cells: (cell_fw, cell_bw), schedule: &schedule, inputs: x.view(), outputs: both };
    both.run((&mut state_fw, &mut state_bw));
    Ok((outputs.outer_iter().map(|output| output.to_owned()).collect(), state_fw, state_bw))
}

/// The steps as one array, (seq, batch, input).
fn stacked<E: Float>(inputs: &[impl Deref<Target = ArrayRef2<E>>]) -> Result<Array3<E>, Error> {
    let expected = inputs.first().ok_or(Error::ZeroSize { argument: "inputs.len()" })?.dim();
    let mut x = Array3::zeros((inputs.len(), expected.0, expected.1));
    for (step, (mut to, from)) in x.outer_iter_mut().zip(inputs).enumerate() {
        // `assign` would broadcast a step of one row.
        check_shape(format_args!("inputs[{step}]"), &[expected.0, expected.1], from.shape())?;
        to.assign(&**from);
    }
    Ok(x)
}
