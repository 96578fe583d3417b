//! [`LearnedState`]: an initial state that is trained.

use super::Gradients;
use crate::checks::{check_state, leaf_shapes};
use crate::{Error, Float, Parameters, ParametersMut, RnnCell, State};
use ndarray::{Array2, ArrayViewD, ArrayViewMutD, Axis};
use std::marker::PhantomData;

/// An initial state whose numbers are parameters: one row, repeated for the batch.
///
/// Its parameters are the leaves of the state, (1, features) each, named `state_0`, `state_1`, … in the order of
/// [`State::visit`]: for an LSTM c and h. Pass [`repeat`](Self::repeat) to a driver, and what its tape returns for the
/// initial state to [`gradient`](Self::gradient).
///
/// ```
/// use rand::SeedableRng;
/// use rnn_cell::train::{self, Gradients, LearnedState, Optimizer, Parts, Sgd};
/// use rnn_cell::{Lstm, one_hot};
///
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let mut cell = Lstm::<f32>::new(4, 2, &mut rng);
/// let mut start = LearnedState::new(&cell);
/// let mut sgd = Sgd::builder(0.1).build(&Parts::shared([("cell", &cell), ("start", &start)]))?;
///
/// let x = one_hot(&["hello", "eolll"], "helo")?;
/// let (outputs, _, tape) = train::dynamic_rnn(&cell, &x, None, Some(start.repeat(2)))?;
/// // The loss is half the sum of the outputs' squares: its gradient is the outputs.
/// let back = tape.backward(&outputs)?;
/// let d_start = start.gradient(&back.initial_state)?;
/// assert_eq!(d_start.get("state_1").unwrap().shape(), [1, 2]);
/// let gradients = Gradients::join([("cell", back.parameters), ("start", d_start)]);
/// sgd.apply_gradients(&mut Parts::new([("cell", &mut cell), ("start", &mut start)]), &gradients)?;
/// # Ok::<(), rnn_cell::Error>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct LearnedState<E, S> {
    row: S,
    numbers: PhantomData<E>,
}

impl<E: Float, S: State<E>> LearnedState<E, S> {
    /// Starts from the cell's [`zero_state`](RnnCell::zero_state).
    #[must_use]
    pub fn new<C: RnnCell<Elem = E, State = S>>(cell: &C) -> Self {
        Self { row: cell.zero_state(1), numbers: PhantomData }
    }

    /// Starts from `row`, a state of one row.
    ///
    /// # Errors
    /// [`Error::StateShape`] or [`Error::StateLeaves`] if the state does not fit the cell, or does not have one row.
    pub fn from_row<C: RnnCell<Elem = E, State = S>>(cell: &C, row: S) -> Result<Self, Error> {
        check_state("row", &leaf_shapes(&cell.zero_state(0)), 1, &row)?;
        Ok(Self { row, numbers: PhantomData })
    }

    /// The state, one row.
    #[must_use]
    pub fn row(&self) -> &S {
        &self.row
    }

    /// The state of a batch whose rows all start from here. Dropout is off in it: turn it on with
    /// [`State::seed_dropout`].
    #[must_use]
    pub fn repeat(&self, batch: usize) -> S {
        self.row.select_rows(&vec![0; batch])
    }

    /// The gradients of the parameters from those of a batch's initial state: their sums over the rows, taken in `f64`.
    ///
    /// # Errors
    /// [`Error::StateShape`] or [`Error::StateLeaves`] if `d_initial_state` is not a gradient of this state.
    pub fn gradient(&self, d_initial_state: &S) -> Result<Gradients<E>, Error> {
        check_state("d_initial_state", &leaf_shapes(&self.row), d_initial_state.batch_size(), d_initial_state)?;
        let mut sums = Vec::new();
        d_initial_state.visit(&mut |leaf| {
            let sum = leaf.mapv(E::as_f64).sum_axis(Axis(0)).insert_axis(Axis(0));
            sums.push(sum.mapv(E::of));
        });
        Ok(Gradients::of(Leaves(sums)))
    }
}

/// The leaves of a gradient.
struct Leaves<E>(Vec<Array2<E>>);

impl<E: Float> Parameters<E> for Leaves<E> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        for (number, leaf) in self.0.iter().enumerate() {
            visit(&name(number), leaf.view().into_dyn());
        }
    }
}

fn name(leaf: usize) -> String {
    format!("state_{leaf}")
}

impl<E: Float, S: State<E>> Parameters<E> for LearnedState<E, S> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        let mut number = 0;
        self.row.visit(&mut |leaf| {
            visit(&name(number), leaf.into_dyn());
            number += 1;
        });
    }
}

impl<E: Float, S: State<E>> ParametersMut<E> for LearnedState<E, S> {
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        let mut number = 0;
        self.row.visit_mut(&mut |leaf| {
            visit(&name(number), leaf.into_dyn());
            number += 1;
        });
    }
}

impl<E: Float, S: State<E>> std::fmt::Debug for LearnedState<E, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LearnedState").field("leaves", &leaf_shapes(&self.row)).finish()
    }
}
