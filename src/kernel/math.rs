//! exp, tanh, sigmoid and the other activations of a vector, in registers.
//!
//! All build on e^y = 2ⁿ·(1 + p(r)), where y = n·ln 2 + r, |r| ≤ ln 2 / 2, and p is exp's Taylor series without its 1.
//! e^y − 1 = 2ⁿ·p(r) + (2ⁿ − 1): near 0 n is 0 and nothing cancels, so tanh keeps its relative accuracy down to the
//! smallest numbers. NaN stays NaN: every limit is a comparison that a NaN fails.
//!
//! | largest error | f32, all numbers | f64, a table |
//! |---|---|---|
//! | tanh | 1.5e-7, 2.5 ULP | 2.3e-16, 2 ULP |
//! | sigmoid | 9.0e-8, 2.5 ULP | 1.2e-16, 2 ULP |
//!
//! Below `MINUS_EXP_LIMIT` sigmoid is 0, which no ULP counts. Over all of f32 sigmoid is monotone; a tanh may be up to 2 ULP
//! below that of a smaller number. Both are exact at 0 (tanh of −0 is 0) and ±∞. The same on every instruction set;
//! tests/math.rs in this room measures it.

use super::{Activation, Element};
use pulp::{Simd, WithSimd};

/// (p(r), 2ⁿ) for |y| up to `EXP_LIMIT`.
#[inline(always)]
fn exp_parts<S: Simd, E: Element>(s: S, y: E::Vector<S>) -> (E::Vector<S>, E::Vector<S>) {
    let round = E::splat(s, E::ROUND);
    let n = E::vsub(s, E::fma(s, y, E::splat(s, E::LOG2_E), round), round);
    let r = E::fma(s, n, E::splat(s, E::MINUS_LN_2[0]), y);
    let r = E::fma(s, n, E::splat(s, E::MINUS_LN_2[1]), r);
    let mut q = E::splat(s, E::EXP_TERMS[0]);
    for &term in &E::EXP_TERMS[1..] {
        q = E::fma(s, q, r, E::splat(s, term));
    }
    let p = E::fma(s, E::vmul(s, r, r), q, r);
    (p, E::exp2_whole(s, n))
}

/// e^y − 1 for |y| up to `EXP_LIMIT`.
#[inline(always)]
fn exp_minus_one<S: Simd, E: Element>(s: S, y: E::Vector<S>) -> E::Vector<S> {
    let (p, scale) = exp_parts::<S, E>(s, y);
    E::fma(s, p, scale, E::vsub(s, scale, E::splat(s, E::number(1.0))))
}

/// `x` cut to \[low, high\].
#[inline(always)]
pub(super) fn clamp<S: Simd, E: Element>(s: S, x: E::Vector<S>, low: E, high: E) -> E::Vector<S> {
    let (low, high) = (E::splat(s, low), E::splat(s, high));
    let x = E::select(s, E::less(s, x, low), low, x);
    E::select(s, E::less(s, high, x), high, x)
}

/// 1 / (1 + e⁻ˣ).
#[inline(always)]
pub(super) fn sigmoid<S: Simd, E: Element>(s: S, x: E::Vector<S>) -> E::Vector<S> {
    let (zero, one) = (E::splat(s, E::number(0.0)), E::splat(s, E::number(1.0)));
    let minus_x = clamp::<S, E>(s, E::vsub(s, zero, x), E::MINUS_EXP_LIMIT, E::EXP_LIMIT);
    let (p, scale) = exp_parts::<S, E>(s, minus_x);
    let y = E::vdiv(s, one, E::vadd(s, one, E::fma(s, p, scale, scale)));
    E::select(s, E::less(s, x, E::splat(s, E::MINUS_EXP_LIMIT)), zero, y)
}

/// tanh x = (e²ˣ − 1) / (e²ˣ + 1).
#[inline(always)]
pub(super) fn tanh<S: Simd, E: Element>(s: S, x: E::Vector<S>) -> E::Vector<S> {
    let y = clamp::<S, E>(s, E::vadd(s, x, x), E::MINUS_TANH_LIMIT, E::TANH_LIMIT);
    let e = exp_minus_one::<S, E>(s, y);
    E::vdiv(s, e, E::vadd(s, e, E::splat(s, E::number(2.0))))
}

/// Any of the activations: the usual two here, the others in a function of their own, compiled once.
#[inline(always)]
pub(super) fn activate<S: Simd, E: Element>(s: S, activation: Activation, x: E::Vector<S>) -> E::Vector<S> {
    match activation {
        Activation::Tanh => tanh::<S, E>(s, x),
        Activation::Sigmoid => sigmoid::<S, E>(s, x),
        _ => {
            let mut y = x;
            let at = (&raw mut y).cast::<E>();
            s.vectorize(Unusual { activation, at });
            y
        }
    }
}

/// Applies an activation other than tanh and sigmoid to the vector at `at`.
struct Unusual<E> {
    activation: Activation,
    at: *mut E,
}

impl<E: Element> WithSimd for Unusual<E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let (zero, one) = (E::splat(s, E::number(0.0)), E::splat(s, E::number(1.0)));
        // SAFETY: `activate` made `at` point to a whole vector of this `S`: `vectorize` hands on the `s` it is called on.
        let x = unsafe { E::load(s, self.at) };
        let y = match self.activation {
            Activation::Relu => E::select(s, E::less(s, x, zero), zero, x),
            Activation::Elu => {
                let negative = E::select(s, E::less(s, zero, x), zero, x);
                let e = exp_minus_one::<S, E>(s, clamp::<S, E>(s, negative, E::MINUS_EXP_LIMIT, E::EXP_LIMIT));
                E::select(s, E::less(s, zero, x), x, e)
            }
            Activation::Softsign => E::vdiv(s, x, E::vadd(s, one, E::vabs(s, x))),
            Activation::HardSigmoid => {
                let line = E::fma(s, x, E::splat(s, E::number(0.2)), E::splat(s, E::number(0.5)));
                clamp::<S, E>(s, line, E::number(0.0), E::number(1.0))
            }
            Activation::Linear => x,
            Activation::Tanh | Activation::Sigmoid => unreachable!("`activate` does these itself"),
        };
        // SAFETY: as above.
        unsafe { E::store(s, self.at, y) };
    }
}

/// The derivative of an activation, from its value `y`. That of relu is 0 at 0, as TensorFlow has it.
#[inline(always)]
pub(super) fn derivative<S: Simd, E: Element>(s: S, activation: Activation, y: E::Vector<S>) -> E::Vector<S> {
    let (zero, one) = (E::splat(s, E::number(0.0)), E::splat(s, E::number(1.0)));
    match activation {
        Activation::Tanh => E::vsub(s, one, E::vmul(s, y, y)),
        Activation::Sigmoid => E::vmul(s, y, E::vsub(s, one, y)),
        Activation::Relu => E::select(s, E::less(s, zero, y), one, zero),
        Activation::Elu => E::select(s, E::less(s, zero, y), one, E::vadd(s, y, one)),
        Activation::Softsign => {
            let rest = E::vsub(s, one, E::vabs(s, y));
            E::vmul(s, rest, rest)
        }
        Activation::HardSigmoid => {
            let rising = E::select(s, E::less(s, y, one), E::splat(s, E::number(0.2)), zero);
            E::select(s, E::less(s, zero, y), rising, zero)
        }
        Activation::Linear => one,
    }
}
