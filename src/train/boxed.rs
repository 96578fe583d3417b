//! [`BoxedTrainableCell`]: a trainable cell whose type is known only at run time.

use super::cell::{RunBack, TrainableCell};
use super::runs::{backward_in_parts, steps_as_runs};
use crate::back::Back;
use crate::compression::Compression;
use crate::wrappers::boxed::{DynWorkspace, ErasedCell, erased_cell};
use crate::{DynState, Error, Float, Parameters, ParametersMut, RnnCell};
use ndarray::{ArrayD, ArrayRef2, ArrayRef3, ArrayViewD, ArrayViewMutD, Axis};
use std::any::Any;
use std::fmt;

/// Any trainable cell of element type `E`: [`BoxedCell`](crate::BoxedCell) for training.
///
/// State and workspace are those of a `BoxedCell`. Each unroll, forward or backward, is one virtual call.
///
/// ```
/// use rand::SeedableRng;
/// use rnn_cell::train::{self, BoxedTrainableCell};
/// use rnn_cell::{Gru, Lstm, MultiRnnCell, one_hot};
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let layers = vec![
///     BoxedTrainableCell::new(Lstm::<f32>::new(4, 3, &mut rng)),
///     BoxedTrainableCell::new(Gru::new(3, 2, &mut rng)),
/// ];
/// let (cell, x) = (MultiRnnCell::new(layers)?, one_hot(&["hello"], "helo")?);
/// let (outputs, _, tape) = train::dynamic_rnn(&cell, &x, None, None)?;
/// let gradients = tape.backward(&outputs)?;
/// assert_eq!(gradients.parameters.get("cell_1/gates/kernel").unwrap().shape(), [5, 4]);
/// # Ok::<(), rnn_cell::Error>(())
/// ```
pub struct BoxedTrainableCell<E: Float>(Box<dyn ErasedTrainableCell<E>>);

impl<E: Float> BoxedTrainableCell<E> {
    /// Erases the type of `cell`.
    #[must_use]
    pub fn new<C: TrainableCell<Elem = E> + Send + Sync + 'static>(cell: C) -> Self {
        Self(Box::new(cell))
    }
}

erased_cell!(BoxedTrainableCell);

/// The gradients of the parameters of the boxed cell, whatever its type.
pub struct DynGradient<E: Float>(Box<dyn ErasedGradient<E>>);

/// Gradients that can be downcast to their type.
trait ErasedGradient<E: Float>: ParametersMut<E> + Send {
    fn erased_any_mut(&mut self) -> &mut dyn Any;
    fn erased_take(self: Box<Self>, take: &mut dyn FnMut(&str, ArrayD<E>));
}

impl<E: Float, G: ParametersMut<E> + Send + 'static> ErasedGradient<E> for G {
    fn erased_any_mut(&mut self) -> &mut dyn Any {
        self
    }
    fn erased_take(self: Box<Self>, take: &mut dyn FnMut(&str, ArrayD<E>)) {
        (*self).take_parameters(take);
    }
}

impl<E: Float> Parameters<E> for DynGradient<E> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        self.0.visit_parameters(visit);
    }
    fn take_parameters(self, take: &mut dyn FnMut(&str, ArrayD<E>)) {
        self.0.erased_take(take);
    }
}

impl<E: Float> ParametersMut<E> for DynGradient<E> {
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        self.0.visit_parameters_mut(visit);
    }
}

impl<E: Float> fmt::Debug for DynGradient<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = Vec::new();
        self.visit_parameters(&mut |name, _| names.push(name.to_owned()));
        f.debug_tuple("DynGradient").field(&names).finish()
    }
}

/// The records of a run of the boxed cell, whatever its type.
pub struct DynRecord(Box<dyn Any + Send>);

impl<E: Float> TrainableCell for BoxedTrainableCell<E> {
    type Record = DynRecord;
    type Gradient = DynGradient<E>;

    fn zero_gradient(&self) -> DynGradient<E> {
        self.0.erased_zero_gradient()
    }

    steps_as_runs!();

    fn unroll_recording(
        &self,
        inputs: &ArrayRef3<E>,
        state: &mut DynState<E>,
        outputs: &mut ArrayRef3<E>,
        records: &mut Vec<DynRecord>,
        workspace: &mut DynWorkspace,
    ) {
        records.push(self.0.erased_unroll_recording(inputs, state, outputs, workspace));
    }

    backward_in_parts!();

    fn part_backward(&self, records: &mut Vec<DynRecord>, back: RunBack<'_, Self>, workspace: &mut DynWorkspace) {
        let record = records.pop().expect("each run forward left a record");
        self.0.erased_part_backward(record, back, workspace);
    }

    fn finish_backward(&self, d_state: &mut DynState<E>, gradient: &mut DynGradient<E>, workspace: &mut DynWorkspace) {
        self.0.erased_finish_backward(d_state, gradient, workspace);
    }
}

/// [`TrainableCell`] without associated types.
trait ErasedTrainableCell<E: Float>: ErasedCell<E> {
    fn erased_zero_gradient(&self) -> DynGradient<E>;
    fn erased_unroll_recording(
        &self,
        inputs: &ArrayRef3<E>,
        state: &mut DynState<E>,
        outputs: &mut ArrayRef3<E>,
        workspace: &mut DynWorkspace,
    ) -> DynRecord;
    fn erased_part_backward(
        &self,
        record: DynRecord,
        back: RunBack<'_, BoxedTrainableCell<E>>,
        workspace: &mut DynWorkspace,
    );
    fn erased_finish_backward(
        &self,
        d_state: &mut DynState<E>,
        gradient: &mut DynGradient<E>,
        workspace: &mut DynWorkspace,
    );
}

impl<E: Float, C: TrainableCell<Elem = E> + Send + Sync + 'static> ErasedTrainableCell<E> for C {
    fn erased_zero_gradient(&self) -> DynGradient<E> {
        DynGradient(Box::new(self.zero_gradient()))
    }

    fn erased_unroll_recording(
        &self,
        inputs: &ArrayRef3<E>,
        state: &mut DynState<E>,
        outputs: &mut ArrayRef3<E>,
        workspace: &mut DynWorkspace,
    ) -> DynRecord {
        let mut records = Vec::new();
        self.unroll_recording(inputs, state.expect_mut(), outputs, &mut records, workspace.get());
        DynRecord(Box::new(records))
    }

    fn erased_part_backward(
        &self,
        record: DynRecord,
        back: RunBack<'_, BoxedTrainableCell<E>>,
        workspace: &mut DynWorkspace,
    ) {
        let mut records = record.0.downcast::<Vec<C::Record>>().expect("the record is this cell's");
        let Back { inputs, d_outputs, d_state, d_inputs, gradient } = back;
        let (d_state, workspace) = (d_state.expect_mut(), workspace.get());
        let gradient = (*gradient.0).erased_any_mut().downcast_mut().expect("the gradient is this cell's");
        self.part_backward(&mut records, Back { inputs, d_outputs, d_state, d_inputs, gradient }, workspace);
    }

    fn erased_finish_backward(
        &self,
        d_state: &mut DynState<E>,
        gradient: &mut DynGradient<E>,
        workspace: &mut DynWorkspace,
    ) {
        let gradient = (*gradient.0).erased_any_mut().downcast_mut().expect("the gradient is this cell's");
        self.finish_backward(d_state.expect_mut(), gradient, workspace.get());
    }
}
