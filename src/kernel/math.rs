//! exp, tanh, sigmoid and the other activations of a vector, in registers.
//!
//! All build on e^y = 2ⁿ·(1 + p(r)), where y = n·ln 2 + r, |r| ≤ ln 2 / 2, and p is exp's Taylor series without its 1.
//! e^y − 1 = 2ⁿ·p(r) + (2ⁿ − 1). Near 0, n is 0 and nothing cancels, so tanh keeps its relative accuracy down to the
//! smallest numbers. NaN stays NaN: every limit is a comparison that a NaN fails.
//!
//! | largest error | f32, all numbers | f64, a table |
//! |---|---|---|
//! | tanh | 1.5e-7, 2.5 ULP | 2.3e-16, 2 ULP |
//! | sigmoid | 9.0e-8, 2.5 ULP | 1.2e-16, 2 ULP |
//!
//! Below `MINUS_EXP_LIMIT` sigmoid is 0; the ULPs above leave this out. Over all of f32 sigmoid is monotone; tanh may
//! be up to 2 ULP below its value at a smaller number. Both are exact at 0 (tanh of −0 is 0) and ±∞. All this holds on
//! every instruction set. kernel/tests/math.rs measures it.

use super::lanes::Lanes;
use super::vector::Units;
use super::{Activation, Element};
use pulp::{Simd, WithSimd};

/// (p(r), 2ⁿ) for |y| up to `EXP_LIMIT`.
#[inline(always)]
fn exp_parts<S: Simd, E: Element>(y: Lanes<S, E>) -> (Lanes<S, E>, Lanes<S, E>) {
    let splat = Lanes::<S, E>::of;
    let n = y.fma(splat(E::LOG2_E), splat(E::ROUND)) - E::ROUND;
    let r = n.fma(splat(E::MINUS_LN_2[0]), y);
    let r = n.fma(splat(E::MINUS_LN_2[1]), r);
    let mut q = splat(E::EXP_TERMS[0]);
    for &term in &E::EXP_TERMS[1..] {
        q = q.fma(r, splat(term));
    }
    let p = (r * r).fma(q, r);
    (p, Lanes::new(n.s, E::exp2_whole(n.s, n.v)))
}

/// e^y − 1 for |y| up to `EXP_LIMIT`.
#[inline(always)]
fn exp_minus_one<S: Simd, E: Element>(y: Lanes<S, E>) -> Lanes<S, E> {
    let (p, scale) = exp_parts(y);
    p.fma(scale, scale - E::number(1.0))
}

/// 1 / (1 + e⁻ˣ).
#[inline(always)]
pub(super) fn sigmoid<S: Simd, E: Element>(x: Lanes<S, E>) -> Lanes<S, E> {
    let one = Lanes::<S, E>::number(1.0);
    let (p, scale) = exp_parts((-x).cut(E::MINUS_EXP_LIMIT, E::EXP_LIMIT));
    let y = one / (one + p.fma(scale, scale));
    Lanes::choose(x.below(Lanes::of(E::MINUS_EXP_LIMIT)), Lanes::number(0.0), y)
}

/// tanh x = (e²ˣ − 1) / (e²ˣ + 1).
#[inline(always)]
pub(super) fn tanh<S: Simd, E: Element>(x: Lanes<S, E>) -> Lanes<S, E> {
    let e = exp_minus_one((x + x).cut(E::MINUS_TANH_LIMIT, E::TANH_LIMIT));
    e / (e + E::number(2.0))
}

/// Any activation: the usual two inline, the others in a separate function, compiled once.
#[inline(always)]
pub(super) fn activate<S: Simd, E: Element>(x: Lanes<S, E>, activation: Activation) -> Lanes<S, E> {
    match activation {
        Activation::Tanh => tanh(x),
        Activation::Sigmoid => sigmoid(x),
        _ => {
            let (mut numbers, all) = ([E::default(); 16], Units::first(Lanes::<S, E>::COUNT));
            x.write(&mut numbers, all);
            x.s.vectorize(Unusual { activation, numbers: &mut numbers });
            Lanes::read(&numbers, all)
        }
    }
}

/// Applies an activation other than tanh and sigmoid to a vector of `numbers`.
struct Unusual<'a, E> {
    activation: Activation,
    numbers: &'a mut [E; 16],
}

impl<E: Element> WithSimd for Unusual<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let (zero, all) = (Lanes::<S, E>::number(0.0), Units::first(Lanes::<S, E>::COUNT));
        let x = Lanes::read(self.numbers, all);
        let y = match self.activation {
            Activation::Relu => Lanes::choose(x.below(zero), zero, x),
            Activation::Elu => {
                let negative = Lanes::choose(zero.below(x), zero, x);
                let e = exp_minus_one(negative.cut(E::MINUS_EXP_LIMIT, E::EXP_LIMIT));
                Lanes::choose(zero.below(x), x, e)
            }
            Activation::Softsign => x / (Lanes::number(1.0) + x.absolute()),
            Activation::HardSigmoid => {
                x.fma(Lanes::number(0.2), Lanes::number(0.5)).cut(E::number(0.0), E::number(1.0))
            }
            Activation::Linear => x,
            Activation::HardSigmoidWith { slope, offset } => {
                x.fma(Lanes::number(slope), Lanes::number(offset)).cut(E::number(0.0), E::number(1.0))
            }
            Activation::LeakyRelu { alpha } => Lanes::choose(x.below(zero), x * E::number(alpha), x),
            Activation::ThresholdedRelu { alpha } => {
                // NaN is below nothing, and stays.
                let small = Lanes::choose(x.below(Lanes::number(f64::INFINITY)), zero, x);
                Lanes::choose(Lanes::number(alpha).below(x), x, small)
            }
            Activation::EluWith { alpha } => {
                let negative = Lanes::choose(zero.below(x), zero, x);
                let e = exp_minus_one(negative.cut(E::MINUS_EXP_LIMIT, E::EXP_LIMIT));
                Lanes::choose(zero.below(x), x, e * E::number(alpha))
            }
            Activation::ScaledTanh { alpha, beta } => tanh(x * E::number(beta)) * E::number(alpha),
            Activation::Affine { alpha, beta } => x.fma(Lanes::number(alpha), Lanes::number(beta)),
            Activation::Tanh | Activation::Sigmoid => unreachable!("`activate` does these itself"),
        };
        y.write(self.numbers, all);
    }
}

/// The derivative of an activation, from its value `y`. For relu it is 0 at 0, as in TensorFlow.
#[inline(always)]
pub(super) fn slope<S: Simd, E: Element>(y: Lanes<S, E>, activation: Activation) -> Lanes<S, E> {
    let (zero, one) = (Lanes::<S, E>::number(0.0), Lanes::<S, E>::number(1.0));
    match activation {
        Activation::Tanh => one - y * y,
        Activation::Sigmoid => y * (one - y),
        Activation::Relu => Lanes::choose(zero.below(y), one, zero),
        Activation::Elu => Lanes::choose(zero.below(y), one, y + one),
        Activation::Softsign => {
            let rest = one - y.absolute();
            rest * rest
        }
        Activation::HardSigmoid => {
            let rising = Lanes::choose(y.below(one), Lanes::number(0.2), zero);
            Lanes::choose(zero.below(y), rising, zero)
        }
        Activation::Linear => one,
        _ => {
            let (mut numbers, all) = ([E::default(); 16], Units::first(Lanes::<S, E>::COUNT));
            y.write(&mut numbers, all);
            y.s.vectorize(UnusualSlope { activation, numbers: &mut numbers });
            Lanes::read(&numbers, all)
        }
    }
}

/// Derivatives of the activations that have numbers of their own, compiled once.
struct UnusualSlope<'a, E> {
    activation: Activation,
    numbers: &'a mut [E; 16],
}

impl<E: Element> WithSimd for UnusualSlope<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let (zero, one) = (Lanes::<S, E>::number(0.0), Lanes::<S, E>::number(1.0));
        let all = Units::first(Lanes::<S, E>::COUNT);
        let y = Lanes::read(self.numbers, all);
        let slope = match self.activation {
            Activation::HardSigmoidWith { slope, .. } => {
                let rising = Lanes::choose(y.below(one), Lanes::number(slope), zero);
                Lanes::choose(zero.below(y), rising, zero)
            }
            Activation::LeakyRelu { alpha } => Lanes::choose(zero.below(y), one, Lanes::number(alpha)),
            // With a negative threshold, a value may be negative.
            Activation::ThresholdedRelu { .. } => Lanes::choose(zero.below(y.absolute()), one, zero),
            Activation::EluWith { alpha } => Lanes::choose(zero.below(y), one, y + E::number(alpha)),
            Activation::ScaledTanh { alpha, beta } => {
                let tanh = y / Lanes::number(alpha);
                (one - tanh * tanh) * E::number(alpha) * E::number(beta)
            }
            Activation::Affine { alpha, .. } => Lanes::number(alpha),
            _ => unreachable!("`slope` does these itself"),
        };
        slope.write(self.numbers, all);
    }
}
