//! A stacked LSTM learns a sentence in windows of ten letters, and then goes on writing from where it is asked to.

mod training;

use ndarray::{Array2, Array3, ArrayRef1, ArrayRef2, Axis, s};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::train::{self, Adam, AdamOptions, Dense, Gradients, Optimizer, Parts, clip_by_global_norm, sequence_loss};
use rnn_cell::{Error, Lstm, dynamic_rnn, one_hot};
use training::Progress;

const SENTENCE: &str = "if you want to build a ship, don't drum up people together to collect wood and don't assign them \
                        tasks and work, but rather teach them to long for the endless immensity of the sea.";
const WINDOW: usize = 10;
const HIDDEN: usize = 64;

fn main() -> Result<(), Error> {
    let (model, accuracy) = learn(300)?;
    for start in ["if you want", "teach them"] {
        println!("{start}|{}", model.write(start, 80)?);
    }
    println!("accuracy {accuracy:.3}");
    Ok(())
}

/// Two LSTMs, one above the other, and a number for each letter from the outputs of the upper one.
pub struct Model {
    letters: String,
    lower: Lstm<f32>,
    upper: Lstm<f32>,
    dense: Dense<f32>,
}

impl Model {
    /// The letter that follows each letter of each word, (words, letters), as positions in the alphabet.
    fn follow(&self, words: &[&str]) -> Result<Array2<usize>, Error> {
        let x = one_hot(words, &self.letters)?;
        let (below, _) = dynamic_rnn(&self.lower, &x, None, None)?;
        let (outputs, _) = dynamic_rnn(&self.upper, &below, None, None)?;
        Ok(self.dense.forward(&outputs)?.map_axis(Axis(2), |logits| most_probable(&logits)))
    }

    /// Writes on from `start`: `count` letters, each from the ten before it.
    fn write(&self, start: &str, count: usize) -> Result<String, Error> {
        let mut text: Vec<char> = start.chars().collect();
        for _ in 0..count {
            let window: String = text[text.len().saturating_sub(WINDOW)..].iter().collect();
            let next = self.follow(&[&window])?;
            text.extend(self.letters.chars().nth(next[[0, next.ncols() - 1]]));
        }
        Ok(text[start.chars().count()..].iter().collect())
    }

    /// One step of Adam towards `targets` (batch, seq): the loss before it.
    fn train(&mut self, adam: &mut Adam<f32>, x: &Array3<f32>, targets: &ArrayRef2<usize>) -> Result<f32, Error> {
        let (below, _, lower_tape) = train::dynamic_rnn(&self.lower, x, None, None)?;
        let (outputs, _, upper_tape) = train::dynamic_rnn(&self.upper, &below, None, None)?;
        let logits = self.dense.forward(&outputs)?;
        let (loss, d_logits) = sequence_loss(&logits, targets, &Array2::ones(targets.dim()))?;

        let (d_outputs, d_dense) = self.dense.backward(&outputs, &d_logits)?;
        let upper = upper_tape.backward(&d_outputs, None)?;
        let lower = lower_tape.backward(&upper.inputs, None)?;
        let mut gradients =
            Gradients::join([("lower", lower.parameters), ("upper", upper.parameters), ("dense", d_dense)]);
        clip_by_global_norm(&mut gradients, 1.0)?;
        adam.apply_gradients(&mut self.parts(), &gradients)?;
        Ok(loss)
    }

    fn parts(&mut self) -> Parts<'_, f32> {
        Parts::new([("lower", &mut self.lower), ("upper", &mut self.upper), ("dense", &mut self.dense)])
    }
}

/// Trains for at most that many steps, until the whole sentence is right: the model and the share of right letters.
pub fn learn(steps: usize) -> Result<(Model, f64), Error> {
    let sentence: Vec<char> = SENTENCE.chars().collect();
    let mut letters = sentence.clone();
    letters.sort_unstable();
    letters.dedup();
    let place = |letter: &char| letters.iter().position(|other| other == letter).expect("a letter of the sentence");

    // Each window of ten letters, and for each of its letters the one that follows.
    let windows: Vec<String> = sentence[..sentence.len() - 1].windows(WINDOW).map(|w| w.iter().collect()).collect();
    let windows: Vec<&str> = windows.iter().map(String::as_str).collect();
    let targets = Array2::from_shape_fn((windows.len(), WINDOW), |(start, step)| place(&sentence[start + step + 1]));

    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut model = Model {
        letters: letters.iter().collect(),
        lower: Lstm::new(letters.len(), HIDDEN, &mut rng),
        upper: Lstm::new(HIDDEN, HIDDEN, &mut rng),
        dense: Dense::new(HIDDEN, letters.len(), &mut rng),
    };
    let x = one_hot(&windows, &model.letters)?;
    let options = AdamOptions { learning_rate: 0.01, ..AdamOptions::default() };
    let mut adam = Adam::new(&model.parts(), options)?;

    let progress = Progress::new(steps);
    let mut accuracy = 0.0;
    for step in 1..=steps {
        let loss = model.train(&mut adam, &x, &targets)?;
        progress.show(step, format!("loss {loss:.4}, accuracy {accuracy:.3}"));
        if step % 10 != 0 {
            continue;
        }
        // The sentence as the model tells it: the first window's letters, then of each next window the last one.
        let follow = model.follow(&windows)?;
        let told = follow.row(0).into_iter().chain(follow.slice(s![1.., -1]));
        let right = told.zip(&sentence[1..]).filter(|&(&told, letter)| told == place(letter)).count();
        accuracy = right as f64 / (sentence.len() - 1) as f64;
        if step % 50 == 0 || accuracy == 1.0 {
            progress.println(format!("step {step:3}  loss {loss:.4}  accuracy {accuracy:.3}"));
        }
        if accuracy == 1.0 {
            break;
        }
    }
    progress.clear();
    Ok((model, accuracy))
}

fn most_probable(logits: &ArrayRef1<f32>) -> usize {
    logits.indexed_iter().max_by(|(_, a), (_, b)| a.total_cmp(b)).expect("there are letters").0
}
