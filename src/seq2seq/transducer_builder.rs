//! Options of a [`TransducerStream`].

use super::transducer::{Joiner, Options, TransducerStream};
use crate::checks::{check_shape, check_sizes};
use crate::{Embedding, Error, RnnCell};

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

impl TransducerBuilder {
    /// Options for a joint network whose first `classes` logits are the classes, blank included.
    pub fn new(classes: usize) -> Self {
        let blank = classes.saturating_sub(1);
        Self { classes, blank, durations: Vec::new(), max_symbols: 10, start_token: None }
    }

    /// The class that is no token. Default: the last class.
    pub fn blank(mut self, blank: usize) -> Self {
        self.blank = blank;
        self
    }

    /// The frames to skip for each of the logits after the classes, as in TDT. Default: none, RNN-T.
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
    /// - What [`RnnCell::check_state`] finds wrong in the zero state.
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
        if let Some(token) = self.start_token {
            embedding.check_token("start_token", token)?;
        }
        let Self { classes, blank, durations, max_symbols, start_token } = self;
        let options = Options { classes, blank, durations, max_symbols };
        TransducerStream::new(options, (cell, embedding, joiner), batch, start_token)
    }
}
