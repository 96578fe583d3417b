//! The model: a GRU reads the letters, and its last state starts a second GRU that writes the phonemes.
//!
//! The network was trained with an embedding E before each GRU: a letter picks a row of E, which the GRU multiplies by
//! its input weights W. Here W·E is computed once, when the model is loaded, and a letter picks a row of that as a
//! one-hot vector, the input a GRU expects. The answers are the same for four tenths less work.

use ndarray::{Array2, Array3, Axis};
use rnn_cell::fused::Workspace;
use rnn_cell::seq2seq::{BasicDecoder, BeamSearchDecoder, GreedyEmbeddingHelper, dynamic_decode};
use rnn_cell::weights::{Tensors, pytorch, safetensors};
use rnn_cell::{Compressed, Dense, Embedding, Error, Gru, RnnCell, WeightFormat, dynamic_rnn};
use std::collections::{BTreeMap, HashMap};

/// Maximum number of phonemes in an answer.
const MAX_PHONEMES: usize = 20;
/// Units of both GRUs, and features of their embeddings.
const HIDDEN: usize = 256;
/// Words per batch. A larger batch shares each load of the weights; a smaller one pads less.
const BATCH: usize = 192;

/// English spelling to phonemes: the network of the Python package g2p-en.
pub struct G2p {
    letters: HashMap<String, usize>,
    phonemes: Vec<String>,
    unknown: usize,
    word_end: usize,
    start: usize,
    end: usize,
    encoder: Net,
    decoder: Net,
    /// One-hot vectors of the phonemes, the decoder's inputs.
    one_hot: Embedding<f32>,
    logits: Dense<f32>,
}

/// A GRU, or the same with weights of 16 or 8 bits.
type Net = Box<dyn RnnCell<Elem = f32, State = Array2<f32>, Workspace = Workspace<f32>> + Send + Sync>;

impl G2p {
    /// Builds the model from a file's bytes. With a format, the GRUs' weights are compressed.
    pub fn from_bytes(bytes: &[u8], format: Option<WeightFormat>) -> Result<Self, Error> {
        let metadata = safetensors::read_metadata(bytes)?;
        let letters = vocabulary(&metadata, "graphemes")?;
        let phonemes = vocabulary(&metadata, "phonemes")?;
        let mut tensors = safetensors::read_tensors::<f32>(bytes)?;
        let kernel = tensors.take_matrix("fc_w", (phonemes.len(), HIDDEN))?.reversed_axes();
        let bias = tensors.take_vector("fc_b", phonemes.len())?;
        let model = Self {
            unknown: index(&letters, "<unk>")?,
            word_end: index(&letters, "</s>")?,
            start: index(&phonemes, "<s>")?,
            end: index(&phonemes, "</s>")?,
            encoder: net(gru(&mut tensors, "enc", letters.len())?, format)?,
            decoder: net(gru(&mut tensors, "dec", phonemes.len())?, format)?,
            one_hot: Embedding::from_weights(Array2::eye(phonemes.len()))?,
            logits: Dense::from_weights(kernel, Some(bias))?,
            letters: letters.into_iter().enumerate().map(|(index, letter)| (letter, index)).collect(),
            phonemes,
        };
        tensors.finish()?;
        Ok(model)
    }

    /// The phonemes of each word. The network knows only a–z; all other letters, including capitals, are unknown.
    pub fn phonemes(&self, words: &[impl AsRef<str>]) -> Vec<Vec<&str>> {
        words.chunks(BATCH).flat_map(|words| self.decode(self.encode(words))).collect()
    }

    /// The encoder's last state for each word, (words, hidden).
    fn encode(&self, words: &[impl AsRef<str>]) -> Array2<f32> {
        let words: Vec<Vec<usize>> = words.iter().map(|word| self.spell(word.as_ref())).collect();
        let lengths: Vec<usize> = words.iter().map(Vec::len).collect();
        let seq = lengths.iter().copied().max().unwrap_or(0);
        let mut x = Array3::zeros((words.len(), seq, self.letters.len()));
        for (row, word) in words.iter().enumerate() {
            for (step, &letter) in word.iter().enumerate() {
                x[[row, step, letter]] = 1.0;
            }
        }
        let (_, state) = dynamic_rnn(&self.encoder, &x, Some(&lengths), None).expect("lengths are at most seq");
        state
    }

    fn spell(&self, word: &str) -> Vec<usize> {
        let mut buffer = [0; 4];
        let letters = word.chars().map(|c| self.letters.get(c.encode_utf8(&mut buffer)).copied());
        letters.map(|letter| letter.unwrap_or(self.unknown)).chain([self.word_end]).collect()
    }

    /// Feeds each phoneme back until its word has ended. Words that have ended are no longer computed.
    fn decode(&self, state: Array2<f32>) -> Vec<Vec<&str>> {
        let starts = vec![self.start; state.nrows()];
        let helper = GreedyEmbeddingHelper::new(&self.one_hot, starts, self.end);
        let decoder = BasicDecoder::new(&self.decoder, helper, state).output_layer(&self.logits);
        let decoded = dynamic_decode(decoder).maximum_iterations(MAX_PHONEMES).run().expect("states are the encoder's");
        let answers = decoded.sample_id.outer_iter().zip(&decoded.sequence_lengths);
        answers.map(|(answer, &length)| self.names(answer.iter().take(length))).collect()
    }

    /// The `count` most probable pronunciations of a word, the best first, with their log probabilities.
    pub fn pronunciations(&self, word: &str, count: usize) -> Result<Vec<(Vec<&str>, f32)>, Error> {
        let tokens = (vec![self.start], self.end);
        let search = BeamSearchDecoder::new(&self.decoder, &self.one_hot, tokens, self.encode(&[word]), count);
        let found = dynamic_decode(search.output_layer(&self.logits)).maximum_iterations(MAX_PHONEMES).run()?;
        let beams = found.predicted_ids.axis_iter(Axis(2)).zip(found.log_probs.row(0).to_vec());
        Ok(beams.map(|(answer, log_prob)| (self.names(answer.row(0).iter()), log_prob)).collect())
    }

    /// The names of phonemes up to the end.
    fn names<'a>(&self, phonemes: impl Iterator<Item = &'a usize>) -> Vec<&str> {
        phonemes.take_while(|&&phoneme| phoneme != self.end).map(|&phoneme| self.phonemes[phoneme].as_str()).collect()
    }
}

fn net(gru: Gru<f32>, format: Option<WeightFormat>) -> Result<Net, Error> {
    Ok(match format {
        None => Box::new(gru),
        Some(format) => Box::new(Compressed::new(gru, format)?),
    })
}

/// Builds a GRU from `enc_w_hh`, `enc_b_ih`, …, an `nn.GRU`'s tensors under other names, and folds the embedding in.
fn gru(tensors: &mut Tensors<'_, f32>, side: &str, symbols: usize) -> Result<Gru<f32>, Error> {
    let embedding = tensors.take_matrix(&format!("{side}_emb"), (symbols, HIDDEN))?;
    let input_weights = tensors.take_matrix(&format!("{side}_w_ih"), (3 * HIDDEN, HIDDEN))?;
    tensors.insert(format!("{side}.weight_ih_l0"), input_weights.dot(&embedding.t()));
    for (theirs, name) in [("w_hh", "weight_hh"), ("b_ih", "bias_ih"), ("b_hh", "bias_hh")] {
        tensors.rename(&format!("{side}_{theirs}"), format!("{side}.{name}_l0"))?;
    }
    Ok(pytorch::gru(tensors, &format!("{side}."))?.into_cells().remove(0))
}

fn vocabulary(metadata: &BTreeMap<String, String>, name: &str) -> Result<Vec<String>, Error> {
    let list = metadata.get(name).and_then(|list| serde_json::from_str(list).ok());
    list.ok_or_else(|| Error::InvalidFile {
        format: "safetensors",
        reason: format!("its metadata has no list {name:?}"),
    })
}

fn index(vocabulary: &[String], symbol: &str) -> Result<usize, Error> {
    let index = vocabulary.iter().position(|entry| entry == symbol);
    index.ok_or_else(|| Error::InvalidFile {
        format: "safetensors",
        reason: format!("its vocabulary has no {symbol:?}"),
    })
}
