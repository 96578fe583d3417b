//! An activation, or its derivative, over a slice.

use super::lanes::Lanes;
use super::vector::Vector;
use super::{Activation, Element};
use pulp::{Simd, WithSimd};

/// The function applied to every number of a slice.
#[derive(Clone, Copy)]
pub(crate) enum Function {
    /// The activation's value.
    Value(Activation),
    /// The activation's derivative, from its value.
    Slope(Activation),
}

/// A function over a slice, in place.
pub struct Apply<'a, E> {
    pub(super) function: Function,
    pub(super) values: &'a mut [E],
}

impl<E: Element> WithSimd for Apply<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for at in Lanes::<S, E>::units(self.values.len()) {
            let x = Lanes::<S, E>::load(self.values, at);
            let y = match self.function {
                Function::Value(activation) => x.activate(activation),
                Function::Slope(activation) => x.slope(activation),
            };
            y.store(self.values, at);
        }
    }
}
