//! [`stack_bidirectional_dynamic_rnn`]: bidirectional layers, each of which reads both outputs of the one below;
//! [`StackBidirectionalRnn`]: the same with options.

use super::bidirectional::Both;
use super::order::by_step;
use super::rows::{RowOptions, row_options};
use super::schedule::Schedule;
use crate::checks::{check_directions, checked_state};
use crate::{Error, RnnCell};
use ndarray::{Array3, ArrayRef3, Axis};

/// What a stack returns: outputs, and each layer's final states, forward and backward.
type UnrolledStack<C, D> = (Array3<<C as RnnCell>::Elem>, Vec<<C as RnnCell>::State>, Vec<<D as RnnCell>::State>);
/// The states of each layer, (forward, backward).
type LayerStates<C, D> = (Vec<<C as RnnCell>::State>, Vec<<D as RnnCell>::State>);
/// The same with the outputs of every layer.
type UnrolledLayers<C, D> = (Vec<Array3<<C as RnnCell>::Elem>>, Vec<<C as RnnCell>::State>, Vec<<D as RnnCell>::State>);

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
/// All cells of one direction have one type; their sizes and options may differ. [`StackBidirectionalRnn`] has more
/// options.
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
    let rows = RowOptions::of(sequence_length);
    StackBidirectionalRnn { cells_fw, cells_bw, initial_states_fw, initial_states_bw, rows }.run(inputs)
}

/// [`stack_bidirectional_dynamic_rnn`] with more options, in any combination: time-major arrays, masks, resets and the
/// outputs of every layer.
///
/// ```
/// use rand::SeedableRng;
/// use rnn_cell::{Gru, StackBidirectionalRnn};
///
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let layers = [Gru::<f32>::new(4, 3, &mut rng), Gru::new(2 * 3, 2, &mut rng)];
/// let x = rnn_cell::one_hot(&["hello", "eolll"], "helo")?;          // (batch, seq, input) = (2, 5, 4)
/// let driver = StackBidirectionalRnn::new(&layers, &layers).sequence_length(&[5, 3]);
/// let (outputs, states_fw, _) = driver.run_with_layers(&x)?;
/// assert_eq!((outputs[0].dim(), outputs[1].dim()), ((2, 5, 6), (2, 5, 4)));
/// assert_eq!(states_fw.len(), 2);
/// # Ok::<(), rnn_cell::Error>(())
/// ```
///
/// Keep the cells in a [`Bidirectional`](crate::Bidirectional) of two `Vec`s to save, load and train them as one.
/// [`record`](Self::record) trains them.
///
/// `'c` is the lifetime of the cells, `'o` that of lengths, mask and resets.
#[must_use = "a builder does nothing until it runs"]
pub struct StackBidirectionalRnn<'c, 'o, C: RnnCell, D: RnnCell<Elem = C::Elem> = C> {
    pub(crate) cells_fw: &'c [C],
    pub(crate) cells_bw: &'c [D],
    pub(crate) initial_states_fw: Option<Vec<C::State>>,
    pub(crate) initial_states_bw: Option<Vec<D::State>>,
    pub(crate) rows: RowOptions<'o>,
}

impl<'c, 'o, C: RnnCell, D: RnnCell<Elem = C::Elem>> StackBidirectionalRnn<'c, 'o, C, D> {
    /// Starts a run of layers, the lowest first, with one cell per layer and direction. Every option has a default.
    pub fn new(cells_fw: &'c [C], cells_bw: &'c [D]) -> Self {
        Self { cells_fw, cells_bw, initial_states_fw: None, initial_states_bw: None, rows: RowOptions::default() }
    }

    row_options!('o);

    /// The state of each layer's forward cell before the first step. Default: [`RnnCell::zero_state`] of each.
    pub fn initial_states_fw(mut self, initial_states: Vec<C::State>) -> Self {
        self.initial_states_fw = Some(initial_states);
        self
    }

    /// The state of each layer's backward cell before the last valid step, which it reads first. Default:
    /// [`RnnCell::zero_state`] of each.
    pub fn initial_states_bw(mut self, initial_states: Vec<D::State>) -> Self {
        self.initial_states_bw = Some(initial_states);
        self
    }

    /// Runs the layers. Returns the last layer's outputs, laid out as `inputs`, and each layer's final states, forward
    /// and backward.
    ///
    /// # Errors
    /// As [`stack_bidirectional_dynamic_rnn`].
    pub fn run(self, inputs: &ArrayRef3<C::Elem>) -> Result<UnrolledStack<C, D>, Error> {
        let (mut layers, states_fw, states_bw) = self.layers(inputs, false)?;
        Ok((layers.pop().unwrap_or_default(), states_fw, states_bw))
    }

    /// Runs the layers. Returns the outputs of every layer, the lowest first, each laid out as `inputs` and as wide as
    /// the layer's two outputs together, and each layer's final states, forward and backward.
    ///
    /// # Errors
    /// As [`stack_bidirectional_dynamic_rnn`].
    pub fn run_with_layers(self, inputs: &ArrayRef3<C::Elem>) -> Result<UnrolledLayers<C, D>, Error> {
        self.layers(inputs, true)
    }

    /// The outputs of all layers, or of the last one.
    fn layers(mut self, inputs: &ArrayRef3<C::Elem>, all: bool) -> Result<UnrolledLayers<C, D>, Error> {
        let (schedules, (mut states_fw, mut states_bw)) = self.check(inputs)?;
        let Self { cells_fw, cells_bw, rows: RowOptions { time_major, .. }, .. } = self;
        let (rows, columns, _) = inputs.dim();
        let inputs = by_step(inputs.view(), time_major);
        let mut layers: Vec<Array3<C::Elem>> = Vec::new();
        let states = states_fw.iter_mut().zip(&mut states_bw);
        for (cells, states) in cells_fw.iter().zip(cells_bw).zip(states) {
            let (width_fw, width_bw) = (cells.0.output_size(), cells.1.output_size());
            let mut outputs = Array3::zeros((rows, columns, width_fw.saturating_add(width_bw)));
            let both = by_step(outputs.view_mut(), time_major).split_at(Axis(2), width_fw);
            let inputs = layers.last().map_or(inputs, |below| by_step(below.view(), time_major));
            Both { cells, schedules: &schedules, inputs, outputs: both }.run(states);
            if !all {
                layers.clear();
            }
            layers.push(outputs);
        }
        Ok((layers, states_fw, states_bw))
    }

    /// Schedules both directions and returns the initial states of all layers if all arguments fit.
    pub(crate) fn check(&mut self, inputs: &ArrayRef3<C::Elem>) -> Result<([Schedule; 2], LayerStates<C, D>), Error> {
        let Self { cells_fw, cells_bw, rows, .. } = *self;
        check_layers(cells_fw, cells_bw)?;
        let schedules = rows.schedule_both(&cells_fw[0], inputs.dim())?;
        let batch = schedules[0].batch();
        let mut states_fw = checked_states("initial_states_fw", cells_fw, batch, self.initial_states_fw.take())?;
        let mut states_bw = checked_states("initial_states_bw", cells_bw, batch, self.initial_states_bw.take())?;
        rows.seed(Some(0), &mut states_fw);
        rows.seed(Some(1), &mut states_bw);
        Ok((schedules, (states_fw, states_bw)))
    }
}

impl<C: RnnCell, D: RnnCell<Elem = C::Elem>> std::fmt::Debug for StackBidirectionalRnn<'_, '_, C, D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StackBidirectionalRnn").field("rows", &self.rows).finish_non_exhaustive()
    }
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

pub(crate) fn check_count(argument: &'static str, expected: usize, found: usize) -> Result<(), Error> {
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
