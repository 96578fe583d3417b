//! [`Lanes`]: a register of numbers with operators.

use super::Element;
use super::vector::Units;
use pulp::Simd;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// A vector of instruction set `S`.
pub struct Lanes<S: Simd, E: Element> {
    pub(super) v: E::Vector<S>,
    pub(super) s: S,
}

impl<S: Simd, E: Element> Clone for Lanes<S, E> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Simd, E: Element> Copy for Lanes<S, E> {}

impl<S: Simd, E: Element> Lanes<S, E> {
    #[inline(always)]
    pub(super) fn new(s: S, v: E::Vector<S>) -> Self {
        Self { v, s }
    }

    #[inline(always)]
    fn with(self, v: E::Vector<S>) -> Self {
        Self { v, s: self.s }
    }

    /// The number nearest to `value`, in every lane.
    #[inline(always)]
    pub(super) fn number(value: f64) -> Self {
        Self::of(E::number(value))
    }
}

/// The proof that this machine has `S`.
#[inline(always)]
fn token<S: Simd>() -> S {
    const { assert!(size_of::<S>() == 0) };
    // SAFETY: `S` has no bytes, as asserted, so nothing is read. `S` is a private part of `Lanes`, over which equations
    // are generic, and `Isa`, which chooses it, has asked the machine for it.
    unsafe { std::ptr::NonNull::<S>::dangling().read() }
}

macro_rules! operator {
    ($($trait:ident $name:ident $with:ident)+) => {$(
        impl<S: Simd, E: Element> $trait for Lanes<S, E> {
            type Output = Self;
            #[inline(always)]
            fn $name(self, other: Self) -> Self {
                self.with(E::$with(self.s, self.v, other.v))
            }
        }
        impl<S: Simd, E: Element> $trait<E> for Lanes<S, E> {
            type Output = Self;
            #[inline(always)]
            fn $name(self, other: E) -> Self {
                self.with(E::$with(self.s, self.v, E::splat(self.s, other)))
            }
        }
    )+};
}

operator!(Add add vadd Sub sub vsub Mul mul vmul Div div vdiv);

impl<S: Simd, E: Element> Neg for Lanes<S, E> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        self.with(E::vsub(self.s, E::splat(self.s, E::number(0.0)), self.v))
    }
}

impl<S: Simd, E: Element> Lanes<S, E> {
    pub(super) const COUNT: usize = size_of::<E::Vector<S>>() / size_of::<E>();

    #[inline(always)]
    pub(super) fn of(value: E) -> Self {
        let s = token();
        Self { v: E::splat(s, value), s }
    }
    #[inline(always)]
    pub(super) fn fma(self, factor: Self, term: Self) -> Self {
        self.with(E::fma(self.s, self.v, factor.v, term.v))
    }
    #[inline(always)]
    pub(super) fn absolute(self) -> Self {
        self.with(E::vabs(self.s, self.v))
    }
    #[inline(always)]
    pub(super) fn cut(self, low: E, high: E) -> Self {
        let (low, high) = (Self::of(low), Self::of(high));
        let x = Self::choose(self.below(low), low, self);
        Self::choose(high.below(x), high, x)
    }
    #[inline(always)]
    pub(super) fn below(self, other: Self) -> E::Mask<S> {
        E::less(self.s, self.v, other.v)
    }
    #[inline(always)]
    pub(super) fn choose(mask: E::Mask<S>, yes: Self, no: Self) -> Self {
        yes.with(E::select(yes.s, mask, yes.v, no.v))
    }
}

impl<S: Simd, E: Element> Lanes<S, E> {
    /// # Panics
    /// If `row` ends before these units.
    #[inline(always)]
    #[track_caller]
    pub(super) fn read(row: &[E], at: Units) -> Self {
        let s = token();
        Self { v: E::load_slice(s, at.in_row(row)), s }
    }

    /// # Panics
    /// If `row` ends before these units.
    #[inline(always)]
    #[track_caller]
    pub(super) fn write(self, row: &mut [E], at: Units) {
        E::store_slice(self.s, at.in_row_mut(row), self.v);
    }
}
