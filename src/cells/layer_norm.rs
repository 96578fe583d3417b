//! Layer normalization of a row, after Ba, Kiros and Hinton (2016).

use super::weights::{checked, numbers};
use crate::{Error, Float};
use ndarray::Array1;

/// Gains and shifts of a [`LayerNormLstm`](crate::LayerNormLstm).
#[derive(Debug, Clone, PartialEq)]
pub struct LayerNorms<E> {
    /// Of the input gate i.
    pub input: LayerNorm<E>,
    /// Of the candidate j.
    pub transform: LayerNorm<E>,
    /// Of the forget gate f.
    pub forget: LayerNorm<E>,
    /// Of the output gate o.
    pub output: LayerNorm<E>,
    /// Of the new c.
    pub state: LayerNorm<E>,
}

/// Gain and shift of one layer normalization.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerNorm<E> {
    /// Gain, (hidden).
    pub gamma: Array1<E>,
    /// Shift, (hidden).
    pub beta: Array1<E>,
}

/// Added to a variance, as tf.contrib.layers does.
const EPSILON: f64 = 1e-12;

impl<E: Float> LayerNorm<E> {
    pub(super) fn filled(size: usize, gain: E, shift: E) -> Self {
        Self { gamma: Array1::from_elem(size, gain), beta: Array1::from_elem(size, shift) }
    }

    pub(super) fn checked(self, name: &str, size: usize) -> Result<Self, Error> {
        Ok(Self {
            gamma: checked(&format!("{name}/gamma"), self.gamma, &[size])?,
            beta: checked(&format!("{name}/beta"), self.beta, &[size])?,
        })
    }

    /// Normalizes one row in place.
    pub(crate) fn apply(&self, values: &mut [E]) {
        let (mean, scale) = mean_and_scale(values);
        for ((value, &gamma), &beta) in values.iter_mut().zip(numbers(&self.gamma)).zip(numbers(&self.beta)) {
            *value = (*value - mean) * scale * gamma + beta;
        }
    }
}

/// A row's mean and 1 / √(variance + 1e-12).
pub(crate) fn mean_and_scale<E: Float>(values: &[E]) -> (E, E) {
    let count = E::from_f64(values.len() as f64);
    let mean = sum(values, |value| value) / count;
    let variance = sum(values, |value| (value - mean) * (value - mean)) / count;
    (mean, (variance + E::from_f64(EPSILON)).sqrt().recip())
}

/// Σ term(value), in sixteen chains, so that it can be vectorized; their number is fixed, so the bits are too.
pub(crate) fn sum<E: Float>(values: &[E], term: impl Fn(E) -> E) -> E {
    let mut chains = [E::zero(); 16];
    for values in values.chunks(16) {
        for (chain, &value) in chains.iter_mut().zip(values) {
            *chain += term(value);
        }
    }
    chains.into_iter().sum()
}

impl<E: Float> LayerNorms<E> {
    pub(super) fn named(&self) -> [(&'static str, &LayerNorm<E>); 5] {
        let Self { input, transform, forget, output, state } = self;
        [("input", input), ("transform", transform), ("forget", forget), ("output", output), ("state", state)]
    }

    pub(super) fn named_mut(&mut self) -> [(&'static str, &mut LayerNorm<E>); 5] {
        let Self { input, transform, forget, output, state } = self;
        [("input", input), ("transform", transform), ("forget", forget), ("output", output), ("state", state)]
    }
}
