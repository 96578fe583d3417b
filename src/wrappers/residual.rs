//! [`ResidualWrapper`]: a cell that adds its input to its output.

use crate::compression::Compression;
use crate::{Error, Float, Parameters, ParametersMut, RnnCell};
use ndarray::{ArrayD, ArrayRef2, ArrayRef3, ArrayViewD, ArrayViewMutD, Zip};

/// Adds a cell's input to its output: TensorFlow 1's `ResidualWrapper`, after Wu et al. (2016).
///
/// ```text
/// y, state' = cell(x, state);  the output is y + x
/// ```
///
/// The state is the cell's own; the sum does not enter it. Parameters are the cell's, under the same names.
///
/// To join x and y in another way, see [`with_residual_fn`](Self::with_residual_fn).
///
/// ```
/// use rand::SeedableRng;
/// use rnn_cell::{Error, Gru, ResidualWrapper};
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// assert!(ResidualWrapper::new(Gru::<f32>::new(4, 4, &mut rng)).is_ok());
/// let error = ResidualWrapper::new(Gru::<f32>::new(3, 4, &mut rng)).unwrap_err();
/// assert!(matches!(error, Error::UnequalSizes { input_size: 3, output_size: 4, .. }));
/// ```
#[derive(Clone)]
pub struct ResidualWrapper<C, F = AddInput> {
    cell: C,
    residual: F,
}

/// How a [`ResidualWrapper`] joins a step's inputs to the cell's outputs.
///
/// Any `Fn(&ArrayRef2<E>, &mut ArrayRef2<E>)` is one. It reads inputs (batch, input) and overwrites outputs (batch,
/// output) with the wrapper's. Row b of the outputs may depend on row b only.
pub trait ResidualFn<E: Float>: Sync {
    /// Joins one step's `inputs` to its `outputs`.
    fn join(&self, inputs: &ArrayRef2<E>, outputs: &mut ArrayRef2<E>);
}

/// The plain residual: outputs += inputs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AddInput;

impl<E: Float> ResidualFn<E> for AddInput {
    fn join(&self, inputs: &ArrayRef2<E>, outputs: &mut ArrayRef2<E>) {
        Zip::from(outputs).and(inputs).for_each(|y, &x| *y += x);
    }
}

impl<E: Float, F: Fn(&ArrayRef2<E>, &mut ArrayRef2<E>) + Sync> ResidualFn<E> for F {
    fn join(&self, inputs: &ArrayRef2<E>, outputs: &mut ArrayRef2<E>) {
        self(inputs, outputs);
    }
}

impl<C: RnnCell> ResidualWrapper<C> {
    /// Adds `cell`'s input to its output.
    ///
    /// # Errors
    /// [`Error::UnequalSizes`] if the two differ in width.
    pub fn new(cell: C) -> Result<Self, Error> {
        let (input_size, output_size) = (cell.input_size(), cell.output_size());
        if input_size != output_size {
            return Err(Error::UnequalSizes { wrapper: "ResidualWrapper", input_size, output_size });
        }
        Ok(Self { cell, residual: AddInput })
    }
}

impl<C: RnnCell, F: Fn(&ArrayRef2<C::Elem>, &mut ArrayRef2<C::Elem>) + Sync> ResidualWrapper<C, F> {
    /// Calls `residual` on each step's inputs (batch, input) and outputs (batch, output) of `cell`, to change the
    /// outputs in place. The two may differ in width. Row b of the outputs may depend on row b only.
    ///
    /// ```
    /// use rand::SeedableRng;
    /// use rnn_cell::{Gru, ResidualWrapper};
    /// use ndarray::s;
    /// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
    /// // A cell wider than its input: the rest of the output stays as it is.
    /// let cell = Gru::<f32>::new(3, 5, &mut rng);
    /// let cell = ResidualWrapper::with_residual_fn(cell, |x, y| {
    ///     let mut head = y.slice_mut(s![.., ..3]);
    ///     head += &x.view();
    /// });
    /// ```
    #[must_use]
    pub fn with_residual_fn(cell: C, residual: F) -> Self {
        Self { cell, residual }
    }
}

impl<C, F> ResidualWrapper<C, F> {
    /// The wrapped cell.
    #[must_use]
    pub fn cell(&self) -> &C {
        &self.cell
    }

    /// The wrapped cell.
    #[must_use]
    pub fn into_cell(self) -> C {
        self.cell
    }
}

impl<C: RnnCell, F: ResidualFn<C::Elem>> RnnCell for ResidualWrapper<C, F> {
    type Elem = C::Elem;
    type State = C::State;
    type Workspace = C::Workspace;

    fn input_size(&self) -> usize {
        self.cell.input_size()
    }
    fn output_size(&self) -> usize {
        self.cell.output_size()
    }
    fn zero_state(&self, batch: usize) -> C::State {
        self.cell.zero_state(batch)
    }
    fn training_state(&self, batch: usize, seed: u64) -> C::State {
        self.cell.training_state(batch, seed)
    }
    fn check_state(&self, state: &C::State) -> Result<(), Error> {
        self.cell.check_state(state)
    }
    fn step(
        &self,
        input: &ArrayRef2<C::Elem>,
        state: &mut C::State,
        output: &mut ArrayRef2<C::Elem>,
        workspace: &mut C::Workspace,
    ) {
        self.cell.step(input, state, output, workspace);
        self.residual.join(input, output);
    }
    fn unroll(
        &self,
        inputs: &ArrayRef3<C::Elem>,
        state: &mut C::State,
        outputs: &mut ArrayRef3<C::Elem>,
        workspace: &mut C::Workspace,
    ) {
        self.cell.unroll(inputs, state, outputs, workspace);
        for (input, mut output) in inputs.outer_iter().zip(outputs.outer_iter_mut()) {
            self.residual.join(&input, &mut output);
        }
    }

    fn compress(&mut self, compression: &mut Compression<'_, C::Elem>) -> Result<(), Error> {
        self.cell.compress(compression)
    }
}

impl<E: Float, C: Parameters<E>, F> Parameters<E> for ResidualWrapper<C, F> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        self.cell.visit_parameters(visit);
    }
    fn take_parameters(self, take: &mut dyn FnMut(&str, ArrayD<E>)) {
        self.cell.take_parameters(take);
    }
}

impl<E: Float, C: ParametersMut<E>, F> ParametersMut<E> for ResidualWrapper<C, F> {
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        self.cell.visit_parameters_mut(visit);
    }
}

impl<C: std::fmt::Debug, F> std::fmt::Debug for ResidualWrapper<C, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResidualWrapper").field("cell", &self.cell).finish_non_exhaustive()
    }
}
