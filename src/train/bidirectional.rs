//! [`bidirectional_dynamic_rnn`] and [`BidirectionalRnn`], recorded.

use super::dynamic::{Inputs, record};
use super::{Checkpointed, Gradients, RunGradients, Tape, TrainableCell};
use crate::drivers::order::by_step;
use crate::drivers::rows::RowOptions;
use crate::drivers::schedule::{Direction, Schedule};
use crate::{BidirectionalRnn, Error, RnnCell};
use ndarray::{Array3, ArrayRef3};

/// What the recorded driver returns: outputs and final states of the forward and the backward direction, and the tape.
pub(super) type Recorded<'a, C, D> = (
    (Array3<<C as RnnCell>::Elem>, Array3<<C as RnnCell>::Elem>),
    (<C as RnnCell>::State, <D as RnnCell>::State),
    BidirectionalTape<'a, C, D>,
);

/// Runs [`bidirectional_dynamic_rnn`](crate::bidirectional_dynamic_rnn) and records it for training. `inputs` are
/// (batch, seq, input), the outputs of each direction (batch, seq, output). [`BidirectionalRnn::record`] has more
/// options.
///
/// The backward direction reads each row from its last valid step to its first. Each direction treats padding and uses
/// memory as [`dynamic_rnn`] does.
///
/// ```
/// use rand::SeedableRng;
/// use rnn_cell::{Gru, Lstm, one_hot, train};
///
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let (cell_fw, cell_bw) = (Lstm::<f32>::new(4, 3, &mut rng), Gru::new(4, 2, &mut rng));
/// let x = one_hot(&["hello", "eolll", "lleel"], "helo")?;
/// let ((fw, bw), _, tape) =
///     train::bidirectional_dynamic_rnn(&cell_fw, &cell_bw, &x, Some(&[5, 3, 4]), None, None)?;
/// // The loss is half the sum of all squares: the gradient of the outputs is the outputs.
/// let gradients = tape.backward(&fw, &bw)?;
/// assert_eq!(gradients.parameters.get("fw/kernel").unwrap().shape(), [7, 12]);
/// assert_eq!(gradients.parameters.get("bw/gates/kernel").unwrap().shape(), [6, 4]);
/// assert_eq!(gradients.inputs.dim(), (3, 5, 4));
/// # Ok::<(), rnn_cell::Error>(())
/// ```
///
/// # Errors
/// As [`bidirectional_dynamic_rnn`](crate::bidirectional_dynamic_rnn).
///
/// [`dynamic_rnn`]: super::dynamic_rnn
pub fn bidirectional_dynamic_rnn<'a, C: TrainableCell, D: TrainableCell<Elem = C::Elem>>(
    cell_fw: &'a C,
    cell_bw: &'a D,
    inputs: &'a ArrayRef3<C::Elem>,
    sequence_length: Option<&[usize]>,
    initial_state_fw: Option<C::State>,
    initial_state_bw: Option<D::State>,
) -> Result<Recorded<'a, C, D>, Error> {
    let rows = RowOptions::of(sequence_length);
    BidirectionalRnn { cell_fw, cell_bw, initial_state_fw, initial_state_bw, rows }.record(inputs)
}

impl<'c, 'o, C: TrainableCell, D: TrainableCell<Elem = C::Elem>> BidirectionalRnn<'c, 'o, C, D> {
    /// Runs both cells and records them for training. Returns ((outputs_fw, outputs_bw), (state_fw, state_bw)), outputs
    /// laid out as `inputs`, and the tape. [`train::bidirectional_dynamic_rnn`](bidirectional_dynamic_rnn) has an
    /// example.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn record<'a>(self, inputs: &'a ArrayRef3<C::Elem>) -> Result<Recorded<'a, C, D>, Error>
    where
        'c: 'a,
    {
        let inputs = Inputs::Borrowed(by_step(inputs.view(), self.rows.time_major));
        self.record_cut(inputs, None)
    }

    /// Checkpoints both directions, as [`DynamicRnn::checkpoint_every`](crate::DynamicRnn::checkpoint_every) does one.
    /// Set it last: only [`record`](Checkpointed::record) follows.
    pub fn checkpoint_every(self, steps: usize) -> Checkpointed<Self> {
        Checkpointed::new(self, steps)
    }

    pub(super) fn record_cut<'a>(
        mut self,
        inputs: Inputs<'a, C::Elem>,
        every: Option<usize>,
    ) -> Result<Recorded<'a, C, D>, Error>
    where
        'c: 'a,
    {
        let time_major = self.rows.time_major;
        let (mut schedules, states) = self.check(&by_step(inputs.view(), time_major))?;
        schedules.iter_mut().for_each(|schedule| schedule.cut_every(every));
        Ok(record_both((self.cell_fw, self.cell_bw), (inputs, time_major), schedules, states))
    }
}

/// [`record`] for two directions.
pub(super) fn record_both<'a, C: TrainableCell, D: TrainableCell<Elem = C::Elem>>(
    (cell_fw, cell_bw): (&'a C, &'a D),
    (inputs, time_major): (Inputs<'a, C::Elem>, bool),
    [schedule_fw, schedule_bw]: [Schedule; 2],
    (state_fw, state_bw): (C::State, D::State),
) -> Recorded<'a, C, D> {
    let inputs_fw = (inputs.clone(), time_major);
    let (fw, state_fw, tape_fw) = record(cell_fw, inputs_fw, schedule_fw, Direction::Forward, state_fw);
    let (bw, state_bw, tape_bw) = record(cell_bw, (inputs, time_major), schedule_bw, Direction::Backward, state_bw);
    ((fw, bw), (state_fw, state_bw), BidirectionalTape { fw: tape_fw, bw: tape_bw })
}

impl<'c, 'o, C: TrainableCell, D: TrainableCell<Elem = C::Elem>> Checkpointed<BidirectionalRnn<'c, 'o, C, D>> {
    /// [`BidirectionalRnn::record`] with checkpoints.
    ///
    /// # Errors
    /// - [`Error::ZeroSize`] if there are to be 0 steps between checkpoints.
    /// - As [`BidirectionalRnn::record`].
    pub fn record<'a>(self, inputs: &'a ArrayRef3<C::Elem>) -> Result<Recorded<'a, C, D>, Error>
    where
        'c: 'a,
    {
        let (driver, every) = self.checked()?;
        let inputs = Inputs::Borrowed(by_step(inputs.view(), driver.rows.time_major));
        driver.record_cut(inputs, Some(every))
    }
}

/// A recorded run of [`bidirectional_dynamic_rnn`] or a [`BidirectionalRnn`].
#[must_use = "call `backward` to get the gradients"]
pub struct BidirectionalTape<'a, C: TrainableCell, D: TrainableCell<Elem = C::Elem>> {
    pub(super) fw: Tape<'a, C>,
    pub(super) bw: Tape<'a, D>,
}

/// What [`BidirectionalTape::backward`] returns for these cells.
type BothGradients<C, D> = BidirectionalGradients<<C as RnnCell>::Elem, <C as RnnCell>::State, <D as RnnCell>::State>;

/// The gradients of one direction.
type OneWay<C> = RunGradients<<C as RnnCell>::Elem, <C as RnnCell>::State>;

/// Gradients of everything passed to a bidirectional run.
#[derive(Debug, Clone, PartialEq)]
pub struct BidirectionalGradients<E, F, B = F> {
    /// The gradients of both cells' parameters, named `fw/<parameter>` and `bw/<parameter>`, as
    /// [`Bidirectional`](crate::Bidirectional) names them.
    pub parameters: Gradients<E>,
    /// The gradient of the inputs, laid out as they are, summed over both directions; 0 in the padding.
    pub inputs: Array3<E>,
    /// The gradients of the initial states, (forward, backward).
    pub initial_states: (F, B),
}

impl<C: TrainableCell, D: TrainableCell<Elem = C::Elem>> BidirectionalTape<'_, C, D> {
    /// The gradient of the forward direction's final state. Default: 0.
    pub fn d_final_state_fw(mut self, d_final_state: C::State) -> Self {
        self.fw = self.fw.d_final_state(d_final_state);
        self
    }

    /// The gradient of the backward direction's final state. Default: 0.
    pub fn d_final_state_bw(mut self, d_final_state: D::State) -> Self {
        self.bw = self.bw.d_final_state(d_final_state);
        self
    }

    /// Backpropagates from the gradients of both directions' outputs, laid out as they are.
    ///
    /// # Errors
    /// As [`Tape::backward`].
    pub fn backward(
        self,
        d_outputs_fw: &ArrayRef3<C::Elem>,
        d_outputs_bw: &ArrayRef3<C::Elem>,
    ) -> Result<BothGradients<C, D>, Error> {
        self.fw.check(("d_outputs_fw", d_outputs_fw), "d_final_state_fw")?;
        self.bw.check(("d_outputs_bw", d_outputs_bw), "d_final_state_bw")?;
        let (fw, bw) = self.checked_backward(d_outputs_fw, d_outputs_bw);
        Ok(BidirectionalGradients {
            parameters: Gradients::join([("fw", fw.parameters), ("bw", bw.parameters)]),
            inputs: fw.inputs + &bw.inputs,
            initial_states: (fw.initial_state, bw.initial_state),
        })
    }

    /// [`backward`](Self::backward) on checked gradients, direction by direction.
    pub(super) fn checked_backward(
        self,
        d_outputs_fw: &ArrayRef3<C::Elem>,
        d_outputs_bw: &ArrayRef3<C::Elem>,
    ) -> (OneWay<C>, OneWay<D>) {
        let fw = self.fw.checked_backward(d_outputs_fw);
        (fw, self.bw.checked_backward(d_outputs_bw))
    }
}

impl<C: TrainableCell, D: TrainableCell<Elem = C::Elem>> std::fmt::Debug for BidirectionalTape<'_, C, D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BidirectionalTape").field("fw", &self.fw).field("bw", &self.bw).finish_non_exhaustive()
    }
}
