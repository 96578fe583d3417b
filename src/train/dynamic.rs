//! [`dynamic_rnn`] and [`DynamicRnn`], recorded, and [`Tape`], their backward pass.

use super::long_sum::LongSum;
use super::windows::{Recorder, Windows};
use super::{Checkpointed, Gradients, TrainableCell};
use crate::checks::{check_shape, check_state, leaf_shapes};
use crate::drivers::order::{Rooms, by_step};
use crate::drivers::rows::RowOptions;
use crate::drivers::run::{Buffers, Run};
use crate::drivers::schedule::{Direction, Schedule};
use crate::kernel::zeros;
use crate::{DynamicRnn, Error, RnnCell, State};
use ndarray::{ArcArray, Array3, ArrayRef3, ArrayView3, Ix3};

/// What a recorded driver returns: outputs, the final state and the tape.
pub(super) type Recorded<'a, C> = (Array3<<C as RnnCell>::Elem>, <C as RnnCell>::State, Tape<'a, C>);

/// Runs [`dynamic_rnn`](crate::dynamic_rnn) and records it: `inputs` (batch, seq, input), outputs (batch, seq, output).
/// [`DynamicRnn::record`] has more options, such as time-major arrays, masks and resets.
///
/// Nothing in the padding, not even NaN, reaches an output or a gradient. For truncated backpropagation, run one window
/// after the other, each from the state that the last one returned. Any strides will do.
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
/// input, an [`AttentionWrapper`](crate::seq2seq::AttentionWrapper) its cell's and its layers' inputs, queries and
/// alignments. Most other wrappers add nothing per step. [`DynamicRnn::checkpoint_every`] keeps less. After its first
/// backward run, a built-in cell also keeps a transposed copy of its packed weights.
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
/// let gradients = tape.backward(&outputs)?;
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
    DynamicRnn { cell, initial_state, rows: RowOptions::of(sequence_length) }.record(inputs)
}

impl<'c, 'o, C: TrainableCell> DynamicRnn<'c, 'o, C> {
    /// Runs the cell and records it for training. Returns outputs, laid out as `inputs`, the final state, and the
    /// [`Tape`]. [`train::dynamic_rnn`](dynamic_rnn) says what is kept.
    ///
    /// No gradient flows through a reset: nothing after it depends on the row's steps before. A reset to the initial
    /// state adds to the gradient of the row's initial state. A reset to zeros adds to nothing.
    ///
    /// ```
    /// use rand::SeedableRng;
    /// use rnn_cell::{DynamicRnn, Lstm, one_hot};
    ///
    /// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
    /// let cell = Lstm::<f32>::new(4, 2, &mut rng);
    /// let x = one_hot(&["hello", "eolll"], "helo")?;
    /// let x = x.view().permuted_axes([1, 0, 2]);                     // (seq, batch, input) = (5, 2, 4)
    /// let driver = DynamicRnn::new(&cell).sequence_length(&[5, 3]).time_major(true).checkpoint_every(2);
    /// let (outputs, _, tape) = driver.record(&x)?;
    /// assert_eq!(tape.backward(&outputs)?.inputs.dim(), (5, 2, 4));
    /// # Ok::<(), rnn_cell::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn record<'a>(self, inputs: &'a ArrayRef3<C::Elem>) -> Result<Recorded<'a, C>, Error>
    where
        'c: 'a,
    {
        let inputs = Inputs::Borrowed(by_step(inputs.view(), self.rows.time_major));
        self.record_cut(inputs, None)
    }

    /// Keeps only the state every `steps` steps of a recorded run, and runs these steps again to go backward. Set it
    /// last: only [`record`](Checkpointed::record) follows.
    ///
    /// For T steps the tape holds T / `steps` states and the records of `steps` steps; about √T makes the smallest tape.
    /// A step at which rows end or reset adds a state. Each step runs forward twice. Gradients are those of
    /// [`record`](Self::record) up to rounding. Beyond 64 checkpoints, the backward pass also holds an `f64` sum per
    /// parameter value.
    pub fn checkpoint_every(self, steps: usize) -> Checkpointed<Self> {
        Checkpointed::new(self, steps)
    }

    pub(super) fn record_cut<'a>(
        mut self,
        inputs: Inputs<'a, C::Elem>,
        every: Option<usize>,
    ) -> Result<Recorded<'a, C>, Error>
    where
        'c: 'a,
    {
        let (mut schedule, time_major) = (Schedule::default(), self.rows.time_major);
        let state = self.check(&by_step(inputs.view(), time_major), &mut schedule)?;
        schedule.cut_every(every);
        Ok(record(self.cell, (inputs, time_major), schedule, Direction::Forward, state))
    }
}

impl<'c, 'o, C: TrainableCell> Checkpointed<DynamicRnn<'c, 'o, C>> {
    /// [`DynamicRnn::record`] with checkpoints.
    ///
    /// # Errors
    /// - [`Error::ZeroSize`] if there are to be 0 steps between checkpoints.
    /// - As [`DynamicRnn::record`].
    pub fn record<'a>(self, inputs: &'a ArrayRef3<C::Elem>) -> Result<Recorded<'a, C>, Error>
    where
        'c: 'a,
    {
        let (driver, every) = self.checked()?;
        let inputs = Inputs::Borrowed(by_step(inputs.view(), driver.rows.time_major));
        driver.record_cut(inputs, Some(every))
    }
}

/// The inputs of a recorded run, (seq, batch, input), in the caller's order.
pub(super) enum Inputs<'a, E> {
    Borrowed(ArrayView3<'a, E>),
    /// A list of steps, or what a layer reads from the one below. Both directions of a layer share it.
    Shared(ArcArray<E, Ix3>),
}

impl<E> Inputs<'_, E> {
    pub(super) fn view(&self) -> ArrayView3<'_, E> {
        match self {
            Self::Borrowed(inputs) => inputs.view(),
            Self::Shared(inputs) => inputs.view(),
        }
    }
}

impl<E> Clone for Inputs<'_, E> {
    fn clone(&self) -> Self {
        match self {
            Self::Borrowed(inputs) => Self::Borrowed(*inputs),
            Self::Shared(inputs) => Self::Shared(inputs.clone()),
        }
    }
}

/// A recorded run of [`dynamic_rnn`] or a [`DynamicRnn`]: turns gradients of its results into gradients of its
/// arguments.
#[must_use = "call `backward` to get the gradients"]
pub struct Tape<'a, C: TrainableCell> {
    cell: &'a C,
    schedule: Schedule,
    direction: Direction,
    inputs: Inputs<'a, C::Elem>,
    /// The shape of the outputs, in the caller's layout.
    pub(super) outputs: (usize, usize, usize),
    pub(super) time_major: bool,
    /// The gradient of the final state; 0 without one.
    pub(super) d_final_state: Option<C::State>,
    recorder: Recorder<C>,
    /// Holds the inputs in the order of the schedule, if that needs a copy.
    buffers: Buffers<C>,
}

/// Gradients of everything passed to a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunGradients<E, S> {
    /// The gradients of the cell's parameters.
    pub parameters: Gradients<E>,
    /// The gradient of the inputs, laid out as they are; 0 in the padding.
    pub inputs: Array3<E>,
    /// The gradient of the initial state.
    pub initial_state: S,
}

/// Runs a cell on checked `inputs`, given with whether the caller's arrays are time-major, in either direction, from the
/// initial `state`. The run is checkpointed if the schedule is cut.
pub(super) fn record<'a, C: TrainableCell>(
    cell: &'a C,
    (inputs, time_major): (Inputs<'a, C::Elem>, bool),
    schedule: Schedule,
    direction: Direction,
    mut state: C::State,
) -> Recorded<'a, C> {
    let (rows, columns, _) = by_step(inputs.view(), time_major).dim();
    let mut outputs = zeros((rows, columns, cell.output_size()));
    let mut recorder = Recorder { checkpoints: schedule.is_cut(), kept: Vec::new() };
    let mut buffers = Buffers::default();
    let run_outputs = by_step(outputs.view_mut(), time_major);
    let run = Run { cell, schedule: &schedule, direction, inputs: inputs.view(), outputs: run_outputs };
    run.alone(&mut state, &mut recorder, &mut buffers);
    schedule.repeat_outputs(&mut by_step(outputs.view_mut(), time_major));
    buffers.keep_inputs();
    let (outputs_dim, d_final_state) = (outputs.dim(), None);
    let tape =
        Tape { cell, schedule, direction, inputs, outputs: outputs_dim, time_major, d_final_state, recorder, buffers };
    (outputs, state, tape)
}

impl<C: TrainableCell> Tape<'_, C> {
    /// The gradient of the final state. Default: 0.
    pub fn d_final_state(mut self, d_final_state: C::State) -> Self {
        self.d_final_state = Some(d_final_state);
        self
    }

    /// Backpropagates from `d_outputs`, the gradient of the outputs, laid out as they are.
    ///
    /// # Errors
    /// - [`Error::ArrayShape`] if `d_outputs` does not have the shape of the outputs.
    /// - [`Error::StateShape`] or [`Error::StateLeaves`] if [`d_final_state`](Self::d_final_state) does not have the shape
    ///   of the final state.
    pub fn backward(self, d_outputs: &ArrayRef3<C::Elem>) -> Result<RunGradients<C::Elem, C::State>, Error> {
        self.check(("d_outputs", d_outputs), "d_final_state")?;
        Ok(self.checked_backward(d_outputs))
    }

    /// `Err` unless the gradients have the shapes of the outputs and the final state. Takes the names for messages.
    pub(super) fn check(
        &self,
        (outputs_name, d_outputs): (&str, &ArrayRef3<C::Elem>),
        state_name: &str,
    ) -> Result<(), Error> {
        check_shape(outputs_name, &<[usize; 3]>::from(self.outputs), d_outputs.shape())?;
        self.check_state(state_name)
    }

    /// `Err` unless the gradient of the final state, if there is one, has its shape.
    pub(super) fn check_state(&self, name: &str) -> Result<(), Error> {
        match &self.d_final_state {
            Some(d_state) => check_state(name, &leaf_shapes(&self.cell.zero_state(0)), self.schedule.batch(), d_state),
            None => Ok(()),
        }
    }

    /// [`backward`](Self::backward) on checked gradients.
    pub(super) fn checked_backward(self, d_outputs: &ArrayRef3<C::Elem>) -> RunGradients<C::Elem, C::State> {
        let Self { cell, schedule, direction, inputs, time_major, d_final_state, recorder, mut buffers, .. } = self;
        let (rows, columns, _) = self.outputs;
        let zero_state = || {
            let mut zeros = cell.zero_state(schedule.batch());
            zeros.visit_mut(&mut |mut leaf| leaf.fill(C::Elem::default()));
            zeros
        };
        let mut d_state = d_final_state.unwrap_or_else(zero_state);
        let d_initial = (schedule.has_resets() && !schedule.resets_to_zero()).then(zero_state);
        let mut gradient = cell.zero_gradient();
        let mut d_inputs = zeros((rows, columns, cell.input_size()));
        let (from, to) = (by_step(d_outputs.view(), time_major), by_step(d_inputs.view_mut(), time_major));
        let with_repeats = schedule.with_repeats(from);
        let from = with_repeats.as_ref().map_or(from, |sums| sums.view());
        schedule.in_order(direction, from, to, &mut Rooms::default(), |d_outputs, d_inputs| {
            let Rooms { from, to } = &mut buffers.rooms;
            let inputs = schedule.gathered(direction, inputs.view(), from);
            let gradient = LongSum::new(&mut gradient);
            let windows =
                Windows { cell, schedule: &schedule, inputs, again: to, d_outputs, d_inputs, d_initial, gradient };
            windows.run(recorder.kept, &mut d_state, &mut buffers.workspace);
        });
        RunGradients { parameters: Gradients::of(gradient), inputs: d_inputs, initial_state: d_state }
    }
}

impl<C: TrainableCell> std::fmt::Debug for Tape<'_, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tape").field("outputs", &self.outputs).finish_non_exhaustive()
    }
}
