//! [`RawRnn`], recorded: gradients through a loop whose closure makes each step's input.

use super::long_sum::LongSum;
use super::{Gradients, RunGradients, TrainableCell};
use crate::back::Back;
use crate::checks::{check_shape, check_state, leaf_shapes};
use crate::drivers::loop_rows::LoopSink;
use crate::{Error, Float, RawRnn, RawStep, RnnCell, State};
use ndarray::{Array2, Array3, ArrayRef2, ArrayRef3, ArrayView2, ArrayViewMut2, Axis};

/// What the recorded driver returns: what was emitted, the final state and the tape.
type Recorded<'c, C> = (Array3<<C as RnnCell>::Elem>, <C as RnnCell>::State, RawTape<'c, C>);

impl<'c, C: TrainableCell> RawRnn<'c, C> {
    /// [`run`](Self::run), recorded for training. Returns what was emitted, the final state and the [`RawTape`], whose
    /// page has an example.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn record(self, mut loop_fn: impl FnMut(&mut RawStep<'_, C>)) -> Result<Recorded<'c, C>, Error> {
        self.try_record(|step| {
            loop_fn(step);
            Ok(())
        })
    }

    /// [`record`](Self::record) with a closure that can fail.
    ///
    /// # Errors
    /// - The closure's.
    /// - As [`run`](Self::run), converted to `E`.
    pub fn try_record<E: From<Error>>(
        self,
        loop_fn: impl FnMut(&mut RawStep<'_, C>) -> Result<(), E>,
    ) -> Result<Recorded<'c, C>, E> {
        let (cell, batch) = (self.cell, self.batch);
        let mut kept = Kept { steps: Vec::new(), own: Vec::new() };
        let (outputs, state) = self.try_run_to(&mut kept, loop_fn)?;
        let tape = RawTape { cell, batch, width: outputs.dim().2, d_final_state: None, kept };
        Ok((outputs, state, tape))
    }
}

/// What a recorded loop keeps.
struct Kept<C: TrainableCell> {
    steps: Vec<Step<C>>,
    /// Whether the call after each step emitted something of its own.
    own: Vec<bool>,
}

struct Step<C: TrainableCell> {
    /// The rows that ran.
    rows: Vec<usize>,
    /// Their inputs.
    input: Array2<C::Elem>,
    record: C::Record,
}

impl<C: TrainableCell> LoopSink<C> for Kept<C> {
    fn step(
        &mut self,
        cell: &C,
        rows: &[usize],
        (input, output): (&ArrayRef2<C::Elem>, &mut ArrayRef2<C::Elem>),
        state: &mut C::State,
        workspace: &mut C::Workspace,
    ) {
        let record = cell.step_recording(input, state, output, workspace);
        self.steps.push(Step { rows: rows.to_vec(), input: input.to_owned(), record });
    }

    fn emitted(&mut self, own: bool) {
        self.own.push(own);
    }
}

/// A recorded run of a [`RawRnn`]: turns gradients of what was emitted into gradients of weights, initial state and the
/// closure's inputs.
///
/// A closure that feeds outputs back is differentiated by a second closure, called once for each call of the first, in
/// reverse. [`RawStepBack`] has the gradient of everything that the call set, and receives that of everything it read.
/// Here a cell draws a wave: what it predicts is the next step's input.
///
/// ```
/// use ndarray::Array3;
/// use rand::SeedableRng;
/// use rnn_cell::train::{self, Adam, Gradients, Optimizer, Parts};
/// use rnn_cell::{Dense, Error, Gru, RawRnn};
///
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let (mut cell, mut dense) = (Gru::<f32>::new(1, 8, &mut rng), Dense::new(8, 1, &mut rng));
/// let mut adam = Adam::builder().learning_rate(0.03).build(&Parts::shared([("cell", &cell), ("dense", &dense)]))?;
/// let wave = Array3::from_shape_fn((12, 1, 1), |(t, ..)| (0.5 * t as f32).sin()); // (seq, batch, 1)
/// let mut losses = Vec::new();
/// for _ in 0..60 {
///     let mut read = Vec::new(); // the outputs that `dense` read
///     let (predicted, _, tape) = RawRnn::new(&cell, 1).try_record(|step| {
///         if let Some(output) = step.output {
///             let y = dense.forward(&output)?;
///             step.next_input.assign(&y);
///             step.emit = Some(y);
///             read.push(output.to_owned());
///         }
///         step.finished.fill(step.time == 12);
///         Ok::<_, Error>(())
///     })?;
///     let (loss, d_predicted) = train::mean_squared_error(&predicted, &wave)?;
///
///     let mut d_dense = Gradients::zeros(&dense);
///     let back = tape.try_backward(&d_predicted, |step| {
///         let (Some(d_emit), Some(d_output)) = (&step.d_emit, &mut step.d_output) else { return Ok(()) };
///         let d_y = d_emit + &step.d_next_input; // y went two ways: out, and into the next step
///         let (d, of_step) = dense.backward(&read.pop().unwrap(), &d_y)?;
///         *d_output += &d;
///         d_dense.add(&of_step)
///     })?;
///     let gradients = Gradients::join([("cell", back.parameters), ("dense", d_dense)]);
///     adam.apply_gradients(&mut Parts::new([("cell", &mut cell), ("dense", &mut dense)]), &gradients)?;
///     losses.push(loss);
/// }
/// assert!(losses[59] < 0.2 * losses[0], "{losses:?}");
/// # Ok::<(), rnn_cell::Error>(())
/// ```
///
/// The tape holds each step's inputs and the cell's record. A step runs alone, forward and back, so a loop is slower to
/// train than a [`DynamicRnn`](crate::DynamicRnn) over inputs that are known.
#[must_use = "call `backward` to get the gradients"]
pub struct RawTape<'c, C: TrainableCell> {
    cell: &'c C,
    batch: usize,
    /// Numbers of a row that a step emits.
    width: usize,
    /// The gradient of the final state; 0 without one.
    d_final_state: Option<C::State>,
    kept: Kept<C>,
}

/// What [`RawTape::backward`] shows its closure about one call of the loop's closure.
///
/// Rows that were finished before the call are 0 everywhere, and what you write to them is ignored.
pub struct RawStepBack<'a, C: RnnCell> {
    /// Steps made before the call: [`RawStep::time`].
    pub time: usize,
    /// The gradient of the next step's input, (batch, input), which [`RawStep::next_input`] held after the call. 0 after
    /// the last call, which no step follows. If the call did not write it, the step read what an earlier call wrote:
    /// add the gradient there.
    pub d_next_input: ArrayView2<'a, C::Elem>,
    /// The gradient of what the call emitted, (batch, width). `None` in the first call, which emits nothing.
    pub d_emit: Option<ArrayView2<'a, C::Elem>>,
    /// The gradient of the output that the call saw, (batch, output). Add what it was used for. Default: `d_emit` if the
    /// call emitted the output itself, otherwise 0. `None` in the first call, which saw none.
    pub d_output: Option<ArrayViewMut2<'a, C::Elem>>,
    /// Holds the gradient of the state that the call left. Turn it into that of the state it found. If the call changed
    /// no state, add only what the state was used for, if anything.
    pub d_state: &'a mut C::State,
}

impl<C: RnnCell> std::fmt::Debug for RawStepBack<'_, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawStepBack")
            .field("time", &self.time)
            .field("d_next_input", &self.d_next_input)
            .field("d_emit", &self.d_emit)
            .field("d_output", &self.d_output)
            .finish_non_exhaustive()
    }
}

impl<C: TrainableCell> RawTape<'_, C> {
    /// The gradient of the final state. Default: 0.
    pub fn d_final_state(mut self, d_final_state: C::State) -> Self {
        self.d_final_state = Some(d_final_state);
        self
    }

    /// Backpropagates from `d_outputs`, the gradient of what was emitted, (steps, batch, width). Calls `loop_back` for
    /// each call of the loop's closure, the last one first. Pass `|_| ()` if the loop read its inputs from elsewhere and
    /// emitted the cell's output.
    ///
    /// The gradient of the inputs, (steps, batch, input), is that of each step's own: it includes no other step's use of
    /// the same numbers.
    ///
    /// # Errors
    /// - [`Error::ArrayShape`] if `d_outputs` does not have the shape of what was emitted.
    /// - [`Error::StateShape`] or [`Error::StateLeaves`] if [`d_final_state`](Self::d_final_state), or what the closure
    ///   leaves in [`RawStepBack::d_state`], does not have the shape of the state.
    pub fn backward(
        self,
        d_outputs: &ArrayRef3<C::Elem>,
        mut loop_back: impl FnMut(&mut RawStepBack<'_, C>),
    ) -> Result<RunGradients<C::Elem, C::State>, Error> {
        self.try_backward(d_outputs, |step| {
            loop_back(step);
            Ok(())
        })
    }

    /// [`backward`](Self::backward) with a closure that can fail.
    ///
    /// # Errors
    /// - The closure's.
    /// - As [`backward`](Self::backward), converted to `E`.
    pub fn try_backward<E: From<Error>>(
        self,
        d_outputs: &ArrayRef3<C::Elem>,
        mut loop_back: impl FnMut(&mut RawStepBack<'_, C>) -> Result<(), E>,
    ) -> Result<RunGradients<C::Elem, C::State>, E> {
        let Self { cell, batch, width, d_final_state, kept: Kept { mut steps, own } } = self;
        let leaves = leaf_shapes(&cell.zero_state(0));
        let total = steps.len();
        check_shape("d_outputs", &[total, batch, width], d_outputs.shape())?;
        if let Some(d_state) = &d_final_state {
            check_state("d_final_state", &leaves, batch, d_state)?;
        }
        let all: Vec<usize> = (0..batch).collect();
        let mut d_state = d_final_state.clone().unwrap_or_else(|| cell.zero_state(batch));
        let (mut gradient, mut workspace) = (cell.zero_gradient(), C::Workspace::default());
        let mut sum = LongSum::new(&mut gradient);
        let mut d_inputs = Array3::zeros((total, batch, cell.input_size()));
        let nothing = Array2::zeros((batch, cell.input_size()));
        let mut d_output = None;
        for time in (0..=total).rev() {
            let mut after = Vec::new();
            if let (Some(step), Some(d_output)) = (steps.pop_if(|_| time < total), &d_output) {
                let d_input = &mut d_inputs.index_axis_mut(Axis(0), time);
                after.clone_from(&step.rows);
                step_back(cell, step, (d_output, d_input), &mut d_state, (sum.next_gradient(), &mut workspace));
            }
            let before = steps.last().map_or(&all, |step| &step.rows);
            join(&mut d_state, d_final_state.as_ref(), before, &after);

            let d_emit = time.checked_sub(1).map(|last| only(&d_outputs.index_axis(Axis(0), last), before));
            d_output = d_emit.as_ref().map(|d_emit| match own[time - 1] {
                true => Array2::zeros((batch, cell.output_size())),
                false => d_emit.clone(),
            });
            let d_next_input = if time < total { d_inputs.index_axis(Axis(0), time) } else { nothing.view() };
            let (d_emit, d_output) = (d_emit.as_ref().map(|d| d.view()), d_output.as_mut().map(|d| d.view_mut()));
            loop_back(&mut RawStepBack { time, d_next_input, d_emit, d_output, d_state: &mut d_state })?;
            check_state(format_args!("d_state at time {time}"), &leaves, batch, &d_state)?;
        }
        sum.finish();
        Ok(RunGradients { parameters: Gradients::of(gradient), inputs: d_inputs, initial_state: d_state })
    }
}

/// Runs one step backward, over its rows of the batch's arrays: the gradients of outputs and, to be written, of inputs.
fn step_back<C: TrainableCell>(
    cell: &C,
    step: Step<C>,
    (d_output, d_input): (&Array2<C::Elem>, &mut ArrayRef2<C::Elem>),
    d_state: &mut C::State,
    (gradient, workspace): (&mut C::Gradient, &mut C::Workspace),
) {
    let Step { rows, input, record } = step;
    let mut running = d_state.select_rows(&rows);
    let (d_outputs, mut d_inputs) = (d_output.select(Axis(0), &rows), Array2::zeros(input.raw_dim()));
    let back = Back { inputs: &input, d_outputs: &d_outputs, d_state: &mut running, d_inputs: &mut d_inputs, gradient };
    cell.step_backward(record, back, workspace);
    for (from, &row) in rows.iter().enumerate() {
        d_state.copy_row(row, &running, from);
        d_input.row_mut(row).assign(&d_inputs.row(from));
    }
}

/// Sets the gradient of the state in rows that do not run `after` a call: of rows that ran `before` it, this is the
/// final state; the others have finished earlier.
fn join<E: Float, S: State<E>>(d_state: &mut S, d_final: Option<&S>, before: &[usize], after: &[usize]) {
    for row in (0..d_state.batch_size()).filter(|row| after.binary_search(row).is_err()) {
        match d_final.filter(|_| before.binary_search(&row).is_ok()) {
            Some(d_final) => d_state.copy_row(row, d_final, row),
            None => d_state.visit_mut(&mut |mut leaf| leaf.row_mut(row).fill(E::default())),
        }
    }
}

/// A copy with 0 in all other rows.
fn only<E: Float>(array: &ArrayRef2<E>, rows: &[usize]) -> Array2<E> {
    let mut copy = Array2::zeros(array.raw_dim());
    rows.iter().for_each(|&row| copy.row_mut(row).assign(&array.row(row)));
    copy
}

impl<C: TrainableCell> std::fmt::Debug for RawTape<'_, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawTape").field("steps", &self.kept.steps.len()).field("batch", &self.batch).finish()
    }
}
