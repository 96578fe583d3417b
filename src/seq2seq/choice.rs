//! How a class is chosen by its logits: the best, or a draw.

use crate::seed::{GOLDEN, fold};
use crate::{Error, Float};
use ndarray::ArrayRef1;

/// The position of the largest number of a row. The first of equal ones wins, and NaN are skipped.
///
/// # Errors
/// [`Error::AllNan`] if there is no number.
pub(super) fn best<E: Float>(row: usize, time: usize, logits: &ArrayRef1<E>) -> Result<usize, Error> {
    let mut best = None;
    for (at, &logit) in logits.iter().enumerate().filter(|(_, logit)| !logit.is_nan()) {
        if best.is_none_or(|(_, most)| logit > most) {
            best = Some((at, logit));
        }
    }
    best.map(|(at, _)| at).ok_or(Error::AllNan { row, time })
}

/// A number in [0, 1) that depends on nothing else, and a position to draw for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draws {
    pub seed: u64,
    /// The number of the batch's first row.
    pub first_row: usize,
}

impl Draws {
    /// The draw number `what` of a row at a step.
    pub(super) fn uniform(self, row: usize, time: usize, what: u64) -> f64 {
        let key = fold(fold(self.seed, (self.first_row + row) as u64), time as u64);
        (fold(key, what.wrapping_add(GOLDEN)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A class with probability softmax(logits / temperature). NaN logits are never drawn.
    ///
    /// # Errors
    /// [`Error::AllNan`] if there is no number.
    pub(super) fn class<E: Float>(
        self,
        (row, time): (usize, usize),
        logits: &ArrayRef1<E>,
        temperature: f64,
    ) -> Result<usize, Error> {
        let best = best(row, time, logits)?;
        let largest = logits[best].as_f64();
        // A NaN's and, if the largest is infinite, its own exponential are not numbers.
        let weight = |logit: &E| match ((logit.as_f64() - largest) / temperature).exp() {
            weight if weight.is_finite() => weight,
            _ => 0.0,
        };
        let sum: f64 = logits.iter().map(weight).sum();
        let mut left = self.uniform(row, time, 0) * sum;
        for (at, logit) in logits.iter().enumerate() {
            left -= weight(logit);
            if left < 0.0 {
                return Ok(at);
            }
        }
        Ok(best)
    }
}
