//! [`Stream`]: a cell that runs step by step, as inputs come.

use crate::checks::{check_shape, check_state, checked_state, leaf_shapes};
use crate::{Error, RnnCell, State};
use ndarray::{Array2, ArrayRef2};

/// A cell with its state and buffers: push a step's input, read its output.
///
/// Pushing the steps of a sequence one after the other gives what [`dynamic_rnn`](crate::dynamic_rnn) gives over the whole
/// sequence. After the first push no push allocates, for any built-in cell.
///
/// The cell may be owned, borrowed or shared (`C`, `&C`, `Arc<C>` are all cells): a thousand streams can run on one set of
/// weights. A stream of many rows is faster than many streams of one row, where their steps come together.
///
/// A stream knows no lengths: every push steps every row. Of a row that has ended ignore the output, and copy what you need
/// of its state before the next push, or [`reset_row`](Self::reset_row) it for the next sequence.
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
    output: Array2<C::Elem>,
    workspace: C::Workspace,
}

impl<C: RnnCell> Stream<C> {
    /// A stream of `batch` rows that starts from, and resets to, the zero state.
    ///
    /// # Panics
    /// As ndarray's `zeros`, if state or output would be larger than an array can be.
    #[must_use]
    pub fn new(cell: C, batch: usize) -> Self {
        let initial = cell.zero_state(batch);
        Self::starting_from(cell, initial)
    }

    /// A stream of `batch` rows that starts from, and resets to, `initial_state`.
    ///
    /// # Errors
    /// [`Error::StateShape`] and [`Error::StateLeaves`] if the state is of another batch or width.
    pub fn with_initial_state(cell: C, batch: usize, initial_state: C::State) -> Result<Self, Error> {
        let initial = checked_state("initial_state", &cell, batch, Some(initial_state))?;
        Ok(Self::starting_from(cell, initial))
    }

    fn starting_from(cell: C, initial: C::State) -> Self {
        Self {
            state: initial.clone(),
            output: Array2::zeros((initial.batch_size(), cell.output_size())),
            workspace: C::Workspace::default(),
            initial,
            cell,
        }
    }

    /// One step: `input` (batch, input), any strides; returns the output, (batch, output).
    ///
    /// # Errors
    /// [`Error::ArrayShape`] if `input` has another shape. The state is then as before.
    pub fn push(&mut self, input: &ArrayRef2<C::Elem>) -> Result<&Array2<C::Elem>, Error> {
        check_shape("input", &[self.batch_size(), self.cell.input_size()], input.shape())?;
        self.cell.step(input, &mut self.state, &mut self.output, &mut self.workspace);
        Ok(&self.output)
    }

    /// The output of the last push, (batch, output); zeros before the first.
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
    /// [`Error::StateShape`] and [`Error::StateLeaves`] if the state is of another batch or width.
    pub fn set_state(&mut self, state: C::State) -> Result<(), Error> {
        check_state("state", &leaf_shapes(&self.initial), self.batch_size(), &state)?;
        self.state = state;
        Ok(())
    }

    /// Sets all rows back to the initial state, without allocating. The output of the last push stays.
    pub fn reset(&mut self) {
        for row in 0..self.batch_size() {
            self.state.copy_row(row, &self.initial, row);
        }
    }

    /// Sets one row back to its initial state, without allocating: its next push starts a new sequence.
    ///
    /// # Errors
    /// [`Error::RowOutOfBounds`].
    pub fn reset_row(&mut self, row: usize) -> Result<(), Error> {
        let batch = self.batch_size();
        if row >= batch {
            return Err(Error::RowOutOfBounds { row, batch });
        }
        self.state.copy_row(row, &self.initial, row);
        Ok(())
    }

    /// Rows of the stream.
    #[must_use]
    pub fn batch_size(&self) -> usize {
        self.output.nrows()
    }

    /// The cell.
    #[must_use]
    pub fn cell(&self) -> &C {
        &self.cell
    }
}

impl<C: RnnCell> std::fmt::Debug for Stream<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("batch_size", &self.batch_size()).finish_non_exhaustive()
    }
}
