//! [`StackBidirectionalRnn`], recorded.

use super::bidirectional::record_both;
use super::dynamic::Inputs;
use super::{BidirectionalGradients, BidirectionalTape, Checkpointed, Gradients, TrainableCell};
use crate::checks::check_shape;
use crate::drivers::order::by_step;
use crate::drivers::stack_bidirectional::check_count;
use crate::{Error, RnnCell, StackBidirectionalRnn, concat_outputs};
use ndarray::{Array3, ArrayRef3, Axis};

/// What the recorded driver returns: the last layer's outputs, each layer's final states, and the tape.
type Recorded<'a, C, D> = (
    Array3<<C as RnnCell>::Elem>,
    (Vec<<C as RnnCell>::State>, Vec<<D as RnnCell>::State>),
    StackBidirectionalTape<'a, C, D>,
);

impl<'c, 'o, C: TrainableCell, D: TrainableCell<Elem = C::Elem>> StackBidirectionalRnn<'c, 'o, C, D> {
    /// Runs the layers and records them for training. Returns the last layer's outputs, laid out as `inputs`, each
    /// layer's final states (forward, backward), and the tape. It keeps what each direction's
    /// [`Tape`](super::Tape) keeps, and the outputs of every layer except the last.
    ///
    /// The gradients have the names and the order of the parameters of a [`Bidirectional`](crate::Bidirectional) of two
    /// `Vec`s of cells, however many layers there are:
    ///
    /// ```
    /// use rand::SeedableRng;
    /// use rnn_cell::train::{Optimizer, Sgd};
    /// use rnn_cell::{Bidirectional, Gru, StackBidirectionalRnn, one_hot};
    ///
    /// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
    /// let mut new = |input| Gru::<f32>::new(input, 3, &mut rng);
    /// let mut model = Bidirectional { fw: vec![new(4), new(6)], bw: vec![new(4), new(6)] };
    /// let mut sgd = Sgd::builder(0.1).build(&model)?;
    /// let x = one_hot(&["hello", "eolll"], "helo")?;
    /// let driver = StackBidirectionalRnn::new(&model.fw, &model.bw).sequence_length(&[5, 3]);
    /// let (outputs, _, tape) = driver.record(&x)?;
    /// // The loss is half the sum of the outputs' squares: its gradient is the outputs.
    /// let gradients = tape.backward(&outputs)?;
    /// assert_eq!(gradients.parameters.get("bw/cell_1/gates/kernel").unwrap().shape(), [9, 6]);
    /// sgd.apply_gradients(&mut model, &gradients.parameters)?;
    /// # Ok::<(), rnn_cell::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn record<'a>(self, inputs: &'a ArrayRef3<C::Elem>) -> Result<Recorded<'a, C, D>, Error>
    where
        'c: 'a,
    {
        self.record_cut(inputs, None)
    }

    /// Checkpoints every layer and direction, as [`DynamicRnn::checkpoint_every`](crate::DynamicRnn::checkpoint_every)
    /// does one. Set it last: only [`record`](Checkpointed::record) follows.
    pub fn checkpoint_every(self, steps: usize) -> Checkpointed<Self> {
        Checkpointed::new(self, steps)
    }

    fn record_cut<'a>(
        mut self,
        inputs: &'a ArrayRef3<C::Elem>,
        every: Option<usize>,
    ) -> Result<Recorded<'a, C, D>, Error>
    where
        'c: 'a,
    {
        let (mut schedules, (states_fw, states_bw)) = self.check(inputs)?;
        schedules.iter_mut().for_each(|schedule| schedule.cut_every(every));
        let time_major = self.rows.time_major;
        let mut below = Inputs::Borrowed(by_step(inputs.view(), time_major));
        let (mut outputs, mut layers) = (None, Vec::new());
        let (mut finals_fw, mut finals_bw) = (Vec::new(), Vec::new());
        let states = states_fw.into_iter().zip(states_bw);
        for (cells, states) in self.cells_fw.iter().zip(self.cells_bw).zip(states) {
            let ((fw, bw), finals, tape) = record_both(cells, (below, time_major), schedules.clone(), states);
            let joined = concat_outputs(&fw, &bw).into_shared();
            below = Inputs::Shared(by_step(joined.clone(), time_major));
            outputs = Some(joined);
            layers.push(tape);
            finals_fw.push(finals.0);
            finals_bw.push(finals.1);
        }
        drop(below);
        let outputs = outputs.expect("a checked stack has a layer").into_owned();
        Ok((
            outputs,
            (finals_fw, finals_bw),
            StackBidirectionalTape { layers, d_final_states_fw: None, d_final_states_bw: None },
        ))
    }
}

impl<'c, 'o, C: TrainableCell, D: TrainableCell<Elem = C::Elem>> Checkpointed<StackBidirectionalRnn<'c, 'o, C, D>> {
    /// [`StackBidirectionalRnn::record`] with checkpoints.
    ///
    /// # Errors
    /// - [`Error::ZeroSize`] if there are to be 0 steps between checkpoints.
    /// - As [`StackBidirectionalRnn::record`].
    pub fn record<'a>(self, inputs: &'a ArrayRef3<C::Elem>) -> Result<Recorded<'a, C, D>, Error>
    where
        'c: 'a,
    {
        let (driver, every) = self.checked()?;
        driver.record_cut(inputs, Some(every))
    }
}

/// A recorded run of a [`StackBidirectionalRnn`].
#[must_use = "call `backward` to get the gradients"]
pub struct StackBidirectionalTape<'a, C: TrainableCell, D: TrainableCell<Elem = C::Elem> = C> {
    /// The lowest first.
    layers: Vec<BidirectionalTape<'a, C, D>>,
    /// The gradients of each layer's final states; 0 without them.
    d_final_states_fw: Option<Vec<C::State>>,
    d_final_states_bw: Option<Vec<D::State>>,
}

/// What [`StackBidirectionalTape::backward`] returns for these cells.
type StackGradients<C, D> =
    BidirectionalGradients<<C as RnnCell>::Elem, Vec<<C as RnnCell>::State>, Vec<<D as RnnCell>::State>>;

impl<C: TrainableCell, D: TrainableCell<Elem = C::Elem>> StackBidirectionalTape<'_, C, D> {
    /// The gradients of the forward cells' final states, one per layer. Default: 0.
    pub fn d_final_states_fw(mut self, d_final_states: Vec<C::State>) -> Self {
        self.d_final_states_fw = Some(d_final_states);
        self
    }

    /// The gradients of the backward cells' final states, one per layer. Default: 0.
    pub fn d_final_states_bw(mut self, d_final_states: Vec<D::State>) -> Self {
        self.d_final_states_bw = Some(d_final_states);
        self
    }

    /// Backpropagates the gradient of the last layer's outputs, laid out as they are. Parameters are named
    /// `fw/cell_0/<parameter>`, …, `bw/cell_0/<parameter>`, ….
    ///
    /// # Errors
    /// - [`Error::ArrayShape`] if `d_outputs` does not have the shape of the outputs.
    /// - [`Error::LayerCount`] if a list does not have one state per layer.
    /// - [`Error::StateShape`] or [`Error::StateLeaves`] if a state does not have the shape of the final state.
    pub fn backward(mut self, d_outputs: &ArrayRef3<C::Elem>) -> Result<StackGradients<C, D>, Error> {
        let count = self.layers.len();
        let d_states_fw = by_layer("d_final_states_fw", count, self.d_final_states_fw)?;
        let d_states_bw = by_layer("d_final_states_bw", count, self.d_final_states_bw)?;
        for (layer, (tape, (d_fw, d_bw))) in self.layers.iter_mut().zip(d_states_fw.zip(d_states_bw)).enumerate() {
            (tape.fw.d_final_state, tape.bw.d_final_state) = (d_fw, d_bw);
            tape.fw.check_state(&format!("d_final_states_fw[{layer}]"))?;
            tape.bw.check_state(&format!("d_final_states_bw[{layer}]"))?;
        }
        let (rows, columns, width_fw) = self.layers.last().expect("a recorded stack has a layer").fw.outputs;
        let width_bw = self.layers.last().map_or(0, |layer| layer.bw.outputs.2);
        check_shape("d_outputs", &[rows, columns, width_fw + width_bw], d_outputs.shape())?;

        let (mut parameters_fw, mut parameters_bw) = (Vec::new(), Vec::new());
        let (mut initial_fw, mut initial_bw) = (Vec::new(), Vec::new());
        let mut below: Option<Array3<C::Elem>> = None;
        for tape in self.layers.into_iter().rev() {
            let d_outputs = below.as_ref().map_or(d_outputs.view(), |d_outputs| d_outputs.view());
            let (d_fw, d_bw) = d_outputs.split_at(Axis(2), tape.fw.outputs.2);
            let (fw, bw) = tape.checked_backward(&d_fw, &d_bw);
            parameters_fw.push(fw.parameters);
            parameters_bw.push(bw.parameters);
            initial_fw.push(fw.initial_state);
            initial_bw.push(bw.initial_state);
            below = Some(fw.inputs + &bw.inputs);
        }
        for list in [&mut parameters_fw, &mut parameters_bw] {
            list.reverse();
        }
        initial_fw.reverse();
        initial_bw.reverse();
        let parameters = Gradients::join([("fw", parameters_fw.into()), ("bw", Gradients::from(parameters_bw))]);
        let inputs = below.expect("a recorded stack has a layer");
        Ok(BidirectionalGradients { parameters, inputs, initial_states: (initial_fw, initial_bw) })
    }
}

/// One state per layer, or none for any.
fn by_layer<S>(
    argument: &'static str,
    layers: usize,
    states: Option<Vec<S>>,
) -> Result<impl Iterator<Item = Option<S>>, Error> {
    if let Some(states) = &states {
        check_count(argument, layers, states.len())?;
    }
    let mut states = states.map(Vec::into_iter);
    Ok((0..layers).map(move |_| states.as_mut().and_then(Iterator::next)))
}

impl<C: TrainableCell, D: TrainableCell<Elem = C::Elem>> std::fmt::Debug for StackBidirectionalTape<'_, C, D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StackBidirectionalTape").field("layers", &self.layers).finish()
    }
}
