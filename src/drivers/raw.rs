//! [`raw_rnn`]: a closure decides what each step reads and emits, and when a row ends; [`RawRnn`]: the same with
//! options.

use super::dynamic::Unrolled;
use super::loop_rows::{LoopSink, Plain, Rows};
use crate::checks::{check_shape, check_state, checked_state, leaf_shapes};
use crate::{Error, Float, RnnCell, State};
use ndarray::{Array2, Array3, ArrayRef2, ArrayView2, ArrayViewMut2};

/// What [`raw_rnn`] and [`RawRnn`] show their closure after a step, and what the closure sets for the next.
///
/// Finished rows are no longer computed. What you write to them is ignored.
pub struct RawStep<'a, C: RnnCell> {
    /// Steps made so far: 0 in the first call.
    pub time: usize,
    /// The cell's output, (batch, output), with 0 in finished rows. `None` in the first call.
    pub output: Option<ArrayView2<'a, C::Elem>>,
    /// The state before the next step: the initial state in the first call, then the last step's. You may change it.
    pub state: &'a mut C::State,
    /// Set to true to finish a row. Setting it back to false has no effect.
    pub finished: &'a mut [bool],
    /// The next step's input, (batch, input), for you to write: zeros in the first call, then what you wrote last.
    pub next_input: ArrayViewMut2<'a, C::Elem>,
    /// What this step emits, (batch, width), with one width in all steps. Default: the cell's output. Ignored in the
    /// first call, since no step has run.
    pub emit: Option<Array2<C::Elem>>,
}

impl<C: RnnCell> std::fmt::Debug for RawStep<'_, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawStep")
            .field("time", &self.time)
            .field("output", &self.output)
            .field("finished", &self.finished)
            .finish_non_exhaustive()
    }
}

/// Runs `cell` on the inputs that a closure gives until all rows finish. Returns what was emitted, (steps, batch,
/// emitted), and the final state.
///
/// TensorFlow 1's `tf.nn.raw_rnn`, for sampling, sequences of unknown length and decoders that feed their output back:
///
/// ```text
/// loop_fn(time 0)                                     // finished? first input, initial state
/// while not all rows finished {
///     step the rows that are not finished
///     loop_fn(time + 1, output, state)                // newly finished? next input, state, emit
///     a row that was finished before the step emits 0, and keeps its state
/// }
/// ```
///
/// A row that the closure finishes after a step still emits that step's values and keeps its state. A row finished in
/// the first call makes no step. The run has as many steps as its longest row, and no end if a row never finishes.
///
/// Differences from TensorFlow: the batch is an argument. The closure captures what TensorFlow passes on as
/// `loop_state`. It need not hand back the zero state or the cell's output. Outputs are one time-major array instead of
/// a `TensorArray`. Finished rows are not computed, and `output` is 0 there. [`RawRnn`] takes an initial state, and
/// closures that can fail.
///
/// ```
/// use rand::SeedableRng;
/// use rnn_cell::{Gru, raw_rnn};
///
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let cell = Gru::<f32>::new(2, 2, &mut rng);
/// let lengths = [3, 1];
/// let (outputs, _) = raw_rnn(&cell, 2, |step| {
///     if let Some(output) = step.output {
///         step.next_input.assign(&output);                           // feeds its output back
///     }
///     for (finished, &length) in step.finished.iter_mut().zip(&lengths) {
///         *finished = step.time >= length;
///     }
/// })?;
/// assert_eq!(outputs.dim(), (3, 2, 2));                              // (max(lengths), batch, output)
/// assert_eq!(outputs[[1, 1, 0]], 0.0);                               // row 1 finished after one step
/// # Ok::<(), rnn_cell::Error>(())
/// ```
///
/// # Errors
/// - [`Error::StateShape`] or [`Error::StateLeaves`] if the closure leaves a state of the wrong shape: of another than
///   after its first call, if it is a memory's length.
/// - What [`RnnCell::check_state`] finds wrong in a state, such as [`Error::NoMemory`].
/// - [`Error::ArrayShape`] if it emits a wrong batch size, or changes the width.
pub fn raw_rnn<C: RnnCell>(
    cell: &C,
    batch: usize,
    loop_fn: impl FnMut(&mut RawStep<'_, C>),
) -> Result<Unrolled<C>, Error> {
    RawRnn::new(cell, batch).run(loop_fn)
}

/// [`raw_rnn`] with an initial state, and with a closure that can fail.
///
/// ```
/// use rand::SeedableRng;
/// use rnn_cell::{Gru, RawRnn, RnnCell};
///
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let cell = Gru::<f32>::new(1, 1, &mut rng);
/// let mut words = "0.5 0.25 oops".split(' ');
/// let run = RawRnn::new(&cell, 1).initial_state(cell.zero_state(1) + 0.5).try_run(|step| {
///     match words.next() {
///         Some(word) => step.next_input.fill(word.parse()?),
///         None => step.finished.fill(true),
///     }
///     Ok::<_, Box<dyn std::error::Error>>(())
/// });
/// assert_eq!(run.unwrap_err().to_string(), "invalid float literal");
/// ```
#[must_use = "a builder does nothing until it runs"]
pub struct RawRnn<'c, C: RnnCell> {
    pub(crate) cell: &'c C,
    pub(crate) batch: usize,
    initial_state: Option<C::State>,
}

impl<'c, C: RnnCell> RawRnn<'c, C> {
    /// Starts a run of `cell` over `batch` rows.
    pub fn new(cell: &'c C, batch: usize) -> Self {
        Self { cell, batch, initial_state: None }
    }

    /// The state in the closure's first call. Default: [`RnnCell::zero_state`].
    pub fn initial_state(mut self, initial_state: C::State) -> Self {
        self.initial_state = Some(initial_state);
        self
    }

    /// Runs the cell as [`raw_rnn`] does.
    ///
    /// # Errors
    /// - [`Error::StateShape`] or [`Error::StateLeaves`] if the initial state does not fit the cell or the batch.
    /// - As [`raw_rnn`].
    pub fn run(self, mut loop_fn: impl FnMut(&mut RawStep<'_, C>)) -> Result<Unrolled<C>, Error> {
        self.try_run(|step| {
            loop_fn(step);
            Ok(())
        })
    }

    /// Runs the cell as [`raw_rnn`] does, until all rows finish or the closure returns an error of your type `E`.
    ///
    /// # Errors
    /// - The closure's.
    /// - As [`run`](Self::run), converted to `E`.
    pub fn try_run<E: From<Error>>(
        self,
        loop_fn: impl FnMut(&mut RawStep<'_, C>) -> Result<(), E>,
    ) -> Result<Unrolled<C>, E> {
        self.try_run_to(&mut Plain, loop_fn)
    }

    /// Runs the cell, and lets `sink` run each step.
    pub(crate) fn try_run_to<E: From<Error>>(
        self,
        sink: &mut impl LoopSink<C>,
        mut loop_fn: impl FnMut(&mut RawStep<'_, C>) -> Result<(), E>,
    ) -> Result<Unrolled<C>, E> {
        let Self { cell, batch, initial_state } = self;
        let mut leaves = leaf_shapes(&cell.zero_state(0));
        let mut state = checked_state("initial_state", cell, batch, initial_state)?;
        let mut finals = None;
        let mut rows = Rows::new(cell, batch);
        let mut input = Array2::zeros((batch, cell.input_size()));
        let mut output = Array2::zeros((batch, cell.output_size()));
        let mut finished = vec![false; batch];
        let mut emitted = Emitted { numbers: Vec::new(), steps: 0, batch, width: None };
        for time in 0.. {
            let mut step = RawStep {
                time,
                output: (time > 0).then(|| output.view()),
                state: &mut state,
                finished: &mut finished,
                next_input: input.view_mut(),
                emit: None,
            };
            loop_fn(&mut step)?;
            let emit = step.emit;
            check_state(format_args!("the state at time {time}"), &leaves, batch, &state)?;
            cell.check_state(&state)?;
            if time > 0 {
                sink.emitted(emit.is_some());
                emitted.push(time, emit.as_deref().unwrap_or(&output), &rows.active)?;
            }
            // Only now: the first call may have turned dropout on.
            let finals = finals.get_or_insert_with(|| {
                leaves = leaf_shapes(&state);
                state.clone()
            });
            for &row in rows.active.iter().filter(|&&row| finished[row]) {
                finals.copy_row(row, &state, row);
                output.row_mut(row).fill(C::Elem::default());
            }
            rows.active.retain(|&row| !finished[row]);
            if rows.active.is_empty() {
                break;
            }
            rows.step(cell, &input, &mut state, &mut output, sink);
        }
        Ok((emitted.into_array(cell.output_size()), finals.unwrap_or(state)))
    }
}

impl<C: RnnCell> std::fmt::Debug for RawRnn<'_, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawRnn").field("batch", &self.batch).finish_non_exhaustive()
    }
}

/// What was emitted so far, (steps, batch, width), as one list.
struct Emitted<E> {
    numbers: Vec<E>,
    steps: usize,
    batch: usize,
    width: Option<usize>,
}

impl<E: Float> Emitted<E> {
    /// Appends the active rows of a step, with zeros for the others.
    fn push(&mut self, time: usize, emit: &ArrayRef2<E>, active: &[usize]) -> Result<(), Error> {
        let width = *self.width.get_or_insert(emit.ncols());
        check_shape(format_args!("emit at time {time}"), &[self.batch, width], emit.shape())?;
        self.steps += 1;
        let start = self.numbers.len();
        self.numbers.resize(start + self.batch * width, E::default());
        for &row in active {
            let to = &mut self.numbers[start + row * width..][..width];
            to.iter_mut().zip(emit.row(row)).for_each(|(to, &from)| *to = from);
        }
        Ok(())
    }

    /// (steps, batch, emitted), C-contiguous. Has the given width if there were no steps.
    fn into_array(self, width: usize) -> Array3<E> {
        let shape = (self.steps, self.batch, self.width.unwrap_or(width));
        Array3::from_shape_vec(shape, self.numbers).expect("whole steps were pushed")
    }
}
