//! An encoder that reads letters both ways, and a decoder that attends to what it read.

use super::data::Pair;
use ndarray::{Array2, Array3, Axis, s};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::seq2seq::{
    AttentionState, AttentionWrapper, BahdanauAttention, BasicDecoder, BasicDecoderOutput, BeamSearchDecoder,
    GreedyEmbeddingHelper, dynamic_decode,
};
use rnn_cell::train::{self, Adam, Gradients, Optimizer, Parts, clip_by_global_norm};
use rnn_cell::{
    Dense, Embedding, Error, Gru, Lstm, LstmState, ParametersMut, bidirectional_dynamic_rnn, concat_outputs,
};

/// What people write, in lowercase. Everything else is the last letter.
const LETTERS: &str = " ,./-0123456789abcdefghijklmnopqrstuvwxyz?";
/// What the model writes.
const DIGITS: &str = "0123456789-";
const START: usize = 11;
const END: usize = 12;
/// The digits of a date, and the end.
const STEPS: usize = 11;

const EMBEDDED: usize = 16;
const ENCODER: usize = 32;
const DECODER: usize = 64;

pub struct Model {
    letters: Embedding<f32>,
    encoder_fw: Gru<f32>,
    encoder_bw: Gru<f32>,
    digits: Embedding<f32>,
    cell: AttentionWrapper<Lstm<f32>>,
    dense: Dense<f32>,
}

type State = AttentionState<LstmState<f32>, f32>;

impl Model {
    pub fn new(seed: u64) -> Result<Self, Error> {
        let rng = &mut Xoshiro256PlusPlus::seed_from_u64(seed);
        let attention =
            BahdanauAttention::builder(DECODER).memory_depth(2 * ENCODER).query_depth(DECODER).build(rng)?;
        let cell = AttentionWrapper::builder(Lstm::new(EMBEDDED + DECODER, DECODER, rng), [attention])
            .attention_layer_size([DECODER])
            .alignment_history(true)
            .build(rng)?;
        Ok(Self {
            letters: Embedding::new(LETTERS.len(), EMBEDDED, rng),
            encoder_fw: Gru::new(EMBEDDED, ENCODER, rng),
            encoder_bw: Gru::new(EMBEDDED, ENCODER, rng),
            digits: Embedding::new(END + 1, EMBEDDED, rng),
            dense: Dense::new(DECODER, END + 1, rng),
            cell,
        })
    }

    /// All weights, under the names that `train` gives their gradients.
    fn parts(&mut self) -> Parts<'_, &mut dyn ParametersMut<f32>> {
        Parts::new([
            ("letters", &mut self.letters),
            ("encoder/fw", &mut self.encoder_fw),
            ("encoder/bw", &mut self.encoder_bw),
            ("digits", &mut self.digits),
            ("decoder", &mut self.cell),
            ("output_layer", &mut self.dense),
        ])
    }

    pub fn optimizer(&mut self) -> Result<Adam<f32>, Error> {
        Adam::builder().build(&self.parts())
    }

    /// One step on a batch, with teacher forcing. Returns the loss.
    pub fn train(&mut self, batch: &[Pair], optimizer: &mut Adam<f32>) -> Result<f32, Error> {
        let (ids, lengths) = spell(batch.iter().map(|pair| pair.written.as_str()));
        let mut targets = Array2::from_elem((batch.len(), STEPS), END);
        for (row, pair) in batch.iter().enumerate() {
            for (at, digit) in pair.iso.chars().enumerate() {
                targets[[row, at]] = DIGITS.find(digit).unwrap_or(END);
            }
        }
        // The decoder reads what it should have written.
        let mut said = Array2::from_elem((batch.len(), STEPS), START);
        said.slice_mut(s![.., 1..]).assign(&targets.slice(s![.., ..STEPS - 1]));

        let x = self.letters.lookup(&ids)?;
        let ((fw, bw), _, encoder) =
            train::bidirectional_dynamic_rnn(&self.encoder_fw, &self.encoder_bw, &x, Some(&lengths), None, None)?;
        let state = self.cell.attend(&concat_outputs(&fw, &bw), Some(&lengths))?;
        let inputs = self.digits.lookup(&said)?;
        let (outputs, _, tape) = train::dynamic_rnn(&self.cell, &inputs, None, Some(state))?;
        let logits = self.dense.forward(&outputs)?;
        let (loss, d_logits) = train::sequence_loss(&logits, &targets, &Array2::ones(targets.raw_dim()))?;

        let (d_outputs, d_dense) = self.dense.backward(&outputs, &d_logits)?;
        let decoder = tape.backward(&d_outputs)?;
        // The memory is in the initial state, and so is its gradient.
        let d_memory = decoder.initial_state.memory_gradient(0).expect("the decoder ran");
        let (d_fw, d_bw) = d_memory.view().split_at(Axis(2), ENCODER);
        let encoder = encoder.backward(&d_fw, &d_bw)?;
        let d_letters = self.letters.backward(&ids, &encoder.inputs)?;
        let d_digits = self.digits.backward(&said, &decoder.inputs)?;

        let mut gradients = Gradients::join([
            ("letters", d_letters),
            ("encoder", encoder.parameters),
            ("digits", d_digits),
            ("decoder", decoder.parameters),
            ("output_layer", d_dense),
        ]);
        clip_by_global_norm(&mut gradients, 1.0)?;
        optimizer.apply_gradients(&mut self.parts(), &gradients)?;
        Ok(loss)
    }

    /// The state a decoder starts from.
    fn encode(&self, dates: &[&str]) -> Result<State, Error> {
        let (ids, lengths) = spell(dates.iter().copied());
        let x = self.letters.lookup(&ids)?;
        let ((fw, bw), _) =
            bidirectional_dynamic_rnn(&self.encoder_fw, &self.encoder_bw, &x, Some(&lengths), None, None)?;
        self.cell.attend(&concat_outputs(&fw, &bw), Some(&lengths))
    }

    fn decode(&self, dates: &[&str]) -> Result<BasicDecoderOutput<f32, usize, State>, Error> {
        let helper = GreedyEmbeddingHelper::new(&self.digits, vec![START; dates.len()], END);
        let decoder = BasicDecoder::new(&self.cell, helper, self.encode(dates)?).output_layer(&self.dense);
        dynamic_decode(decoder).maximum_iterations(2 * STEPS).run()
    }

    /// The dates in ISO form.
    pub fn translate(&self, dates: &[&str]) -> Result<Vec<String>, Error> {
        Ok(self.decode(dates)?.sample_id.outer_iter().map(|row| written(row.iter())).collect())
    }

    /// A date in ISO form, and where the model looked for each letter it wrote, (written, read).
    pub fn align(&self, date: &str) -> Result<(String, Array2<f32>), Error> {
        let decoded = self.decode(&[date])?;
        let history: Array3<f32> = decoded.state.alignment_history(0);
        Ok((written(decoded.sample_id.row(0).iter()), history.index_axis_move(Axis(1), 0)))
    }

    /// The most probable answers, the best first, with their log probabilities.
    pub fn beams(&self, date: &str, count: usize) -> Result<Vec<(f32, String)>, Error> {
        let tokens = (vec![START], END);
        let search = BeamSearchDecoder::new(&self.cell, &self.digits, tokens, self.encode(&[date])?, count);
        let found = dynamic_decode(search.output_layer(&self.dense)).maximum_iterations(2 * STEPS).run()?;
        let beams = found.predicted_ids.axis_iter(Axis(2)).zip(found.log_probs.row(0).to_vec());
        Ok(beams.map(|(beam, log_prob)| (log_prob, written(beam.row(0).iter()))).collect())
    }
}

/// The letters of words, (batch, longest), and their lengths.
fn spell<'a>(words: impl Iterator<Item = &'a str> + Clone) -> (Array2<usize>, Vec<usize>) {
    let lengths: Vec<usize> = words.clone().map(|word| word.chars().count()).collect();
    let longest = lengths.iter().copied().max().unwrap_or(0);
    let mut ids = Array2::zeros((lengths.len(), longest));
    for (row, word) in words.enumerate() {
        for (at, letter) in word.chars().enumerate() {
            ids[[row, at]] = LETTERS.find(letter.to_ascii_lowercase()).unwrap_or(LETTERS.len() - 1);
        }
    }
    (ids, lengths)
}

/// Tokens up to the end, as text.
fn written<'a>(tokens: impl Iterator<Item = &'a usize>) -> String {
    tokens.take_while(|&&token| token != END).map(|&token| DIGITS.chars().nth(token).unwrap_or('?')).collect()
}
