//! Options of attention mechanisms, under TensorFlow's names.

use super::align::{Align, MonotonicMode, Probability};
use super::mechanism::{AttentionMechanism, AttentionMechanismWeights, Score};
use crate::checks::{check_finite, check_sizes};
use crate::fused::Linear;
use crate::fused::weights::drawn_vector;
use crate::{Arrays, Error, Float};
use ndarray::{Array1, arr0};
use rand::Rng;

/// Scores of Luong, Pham and Manning (2015): query · key.
#[derive(Debug, Clone, Copy, Default)]
pub struct Luong {
    scale: bool,
}

/// Scores of Bahdanau, Cho and Bengio (2015): v · tanh(key + query · query_layer).
#[derive(Debug, Clone, Copy, Default)]
pub struct Bahdanau {
    normalize: bool,
}

/// Each step attends anew.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plain {
    probability: Probability,
}

/// Attention never moves back in the memory.
#[derive(Debug, Clone, Copy, Default)]
pub struct Monotonic {
    mode: MonotonicMode,
    score_bias_init: f64,
}

/// TensorFlow's `LuongAttention`: score = query · key, with `scale` times a weight g.
///
/// The query must be as wide as the keys. See [`AttentionMechanism`].
#[derive(Debug)]
pub enum LuongAttention {}

/// TensorFlow's `BahdanauAttention`: score = Σ v ⊙ tanh(key + query · query_layer). With `normalize`, g · v / |v| takes
/// the place of v, and a bias b is added inside the tanh.
///
/// See [`AttentionMechanism`].
#[derive(Debug)]
pub enum BahdanauAttention {}

/// TensorFlow's `LuongMonotonicAttention`: the scores of [`LuongAttention`] plus a bias, read from left to right.
///
/// See [`AttentionMechanism`] and [`MonotonicMode`].
#[derive(Debug)]
pub enum LuongMonotonicAttention {}

/// TensorFlow's `BahdanauMonotonicAttention`: the scores of [`BahdanauAttention`] plus a bias, read from left to right.
///
/// See [`AttentionMechanism`] and [`MonotonicMode`].
#[derive(Debug)]
pub enum BahdanauMonotonicAttention {}

macro_rules! names {
    ($($name:ident: $score:ident, $align:ident;)+) => {$(
        impl $name {
            /// Options of a mechanism with keys of `num_units` numbers.
            pub fn builder(num_units: usize) -> MechanismBuilder<$score, $align> {
                MechanismBuilder {
                    num_units,
                    memory_depth: num_units,
                    query_depth: num_units,
                    score: $score::default(),
                    align: $align::default(),
                }
            }
        }
    )+};
}

names! {
    LuongAttention: Luong, Plain;
    BahdanauAttention: Bahdanau, Plain;
    LuongMonotonicAttention: Luong, Monotonic;
    BahdanauMonotonicAttention: Bahdanau, Monotonic;
}

/// Options of an [`AttentionMechanism`] whose scores are `S`, [`Luong`] or [`Bahdanau`], and whose alignments are `A`,
/// [`Plain`] or [`Monotonic`].
#[derive(Debug, Clone)]
#[must_use]
pub struct MechanismBuilder<S, A> {
    num_units: usize,
    memory_depth: usize,
    query_depth: usize,
    score: S,
    align: A,
}

impl<S, A> MechanismBuilder<S, A> {
    /// Features per step of the memory. Default: `num_units`.
    pub fn memory_depth(mut self, memory_depth: usize) -> Self {
        self.memory_depth = memory_depth;
        self
    }
}

impl<A> MechanismBuilder<Luong, A> {
    /// Whether scores are multiplied by a weight, `attention_g`. Default: false.
    pub fn scale(mut self, scale: bool) -> Self {
        self.score.scale = scale;
        self
    }
}

impl<A> MechanismBuilder<Bahdanau, A> {
    /// Features of a query, the output of the cell that attends. Default: `num_units`.
    pub fn query_depth(mut self, query_depth: usize) -> Self {
        self.query_depth = query_depth;
        self
    }

    /// Whether v is normalized (Salimans and Kingma, 2016): g · v / |v|, with weights `attention_g` and `attention_b`.
    /// Default: false.
    pub fn normalize(mut self, normalize: bool) -> Self {
        self.score.normalize = normalize;
        self
    }
}

impl<S> MechanismBuilder<S, Plain> {
    /// How scores become alignments. Default: softmax.
    pub fn probability_fn(mut self, probability_fn: Probability) -> Self {
        self.align.probability = probability_fn;
        self
    }
}

impl<S> MechanismBuilder<S, Monotonic> {
    /// How to move on. Default: [`MonotonicMode::Parallel`], as in TensorFlow.
    pub fn mode(mut self, mode: MonotonicMode) -> Self {
        self.align.mode = mode;
        self
    }

    /// Initial value of the scores' bias, `attention_score_bias`. Must be finite. Default: 0.
    pub fn score_bias_init(mut self, score_bias_init: f64) -> Self {
        self.align.score_bias_init = score_bias_init;
        self
    }
}

/// Scores and the weights they have. Sealed.
pub trait ScoreOptions: sealed::Sealed {
    #[doc(hidden)]
    fn score(&self) -> Score;
}

/// Alignments and the weight they have. Sealed.
pub trait AlignOptions: sealed::Sealed {
    #[doc(hidden)]
    fn align(&self) -> Align;
    #[doc(hidden)]
    fn score_bias_init(&self) -> Option<f64>;
}

mod sealed {
    #[allow(unnameable_types)]
    pub trait Sealed {}
    impl Sealed for super::Luong {}
    impl Sealed for super::Bahdanau {}
    impl Sealed for super::Plain {}
    impl Sealed for super::Monotonic {}
}

impl ScoreOptions for Luong {
    fn score(&self) -> Score {
        Score::Luong { scale: self.scale }
    }
}

impl ScoreOptions for Bahdanau {
    fn score(&self) -> Score {
        Score::Bahdanau { normalize: self.normalize }
    }
}

impl AlignOptions for Plain {
    fn align(&self) -> Align {
        Align::Plain(self.probability)
    }
    fn score_bias_init(&self) -> Option<f64> {
        None
    }
}

impl AlignOptions for Monotonic {
    fn align(&self) -> Align {
        Align::Monotonic(self.mode)
    }
    fn score_bias_init(&self) -> Option<f64> {
        Some(self.score_bias_init)
    }
}

impl<S: ScoreOptions, A: AlignOptions> MechanismBuilder<S, A> {
    /// Builds the mechanism with TensorFlow's initial weights.
    ///
    /// # Errors
    /// - [`Error::ZeroSize`] if a size is 0.
    /// - [`Error::InvalidNumber`] if `score_bias_init` is not finite.
    /// - [`Error::TooLarge`] if the weights would not fit in memory.
    pub fn build<E: Float, R: Rng + ?Sized>(self, rng: &mut R) -> Result<AttentionMechanism<E>, Error> {
        self.check()?;
        let units = self.num_units;
        let layer = |inputs: usize, rng: &mut R| {
            let layer: Linear<E> = Linear::<E>::builder(units).input_size(inputs).use_bias(false).build(rng)?;
            Ok::<_, Error>(layer.weights().clone())
        };
        let memory_layer = layer(self.memory_depth, rng)?;
        let mut weights = AttentionMechanismWeights {
            memory_layer,
            query_layer: None,
            attention_v: None,
            attention_g: None,
            attention_b: None,
            attention_score_bias: self.align.score_bias_init().map(|bias| arr0(E::of(bias))),
        };
        match self.score.score() {
            Score::Luong { scale } => weights.attention_g = scale.then(|| arr0(E::one())),
            Score::Bahdanau { normalize } => {
                weights.query_layer = Some(layer(self.query_depth, rng)?);
                weights.attention_v = Some(drawn_vector(units, rng));
                weights.attention_g = normalize.then(|| arr0(E::of((1.0 / units as f64).sqrt())));
                weights.attention_b = normalize.then(|| Array1::zeros(units));
            }
        }
        self.build_from(weights)
    }

    fn check(&self) -> Result<(), Error> {
        check_finite("score_bias_init", self.align.score_bias_init().unwrap_or(0.0))?;
        let (memory, query) = (self.memory_depth, self.query_depth);
        check_sizes(&[("num_units", self.num_units), ("memory_depth", memory), ("query_depth", query)])
    }

    /// Builds the mechanism with existing weights.
    ///
    /// # Errors
    /// - As [`build`](Self::build).
    /// - [`Error::ArrayShape`], [`Error::MissingWeight`] or [`Error::UnexpectedWeight`] if the weights do not match.
    pub fn build_from<E: Float>(self, weights: AttentionMechanismWeights<E>) -> Result<AttentionMechanism<E>, Error> {
        self.check()?;
        let (units, score) = (self.num_units, self.score.score());
        let weights = weights.checked("", &|name| {
            score
                .shape(name, units, (self.memory_depth, self.query_depth))
                .or((name == "attention_score_bias" && self.align.score_bias_init().is_some()).then(Vec::new))
        })?;
        AttentionMechanism::new(weights, self.align.align())
    }
}

impl Score {
    /// The shape of a weight, but for the scores' bias. `None` if there is no such weight.
    fn shape(self, name: &str, units: usize, (memory_depth, query_depth): (usize, usize)) -> Option<Vec<usize>> {
        let (bahdanau, more) = match self {
            Self::Luong { scale } => (false, scale),
            Self::Bahdanau { normalize } => (true, normalize),
        };
        match name {
            "memory_layer/kernel" => Some(vec![memory_depth, units]),
            "query_layer/kernel" if bahdanau => Some(vec![query_depth, units]),
            "attention_v" if bahdanau => Some(vec![units]),
            "attention_g" if more => Some(Vec::new()),
            "attention_b" if bahdanau && more => Some(vec![units]),
            _ => None,
        }
    }
}
