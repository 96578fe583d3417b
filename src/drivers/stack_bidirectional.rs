//! [`stack_bidirectional_dynamic_rnn`]: bidirectional layers, each of which reads both outputs of the one below.

use super::bidirectional::Both;
use super::order::by_step;
use super::schedule::Schedule;
use crate::checks::{check_directions, check_inputs, checked_state};
use crate::{Error, RnnCell};
use ndarray::{Array3, ArrayRef3, Axis};

/// What a stack returns: outputs, and each layer's final states, forward and backward.
type UnrolledStack<C, D> = (Array3<<C as RnnCell>::Elem>, Vec<<C as RnnCell>::State>, Vec<<D as RnnCell>::State>);

/// Runs bidirectional layers one above the other: each layer reads the outputs of the one below, \[fw, bw\] along the
/// last axis. Returns the last layer's outputs (batch, seq, fw output + bw output), C-contiguous, and each layer's
/// final states, forward and backward.
///
/// This is tf.contrib.rnn's `stack_bidirectional_dynamic_rnn`, elsewhere called a bidirectional RNN of several layers:
///
/// ```text
/// for layer in 0..layers {
///     ((fw, bw), states[layer]) = bidirectional_dynamic_rnn(cells_fw[layer], cells_bw[layer], x)
///     x = concat_outputs(fw, bw)
/// }
/// ```
///
/// This differs from `bidirectional_dynamic_rnn` over two stacks of cells, in which no layer sees the other direction.
/// All cells of one direction have one type; their sizes and options may differ.
///
/// # Errors
/// - [`Error::ZeroSize`] if there are no layers.
/// - [`Error::LayerCount`] if a list is not as long as `cells_fw`.
/// - [`Error::CellInputSize`] if a layer's input is not as wide as the outputs of the one below.
/// - As [`bidirectional_dynamic_rnn`](crate::bidirectional_dynamic_rnn).
pub fn stack_bidirectional_dynamic_rnn<C: RnnCell, D: RnnCell<Elem = C::Elem>>(
    cells_fw: &[C],
    cells_bw: &[D],
    inputs: &ArrayRef3<C::Elem>,
    sequence_length: Option<&[usize]>,
    initial_states_fw: Option<Vec<C::State>>,
    initial_states_bw: Option<Vec<D::State>>,
) -> Result<UnrolledStack<C, D>, Error> {
    check_layers(cells_fw, cells_bw)?;
    let (batch, seq, _) = inputs.dim();
    check_inputs(&cells_fw[0], inputs.dim(), (batch, seq), sequence_length)?;
    let mut states_fw = checked_states("initial_states_fw", cells_fw, batch, initial_states_fw)?;
    let mut states_bw = checked_states("initial_states_bw", cells_bw, batch, initial_states_bw)?;

    let schedule = Schedule::new(seq, batch, sequence_length);
    let mut below = None;
    for (layer, cells) in cells_fw.iter().zip(cells_bw).enumerate() {
        let (width_fw, width_bw) = (cells.0.output_size(), cells.1.output_size());
        let mut outputs = Array3::zeros((batch, seq, width_fw.saturating_add(width_bw)));
        let both = by_step(outputs.view_mut(), false).split_at(Axis(2), width_fw);
        let inputs = by_step(below.as_ref().map_or(inputs.view(), |below: &Array3<_>| below.view()), false);
        Both { cells, schedule: &schedule, inputs, outputs: both }.run((&mut states_fw[layer], &mut states_bw[layer]));
        below = Some(outputs);
    }
    Ok((below.unwrap_or_default(), states_fw, states_bw))
}

fn check_layers<C: RnnCell, D: RnnCell>(cells_fw: &[C], cells_bw: &[D]) -> Result<(), Error> {
    if cells_fw.is_empty() {
        return Err(Error::ZeroSize { argument: "cells_fw.len()" });
    }
    check_count("cells_bw", cells_fw.len(), cells_bw.len())?;
    check_directions(&cells_fw[0], &cells_bw[0])?;
    for layer in 1..cells_fw.len() {
        let expected = cells_fw[layer - 1].output_size().saturating_add(cells_bw[layer - 1].output_size());
        for (cells, found) in [("cells_fw", cells_fw[layer].input_size()), ("cells_bw", cells_bw[layer].input_size())] {
            if found != expected {
                return Err(Error::CellInputSize { cell: format!("{cells}[{layer}]"), expected, found });
            }
        }
    }
    Ok(())
}

fn check_count(argument: &'static str, expected: usize, found: usize) -> Result<(), Error> {
    if found == expected { Ok(()) } else { Err(Error::LayerCount { argument, expected, found }) }
}

/// The initial states of one direction, checked against the cells', or zeros.
fn checked_states<C: RnnCell>(
    argument: &'static str,
    cells: &[C],
    batch: usize,
    initial_states: Option<Vec<C::State>>,
) -> Result<Vec<C::State>, Error> {
    let states: Vec<_> = match initial_states {
        None => cells.iter().map(|_| None).collect(),
        Some(states) => states.into_iter().map(Some).collect(),
    };
    check_count(argument, cells.len(), states.len())?;
    let checked = |(layer, (cell, state))| checked_state(format_args!("{argument}[{layer}]"), cell, batch, state);
    cells.iter().zip(states).enumerate().map(checked).collect()
}
