//! [`RnnCell`]: how one step is computed.

use crate::{Float, State};
use ndarray::{ArrayRef2, ArrayRef3, Axis};

/// A recurrent cell: how one step turns an input and a state into an output and the next state.
///
/// A driver such as [`dynamic_rnn`](crate::dynamic_rnn) runs any cell over a sequence; a cell knows nothing of
/// sequences, lengths or masks. Only `step` and the sizes must be written; `unroll` has a provided version.
///
/// Rows of a batch are independent: row `b` of the output and of the new state may depend on row `b` of the input and of
/// the old state alone. Drivers rely on it when they drop finished rows, reorder rows and split a batch over threads. A
/// cell whose order of summation depends on how many rows share a call (most matrix products) may differ in the last bits
/// between splits; the built-in cells do not.
///
/// ```
/// use ndarray::{Array2, Array3, ArrayRef2, Zip};
/// use rnn_cell::{RnnCell, dynamic_rnn};
///
/// /// A leaky integrator: h' = decay · h + (1 − decay) · x.
/// struct Leaky { size: usize, decay: f32 }
///
/// impl RnnCell for Leaky {
///     type Elem = f32;
///     type State = Array2<f32>;
///     type Workspace = ();
///
///     fn input_size(&self) -> usize { self.size }
///     fn output_size(&self) -> usize { self.size }
///     fn zero_state(&self, batch: usize) -> Array2<f32> { Array2::zeros((batch, self.size)) }
///     fn step(&self, input: &ArrayRef2<f32>, state: &mut Array2<f32>, output: &mut ArrayRef2<f32>, _: &mut ()) {
///         Zip::from(&mut *state).and(input).for_each(|h, &x| *h = self.decay * *h + (1.0 - self.decay) * x);
///         output.assign(state);
///     }
/// }
///
/// let cell = Leaky { size: 2, decay: 0.5 };
/// let x = Array3::ones((1, 3, 2));                                  // (batch, seq, input)
/// let (outputs, state) = dynamic_rnn(&cell, &x, Some(&[2]), None)?;
/// assert_eq!(outputs.as_slice(), Some(&[0.5, 0.5, 0.75, 0.75, 0.0, 0.0][..]));
/// assert_eq!(state.as_slice(), Some(&[0.75, 0.75][..]));
/// # Ok::<(), rnn_cell::Error>(())
/// ```
///
/// An `ArrayRef2` is what arrays and views have in common: it has their methods. Operators take `&x.view()`.
///
/// A cell held by reference, in a `Box` or in an `Arc` is a cell too.
pub trait RnnCell: Sync {
    /// `f32` or `f64`.
    type Elem: Float;
    /// What the cell carries from step to step.
    type State: State<Self::Elem>;
    /// Buffers that steps reuse, empty at first, opaque; `()` for a cell that needs none. Holds nothing a result depends on.
    type Workspace: Default + Send;

    /// Features of an input row.
    #[must_use]
    fn input_size(&self) -> usize;

    /// Features of an output row.
    #[must_use]
    fn output_size(&self) -> usize;

    /// The state before the first step, of `batch` rows.
    ///
    /// # Panics
    /// As ndarray's `zeros`, if it would be larger than an array can be.
    #[must_use]
    fn zero_state(&self, batch: usize) -> Self::State;

    /// [`zero_state`](Self::zero_state) with dropout on: the same `seed` gives the same masks. Without it nothing is dropped.
    #[must_use]
    fn training_state(&self, batch: usize, seed: u64) -> Self::State {
        let mut state = self.zero_state(batch);
        state.seed_dropout(Some(seed));
        state
    }

    /// One step: `input` (batch, input), `state` old → new, `output` (batch, output) overwritten; any strides.
    ///
    /// # Panics
    /// If the shapes disagree with each other or with the cell.
    fn step(
        &self,
        input: &ArrayRef2<Self::Elem>,
        state: &mut Self::State,
        output: &mut ArrayRef2<Self::Elem>,
        workspace: &mut Self::Workspace,
    );

    /// A run of steps: `inputs` (seq, batch, input), `outputs` (seq, batch, output) overwritten; any strides.
    ///
    /// The provided version repeats `step`. A cell that overrides it computes the same, faster.
    ///
    /// # Panics
    /// If the shapes disagree with each other or with the cell.
    fn unroll(
        &self,
        inputs: &ArrayRef3<Self::Elem>,
        state: &mut Self::State,
        outputs: &mut ArrayRef3<Self::Elem>,
        workspace: &mut Self::Workspace,
    ) {
        assert_eq!(inputs.len_of(Axis(0)), outputs.len_of(Axis(0)), "inputs and outputs differ in steps");
        for (input, mut output) in inputs.outer_iter().zip(outputs.outer_iter_mut()) {
            self.step(&input, state, &mut output, workspace);
        }
    }
}

/// A step as a run of one step, for a cell whose `unroll` is the fast path.
macro_rules! step_as_run {
    () => {
        fn step(
            &self,
            input: &ndarray::ArrayRef2<Self::Elem>,
            state: &mut Self::State,
            output: &mut ndarray::ArrayRef2<Self::Elem>,
            workspace: &mut Self::Workspace,
        ) {
            let inputs = input.view().insert_axis(ndarray::Axis(0));
            let mut outputs = output.view_mut().insert_axis(ndarray::Axis(0));
            self.unroll(&inputs, state, &mut outputs, workspace);
        }
    };
}

pub(crate) use step_as_run;

macro_rules! delegate {
    ($($pointer:ty),+) => {$(
        impl<C: RnnCell + ?Sized> RnnCell for $pointer
        where
            Self: Sync,
        {
            type Elem = C::Elem;
            type State = C::State;
            type Workspace = C::Workspace;

            fn input_size(&self) -> usize {
                (**self).input_size()
            }
            fn output_size(&self) -> usize {
                (**self).output_size()
            }
            fn zero_state(&self, batch: usize) -> Self::State {
                (**self).zero_state(batch)
            }
            fn training_state(&self, batch: usize, seed: u64) -> Self::State {
                (**self).training_state(batch, seed)
            }
            fn step(
                &self,
                input: &ArrayRef2<Self::Elem>,
                state: &mut Self::State,
                output: &mut ArrayRef2<Self::Elem>,
                workspace: &mut Self::Workspace,
            ) {
                (**self).step(input, state, output, workspace);
            }
            fn unroll(
                &self,
                inputs: &ArrayRef3<Self::Elem>,
                state: &mut Self::State,
                outputs: &mut ArrayRef3<Self::Elem>,
                workspace: &mut Self::Workspace,
            ) {
                (**self).unroll(inputs, state, outputs, workspace);
            }
        }
    )+};
}

delegate!(&C, Box<C>, std::sync::Arc<C>);
