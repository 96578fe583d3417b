//! [`static_rnn`] and [`static_bidirectional_rnn`]: sequences as lists of steps.

use super::bidirectional::{BidirectionalRnn, Both};
use super::dynamic::DynamicRnn;
use super::order::by_step;
use super::rows::RowOptions;
use crate::checks::check_shape;
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
/// with the same lengths, padding and initial state. [`DynamicRnn::run_steps`] has more options. `inputs` may be arrays
/// or views:
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
    DynamicRnn { cell, initial_state, rows: RowOptions::of(sequence_length) }.run_steps(inputs)
}

/// Runs one cell forward and one backward over a list of steps, each (batch, input). Returns the outputs of each step,
/// \[fw, bw\] along the last axis, (batch, fw output + bw output), and the final states, forward and backward.
///
/// This is TensorFlow 1's `tf.nn.static_bidirectional_rnn`. It equals
/// [`bidirectional_dynamic_rnn`](crate::bidirectional_dynamic_rnn) with its outputs concatenated.
/// [`BidirectionalRnn::run_steps`] does it with a builder.
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
    let rows = RowOptions::of(sequence_length);
    BidirectionalRnn { cell_fw, cell_bw, initial_state_fw, initial_state_bw, rows }.run_steps(inputs)
}

impl<C: RnnCell> DynamicRnn<'_, '_, C> {
    /// Runs the cell over a list of steps, each (batch, input). Returns the outputs of each step, (batch, output), and
    /// the final state: [`static_rnn`].
    ///
    /// [`time_major`](Self::time_major) sets the layout of mask and resets, and of `inputs` in messages.
    ///
    /// # Errors
    /// - [`Error::ZeroSize`] if `inputs` has no steps, which would leave the batch unknown.
    /// - [`Error::ArrayShape`] if the steps differ in shape.
    /// - As [`run`](Self::run).
    pub fn run_steps(self, inputs: &[impl Deref<Target = ArrayRef2<C::Elem>>]) -> Result<UnrolledList<C>, Error> {
        let (x, time_major) = (stacked(inputs)?, self.rows.time_major);
        let (outputs, state) = self.run(&by_step(x.view(), time_major))?;
        Ok((list(&by_step(outputs, time_major)), state))
    }
}

impl<C: RnnCell, D: RnnCell<Elem = C::Elem>> BidirectionalRnn<'_, '_, C, D> {
    /// Runs both cells over a list of steps, each (batch, input). Returns the outputs of each step, \[fw, bw\] along the
    /// last axis, (batch, fw output + bw output), and the final states, forward and backward:
    /// [`static_bidirectional_rnn`].
    ///
    /// [`time_major`](Self::time_major) sets the layout of mask and resets, and of `inputs` in messages.
    ///
    /// # Errors
    /// As [`DynamicRnn::run_steps`] and [`run`](Self::run).
    pub fn run_steps(
        mut self,
        inputs: &[impl Deref<Target = ArrayRef2<C::Elem>>],
    ) -> Result<UnrolledLists<C, D>, Error> {
        let x = stacked(inputs)?;
        let (schedules, (mut state_fw, mut state_bw)) = self.check(&by_step(x.view(), self.rows.time_major))?;
        let cells = (self.cell_fw, self.cell_bw);
        let (width_fw, width_bw) = (cells.0.output_size(), cells.1.output_size());
        let mut outputs = Array3::zeros((x.dim().0, x.dim().1, width_fw.saturating_add(width_bw)));
        let both = outputs.view_mut().split_at(Axis(2), width_fw);
        Both { cells, schedules: &schedules, inputs: x.view(), outputs: both }.run((&mut state_fw, &mut state_bw));
        Ok((list(&outputs), state_fw, state_bw))
    }
}

/// The steps of (seq, batch, features).
pub(crate) fn list<E: Float>(steps: &Array3<E>) -> Vec<Array2<E>> {
    steps.outer_iter().map(|step| step.to_owned()).collect()
}

/// The steps of `inputs` as one array, (seq, batch, input).
pub(crate) fn stacked<E: Float>(inputs: &[impl Deref<Target = ArrayRef2<E>>]) -> Result<Array3<E>, Error> {
    let first = inputs.first().ok_or(Error::ZeroSize { argument: "inputs.len()" })?.dim();
    stacked_as("inputs", first, inputs)
}

/// The steps of the argument `name` as one array, if each is (batch, features).
pub(crate) fn stacked_as<E: Float>(
    name: &str,
    (batch, features): (usize, usize),
    steps: &[impl Deref<Target = ArrayRef2<E>>],
) -> Result<Array3<E>, Error> {
    let mut stacked = Array3::zeros((steps.len(), batch, features));
    for (step, (mut to, from)) in stacked.outer_iter_mut().zip(steps).enumerate() {
        // `assign` would broadcast a step of one row.
        check_shape(format_args!("{name}[{step}]"), &[batch, features], from.shape())?;
        to.assign(&**from);
    }
    Ok(stacked)
}
