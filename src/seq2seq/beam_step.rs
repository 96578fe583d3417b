//! One step of a beam search over one row.

use super::choice::best;
use crate::{Error, Float};
use ndarray::{ArrayRef1, ArrayView1};

/// The weights of the penalties.
#[derive(Debug, Clone, Copy)]
pub(super) struct Penalties {
    pub length: f64,
    pub coverage: f64,
}

impl Penalties {
    fn of_length<E: Float>(self, length: usize) -> E {
        if self.length == 0.0 { E::one() } else { E::of(((5.0 + length as f64) / 6.0).powf(self.length)) }
    }
}

/// A beginning of a sequence.
#[derive(Clone)]
pub(super) struct Beam<E, S> {
    pub log_prob: E,
    pub length: usize,
    pub finished: bool,
    /// The state a finished beam ended with, one row; `None` for a beam that never lived.
    pub ended: Option<S>,
    /// The sum of its alignments, if there is a coverage penalty.
    pub accumulated: Option<Vec<E>>,
}

/// A continuation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate<E> {
    pub score: E,
    pub log_prob: E,
    pub parent: usize,
    pub token: usize,
}

impl<E: Float, S: Clone> Beam<E, S> {
    /// Before the first step only the first beam of a row lives: all others would repeat it.
    pub(super) fn first(lives: bool, accumulated: Option<Vec<E>>) -> Self {
        let log_prob = if lives { E::zero() } else { E::neg_infinity() };
        Self { log_prob, length: 0, finished: !lives, ended: None, accumulated }
    }

    pub(super) fn accumulate(&mut self, alignments: ArrayView1<'_, E>) {
        let accumulated = self.accumulated.iter_mut().flatten();
        accumulated.zip(alignments).for_each(|(sum, &alignment)| *sum += alignment);
    }

    /// The beam continued. `state` makes the state of a beam that lives, one row.
    pub(super) fn next(&self, chosen: &Candidate<E>, end_token: usize, state: impl FnOnce() -> S) -> Self {
        let finished = self.finished || chosen.token == end_token;
        Self {
            log_prob: chosen.log_prob,
            length: self.length + usize::from(!self.finished),
            finished,
            ended: if self.finished { self.ended.clone() } else { finished.then(state) },
            accumulated: self.accumulated.clone(),
        }
    }
}

/// The best continuations of a row's beams so far, the best first.
pub(super) struct Candidates<E> {
    best: Vec<Candidate<E>>,
    width: usize,
    /// Beams added.
    beams: usize,
    end_token: usize,
    penalties: Penalties,
}

impl<E: Float> Candidates<E> {
    pub(super) fn new(width: usize, end_token: usize, penalties: Penalties) -> Self {
        Self { best: Vec::with_capacity(width + 1), width, beams: 0, end_token, penalties }
    }

    /// Adds all continuations of a beam with these logits. NaN logits are skipped.
    ///
    /// # Errors
    /// [`Error::AllNan`] if there is no number.
    pub(super) fn add_live<S>(
        &mut self,
        beam: &Beam<E, S>,
        (row, time): (usize, usize),
        logits: &ArrayRef1<E>,
    ) -> Result<(), Error> {
        let largest = logits[best(row, time, logits)?];
        // If the largest is infinite, its distance from itself is not a number.
        let below = |logit: E| if logit == largest { E::zero() } else { logit - largest };
        let numbers = logits.iter().filter(|logit| !logit.is_nan());
        let sum: f64 = numbers.map(|&logit| below(logit).exp().as_f64()).sum();
        let log_sum = E::of(sum.ln());
        let ends: E = self.penalties.of_length(beam.length);
        let goes_on: E = self.penalties.of_length(beam.length + 1);
        for (token, &logit) in logits.iter().enumerate().filter(|(_, logit)| !logit.is_nan()) {
            let log_prob = beam.log_prob + (below(logit) - log_sum);
            let score = log_prob / if token == self.end_token { ends } else { goes_on };
            self.add(Candidate { score, log_prob, parent: self.beams, token });
        }
        self.beams += 1;
        Ok(())
    }

    /// Adds a finished beam, which repeats its end token, and should others run out, every other token.
    pub(super) fn add_finished<S>(&mut self, beam: &Beam<E, S>, classes: usize) {
        let penalty: E = self.penalties.of_length(beam.length);
        let coverage =
            E::of(self.penalties.coverage) * beam.accumulated.iter().flatten().map(|&sum| covered(sum)).sum();
        // More than `width` of equal scores are never chosen.
        let (width, end_token) = (self.width, self.end_token);
        for token in (0..classes).filter(|&token| token <= width || token == end_token) {
            let more = if token == end_token { E::zero() } else { E::min_value() };
            let log_prob = beam.log_prob + more;
            let score = log_prob / penalty + coverage;
            self.add(Candidate { score, log_prob, parent: self.beams, token });
        }
        self.beams += 1;
    }

    /// Keeps a candidate if it is among the best. The earlier of equal ones stays first.
    fn add(&mut self, candidate: Candidate<E>) {
        if self.best.len() == self.width && self.best.last().is_some_and(|last| last.score >= candidate.score) {
            return;
        }
        let place = self.best.partition_point(|other| other.score >= candidate.score);
        self.best.insert(place, candidate);
        self.best.truncate(self.width);
    }

    pub(super) fn into_best(self) -> Vec<Candidate<E>> {
        self.best
    }
}

/// ln(min(sum, 1)) of a step of the memory; 0 if it was never attended to.
fn covered<E: Float>(sum: E) -> E {
    if sum == E::zero() { E::zero() } else { sum.min(E::one()).ln() }
}
