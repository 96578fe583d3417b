//! A stacked LSTM learns a sentence in windows of ten letters, then continues writing from any start.

mod training;

use ndarray::{Array2, Array3, ArrayRef1, s};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::train::{self, Adam, Gradients, Optimizer, Parts, clip_by_global_norm, sequence_loss};
use rnn_cell::{Dense, Error, Lstm, MultiRnnCell, ParametersMut, dynamic_rnn, one_hot};
use std::ops::Range;
use training::Progress;

const SENTENCE: &str = "if you want to build a ship, don't drum up people together to collect wood and don't assign them \
                        tasks and work, but rather teach them to long for the endless immensity of the sea.";
const WINDOW: usize = 10;
const HIDDEN: usize = 64;

fn main() -> Result<(), Error> {
    let (model, accuracy) = learn(300)?;
    for start in ["i", "teach them"] {
        println!("{start}|{}", model.write(start, 200)?);
    }
    println!("accuracy {accuracy:.3}");
    Ok(())
}

/// Two stacked LSTMs, and a layer that scores each letter from the outputs of the upper one.
pub struct Model {
    letters: String,
    cell: MultiRnnCell<(Lstm<f32>, Lstm<f32>)>,
    dense: Dense<f32>,
}

/// The training data, or some rows of it: windows of letters, and the letter that follows each.
pub struct Lesson {
    /// One-hot, (windows, 10, letters).
    x: Array3<f32>,
    lengths: Vec<usize>,
    /// (windows, 10): the letter that follows the window, at each of its steps.
    targets: Array2<usize>,
    /// (windows, 10): 1 at the last letter of the window, the only step that can know what follows.
    weights: Array2<f32>,
}

impl Lesson {
    pub fn windows(&self) -> usize {
        self.lengths.len()
    }

    /// Some of the windows.
    pub fn rows(&self, rows: Range<usize>) -> Self {
        Self {
            x: self.x.slice(s![rows.clone(), .., ..]).to_owned(),
            lengths: self.lengths[rows.clone()].to_vec(),
            targets: self.targets.slice(s![rows.clone(), ..]).to_owned(),
            weights: self.weights.slice(s![rows, ..]).to_owned(),
        }
    }

    /// For each letter after the first, the ten letters before it; near the start there are fewer, then padding.
    fn new(sentence: &str, letters: &str) -> Result<Self, Error> {
        let sentence: Vec<char> = sentence.chars().collect();
        let ends = 1..sentence.len();
        let lengths: Vec<usize> = ends.clone().map(|end| end.min(WINDOW)).collect();
        let windows = ends.clone().map(|end| {
            let window = sentence[end.saturating_sub(WINDOW)..end].iter();
            window.chain(std::iter::repeat(&sentence[0])).take(WINDOW).collect::<String>()
        });
        let windows: Vec<String> = windows.collect();
        let windows: Vec<&str> = windows.iter().map(String::as_str).collect();
        let next: Vec<usize> = ends.filter_map(|end| letters.chars().position(|l| l == sentence[end])).collect();
        let shape = (windows.len(), WINDOW);
        Ok(Self {
            x: one_hot(&windows, letters)?,
            targets: Array2::from_shape_fn(shape, |(row, _)| next[row]),
            weights: Array2::from_shape_fn(shape, |(row, step)| if step + 1 == lengths[row] { 1.0 } else { 0.0 }),
            lengths,
        })
    }
}

impl Model {
    fn new(letters: String, rng: &mut Xoshiro256PlusPlus) -> Result<Self, Error> {
        let count = letters.chars().count();
        let cell = MultiRnnCell::new((Lstm::new(count, HIDDEN, rng), Lstm::new(HIDDEN, HIDDEN, rng)))?;
        Ok(Self { letters, cell, dense: Dense::new(HIDDEN, count, rng) })
    }

    /// Predicts the letter after each window, as its position in the alphabet.
    fn follow(&self, x: &Array3<f32>, lengths: &[usize]) -> Result<Vec<usize>, Error> {
        let (_, (_, upper)) = dynamic_rnn(&self.cell, x, Some(lengths), None)?;
        Ok(self.dense.forward(&upper.h)?.rows().into_iter().map(|logits| most_probable(&logits)).collect())
    }

    /// The share of windows whose next letter the model tells.
    pub fn accuracy(&self, lesson: &Lesson) -> Result<f64, Error> {
        let told = self.follow(&lesson.x, &lesson.lengths)?;
        let right = told.iter().zip(lesson.targets.column(0)).filter(|(told, target)| told == target).count();
        Ok(right as f64 / told.len() as f64)
    }

    /// Continues `start`, each letter from the ten before it, up to a full stop or `at_most` letters in all.
    fn write(&self, start: &str, at_most: usize) -> Result<String, Error> {
        let mut text: Vec<char> = start.chars().collect();
        while text.len() < at_most && text.last() != Some(&'.') {
            let window: String = text[text.len().saturating_sub(WINDOW)..].iter().collect();
            let x = one_hot(&[&window], &self.letters)?;
            let next = self.follow(&x, &[window.chars().count()])?;
            text.extend(self.letters.chars().nth(next[0]));
        }
        Ok(text[start.chars().count()..].iter().collect())
    }

    /// Takes one step of Adam and returns the loss before it.
    fn train(&mut self, adam: &mut Adam<f32>, lesson: &Lesson) -> Result<f32, Error> {
        let (loss, mut gradients) = self.gradients(lesson)?;
        clip_by_global_norm(&mut gradients, 1.0)?;
        adam.apply_gradients(&mut self.parts(), &gradients)?;
        Ok(loss)
    }

    /// The mean loss of the windows and its gradient.
    pub fn gradients(&self, lesson: &Lesson) -> Result<(f32, Gradients<f32>), Error> {
        let (outputs, _, tape) = train::dynamic_rnn(&self.cell, &lesson.x, Some(&lesson.lengths), None)?;
        let logits = self.dense.forward(&outputs)?;
        let (loss, d_logits) = sequence_loss(&logits, &lesson.targets, &lesson.weights)?;

        let (d_outputs, d_dense) = self.dense.backward(&outputs, &d_logits)?;
        let d_cell = tape.backward(&d_outputs)?.parameters;
        Ok((loss, Gradients::join([("cell", d_cell), ("dense", d_dense)])))
    }

    pub fn parts(&mut self) -> Parts<'_, &mut dyn ParametersMut<f32>> {
        Parts::new([("cell", &mut self.cell), ("dense", &mut self.dense)])
    }
}

/// A new model, its lesson and its optimizer.
pub fn start() -> Result<(Model, Lesson, Adam<f32>), Error> {
    let mut letters: Vec<char> = SENTENCE.chars().collect();
    letters.sort_unstable();
    letters.dedup();
    let mut model = Model::new(letters.iter().collect(), &mut Xoshiro256PlusPlus::seed_from_u64(1))?;
    let lesson = Lesson::new(SENTENCE, &model.letters)?;
    let adam = Adam::builder().learning_rate(0.01).build(&model.parts())?;
    Ok((model, lesson, adam))
}

/// Trains for at most `steps`, until every letter is right. Returns the model and the share of right letters.
pub fn learn(steps: usize) -> Result<(Model, f64), Error> {
    let (mut model, lesson, mut adam) = start()?;

    let progress = Progress::new(steps);
    let mut accuracy = 0.0;
    for step in 1..=steps {
        let loss = model.train(&mut adam, &lesson)?;
        progress.show(step, format!("loss {loss:.4}, accuracy {accuracy:.3}"));
        if step % 10 != 0 {
            continue;
        }
        accuracy = model.accuracy(&lesson)?;
        progress.println(format!("step {step:3}  loss {loss:.4}  accuracy {accuracy:.3}"));
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
