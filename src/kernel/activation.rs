//! [`Activation`]: the functions a gate or candidate may end in.

/// An elementwise function of a gate or a candidate.
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
    /// 0.2 x + 0.5 cut to \[0, 1\]: Keras 2's and TensorFlow's, not PyTorch's (which is x / 6 + 0.5).
    HardSigmoid,
    /// x.
    Linear,
}
