//! [`Vector`]: as many numbers as a register holds, so that a formula reads as the formula.

use super::{Activation, Element};
use pulp::Simd;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// As many neighbouring numbers as a register of the running instruction set holds: 16 `f32` on AVX-512, 1 on plain Rust.
///
/// A cell's equation is written once, generic over it, and compiled for each instruction set:
///
/// ```
/// use rnn_cell::fused::Vector;
///
/// /// h' = tanh(sum) + ½ h, for a whole row.
/// #[inline(always)]
/// fn row<V: Vector<f32>>(sums: &[f32], h: &[f32], new: &mut [f32]) {
///     for at in V::units(new.len()) {
///         let next = V::load(sums, at).tanh() + V::load(h, at) * 0.5;
///         next.store(new, at);
///     }
/// }
/// ```
///
/// Arithmetic is lane by lane and follows IEEE 754. A NaN fails every comparison and passes [`clamp`](Self::clamp). Sealed.
pub trait Vector<E>:
    Copy
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + Add<E, Output = Self>
    + Sub<E, Output = Self>
    + Mul<E, Output = Self>
    + sealed::Sealed
{
    /// One boolean a lane.
    type Mask: Copy;

    /// Numbers in a vector.
    const LANES: usize;

    /// `value` in every lane.
    fn splat(value: E) -> Self;

    /// The numbers of `row` at `at`. Lanes beyond `at` are 0.
    ///
    /// # Panics
    /// If `row` ends before.
    fn load(row: &[E], at: Units) -> Self;

    /// Writes the numbers of `row` at `at`.
    ///
    /// # Panics
    /// If `row` ends before.
    fn store(self, row: &mut [E], at: Units);

    /// self · factor + term, rounded once.
    #[must_use]
    fn mul_add(self, factor: Self, term: Self) -> Self;

    /// |self|.
    #[must_use]
    fn abs(self) -> Self;

    /// Cut to \[low, high\].
    #[must_use]
    fn clamp(self, low: E, high: E) -> Self;

    /// Where `self` < `other`.
    fn less(self, other: Self) -> Self::Mask;

    /// `yes` where the mask is true, else `no`.
    #[must_use]
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self;

    /// tanh, to 2.5 ULP.
    #[must_use]
    fn tanh(self) -> Self;

    /// 1 / (1 + e⁻ˣ), to 2.5 ULP.
    #[must_use]
    fn sigmoid(self) -> Self;

    /// The value of `activation`.
    #[must_use]
    fn activate(self, activation: Activation) -> Self;

    /// The derivative of `activation` where its value is `self`: of tanh 1 − y², of sigmoid y (1 − y).
    #[must_use]
    fn slope(self, activation: Activation) -> Self;

    /// The sum of all lanes; of a last, shorter vector those beyond count as they are.
    fn sum(self) -> E;

    /// The places of a row of `len` numbers, a vector at a time; the last may be shorter.
    #[inline(always)]
    fn units(len: usize) -> UnitsOf {
        UnitsOf { first: 0, len, lanes: Self::LANES }
    }
}

/// Up to as many neighbouring places of a row as a vector has lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Units {
    pub(super) first: usize,
    pub(super) count: usize,
}

impl Units {
    /// Vector number `vector` of `units` units.
    #[inline(always)]
    pub(super) fn of(lanes: usize, vector: usize, units: usize) -> Self {
        let first = vector * lanes;
        Self { first, count: units.saturating_sub(first).min(lanes) }
    }

    #[inline(always)]
    fn assert_inside(self, len: usize) {
        assert!(self.first <= len && self.count <= len - self.first, "the row ends before these units");
    }
}

/// The iterator of [`Vector::units`].
#[derive(Debug, Clone)]
pub struct UnitsOf {
    first: usize,
    len: usize,
    lanes: usize,
}

impl Iterator for UnitsOf {
    type Item = Units;

    #[inline(always)]
    fn next(&mut self) -> Option<Units> {
        let left = self.len - self.first;
        if left == 0 {
            return None;
        }
        let units = Units { first: self.first, count: left.min(self.lanes) };
        self.first += units.count;
        Some(units)
    }
}

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

mod sealed {
    pub trait Sealed {}
    impl<S: pulp::Simd, E: super::Element> Sealed for super::Lanes<S, E> {}
}

impl<S: Simd, E: Element> Lanes<S, E> {
    #[inline(always)]
    pub(super) fn new(s: S, v: E::Vector<S>) -> Self {
        Self { v, s }
    }

    #[inline(always)]
    fn with(self, v: E::Vector<S>) -> Self {
        Self { v, s: self.s }
    }

    /// Of the number nearest to `value`.
    #[inline(always)]
    pub(super) fn number(value: f64) -> Self {
        Self::splat(E::number(value))
    }
}

/// The proof that this machine has `S`.
#[inline(always)]
fn token<S: Simd>() -> S {
    const { assert!(size_of::<S>() == 0) };
    // SAFETY: nothing is read, as asserted. `S` is a private part of the `Lanes` that an equation is generic over, and `Isa`,
    // which chooses it, has asked the machine for it.
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

impl<S: Simd, E: Element> Vector<E> for Lanes<S, E> {
    type Mask = E::Mask<S>;

    const LANES: usize = size_of::<E::Vector<S>>() / size_of::<E>();

    #[inline(always)]
    fn splat(value: E) -> Self {
        let s = token();
        Self { v: E::splat(s, value), s }
    }
    #[inline(always)]
    fn load(row: &[E], at: Units) -> Self {
        at.assert_inside(row.len());
        // SAFETY: `row` holds these units, as asserted.
        unsafe { Self::load_at(row.as_ptr(), at) }
    }
    #[inline(always)]
    fn store(self, row: &mut [E], at: Units) {
        at.assert_inside(row.len());
        // SAFETY: `row` holds these units, as asserted.
        unsafe { self.store_at(row.as_mut_ptr(), at) };
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        self.with(E::fma(self.s, self.v, factor.v, term.v))
    }
    #[inline(always)]
    fn abs(self) -> Self {
        self.with(E::vabs(self.s, self.v))
    }
    #[inline(always)]
    fn clamp(self, low: E, high: E) -> Self {
        let (low, high) = (Self::splat(low), Self::splat(high));
        let x = Self::select(self.less(low), low, self);
        Self::select(high.less(x), high, x)
    }
    #[inline(always)]
    fn less(self, other: Self) -> Self::Mask {
        E::less(self.s, self.v, other.v)
    }
    #[inline(always)]
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
        yes.with(E::select(yes.s, mask, yes.v, no.v))
    }
    #[inline(always)]
    fn sum(self) -> E {
        let mut lanes = [E::default(); 16];
        const { assert!(Self::LANES <= 16) };
        // SAFETY: a vector has at most as many lanes.
        unsafe { self.store_at(lanes.as_mut_ptr(), Units { first: 0, count: Self::LANES }) };
        for half in [8, 4, 2, 1] {
            for lane in 0..half {
                lanes[lane] = E::plus(lanes[lane], lanes[lane + half]);
            }
        }
        lanes[0]
    }
    #[inline(always)]
    fn tanh(self) -> Self {
        super::math::tanh(self)
    }
    #[inline(always)]
    fn sigmoid(self) -> Self {
        super::math::sigmoid(self)
    }
    #[inline(always)]
    fn activate(self, activation: Activation) -> Self {
        super::math::activate(self, activation)
    }
    #[inline(always)]
    fn slope(self, activation: Activation) -> Self {
        super::math::slope(self, activation)
    }
}

impl<S: Simd, E: Element> Lanes<S, E> {
    /// # Safety
    /// `row` is readable at these units.
    #[inline(always)]
    pub(super) unsafe fn load_at(row: *const E, at: Units) -> Self {
        let s = token::<S>();
        // SAFETY: the caller's promise: a whole vector, or as many lanes as the mask has.
        let v = unsafe {
            if at.count == Self::LANES {
                E::load(s, row.add(at.first))
            } else {
                E::load_masked(s, E::first(s, at.count), row.add(at.first))
            }
        };
        Self { v, s }
    }

    /// # Safety
    /// `row` is writable at these units.
    #[inline(always)]
    pub(super) unsafe fn store_at(self, row: *mut E, at: Units) {
        // SAFETY: as above.
        unsafe {
            if at.count == Self::LANES {
                E::store(self.s, row.add(at.first), self.v);
            } else {
                E::store_masked(self.s, E::first(self.s, at.count), row.add(at.first), self.v);
            }
        }
    }
}
