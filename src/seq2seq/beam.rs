//! [`BeamSearchDecoder`]: keeps the best beginnings of each row.

use super::basic::by_batch;
use super::beam_step::{Beam, Candidates, Penalties};
use super::decode::Decoder;
use super::embedding_helper::Tokens;
use super::state::tile_batch;
use super::tree::gather_tree;
use crate::checks::{check_finite, check_number, check_shape, check_sizes, checked_state};
use crate::fused::Workspace;
use crate::kernel::zeros;
use crate::{Dense, Embedding, Error, Float, RnnCell, State};
use ndarray::{Array2, Array3};

/// Searches for the most probable sequences, `beam_width` at a time: TensorFlow 1's `BeamSearchDecoder`. Run it with
/// [`dynamic_decode`](super::dynamic_decode).
///
/// ```text
/// score = log probability / ((5 + length) / 6)^length_penalty_weight  + coverage penalty of finished beams
/// ```
///
/// Each step keeps the `beam_width` best of all continuations of all beams of a row; of equal scores the earlier beam
/// and token win. A beam that emits the end token is finished and competes with its score. As in TensorFlow, its length
/// counts the end token from the next step on, and if there are fewer live continuations than beams, others of finished
/// beams fill the rest, scored with the lowest finite number. Without penalties a beam of 1 is greedy decoding.
///
/// With a penalty, the order of a row's final beams may depend on the other rows, as in TensorFlow: a beam that ended in
/// the last step has its end token and its coverage counted in the next one, which runs only if some row needs it.
///
/// The state is that of a batch that is not tiled: every beam starts from its row, and shares the row's memory. Finished
/// beams are not computed, so their final cell state is the one they finished with; in TensorFlow it goes on.
/// Here `lengths` follow the beams; `sequence_lengths` of TensorFlow's `dynamic_decode` belong to places in the list of
/// beams. Alignment histories are always those of the beams. (With `reorder_tensor_arrays=True`, TensorFlow reads a
/// step's from the place where the beam went, not from where it was.)
pub struct BeamSearchDecoder<'a, C: RnnCell> {
    cell: &'a C,
    tokens: Tokens<'a, C::Elem>,
    initial_state: C::State,
    beam_width: usize,
    output_layer: Option<&'a Dense<C::Elem>>,
    penalties: Penalties,
    run: Option<Run<C>>,
}

/// What a [`BeamSearchDecoder`] returns. The best beam of a row comes first.
#[derive(Debug, Clone, PartialEq)]
pub struct BeamSearchDecoderOutput<E, S> {
    /// The tokens of the final beams, (batch, steps, beam), filled up with the end token.
    pub predicted_ids: Array3<usize>,
    /// The scores of the beams after each step, (batch, steps, beam). The last step has
    /// those of the final beams.
    pub scores: Array3<E>,
    /// The token each step chose, (batch, steps, beam).
    pub step_ids: Array3<usize>,
    /// The beam of the step before that each token continues, (batch, steps, beam).
    pub parent_ids: Array3<usize>,
    /// The cell's state, (batch · beam) rows.
    pub state: S,
    /// The log probabilities of the final beams, (batch, beam): their scores without penalties.
    pub log_probs: Array2<E>,
    /// The steps of the final beams, (batch, beam), with the end token.
    pub lengths: Array2<usize>,
    /// Whether the final beams have emitted the end token, (batch, beam).
    pub finished: Array2<bool>,
    /// The sum of the alignments of each beam's steps, (batch, beam, time), if there is a coverage penalty.
    pub accumulated_attention_probs: Option<Array3<E>>,
}

struct Run<C: RnnCell> {
    /// (batch · beam).
    beams: Vec<Beam<C::Elem, C::State>>,
    /// The states of the beams that have not finished, in their order.
    state: C::State,
    inputs: Array2<C::Elem>,
    output: Array2<C::Elem>,
    logits: Array2<C::Elem>,
    workspace: C::Workspace,
    products: Workspace<C::Elem>,
    /// (steps, batch, beam).
    scores: Vec<C::Elem>,
    step_ids: Vec<usize>,
    parent_ids: Vec<usize>,
}

impl<'a, C: RnnCell> BeamSearchDecoder<'a, C> {
    /// Searches with `cell` from `initial_state` (batch), with `beam_width` beams per row. Tokens are read through
    /// `embedding`: a start token per row, then those chosen until the end token. Outputs are logits.
    pub fn new(
        cell: &'a C,
        embedding: &'a Embedding<C::Elem>,
        (start_tokens, end_token): (Vec<usize>, usize),
        initial_state: C::State,
        beam_width: usize,
    ) -> Self {
        let tokens = Tokens { embedding, start_tokens, end_token };
        let penalties = Penalties { length: 0.0, coverage: 0.0 };
        Self { cell, tokens, initial_state, beam_width, output_layer: None, penalties, run: None }
    }

    /// The layer that turns the cell's outputs into logits. Default: none.
    #[must_use]
    pub fn output_layer(mut self, output_layer: &'a Dense<C::Elem>) -> Self {
        self.output_layer = Some(output_layer);
        self
    }

    /// The exponent of the length penalty: above 0 favors longer sequences. Must be finite. Default: 0, no penalty.
    #[must_use]
    pub fn length_penalty_weight(mut self, length_penalty_weight: f64) -> Self {
        self.penalties.length = length_penalty_weight;
        self
    }

    /// The factor of the coverage penalty Σ ln(min(Σ alignments, 1)) over the memory, which a finished beam gets (Wu et
    /// al., 2016). Steps of the memory that were never attended to are left out, as in TensorFlow. Must be finite, and 0
    /// if no cell attends, or if memories differ in length. Default: 0, no penalty.
    #[must_use]
    pub fn coverage_penalty_weight(mut self, coverage_penalty_weight: f64) -> Self {
        self.penalties.coverage = coverage_penalty_weight;
        self
    }

    fn output_size(&self) -> usize {
        self.output_layer.map_or(self.cell.output_size(), |layer| layer.kernel().ncols())
    }
}

impl<C: RnnCell> Decoder for BeamSearchDecoder<'_, C> {
    type Output = BeamSearchDecoderOutput<C::Elem, C::State>;

    fn is_endless(&self) -> bool {
        true
    }

    fn initialize(&mut self, _: bool) -> Result<bool, Error> {
        check_sizes(&[("beam_width", self.beam_width)])?;
        check_finite("length_penalty_weight", self.penalties.length)?;
        check_finite("coverage_penalty_weight", self.penalties.coverage)?;
        let (batch, inputs) = (self.tokens.start_tokens.len(), self.cell.input_size());
        let state = checked_state("initial_state", self.cell, batch, Some(self.initial_state.clone()))?;
        if let Some(layer) = self.output_layer {
            layer.check_output_layer(self.cell.output_size())?;
        }
        let mut first = zeros((batch, inputs));
        self.tokens.initialize(self.output_size(), &mut first)?;
        let coverage = self.penalties.coverage;
        let accumulated = if coverage == 0.0 { None } else { mean_alignments(&state)? };
        let attends = accumulated.is_some() || coverage == 0.0;
        check_number("coverage_penalty_weight", coverage, attends, "0 if no cell attends")?;
        let beams = (0..batch * self.beam_width).map(|at| {
            let row = at / self.beam_width;
            Beam::first(at % self.beam_width == 0, accumulated.as_ref().map(|all| all.row(row).to_vec()))
        });
        self.run = Some(Run {
            beams: beams.collect(),
            state,
            inputs: first,
            output: zeros((batch, self.cell.output_size())),
            logits: zeros((batch, self.output_size())),
            workspace: C::Workspace::default(),
            products: Workspace::default(),
            scores: Vec::new(),
            step_ids: Vec::new(),
            parent_ids: Vec::new(),
        });
        Ok(batch == 0)
    }

    fn step(&mut self, time: usize) -> Result<bool, Error> {
        let run = self.run.as_mut().expect("a decoder is initialized first");
        run.resize(run.inputs.nrows());
        self.cell.step(&run.inputs, &mut run.state, &mut run.output, &mut run.workspace);
        match self.output_layer {
            Some(layer) => layer.forward_rows(&run.output, &mut run.logits, &mut run.products),
            None => run.logits.assign(&run.output),
        }
        if self.penalties.coverage != 0.0 {
            let alignments = mean_alignments(&run.state)?.expect("the cell attends");
            let live = run.beams.iter_mut().filter(|beam| !beam.finished);
            live.zip(alignments.rows()).for_each(|(beam, alignments)| beam.accumulate(alignments));
        }
        let mut live = 0;
        let mut next = Vec::with_capacity(run.beams.len());
        let (mut rows, mut tokens) = (Vec::new(), Vec::new());
        for (row, beams) in run.beams.chunks(self.beam_width).enumerate() {
            let mut candidates = Candidates::new(self.beam_width, self.tokens.end_token, self.penalties);
            let first_live = live;
            for beam in beams {
                if beam.finished {
                    candidates.add_finished(beam, run.logits.ncols());
                } else {
                    candidates.add_live(beam, (row, time), &run.logits.row(live))?;
                    live += 1;
                }
            }
            for chosen in candidates.into_best() {
                let parent = &beams[chosen.parent];
                let state_row = first_live + beams[..chosen.parent].iter().filter(|beam| !beam.finished).count();
                let beam = parent.next(&chosen, self.tokens.end_token, || run.state.select_rows(&[state_row]));
                if !beam.finished {
                    rows.push(state_row);
                    tokens.push(chosen.token);
                }
                next.push(beam);
                run.scores.push(chosen.score);
                run.step_ids.push(chosen.token);
                run.parent_ids.push(chosen.parent);
            }
        }
        run.beams = next;
        run.state = run.state.select_rows(&rows);
        run.inputs = zeros((rows.len(), run.inputs.ncols()));
        self.tokens.embedding.lookup_into(&tokens, &mut run.inputs)?;
        Ok(rows.is_empty())
    }

    fn finalize(self, time_major: bool) -> Self::Output {
        let run = self.run.expect("a decoder is initialized first");
        let (width, batch) = (self.beam_width, self.tokens.start_tokens.len());
        let steps = run.scores.len().checked_div(batch * width).unwrap_or(0);
        let shape = (steps, batch, width);
        let steps_of = |ids| Array3::from_shape_vec(shape, ids).expect("every step has all beams");
        let (step_ids, parent_ids) = (steps_of(run.step_ids), steps_of(run.parent_ids));
        let scores = Array3::from_shape_vec(shape, run.scores).expect("every step has all beams");
        let mut state = tile_batch(&self.initial_state, width);
        let mut live = 0;
        for (at, beam) in run.beams.iter().enumerate() {
            if let Some(ended) = &beam.ended {
                state.copy_row(at, ended, 0);
            } else if !beam.finished {
                state.copy_row(at, &run.state, live);
                live += 1;
            }
        }
        let lengths = Array2::from_shape_fn((batch, width), |(row, beam)| run.beams[row * width + beam].length);
        let longest: Vec<usize> =
            lengths.rows().into_iter().map(|row| row.iter().copied().max().unwrap_or(0)).collect();
        let predicted_ids = gather_tree(&step_ids, &parent_ids, &longest, self.tokens.end_token);
        let time = run.beams.first().and_then(|beam| beam.accumulated.as_ref()).map(Vec::len);
        BeamSearchDecoderOutput {
            predicted_ids: by_batch(predicted_ids.expect("parents are beams"), time_major),
            scores: by_batch(scores, time_major),
            step_ids: by_batch(step_ids, time_major),
            parent_ids: by_batch(parent_ids, time_major),
            state,
            log_probs: Array2::from_shape_fn((batch, width), |(row, beam)| run.beams[row * width + beam].log_prob),
            finished: Array2::from_shape_fn((batch, width), |(row, beam)| run.beams[row * width + beam].finished),
            accumulated_attention_probs: time.map(|time| {
                let all = run.beams.iter().flat_map(|beam| beam.accumulated.iter().flatten().copied());
                Array3::from_shape_vec((batch, width, time), all.collect()).expect("every beam has as many steps")
            }),
            lengths,
        }
    }
}

impl<C: RnnCell> Run<C> {
    /// Makes room for the outputs of so many rows.
    fn resize(&mut self, rows: usize) {
        if self.output.nrows() != rows {
            self.output = zeros((rows, self.output.ncols()));
            self.logits = zeros((rows, self.logits.ncols()));
        }
    }
}

/// The alignments of a state, (batch, time): the mean of its mechanisms'. `None` if nothing attends.
///
/// # Errors
/// [`Error::ArrayShape`] if their memories differ in length.
fn mean_alignments<E: Float, S: State<E>>(state: &S) -> Result<Option<Array2<E>>, Error> {
    let (mut sum, mut count, mut fits) = (None::<Array2<E>>, 0, Ok(()));
    state.visit_alignments(&mut |alignments| {
        match &mut sum {
            None => sum = Some(alignments.to_owned()),
            Some(sum) if sum.dim() == alignments.dim() => *sum += &alignments,
            Some(sum) if fits.is_ok() => {
                let name = format!("with a coverage penalty, the alignments of mechanism {count}");
                fits = check_shape(name, sum.shape(), alignments.shape());
            }
            Some(_) => (),
        }
        count += 1;
    });
    fits.map(|()| sum.map(|sum| sum / E::of(f64::from(count))))
}

impl<C: RnnCell> std::fmt::Debug for BeamSearchDecoder<'_, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BeamSearchDecoder").field("beam_width", &self.beam_width).finish_non_exhaustive()
    }
}
