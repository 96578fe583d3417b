//! [`dynamic_decode`](crate::seq2seq::dynamic_decode), recorded: gradients through a decoder that feeds its outputs back.

use super::{Gradients, RawStepBack, RawTape, TrainableCell};
use crate::checks::check_shape;
use crate::drivers::order::by_step;
use crate::fused::{LinearWeights, Workspace};
use crate::kernel::zeros;
use crate::seq2seq::{
    BasicDecoder, BasicDecoderOutput, DynamicDecode, HelperStep, HelperStepBack, Start, TrainableHelper, by_batch,
};
use crate::{Arrays, Dense, Error, Float, RawRnn, RawStep, RnnCell};
use ndarray::{Array2, Array3, ArrayRef2, ArrayRef3, Axis};

/// What a recorded decoder returns: its output and the tape.
type Recorded<'a, C, H> = (
    BasicDecoderOutput<<C as RnnCell>::Elem, <H as crate::seq2seq::Helper>::Sample, <C as RnnCell>::State>,
    DecoderTape<'a, C, H>,
);

impl<'a, C: TrainableCell, H: TrainableHelper<Elem = C::Elem>> DynamicDecode<BasicDecoder<'a, C, H>> {
    /// [`run`](Self::run), recorded for training: with the same outputs, and a [`DecoderTape`].
    ///
    /// Where all inputs are known, as with a [`TrainingHelper`](crate::seq2seq::TrainingHelper), record a
    /// [`DynamicRnn`](crate::DynamicRnn) over them, which is faster.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn record(mut self) -> Result<Recorded<'a, C, H>, Error> {
        self.check_end()?;
        let Start { state, inputs, finished } = self.decoder.start()?;
        let (batch, width, time_major) = (finished.len(), self.decoder.output_size(), self.output_time_major);
        let BasicDecoder { cell, helper, output_layer, .. } = self.decoder;
        let (impute, most) = (self.impute_finished, self.maximum_iterations);
        let mut run =
            Recording { helper, output_layer, impute, most, finished, lengths: vec![0; batch], kept: Vec::new() };
        let (outputs, state, tape) = RawRnn::new(cell, batch).initial_state(state).try_record(|step| {
            match step.time {
                0 => step.next_input.assign(&inputs),
                _ => run.choose(step, width)?,
            }
            run.end(step);
            Ok::<_, Error>(())
        })?;
        let Recording { helper, output_layer, lengths, kept, .. } = run;
        let steps = kept.len();
        let mut samples = Array2::from_elem((steps, batch), H::Sample::default());
        for (step, kept) in kept.iter().enumerate() {
            for (&row, sample) in kept.rows.iter().zip(&kept.samples) {
                samples[[step, row]] = sample.clone();
            }
        }
        let outputs = if steps == 0 { zeros((0, batch, width)) } else { outputs };
        let output = BasicDecoderOutput {
            rnn_output: by_batch(outputs, time_major),
            sample_id: by_batch(samples, time_major),
            state,
            sequence_lengths: lengths,
        };
        let tape = DecoderTape { cell, tape, helper, output_layer, kept, dim: (steps, batch, width), time_major };
        Ok((output, tape))
    }
}

/// A decoder while it is recorded.
struct Recording<'a, E: Float, H: TrainableHelper<Elem = E>> {
    helper: H,
    output_layer: Option<&'a Dense<E>>,
    impute: bool,
    most: Option<usize>,
    finished: Vec<bool>,
    lengths: Vec<usize>,
    kept: Vec<Kept<E, H::Sample>>,
}

/// What a step leaves, in the order of the rows that made it.
struct Kept<E, S> {
    rows: Vec<usize>,
    /// The cell's, (1, rows, output), if a layer follows.
    cell_outputs: Option<Array3<E>>,
    /// (rows, output).
    outputs: Array2<E>,
    samples: Vec<S>,
}

impl<E: Float, H: TrainableHelper<Elem = E>> Recording<'_, E, H> {
    /// Chooses samples and the next inputs.
    fn choose<C: RnnCell<Elem = E>>(&mut self, step: &mut RawStep<'_, C>, width: usize) -> Result<(), Error> {
        let Some(output) = &step.output else { return Ok(()) };
        let rows: Vec<usize> = (0..self.finished.len()).filter(|&row| !(self.impute && self.finished[row])).collect();
        let ran = output.select(Axis(0), &rows);
        let (outputs, cell_outputs) = match self.output_layer {
            Some(layer) => (layer.forward(&ran)?, Some(ran.insert_axis(Axis(0)))),
            None => (ran, None),
        };
        let mut samples = vec![H::Sample::default(); rows.len()];
        let mut finished = vec![false; rows.len()];
        let mut next_inputs = step.next_input.select(Axis(0), &rows);
        self.helper.next(HelperStep {
            time: step.time - 1,
            rows: &rows,
            outputs: &outputs,
            samples: &mut samples,
            next_inputs: &mut next_inputs,
            finished: &mut finished,
        })?;
        let mut emit = zeros((self.finished.len(), width));
        scatter(&rows, &outputs, &mut emit);
        scatter(&rows, &next_inputs, &mut step.next_input);
        for (&row, finishes) in rows.iter().zip(finished) {
            if !self.finished[row] {
                self.lengths[row] = step.time;
            }
            self.finished[row] |= finishes;
        }
        step.emit = Some(emit);
        self.kept.push(Kept { rows, cell_outputs, outputs, samples });
        Ok(())
    }

    /// Says which rows make no further step.
    fn end<C: RnnCell<Elem = E>>(&self, step: &mut RawStep<'_, C>) {
        let all = !self.finished.contains(&false) || self.most.is_some_and(|most| step.time >= most);
        for (to, &finished) in step.finished.iter_mut().zip(&self.finished) {
            *to = all || (self.impute && finished);
        }
    }
}

/// Writes rows to their places in a batch.
fn scatter<E: Float>(rows: &[usize], from: &ArrayRef2<E>, to: &mut ArrayRef2<E>) {
    rows.iter().zip(from.rows()).for_each(|(&row, from)| to.row_mut(row).assign(&from));
}

/// A recorded run of a decoder: turns gradients of its results into gradients of its arguments. Where the helper made the
/// next input of an output, gradients flow through it.
///
/// Here a cell draws a wave, and reads what it drew half of the time:
///
/// ```
/// use ndarray::{Array2, Array3};
/// use rand::SeedableRng;
/// use rnn_cell::seq2seq::{BasicDecoder, ScheduledOutputTrainingHelper, dynamic_decode};
/// use rnn_cell::train::{self, Adam, Gradients, Optimizer, Parts};
/// use rnn_cell::{Dense, Gru, RnnCell};
///
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let (mut cell, mut dense) = (Gru::<f32>::new(1, 8, &mut rng), Dense::new(8, 1, &mut rng));
/// let mut adam = Adam::builder().learning_rate(0.03).build(&Parts::shared([("cell", &cell), ("dense", &dense)]))?;
/// let wave = |from: usize| Array3::from_shape_fn((1, 12, 1), |(_, t, _)| (0.5 * (from + t) as f32).sin());
/// let (x, y) = (wave(0), wave(1));
/// let mut losses = Vec::new();
/// for epoch in 0..60 {
///     let helper = ScheduledOutputTrainingHelper::new(&x, &[12], 0.5).seed(epoch);
///     let decoder = BasicDecoder::new(&cell, helper, cell.zero_state(1)).output_layer(&dense);
///     let (drawn, tape) = dynamic_decode(decoder).record()?;
///     let (loss, d_drawn) = train::mean_squared_error(&drawn.rnn_output, &y)?;
///     let back = tape.backward(&d_drawn)?;
///     let of_layer = back.output_layer.expect("there is a layer");
///     let gradients = Gradients::join([("cell", back.cell), ("dense", of_layer)]);
///     adam.apply_gradients(&mut Parts::new([("cell", &mut cell), ("dense", &mut dense)]), &gradients)?;
///     losses.push(loss);
/// }
/// assert!(losses[59] < 0.2 * losses[0], "{losses:?}");
/// # Ok::<(), rnn_cell::Error>(())
/// ```
#[must_use = "call `backward` to get the gradients"]
pub struct DecoderTape<'a, C: TrainableCell, H: TrainableHelper<Elem = C::Elem>> {
    cell: &'a C,
    tape: RawTape<'a, C>,
    helper: H,
    output_layer: Option<&'a Dense<C::Elem>>,
    kept: Vec<Kept<C::Elem, H::Sample>>,
    /// (steps, batch, output).
    dim: (usize, usize, usize),
    time_major: bool,
}

/// Gradients of everything passed to a decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct DecoderGradients<E, S> {
    /// The gradients of the cell's parameters.
    pub cell: Gradients<E>,
    /// The gradients of the output layer's parameters, if there is one.
    pub output_layer: Option<Gradients<E>>,
    /// The gradient of the inputs that were given or looked up, laid out as the outputs, with the cell's input features.
    /// 0 where an input was made of an output. What step t + 1 read was chosen by sample t.
    pub inputs: Array3<E>,
    /// The gradient of the initial state.
    pub initial_state: S,
}

impl<C: TrainableCell, H: TrainableHelper<Elem = C::Elem>> DecoderTape<'_, C, H> {
    /// The gradient of the final state. Default: 0.
    pub fn d_final_state(mut self, d_final_state: C::State) -> Self {
        self.tape = self.tape.d_final_state(d_final_state);
        self
    }

    /// Backpropagates from `d_rnn_output`, the gradient of
    /// [`rnn_output`](crate::seq2seq::BasicDecoderOutput::rnn_output), laid out as it is.
    ///
    /// # Errors
    /// - [`Error::ArrayShape`] if `d_rnn_output` does not have the shape of the outputs.
    /// - [`Error::StateShape`] or [`Error::StateLeaves`] if [`d_final_state`](Self::d_final_state) does not have the shape of
    ///   the final state.
    /// - [`Error::NoDerivative`] if the helper made inputs of outputs by a function without a `backward_fn`, and
    ///   [`Error::ArrayShape`] if that returns another width.
    pub fn backward(self, d_rnn_output: &ArrayRef3<C::Elem>) -> Result<DecoderGradients<C::Elem, C::State>, Error> {
        let Self { cell, tape, helper, output_layer, kept, dim: (steps, batch, width), time_major } = self;
        let shape = if time_major { [steps, batch, width] } else { [batch, steps, width] };
        check_shape("d_rnn_output", &shape, d_rnn_output.shape())?;
        let d_outputs = by_step(d_rnn_output.view(), time_major);
        let none = zeros((0, batch, cell.output_size()));
        let d_outputs = if steps == 0 { none.view() } else { d_outputs };
        let mut back = DecoderBack {
            helper,
            layer: output_layer.map(|layer| (layer, layer.linear().weights().zeros(), Workspace::default())),
            kept,
            inputs: zeros((steps, batch, cell.input_size())),
        };
        let run = tape.try_backward(&d_outputs, |step| back.step(step))?;
        let DecoderBack { layer, inputs, .. } = back;
        let output_layer = layer.map(|(layer, mut gradient, mut workspace)| {
            layer.linear().finish_backward(&mut gradient, &mut workspace);
            Gradients::of(gradient)
        });
        let inputs = by_batch(inputs, time_major);
        Ok(DecoderGradients { cell: run.parameters, output_layer, inputs, initial_state: run.initial_state })
    }
}

/// A decoder while it goes back.
struct DecoderBack<'a, E: Float, H: TrainableHelper<Elem = E>> {
    helper: H,
    layer: Option<(&'a Dense<E>, LinearWeights<E>, Workspace<E>)>,
    kept: Vec<Kept<E, H::Sample>>,
    /// (steps, batch, input).
    inputs: Array3<E>,
}

impl<E: Float, H: TrainableHelper<Elem = E>> DecoderBack<'_, E, H> {
    fn step<C: RnnCell<Elem = E>>(&mut self, step: &mut RawStepBack<'_, C>) -> Result<(), Error> {
        let read = (step.time < self.inputs.len_of(Axis(0))).then_some(step.time);
        let (Some(d_emit), Some(d_output)) = (&step.d_emit, &mut step.d_output) else {
            if let Some(first) = read {
                self.inputs.index_axis_mut(Axis(0), first).assign(&step.d_next_input);
            }
            return Ok(());
        };
        let Kept { rows, cell_outputs, outputs, samples } = self.kept.pop().expect("each step left what it chose");
        let mut d_next_inputs = step.d_next_input.select(Axis(0), &rows);
        let mut d_outputs = d_emit.select(Axis(0), &rows);
        self.helper.next_backward(HelperStepBack {
            time: step.time - 1,
            rows: &rows,
            outputs: &outputs,
            samples: &samples,
            d_next_inputs: &mut d_next_inputs,
            d_outputs: &mut d_outputs,
        })?;
        if let Some(read) = read {
            scatter(&rows, &d_next_inputs, &mut self.inputs.index_axis_mut(Axis(0), read));
        }
        if let (Some((layer, gradient, workspace)), Some(x)) = (&mut self.layer, &cell_outputs) {
            let mut d_x = zeros(x.raw_dim());
            layer.linear().part_backward(x, &d_outputs.insert_axis(Axis(0)), &mut d_x, gradient, workspace);
            d_outputs = d_x.index_axis_move(Axis(0), 0);
        }
        scatter(&rows, &d_outputs, d_output);
        Ok(())
    }
}

impl<C: TrainableCell, H: TrainableHelper<Elem = C::Elem>> std::fmt::Debug for DecoderTape<'_, C, H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DecoderTape").field("dim", &self.dim).finish_non_exhaustive()
    }
}
