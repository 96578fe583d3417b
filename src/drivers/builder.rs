//! [`DynamicRnn`]: `dynamic_rnn` with more options, and with a look inside.

use super::dynamic::{Unrolled, unroll_masked};
use super::lengths::{check_inputs, checked_state};
use crate::{Error, RnnCell, State};
use ndarray::{Array3, ArrayBase, ArrayRef2, ArrayRef3, ArrayView2, ArrayView3, ArrayViewMut3, Ix3, RawData, s};

/// Outputs, the state after every step, and the final state.
type Watched<C> = (Array3<<C as RnnCell>::Elem>, Vec<<C as RnnCell>::State>, <C as RnnCell>::State);

/// [`dynamic_rnn`](crate::dynamic_rnn) with options: time-major arrays, resets in mid-sequence, the state after every step.
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
    pub(super) cell: &'a C,
    pub(super) sequence_length: Option<&'a [usize]>,
    pub(super) initial_state: Option<C::State>,
    pub(super) time_major: bool,
    pub(super) resets: Option<&'a ArrayRef2<bool>>,
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
    /// As [`dynamic_rnn`](crate::dynamic_rnn); and [`Error::ResetsShape`].
    pub fn run(self, inputs: &ArrayRef3<C::Elem>) -> Result<Unrolled<C>, Error> {
        self.unroll(inputs, None)
    }

    /// Runs the cell: outputs, the state after each of the `seq` steps, and the final state. Past a row's length its state
    /// stays as the last valid step left it.
    ///
    /// Step by step, so without what a built-in cell gains from knowing many steps at once.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_with_states(self, inputs: &ArrayRef3<C::Elem>) -> Result<Watched<C>, Error> {
        let mut states = Vec::new();
        let (outputs, state) = self.unroll(inputs, Some(&mut states))?;
        Ok((outputs, states, state))
    }

    fn unroll(self, inputs: &ArrayRef3<C::Elem>, states: Option<&mut Vec<C::State>>) -> Result<Unrolled<C>, Error> {
        let Self { cell, sequence_length, initial_state, time_major, resets } = self;
        let x = by_step(inputs.view(), time_major);
        let (seq, batch, _) = x.dim();
        check_inputs(cell, inputs.dim(), (batch, seq), sequence_length)?;
        let (rows, columns, _) = inputs.dim();
        if let Some(resets) = resets.filter(|resets| resets.dim() != (rows, columns)) {
            return Err(Error::ResetsShape { expected: (rows, columns), found: resets.dim() });
        }
        let resets = resets.map(|resets| if time_major { resets.view() } else { resets.t() });
        let state = checked_state(cell, batch, initial_state)?;
        let mut outputs = Array3::zeros((rows, columns, cell.output_size()));
        let out = by_step(outputs.view_mut(), time_major);
        let state = if resets.is_none() && states.is_none() {
            unroll_masked(cell, x, sequence_length, state, out)
        } else {
            unroll_pieces(cell, x, sequence_length, resets, state, out, states)
        };
        Ok((outputs, state))
    }
}

/// A view with steps as the first axis.
pub(super) fn by_step<S: RawData>(array: ArrayBase<S, Ix3>, time_major: bool) -> ArrayBase<S, Ix3> {
    if time_major { array } else { array.permuted_axes([1, 0, 2]) }
}

/// [`unroll_masked`] in pieces that end where a row resets, or after every step if all states are wanted.
/// `resets` are (seq, batch).
fn unroll_pieces<C: RnnCell>(
    cell: &C,
    inputs: ArrayView3<C::Elem>,
    sequence_length: Option<&[usize]>,
    resets: Option<ArrayView2<bool>>,
    mut state: C::State,
    mut outputs: ArrayViewMut3<C::Elem>,
    mut states: Option<&mut Vec<C::State>>,
) -> C::State {
    let (seq, batch, _) = inputs.dim();
    let length = |row: usize| sequence_length.map_or(seq, |lengths| lengths[row]);
    let resets_at = |step: usize, row: usize| step < length(row) && resets.is_some_and(|resets| resets[[step, row]]);
    let initial = state.clone();
    let mut start = 0;
    while start < seq {
        for row in (0..batch).filter(|&row| resets_at(start, row)) {
            state.copy_row(row, &initial, row);
        }
        let next_reset = || (start + 1..seq).find(|&step| (0..batch).any(|row| resets_at(step, row)));
        let end = if states.is_some() { start + 1 } else { next_reset().unwrap_or(seq) };
        let lengths: Vec<usize> = (0..batch).map(|row| length(row).clamp(start, end) - start).collect();
        let x = inputs.slice(s![start..end, .., ..]);
        state = unroll_masked(cell, x, Some(&lengths), state, outputs.slice_mut(s![start..end, .., ..]));
        if let Some(states) = &mut states {
            states.push(state.clone());
        }
        start = end;
    }
    state
}
