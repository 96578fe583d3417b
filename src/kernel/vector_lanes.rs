//! [`Vector`] for registers.

use super::lanes::Lanes;
use super::math;
use super::vector::{Sealed, Units, Vector};
use super::{Activation, Element};
use pulp::Simd;

impl<S: Simd, E: Element> Sealed for Lanes<S, E> {}

impl<S: Simd, E: Element> Vector<E> for Lanes<S, E> {
    type Mask = E::Mask<S>;

    const LANES: usize = Self::COUNT;

    #[inline(always)]
    fn splat(value: E) -> Self {
        Self::of(value)
    }
    #[inline(always)]
    fn load(row: &[E], at: Units) -> Self {
        Self::read(row, at)
    }
    #[inline(always)]
    fn store(self, row: &mut [E], at: Units) {
        self.write(row, at);
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        self.fma(factor, term)
    }
    #[inline(always)]
    fn abs(self) -> Self {
        self.absolute()
    }
    #[inline(always)]
    fn clamp(self, low: E, high: E) -> Self {
        self.cut(low, high)
    }
    #[inline(always)]
    fn less(self, other: Self) -> Self::Mask {
        self.below(other)
    }
    #[inline(always)]
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
        Self::choose(mask, yes, no)
    }
    #[inline(always)]
    fn sum(self) -> E {
        let mut lanes = [E::default(); 16];
        const { assert!(Self::LANES <= 16) };
        self.write(&mut lanes, Units::first(Self::LANES));
        for half in [8, 4, 2, 1] {
            for lane in 0..half {
                lanes[lane] = E::plus(lanes[lane], lanes[lane + half]);
            }
        }
        lanes[0]
    }
    #[inline(always)]
    fn tanh(self) -> Self {
        math::tanh(self)
    }
    #[inline(always)]
    fn sigmoid(self) -> Self {
        math::sigmoid(self)
    }
    #[inline(always)]
    fn activate(self, activation: Activation) -> Self {
        math::activate(self, activation)
    }
    #[inline(always)]
    fn slope(self, activation: Activation) -> Self {
        math::slope(self, activation)
    }
}
