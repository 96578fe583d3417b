//! The model: a GRU reads the letters, and its last state starts a second GRU that writes the phonemes.
//!
//! The network was trained with an embedding E before each GRU: a letter picks a row of E, which the GRU multiplies by
//! its input weights W. Here W·E is computed once, when the model is loaded, and a letter picks a row of that as a
//! one-hot vector, the input a GRU expects. The answers are the same for four tenths less work.

use ndarray::{Array1, Array2, Array3};
use rnn_cell::fused::Workspace;
use rnn_cell::weights::{Tensors, pytorch, safetensors};
use rnn_cell::{Compressed, Error, Gru, RnnCell, State, WeightFormat, argmax, dynamic_rnn};
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
    logits_kernel: Array2<f32>,
    logits_bias: Array1<f32>,
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
        let model = Self {
            unknown: index(&letters, "<unk>")?,
            word_end: index(&letters, "</s>")?,
            start: index(&phonemes, "<s>")?,
            end: index(&phonemes, "</s>")?,
            encoder: net(gru(&mut tensors, "enc", letters.len())?, format)?,
            decoder: net(gru(&mut tensors, "dec", phonemes.len())?, format)?,
            logits_kernel: tensors.take_matrix("fc_w", (phonemes.len(), HIDDEN))?.reversed_axes(),
            logits_bias: tensors.take_vector("fc_b", phonemes.len())?,
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

    /// Feeds each answer back until all words have ended. Finished rows leave the batch.
    fn decode(&self, mut state: Array2<f32>) -> Vec<Vec<&str>> {
        let mut answers = vec![Vec::new(); state.nrows()];
        let mut words: Vec<usize> = (0..state.nrows()).collect();
        let mut said = vec![self.start; words.len()];
        let mut workspace = Default::default();
        for _ in 0..MAX_PHONEMES {
            let mut x = Array2::zeros((words.len(), self.phonemes.len()));
            said.iter().enumerate().for_each(|(row, &phoneme)| x[[row, phoneme]] = 1.0);
            let mut outputs = Array2::zeros((words.len(), HIDDEN));
            self.decoder.step(&x, &mut state, &mut outputs, &mut workspace);
            let logits = outputs.dot(&self.logits_kernel) + &self.logits_bias;
            let best = argmax(&logits).expect("there are phonemes");

            let going: Vec<usize> = (0..words.len()).filter(|&row| best[row] != self.end).collect();
            if going.len() < words.len() {
                state = state.select_rows(&going);
            }
            words = going.iter().map(|&row| words[row]).collect();
            said = going.iter().map(|&row| best[row]).collect();
            for (&word, &phoneme) in words.iter().zip(&said) {
                answers[word].push(self.phonemes[phoneme].as_str());
            }
            if words.is_empty() {
                break;
            }
        }
        answers
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
    list.ok_or_else(|| Error::InvalidFile { reason: format!("its metadata has no list {name:?}") })
}

fn index(vocabulary: &[String], symbol: &str) -> Result<usize, Error> {
    let index = vocabulary.iter().position(|entry| entry == symbol);
    index.ok_or_else(|| Error::InvalidFile { reason: format!("its vocabulary has no {symbol:?}") })
}
