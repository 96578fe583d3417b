//! [`Float`]: the two element types, and how they reach the kernels.

use crate::kernel::Driver;

/// An element type: `f32` or `f64`. Sealed: the kernels support only these two.
///
/// Operators, `abs`, `exp`, `tanh` and the like come from [`NdFloat`](ndarray::NdFloat).
pub trait Float: ndarray::NdFloat + Default + std::iter::Sum + Driver + sealed::Sealed {
    /// Converts to the nearest value of this type.
    fn from_f64(value: f64) -> Self;
    /// Converts to `f64`, exactly.
    fn as_f64(self) -> f64;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

impl Float for f32 {
    fn from_f64(value: f64) -> Self {
        value as f32
    }
    fn as_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Float for f64 {
    fn from_f64(value: f64) -> Self {
        value
    }
    fn as_f64(self) -> f64 {
        self
    }
}
