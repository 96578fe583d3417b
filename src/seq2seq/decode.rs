//! [`dynamic_decode`]: runs any decoder until every row has finished.

use crate::Error;

/// What one step of decoding is: TensorFlow 1's `Decoder`. [`dynamic_decode`] runs it.
///
/// [`BasicDecoder`](super::BasicDecoder) and [`BeamSearchDecoder`](super::BeamSearchDecoder) are decoders. Unlike
/// TensorFlow's, a decoder keeps its state, inputs and outputs itself.
pub trait Decoder: Sized {
    /// What a run returns.
    type Output;

    /// Whether it may never end, because what it reads decides when it does.
    fn is_endless(&self) -> bool;

    /// Prepares the first step. Returns whether every row has finished already. With `impute_finished`, rows that have
    /// finished are not computed.
    ///
    /// # Errors
    /// If the decoder's arguments do not fit together.
    fn initialize(&mut self, impute_finished: bool) -> Result<bool, Error>;

    /// Makes step number `time`, from 0. Returns whether every row has finished.
    ///
    /// # Errors
    /// If a row cannot go on.
    fn step(&mut self, time: usize) -> Result<bool, Error>;

    /// What the run returns after its last step.
    fn finalize(self, time_major: bool) -> Self::Output;
}

/// Options to decode until every row has finished: TensorFlow 1's `tf.contrib.seq2seq.dynamic_decode`. Call `run`.
///
/// ```
/// use ndarray::array;
/// use rand::SeedableRng;
/// use rnn_cell::seq2seq::{BasicDecoder, GreedyEmbeddingHelper, dynamic_decode};
/// use rnn_cell::{Dense, Embedding, Gru, RnnCell};
///
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let (cell, dense) = (Gru::<f32>::new(3, 8, &mut rng), Dense::new(8, 5, &mut rng));
/// let embedding = Embedding::new(5, 3, &mut rng); // five tokens; 0 starts, 1 ends
/// let helper = GreedyEmbeddingHelper::new(&embedding, vec![0, 0], 1);
/// let decoder = BasicDecoder::new(&cell, helper, cell.zero_state(2)).output_layer(&dense);
/// let decoded = dynamic_decode(decoder).maximum_iterations(10).run()?;
/// let steps = *decoded.sequence_lengths.iter().max().unwrap();
/// assert_eq!(decoded.sample_id.dim(), (2, steps)); // tokens
/// assert_eq!(decoded.rnn_output.dim(), (2, steps, 5)); // logits
/// # Ok::<(), rnn_cell::Error>(())
/// ```
pub fn dynamic_decode<D: Decoder>(decoder: D) -> DynamicDecode<D> {
    DynamicDecode { decoder, maximum_iterations: None, impute_finished: true, output_time_major: false }
}

/// Options of a [`dynamic_decode`].
#[derive(Debug, Clone)]
#[must_use = "call `run`"]
pub struct DynamicDecode<D> {
    pub(crate) decoder: D,
    pub(crate) maximum_iterations: Option<usize>,
    pub(crate) impute_finished: bool,
    pub(crate) output_time_major: bool,
}

impl<D: Decoder> DynamicDecode<D> {
    /// The most steps to make. Default: no limit, which only a decoder that surely ends accepts.
    pub fn maximum_iterations(mut self, maximum_iterations: usize) -> Self {
        self.maximum_iterations = Some(maximum_iterations);
        self
    }

    /// Whether a row that has finished stops: its outputs are 0 from then on, its state stays, and nothing is computed
    /// for it. Otherwise it goes on until the last row has finished, as in TensorFlow, where that is the default. A beam
    /// search always stops its finished beams. Default: true.
    pub fn impute_finished(mut self, impute_finished: bool) -> Self {
        self.impute_finished = impute_finished;
        self
    }

    /// Whether outputs are (steps, batch, …) instead of (batch, steps, …). Default: false.
    pub fn output_time_major(mut self, output_time_major: bool) -> Self {
        self.output_time_major = output_time_major;
        self
    }

    /// `Err` if a decoder that may never end has no limit.
    pub(crate) fn check_end(&self) -> Result<(), Error> {
        match self.maximum_iterations.is_none() && self.decoder.is_endless() {
            true => Err(Error::Endless),
            false => Ok(()),
        }
    }

    /// Decodes. There are as many steps as the longest row has.
    ///
    /// # Errors
    /// - [`Error::Endless`] if the decoder may never end and there is no limit.
    /// - What the decoder and its helper report of their arguments, such as [`Error::StateShape`], [`Error::NoMemory`],
    ///   [`Error::ArrayShape`], [`Error::OutOfBounds`], [`Error::ZeroSize`] or [`Error::InvalidNumber`].
    /// - [`Error::AllNan`] if no sample can be chosen from a row's logits.
    pub fn run(mut self) -> Result<D::Output, Error> {
        self.check_end()?;
        let mut finished = self.decoder.initialize(self.impute_finished)?;
        let mut time = 0;
        while !finished && self.maximum_iterations.is_none_or(|most| time < most) {
            finished = self.decoder.step(time)?;
            time += 1;
        }
        Ok(self.decoder.finalize(self.output_time_major))
    }
}
