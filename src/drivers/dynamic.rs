//! [`dynamic_rnn`]: any cell over a batch of sequences of different lengths; [`DynamicRnn`]: the same with options.

use super::order::by_step;
use super::rows::{RowOptions, row_options};
use super::run::{Buffers, Run};
use super::schedule::{Direction, Schedule};
use super::walk::Watch;
use crate::checks::{check_shape, checked_state};
use crate::{Error, Float, RnnCell, State};
use ndarray::{Array3, ArrayRef3};
use std::sync::{Mutex, PoisonError};

/// What a driver returns: outputs and the final state.
pub(super) type Unrolled<C> = (Array3<<C as RnnCell>::Elem>, <C as RnnCell>::State);

/// Outputs, the state after every step, and the final state.
type Watched<C> = (Array3<<C as RnnCell>::Elem>, Vec<<C as RnnCell>::State>, <C as RnnCell>::State);

/// Runs `cell` on `inputs` (batch, seq, input). Returns C-contiguous outputs (batch, seq, output) and the final state.
///
/// This is TensorFlow 1's `tf.nn.dynamic_rnn`. For one row, in four lines:
///
/// ```text
/// for t in 0..sequence_length[row] {
///     cell.step(inputs[t], &mut state, &mut outputs[t]);
/// }
/// outputs[sequence_length[row]..] = 0
/// ```
///
/// Without `sequence_length` every row has `seq` steps. Past a row's length nothing is computed: its outputs are
/// exactly 0, and its state stays as the last valid step left it. The padding may hold anything, even NaN. A row of
/// length 0 keeps the initial state. Without `initial_state` the state starts as [`RnnCell::zero_state`]. An empty
/// batch and a sequence of no steps are fine. `inputs` may have any strides. [`DynamicRnn`] has more options.
///
/// # Errors
/// - [`Error::InputSize`] if `inputs` are not as wide as the cell's input.
/// - [`Error::SequenceLengthBatch`] if `sequence_length` does not have one entry per row.
/// - [`Error::SequenceLengthTooLong`] if an entry exceeds `seq`.
/// - [`Error::StateShape`] or [`Error::StateLeaves`] if `initial_state` does not fit the cell or the batch.
/// - What [`RnnCell::check_state`] finds wrong, such as [`Error::NoMemory`].
pub fn dynamic_rnn<C: RnnCell>(
    cell: &C,
    inputs: &ArrayRef3<C::Elem>,
    sequence_length: Option<&[usize]>,
    initial_state: Option<C::State>,
) -> Result<Unrolled<C>, Error> {
    DynamicRnn { cell, initial_state, rows: RowOptions::of(sequence_length) }.run(inputs)
}

/// [`dynamic_rnn`] with more options, in any combination: time-major arrays, masks with holes, and resets in
/// mid-sequence.
///
/// Choose what you get with the last call: [`run`](Self::run), [`run_into`](Self::run_into) with memory that you
/// reuse, [`run_steps`](Self::run_steps) over a list of steps, [`run_with_states`](Self::run_with_states) for the state
/// after every step, [`run_with_layers`](Self::run_with_layers) for the outputs of every layer of a
/// [`MultiRnnCell`](crate::MultiRnnCell), or [`record`](Self::record) to train a
/// [`TrainableCell`](crate::train::TrainableCell).
///
/// ```
/// use rand::SeedableRng;
/// use rnn_cell::{DynamicRnn, Gru};
///
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let cell = Gru::<f32>::new(4, 2, &mut rng);
/// let x = rnn_cell::one_hot(&["hello", "eolll"], "helo")?;          // (batch, seq, input) = (2, 5, 4)
/// let resets = ndarray::array![
///     [false, false, true, false, false],                            // row 0 starts anew at step 2
///     [false, false, false, false, false],
/// ];
/// let driver = DynamicRnn::new(&cell).sequence_length(&[5, 4]).resets(&resets);
/// let (outputs, states, last) = driver.run_with_states(&x)?;
/// assert_eq!((outputs.dim(), states.len()), ((2, 5, 2), 5));
/// assert_eq!(states[4], last);
/// assert_eq!(states[4].row(1), states[3].row(1));                    // frozen: row 1 is 4 steps long
/// # Ok::<(), rnn_cell::Error>(())
/// ```
///
/// `'c` is the lifetime of the cell, `'o` that of lengths, mask and resets, which a [`Tape`](crate::train::Tape) does not
/// borrow.
#[must_use = "a builder does nothing until it runs"]
pub struct DynamicRnn<'c, 'o, C: RnnCell> {
    pub(crate) cell: &'c C,
    pub(crate) initial_state: Option<C::State>,
    pub(crate) rows: RowOptions<'o>,
}

impl<'c, 'o, C: RnnCell> DynamicRnn<'c, 'o, C> {
    /// Starts a run of `cell`. Every option has a default.
    pub fn new(cell: &'c C) -> Self {
        Self { cell, initial_state: None, rows: RowOptions::default() }
    }

    row_options!('o);

    /// Whether a masked step shows the output of the last step before it that ran, as Keras does, instead of 0. It is 0
    /// before the row's first such step, whatever the initial state. Default: false.
    pub fn repeat_masked_outputs(mut self, repeat: bool) -> Self {
        self.rows.repeat_masked_outputs = repeat;
        self
    }

    /// The state before the first step, and after a reset unless [`resets_to_zero`](Self::resets_to_zero) is set.
    /// Default: [`RnnCell::zero_state`].
    pub fn initial_state(mut self, initial_state: C::State) -> Self {
        self.initial_state = Some(initial_state);
        self
    }

    /// Runs the cell. Returns outputs, laid out as `inputs`, and the final state.
    ///
    /// # Errors
    /// - As [`dynamic_rnn`].
    /// - [`Error::ArrayShape`] if the mask or the resets are not laid out as the first two axes of the inputs.
    pub fn run(mut self, inputs: &ArrayRef3<C::Elem>) -> Result<Unrolled<C>, Error> {
        let mut workspace = DynamicRnnWorkspace::default();
        let mut state = self.check(inputs, &mut workspace.schedule)?;
        let mut outputs = Array3::zeros(self.outputs_shape(inputs));
        self.unroll((inputs, &mut outputs), &mut state, &mut workspace, None);
        workspace.schedule.repeat_outputs(&mut by_step(outputs.view_mut(), self.rows.time_major));
        Ok((outputs, state))
    }

    /// Runs the cell and writes `outputs`, laid out as `inputs`: 0 past each row's length. Returns the final state.
    ///
    /// `workspace` keeps the run's buffers. With it, a later run of the same strides that is no larger allocates no
    /// buffers. Results never depend on its contents, and any cell of this type may use it.
    ///
    /// The state passed as [`initial_state`](Self::initial_state) comes back as the final state, in the same memory.
    /// Without one, a zero state is allocated. Four things still allocate. A [`mask`](Self::mask) is turned into a list of
    /// steps. The initial state is checked against a [`zero_state`](RnnCell::zero_state) of no rows, which may hold a
    /// list or a box. If lengths differ or rows reset, [`copy_from`](State::copy_from) may allocate. So may sharing work
    /// between threads, with the feature `rayon`.
    ///
    /// ```
    /// use ndarray::Array3;
    /// use rand::SeedableRng;
    /// use rnn_cell::{DynamicRnn, DynamicRnnWorkspace, Lstm, RnnCell};
    ///
    /// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
    /// let cell = Lstm::<f32>::new(4, 2, &mut rng);
    /// let x = rnn_cell::one_hot(&["hello", "eolll"], "helo")?;      // (batch, seq, input) = (2, 5, 4)
    /// let mut outputs = Array3::zeros((2, 5, 2));
    /// let mut workspace = DynamicRnnWorkspace::default();
    /// let mut state = cell.zero_state(2);
    /// for lengths in [[5, 4], [2, 3]] {                              // the second run continues the first
    ///     let driver = DynamicRnn::new(&cell).sequence_length(&lengths).initial_state(state);
    ///     state = driver.run_into(&x, &mut outputs, &mut workspace)?;
    /// }
    /// assert_eq!(outputs[[0, 2, 0]], 0.0);
    /// # Ok::<(), rnn_cell::Error>(())
    /// ```
    ///
    /// # Errors
    /// - As [`run`](Self::run).
    /// - [`Error::ArrayShape`] if `outputs` are not laid out as the inputs, or not as wide as the cell's output.
    ///
    /// After an error `outputs` are unchanged, and the initial state is lost.
    pub fn run_into(
        mut self,
        inputs: &ArrayRef3<C::Elem>,
        outputs: &mut ArrayRef3<C::Elem>,
        workspace: &mut DynamicRnnWorkspace<C>,
    ) -> Result<C::State, Error> {
        let mut state = self.check(inputs, &mut workspace.schedule)?;
        check_shape("outputs", &self.outputs_shape(inputs), outputs.shape())?;
        self.unroll((inputs, outputs), &mut state, workspace, None);
        let mut outputs = by_step(outputs.view_mut(), self.rows.time_major);
        workspace.schedule.clear_padding(&mut outputs);
        workspace.schedule.repeat_outputs(&mut outputs);
        Ok(state)
    }

    /// Runs the cell. Returns outputs, the state after each of the `seq` steps, and the final state. Past a row's
    /// length its state stays as the last valid step left it.
    ///
    /// Runs step by step: a built-in cell is slower than in [`run`](Self::run), which gives it many steps at once.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_with_states(mut self, inputs: &ArrayRef3<C::Elem>) -> Result<Watched<C>, Error> {
        let mut workspace = DynamicRnnWorkspace::default();
        let mut state = self.check(inputs, &mut workspace.schedule)?;
        workspace.schedule.cut_every(Some(1));
        let mut outputs = Array3::zeros(self.outputs_shape(inputs));
        let (seq, ..) = by_step(inputs.view(), self.rows.time_major).dim();
        let (initial, states) = (state.clone(), Mutex::new(vec![state.clone(); seq]));
        self.unroll((inputs, &mut outputs), &mut state, &mut workspace, Some(&states));
        workspace.schedule.repeat_outputs(&mut by_step(outputs.view_mut(), self.rows.time_major));
        let mut states = states.into_inner().unwrap_or_else(PoisonError::into_inner);
        spread(&mut states, &initial, &workspace.schedule);
        Ok((outputs, states, state))
    }

    /// Schedules the run and returns the initial state if all arguments fit.
    pub(crate) fn check(&mut self, inputs: &ArrayRef3<C::Elem>, schedule: &mut Schedule) -> Result<C::State, Error> {
        let Self { cell, rows, .. } = *self;
        rows.schedule(cell, inputs.dim(), Direction::Forward, schedule)?;
        let mut state = checked_state("initial_state", cell, schedule.batch(), self.initial_state.take())?;
        rows.seed(None, &mut state);
        Ok(state)
    }

    fn outputs_shape(&self, inputs: &ArrayRef3<C::Elem>) -> [usize; 3] {
        let (rows, columns, _) = inputs.dim();
        [rows, columns, self.cell.output_size()]
    }

    /// Runs over checked arrays, as the workspace schedules it.
    fn unroll(
        &self,
        (inputs, outputs): (&ArrayRef3<C::Elem>, &mut ArrayRef3<C::Elem>),
        state: &mut C::State,
        workspace: &mut DynamicRnnWorkspace<C>,
        states: Option<&Mutex<Vec<C::State>>>,
    ) {
        let DynamicRnnWorkspace { schedule, buffers } = workspace;
        let inputs = by_step(inputs.view(), self.rows.time_major);
        let outputs = by_step(outputs.view_mut(), self.rows.time_major);
        let run = Run { cell: self.cell, schedule, direction: Direction::Forward, inputs, outputs };
        run.shared(state, Watch(states), buffers);
    }
}

/// Moves states that were counted in steps that ran to the caller's steps. A step that does not run keeps the state of
/// the last one before it that did, or the initial one.
fn spread<E: Float, S: State<E>>(states: &mut [S], initial: &S, schedule: &Schedule) {
    for row in 0..schedule.batch() {
        let callers = schedule.row(row);
        for step in (0..states.len()).rev() {
            let (before, after) = states.split_at_mut(step);
            match schedule.done(row, step).checked_sub(1) {
                None => after[0].copy_row(callers, initial, callers),
                Some(last) if last < step => after[0].copy_row(callers, &before[last], callers),
                Some(_) => {}
            }
        }
    }
}

/// Buffers that [`DynamicRnn::run_into`] keeps from run to run: the cell's own, the order of the rows, and inputs,
/// outputs and a state sorted so. Empty at first.
pub struct DynamicRnnWorkspace<C: RnnCell> {
    schedule: Schedule,
    buffers: Buffers<C>,
}

impl<C: RnnCell> Default for DynamicRnnWorkspace<C> {
    fn default() -> Self {
        Self { schedule: Schedule::default(), buffers: Buffers::default() }
    }
}

impl<C: RnnCell> std::fmt::Debug for DynamicRnnWorkspace<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DynamicRnnWorkspace").finish_non_exhaustive()
    }
}

impl<C: RnnCell> std::fmt::Debug for DynamicRnn<'_, '_, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DynamicRnn").field("rows", &self.rows).finish_non_exhaustive()
    }
}
