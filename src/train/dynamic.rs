//! [`dynamic_rnn`], recorded, and [`Tape`], its backward pass.

use super::long_sum::LongSum;
use super::{Gradients, TrainableCell};
use crate::back::Back;
use crate::checks::{check_inputs, check_shape, check_sizes, check_state, checked_state, leaf_shapes};
use crate::drivers::order::{Direction, Room, Rooms, by_step};
use crate::drivers::run::{Buffers, Run};
use crate::drivers::schedule::{Schedule, Window};
use crate::drivers::walk::{Piece, Sink};
use crate::kernel::zeros;
use crate::{Error, RnnCell, State};
use ndarray::{Array3, ArrayRef3, ArrayView3, ArrayViewMut3, s};

/// What a recorded driver returns: outputs, the final state and the tape.
pub(super) type Recorded<'a, C> = (Array3<<C as RnnCell>::Elem>, <C as RnnCell>::State, Tape<'a, C>);

/// Runs [`dynamic_rnn`](crate::dynamic_rnn) and records it: `inputs` (batch, seq, input), outputs (batch, seq, output).
///
/// Nothing in the padding, not even NaN, reaches an output or a gradient. For truncated backpropagation, run one window
/// after the other, each from the state that the last one returned. Any strides will do: pass a time-major array as the
/// view `x.view().permuted_axes([1, 0, 2])`.
///
/// For each valid step of each row the tape holds the cell's record. It has this many numbers:
///
/// | cell | numbers |
/// |---|---|
/// | [`BasicRnn`](crate::BasicRnn) | 2 · hidden |
/// | [`Ugrnn`](crate::Ugrnn) | 3 · hidden |
/// | [`Gru`](crate::Gru) | 5 · hidden |
/// | [`Lstm`](crate::Lstm) | 5 · hidden + output; hidden + output more with a projection |
/// | [`LayerNormLstm`](crate::LayerNormLstm) | 11 · hidden + 5 |
///
/// A stack adds the outputs between its layers, a [`HighwayWrapper`](crate::HighwayWrapper) two or three times its
/// input. Other wrappers add nothing per step. [`dynamic_rnn_checkpointed`] keeps less. After its first backward run, a
/// built-in cell also keeps a transposed copy of its packed weights.
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

/// Like [`dynamic_rnn`], but keeps only the state every `every` steps and runs these steps again to go backward.
///
/// For T steps it holds T / `every` states and the records of `every` steps; about √T makes the smallest tape. Each
/// step runs forward twice. Gradients are those of [`dynamic_rnn`] up to rounding. With many windows, the backward pass
/// also holds an `f64` sum per parameter value.
///
/// # Errors
/// As [`dynamic_rnn`], and [`Error::ZeroSize`] if `every` is 0.
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

/// A recorded run of [`dynamic_rnn`]: turns gradients of its results into gradients of its arguments.
#[must_use = "call `backward` to get the gradients"]
pub struct Tape<'a, C: TrainableCell> {
    cell: &'a C,
    schedule: Schedule,
    direction: Direction,
    /// (seq, batch, input), in the caller's order.
    inputs: ArrayView3<'a, C::Elem>,
    /// The shape of the outputs, (batch, seq, output).
    outputs: (usize, usize, usize),
    recorder: Recorder<C>,
    /// Holds the inputs in the order of the schedule, if that needs a copy.
    buffers: Buffers<C>,
}

/// The sink of a recorded run: keeps what each window needs to run backward.
struct Recorder<C: TrainableCell> {
    checkpoints: bool,
    kept: Vec<(Window, Kept<C>)>,
}

enum Kept<C: TrainableCell> {
    Records(Vec<C::Record>),
    /// The state before the first step.
    State(C::State),
}

impl<C: TrainableCell> Sink<C> for Recorder<C> {
    fn run(&mut self, piece: Piece<'_, C>, state: &mut C::State, workspace: &mut C::Workspace) {
        let Piece { cell, rows, steps, inputs, mut outputs, .. } = piece;
        let kept = if self.checkpoints {
            let kept = Kept::State(state.clone());
            cell.unroll(&inputs, state, &mut outputs, workspace);
            kept
        } else {
            let mut records = Vec::new();
            cell.unroll_recording(&inputs, state, &mut outputs, &mut records, workspace);
            Kept::Records(records)
        };
        self.kept.push((Window { steps, active: rows.len() }, kept));
    }
}

/// Gradients of everything passed to a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunGradients<E, S> {
    /// The gradients of the cell's parameters.
    pub parameters: Gradients<E>,
    /// The gradient of the inputs, (batch, seq, input); 0 in the padding.
    pub inputs: Array3<E>,
    /// The gradient of the initial state.
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
    let mut schedule = Schedule::new(seq, batch, sequence_length);
    schedule.cut_every(every);
    Ok(record(cell, inputs, schedule, Direction::Forward, state))
}

/// [`dynamic_rnn`] on checked `inputs` (batch, seq, input), in either direction, from the initial `state`. It is
/// checkpointed if the schedule is cut.
pub(super) fn record<'a, C: TrainableCell>(
    cell: &'a C,
    inputs: &'a ArrayRef3<C::Elem>,
    schedule: Schedule,
    direction: Direction,
    mut state: C::State,
) -> Recorded<'a, C> {
    let (batch, seq, _) = inputs.dim();
    let mut outputs = zeros((batch, seq, cell.output_size()));
    let inputs = by_step(inputs.view(), false);
    let mut recorder = Recorder { checkpoints: schedule.is_cut(), kept: Vec::new() };
    let mut buffers = Buffers::default();
    let run = Run { cell, schedule: &schedule, direction, inputs, outputs: by_step(outputs.view_mut(), false) };
    run.alone(&mut state, &mut recorder, &mut buffers);
    buffers.keep_inputs();
    let tape = Tape { cell, schedule, direction, inputs, outputs: outputs.dim(), recorder, buffers };
    (outputs, state, tape)
}

impl<C: TrainableCell> Tape<'_, C> {
    /// Backpropagates from `d_outputs` (batch, seq, output), the gradient of the outputs, and `d_final_state`, that of
    /// the final state (0 if `None`).
    ///
    /// # Errors
    /// - [`Error::ArrayShape`] if `d_outputs` does not have the shape of the outputs.
    /// - [`Error::StateShape`] or [`Error::StateLeaves`] if `d_final_state` does not have the shape of the final state.
    pub fn backward(
        self,
        d_outputs: &ArrayRef3<C::Elem>,
        d_final_state: Option<C::State>,
    ) -> Result<RunGradients<C::Elem, C::State>, Error> {
        self.check(("d_outputs", d_outputs), ("d_final_state", d_final_state.as_ref()))?;
        Ok(self.checked_backward(d_outputs, d_final_state))
    }

    /// `Err` unless the gradients, given with their names, have the shapes of the outputs and the final state.
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

    /// [`backward`](Self::backward) on checked gradients.
    pub(super) fn checked_backward(
        self,
        d_outputs: &ArrayRef3<C::Elem>,
        d_final_state: Option<C::State>,
    ) -> RunGradients<C::Elem, C::State> {
        let Self { cell, schedule, direction, inputs, outputs: (batch, seq, _), recorder, mut buffers } = self;
        let mut d_state = d_final_state.unwrap_or_else(|| {
            let mut none = cell.zero_state(batch);
            none.visit_mut(&mut |mut leaf| leaf.fill(C::Elem::default()));
            none
        });
        let mut gradient = cell.zero_gradient();
        let mut d_inputs = zeros((batch, seq, cell.input_size()));
        let (from, to) = (by_step(d_outputs.view(), false), by_step(d_inputs.view_mut(), false));
        schedule.in_order(direction, from, to, &mut Rooms::default(), |d_outputs, d_inputs| {
            let Rooms { from, to } = &mut buffers.rooms;
            let inputs = schedule.gathered(direction, inputs, from);
            let gradient = LongSum::new(&mut gradient);
            let windows = Windows { cell, schedule: &schedule, inputs, again: to, d_outputs, d_inputs, gradient };
            windows.run(recorder.kept, &mut d_state, &mut buffers.workspace);
        });
        RunGradients { parameters: Gradients::of(gradient), inputs: d_inputs, initial_state: d_state }
    }
}

/// The backward pass over the windows of a run. Arrays are in the order of the schedule, (steps, batch, features).
struct Windows<'a, C: TrainableCell> {
    cell: &'a C,
    schedule: &'a Schedule,
    inputs: ArrayView3<'a, C::Elem>,
    /// Room for the outputs of steps that are run again.
    again: &'a mut Room<C::Elem>,
    d_outputs: ArrayView3<'a, C::Elem>,
    d_inputs: ArrayViewMut3<'a, C::Elem>,
    gradient: LongSum<'a, C::Elem, C::Gradient>,
}

impl<C: TrainableCell> Windows<'_, C> {
    /// Runs the windows backward, the last one first. `d_state`, in the caller's order, is the gradient of the final
    /// state and becomes that of the initial one.
    fn run(mut self, kept: Vec<(Window, Kept<C>)>, d_state: &mut C::State, workspace: &mut C::Workspace) {
        let schedule = self.schedule;
        if !schedule.ragged() {
            for (window, kept) in kept.into_iter().rev() {
                self.window(&window, kept, d_state, workspace);
            }
            self.gradient.finish();
            return;
        }
        // Rows that ended earlier join on the way. Until then theirs is the gradient of the final state.
        let mut running: Option<C::State> = None;
        let leave = |running: &C::State, d_state: &mut C::State| {
            for row in 0..running.batch_size() {
                d_state.copy_row(schedule.row(row), running, row);
            }
        };
        for (window, kept) in kept.into_iter().rev() {
            if let Some(fewer) = running.take_if(|running| running.batch_size() != window.active) {
                leave(&fewer, d_state);
            }
            let running = running.get_or_insert_with(|| {
                d_state.select_rows(&(0..window.active).map(|row| schedule.row(row)).collect::<Vec<_>>())
            });
            self.window(&window, kept, running, workspace);
        }
        if let Some(all) = running {
            leave(&all, d_state);
        }
        self.gradient.finish();
    }

    fn window(&mut self, window: &Window, kept: Kept<C>, d_state: &mut C::State, workspace: &mut C::Workspace) {
        let Window { steps, active } = window;
        let part = s![steps.clone(), ..*active, ..];
        let (cell, inputs) = (self.cell, &self.inputs.slice(part));
        let mut records = match kept {
            Kept::Records(records) => records,
            Kept::State(mut state) => {
                let mut outputs = self.again.array((steps.len(), *active, cell.output_size()));
                let mut records = Vec::new();
                cell.unroll_recording(inputs, &mut state, &mut outputs, &mut records, workspace);
                records
            }
        };
        let (d_outputs, d_inputs) = (&self.d_outputs.slice(part), &mut self.d_inputs.slice_mut(part));
        let back = Back { inputs, d_outputs, d_state, d_inputs, gradient: self.gradient.next_gradient() };
        cell.unroll_backward(&mut records, back, workspace);
    }
}

impl<C: TrainableCell> std::fmt::Debug for Tape<'_, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tape").field("outputs", &self.outputs).finish_non_exhaustive()
    }
}
