//! [`Activation`]: the functions a gate or candidate may end in.

use std::hash::{Hash, Hasher};

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
///
/// # Numbers
///
/// Some have numbers of their own, which a cell rounds to its element type. A cell's `build` refuses those out of the
/// ranges below. `alpha` and `beta` are ONNX's names.
#[non_exhaustive]
#[derive(Debug, Clone, Copy)]
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
    /// 0.2 x + 0.5 clamped to \[0, 1\], as in Keras 2 and TensorFlow. That of PyTorch and Keras 3 is
    /// [`HardSigmoidWith`](Self::HardSigmoidWith).
    HardSigmoid,
    /// x.
    Linear,
    /// `slope` x + `offset` clamped to \[0, 1\]: with 1 / 6 and 0.5, PyTorch's `Hardsigmoid`.
    HardSigmoidWith {
        /// Finite.
        slope: f64,
        /// Finite.
        offset: f64,
    },
    /// x if x > 0, else `alpha` x.
    LeakyRelu {
        /// Finite and above 0.
        alpha: f64,
    },
    /// x if x > `alpha`, else 0.
    ThresholdedRelu {
        /// Finite.
        alpha: f64,
    },
    /// x if x > 0, else `alpha` (eˣ − 1).
    EluWith {
        /// Finite and above 0.
        alpha: f64,
    },
    /// `alpha` tanh(`beta` x).
    ScaledTanh {
        /// Finite, not 0.
        alpha: f64,
        /// Finite.
        beta: f64,
    },
    /// `alpha` x + `beta`.
    Affine {
        /// Finite.
        alpha: f64,
        /// Finite.
        beta: f64,
    },
}

impl Activation {
    /// Whether a gate and a candidate have the usual activations, sigmoid and tanh. A comparison would read numbers that
    /// these do not have.
    #[inline(always)]
    pub(crate) fn are_usual(gate: Self, candidate: Self) -> bool {
        matches!((gate, candidate), (Self::Sigmoid, Self::Tanh))
    }

    /// What makes it this activation and no other: a number per kind, and the bits of its numbers.
    fn key(self) -> [u64; 3] {
        let of = |kind, a: f64, b: f64| [kind, a.to_bits(), b.to_bits()];
        match self {
            Self::Tanh => of(0, 0.0, 0.0),
            Self::Sigmoid => of(1, 0.0, 0.0),
            Self::Relu => of(2, 0.0, 0.0),
            Self::Elu => of(3, 0.0, 0.0),
            Self::Softsign => of(4, 0.0, 0.0),
            Self::HardSigmoid => of(5, 0.0, 0.0),
            Self::Linear => of(6, 0.0, 0.0),
            Self::HardSigmoidWith { slope, offset } => of(7, slope, offset),
            Self::LeakyRelu { alpha } => of(8, alpha, 0.0),
            Self::ThresholdedRelu { alpha } => of(9, alpha, 0.0),
            Self::EluWith { alpha } => of(10, alpha, 0.0),
            Self::ScaledTanh { alpha, beta } => of(11, alpha, beta),
            Self::Affine { alpha, beta } => of(12, alpha, beta),
        }
    }
}

/// Numbers are equal if their bits are.
impl PartialEq for Activation {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Activation {}

impl Hash for Activation {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}
