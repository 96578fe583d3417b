//! [`TransducerStream`]: greedy decoding of RNN-T and TDT, chunk by chunk.

use super::choice::best;
use super::decode::{Decoder, dynamic_decode};
use crate::checks::{check_shape, checked_state};
use crate::kernel::zeros;
use crate::{Embedding, Error, Float, RnnCell, State};
use ndarray::{Array2, ArrayRef2, ArrayRef3, ArrayView3, Axis, s};

/// Turns encoder frames and last predictions into logits: the joint network of a transducer.
///
/// Any `Fn(&ArrayRef2<E>, &ArrayRef2<E>, &mut ArrayRef2<E>)` is one. It reads frames (rows, depth) and predictions
/// (rows, output) and overwrites logits (rows, classes + durations). Row b of the logits may depend on row b only.
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

/// Decodes a transducer greedily: RNN-T (Graves, 2012), and with durations TDT (Xu et al., 2023). Made by a
/// [`TransducerBuilder`](super::TransducerBuilder).
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
/// Chunks may have any number of frames; the tokens stay the same. Once a chunk as large has emitted a token, a push
/// allocates only if it emits more tokens than any before. Each row is decoded on its own; a row that waits for others
/// costs nothing.
///
/// ```
/// use ndarray::{Array3, ArrayRef2, array, s};
/// use rand::SeedableRng;
/// use rnn_cell::seq2seq::TransducerBuilder;
/// use rnn_cell::{Embedding, Lstm};
///
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let (cell, embedding) = (Lstm::<f32>::new(2, 3, &mut rng), Embedding::new(3, 2, &mut rng));
/// // The frames of a joint network that listens to the encoder only.
/// let join = |frames: &ArrayRef2<f32>, _: &ArrayRef2<f32>, logits: &mut ArrayRef2<f32>| logits.assign(frames);
/// let mut stream = TransducerBuilder::new(3).blank(0).max_symbols(1).build(&cell, &embedding, join, 1)?;
/// let frames = array![[[0.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0]]]; // (time, batch, depth)
/// let tokens: Vec<usize> = stream.push(&frames, None)?[0].iter().map(|emission| emission.token).collect();
/// assert_eq!(tokens, [1, 2]);
/// # Ok::<(), rnn_cell::Error>(())
/// ```
pub struct TransducerStream<'a, C: RnnCell<Elem = E>, E: Float, J> {
    pub(super) options: Options,
    cell: &'a C,
    embedding: &'a Embedding<E>,
    joiner: J,
    /// What a row starts from: a state and a prediction of one row.
    initial: (C::State, Array2<E>),
    rows: Vec<Row>,
    state: C::State,
    /// The last outputs of the prediction network, (batch, output).
    predictions: Array2<E>,
    room: Room<C>,
    emissions: Vec<Vec<Emission>>,
}

/// What decides how a [`TransducerStream`] goes on.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub classes: usize,
    pub blank: usize,
    pub durations: Vec<usize>,
    pub max_symbols: usize,
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

impl<'a, C: RnnCell<Elem = E>, E: Float, J> TransducerStream<'a, C, E, J> {
    /// `options` are checked. The prediction network reads `start_token` first, or zeros.
    pub(super) fn new(
        options: Options,
        (cell, embedding, joiner): (&'a C, &'a Embedding<E>, J),
        batch: usize,
        start_token: Option<usize>,
    ) -> Result<Self, Error> {
        let state = checked_state("the zero state", cell, batch, None)?;
        let mut room: Room<C> = Room {
            active: Vec::with_capacity(batch),
            frames: Vec::new(),
            predictions: Vec::new(),
            logits: Vec::new(),
            input: zeros((1, cell.input_size())),
            output: zeros((1, cell.output_size())),
            state: cell.zero_state(1),
            workspace: C::Workspace::default(),
        };
        if let Some(token) = start_token {
            embedding.lookup_into(&[token], &mut room.input)?;
        }
        // All rows start alike.
        cell.step(&room.input, &mut room.state, &mut room.output, &mut room.workspace);
        let initial = (room.state.clone(), room.output.clone());
        let (rows, emissions) = (vec![Row::default(); batch], vec![Vec::new(); batch]);
        let predictions = zeros((batch, cell.output_size()));
        let mut stream = Self { options, cell, embedding, joiner, initial, rows, state, predictions, room, emissions };
        (0..batch).try_for_each(|row| stream.reset_row(row))?;
        Ok(stream)
    }

    /// Starts a row's next recording, without allocating: frames are counted from 0 again.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] if there is no such row.
    pub fn reset_row(&mut self, row: usize) -> Result<(), Error> {
        let count = self.rows.len();
        if row >= count {
            return Err(Error::OutOfBounds { argument: "row".into(), found: row, count, of: "rows" });
        }
        let (state, prediction) = &self.initial;
        self.rows[row] = Row::default();
        self.state.copy_row(row, state, 0);
        self.predictions.row_mut(row).assign(&prediction.row(0));
        Ok(())
    }
}

impl<C: RnnCell<Elem = E>, E: Float, J: Joiner<E>> TransducerStream<'_, C, E, J> {
    /// Decodes a chunk of encoder `frames` (time, batch, depth). Row b has `sequence_length[b]` of them, at most time;
    /// without lengths, all. Returns the tokens each row emitted, which stay until the next push.
    ///
    /// # Errors
    /// - [`Error::ArrayShape`] if `frames` or `sequence_length` does not have the stream's batch.
    /// - [`Error::SequenceLengthTooLong`] if a length exceeds time.
    /// - [`Error::AllNan`] if the logits of a row are all NaN. Reset the stream's rows before the next push.
    pub fn push(
        &mut self,
        frames: &ArrayRef3<E>,
        sequence_length: Option<&[usize]>,
    ) -> Result<&[Vec<Emission>], Error> {
        let (time, _, depth) = frames.dim();
        check_shape("frames", &[time, self.rows.len(), depth], frames.shape())?;
        if let Some(lengths) = sequence_length {
            check_shape("sequence_length", &[self.rows.len()], &[lengths.len()])?;
            crate::checks::check_lengths(lengths, time, None)?;
        }
        self.emissions.iter_mut().for_each(Vec::clear);
        for (row, place) in self.rows.iter_mut().enumerate() {
            place.frames = sequence_length.map_or(time, |lengths| lengths[row]);
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
        self.at = self.at.saturating_add(frames);
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
