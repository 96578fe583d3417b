//! [`dynamic_rnn`], recorded, and [`Tape`]: the way back.

use super::{Gradients, TrainableCell};
use crate::checks::{check_inputs, check_shape, check_sizes, check_state, checked_state, leaf_shapes};
use crate::drivers::lengths::{gather, longest_first, runs, scatter};
use crate::kernel::zeros;
use crate::{Error, RnnCell, State};
use ndarray::{Array3, ArrayRef3, CowArray, Ix3, s};

/// What a recorded driver returns: outputs, the final state and the tape.
pub(super) type Recorded<'a, C> = (Array3<<C as RnnCell>::Elem>, <C as RnnCell>::State, Tape<'a, C>);

/// [`dynamic_rnn`](crate::dynamic_rnn), recorded: `inputs` (batch, seq, input), outputs (batch, seq, output).
///
/// Nothing in the padding, NaN included, reaches an output or a gradient. For truncated backpropagation run one window
/// after the other, each from the state that the last one returned. A time-major array goes in as the view
/// `x.view().permuted_axes([1, 0, 2])`: strides may be any.
///
/// The tape holds, for each valid step of each row, the cell's record: an [`Lstm`](crate::Lstm) keeps 5 · hidden +
/// output numbers, with a projection hidden more, a [`Gru`](crate::Gru) 4 · hidden + hidden, a
/// [`BasicRnn`](crate::BasicRnn) hidden, a [`LayerNormLstm`](crate::LayerNormLstm) 6 · hidden; a stack adds the outputs
/// between its layers, a [`HighwayWrapper`](crate::HighwayWrapper) two or three times its input, the other wrappers
/// nothing. [`dynamic_rnn_checkpointed`] holds less. A built-in cell keeps its weights packed a second time, transposed,
/// from its first run backward on.
///
/// ```
/// use rand::SeedableRng;
/// use rnn_cell::{Lstm, one_hot, train};
///
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let cell = Lstm::<f32>::new(4, 2, &mut rng);
/// let x = one_hot(&["hello", "eolll", "lleel"], "helo")?;
/// let (outputs, _, tape) = train::dynamic_rnn(&cell, &x, Some(&[5, 3, 4]), None)?;
/// // The loss is half the sum of the outputs' squares: its gradient is the outputs.
/// let gradients = tape.backward(&outputs, None)?;
/// assert_eq!(gradients.parameters.get("kernel").unwrap().shape(), [6, 8]);
/// assert_eq!(gradients.inputs.dim(), (3, 5, 4));
/// # Ok::<(), rnn_cell::Error>(())
/// ```
///
/// # Errors
/// As [`dynamic_rnn`](crate::dynamic_rnn).
pub fn dynamic_rnn<'a, C: TrainableCell>(
    cell: &'a C,
    inputs: &'a ArrayRef3<C::Elem>,
    sequence_length: Option<&[usize]>,
    initial_state: Option<C::State>,
) -> Result<Recorded<'a, C>, Error> {
    checked_record(cell, inputs, sequence_length, initial_state, None)
}

/// [`dynamic_rnn`] that keeps only the state every `every` steps, and runs those steps again on the way back.
///
/// Of T steps it holds T / `every` states and the record of `every` steps, and computes each step forward twice: about
/// √T is the smallest tape. Gradients are those of [`dynamic_rnn`] to rounding.
///
/// # Errors
/// As [`dynamic_rnn`]; and [`Error::ZeroSize`] if `every` is 0.
pub fn dynamic_rnn_checkpointed<'a, C: TrainableCell>(
    cell: &'a C,
    inputs: &'a ArrayRef3<C::Elem>,
    sequence_length: Option<&[usize]>,
    initial_state: Option<C::State>,
    every: usize,
) -> Result<Recorded<'a, C>, Error> {
    check_sizes(&[("every", every)])?;
    checked_record(cell, inputs, sequence_length, initial_state, Some(every))
}

/// A recorded run of [`dynamic_rnn`]: turns gradients of its results into gradients of what it was given.
#[must_use = "a tape is recorded to be run back"]
pub struct Tape<'a, C: TrainableCell> {
    cell: &'a C,
    /// (seq, batch, input), rows in the order of `order`.
    inputs: CowArray<'a, C::Elem, Ix3>,
    /// The user's row of each row here, longest first; `None` if that is their order.
    order: Option<Vec<usize>>,
    lengths: Vec<usize>,
    windows: Vec<Window<C>>,
    /// (batch, seq, output) of the outputs.
    outputs: (usize, usize, usize),
    workspace: C::Workspace,
}

/// A run of steps with the same rows active.
struct Window<C: TrainableCell> {
    steps: std::ops::Range<usize>,
    active: usize,
    kept: Kept<C>,
}

enum Kept<C: TrainableCell> {
    Records(Vec<C::Record>),
    /// The state before the first step.
    State(C::State),
}

/// Gradients of everything a run was given.
#[derive(Debug, Clone, PartialEq)]
pub struct RunGradients<E, S> {
    /// Of the cell's parameters.
    pub parameters: Gradients<E>,
    /// Of the inputs, (batch, seq, input); 0 in the padding.
    pub inputs: Array3<E>,
    /// Of the initial state.
    pub initial_state: S,
}

fn checked_record<'a, C: TrainableCell>(
    cell: &'a C,
    inputs: &'a ArrayRef3<C::Elem>,
    sequence_length: Option<&[usize]>,
    initial_state: Option<C::State>,
    every: Option<usize>,
) -> Result<Recorded<'a, C>, Error> {
    let (batch, seq, _) = inputs.dim();
    check_inputs(cell, inputs.dim(), (batch, seq), sequence_length)?;
    let state = checked_state("initial_state", cell, batch, initial_state)?;
    Ok(record(cell, inputs.view().into(), sequence_length, state, every))
}

/// [`dynamic_rnn`] of checked `inputs`, borrowed or owned; `finals` is the initial state. Checkpointed `every` so many steps
/// or not at all.
pub(super) fn record<'a, C: TrainableCell>(
    cell: &'a C,
    inputs: CowArray<'a, C::Elem, Ix3>,
    sequence_length: Option<&[usize]>,
    mut finals: C::State,
    every: Option<usize>,
) -> Recorded<'a, C> {
    let (batch, seq, _) = inputs.dim();
    let mut outputs = zeros((batch, seq, cell.output_size()));
    let mut lengths = sequence_length.map_or_else(|| vec![seq; batch], <[usize]>::to_vec);
    let mut inputs = inputs.permuted_axes([1, 0, 2]);
    let order = (!lengths.is_sorted_by(|a, b| a >= b)).then(|| longest_first(&lengths));
    if let Some(order) = &order {
        lengths = order.iter().map(|&row| lengths[row]).collect();
        inputs = gather(inputs.view(), order, &lengths).into();
    }
    let (windows, workspace) = (Vec::new(), C::Workspace::default());
    let mut tape = Tape { cell, inputs, order: None, lengths, windows, outputs: outputs.dim(), workspace };
    let mut by_step = outputs.view_mut().permuted_axes([1, 0, 2]);
    match order {
        None => tape.run(&mut finals, &mut by_step, every),
        Some(order) => {
            let mut sorted_outputs = zeros((seq, batch, cell.output_size()));
            let mut sorted_finals = finals.select_rows(&order);
            tape.run(&mut sorted_finals, &mut sorted_outputs, every);
            scatter(&sorted_outputs, &order, &tape.lengths, by_step);
            for (from, &to) in order.iter().enumerate() {
                finals.copy_row(to, &sorted_finals, from);
            }
            tape.order = Some(order);
        }
    }
    (outputs, finals, tape)
}

impl<C: TrainableCell> Tape<'_, C> {
    /// Runs forward; `finals` (rows in this tape's order) from the initial to the final state.
    fn run(&mut self, finals: &mut C::State, outputs: &mut ArrayRef3<C::Elem>, every: Option<usize>) {
        let mut running = finals.clone();
        for (steps, active) in runs(&self.lengths) {
            for row in active..running.batch_size() {
                finals.copy_row(row, &running, row);
            }
            running.truncate_rows(active);
            let mut start = steps.start;
            while start < steps.end {
                let end = every.map_or(steps.end, |every| steps.end.min(start + every));
                let x = self.inputs.slice(s![start..end, ..active, ..]);
                let mut out = outputs.slice_mut(s![start..end, ..active, ..]);
                let kept = if every.is_some() {
                    let kept = Kept::State(running.clone());
                    self.cell.unroll(&x, &mut running, &mut out, &mut self.workspace);
                    kept
                } else {
                    let mut records = Vec::new();
                    self.cell.unroll_recording(&x, &mut running, &mut out, &mut records, &mut self.workspace);
                    Kept::Records(records)
                };
                self.windows.push(Window { steps: start..end, active, kept });
                start = end;
            }
        }
        for row in 0..running.batch_size() {
            finals.copy_row(row, &running, row);
        }
    }

    /// Runs back from `d_outputs` (batch, seq, output), the gradient of the outputs, and `d_final_state`, that of the final
    /// state (0 without).
    ///
    /// # Errors
    /// [`Error::ArrayShape`], [`Error::StateShape`] and [`Error::StateLeaves`] if a gradient has another shape than what it is
    /// the gradient of.
    pub fn backward(
        self,
        d_outputs: &ArrayRef3<C::Elem>,
        d_final_state: Option<C::State>,
    ) -> Result<RunGradients<C::Elem, C::State>, Error> {
        self.check(("d_outputs", d_outputs), ("d_final_state", d_final_state.as_ref()))?;
        Ok(self.checked_backward(d_outputs, d_final_state))
    }

    /// `Err` unless the gradients, given with their names, have the shapes of what they are gradients of.
    pub(super) fn check(
        &self,
        (outputs_name, d_outputs): (&str, &ArrayRef3<C::Elem>),
        (state_name, d_final_state): (&str, Option<&C::State>),
    ) -> Result<(), Error> {
        check_shape(outputs_name, &<[usize; 3]>::from(self.outputs), d_outputs.shape())?;
        match d_final_state {
            Some(d_state) => check_state(state_name, &leaf_shapes(&self.cell.zero_state(0)), self.outputs.0, d_state),
            None => Ok(()),
        }
    }

    /// [`backward`](Self::backward) of checked gradients.
    pub(super) fn checked_backward(
        mut self,
        d_outputs: &ArrayRef3<C::Elem>,
        d_final_state: Option<C::State>,
    ) -> RunGradients<C::Elem, C::State> {
        let mut d_state = d_final_state.unwrap_or_else(|| {
            let mut none = self.cell.zero_state(self.outputs.0);
            none.visit_mut(&mut |mut leaf| leaf.fill(C::Elem::default()));
            none
        });
        let (batch, seq, features) = (self.outputs.0, self.outputs.1, self.cell.input_size());
        let mut gradient = self.cell.zero_gradient();
        let mut d_inputs = zeros((batch, seq, features));
        let by_step = d_outputs.view().permuted_axes([1, 0, 2]);
        match self.order.take() {
            None => {
                let mut d_inputs = d_inputs.view_mut().permuted_axes([1, 0, 2]);
                self.run_back(&by_step, &mut d_state, &mut d_inputs, &mut gradient);
            }
            Some(order) => {
                let d_outputs = gather(by_step, &order, &self.lengths);
                let mut sorted_d_inputs = zeros((seq, batch, features));
                let mut sorted_d_state = d_state.select_rows(&order);
                self.run_back(&d_outputs, &mut sorted_d_state, &mut sorted_d_inputs, &mut gradient);
                scatter(&sorted_d_inputs, &order, &self.lengths, d_inputs.view_mut().permuted_axes([1, 0, 2]));
                for (from, &to) in order.iter().enumerate() {
                    d_state.copy_row(to, &sorted_d_state, from);
                }
            }
        }
        RunGradients { parameters: Gradients::of(&gradient), inputs: d_inputs, initial_state: d_state }
    }

    fn run_back(
        &mut self,
        d_outputs: &ArrayRef3<C::Elem>,
        d_state: &mut C::State,
        d_inputs: &mut ArrayRef3<C::Elem>,
        gradient: &mut C::Gradient,
    ) {
        let cell = self.cell;
        while let Some(Window { steps, active, kept }) = self.windows.pop() {
            let x = self.inputs.slice(s![steps.clone(), ..active, ..]);
            let mut records = match kept {
                Kept::Records(records) => records,
                Kept::State(mut state) => {
                    let mut outputs = Array3::zeros((steps.len(), active, self.outputs.2));
                    let mut records = Vec::new();
                    cell.unroll_recording(&x, &mut state, &mut outputs, &mut records, &mut self.workspace);
                    records
                }
            };
            let d_out = d_outputs.slice(s![steps.clone(), ..active, ..]);
            let mut d_in = d_inputs.slice_mut(s![steps, ..active, ..]);
            if active == d_state.batch_size() {
                cell.unroll_backward(&mut records, &x, &d_out, d_state, &mut d_in, gradient, &mut self.workspace);
                continue;
            }
            // The other rows had ended before these steps: theirs is still the gradient of the final state.
            let mut running = d_state.select_rows(&(0..active).collect::<Vec<_>>());
            cell.unroll_backward(&mut records, &x, &d_out, &mut running, &mut d_in, gradient, &mut self.workspace);
            for row in 0..active {
                d_state.copy_row(row, &running, row);
            }
        }
    }
}

impl<C: TrainableCell> std::fmt::Debug for Tape<'_, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tape").field("outputs", &self.outputs).finish_non_exhaustive()
    }
}
