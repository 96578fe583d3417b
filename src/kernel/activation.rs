//! [`Activation`]: the functions a gate or candidate may end in.

/// An elementwise function of a gate or a candidate.
///
/// # Precision
///
/// The largest errors of tanh and sigmoid, on every instruction set:
///
/// | | `f32`, every number | `f64`, a table |
/// |---|---|---|
/// | tanh | 1.5e-7, 2.5 ULP | 2.3e-16, 2 ULP |
/// | sigmoid | 9.0e-8, 2.5 ULP | 1.2e-16, 2 ULP |
///
/// Both are exact at 0 and ±∞, and NaN stays NaN. In `f32` sigmoid is monotone. tanh is not: it may be up to 2 ULP
/// below its value at a smaller number. Below −87 (`f64`: −708) sigmoid is 0. tanh of −0 is 0.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activation {
    /// tanh x.
    Tanh,
    /// 1 / (1 + e⁻ˣ).
    Sigmoid,
    /// max(x, 0).
    Relu,
    /// x if x > 0, else eˣ − 1.
    Elu,
    /// x / (1 + |x|).
    Softsign,
    /// 0.2 x + 0.5 clamped to \[0, 1\], as in Keras 2 and TensorFlow. PyTorch's differs: x / 6 + 0.5.
    HardSigmoid,
    /// x.
    Linear,
}
