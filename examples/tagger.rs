//! Three bidirectional layers learn to tag the words of sentences of different lengths.
//!
//! "old" is an adjective in "the old man sat" and a noun in "the old man the boat". Only the words after it tell, so the
//! tagger must read a sentence from both ends.

mod training;

use ndarray::{Array2, Array3};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::train::{Adam, Gradients, Optimizer, Parts, clip_by_global_norm, sequence_loss, sequence_weights};
use rnn_cell::{Bidirectional, Dense, Embedding, Error, Gru, ParametersMut, StackBidirectionalRnn, argmax};
use training::Progress;

const WORDS: [&str; 13] =
    ["the", "a", "they", "and", "old", "light", "man", "boat", "fire", "dog", "sat", "sank", "fades"];
const TAGS: [&str; 6] = ["determiner", "pronoun", "conjunction", "adjective", "noun", "verb"];
const DEPTH: usize = 3;
const HIDDEN: usize = 12;

fn main() -> Result<(), Error> {
    let (model, accuracy) = learn(120)?;
    println!("accuracy on new sentences {accuracy:.3}");
    for sentence in ["the old man sat", "the old man the boat", "they light a fire and the light fades"] {
        println!("{}", model.tagged(sentence)?);
    }
    Ok(())
}

/// Sentences, padded to the longest.
struct Lesson {
    /// (batch, seq), numbers in `WORDS`.
    words: Array2<usize>,
    lengths: Vec<usize>,
    /// (batch, seq), numbers in `TAGS`.
    tags: Array2<usize>,
    /// (batch, seq): 1 at each word, 0 in the padding.
    weights: Array2<f32>,
}

impl Lesson {
    fn new(sentences: usize, rng: &mut Xoshiro256PlusPlus) -> Result<Self, Error> {
        let sentences: Vec<Vec<(usize, usize)>> = (0..sentences).map(|_| sentence(rng)).collect();
        let lengths: Vec<usize> = sentences.iter().map(Vec::len).collect();
        let seq = lengths.iter().copied().max().unwrap_or(0);
        let at = |row: usize, step: usize| sentences[row].get(step).copied().unwrap_or((0, 0));
        let shape = (sentences.len(), seq);
        Ok(Self {
            words: Array2::from_shape_fn(shape, |(row, step)| at(row, step).0),
            tags: Array2::from_shape_fn(shape, |(row, step)| at(row, step).1),
            weights: sequence_weights(&lengths, seq)?,
            lengths,
        })
    }
}

/// One to three clauses: words and tags.
fn sentence(rng: &mut Xoshiro256PlusPlus) -> Vec<(usize, usize)> {
    let mut text = clause(rng);
    for _ in 0..rng.random_range(0..3) {
        text.push_str(" and/conjunction ");
        text += &clause(rng);
    }
    let place =
        |list: &[&str], wanted: &str| list.iter().position(|&one| one == wanted).expect("the lists are complete");
    let tagged = text.split(' ').filter_map(|word| word.split_once('/'));
    tagged.map(|(word, tag)| (place(&WORDS, word), place(&TAGS, tag))).collect()
}

fn clause(rng: &mut Xoshiro256PlusPlus) -> String {
    let mut one_of = |list: &[&str]| list[rng.random_range(0..list.len())].to_owned();
    let mut thing =
        || format!("{}/determiner {}/noun", one_of(&["the", "a"]), one_of(&["man", "boat", "fire", "light", "dog"]));
    let (object, subject) = (thing(), thing());
    let does = one_of(&["light", "man", "fire"]);
    match one_of(&["plain", "adjective", "old ones", "they"]).as_str() {
        "plain" => format!("{subject} {}/verb", one_of(&["sat", "sank", "fades"])),
        "adjective" => {
            let (adjective, noun) = (one_of(&["old", "light"]), one_of(&["man", "boat", "fire", "light", "dog"]));
            format!("the/determiner {adjective}/adjective {noun}/noun {}/verb", one_of(&["sat", "sank", "fades"]))
        }
        "old ones" => format!("the/determiner old/noun {does}/verb {object}"),
        _ => format!("they/pronoun {does}/verb {object}"),
    }
}

/// A row of numbers for each word, the layers, and a layer that scores each tag.
pub struct Model {
    embedding: Embedding<f32>,
    layers: Bidirectional<Vec<Gru<f32>>>,
    dense: Dense<f32>,
}

impl Model {
    fn new(rng: &mut Xoshiro256PlusPlus) -> Self {
        let mut layers = Bidirectional { fw: Vec::new(), bw: Vec::new() };
        for layer in 0..DEPTH {
            let input = if layer == 0 { HIDDEN } else { 2 * HIDDEN };
            layers.fw.push(Gru::new(input, HIDDEN, rng));
            layers.bw.push(Gru::new(input, HIDDEN, rng));
        }
        Self {
            embedding: Embedding::new(WORDS.len(), HIDDEN, rng),
            layers,
            dense: Dense::new(2 * HIDDEN, TAGS.len(), rng),
        }
    }

    /// The scores of the tags, (batch, seq, tags).
    fn logits(&self, words: &Array2<usize>, lengths: &[usize]) -> Result<Array3<f32>, Error> {
        let driver = StackBidirectionalRnn::new(&self.layers.fw, &self.layers.bw).sequence_length(lengths);
        let (outputs, ..) = driver.run(&self.embedding.lookup(words)?)?;
        self.dense.forward(&outputs)
    }

    /// Takes one step of Adam and returns the loss before it.
    fn train(&mut self, adam: &mut Adam<f32>, lesson: &Lesson) -> Result<f32, Error> {
        let x = self.embedding.lookup(&lesson.words)?;
        let driver = StackBidirectionalRnn::new(&self.layers.fw, &self.layers.bw).sequence_length(&lesson.lengths);
        let (outputs, _, tape) = driver.record(&x)?;
        let logits = self.dense.forward(&outputs)?;
        let (loss, d_logits) = sequence_loss(&logits, &lesson.tags, &lesson.weights)?;

        let (d_outputs, d_dense) = self.dense.backward(&outputs, &d_logits)?;
        let back = tape.backward(&d_outputs)?;
        let d_embedding = self.embedding.backward(&lesson.words, &back.inputs)?;
        let parts = [("embedding", d_embedding), ("layers", back.parameters), ("dense", d_dense)];
        let mut gradients = Gradients::join(parts);
        clip_by_global_norm(&mut gradients, 1.0)?;
        adam.apply_gradients(&mut self.parts(), &gradients)?;
        Ok(loss)
    }

    fn parts(&mut self) -> Parts<'_, &mut dyn ParametersMut<f32>> {
        Parts::new([("embedding", &mut self.embedding), ("layers", &mut self.layers), ("dense", &mut self.dense)])
    }

    /// The share of words with the right tag.
    fn accuracy(&self, lesson: &Lesson) -> Result<f64, Error> {
        let tags = argmax(&self.logits(&lesson.words, &lesson.lengths)?)?;
        let right =
            tags.iter().zip(&lesson.tags).zip(&lesson.weights).filter(|((a, b), w)| a == b && **w > 0.0).count();
        Ok(right as f64 / lesson.lengths.iter().sum::<usize>() as f64)
    }

    /// The words of a sentence, each with its tag. Words that the model does not know are left out.
    pub fn tagged(&self, sentence: &str) -> Result<String, Error> {
        let words: Vec<usize> = sentence.split(' ').filter_map(|word| WORDS.iter().position(|w| *w == word)).collect();
        let (length, words) = (words.len(), Array2::from_shape_fn((1, words.len()), |(_, step)| words[step]));
        let tags = argmax(&self.logits(&words, &[length])?)?;
        let named = words.iter().zip(&tags).map(|(&word, &tag)| format!("{} ({})", WORDS[word], TAGS[tag]));
        Ok(named.collect::<Vec<_>>().join(" "))
    }
}

/// Trains for `steps`. Returns the model and the share of words it tags right in sentences it has not seen.
pub fn learn(steps: usize) -> Result<(Model, f64), Error> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let (mut model, lesson) = (Model::new(&mut rng), Lesson::new(128, &mut rng)?);
    let exam = Lesson::new(200, &mut rng)?;
    let mut adam = Adam::builder().learning_rate(0.02).build(&model.parts())?;
    let progress = Progress::new(steps);
    for step in 1..=steps {
        let loss = model.train(&mut adam, &lesson)?;
        progress.show(step, format!("loss {loss:.4}"));
        if step % 20 == 0 {
            progress.println(format!("step {step:3}  loss {loss:.4}  accuracy {:.3}", model.accuracy(&exam)?));
        }
    }
    progress.clear();
    let accuracy = model.accuracy(&exam)?;
    Ok((model, accuracy))
}
