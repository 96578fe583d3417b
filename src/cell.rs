//! [`RnnCell`]: computes one step.

use crate::compression::Compression;
use crate::{Error, Float, State};
use ndarray::{ArrayRef2, ArrayRef3, Axis};

/// Computes one step of a recurrent network: an input and a state give an output and the next state.
///
/// A driver such as [`dynamic_rnn`](crate::dynamic_rnn) runs any cell over a sequence. The cell itself knows nothing
/// about sequences, lengths or masks. Write `step`, `zero_state` and the two sizes; `unroll` is provided.
///
/// Rows of a batch are independent: row `b` of the output and of the new state may depend only on row `b` of the input
/// and of the old state. Drivers rely on this when they drop finished rows, reorder rows and split a batch over
/// threads. The built-in cells give the same bits however a batch is split. Other cells may differ in the last bits if,
/// as in most matrix products, the order of summation depends on the number of rows per call.
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
/// Arrays and views both dereference to `ArrayRef2`, so it has their methods. For operators, write `&x.view()`. A cell
/// behind a reference, in a `Box` or in an `Arc` is a cell too.
pub trait RnnCell: Sync {
    /// `f32` or `f64`.
    type Elem: Float;
    /// What the cell carries from step to step.
    type State: State<Self::Elem>;
    /// Buffers that steps reuse, empty at first; `()` if the cell needs none. Results never depend on their contents.
    type Workspace: Default + Send;

    /// Features per input row.
    #[must_use]
    fn input_size(&self) -> usize;

    /// Features per output row.
    #[must_use]
    fn output_size(&self) -> usize;

    /// The state before the first step, with `batch` rows.
    ///
    /// A leaf that is 0 wide in it may have any width in other states: an attention's alignments are as wide as the
    /// memory.
    ///
    /// # Panics
    /// If the state would be larger than an array can be, as in ndarray's `zeros`.
    #[must_use]
    fn zero_state(&self, batch: usize) -> Self::State;

    /// `Err` if no step can run from `state`, though its leaves have the right shapes. Drivers call it before a run.
    ///
    /// The provided version accepts every state. An [`AttentionWrapper`](crate::seq2seq::AttentionWrapper) refuses one
    /// without a memory. A wrapper asks the cell inside.
    ///
    /// # Errors
    /// What the cell finds wrong.
    fn check_state(&self, state: &Self::State) -> Result<(), Error> {
        let _ = state;
        Ok(())
    }

    /// A [`zero_state`](Self::zero_state) with dropout turned on (it is off otherwise). Equal seeds give equal masks.
    #[must_use]
    fn training_state(&self, batch: usize, seed: u64) -> Self::State {
        let mut state = self.zero_state(batch);
        state.seed_dropout(Some(seed));
        state
    }

    /// Runs one step: reads `input` (batch, input), updates `state`, overwrites `output` (batch, output). Any strides.
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

    /// Runs many steps: reads `inputs` (seq, batch, input), updates `state`, overwrites `outputs` (seq, batch, output).
    ///
    /// Any strides are allowed. The provided version repeats `step`. An override must give the same results.
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

    /// Hands the cell's products to `compression`, which compresses their weights in place. For
    /// [`Compressed`](crate::Compressed), which alone can call it.
    ///
    /// A cell made with [`Linear`](crate::fused::Linear) calls [`Linear::compress`](crate::fused::Linear::compress) of
    /// each. A wrapper calls this method of the cell inside, with
    /// [`Compression::within`](crate::Compression::within) if it prefixes the names of parameters. A cell without
    /// products returns `Ok`. The provided version returns an error.
    ///
    /// # Errors
    /// [`Error::NotCompressible`] if the cell does not support it, or a weight is not finite.
    fn compress(&mut self, compression: &mut Compression<'_, Self::Elem>) -> Result<(), Error> {
        let _ = compression;
        Err(not_compressible::<Self>("it does not implement `compress`"))
    }
}

/// The error for a cell of type `C`.
pub(crate) fn not_compressible<C: ?Sized>(reason: &str) -> Error {
    Error::NotCompressible { what: format!("cell {}", std::any::type_name::<C>()), reason: reason.into() }
}

/// Implements `step` as a run of one step, for a cell whose `unroll` is the fast path.
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
    ($($pointer:ty { $($compress:tt)* })+) => {$(
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
            fn check_state(&self, state: &Self::State) -> Result<(), Error> {
                (**self).check_state(state)
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
            $($compress)*
        }
    )+};
}

delegate! {
    &C {
        fn compress(&mut self, _: &mut Compression<'_, C::Elem>) -> Result<(), Error> {
            Err(not_compressible::<Self>("it shares its weights"))
        }
    }
    Box<C> {
        fn compress(&mut self, compression: &mut Compression<'_, C::Elem>) -> Result<(), Error> {
            (**self).compress(compression)
        }
    }
    std::sync::Arc<C> {
        fn compress(&mut self, _: &mut Compression<'_, C::Elem>) -> Result<(), Error> {
            Err(not_compressible::<Self>("it shares its weights"))
        }
    }
}
