//! The LSTM with layer normalization.

mod equation;
mod run;

pub use run::LayerNormLstmRecord;

use super::layer_norm::{LayerNorm, LayerNorms};
use crate::checks::{check_activation, check_finite, check_sizes};
use crate::dropout::Keep;
use crate::fused::weights::{drawn, drawn_vector, gates_of, matrix_shape, packed_parameters};
use crate::kernel::isa::Isa;
use crate::kernel::pack::PackShape;
use crate::kernel::product::Product;
use crate::{Activation, Arrays, Error, Float, parameters};
use ndarray::{Array1, Array2};
use rand::Rng;

/// An LSTM with layer normalization and recurrent dropout: tf.contrib.rnn's `LayerNormBasicLSTMCell`, after Ba, Kiros
/// and Hinton (2016) and Semeniuta, Severyn and Barth (2016).
///
/// Let **i, j, f, o** (input gate, candidate, forget gate, output gate) be the quarters of \[x, h\] · kernel. Then:
///
/// ```text
/// norm(v) = gamma ⊙ (v − mean(v)) / √(variance(v) + 1e-12) + beta,  over one row; each use has its own gamma and beta
/// g  = drop(act(norm(j)))
/// c' = norm(σ(norm(f) + forget_bias) ⊙ c + σ(norm(i)) ⊙ g)
/// h' = σ(norm(o)) ⊙ act(c')
/// ```
///
/// The output is h'. The state keeps the normalized c, as in tf.contrib. `forget_bias` is added after normalization.
/// Only a cell without layer normalization has a bias; otherwise beta replaces it.
///
/// With dropout, each value of g is kept with probability `dropout_keep_prob` and divided by it, else set to 0, anew at
/// every step. This applies only to a state from [`training_state`](crate::RnnCell::training_state) or
/// [`seed_dropout`](crate::State::seed_dropout).
///
/// | parameter | shape | initial value |
/// |---|---|---|
/// | `kernel` | (input + hidden, 4 · hidden), columns i, j, f, o | [`glorot_uniform`](crate::init::glorot_uniform) |
/// | `bias` | (4 · hidden), without `layer_norm` | uniform in ±√(3 / (4 · hidden)), as in tf.contrib |
/// | `input/gamma`, `transform/gamma`, `forget/gamma`, `output/gamma`, `state/gamma` | (hidden) | `norm_gain` |
/// | `input/beta`, `transform/beta`, `forget/beta`, `output/beta`, `state/beta` | (hidden) | `norm_shift` |
///
/// The state is [`LstmState`](crate::LstmState) in a [`DropoutState`](crate::DropoutState).
///
/// ```
/// use rand::SeedableRng;
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let cell = rnn_cell::LayerNormLstm::<f32>::builder(4, 8).dropout_keep_prob(0.9).build(&mut rng)?;
/// let x = rnn_cell::one_hot(&["hello"], "helo")?;
/// let (outputs, state) = rnn_cell::dynamic_rnn(&cell, &x, None, None)?;
/// assert_eq!((outputs.dim(), state.inner().c.dim()), ((1, 5, 8), (1, 8)));
/// # Ok::<(), rnn_cell::Error>(())
/// ```
#[derive(Clone)]
pub struct LayerNormLstm<E: Float> {
    options: LayerNormLstmBuilder<E>,
    keep: Keep,
    weights: LayerNormLstmWeights<E>,
    product: Product<E>,
}

parameters! {
    /// The parameters of a [`LayerNormLstm`].
    pub struct LayerNormLstmWeights {
        /// (input + hidden, 4 · hidden), columns i, j, f, o.
        "kernel" kernel: Array2<E>,
        /// (4 · hidden), without `layer_norm`.
        "bias" bias: Option<Array1<E>>,
        /// With `layer_norm`.
        "" norms: Option<LayerNorms<E>>,
    }
}

/// Options of a [`LayerNormLstm`].
#[derive(Debug, Clone)]
#[must_use]
pub struct LayerNormLstmBuilder<E> {
    input_size: usize,
    hidden_size: usize,
    forget_bias: E,
    layer_norm: bool,
    norm_gain: E,
    norm_shift: E,
    dropout_keep_prob: f64,
    activation: Activation,
}

impl<E: Float> LayerNormLstm<E> {
    /// Creates a cell with tf.contrib's initial weights and default options.
    ///
    /// # Panics
    /// If a size is 0 or the weights do not fit in memory.
    #[must_use]
    pub fn new<R: Rng + ?Sized>(input_size: usize, hidden_size: usize, rng: &mut R) -> Self {
        Self::builder(input_size, hidden_size).build(rng).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Returns a builder for a cell with options.
    pub fn builder(input_size: usize, hidden_size: usize) -> LayerNormLstmBuilder<E> {
        LayerNormLstmBuilder {
            input_size,
            hidden_size,
            forget_bias: E::one(),
            layer_norm: true,
            norm_gain: E::one(),
            norm_shift: E::zero(),
            dropout_keep_prob: 1.0,
            activation: Activation::Tanh,
        }
    }

    /// A cell of existing weights, its sizes read from their shapes, with layer normalization if they have `norms`. All other
    /// options are the defaults.
    ///
    /// # Errors
    /// - [`Error::ZeroSize`] if a size is 0.
    /// - [`Error::ArrayShape`], [`Error::MissingWeight`] and [`Error::UnexpectedWeight`] if the weights do not fit together.
    pub fn from_weights(weights: LayerNormLstmWeights<E>) -> Result<Self, Error> {
        let (rows, columns) = weights.kernel.dim();
        let hidden = columns / 4;
        let options = Self::builder(rows.saturating_sub(hidden), hidden);
        options.layer_norm(weights.norms.is_some()).build_from(weights)
    }

    /// The parameters.
    #[must_use]
    pub fn weights(&self) -> &LayerNormLstmWeights<E> {
        &self.weights
    }

    /// Units of the memory c and of h.
    #[must_use]
    pub fn hidden_size(&self) -> usize {
        self.options.hidden_size
    }

    fn repack(&mut self) {
        let gates: [_; 4] = gates_of(&self.weights.kernel, self.weights.bias.as_ref());
        self.product.refill(&gates, None);
    }
}

packed_parameters!(LayerNormLstm);

option_getters!(LayerNormLstm {
    /// What is added to the forget gate at every step.
    forget_bias: E,
    /// Whether gates and c are normalized.
    layer_norm: bool,
    /// The initial gain.
    norm_gain: E,
    /// The initial shift.
    norm_shift: E,
    /// The probability of keeping a value of the candidate.
    dropout_keep_prob: f64,
    /// The activation of the candidate and of c.
    activation: Activation,
});

impl<E: Float> LayerNormLstmBuilder<E> {
    /// Added to the forget gate at every step, after normalization. Must be finite. Default: 1.
    pub fn forget_bias(mut self, forget_bias: E) -> Self {
        self.forget_bias = forget_bias;
        self
    }

    /// Whether gates and c are normalized. If not, the cell has a bias instead. Default: true.
    pub fn layer_norm(mut self, layer_norm: bool) -> Self {
        self.layer_norm = layer_norm;
        self
    }

    /// Initial gain. Must be finite. Default: 1.
    pub fn norm_gain(mut self, norm_gain: E) -> Self {
        self.norm_gain = norm_gain;
        self
    }

    /// Initial shift. Must be finite. Default: 0.
    pub fn norm_shift(mut self, norm_shift: E) -> Self {
        self.norm_shift = norm_shift;
        self
    }

    /// Probability of keeping a value of the candidate, above 0 and at most 1. Default: 1.
    pub fn dropout_keep_prob(mut self, dropout_keep_prob: f64) -> Self {
        self.dropout_keep_prob = dropout_keep_prob;
        self
    }

    /// The activation of the candidate and of c. Default: tanh.
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// Builds the cell with tf.contrib's initial weights.
    ///
    /// # Errors
    /// - [`Error::ZeroSize`] if a size is 0.
    /// - [`Error::InvalidNumber`] if `forget_bias`, gain or shift is not finite, or the keep probability or a number of the
    ///   activation is out of range.
    /// - [`Error::TooLarge`] if the weights do not fit in memory.
    pub fn build<R: Rng + ?Sized>(self, rng: &mut R) -> Result<LayerNormLstm<E>, Error> {
        self.check()?;
        let kernel = drawn("kernel", self.kernel_shape(), rng)?;
        let (hidden, norm) = (self.hidden_size, self.layer_norm);
        let filled = || LayerNorm::filled(hidden, self.norm_gain, self.norm_shift);
        let norms = norm.then(|| LayerNorms {
            input: filled(),
            transform: filled(),
            forget: filled(),
            output: filled(),
            state: filled(),
        });
        // Not 0: tf.contrib leaves it to the scope's initializer, glorot_uniform.
        let bias = (!norm).then(|| drawn_vector(4 * hidden, rng));
        self.build_from(LayerNormLstmWeights { kernel, bias, norms })
    }

    fn check(&self) -> Result<(), Error> {
        check_sizes(&[("input_size", self.input_size), ("hidden_size", self.hidden_size)])?;
        check_activation(self.activation)
    }

    fn kernel_shape(&self) -> [usize; 2] {
        matrix_shape([self.input_size, self.hidden_size], [4, self.hidden_size])
    }

    /// Builds the cell from existing weights.
    ///
    /// # Errors
    /// - [`Error::ZeroSize`] and [`Error::InvalidNumber`] as in [`build`](Self::build).
    /// - [`Error::ArrayShape`], [`Error::MissingWeight`] or [`Error::UnexpectedWeight`] if they do not fit the options.
    pub fn build_from(self, weights: LayerNormLstmWeights<E>) -> Result<LayerNormLstm<E>, Error> {
        let (input, hidden) = (self.input_size, self.hidden_size);
        self.check()?;
        check_finite("forget_bias", self.forget_bias)?;
        check_finite("norm_gain", self.norm_gain)?;
        check_finite("norm_shift", self.norm_shift)?;
        let keep = Keep::new("dropout_keep_prob", self.dropout_keep_prob, false)?;
        let weights = weights.checked("", &|name| self.shape(name))?;
        let shape = PackShape { inputs: input, recurrent: hidden, units: hidden, gates: 4, split: false };
        let gates: [_; 4] = gates_of(&weights.kernel, weights.bias.as_ref());
        let product = Product::new(Isa::get(), shape, &gates, None);
        Ok(LayerNormLstm { options: self, keep, weights, product })
    }

    /// The shape of a weight; `None` if the cell does not have it.
    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        match name {
            "kernel" => Some(self.kernel_shape().into()),
            "bias" => (!self.layer_norm).then(|| vec![4 * self.hidden_size]),
            _ => self.layer_norm.then(|| vec![self.hidden_size]),
        }
    }
}

impl<E: Float> std::fmt::Debug for LayerNormLstm<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LayerNormLstm").field("options", &self.options).finish_non_exhaustive()
    }
}
