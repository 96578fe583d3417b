//! [`BasicDecoder`]: a cell, an output layer, and a helper that chooses the next input.

use super::decode::Decoder;
use super::helper::{Helper, HelperStep};
use crate::checks::checked_state;
use crate::fused::Workspace;
use crate::kernel::zeros;
use crate::{Dense, Error, RnnCell, State};
use ndarray::{Array2, Array3, Axis};

/// Steps a cell, puts its output through an optional layer, and lets a helper choose a sample: TensorFlow 1's
/// `BasicDecoder`. Run it with [`dynamic_decode`](super::dynamic_decode).
///
/// Any cell will do, an [`AttentionWrapper`](super::AttentionWrapper) too. There the initial state is that of
/// [`attend`](super::AttentionWrapper::attend).
pub struct BasicDecoder<'a, C: RnnCell, H: Helper<Elem = C::Elem>> {
    pub(crate) cell: &'a C,
    pub(crate) helper: H,
    initial_state: Option<C::State>,
    pub(crate) output_layer: Option<&'a Dense<C::Elem>>,
    run: Option<Run<C, H::Sample>>,
}

/// What a [`BasicDecoder`] returns.
#[derive(Debug, Clone, PartialEq)]
pub struct BasicDecoderOutput<E, S, State> {
    /// The outputs, (batch, steps, output): those of the layer if there is one.
    pub rnn_output: Array3<E>,
    /// The helper's samples, (batch, steps). Past a row's end `S::default()`, such as token 0, unless
    /// [`impute_finished`](super::DynamicDecode::impute_finished) is off.
    pub sample_id: Array2<S>,
    /// The state after each row's last step.
    pub state: State,
    /// Steps of each row, the finishing one included.
    pub sequence_lengths: Vec<usize>,
}

struct Run<C: RnnCell, S> {
    impute_finished: bool,
    /// The rows that are computed; row i of the arrays below is for `rows[i]`.
    rows: Vec<usize>,
    finished: Vec<bool>,
    inputs: Array2<C::Elem>,
    state: C::State,
    output: Array2<C::Elem>,
    /// Those of the layer; empty without one.
    logits: Array2<C::Elem>,
    workspace: C::Workspace,
    products: Workspace<C::Elem>,
    /// The states of rows that are no longer computed, in the batch's order.
    finals: C::State,
    lengths: Vec<usize>,
    /// (steps, batch, output) and (steps, batch).
    outputs: Vec<C::Elem>,
    samples: Vec<S>,
}

impl<'a, C: RnnCell, H: Helper<Elem = C::Elem>> BasicDecoder<'a, C, H> {
    /// Decodes with `cell` from `initial_state`, which has the helper's batch.
    pub fn new(cell: &'a C, helper: H, initial_state: C::State) -> Self {
        Self { cell, helper, initial_state: Some(initial_state), output_layer: None, run: None }
    }

    /// The layer that turns the cell's outputs into those, such as logits. Default: none.
    #[must_use]
    pub fn output_layer(mut self, output_layer: &'a Dense<C::Elem>) -> Self {
        self.output_layer = Some(output_layer);
        self
    }

    pub(crate) fn output_size(&self) -> usize {
        self.output_layer.map_or(self.cell.output_size(), |layer| layer.kernel().ncols())
    }
}

/// What a decoder has before its first step.
pub(crate) struct Start<C: RnnCell> {
    pub state: C::State,
    /// (batch, input).
    pub inputs: Array2<C::Elem>,
    /// The rows that make no step.
    pub finished: Vec<bool>,
}

impl<C: RnnCell, H: Helper<Elem = C::Elem>> BasicDecoder<'_, C, H> {
    /// # Errors
    /// If the decoder's arguments do not fit together.
    pub(crate) fn start(&mut self) -> Result<Start<C>, Error> {
        let (batch, width) = (self.helper.batch_size(), self.output_size());
        let state = checked_state("initial_state", self.cell, batch, self.initial_state.take())?;
        if let Some(layer) = self.output_layer {
            layer.check_output_layer(self.cell.output_size())?;
        }
        let (mut finished, mut inputs) = (vec![false; batch], zeros((batch, self.cell.input_size())));
        self.helper.initialize(width, &mut inputs, &mut finished)?;
        Ok(Start { state, inputs, finished })
    }
}

impl<C: RnnCell, H: Helper<Elem = C::Elem>> Decoder for BasicDecoder<'_, C, H> {
    type Output = BasicDecoderOutput<C::Elem, H::Sample, C::State>;

    fn is_endless(&self) -> bool {
        self.helper.is_endless()
    }

    fn initialize(&mut self, impute_finished: bool) -> Result<bool, Error> {
        let Start { state, inputs, finished } = self.start()?;
        let (batch, width) = (finished.len(), self.output_size());
        let mut run = Run {
            impute_finished,
            rows: (0..batch).collect(),
            inputs,
            output: zeros((batch, self.cell.output_size())),
            logits: zeros((if self.output_layer.is_some() { batch } else { 0 }, width)),
            workspace: C::Workspace::default(),
            products: Workspace::default(),
            finals: state.clone(),
            state,
            lengths: vec![0; batch],
            outputs: Vec::new(),
            samples: Vec::new(),
            finished,
        };
        let ended = run.drop_finished();
        self.run = Some(run);
        Ok(ended)
    }

    fn step(&mut self, time: usize) -> Result<bool, Error> {
        let run = self.run.as_mut().expect("a decoder is initialized first");
        self.cell.step(&run.inputs, &mut run.state, &mut run.output, &mut run.workspace);
        let outputs = match self.output_layer {
            Some(layer) => {
                layer.forward_rows(&run.output, &mut run.logits, &mut run.products);
                &run.logits
            }
            None => &run.output,
        };
        let mut samples = vec![H::Sample::default(); run.rows.len()];
        let mut finished = vec![false; run.rows.len()];
        self.helper.next(HelperStep {
            time,
            rows: &run.rows,
            outputs,
            samples: &mut samples,
            next_inputs: &mut run.inputs,
            finished: &mut finished,
        })?;
        let (batch, width) = (run.lengths.len(), outputs.ncols());
        let (first, first_sample) = (run.outputs.len(), run.samples.len());
        run.outputs.resize(first + batch * width, C::Elem::default());
        run.samples.resize(first_sample + batch, H::Sample::default());
        for (at, sample) in samples.into_iter().enumerate() {
            let row = run.rows[at];
            let to = run.outputs[first + row * width..][..width].iter_mut();
            to.zip(outputs.row(at)).for_each(|(to, &output)| *to = output);
            run.samples[first_sample + row] = sample;
            if !run.finished[at] {
                run.lengths[row] = time + 1;
            }
            run.finished[at] |= finished[at];
        }
        Ok(run.drop_finished())
    }

    fn finalize(self, time_major: bool) -> Self::Output {
        let width = self.output_size();
        let mut run = self.run.expect("a decoder is initialized first");
        for (at, &row) in run.rows.iter().enumerate() {
            run.finals.copy_row(row, &run.state, at);
        }
        let batch = run.lengths.len();
        let steps = run.samples.len().checked_div(batch).unwrap_or(0);
        let outputs = Array3::from_shape_vec((steps, batch, width), run.outputs).expect("every step has all rows");
        let samples = Array2::from_shape_vec((steps, batch), run.samples).expect("every step has all rows");
        BasicDecoderOutput {
            rnn_output: by_batch(outputs, time_major),
            sample_id: by_batch(samples, time_major),
            state: run.finals,
            sequence_lengths: run.lengths,
        }
    }
}

impl<C: RnnCell, S> Run<C, S> {
    /// Leaves out rows that have finished, if they are not to go on. Returns whether all have finished.
    fn drop_finished(&mut self) -> bool {
        let ended = self.finished.iter().all(|&finished| finished);
        if !self.impute_finished || !self.finished.contains(&true) {
            return ended;
        }
        let going: Vec<usize> = (0..self.rows.len()).filter(|&at| !self.finished[at]).collect();
        for (at, &row) in self.rows.iter().enumerate() {
            if self.finished[at] {
                self.finals.copy_row(row, &self.state, at);
            }
        }
        self.state = self.state.select_rows(&going);
        self.inputs = self.inputs.select(Axis(0), &going);
        self.output.truncate_rows(going.len());
        self.logits.truncate_rows(going.len().min(self.logits.nrows()));
        self.rows = going.iter().map(|&at| self.rows[at]).collect();
        self.finished = vec![false; going.len()];
        ended
    }
}

/// An array (steps, batch, …), as it is or with the first two axes swapped.
pub(crate) fn by_batch<A: Clone, D: ndarray::Dimension>(
    mut array: ndarray::Array<A, D>,
    time_major: bool,
) -> ndarray::Array<A, D> {
    if time_major {
        return array;
    }
    array.swap_axes(0, 1);
    array.as_standard_layout().into_owned()
}

impl<C: RnnCell, H: Helper<Elem = C::Elem>> std::fmt::Debug for BasicDecoder<'_, C, H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BasicDecoder").field("batch_size", &self.helper.batch_size()).finish_non_exhaustive()
    }
}
