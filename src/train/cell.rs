//! [`TrainableCell`]: a cell with a backward step.

use super::long_sum::LongSum;
use super::runs::{backward_in_parts, steps_as_runs};
use crate::back::Back;
use crate::{ParametersMut, RnnCell};
use ndarray::{ArrayRef2, ArrayRef3, Axis, Ix2, Ix3};

/// A cell that can be trained: its forward step records what its backward step needs.
///
/// You only have to write the step, forward and backward; the sequence versions repeat it. The built-in cells override
/// them. They run the recurrence backward once, and then get the gradients of weights and inputs from a few large
/// products over all steps and rows.
///
/// The gradient of a state is a state of the same type whose leaves hold the gradients. The gradient of the parameters
/// is a struct of arrays with the parameters' names, order and shapes, as [`parameters!`](crate::parameters) defines
/// it. Gradients of parameters are added to what it holds.
///
/// A `Box` of a trainable cell is trainable. A reference or an `Arc` is only a cell: its weights cannot change.
///
/// ```
/// use ndarray::{Array1, Array2, Array3, ArrayRef2, Axis, arr1};
/// use rnn_cell::{Arrays, Parameters, RnnCell, train::{StepBack, TrainableCell, gradient_error}};
///
/// rnn_cell::parameters! {
///     /// A leaky sum: h' = a ⊙ h + x, with a weight a for each feature.
///     struct Leaky {
///         "a" a: Array1<E>,
///     }
/// }
///
/// impl RnnCell for Leaky<f64> {
///     type Elem = f64;
///     type State = Array2<f64>;
///     type Workspace = ();
///     fn input_size(&self) -> usize { self.a.len() }
///     fn output_size(&self) -> usize { self.a.len() }
///     fn zero_state(&self, batch: usize) -> Array2<f64> { Array2::zeros((batch, self.a.len())) }
///     fn step(&self, x: &ArrayRef2<f64>, h: &mut Array2<f64>, output: &mut ArrayRef2<f64>, _: &mut ()) {
///         *h *= &self.a;
///         *h += &x.view();
///         output.assign(h);
///     }
/// }
///
/// impl TrainableCell for Leaky<f64> {
///     type Record = Array2<f64>; // h before the step
///     type Gradient = Self; // all of it is weights
///     fn zero_gradient(&self) -> Self { self.zeros() }
///     fn step_recording(
///         &self, x: &ArrayRef2<f64>, h: &mut Array2<f64>, output: &mut ArrayRef2<f64>, workspace: &mut (),
///     ) -> Array2<f64> {
///         let before = h.clone();
///         self.step(x, h, output, workspace);
///         before
///     }
///     fn step_backward(&self, before: Array2<f64>, back: StepBack<'_, Self>, _: &mut ()) {
///         let d_h = back.d_state;
///         *d_h += &back.d_outputs.view(); // the new h went two ways: out, and to the next step
///         back.gradient.a += &(before * &*d_h).sum_axis(Axis(0));
///         back.d_inputs.assign(d_h);
///         *d_h *= &self.a;
///     }
/// }
///
/// let mut cell = Leaky { a: arr1(&[0.9, 0.5, -0.2]) };
/// let x = Array3::from_shape_fn((2, 4, 3), |(b, t, k)| ((b + 2 * t + 3 * k) as f64).sin());
/// assert!(gradient_error(&mut cell, &x, Some(&[4, 2]), None)? < 1e-8);
/// # Ok::<(), rnn_cell::Error>(())
/// ```
pub trait TrainableCell: RnnCell + ParametersMut<<Self as RnnCell>::Elem> {
    /// What the backward pass needs from one step, or from a run of steps.
    type Record: Send;

    /// Gradients of the parameters: arrays with their names, order and shapes.
    type Gradient: ParametersMut<Self::Elem> + Send + 'static;

    /// Returns gradients that are all 0.
    #[must_use]
    fn zero_gradient(&self) -> Self::Gradient;

    /// Runs [`RnnCell::step`] and returns its record.
    ///
    /// # Panics
    /// As [`RnnCell::step`].
    fn step_recording(
        &self,
        input: &ArrayRef2<Self::Elem>,
        state: &mut Self::State,
        output: &mut ArrayRef2<Self::Elem>,
        workspace: &mut Self::Workspace,
    ) -> Self::Record;

    /// Runs one step backward from the forward step's record. [`Back`] says what is read and what is written.
    ///
    /// # Panics
    /// If the shapes disagree.
    fn step_backward(&self, record: Self::Record, back: StepBack<'_, Self>, workspace: &mut Self::Workspace);

    /// Runs [`RnnCell::unroll`] and pushes any number of records.
    ///
    /// # Panics
    /// As [`RnnCell::unroll`].
    fn unroll_recording(
        &self,
        inputs: &ArrayRef3<Self::Elem>,
        state: &mut Self::State,
        outputs: &mut ArrayRef3<Self::Elem>,
        records: &mut Vec<Self::Record>,
        workspace: &mut Self::Workspace,
    ) {
        for (input, mut output) in inputs.outer_iter().zip(outputs.outer_iter_mut()) {
            records.push(self.step_recording(&input, state, &mut output, workspace));
        }
    }

    /// Runs steps backward and pops the records that [`unroll_recording`](Self::unroll_recording) pushed for its
    /// inputs. Between steps the provided version may set `gradient` to 0, and keep the rest in a more precise sum: do
    /// not read it.
    ///
    /// # Panics
    /// If the shapes disagree, or records are missing.
    fn unroll_backward(
        &self,
        records: &mut Vec<Self::Record>,
        back: RunBack<'_, Self>,
        workspace: &mut Self::Workspace,
    ) {
        let Back { inputs, d_outputs, d_state, d_inputs, gradient } = back;
        let mut gradient = LongSum::<Self::Elem, _>::new(gradient);
        let steps = inputs.outer_iter().zip(d_outputs.outer_iter()).zip(d_inputs.outer_iter_mut());
        for ((inputs, d_outputs), mut d_inputs) in steps.rev() {
            let record = records.pop().expect("each step forward left a record");
            let gradient = gradient.next_gradient();
            let step = Back { inputs: &inputs, d_outputs: &d_outputs, d_state, d_inputs: &mut d_inputs, gradient };
            self.step_backward(record, step, workspace);
        }
        gradient.finish();
    }

    /// [`unroll_backward`](Self::unroll_backward) as a part of a backward pass over several runs, such as the windows of
    /// a ragged batch, the last one first. Sums that are cheaper to add once may wait in `workspace` until
    /// [`finish_backward`](Self::finish_backward): the gradients of the parameters, and what belongs to a row of
    /// `d_state` beside its leaves.
    ///
    /// The provided version leaves nothing. A cell that overrides one of the two must override both.
    ///
    /// # Panics
    /// As [`unroll_backward`](Self::unroll_backward).
    fn part_backward(&self, records: &mut Vec<Self::Record>, back: RunBack<'_, Self>, workspace: &mut Self::Workspace) {
        self.unroll_backward(records, back, workspace);
    }

    /// Ends a backward pass: adds what [`part_backward`](Self::part_backward) left in `workspace`. `d_state` is the
    /// gradient of the initial state, with all rows that ran.
    ///
    /// # Panics
    /// If another cell left it.
    fn finish_backward(
        &self,
        d_state: &mut Self::State,
        gradient: &mut Self::Gradient,
        workspace: &mut Self::Workspace,
    ) {
        let _ = (d_state, gradient, workspace);
    }
}

/// What a cell's [`TrainableCell::step_backward`] reads and writes: arrays (batch, features).
pub type StepBack<'a, C> = Back<'a, <C as RnnCell>::Elem, Ix2, <C as RnnCell>::State, <C as TrainableCell>::Gradient>;

/// What a cell's [`TrainableCell::unroll_backward`] reads and writes: arrays (seq, batch, features).
pub type RunBack<'a, C> = Back<'a, <C as RnnCell>::Elem, Ix3, <C as RnnCell>::State, <C as TrainableCell>::Gradient>;

impl<C: TrainableCell + ?Sized> TrainableCell for Box<C>
where
    Self: Sync,
{
    /// The inner cell's records of a run.
    type Record = Vec<C::Record>;
    type Gradient = C::Gradient;

    fn zero_gradient(&self) -> C::Gradient {
        (**self).zero_gradient()
    }

    steps_as_runs!();

    fn unroll_recording(
        &self,
        inputs: &ArrayRef3<Self::Elem>,
        state: &mut Self::State,
        outputs: &mut ArrayRef3<Self::Elem>,
        records: &mut Vec<Self::Record>,
        workspace: &mut Self::Workspace,
    ) {
        let mut inner = Vec::new();
        (**self).unroll_recording(inputs, state, outputs, &mut inner, workspace);
        records.push(inner);
    }

    backward_in_parts!();

    fn part_backward(&self, records: &mut Vec<Self::Record>, back: RunBack<'_, Self>, workspace: &mut Self::Workspace) {
        let mut inner = records.pop().expect("each run forward left a record");
        (**self).part_backward(&mut inner, back, workspace);
    }

    fn finish_backward(
        &self,
        d_state: &mut Self::State,
        gradient: &mut Self::Gradient,
        workspace: &mut Self::Workspace,
    ) {
        (**self).finish_backward(d_state, gradient, workspace);
    }
}
