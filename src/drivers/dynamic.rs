//! [`dynamic_rnn`]: any cell over a batch of sequences of different lengths; [`DynamicRnn`], the same with more options.

use super::run::{Buffers, Run};
use super::schedule::{Direction, Schedule, by_step};
use super::walk::Watch;
use crate::checks::{check_inputs, check_shape, checked_state};
use crate::{Error, RnnCell, State};
use ndarray::{Array3, ArrayRef2, ArrayRef3};
use std::sync::{Mutex, PoisonError};

/// What a driver returns: outputs and the final state.
pub(super) type Unrolled<C> = (Array3<<C as RnnCell>::Elem>, <C as RnnCell>::State);

/// Outputs, the state after every step, and the final state.
type Watched<C> = (Array3<<C as RnnCell>::Elem>, Vec<<C as RnnCell>::State>, <C as RnnCell>::State);

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
/// [`Error::StateShape`] and [`Error::StateLeaves`] if `initial_state` is of another batch or width.
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

/// [`dynamic_rnn`] with options: time-major arrays, resets in mid-sequence, the state after every step.
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
#[must_use]
pub struct DynamicRnn<'a, C: RnnCell> {
    cell: &'a C,
    sequence_length: Option<&'a [usize]>,
    initial_state: Option<C::State>,
    time_major: bool,
    resets: Option<&'a ArrayRef2<bool>>,
}

impl<'a, C: RnnCell> DynamicRnn<'a, C> {
    /// Batch-major, every row `seq` long, from the zero state, without resets, unless set otherwise.
    pub fn new(cell: &'a C) -> Self {
        Self { cell, sequence_length: None, initial_state: None, time_major: false, resets: None }
    }

    /// Steps of each row, (batch), each at most `seq`.
    pub fn sequence_length(mut self, sequence_length: &'a [usize]) -> Self {
        self.sequence_length = Some(sequence_length);
        self
    }

    /// The state before the first step, and after a reset.
    pub fn initial_state(mut self, initial_state: C::State) -> Self {
        self.initial_state = Some(initial_state);
        self
    }

    /// Whether inputs and outputs are (seq, batch, features) and resets (seq, batch), instead of (batch, seq, features)
    /// and (batch, seq).
    pub fn time_major(mut self, time_major: bool) -> Self {
        self.time_major = time_major;
        self
    }

    /// Where a sequence starts anew, laid out as the first two axes of the inputs: where true, the row's state is the
    /// initial one before the step. Past a row's length a reset does nothing.
    ///
    /// The sequence is cut at the steps where a row resets: between them the cell runs as fast as without resets.
    pub fn resets(mut self, resets: &'a ArrayRef2<bool>) -> Self {
        self.resets = Some(resets);
        self
    }

    /// Runs the cell: outputs, laid out as `inputs`, and the final state.
    ///
    /// # Errors
    /// As [`dynamic_rnn`]; and [`Error::ArrayShape`] if the resets are not laid out as the inputs.
    pub fn run(mut self, inputs: &ArrayRef3<C::Elem>) -> Result<Unrolled<C>, Error> {
        let (schedule, mut state) = self.check(inputs)?;
        let (rows, columns, _) = inputs.dim();
        let mut outputs = Array3::zeros((rows, columns, self.cell.output_size()));
        self.unroll((inputs, &mut outputs), &schedule, &mut state, None);
        Ok((outputs, state))
    }

    /// Runs the cell: outputs, the state after each of the `seq` steps, and the final state. Past a row's length its state
    /// stays as the last valid step left it.
    ///
    /// Step by step, so without what a built-in cell gains from knowing many steps at once.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_with_states(mut self, inputs: &ArrayRef3<C::Elem>) -> Result<Watched<C>, Error> {
        let (mut schedule, mut state) = self.check(inputs)?;
        schedule.cut_every(Some(1));
        let (rows, columns, _) = inputs.dim();
        let mut outputs = Array3::zeros((rows, columns, self.cell.output_size()));
        let seq = if self.time_major { rows } else { columns };
        let states = Mutex::new(vec![state.clone(); seq]);
        self.unroll((inputs, &mut outputs), &schedule, &mut state, Some(&states));
        let mut states = states.into_inner().unwrap_or_else(PoisonError::into_inner);
        for row in 0..schedule.batch() {
            for later in states.iter_mut().skip(schedule.length(row)) {
                later.copy_row(schedule.row(row), &state, schedule.row(row));
            }
        }
        Ok((outputs, states, state))
    }

    /// Which rows run when, and the initial state, if all arguments fit.
    fn check(&mut self, inputs: &ArrayRef3<C::Elem>) -> Result<(Schedule, C::State), Error> {
        let Self { cell, sequence_length, time_major, resets, .. } = *self;
        let (rows, columns, _) = inputs.dim();
        let (seq, batch) = if time_major { (rows, columns) } else { (columns, rows) };
        check_inputs(cell, inputs.dim(), (batch, seq), sequence_length)?;
        if let Some(resets) = resets {
            check_shape("resets", &[rows, columns], resets.shape())?;
        }
        let state = checked_state("initial_state", cell, batch, self.initial_state.take())?;
        let mut schedule = Schedule::new(seq, batch, sequence_length);
        if let Some(resets) = resets {
            schedule.cut_at(if time_major { resets.view() } else { resets.t() });
        }
        Ok((schedule, state))
    }

    /// Runs over checked arrays.
    fn unroll(
        &self,
        (inputs, outputs): (&ArrayRef3<C::Elem>, &mut ArrayRef3<C::Elem>),
        schedule: &Schedule,
        state: &mut C::State,
        states: Option<&Mutex<Vec<C::State>>>,
    ) {
        let inputs = by_step(inputs.view(), self.time_major);
        let outputs = by_step(outputs.view_mut(), self.time_major);
        let run = Run { cell: self.cell, schedule, direction: Direction::Forward, inputs, outputs };
        run.shared(state, Watch(states), &mut Buffers::default());
    }
}

impl<C: RnnCell> std::fmt::Debug for DynamicRnn<'_, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DynamicRnn")
            .field("sequence_length", &self.sequence_length)
            .field("time_major", &self.time_major)
            .field("resets", &self.resets)
            .finish_non_exhaustive()
    }
}
