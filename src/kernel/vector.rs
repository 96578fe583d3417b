//! [`Vector`]: as many numbers as a register holds, with operators, so that code reads like its formula.

use super::Activation;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// As many contiguous numbers as a register of the running instruction set holds: 16 `f32` on AVX-512, 1 in plain Rust.
///
/// Write a cell's equation once, generic over `Vector`. It is compiled for each instruction set:
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
/// Arithmetic is lane by lane and follows IEEE 754. NaN fails comparisons and passes [`clamp`](Self::clamp). Sealed.
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
    + Sealed
{
    /// One boolean per lane.
    type Mask: Copy;

    /// Numbers in a vector.
    const LANES: usize;

    /// `value` in every lane.
    fn splat(value: E) -> Self;

    /// Loads the numbers of `row` at `at`. Lanes beyond `at` are 0.
    ///
    /// # Panics
    /// If `row` ends before `at` does.
    #[track_caller]
    fn load(row: &[E], at: Units) -> Self;

    /// Stores the numbers to `row` at `at`. Lanes beyond `at` are left out.
    ///
    /// # Panics
    /// If `row` ends before `at` does.
    #[track_caller]
    fn store(self, row: &mut [E], at: Units);

    /// self · factor + term, rounded once.
    #[must_use]
    fn mul_add(self, factor: Self, term: Self) -> Self;

    /// |self|.
    #[must_use]
    fn abs(self) -> Self;

    /// Clamped to \[low, high\]. NaN stays NaN.
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

    /// The sum of all lanes. In a shorter last vector, the lanes beyond its end count with whatever they hold.
    fn sum(self) -> E;

    /// The places of a row of `len` numbers, one vector at a time. The last may be shorter.
    #[inline(always)]
    fn units(len: usize) -> UnitsOf {
        UnitsOf { first: 0, len, lanes: Self::LANES }
    }
}

/// Contiguous places of a row, at most as many as a vector has lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Units {
    first: usize,
    count: usize,
}

impl Units {
    /// The first `count` places.
    #[inline(always)]
    pub(super) fn first(count: usize) -> Self {
        Self { first: 0, count }
    }

    /// Vector number `vector` of `units` units.
    #[inline(always)]
    pub(super) fn of(lanes: usize, vector: usize, units: usize) -> Self {
        let first = vector * lanes;
        Self { first, count: units.saturating_sub(first).min(lanes) }
    }

    #[inline(always)]
    pub(super) fn count(self) -> usize {
        self.count
    }

    /// # Panics
    /// If `row` ends before these units.
    #[inline(always)]
    #[track_caller]
    pub(super) fn in_row<E>(self, row: &[E]) -> &[E] {
        self.assert_inside(row.len());
        // SAFETY: the row has these units, as asserted. Slicing would check again, in the loops of every equation.
        unsafe { row.get_unchecked(self.first..self.first + self.count) }
    }

    /// # Panics
    /// If `row` ends before these units.
    #[inline(always)]
    #[track_caller]
    pub(super) fn in_row_mut<E>(self, row: &mut [E]) -> &mut [E] {
        self.assert_inside(row.len());
        // SAFETY: as above.
        unsafe { row.get_unchecked_mut(self.first..self.first + self.count) }
    }

    #[inline(always)]
    #[track_caller]
    fn assert_inside(self, len: usize) {
        // No overflow: units are the first ones or belong to a row, whose length a `usize` holds.
        if self.first + self.count > len {
            self.refuse_slice(len);
        }
    }

    #[cold]
    #[inline(never)]
    #[track_caller]
    fn refuse_slice(self, len: usize) -> ! {
        let Self { first, count } = self;
        panic!("units {first} to {} of a slice of {len}: the row ends before these units", first + count);
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

/// Keeps others from implementing [`Vector`].
pub trait Sealed {}
