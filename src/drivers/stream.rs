//! [`Stream`]: runs a cell step by step, as inputs arrive.

use super::order::Room;
use crate::checks::{check_shape, check_state, checked_state, fits, leaf_shapes};
use crate::{Error, RnnCell, State};
use ndarray::{Array2, ArrayRef2, ArrayRef3, ArrayView3, Axis};

/// Runs a cell step by step and keeps its state and buffers: push a step's input, read its output.
///
/// Pushing the steps of a sequence gives the same as [`dynamic_rnn`](crate::dynamic_rnn) over the whole sequence. After
/// the first push, pushes with the same strides allocate nothing for built-in cells, unless the feature `rayon` shares
/// a large step between threads. If steps arrive in chunks, [`push_steps`](Self::push_steps) is faster.
///
/// The stream may own, borrow or share its cell (`C`, `&C` and `Arc<C>` are all cells), so a thousand streams can run
/// on one set of weights. If their steps arrive together, one stream of many rows is faster than many streams.
///
/// A stream knows no lengths: every push runs every row. Once a row has ended, ignore its output. Copy any state you
/// still need before the next push. [`reset_row`](Self::reset_row) starts the row's next sequence.
///
/// ```
/// use rand::SeedableRng;
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let cell = rnn_cell::Lstm::<f32>::new(3, 2, &mut rng);
/// let mut stream = rnn_cell::Stream::new(&cell, 1);                  // one row
/// for x in [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]] {
///     let output = stream.push(&ndarray::aview2(&[x]))?;             // (batch, output)
///     assert_eq!(output.dim(), (1, 2));
/// }
/// stream.reset();
/// # Ok::<(), rnn_cell::Error>(())
/// ```
pub struct Stream<C: RnnCell> {
    cell: C,
    initial: C::State,
    state: C::State,
    /// The output of the last step.
    output: Array2<C::Elem>,
    /// The outputs of the last chunk of steps.
    outputs: Room<C::Elem>,
    workspace: C::Workspace,
}

impl<C: RnnCell> Stream<C> {
    /// Creates a stream of `batch` rows that starts from, and resets to, the zero state.
    ///
    /// A push is an error if the cell refuses that state ([`RnnCell::check_state`]), as an attention does.
    ///
    /// # Panics
    /// If the state or the output would be larger than an array can be, as in ndarray's `zeros`.
    #[must_use]
    pub fn new(cell: C, batch: usize) -> Self {
        let initial = cell.zero_state(batch);
        Self::starting_from(cell, initial)
    }

    /// Creates a stream of `batch` rows that starts from, and resets to, `initial_state`.
    ///
    /// # Errors
    /// - [`Error::StateShape`] or [`Error::StateLeaves`] if the state does not fit the cell or the batch.
    /// - What [`RnnCell::check_state`] finds wrong, such as [`Error::NoMemory`].
    pub fn with_initial_state(cell: C, batch: usize, initial_state: C::State) -> Result<Self, Error> {
        let initial = checked_state("initial_state", &cell, batch, Some(initial_state))?;
        Ok(Self::starting_from(cell, initial))
    }

    fn starting_from(cell: C, initial: C::State) -> Self {
        Self {
            state: initial.clone(),
            output: Array2::zeros((initial.batch_size(), cell.output_size())),
            outputs: Room::default(),
            workspace: C::Workspace::default(),
            initial,
            cell,
        }
    }

    /// Runs one step on `input` (batch, input), with any strides. Returns the output, (batch, output).
    ///
    /// # Errors
    /// - [`Error::ArrayShape`] if `input` does not have this shape.
    /// - What [`RnnCell::check_state`] finds wrong, such as [`Error::NoMemory`].
    ///
    /// The state is then as before.
    pub fn push(&mut self, input: &ArrayRef2<C::Elem>) -> Result<&Array2<C::Elem>, Error> {
        check_shape("input", &[self.batch_size(), self.cell.input_size()], input.shape())?;
        self.cell.check_state(&self.state)?;
        self.cell.step(input, &mut self.state, &mut self.output, &mut self.workspace);
        Ok(&self.output)
    }

    /// Runs a chunk of steps on `inputs` (seq, batch, input), with any strides. Returns the outputs, (seq, batch,
    /// output), which stay in the stream until the next chunk.
    ///
    /// Gives the same as pushing the steps one by one, bit for bit in a built-in cell, but faster: the cell unrolls the
    /// whole chunk. Later chunks of the same strides and at most this size allocate nothing for built-in cells, unless
    /// the feature `rayon` shares a large chunk between threads. A chunk of no steps is fine and changes nothing.
    ///
    /// ```
    /// use ndarray::Axis;
    /// use rand::SeedableRng;
    /// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
    /// let cell = rnn_cell::Gru::<f32>::new(4, 2, &mut rng);
    /// let x = rnn_cell::one_hot(&["hello"], "helo")?;                // (batch, seq, input) = (1, 5, 4)
    /// let mut stream = rnn_cell::Stream::new(&cell, 1);
    /// for chunk in x.view().permuted_axes([1, 0, 2]).axis_chunks_iter(Axis(0), 2) {
    ///     let outputs = stream.push_steps(&chunk)?;                  // 2, 2 and 1 steps
    ///     assert_eq!(outputs.dim(), (chunk.len_of(Axis(0)), 1, 2));
    /// }
    /// # Ok::<(), rnn_cell::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::ArrayShape`] if `inputs` do not fit the cell or the batch.
    /// - What [`RnnCell::check_state`] finds wrong, such as [`Error::NoMemory`].
    ///
    /// State and output are then as before.
    ///
    /// # Panics
    /// If the outputs would be larger than an array can be, as in ndarray's `zeros`.
    pub fn push_steps(&mut self, inputs: &ArrayRef3<C::Elem>) -> Result<ArrayView3<'_, C::Elem>, Error> {
        let seq = inputs.len_of(Axis(0));
        check_shape("inputs", &[seq, self.batch_size(), self.cell.input_size()], inputs.shape())?;
        self.cell.check_state(&self.state)?;
        let shape = (seq, self.batch_size(), self.cell.output_size());
        let mut outputs = self.outputs.array(shape);
        if let Some(last) = seq.checked_sub(1) {
            self.cell.unroll(inputs, &mut self.state, &mut outputs, &mut self.workspace);
            self.output.assign(&outputs.index_axis(Axis(0), last));
        }
        Ok(self.outputs.written(shape))
    }

    /// The output of the last step, (batch, output). Zeros before the first.
    #[must_use]
    pub fn output(&self) -> &Array2<C::Elem> {
        &self.output
    }

    /// The state after the last push.
    #[must_use]
    pub fn state(&self) -> &C::State {
        &self.state
    }

    /// Continues from `state`. A reset still goes back to the initial state.
    ///
    /// # Errors
    /// - [`Error::StateShape`] or [`Error::StateLeaves`] if the state does not fit the cell or the batch, or attends to a
    ///   memory of another length than the initial state's.
    /// - What [`RnnCell::check_state`] finds wrong, such as [`Error::NoMemory`].
    pub fn set_state(&mut self, state: C::State) -> Result<(), Error> {
        self.check(&state)?;
        self.state = state;
        Ok(())
    }

    /// Changes the state in place: `change` gets it. Returns what `change` returns. Nothing is copied.
    ///
    /// ```
    /// use rand::SeedableRng;
    /// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
    /// let cell = rnn_cell::Lstm::<f32>::new(3, 2, &mut rng);
    /// let mut stream = rnn_cell::Stream::new(&cell, 2);
    /// stream.change_state(|state| state.c.row_mut(1).fill(0.5))?;    // row 0 stays as it is
    /// assert_eq!(stream.state().c, ndarray::array![[0.0, 0.0], [0.5, 0.5]]);
    /// # Ok::<(), rnn_cell::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::StateShape`] or [`Error::StateLeaves`] if `change` leaves a state that
    ///   [`set_state`](Self::set_state) refuses.
    /// - What [`RnnCell::check_state`] finds wrong, such as [`Error::NoMemory`].
    ///
    /// All rows are then back at the initial state. They are too if `change` panics and leaves such a state.
    pub fn change_state<R>(&mut self, change: impl FnOnce(&mut C::State) -> R) -> Result<R, Error> {
        struct Restore<'a, C: RnnCell>(&'a mut Stream<C>);
        impl<C: RnnCell> Drop for Restore<'_, C> {
            fn drop(&mut self) {
                if self.0.check(&self.0.state).is_err() {
                    self.0.state = self.0.initial.clone();
                }
            }
        }
        let restore = Restore(self);
        let result = change(&mut restore.0.state);
        restore.0.check(&restore.0.state)?;
        Ok(result)
    }

    fn check(&self, state: &C::State) -> Result<(), Error> {
        if !fits(&self.initial, self.batch_size(), state) {
            check_state("state", &leaf_shapes(&self.initial), self.batch_size(), state)?;
        }
        self.cell.check_state(state)
    }

    /// Sets all rows back to the initial state, without allocating. Keeps the last step's output.
    pub fn reset(&mut self) {
        for row in 0..self.batch_size() {
            self.state.copy_row(row, &self.initial, row);
        }
    }

    /// Sets one row back to its initial state, without allocating. Its next push starts a new sequence.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] if there is no such row.
    pub fn reset_row(&mut self, row: usize) -> Result<(), Error> {
        let batch = self.batch_size();
        if row >= batch {
            return Err(Error::OutOfBounds { argument: "row".into(), found: row, count: batch, of: "rows" });
        }
        self.state.copy_row(row, &self.initial, row);
        Ok(())
    }

    /// Number of rows.
    #[must_use]
    pub fn batch_size(&self) -> usize {
        self.output.nrows()
    }

    /// The cell.
    #[must_use]
    pub fn cell(&self) -> &C {
        &self.cell
    }

    /// The cell and the state after the last push.
    #[must_use]
    pub fn into_parts(self) -> (C, C::State) {
        (self.cell, self.state)
    }
}

impl<C: RnnCell> std::fmt::Debug for Stream<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("batch_size", &self.batch_size()).finish_non_exhaustive()
    }
}
