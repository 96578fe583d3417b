//! [`BoxedTrainableCell`]: a cell to train whose type is known at run time only.

use super::cell::TrainableCell;
use super::runs::steps_as_runs;
use crate::wrappers::boxed::{DynWorkspace, ErasedCell, erased_cell};
use crate::{DynState, Float, Parameters, RnnCell};
use ndarray::{ArrayD, ArrayRef2, ArrayRef3, ArrayViewD, ArrayViewMutD, Axis};
use std::any::Any;
use std::fmt;

/// Any trainable cell of element type `E`: [`BoxedCell`](crate::BoxedCell) for training.
///
/// State and workspace are those of a `BoxedCell`. An unroll, forward or back, is one virtual call.
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
/// let gradients = tape.backward(&outputs, None)?;
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

/// The records of a run of whatever cell is in the box.
pub struct DynRecord(Box<dyn Any + Send>);

impl<E: Float> TrainableCell for BoxedTrainableCell<E> {
    type Record = DynRecord;

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

    fn unroll_backward(
        &self,
        records: &mut Vec<DynRecord>,
        inputs: &ArrayRef3<E>,
        d_outputs: &ArrayRef3<E>,
        d_state: &mut DynState<E>,
        d_inputs: &mut ArrayRef3<E>,
        gradients: &mut [ArrayD<E>],
        workspace: &mut DynWorkspace,
    ) {
        let record = records.pop().expect("each run forward left a record");
        self.0.erased_unroll_backward(record, inputs, d_outputs, d_state, d_inputs, gradients, workspace);
    }
}

/// [`TrainableCell`] without associated types.
trait ErasedTrainableCell<E: Float>: ErasedCell<E> {
    fn erased_unroll_recording(
        &self,
        inputs: &ArrayRef3<E>,
        state: &mut DynState<E>,
        outputs: &mut ArrayRef3<E>,
        workspace: &mut DynWorkspace,
    ) -> DynRecord;
    #[allow(clippy::too_many_arguments)]
    fn erased_unroll_backward(
        &self,
        record: DynRecord,
        inputs: &ArrayRef3<E>,
        d_outputs: &ArrayRef3<E>,
        d_state: &mut DynState<E>,
        d_inputs: &mut ArrayRef3<E>,
        gradients: &mut [ArrayD<E>],
        workspace: &mut DynWorkspace,
    );
}

impl<E: Float, C: TrainableCell<Elem = E> + Send + Sync + 'static> ErasedTrainableCell<E> for C {
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

    fn erased_unroll_backward(
        &self,
        record: DynRecord,
        inputs: &ArrayRef3<E>,
        d_outputs: &ArrayRef3<E>,
        d_state: &mut DynState<E>,
        d_inputs: &mut ArrayRef3<E>,
        gradients: &mut [ArrayD<E>],
        workspace: &mut DynWorkspace,
    ) {
        let mut records = record.0.downcast::<Vec<C::Record>>().expect("the record is this cell's");
        let (d_state, workspace) = (d_state.expect_mut(), workspace.get());
        self.unroll_backward(&mut records, inputs, d_outputs, d_state, d_inputs, gradients, workspace);
    }
}
