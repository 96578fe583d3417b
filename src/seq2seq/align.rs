//! [`Align`]: turns one row's scores into alignments, and gradients back.

use crate::Float;
use crate::logits::exponentials;
use ndarray::{ArrayView1, ArrayViewMut1};

/// How scores become alignments: `probability_fn` of `LuongAttention` and `BahdanauAttention`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Probability {
    /// exp(score) / Σ exp(score).
    #[default]
    Softmax,
    /// 1 at the largest score, the first of equal ones, and 0 elsewhere. NaN are skipped. No gradient flows to the
    /// scores.
    Hardmax,
    /// 1 / (1 + e^−score), each for itself.
    Sigmoid,
}

/// How a monotonic attention moves on: `mode` of `LuongMonotonicAttention` and `BahdanauMonotonicAttention` (Raffel et
/// al., 2017).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MonotonicMode {
    /// The expected alignments, by the recursion that defines them.
    Recursive,
    /// The same as `Recursive` here. TensorFlow's closed form rounds to 0 once the probability of having passed all
    /// entries before falls below 1e-10.
    #[default]
    Parallel,
    /// The first entry with a score above 0, at or after the previous one. If there is none, the row attends to nothing
    /// from then on: it has passed the end of its memory. No gradient flows to the scores. (In TensorFlow the gradient
    /// of the initial alignments is NaN.)
    Hard,
}

/// What makes alignments of scores.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(unnameable_types)]
pub enum Align {
    Plain(Probability),
    Monotonic(MonotonicMode),
}

fn sigmoid<E: Float>(x: E) -> E {
    E::one() / (E::one() + (-x).exp())
}

impl Align {
    pub(crate) fn is_monotonic(self) -> bool {
        matches!(self, Self::Monotonic(_))
    }

    /// Turns `scores` in place into the probabilities that [`backward`](Self::backward) needs, and writes `alignments`.
    /// `previous` are those of the step before. All have the length of the row's memory.
    pub(crate) fn forward<E: Float>(self, scores: &mut [E], previous: &[E], alignments: &mut [E]) {
        match self {
            Self::Plain(Probability::Softmax) => {
                let (from, to) = (ArrayView1::from(&*scores), &mut ArrayViewMut1::from(&mut *alignments));
                let (_, sum) = exponentials(&from, to);
                let sum = E::of(sum);
                alignments.iter_mut().for_each(|exponential| *exponential /= sum);
            }
            Self::Plain(Probability::Hardmax) => {
                alignments.fill(E::zero());
                let larger = |at: usize, best: usize| scores[at] > scores[best] || scores[best].is_nan();
                let best = (1..scores.len()).fold(0, |best, at| if larger(at, best) { at } else { best });
                alignments[best] = E::one();
            }
            Self::Plain(Probability::Sigmoid) => {
                alignments.iter_mut().zip(&*scores).for_each(|(a, &score)| *a = sigmoid(score));
            }
            Self::Monotonic(MonotonicMode::Hard) => {
                let mut reached = E::zero(); // 1 from the previous entry on
                let mut left = E::one(); // 0 after the chosen entry
                for ((score, &previous), a) in scores.iter_mut().zip(previous).zip(alignments) {
                    *score = if *score > E::zero() { E::one() } else { E::zero() };
                    reached += previous;
                    let chosen = *score * reached;
                    *a = chosen * left;
                    left *= E::one() - chosen;
                }
            }
            Self::Monotonic(_) => {
                let mut arrived = E::zero(); // probability of arriving at this entry
                let mut passed = E::zero(); // of having passed the one before
                for ((score, &previous), a) in scores.iter_mut().zip(previous).zip(alignments) {
                    *score = sigmoid(*score);
                    arrived = passed * arrived + previous;
                    *a = *score * arrived;
                    passed = E::one() - *score;
                }
            }
        }
    }

    /// Turns `d`, the gradient of the alignments, into that of the scores, and overwrites `d_previous` with that of the
    /// step before's. `probabilities` is what [`forward`](Self::forward) left in the scores; `room` holds numbers of any
    /// value.
    pub(crate) fn backward<E: Float>(self, record: Aligned<'_, E>, d: &mut [E], d_previous: &mut [E], room: &mut [E]) {
        let Aligned { probabilities, previous, alignments } = record;
        match self {
            Self::Plain(probability) => {
                d_previous.fill(E::zero());
                match probability {
                    Probability::Softmax => {
                        let mean: E = d.iter().zip(alignments).map(|(&d, &a)| d * a).sum();
                        d.iter_mut().zip(alignments).for_each(|(d, &a)| *d = a * (*d - mean));
                    }
                    Probability::Hardmax => d.fill(E::zero()),
                    Probability::Sigmoid => {
                        d.iter_mut().zip(alignments).for_each(|(d, &a)| *d = *d * a * (E::one() - a));
                    }
                }
            }
            Self::Monotonic(MonotonicMode::Hard) => hard_backward(probabilities, previous, d, d_previous, room),
            Self::Monotonic(_) => soft_backward(probabilities, previous, d, d_previous, room),
        }
    }
}

/// What a row's forward step leaves for [`Align::backward`].
pub(crate) struct Aligned<'a, E> {
    pub probabilities: &'a [E],
    pub previous: &'a [E],
    pub alignments: &'a [E],
}

fn soft_backward<E: Float>(p: &[E], previous: &[E], d: &mut [E], d_previous: &mut [E], arrived: &mut [E]) {
    let (mut now, mut passed) = (E::zero(), E::zero());
    for ((arrived, &p), &previous) in arrived.iter_mut().zip(p).zip(previous) {
        now = passed * now + previous;
        *arrived = now;
        passed = E::one() - p;
    }
    let mut d_next = E::zero(); // of arriving at the next entry
    for at in (0..p.len()).rev() {
        let d_arrived = d[at] * p[at] + d_next * (E::one() - p[at]);
        let d_p = (d[at] - d_next) * arrived[at];
        d[at] = d_p * p[at] * (E::one() - p[at]);
        d_previous[at] = d_arrived;
        d_next = d_arrived;
    }
}

fn hard_backward<E: Float>(p: &[E], previous: &[E], d: &mut [E], d_previous: &mut [E], left: &mut [E]) {
    let (mut reached, mut now) = (E::zero(), E::one());
    for ((left, &p), &previous) in left.iter_mut().zip(p).zip(previous) {
        reached += previous;
        *left = now;
        now *= E::one() - p * reached;
    }
    let (mut d_reached, mut d_left) = (E::zero(), E::zero());
    for at in (0..p.len()).rev() {
        d_reached += (d[at] - d_left) * p[at] * left[at];
        d_left = d[at] * p[at] * reached + d_left * (E::one() - p[at] * reached);
        d_previous[at] = d_reached;
        reached -= previous[at];
    }
    d.fill(E::zero());
}
