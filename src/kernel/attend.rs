//! What an attention does with the rows of a memory: one row of a batch at a time.

use super::Element;
use super::lanes::Lanes;
use super::vector::Vector;
use pulp::{Simd, WithSimd};

/// Work on `rows`, a memory's rows one after another, each as wide as `x`, `query` or `to`.
pub enum Attend<'a, E> {
    /// to\[s\] = rows\[s\] · x.
    Dots { rows: &'a [E], x: &'a [E], to: &'a mut [E] },
    /// to += Σ weights\[s\] · rows\[s\].
    Combine { rows: &'a [E], weights: &'a [E], to: &'a mut [E] },
    /// rows\[s\] += weights\[s\] · x.
    Spread { weights: &'a [E], x: &'a [E], rows: &'a mut [E] },
    /// to\[s\] = Σ v ⊙ tanh(rows\[s\] + query).
    TanhDots { rows: &'a [E], query: &'a [E], v: &'a [E], to: &'a mut [E] },
    /// The gradients of `TanhDots`, from `d`, that of `to`. Each is added to.
    TanhBack { rows: &'a [E], query: &'a [E], v: &'a [E], d: &'a [E], to: TanhGradients<'a, E> },
}

/// What [`Attend::TanhBack`] adds to.
pub struct TanhGradients<'a, E> {
    pub rows: &'a mut [E],
    pub query: &'a mut [E],
    pub v: &'a mut [E],
}

impl<E: Element> WithSimd for Attend<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        match self {
            Self::Dots { rows, x, to } => dots::<Lanes<S, E>, E>(rows, x, to),
            Self::Combine { rows, weights, to } => combine::<Lanes<S, E>, E>(rows, weights, to),
            Self::Spread { weights, x, rows } => spread::<Lanes<S, E>, E>(weights, x, rows),
            Self::TanhDots { rows, query, v, to } => tanh_dots::<Lanes<S, E>, E>(rows, (query, v), to),
            Self::TanhBack { rows, query, v, d, to } => tanh_back::<Lanes<S, E>, E>(rows, (query, v), d, to),
        }
    }
}

#[inline(always)]
fn dots<V: Vector<E>, E: Element>(rows: &[E], x: &[E], to: &mut [E]) {
    for (row, to) in rows.chunks_exact(x.len()).zip(to) {
        let mut sum = V::splat(E::default());
        for at in V::units(x.len()) {
            sum = V::load(row, at).mul_add(V::load(x, at), sum);
        }
        *to = sum.sum();
    }
}

#[inline(always)]
fn combine<V: Vector<E>, E: Element>(rows: &[E], weights: &[E], to: &mut [E]) {
    let width = to.len();
    for at in V::units(width) {
        let mut sum = V::load(to, at);
        for (row, &weight) in rows.chunks_exact(width).zip(weights) {
            sum = V::load(row, at).mul_add(V::splat(weight), sum);
        }
        sum.store(to, at);
    }
}

#[inline(always)]
fn spread<V: Vector<E>, E: Element>(weights: &[E], x: &[E], rows: &mut [E]) {
    for (row, &weight) in rows.chunks_exact_mut(x.len()).zip(weights) {
        for at in V::units(x.len()) {
            V::load(x, at).mul_add(V::splat(weight), V::load(row, at)).store(row, at);
        }
    }
}

#[inline(always)]
fn tanh_dots<V: Vector<E>, E: Element>(rows: &[E], (query, v): (&[E], &[E]), to: &mut [E]) {
    for (row, to) in rows.chunks_exact(query.len()).zip(to) {
        let mut sum = V::splat(E::default());
        for at in V::units(query.len()) {
            let tanh = (V::load(row, at) + V::load(query, at)).tanh();
            // Beyond the row's end `v` is 0.
            sum = tanh.mul_add(V::load(v, at), sum);
        }
        *to = sum.sum();
    }
}

#[inline(always)]
fn tanh_back<V: Vector<E>, E: Element>(rows: &[E], (query, v): (&[E], &[E]), d: &[E], to: TanhGradients<'_, E>) {
    let width = query.len();
    let steps = rows.chunks_exact(width).zip(to.rows.chunks_exact_mut(width)).zip(d);
    for ((row, d_row), &d) in steps {
        for at in V::units(width) {
            let tanh = (V::load(row, at) + V::load(query, at)).tanh();
            let d_v = tanh.mul_add(V::splat(d), V::load(to.v, at));
            d_v.store(to.v, at);
            let d_sum = V::load(v, at) * d * (V::splat(E::number(1.0)) - tanh * tanh);
            (V::load(d_row, at) + d_sum).store(d_row, at);
            (V::load(to.query, at) + d_sum).store(to.query, at);
        }
    }
}
