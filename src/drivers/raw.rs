//! [`raw_rnn`]: a closure decides what each step reads, what it emits and when a row ends.

use super::dynamic::Unrolled;
use crate::checks::{check_shape, check_state, leaf_shapes};
use crate::{Error, Float, RnnCell, State};
use ndarray::{Array2, Array3, ArrayRef2, ArrayView2, ArrayViewMut2, s};

/// What [`raw_rnn`] shows its closure after a step, and takes from it for the next.
///
/// Rows that finished are no longer computed: what stands in their rows does not matter.
pub struct RawStep<'a, C: RnnCell> {
    /// Steps made so far: 0 in the first call.
    pub time: usize,
    /// What the cell put out, (batch, output); 0 in rows that finished. `None` in the first call.
    pub output: Option<ArrayView2<'a, C::Elem>>,
    /// The state the next step starts from: the zero state in the first call, then what the step left. May be changed.
    pub state: &'a mut C::State,
    /// Set to true, a row makes no further step; false again has no effect.
    pub finished: &'a mut [bool],
    /// What the next step reads, (batch, input), to be written: zeros in the first call, then what was written last.
    pub next_input: ArrayViewMut2<'a, C::Elem>,
    /// What this step emits, (batch, any width, the same in all steps); left `None`, the cell's output. Ignored in the
    /// first call, as there was no step.
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

/// Runs `cell` on what a closure gives it, until all rows finish: returns what was emitted, (steps, batch, emitted), and
/// the final state.
///
/// It is TensorFlow 1's `tf.nn.raw_rnn`, for decoders that feed their output back, sampling, and sequences whose length is
/// known only as they run:
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
/// A row that the closure finishes after a step still emits that step and keeps its state; in the first call it makes no
/// step at all. There are as many steps as the longest row makes: none if all rows finish in the first call. A closure
/// that never finishes a row runs forever.
///
/// It differs from TensorFlow in form: the batch is an argument; what TensorFlow passes on as `loop_state` the closure
/// captures; the zero state and the cell's output need not be handed back; outputs are one time-major array instead of a
/// `TensorArray`. Rows that finished are not computed, and `output` shows 0 there.
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
/// [`Error::StateShape`] or [`Error::StateLeaves`] if the closure leaves a state of another batch or width,
/// [`Error::ArrayShape`] if it emits another batch, or another width than the step before.
pub fn raw_rnn<C: RnnCell>(
    cell: &C,
    batch: usize,
    mut loop_fn: impl FnMut(&mut RawStep<'_, C>),
) -> Result<Unrolled<C>, Error> {
    let leaves = leaf_shapes(&cell.zero_state(0));
    let mut state = cell.zero_state(batch);
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
        loop_fn(&mut step);
        let emit = step.emit;
        check_state(format_args!("the state at time {time}"), &leaves, batch, &state)?;
        if time > 0 {
            emitted.push(time, emit.as_deref().unwrap_or(&output), &rows.active)?;
        }
        // Only now: the first call may have turned dropout on.
        let finals = finals.get_or_insert_with(|| state.clone());
        for &row in rows.active.iter().filter(|&&row| finished[row]) {
            finals.copy_row(row, &state, row);
            output.row_mut(row).fill(C::Elem::default());
        }
        rows.active.retain(|&row| !finished[row]);
        if rows.active.is_empty() {
            break;
        }
        rows.step(cell, &input, &mut state, &mut output);
    }
    Ok((emitted.into_array(cell.output_size()), finals.unwrap_or(state)))
}

/// The rows that are not finished, in order, and room to gather them in.
struct Rows<C: RnnCell> {
    active: Vec<usize>,
    input: Array2<C::Elem>,
    output: Array2<C::Elem>,
    workspace: C::Workspace,
}

impl<C: RnnCell> Rows<C> {
    fn new(cell: &C, batch: usize) -> Self {
        Self {
            active: (0..batch).collect(),
            input: Array2::zeros((batch, cell.input_size())),
            output: Array2::zeros((batch, cell.output_size())),
            workspace: C::Workspace::default(),
        }
    }

    /// Steps the active rows of `state`, and leaves the others as they are.
    fn step(&mut self, cell: &C, input: &Array2<C::Elem>, state: &mut C::State, output: &mut Array2<C::Elem>) {
        let active = self.active.len();
        if active == input.nrows() {
            return cell.step(input, state, output, &mut self.workspace);
        }
        // Selected anew at each step, as the closure may have changed more of the state than its leaves.
        let mut running = state.select_rows(&self.active);
        for (to, &from) in self.active.iter().enumerate() {
            self.input.row_mut(to).assign(&input.row(from));
        }
        let (x, mut out) = (self.input.slice(s![..active, ..]), self.output.slice_mut(s![..active, ..]));
        cell.step(&x, &mut running, &mut out, &mut self.workspace);
        for (from, &to) in self.active.iter().enumerate() {
            state.copy_row(to, &running, from);
            output.row_mut(to).assign(&self.output.row(from));
        }
    }
}

/// What was emitted so far, (steps, batch, width) in one row of numbers.
struct Emitted<E> {
    numbers: Vec<E>,
    steps: usize,
    batch: usize,
    width: Option<usize>,
}

impl<E: Float> Emitted<E> {
    /// Appends the active rows of a step, and zeros for the others.
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

    /// (steps, batch, emitted), C-contiguous; if there were no steps, of the given width.
    fn into_array(self, width: usize) -> Array3<E> {
        let shape = (self.steps, self.batch, self.width.unwrap_or(width));
        Array3::from_shape_vec(shape, self.numbers).expect("whole steps were pushed")
    }
}
