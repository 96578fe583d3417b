//! [`DropoutWrapper`]: a cell with dropout on inputs, outputs and state.

use super::workspace::WrapperWorkspace;
use crate::cell::step_as_run;
use crate::compression::Compression;
use crate::dropout::{Keep, Site};
use crate::{DropoutState, Error, Float, Parameters, ParametersMut, RnnCell, State};
use ndarray::{ArrayD, ArrayRef3, ArrayViewD, ArrayViewMutD, s};

/// Applies dropout to a cell's inputs, outputs and state: TensorFlow 1's `DropoutWrapper`, after Zaremba, Sutskever and
/// Vinyals (2014) and, with `variational_recurrent`, Gal and Ghahramani (2016).
///
/// ```text
/// y, s = cell(drop(x), state);  state' = drop(s);  the output is drop(y)
/// drop(v) = v / keep with probability keep, else 0, drawn for each value
/// ```
///
/// Inputs, outputs and state each have their own keep probability and masks. State dropout leaves an LSTM's c alone
/// ([`State::visit_droppable_mut`]). Masks change at every step, or stay the same with `variational_recurrent`.
/// Parameters are the cell's, under the same names.
///
/// **Nothing is dropped unless the state says so.** A [`zero_state`](RnnCell::zero_state), with which a driver starts
/// by default, is for inference: the wrapper passes everything through, bit for bit. For training, start each pass from
/// a [`training_state`](RnnCell::training_state) with a new seed, or turn dropout on in any state with
/// [`State::seed_dropout`], however deep the wrapper is nested. Equal seeds give equal masks. A mask depends only on
/// the seed, the wrapper's place in the state, the row and its step. So it does not depend on how a driver sorts and
/// cuts the batch, and a state carried over to the next piece of a sequence continues where it was.
///
/// ```
/// use rand::SeedableRng;
/// use rnn_cell::{DropoutWrapper, Lstm, RnnCell, dynamic_rnn, one_hot};
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let cell = DropoutWrapper::builder(Lstm::<f32>::new(4, 8, &mut rng)).output_keep_prob(0.5).build()?;
/// let x = one_hot(&["hello"], "helo")?;
/// let (plain, _) = dynamic_rnn(&cell, &x, None, None)?;
/// let (dropped, _) = dynamic_rnn(&cell, &x, None, Some(cell.training_state(1, 42)))?;
/// assert!(plain.iter().all(|&y| y != 0.0) && dropped.iter().any(|&y| y == 0.0));
/// # Ok::<(), rnn_cell::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct DropoutWrapper<C> {
    cell: C,
    pub(crate) input: Keep,
    pub(crate) output: Keep,
    pub(crate) state: Keep,
}

/// Options of a [`DropoutWrapper`].
#[derive(Debug, Clone)]
#[must_use]
pub struct DropoutWrapperBuilder<C> {
    cell: C,
    input_keep_prob: f64,
    output_keep_prob: f64,
    state_keep_prob: f64,
    variational_recurrent: bool,
}

impl<C> DropoutWrapper<C> {
    /// Returns a builder to wrap `cell` with options.
    pub fn builder(cell: C) -> DropoutWrapperBuilder<C> {
        DropoutWrapperBuilder {
            cell,
            input_keep_prob: 1.0,
            output_keep_prob: 1.0,
            state_keep_prob: 1.0,
            variational_recurrent: false,
        }
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

    /// The probability of keeping an input.
    #[must_use]
    pub fn input_keep_prob(&self) -> f64 {
        self.input.probability()
    }

    /// The probability of keeping an output.
    #[must_use]
    pub fn output_keep_prob(&self) -> f64 {
        self.output.probability()
    }

    /// The probability of keeping a value of the new state.
    #[must_use]
    pub fn state_keep_prob(&self) -> f64 {
        self.state.probability()
    }

    /// Whether a row's masks are the same at every step.
    #[must_use]
    pub fn variational_recurrent(&self) -> bool {
        self.state.every_step()
    }
}

impl<C> DropoutWrapperBuilder<C> {
    /// Probability of keeping an input, above 0 and at most 1. Default: 1.
    pub fn input_keep_prob(mut self, input_keep_prob: f64) -> Self {
        self.input_keep_prob = input_keep_prob;
        self
    }

    /// Probability of keeping an output, above 0 and at most 1. Does not affect the state. Default: 1.
    pub fn output_keep_prob(mut self, output_keep_prob: f64) -> Self {
        self.output_keep_prob = output_keep_prob;
        self
    }

    /// Probability of keeping a value of the new state (except an LSTM's c), above 0 and at most 1. Below 1, with
    /// dropout on, the cell unrolls one step at a time. Default: 1.
    pub fn state_keep_prob(mut self, state_keep_prob: f64) -> Self {
        self.state_keep_prob = state_keep_prob;
        self
    }

    /// Whether a row's masks are the same at every step. Default: false.
    pub fn variational_recurrent(mut self, variational_recurrent: bool) -> Self {
        self.variational_recurrent = variational_recurrent;
        self
    }

    /// Wraps the cell.
    ///
    /// # Errors
    /// [`Error::InvalidNumber`] if a keep probability is not in (0, 1].
    pub fn build(self) -> Result<DropoutWrapper<C>, Error> {
        let keep = |argument, probability| Keep::new(argument, probability, self.variational_recurrent);
        Ok(DropoutWrapper {
            input: keep("input_keep_prob", self.input_keep_prob)?,
            output: keep("output_keep_prob", self.output_keep_prob)?,
            state: keep("state_keep_prob", self.state_keep_prob)?,
            cell: self.cell,
        })
    }
}

/// [`RnnCell::unroll`] of `C`, recorded or not.
pub(crate) trait Unroll<C: RnnCell>:
    FnMut(&ArrayRef3<C::Elem>, &mut C::State, &mut ArrayRef3<C::Elem>, &mut C::Workspace)
{
}

impl<C: RnnCell, F> Unroll<C> for F where
    F: FnMut(&ArrayRef3<C::Elem>, &mut C::State, &mut ArrayRef3<C::Elem>, &mut C::Workspace)
{
}

impl<C: RnnCell> DropoutWrapper<C> {
    /// Runs steps. `unroll` is the cell's, for each run of steps that it may take at once.
    pub(crate) fn run(
        &self,
        inputs: &ArrayRef3<C::Elem>,
        state: &mut DropoutState<C::State>,
        outputs: &mut ArrayRef3<C::Elem>,
        workspace: &mut WrapperWorkspace<C::Elem, C::Workspace>,
        mut unroll: impl Unroll<C>,
    ) {
        if !state.is_on() || self.state.all() {
            self.run_without_state(inputs, state, outputs, workspace, &mut unroll);
            if let Some(masks) = &mut state.masks {
                masks.advance(inputs.dim().0);
            }
            return;
        }
        assert_eq!(inputs.dim().0, outputs.dim().0, "inputs and outputs differ in steps");
        for t in 0..inputs.dim().0 {
            let mut output = outputs.slice_mut(s![t..t + 1, .., ..]);
            self.run_without_state(&inputs.slice(s![t..t + 1, .., ..]), state, &mut output, workspace, &mut unroll);
            self.end_step(state);
        }
    }

    /// Runs steps without state dropout and without counting them.
    fn run_without_state(
        &self,
        inputs: &ArrayRef3<C::Elem>,
        state: &mut DropoutState<C::State>,
        outputs: &mut ArrayRef3<C::Elem>,
        workspace: &mut WrapperWorkspace<C::Elem, C::Workspace>,
        unroll: &mut impl Unroll<C>,
    ) {
        let DropoutState { inner, masks } = state;
        let WrapperWorkspace { buffers: [buffer, _], inner: workspace } = workspace;
        let Some(masks) = masks else {
            return unroll(inputs, inner, outputs, workspace);
        };
        masks.check_batch(inputs.dim().1);
        if self.input.all() {
            unroll(inputs, inner, outputs, workspace);
        } else {
            let mut dropped = buffer.array(inputs.dim());
            dropped.assign(inputs);
            for (t, mut input) in dropped.outer_iter_mut().enumerate() {
                masks.drop_rows(self.input, Site::Input, t, &mut input);
            }
            unroll(&dropped, inner, outputs, workspace);
        }
        for (t, mut output) in outputs.outer_iter_mut().enumerate() {
            masks.drop_rows(self.output, Site::Output, t, &mut output);
        }
    }

    /// Applies dropout to the state after a step, and counts the step.
    fn end_step(&self, state: &mut DropoutState<C::State>) {
        let DropoutState { inner, masks: Some(masks) } = state else { return };
        let mut leaf = 0;
        inner.visit_droppable_mut(&mut |mut values| {
            masks.drop_rows(self.state, Site::Leaf(leaf), 0, &mut values);
            leaf += 1;
        });
        masks.advance(1);
    }
}

impl<C: RnnCell> RnnCell for DropoutWrapper<C> {
    type Elem = C::Elem;
    type State = DropoutState<C::State>;
    type Workspace = WrapperWorkspace<C::Elem, C::Workspace>;

    fn input_size(&self) -> usize {
        self.cell.input_size()
    }
    fn output_size(&self) -> usize {
        self.cell.output_size()
    }
    fn zero_state(&self, batch: usize) -> Self::State {
        DropoutState::new(self.cell.zero_state(batch))
    }
    fn training_state(&self, batch: usize, seed: u64) -> Self::State {
        DropoutState::seeded(seed, |seed| self.cell.training_state(batch, seed))
    }
    fn check_state(&self, state: &Self::State) -> Result<(), Error> {
        self.cell.check_state(&state.inner)
    }

    step_as_run!();

    fn unroll(
        &self,
        inputs: &ArrayRef3<C::Elem>,
        state: &mut Self::State,
        outputs: &mut ArrayRef3<C::Elem>,
        workspace: &mut Self::Workspace,
    ) {
        self.run(inputs, state, outputs, workspace, |inputs: &_, state: &mut _, outputs: &mut _, workspace: &mut _| {
            self.cell.unroll(inputs, state, outputs, workspace);
        });
    }

    fn compress(&mut self, compression: &mut Compression<'_, C::Elem>) -> Result<(), Error> {
        self.cell.compress(compression)
    }
}

impl<E: Float, C: Parameters<E>> Parameters<E> for DropoutWrapper<C> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        self.cell.visit_parameters(visit);
    }
    fn take_parameters(self, take: &mut dyn FnMut(&str, ArrayD<E>)) {
        self.cell.take_parameters(take);
    }
}

impl<E: Float, C: ParametersMut<E>> ParametersMut<E> for DropoutWrapper<C> {
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        self.cell.visit_parameters_mut(visit);
    }
}
