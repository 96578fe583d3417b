//! [`TransducerStream`]: greedy decoding of RNN-T and TDT, chunk by chunk.

use super::decode::{Decoder, dynamic_decode};
use super::helper::best;
use crate::checks::{check_shape, check_sizes, checked_state};
use crate::kernel::zeros;
use crate::{Embedding, Error, Float, RnnCell, State};
use ndarray::{Array2, ArrayRef2, ArrayRef3, ArrayView3, Axis, s};

/// Makes logits of encoder frames and what the prediction network last said: the joint network of a transducer.
///
/// Any `Fn(&ArrayRef2<E>, &ArrayRef2<E>, &mut ArrayRef2<E>)` is one. It reads frames (rows, depth) and predictions
/// (rows, output) and overwrites logits (rows, classes + durations). Row b of the logits may depend only on rows b.
pub trait Joiner<E: Float> {
    /// Overwrites `logits`.
    fn join(&self, frames: &ArrayRef2<E>, predictions: &ArrayRef2<E>, logits: &mut ArrayRef2<E>);
}

impl<E: Float, F: Fn(&ArrayRef2<E>, &ArrayRef2<E>, &mut ArrayRef2<E>)> Joiner<E> for F {
    fn join(&self, frames: &ArrayRef2<E>, predictions: &ArrayRef2<E>, logits: &mut ArrayRef2<E>) {
        self(frames, predictions, logits);
    }
}

/// A token that a transducer emitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Emission {
    /// The token.
    pub token: usize,
    /// The frame it was emitted at, counted from the stream's first.
    pub frame: usize,
}

/// Options of a [`TransducerStream`].
#[derive(Debug, Clone)]
#[must_use]
pub struct TransducerBuilder {
    classes: usize,
    blank: usize,
    durations: Vec<usize>,
    max_symbols: usize,
    start_token: Option<usize>,
}

/// Decodes a transducer greedily: RNN-T (Graves, 2012), and with durations TDT (Xu et al., 2023).
///
/// A cell over an embedding of the tokens is the prediction network. At each frame of the encoder:
///
/// ```text
/// loop {
///     token = argmax(logits of the classes),  duration = durations[argmax(the other logits)]
///     if token is blank { go on by max(duration, 1) frames }           // the prediction network does not step
///     else { emit token, step the prediction network, go on by duration frames (0 without durations) }
///     after max_symbols tokens at one frame, go on by one frame
/// }
/// ```
///
/// Frames come in chunks of any number: the tokens are those of the whole. After the first chunk that is as large and
/// emits, a push allocates nothing but room for more tokens than any push before. Each row is decoded on its own; a row
/// that waits for others costs nothing.
///
/// ```
/// use ndarray::{Array3, ArrayRef2, array, s};
/// use rand::SeedableRng;
/// use rnn_cell::seq2seq::TransducerStream;
/// use rnn_cell::{Embedding, Lstm};
///
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let (cell, embedding) = (Lstm::<f32>::new(2, 3, &mut rng), Embedding::new(3, 2, &mut rng));
/// // The frames of a joint network that listens to the encoder only.
/// let join = |frames: &ArrayRef2<f32>, _: &ArrayRef2<f32>, logits: &mut ArrayRef2<f32>| logits.assign(frames);
/// let builder = TransducerStream::<_, f32, _>::builder(3).blank(0).max_symbols(1);
/// let mut stream = builder.build(&cell, &embedding, join, 1)?;
/// let frames = array![[[0.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0]]]; // (time, batch, depth)
/// let tokens: Vec<usize> = stream.push(&frames, None)?[0].iter().map(|emission| emission.token).collect();
/// assert_eq!(tokens, [1, 2]);
/// # Ok::<(), rnn_cell::Error>(())
/// ```
pub struct TransducerStream<'a, C: RnnCell<Elem = E>, E: Float, J> {
    options: TransducerBuilder,
    cell: &'a C,
    embedding: &'a Embedding<E>,
    joiner: J,
    initial: C::State,
    rows: Vec<Row>,
    state: C::State,
    /// What the prediction network last said, (batch, output).
    predictions: Array2<E>,
    room: Room<C>,
    emissions: Vec<Vec<Emission>>,
}

/// Where a row is.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    /// The frame it reads next, counted from the chunk's first.
    at: usize,
    /// Frames of the chunk.
    frames: usize,
    /// Tokens emitted at this frame.
    symbols: usize,
    /// Frames of earlier chunks.
    before: usize,
}

/// Buffers of one step.
struct Room<C: RnnCell> {
    active: Vec<usize>,
    /// As many numbers as all rows need.
    frames: Vec<C::Elem>,
    predictions: Vec<C::Elem>,
    logits: Vec<C::Elem>,
    /// One row.
    input: Array2<C::Elem>,
    output: Array2<C::Elem>,
    state: C::State,
    workspace: C::Workspace,
}

impl TransducerBuilder {
    /// The class that is no token. Default: the last class.
    pub fn blank(mut self, blank: usize) -> Self {
        self.blank = blank;
        self
    }

    /// How many frames each of the logits after the classes goes on by, as in TDT. Default: none, RNN-T.
    pub fn durations(mut self, durations: impl Into<Vec<usize>>) -> Self {
        self.durations = durations.into();
        self
    }

    /// The most tokens at one frame. Default: 10.
    pub fn max_symbols(mut self, max_symbols: usize) -> Self {
        self.max_symbols = max_symbols;
        self
    }

    /// The token that the prediction network reads first. Default: none, zeros.
    pub fn start_token(mut self, start_token: usize) -> Self {
        self.start_token = Some(start_token);
        self
    }

    /// Builds a stream of `batch` rows that starts from the cell's zero state.
    ///
    /// # Errors
    /// - [`Error::ZeroSize`] if there are no classes, or `max_symbols` is 0.
    /// - [`Error::OutOfBounds`] if `blank` is no class, or `start_token` no token.
    /// - [`Error::ArrayShape`] if the embedding is not as wide as the cell's input, or has fewer tokens than there are
    ///   classes, the last one aside if that is blank.
    /// - As the cell reports its zero state.
    pub fn build<'a, C: RnnCell, J: Joiner<C::Elem>>(
        self,
        cell: &'a C,
        embedding: &'a Embedding<C::Elem>,
        joiner: J,
        batch: usize,
    ) -> Result<TransducerStream<'a, C, C::Elem, J>, Error> {
        check_sizes(&[("classes", self.classes), ("max_symbols", self.max_symbols)])?;
        if self.blank >= self.classes {
            let argument = "blank".into();
            return Err(Error::OutOfBounds { argument, found: self.blank, count: self.classes, of: "classes" });
        }
        let tokens = self.classes - usize::from(self.blank + 1 == self.classes);
        let shape = [embedding.vocabulary().max(tokens), cell.input_size()];
        check_shape("embedding", &shape, embedding.embeddings().shape())?;
        let state = checked_state("the zero state", cell, batch, None)?;
        let (input, output) = (zeros((1, cell.input_size())), zeros((1, cell.output_size())));
        let mut room: Room<C> = Room {
            active: Vec::with_capacity(batch),
            frames: Vec::new(),
            predictions: Vec::new(),
            logits: Vec::new(),
            input,
            output,
            state: cell.zero_state(1),
            workspace: C::Workspace::default(),
        };
        if let Some(token) = self.start_token {
            embedding.check_token("start_token", 0, token)?;
            embedding.lookup_into(&[token], &mut room.input)?;
        }
        // All rows start alike.
        cell.step(&room.input, &mut room.state, &mut room.output, &mut room.workspace);
        let initial = room.state.clone();
        let mut stream = TransducerStream {
            rows: vec![Row::default(); batch],
            predictions: zeros((batch, cell.output_size())),
            emissions: vec![Vec::new(); batch],
            options: self,
            cell,
            embedding,
            joiner,
            initial,
            state,
            room,
        };
        let first = stream.room.output.clone();
        for row in 0..batch {
            stream.state.copy_row(row, &stream.initial, 0);
            stream.predictions.row_mut(row).assign(&first.row(0));
        }
        Ok(stream)
    }
}

impl<C: RnnCell<Elem = E>, E: Float, J: Joiner<E>> TransducerStream<'_, C, E, J> {
    /// Returns a builder for a joint network with logits of `classes` classes, blank included, before those of
    /// durations.
    pub fn builder(classes: usize) -> TransducerBuilder {
        let blank = classes.saturating_sub(1);
        TransducerBuilder { classes, blank, durations: Vec::new(), max_symbols: 10, start_token: None }
    }

    /// Decodes a chunk of encoder `frames` (time, batch, depth), of which each row has `lengths` (batch), at most time.
    /// Without lengths a row has all. Returns the tokens each row emitted, which stay until the next push.
    ///
    /// # Errors
    /// - [`Error::ArrayShape`] if `frames` or `lengths` does not have the stream's batch.
    /// - [`Error::SequenceLengthTooLong`] if a length exceeds time.
    /// - [`Error::AllNan`] if the logits of a row are all NaN.
    pub fn push(&mut self, frames: &ArrayRef3<E>, lengths: Option<&[usize]>) -> Result<&[Vec<Emission>], Error> {
        let (time, _, depth) = frames.dim();
        check_shape("frames", &[time, self.rows.len(), depth], frames.shape())?;
        if let Some(lengths) = lengths {
            check_shape("lengths", &[self.rows.len()], &[lengths.len()])?;
            crate::checks::check_lengths(lengths, time, None)?;
        }
        self.emissions.iter_mut().for_each(Vec::clear);
        for (row, place) in self.rows.iter_mut().enumerate() {
            place.frames = lengths.map_or(time, |lengths| lengths[row]);
        }
        dynamic_decode(Chunk { stream: self, frames: frames.view() }).run()?;
        for row in &mut self.rows {
            // What a duration skips beyond the chunk is skipped in the next.
            row.at -= row.frames;
            row.before += row.frames;
        }
        Ok(&self.emissions)
    }
}

/// A chunk as a decoder. Each step joins once for every row that has frames left.
struct Chunk<'s, 'a, 'f, C: RnnCell<Elem = E>, E: Float, J> {
    stream: &'s mut TransducerStream<'a, C, E, J>,
    frames: ArrayView3<'f, E>,
}

impl<C: RnnCell<Elem = E>, E: Float, J: Joiner<E>> Decoder for Chunk<'_, '_, '_, C, E, J> {
    type Output = ();

    /// Every frame has at most `max_symbols` tokens.
    fn is_endless(&self) -> bool {
        false
    }

    fn initialize(&mut self, _: bool) -> Result<bool, Error> {
        Ok(self.stream.rows.iter().all(|row| row.at >= row.frames))
    }

    fn step(&mut self, time: usize) -> Result<bool, Error> {
        let TransducerStream { options, cell, embedding, joiner, rows, state, predictions, room, emissions, .. } =
            &mut *self.stream;
        room.active.clear();
        room.active.extend((0..rows.len()).filter(|&row| rows[row].at < rows[row].frames));
        let (count, depth, width) = (room.active.len(), self.frames.dim().2, predictions.ncols());
        let classes = options.classes;
        let mut frames = matrix(&mut room.frames, (count, depth));
        let mut said = matrix(&mut room.predictions, (count, width));
        for (at, &row) in room.active.iter().enumerate() {
            frames.row_mut(at).assign(&self.frames.slice(s![rows[row].at, row, ..]));
            said.row_mut(at).assign(&predictions.row(row));
        }
        let mut logits = matrix(&mut room.logits, (count, classes + options.durations.len()));
        joiner.join(&frames, &said, &mut logits);
        for (at, &row) in room.active.iter().enumerate() {
            let (tokens, durations) = logits.row(at).split_at(Axis(0), classes);
            let token = best(row, time, &tokens)?;
            let duration = match options.durations.is_empty() {
                true => 0,
                false => options.durations[best(row, time, &durations)?],
            };
            let place = &mut rows[row];
            if token == options.blank {
                place.go_on(duration.max(1));
                continue;
            }
            emissions[row].push(Emission { token, frame: place.before + place.at });
            place.symbols += 1;
            let stuck = duration == 0 && place.symbols >= options.max_symbols;
            place.go_on(if stuck { 1 } else { duration });
            embedding.lookup_into(&[token], &mut room.input)?;
            room.state.copy_row(0, state, row);
            cell.step(&room.input, &mut room.state, &mut room.output, &mut room.workspace);
            state.copy_row(row, &room.state, 0);
            predictions.row_mut(row).assign(&room.output.row(0));
        }
        Ok(rows.iter().all(|row| row.at >= row.frames))
    }

    fn finalize(self, _: bool) {}
}

impl Row {
    fn go_on(&mut self, frames: usize) {
        self.at += frames;
        if frames > 0 {
            self.symbols = 0;
        }
    }
}

/// A matrix in reused memory, which holds whatever was there before.
fn matrix<E: Float>(numbers: &mut Vec<E>, shape: (usize, usize)) -> ndarray::ArrayViewMut2<'_, E> {
    let len = shape.0 * shape.1;
    if numbers.len() < len {
        numbers.resize(len, E::zero());
    }
    ndarray::ArrayViewMut2::from_shape(shape, &mut numbers[..len]).expect("the slice is as long as the shape")
}

impl<C: RnnCell<Elem = E>, E: Float, J> std::fmt::Debug for TransducerStream<'_, C, E, J> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransducerStream").field("options", &self.options).finish_non_exhaustive()
    }
}
