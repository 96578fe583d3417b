//! [`BoxedCell`]: a cell whose type is known at run time only.

use super::dyn_state::DynState;
use crate::compression::Compression;
use crate::{Error, Float, Parameters, ParametersMut, RnnCell};
use ndarray::{ArrayD, ArrayRef2, ArrayRef3, ArrayViewD, ArrayViewMutD};
use std::any::{Any, type_name};
use std::fmt;

/// Holds any cell of element type `E` that is [`ParametersMut`], so that stacks can mix cells.
///
/// It runs as fast as the cell inside: `unroll` is one virtual call. It is `Send` and `Sync`, and so is its state, a
/// [`DynState`]. Parameters are the cell's, under the same names.
///
/// If an initial state's leaves do not fit the cell in number or shape, the driver returns an error. If they fit but
/// the state has another type, because it is from a cell of another type, `step` and `unroll` panic.
///
/// ```
/// use rand::SeedableRng;
/// use rnn_cell::{BoxedCell, Gru, Lstm, LstmState, MultiRnnCell, ResidualWrapper, dynamic_rnn, one_hot};
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let mut layers = vec![BoxedCell::new(Lstm::<f32>::new(4, 2, &mut rng))];
/// for _ in 0..2 {
///     layers.push(BoxedCell::new(ResidualWrapper::new(Gru::new(2, 2, &mut rng))?));
/// }
/// let cell = MultiRnnCell::new(layers)?;
/// let (outputs, states) = dynamic_rnn(&cell, &one_hot(&["hello"], "helo")?, None, None)?;
/// assert_eq!(outputs.dim(), (1, 5, 2));
/// assert!(states[0].downcast_ref::<LstmState<f32>>().is_some());
/// # Ok::<(), rnn_cell::Error>(())
/// ```
pub struct BoxedCell<E: Float>(Box<dyn ErasedCell<E>>);

impl<E: Float> BoxedCell<E> {
    /// Erases the type of `cell`.
    #[must_use]
    pub fn new<C: RnnCell<Elem = E> + ParametersMut<E> + Send + Sync + 'static>(cell: C) -> Self {
        Self(Box::new(cell))
    }
}

/// Implements `RnnCell`, `Parameters`, `ParametersMut` and `Debug` for a struct around a box of something that is an [`ErasedCell`].
macro_rules! erased_cell {
    ($boxed:ident) => {
        impl<E: Float> fmt::Debug for $boxed<E> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let (input_size, output_size) = (self.input_size(), self.output_size());
                write!(
                    f,
                    "{}({}, input_size: {input_size}, output_size: {output_size})",
                    stringify!($boxed),
                    self.0.erased_name()
                )
            }
        }

        impl<E: Float> RnnCell for $boxed<E> {
            type Elem = E;
            type State = DynState<E>;
            type Workspace = DynWorkspace;

            fn input_size(&self) -> usize {
                self.0.erased_sizes().0
            }
            fn output_size(&self) -> usize {
                self.0.erased_sizes().1
            }
            fn zero_state(&self, batch: usize) -> DynState<E> {
                self.0.erased_zero_state(batch)
            }
            fn training_state(&self, batch: usize, seed: u64) -> DynState<E> {
                self.0.erased_training_state(batch, seed)
            }
            fn check_state(&self, state: &DynState<E>) -> Result<(), crate::Error> {
                self.0.erased_check_state(state)
            }
            fn step(
                &self,
                input: &ArrayRef2<E>,
                state: &mut DynState<E>,
                output: &mut ArrayRef2<E>,
                workspace: &mut DynWorkspace,
            ) {
                self.0.erased_step(input, state, output, workspace);
            }
            fn unroll(
                &self,
                inputs: &ArrayRef3<E>,
                state: &mut DynState<E>,
                outputs: &mut ArrayRef3<E>,
                workspace: &mut DynWorkspace,
            ) {
                self.0.erased_unroll(inputs, state, outputs, workspace);
            }
            fn compress(&mut self, compression: &mut Compression<'_, E>) -> Result<(), Error> {
                self.0.erased_compress(compression)
            }
        }

        impl<E: Float> Parameters<E> for $boxed<E> {
            fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
                self.0.visit_parameters(visit);
            }
            fn take_parameters(self, take: &mut dyn FnMut(&str, ArrayD<E>)) {
                self.0.erased_take(take);
            }
        }

        impl<E: Float> ParametersMut<E> for $boxed<E> {
            fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
                self.0.visit_parameters_mut(visit);
            }
        }
    };
}

pub(crate) use erased_cell;

erased_cell!(BoxedCell);

/// [`RnnCell`] without associated types.
pub(crate) trait ErasedCell<E: Float>: ParametersMut<E> + Send + Sync {
    fn erased_name(&self) -> &'static str;
    fn erased_sizes(&self) -> (usize, usize);
    fn erased_zero_state(&self, batch: usize) -> DynState<E>;
    fn erased_training_state(&self, batch: usize, seed: u64) -> DynState<E>;
    fn erased_take(self: Box<Self>, take: &mut dyn FnMut(&str, ArrayD<E>));
    fn erased_check_state(&self, state: &DynState<E>) -> Result<(), Error>;
    fn erased_step(
        &self,
        input: &ArrayRef2<E>,
        state: &mut DynState<E>,
        output: &mut ArrayRef2<E>,
        workspace: &mut DynWorkspace,
    );
    fn erased_unroll(
        &self,
        inputs: &ArrayRef3<E>,
        state: &mut DynState<E>,
        outputs: &mut ArrayRef3<E>,
        workspace: &mut DynWorkspace,
    );
    fn erased_compress(&mut self, compression: &mut Compression<'_, E>) -> Result<(), Error>;
}

impl<E: Float, C: RnnCell<Elem = E> + ParametersMut<E> + Send + Sync + 'static> ErasedCell<E> for C {
    fn erased_name(&self) -> &'static str {
        type_name::<C>()
    }
    fn erased_sizes(&self) -> (usize, usize) {
        (self.input_size(), self.output_size())
    }
    fn erased_zero_state(&self, batch: usize) -> DynState<E> {
        DynState::new(self.zero_state(batch))
    }
    fn erased_training_state(&self, batch: usize, seed: u64) -> DynState<E> {
        DynState::new(self.training_state(batch, seed))
    }
    fn erased_take(self: Box<Self>, take: &mut dyn FnMut(&str, ArrayD<E>)) {
        (*self).take_parameters(take);
    }
    fn erased_check_state(&self, state: &DynState<E>) -> Result<(), Error> {
        // A state of another type fails where it is used.
        state.downcast_ref().map_or(Ok(()), |state| self.check_state(state))
    }
    fn erased_step(
        &self,
        input: &ArrayRef2<E>,
        state: &mut DynState<E>,
        output: &mut ArrayRef2<E>,
        workspace: &mut DynWorkspace,
    ) {
        self.step(input, state.expect_mut(), output, workspace.get());
    }
    fn erased_unroll(
        &self,
        inputs: &ArrayRef3<E>,
        state: &mut DynState<E>,
        outputs: &mut ArrayRef3<E>,
        workspace: &mut DynWorkspace,
    ) {
        self.unroll(inputs, state.expect_mut(), outputs, workspace.get());
    }
    fn erased_compress(&mut self, compression: &mut Compression<'_, E>) -> Result<(), Error> {
        self.compress(compression)
    }
}

/// A workspace that fits any cell. Empty at first.
#[derive(Default)]
pub struct DynWorkspace(Option<Box<dyn Any + Send>>);

impl DynWorkspace {
    /// The workspace inside, or a new one if a cell of another type used it before.
    pub(crate) fn get<W: Default + Send + 'static>(&mut self) -> &mut W {
        if !self.0.as_ref().is_some_and(|inside| inside.is::<W>()) {
            self.0 = Some(Box::new(W::default()));
        }
        self.0.as_mut().and_then(|inside| inside.downcast_mut()).expect("a workspace of this type was just put there")
    }
}

impl fmt::Debug for DynWorkspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynWorkspace").finish_non_exhaustive()
    }
}
