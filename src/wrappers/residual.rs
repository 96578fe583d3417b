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
    /// outputs in place. The two may differ in width. Row b of the outputs may depend on row b only. To train the
    /// wrapper, give the function's derivative too: [`with_residual_fns`](ResidualWrapper::with_residual_fns).
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

/// A residual function with its derivative, as [`ResidualWrapper::with_residual_fns`] keeps them.
#[derive(Clone, Copy)]
pub struct WithDerivative<R, D> {
    residual: R,
    derivative: D,
}

impl<R, D> WithDerivative<R, D> {
    pub(crate) fn derivative(&self) -> &D {
        &self.derivative
    }
}

impl<R, D> std::fmt::Debug for WithDerivative<R, D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WithDerivative").finish_non_exhaustive()
    }
}

impl<E: Float, R: Fn(&ArrayRef2<E>, &mut ArrayRef2<E>) + Sync, D: Sync> ResidualFn<E> for WithDerivative<R, D> {
    fn join(&self, inputs: &ArrayRef2<E>, outputs: &mut ArrayRef2<E>) {
        (self.residual)(inputs, outputs);
    }
}

/// What the derivative of a residual function reads, and what it writes: arrays of one step.
#[derive(Debug)]
pub struct ResidualBack<'a, E> {
    /// The inputs x, (batch, input).
    pub inputs: &'a ArrayRef2<E>,
    /// The cell's outputs y before they were joined, (batch, output).
    pub outputs: &'a ArrayRef2<E>,
    /// The gradient of the joined outputs, (batch, output).
    pub d_joined: &'a ArrayRef2<E>,
    /// Receives the gradient of x through the residual function alone. Holds zeros.
    pub d_inputs: &'a mut ArrayRef2<E>,
    /// Receives the gradient of y. Holds zeros.
    pub d_outputs: &'a mut ArrayRef2<E>,
}

impl<C, R, D> ResidualWrapper<C, WithDerivative<R, D>>
where
    C: RnnCell,
    R: Fn(&ArrayRef2<C::Elem>, &mut ArrayRef2<C::Elem>) + Sync,
    D: Fn(&mut ResidualBack<'_, C::Elem>) + Sync,
{
    /// As [`with_residual_fn`](ResidualWrapper::with_residual_fn), with the derivative of `residual`, so that the wrapper
    /// is a [`TrainableCell`](crate::train::TrainableCell) if `cell` is one. A recorded run also keeps the cell's outputs.
    ///
    /// ```
    /// use ndarray::Zip;
    /// use rand::SeedableRng;
    /// use rnn_cell::{Gru, ResidualWrapper, one_hot, train::gradient_error};
    /// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
    /// // y + x · y, so that an input can amplify an output.
    /// let mut cell = ResidualWrapper::with_residual_fns(
    ///     Gru::<f64>::new(4, 4, &mut rng),
    ///     |x, y| Zip::from(y).and(x).for_each(|y, &x| *y += x * *y),
    ///     |back| {
    ///         Zip::from(&mut *back.d_inputs).and(back.outputs).and(back.d_joined).for_each(|d_x, &y, &d| *d_x = d * y);
    ///         Zip::from(&mut *back.d_outputs).and(back.inputs).and(back.d_joined).for_each(|d_y, &x, &d| *d_y = d * (1.0 + x));
    ///     },
    /// );
    /// let x = one_hot(&["hello", "eolll"], "helo")?;
    /// assert!(gradient_error(&mut cell, &x, Some(&[5, 3]), None)? < 1e-8);
    /// # Ok::<(), rnn_cell::Error>(())
    /// ```
    #[must_use]
    pub fn with_residual_fns(cell: C, residual: R, derivative: D) -> Self {
        Self { cell, residual: WithDerivative { residual, derivative } }
    }
}

impl<C, F> ResidualWrapper<C, F> {
    pub(crate) fn residual(&self) -> &F {
        &self.residual
    }

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
