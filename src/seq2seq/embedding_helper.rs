//! Helpers that feed tokens back through an embedding.

use super::choice::{Draws, best};
use super::helper::{Helper, HelperStep, HelperStepBack, TrainableHelper, check_input, reads_no_output};
use crate::checks::check_positive;
use crate::{Embedding, Error, Float};
use ndarray::ArrayRef2;

/// Tokens that start rows, and the one that ends them.
#[derive(Debug, Clone)]
pub(super) struct Tokens<'a, E> {
    pub embedding: &'a Embedding<E>,
    pub start_tokens: Vec<usize>,
    pub end_token: usize,
}

impl<E: Float> Tokens<'_, E> {
    /// `Err` unless all tokens are in the vocabulary of the embedding and of outputs so wide.
    fn check(&self, output_size: usize) -> Result<(), Error> {
        for (place, &token) in self.start_tokens.iter().enumerate() {
            self.embedding.check_token(format_args!("start_tokens[{place}]"), token)?;
        }
        check_classes(self.embedding, output_size)?;
        if self.end_token >= output_size {
            let argument = "end_token".into();
            return Err(Error::OutOfBounds { argument, found: self.end_token, count: output_size, of: "classes" });
        }
        Ok(())
    }

    pub(super) fn initialize(&self, output_size: usize, inputs: &mut ArrayRef2<E>) -> Result<(), Error> {
        check_input("the embedding", self.embedding.features(), inputs)?;
        self.check(output_size)?;
        self.embedding.lookup_into(&self.start_tokens, inputs)
    }

    fn next(&self, step: HelperStep<'_, E, usize>) -> Result<(), Error> {
        for (finished, &token) in step.finished.iter_mut().zip(&*step.samples) {
            *finished = token == self.end_token;
        }
        self.embedding.lookup_into(step.samples, step.next_inputs)
    }
}

/// `Err` unless the embedding has a row for every class of the outputs.
pub(super) fn check_classes<E: Float>(embedding: &Embedding<E>, classes: usize) -> Result<(), Error> {
    if classes <= embedding.vocabulary() {
        return Ok(());
    }
    let (argument, found) = ("the embedding of the outputs' classes".into(), embedding.embeddings().shape().to_vec());
    Err(Error::ArrayShape { argument, expected: vec![classes, embedding.features()], found })
}

/// Next reads the token of the largest logit: TensorFlow 1's `GreedyEmbeddingHelper`.
///
/// The first input is the embedding of the row's start token, which is not among the samples. A row finishes with the
/// end token, which is its last sample.
#[derive(Debug, Clone)]
pub struct GreedyEmbeddingHelper<'a, E>(Tokens<'a, E>);

impl<'a, E: Float> GreedyEmbeddingHelper<'a, E> {
    /// A start token per row, the token that ends a row, and the embedding that tokens are read through.
    #[must_use]
    pub fn new(embedding: &'a Embedding<E>, start_tokens: Vec<usize>, end_token: usize) -> Self {
        Self(Tokens { embedding, start_tokens, end_token })
    }
}

impl<E: Float> Helper for GreedyEmbeddingHelper<'_, E> {
    type Elem = E;
    type Sample = usize;

    fn batch_size(&self) -> usize {
        self.0.start_tokens.len()
    }
    fn initialize(&mut self, output_size: usize, inputs: &mut ArrayRef2<E>, _: &mut [bool]) -> Result<(), Error> {
        self.0.initialize(output_size, inputs)
    }
    fn next(&mut self, step: HelperStep<'_, E, usize>) -> Result<(), Error> {
        for (at, (sample, &row)) in step.samples.iter_mut().zip(step.rows).enumerate() {
            *sample = best(row, step.time, &step.outputs.row(at))?;
        }
        self.0.next(step)
    }
}

/// Next reads a token drawn with probability softmax(logits / temperature): TensorFlow 1's `SampleEmbeddingHelper`.
///
/// A draw depends only on the seed, the row's number and the step, so a batch that is cut draws the same if each part
/// says where it begins: [`first_row`](Self::first_row).
#[derive(Debug, Clone)]
pub struct SampleEmbeddingHelper<'a, E> {
    tokens: Tokens<'a, E>,
    softmax_temperature: f64,
    draws: Draws,
}

impl<'a, E: Float> SampleEmbeddingHelper<'a, E> {
    /// A start token per row, the token that ends a row, and the embedding that tokens are read through.
    #[must_use]
    pub fn new(embedding: &'a Embedding<E>, start_tokens: Vec<usize>, end_token: usize) -> Self {
        let tokens = Tokens { embedding, start_tokens, end_token };
        Self { tokens, softmax_temperature: 1.0, draws: Draws { seed: 0, first_row: 0 } }
    }

    /// What logits are divided by: below 1 likely tokens get likelier. Must be finite and above 0. Default: 1.
    #[must_use]
    pub fn softmax_temperature(mut self, softmax_temperature: f64) -> Self {
        self.softmax_temperature = softmax_temperature;
        self
    }

    /// The seed of all draws. Default: 0.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.draws.seed = seed;
        self
    }

    /// This batch's first row, counted in the whole batch that was cut. Default: 0.
    #[must_use]
    pub fn first_row(mut self, first_row: usize) -> Self {
        self.draws.first_row = first_row;
        self
    }
}

impl<E: Float> Helper for SampleEmbeddingHelper<'_, E> {
    type Elem = E;
    type Sample = usize;

    fn batch_size(&self) -> usize {
        self.tokens.start_tokens.len()
    }
    fn initialize(&mut self, output_size: usize, inputs: &mut ArrayRef2<E>, _: &mut [bool]) -> Result<(), Error> {
        check_positive("softmax_temperature", self.softmax_temperature)?;
        self.tokens.initialize(output_size, inputs)
    }
    fn next(&mut self, step: HelperStep<'_, E, usize>) -> Result<(), Error> {
        for (at, (sample, &row)) in step.samples.iter_mut().zip(step.rows).enumerate() {
            *sample = self.draws.class((row, step.time), &step.outputs.row(at), self.softmax_temperature)?;
        }
        self.tokens.next(step)
    }
}

reads_no_output!(GreedyEmbeddingHelper);
reads_no_output!(SampleEmbeddingHelper);
