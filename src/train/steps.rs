//! Recorded runs over lists of steps: `static_rnn` and `static_bidirectional_rnn` for training.

use super::dynamic::Inputs;
use super::{BidirectionalGradients, BidirectionalTape, Checkpointed, RunGradients, Tape, TrainableCell};
use crate::checks::check_shape;
use crate::drivers::order::by_step;
use crate::drivers::static_::{list, stacked, stacked_as};
use crate::{BidirectionalRnn, DynamicRnn, Error, Float, RnnCell, concat_outputs};
use ndarray::{Array2, Array3, ArrayRef2, ArrayView3, Axis};
use std::ops::Deref;

/// Outputs of each step, the final state, and the tape.
type RecordedList<'a, C> = (Vec<Array2<<C as RnnCell>::Elem>>, <C as RnnCell>::State, Tape<'a, C>);
/// Outputs of each step, the final states, forward and backward, and the tape.
type RecordedLists<'a, C, D> =
    (Vec<Array2<<C as RnnCell>::Elem>>, (<C as RnnCell>::State, <D as RnnCell>::State), BidirectionalTape<'a, C, D>);
/// What [`BidirectionalTape::backward_steps`] returns for these cells.
type BothGradients<C, D> = BidirectionalGradients<<C as RnnCell>::Elem, <C as RnnCell>::State, <D as RnnCell>::State>;

impl<'c, 'o, C: TrainableCell> DynamicRnn<'c, 'o, C> {
    /// [`run_steps`](Self::run_steps), recorded for training: [`static_rnn`](crate::static_rnn) with a tape, which keeps
    /// a copy of the steps. Call [`Tape::backward_steps`].
    ///
    /// ```
    /// use ndarray::Axis;
    /// use rand::SeedableRng;
    /// use rnn_cell::{DynamicRnn, Gru, one_hot};
    ///
    /// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
    /// let cell = Gru::<f32>::new(4, 2, &mut rng);
    /// let x = one_hot(&["hello", "eolll"], "helo")?;
    /// let steps: Vec<_> = x.axis_iter(Axis(1)).collect();             // seq views of (batch, input)
    /// let (outputs, _, tape) = DynamicRnn::new(&cell).sequence_length(&[5, 3]).record_steps(&steps)?;
    /// // The loss is half the sum of the outputs' squares: its gradient is the outputs.
    /// let gradients = tape.backward_steps(&outputs)?;
    /// assert_eq!((outputs.len(), gradients.inputs.dim()), (5, (5, 2, 4)));
    /// # Ok::<(), rnn_cell::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`run_steps`](Self::run_steps).
    pub fn record_steps<'a>(
        self,
        inputs: &[impl Deref<Target = ArrayRef2<C::Elem>>],
    ) -> Result<RecordedList<'a, C>, Error>
    where
        'c: 'a,
    {
        self.record_list(inputs, None)
    }

    fn record_list<'a>(
        self,
        inputs: &[impl Deref<Target = ArrayRef2<C::Elem>>],
        every: Option<usize>,
    ) -> Result<RecordedList<'a, C>, Error>
    where
        'c: 'a,
    {
        let (inputs, time_major) = (Inputs::Shared(stacked(inputs)?.into_shared()), self.rows.time_major);
        let (outputs, state, tape) = self.record_cut(inputs, every)?;
        Ok((list(&by_step(outputs, time_major)), state, tape))
    }
}

impl<'c, 'o, C: TrainableCell> Checkpointed<DynamicRnn<'c, 'o, C>> {
    /// [`DynamicRnn::record_steps`] with checkpoints.
    ///
    /// # Errors
    /// - [`Error::ZeroSize`] if there are to be 0 steps between checkpoints.
    /// - As [`DynamicRnn::record_steps`].
    pub fn record_steps<'a>(
        self,
        inputs: &[impl Deref<Target = ArrayRef2<C::Elem>>],
    ) -> Result<RecordedList<'a, C>, Error>
    where
        'c: 'a,
    {
        let (driver, every) = self.checked()?;
        driver.record_list(inputs, Some(every))
    }
}

impl<'c, 'o, C: TrainableCell, D: TrainableCell<Elem = C::Elem>> BidirectionalRnn<'c, 'o, C, D> {
    /// [`run_steps`](Self::run_steps), recorded for training:
    /// [`static_bidirectional_rnn`](crate::static_bidirectional_rnn) with a tape, which keeps a copy of the steps.
    /// Returns the outputs of each step, \[fw, bw\] along the last axis, (state_fw, state_bw) and the tape. Call
    /// [`BidirectionalTape::backward_steps`].
    ///
    /// # Errors
    /// As [`run_steps`](Self::run_steps).
    pub fn record_steps<'a>(
        self,
        inputs: &[impl Deref<Target = ArrayRef2<C::Elem>>],
    ) -> Result<RecordedLists<'a, C, D>, Error>
    where
        'c: 'a,
    {
        self.record_list(inputs, None)
    }

    fn record_list<'a>(
        self,
        inputs: &[impl Deref<Target = ArrayRef2<C::Elem>>],
        every: Option<usize>,
    ) -> Result<RecordedLists<'a, C, D>, Error>
    where
        'c: 'a,
    {
        let (inputs, time_major) = (Inputs::Shared(stacked(inputs)?.into_shared()), self.rows.time_major);
        let ((fw, bw), states, tape) = self.record_cut(inputs, every)?;
        let outputs = concat_outputs(&by_step(fw, time_major), &by_step(bw, time_major));
        Ok((list(&outputs), states, tape))
    }
}

impl<'c, 'o, C: TrainableCell, D: TrainableCell<Elem = C::Elem>> Checkpointed<BidirectionalRnn<'c, 'o, C, D>> {
    /// [`BidirectionalRnn::record_steps`] with checkpoints.
    ///
    /// # Errors
    /// - [`Error::ZeroSize`] if there are to be 0 steps between checkpoints.
    /// - As [`BidirectionalRnn::record_steps`].
    pub fn record_steps<'a>(
        self,
        inputs: &[impl Deref<Target = ArrayRef2<C::Elem>>],
    ) -> Result<RecordedLists<'a, C, D>, Error>
    where
        'c: 'a,
    {
        let (driver, every) = self.checked()?;
        driver.record_list(inputs, Some(every))
    }
}

impl<C: TrainableCell> Tape<'_, C> {
    /// [`backward`](Self::backward) from a list: the gradient of each step's output, (batch, output). The gradient of the
    /// inputs comes back as (seq, batch, input): its `outer_iter` gives the steps.
    ///
    /// # Errors
    /// - [`Error::ArrayShape`] if `d_outputs` are not as many and as large as the outputs.
    /// - As [`backward`](Self::backward).
    pub fn backward_steps(
        self,
        d_outputs: &[impl Deref<Target = ArrayRef2<C::Elem>>],
    ) -> Result<RunGradients<C::Elem, C::State>, Error> {
        let time_major = self.time_major;
        let d_outputs = stacked_like(self.outputs, time_major, d_outputs)?;
        let mut back = self.backward(&by_step(d_outputs.view(), time_major))?;
        back.inputs = by_step(back.inputs, time_major);
        Ok(back)
    }
}

impl<C: TrainableCell, D: TrainableCell<Elem = C::Elem>> BidirectionalTape<'_, C, D> {
    /// [`backward`](Self::backward) from a list: the gradient of each step's output, \[fw, bw\] along the last axis,
    /// (batch, fw output + bw output). The gradient of the inputs comes back as (seq, batch, input): its `outer_iter`
    /// gives the steps.
    ///
    /// # Errors
    /// - [`Error::ArrayShape`] if `d_outputs` are not as many and as large as the outputs.
    /// - As [`backward`](Self::backward).
    pub fn backward_steps(
        self,
        d_outputs: &[impl Deref<Target = ArrayRef2<C::Elem>>],
    ) -> Result<BothGradients<C, D>, Error> {
        let (time_major, (rows, columns, width_fw)) = (self.fw.time_major, self.fw.outputs);
        let d_outputs = stacked_like((rows, columns, width_fw + self.bw.outputs.2), time_major, d_outputs)?;
        let (d_fw, d_bw): (ArrayView3<'_, _>, _) = by_step(d_outputs.view(), time_major).split_at(Axis(2), width_fw);
        let mut back = self.backward(&d_fw, &d_bw)?;
        back.inputs = by_step(back.inputs, time_major);
        Ok(back)
    }
}

/// The steps as one array, (seq, batch, output), of the shape of `outputs`, which are in the caller's layout.
fn stacked_like<E: Float>(
    outputs: (usize, usize, usize),
    time_major: bool,
    d_outputs: &[impl Deref<Target = ArrayRef2<E>>],
) -> Result<Array3<E>, Error> {
    let (rows, columns, width) = outputs;
    let (seq, batch) = if time_major { (rows, columns) } else { (columns, rows) };
    check_shape("d_outputs", &[seq], &[d_outputs.len()])?;
    stacked_as("d_outputs", (batch, width), d_outputs)
}
