//! Runs an LSTM with layer normalization and hands its masks to the equation.

use super::equation::Masked;
use super::{LayerNormLstm, LayerNormLstmWeights};
use crate::cell::step_as_run;
use crate::compression::Compression;
use crate::dropout::Masks;
use crate::fused::{self, FusedCell, Record, Workspace};
use crate::train::{Back, RunBack, TrainableCell, steps_as_runs};
use crate::{Arrays, DropoutState, Error, Float, LstmState, RnnCell};
use ndarray::{ArrayRef2, ArrayRef3, Axis};

impl<E: Float> RnnCell for LayerNormLstm<E> {
    type Elem = E;
    type State = DropoutState<LstmState<E>>;
    type Workspace = Workspace<E>;

    fn input_size(&self) -> usize {
        self.options.input_size
    }
    fn output_size(&self) -> usize {
        self.options.hidden_size
    }
    fn zero_state(&self, batch: usize) -> Self::State {
        DropoutState::new(Masked { cell: self, masks: None }.zero_state(batch))
    }

    step_as_run!();

    fn unroll(
        &self,
        inputs: &ArrayRef3<E>,
        state: &mut Self::State,
        outputs: &mut ArrayRef3<E>,
        workspace: &mut Workspace<E>,
    ) {
        let DropoutState { inner, masks } = state;
        fused::unroll(&self.masked(masks.as_ref(), inputs.dim()), inputs, inner, outputs, workspace);
        advance(masks, inputs.dim().0);
    }

    fn compress(&mut self, compression: &mut Compression<'_, E>) -> Result<(), Error> {
        compression.product(&mut self.product, &mut [("kernel", &mut self.weights.kernel)])
    }
}

impl<E: Float> LayerNormLstm<E> {
    fn masked<'a>(&'a self, masks: Option<&'a Masks>, inputs: (usize, usize, usize)) -> Masked<'a, E> {
        if let Some(masks) = masks {
            masks.check_batch(inputs.1);
        }
        Masked { cell: self, masks }
    }
}

fn advance(masks: &mut Option<Masks>, steps: usize) {
    if let Some(masks) = masks {
        masks.advance(steps);
    }
}

/// What a recorded run of a [`LayerNormLstm`] keeps for the backward pass.
#[derive(Debug)]
pub struct LayerNormLstmRecord<E> {
    record: Record<E>,
    /// The masks before the first step.
    masks: Option<Masks>,
}

impl<E: Float> TrainableCell for LayerNormLstm<E> {
    type Record = LayerNormLstmRecord<E>;
    type Gradient = LayerNormLstmWeights<E>;

    fn zero_gradient(&self) -> LayerNormLstmWeights<E> {
        self.weights.zeros()
    }

    steps_as_runs!();

    fn unroll_recording(
        &self,
        inputs: &ArrayRef3<E>,
        state: &mut Self::State,
        outputs: &mut ArrayRef3<E>,
        records: &mut Vec<Self::Record>,
        workspace: &mut Workspace<E>,
    ) {
        let DropoutState { inner, masks } = state;
        let masked = self.masked(masks.as_ref(), inputs.dim());
        let record = fused::unroll_recording(&masked, inputs, inner, outputs, workspace);
        records.push(LayerNormLstmRecord { record, masks: masks.clone() });
        advance(masks, inputs.dim().0);
    }

    fn unroll_backward(&self, records: &mut Vec<Self::Record>, back: RunBack<'_, Self>, workspace: &mut Workspace<E>) {
        let LayerNormLstmRecord { record, masks } = records.pop().expect("each run forward left a record");
        let Back { inputs, d_outputs, d_state, d_inputs, gradient } = back;
        let masked = self.masked(masks.as_ref(), inputs.dim());
        let d_state = &mut d_state.inner;
        fused::unroll_backward(&masked, record, Back { inputs, d_outputs, d_state, d_inputs, gradient }, workspace);
    }
}
