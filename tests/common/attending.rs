//! [`Attending`]: an `AttentionWrapper` in the list of cells. Alignment histories are left out: a state that keeps them
//! grows with every step, and so allocates.

use crate::common::{Rng, randomized};
use ndarray::{Array3, ArrayRef2, ArrayRef3, ArrayViewD, ArrayViewMutD};
use rnn_cell::seq2seq::{AttentionMechanism, AttentionWrapper};
use rnn_cell::train::{RunBack, StepBack, TrainableCell};
use rnn_cell::{Compression, Error, Float, Parameters, ParametersMut, RnnCell};

/// Steps and depth of the memory.
const TIME: usize = 5;
pub const DEPTH: usize = 3;

/// A cell that attends to one memory, the same in every row, so that a state can be made from a batch alone. The last
/// step of the memory is padding.
pub struct Attending<C: RnnCell>(AttentionWrapper<C>);

impl<C: RnnCell + ParametersMut<C::Elem>> Attending<C> {
    /// `cell` reads the attention too. `layers` are the sizes of attention layers; without any, the output is the cell's.
    pub fn new(
        cell: C,
        mechanisms: impl IntoIterator<Item = AttentionMechanism<C::Elem>>,
        layers: Option<Vec<usize>>,
        rng: &mut Rng,
    ) -> Self {
        let builder = AttentionWrapper::builder(cell, mechanisms).output_attention(layers.is_some());
        let builder = match layers {
            Some(layers) => builder.attention_layer_size(layers),
            None => builder,
        };
        Self(randomized(builder.build(rng).unwrap(), rng))
    }
}

impl<C: RnnCell> RnnCell for Attending<C> {
    type Elem = C::Elem;
    type State = <AttentionWrapper<C> as RnnCell>::State;
    type Workspace = <AttentionWrapper<C> as RnnCell>::Workspace;

    fn input_size(&self) -> usize {
        self.0.input_size()
    }
    fn output_size(&self) -> usize {
        self.0.output_size()
    }
    fn zero_state(&self, batch: usize) -> Self::State {
        let number = |(_, step, k)| if step + 1 < TIME { ((2 * step + 3 * k) as f64).sin() } else { f64::NAN };
        let memory = Array3::from_shape_fn((batch, TIME, DEPTH), |at| Self::Elem::of(number(at)));
        self.0.attend(&memory, Some(&vec![TIME - 1; batch])).unwrap()
    }
    fn check_state(&self, state: &Self::State) -> Result<(), Error> {
        self.0.check_state(state)
    }
    fn step(
        &self,
        x: &ArrayRef2<C::Elem>,
        state: &mut Self::State,
        y: &mut ArrayRef2<C::Elem>,
        workspace: &mut Self::Workspace,
    ) {
        self.0.step(x, state, y, workspace);
    }
    fn unroll(
        &self,
        x: &ArrayRef3<C::Elem>,
        state: &mut Self::State,
        y: &mut ArrayRef3<C::Elem>,
        workspace: &mut Self::Workspace,
    ) {
        self.0.unroll(x, state, y, workspace);
    }
    fn compress(&mut self, compression: &mut Compression<'_, C::Elem>) -> Result<(), Error> {
        self.0.compress(compression)
    }
}

impl<C: RnnCell + Parameters<C::Elem>> Parameters<C::Elem> for Attending<C> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, C::Elem>)) {
        self.0.visit_parameters(visit);
    }
}

impl<C: RnnCell + ParametersMut<C::Elem>> ParametersMut<C::Elem> for Attending<C> {
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, C::Elem>)) {
        self.0.visit_parameters_mut(visit);
    }
}

impl<C: TrainableCell> TrainableCell for Attending<C> {
    type Record = <AttentionWrapper<C> as TrainableCell>::Record;
    type Gradient = <AttentionWrapper<C> as TrainableCell>::Gradient;

    fn zero_gradient(&self) -> Self::Gradient {
        self.0.zero_gradient()
    }
    fn step_recording(
        &self,
        x: &ArrayRef2<C::Elem>,
        state: &mut Self::State,
        y: &mut ArrayRef2<C::Elem>,
        workspace: &mut Self::Workspace,
    ) -> Self::Record {
        self.0.step_recording(x, state, y, workspace)
    }
    fn step_backward(&self, record: Self::Record, back: StepBack<'_, Self>, workspace: &mut Self::Workspace) {
        self.0.step_backward(record, back, workspace);
    }
    fn unroll_recording(
        &self,
        x: &ArrayRef3<C::Elem>,
        state: &mut Self::State,
        y: &mut ArrayRef3<C::Elem>,
        records: &mut Vec<Self::Record>,
        workspace: &mut Self::Workspace,
    ) {
        self.0.unroll_recording(x, state, y, records, workspace);
    }
    fn unroll_backward(
        &self,
        records: &mut Vec<Self::Record>,
        back: RunBack<'_, Self>,
        workspace: &mut Self::Workspace,
    ) {
        self.0.unroll_backward(records, back, workspace);
    }
    fn part_backward(&self, records: &mut Vec<Self::Record>, back: RunBack<'_, Self>, workspace: &mut Self::Workspace) {
        self.0.part_backward(records, back, workspace);
    }
    fn finish_backward(
        &self,
        d_state: &mut Self::State,
        gradient: &mut Self::Gradient,
        workspace: &mut Self::Workspace,
    ) {
        self.0.finish_backward(d_state, gradient, workspace);
    }
}
