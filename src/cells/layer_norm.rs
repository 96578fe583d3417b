//! Layer normalization of a row, after Ba, Kiros and Hinton (2016).

use crate::fused::Vector;
use crate::fused::weights::numbers;
use crate::{Float, parameters};
use ndarray::Array1;

parameters! {
    /// Gains and shifts of a [`LayerNormLstm`](crate::LayerNormLstm).
    pub struct LayerNorms {
        /// Of the input gate i.
        "input" input: LayerNorm<E>,
        /// Of the candidate j.
        "transform" transform: LayerNorm<E>,
        /// Of the forget gate f.
        "forget" forget: LayerNorm<E>,
        /// Of the output gate o.
        "output" output: LayerNorm<E>,
        /// Of the new c.
        "state" state: LayerNorm<E>,
    }
}

parameters! {
    /// Gain and shift of one layer normalization.
    pub struct LayerNorm {
        /// Gain, (hidden).
        "gamma" gamma: Array1<E>,
        /// Shift, (hidden).
        "beta" beta: Array1<E>,
    }
}

/// Added to a variance, as tf.contrib.layers does.
const EPSILON: f64 = 1e-12;

impl<E: Float> LayerNorm<E> {
    pub(super) fn filled(size: usize, gain: E, shift: E) -> Self {
        Self { gamma: Array1::from_elem(size, gain), beta: Array1::from_elem(size, shift) }
    }

    /// gamma ⊙ `normal` + beta, of some units.
    #[inline(always)]
    pub(super) fn scale<V: Vector<E>>(&self, normal: V, at: crate::fused::Units) -> V {
        normal * V::load(numbers(&self.gamma), at) + V::load(numbers(&self.beta), at)
    }

    /// From `d`, the gradient of a row's normalization, to that of the row; `normal` is the normalized row before gain and
    /// shift, `scale` what it was multiplied by. The gradients of gain and shift are added to `d_norm`, side by side.
    #[inline(always)]
    pub(super) fn back<V: Vector<E>>(&self, d: &mut [E], normal: &[E], scale: E, d_norm: &mut [E]) {
        let gamma = numbers(&self.gamma);
        let (d_gamma, d_beta) = d_norm.split_at_mut(normal.len());
        let (mut total, mut along) = (V::splat(E::zero()), V::splat(E::zero()));
        for at in V::units(d.len()) {
            let (d_y, n) = (V::load(d, at), V::load(normal, at));
            (V::load(d_gamma, at) + d_y * n).store(d_gamma, at);
            (V::load(d_beta, at) + d_y).store(d_beta, at);
            let d_n = d_y * V::load(gamma, at);
            total = total + d_n;
            along = d_n.mul_add(n, along);
            d_n.store(d, at);
        }
        // A gradient along the ones or along the normalized row itself is lost: mean and variance undo such a change.
        let count = E::from_f64(normal.len() as f64);
        let (mean, along) = (V::splat(total.sum() / count), V::splat(along.sum() / count));
        for at in V::units(d.len()) {
            ((V::load(d, at) - mean - V::load(normal, at) * along) * scale).store(d, at);
        }
    }
}

/// Makes a row its difference from its mean, divided by √(variance + 1e-12); returns what it was multiplied by.
#[inline(always)]
pub(super) fn normalize<E: Float, V: Vector<E>>(values: &mut [E]) -> E {
    let count = E::from_f64(values.len() as f64);
    let mean = sum(values, |value| value) / count;
    let variance = sum(values, |value| (value - mean) * (value - mean)) / count;
    let scale = (variance + E::from_f64(EPSILON)).sqrt().recip();
    for at in V::units(values.len()) {
        ((V::load(values, at) - mean) * scale).store(values, at);
    }
    scale
}

/// Σ term(value), in sixteen chains, so that it can be vectorized; their number is fixed, so the bits are too.
#[inline(always)]
fn sum<E: Float>(values: &[E], term: impl Fn(E) -> E) -> E {
    let mut chains = [E::zero(); 16];
    let (whole, rest) = values.as_chunks::<16>();
    for values in whole {
        for (chain, &value) in chains.iter_mut().zip(values) {
            *chain += term(value);
        }
    }
    for (chain, &value) in chains.iter_mut().zip(rest) {
        *chain += term(value);
    }
    chains.into_iter().sum()
}

impl<E: Float> LayerNorms<E> {
    /// Of the gates i, j, f, o.
    #[inline(always)]
    pub(super) fn gates(&self) -> [&LayerNorm<E>; 4] {
        [&self.input, &self.transform, &self.forget, &self.output]
    }
}
