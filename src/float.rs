//! [`Float`]: the two element types, and how they reach the kernels.

use crate::kernel::Driver;
use num_traits::FromPrimitive;

/// An element type: `f32` or `f64`. Sealed: the kernels support only these two.
///
/// Operators, `abs`, `exp`, `tanh` and the like come from [`NdFloat`](ndarray::NdFloat), ndarray's `mean` and `var` from
/// `FromPrimitive`.
///
/// ```
/// use ndarray::Array1;
/// use rnn_cell::Float;
///
/// fn centered<E: Float>(x: &Array1<E>) -> Array1<E> {
///     x - x.mean().unwrap_or(E::of(0.0))
/// }
/// assert_eq!(centered(&ndarray::arr1(&[1.0_f32, 3.0])), ndarray::arr1(&[-1.0, 1.0]));
/// ```
pub trait Float: ndarray::NdFloat + FromPrimitive + Default + std::iter::Sum + Driver + sealed::Sealed {
    /// Converts to the nearest value of this type.
    fn of(value: f64) -> Self;
    /// Converts to `f64`, exactly.
    fn as_f64(self) -> f64;
}

#[allow(unnameable_types)]
mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

impl Float for f32 {
    fn of(value: f64) -> Self {
        value as f32
    }
    fn as_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Float for f64 {
    fn of(value: f64) -> Self {
        value
    }
    fn as_f64(self) -> f64 {
        self
    }
}
