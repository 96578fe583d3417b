//! The gated recurrent unit.

mod equation;

use crate::checks::{check_activation, check_sizes};
use crate::fused::weights::{drawn, gates_of, matrix_shape, numbers, packed_parameters};
use crate::kernel::isa::Isa;
use crate::kernel::pack::{Gate, PackShape};
use crate::kernel::product::Product;
use crate::{Activation, Arrays, Error, Float, parameters};
use ndarray::{Array1, Array2};
use rand::Rng;
use std::marker::PhantomData;

/// The gated recurrent unit: TensorFlow 1's `GRUCell`, after Cho et al. (2014), or with [`GruReset::After`] the form of
/// cuDNN, PyTorch and Keras.
///
/// Let \[r, u\] = σ(\[x, h\] · gates/kernel + gates/bias), with the reset gate **r** and the update gate **u**. Let W
/// be the first `input` rows of `candidate/kernel` and U the rest. Then:
///
/// ```text
/// reset before:  n = act(x·W + (r ⊙ h)·U + candidate/bias)
/// reset after:   n = act(x·W + candidate/bias + r ⊙ (h·U + candidate/recurrent_bias))
/// h' = u ⊙ h + (1 − u) ⊙ n
/// ```
///
/// The output is h'. This u is z in PyTorch and Keras 2. For a library that blends h' = (1 − u) ⊙ h + u ⊙ n (madmom),
/// negate u's columns of `gates/kernel` and its half of `gates/bias`: 1 − σ(a) is σ(−a).
///
/// | parameter | shape | initial value |
/// |---|---|---|
/// | `gates/kernel` | (input + hidden, 2 · hidden), columns r, u | [`glorot_uniform`](crate::init::glorot_uniform) |
/// | `gates/bias` | (2 · hidden) | 1 |
/// | `candidate/kernel` | (input + hidden, hidden) | `glorot_uniform` |
/// | `candidate/bias` | (hidden) | 0 |
/// | `candidate/recurrent_bias` | (hidden), with [`GruReset::After`] | 0 |
///
/// The state is h, (batch, hidden).
///
/// ```
/// use rand::SeedableRng;
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let cell = rnn_cell::Gru::<f32>::new(4, 2, &mut rng);
/// let x = rnn_cell::one_hot(&["hello"], "helo")?;
/// let (outputs, h) = rnn_cell::dynamic_rnn(&cell, &x, None, None)?;
/// assert_eq!((outputs.dim(), h.dim()), ((1, 5, 2), (1, 2)));
/// # Ok::<(), rnn_cell::Error>(())
/// ```
#[derive(Clone)]
pub struct Gru<E: Float> {
    options: GruBuilder<E>,
    weights: GruWeights<E>,
    products: Products<E>,
}

/// The products of a step, by where the reset gate is applied.
#[derive(Clone)]
// A cell has only one of these.
#[allow(clippy::large_enum_variant)]
enum Products<E> {
    /// Computes r and u, then the candidate, whose product takes r ⊙ h.
    Before { gates: Product<E>, candidate: Product<E> },
    /// Computes r, u and the candidate at once. The candidate's halves stay apart: r multiplies the recurrent one.
    After(Product<E>),
}

/// Where a [`Gru`] applies its reset gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum GruReset {
    /// To h, before the candidate's product, as in TensorFlow 1 and the paper.
    #[default]
    Before,
    /// To the candidate's recurrent product, which has its own bias, as in cuDNN, PyTorch and Keras.
    After,
}

parameters! {
    /// The parameters of a [`Gru`].
    pub struct GruWeights {
        /// (input + hidden, 2 · hidden), columns r, u.
        "gates/kernel" gates_kernel: Array2<E>,
        /// (2 · hidden), with `use_bias`.
        "gates/bias" gates_bias: Option<Array1<E>>,
        /// (input + hidden, hidden).
        "candidate/kernel" candidate_kernel: Array2<E>,
        /// (hidden), with `use_bias`.
        "candidate/bias" candidate_bias: Option<Array1<E>>,
        /// (hidden), with `use_bias` and [`GruReset::After`].
        "candidate/recurrent_bias" candidate_recurrent_bias: Option<Array1<E>>,
    }
}

/// Options of a [`Gru`].
#[derive(Debug, Clone)]
#[must_use]
pub struct GruBuilder<E> {
    input_size: usize,
    hidden_size: usize,
    reset: GruReset,
    use_bias: bool,
    activation: Activation,
    gate_activation: Activation,
    element: PhantomData<E>,
}

impl<E: Float> Gru<E> {
    /// Creates a cell with TensorFlow's initial weights and default options.
    ///
    /// # Panics
    /// If a size is 0 or the weights do not fit in memory.
    #[must_use]
    pub fn new<R: Rng + ?Sized>(input_size: usize, hidden_size: usize, rng: &mut R) -> Self {
        Self::builder(input_size, hidden_size).build(rng).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Returns a builder for a cell with options.
    pub fn builder(input_size: usize, hidden_size: usize) -> GruBuilder<E> {
        GruBuilder {
            input_size,
            hidden_size,
            reset: GruReset::Before,
            use_bias: true,
            activation: Activation::Tanh,
            gate_activation: Activation::Sigmoid,
            element: PhantomData,
        }
    }

    /// A cell from existing weights, sized by their shapes. All options have their defaults.
    ///
    /// # Errors
    /// - [`Error::ZeroSize`] if a size is 0.
    /// - [`Error::ArrayShape`], [`Error::MissingWeight`] and [`Error::UnexpectedWeight`] if the weights do not fit together.
    pub fn from_weights(weights: GruWeights<E>) -> Result<Self, Error> {
        let (rows, hidden) = weights.candidate_kernel.dim();
        Self::builder(rows.saturating_sub(hidden), hidden).build_from(weights)
    }

    /// The parameters.
    #[must_use]
    pub fn weights(&self) -> &GruWeights<E> {
        &self.weights
    }

    /// Units of the state h.
    #[must_use]
    pub fn hidden_size(&self) -> usize {
        self.options.hidden_size
    }

    pub(crate) fn activations(&self) -> (Activation, Activation) {
        (self.options.gate_activation, self.options.activation)
    }

    fn repack(&mut self) {
        let [r, u, n] = gates(&self.weights);
        match &mut self.products {
            Products::Before { gates, candidate } => {
                gates.refill(&[r, u], None);
                candidate.refill(&[n], None);
            }
            Products::After(all) => all.refill(&[r, u, n], self.weights.candidate_recurrent_bias.as_ref().map(numbers)),
        }
    }
}

packed_parameters!(Gru);

option_getters!(Gru {
    /// Where the reset gate is applied.
    reset: GruReset,
    /// Whether the cell has biases.
    use_bias: bool,
    /// The activation of the candidate.
    activation: Activation,
    /// The activation of the gates r and u.
    gate_activation: Activation,
});

/// The gates r and u and the candidate, as packed.
fn gates<E: Float>(weights: &GruWeights<E>) -> [Gate<'_, E>; 3] {
    let [r, u] = gates_of(&weights.gates_kernel, weights.gates_bias.as_ref());
    let [n] = gates_of(&weights.candidate_kernel, weights.candidate_bias.as_ref());
    [r, u, n]
}

impl<E: Float> GruBuilder<E> {
    /// Where the reset gate is applied. Default: [`GruReset::Before`].
    pub fn reset(mut self, reset: GruReset) -> Self {
        self.reset = reset;
        self
    }

    /// Whether the cell has biases. Default: true.
    pub fn use_bias(mut self, use_bias: bool) -> Self {
        self.use_bias = use_bias;
        self
    }

    /// The activation of the candidate. Default: tanh.
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// The activation of the gates r and u (Keras's `recurrent_activation`). Default: sigmoid.
    pub fn gate_activation(mut self, gate_activation: Activation) -> Self {
        self.gate_activation = gate_activation;
        self
    }

    /// Builds the cell with TensorFlow's initial weights.
    ///
    /// # Errors
    /// - [`Error::ZeroSize`] if a size is 0.
    /// - [`Error::InvalidNumber`] if a number of an activation is out of range.
    /// - [`Error::TooLarge`] if the weights do not fit in memory.
    pub fn build<R: Rng + ?Sized>(self, rng: &mut R) -> Result<Gru<E>, Error> {
        self.check()?;
        let hidden = self.hidden_size;
        let (use_bias, after) = (self.use_bias, self.reset == GruReset::After);
        let weights = GruWeights {
            gates_kernel: drawn("gates/kernel", self.kernel_shape(2), rng)?,
            gates_bias: use_bias.then(|| Array1::ones(2 * hidden)),
            candidate_kernel: drawn("candidate/kernel", self.kernel_shape(1), rng)?,
            candidate_bias: use_bias.then(|| Array1::zeros(hidden)),
            candidate_recurrent_bias: (use_bias && after).then(|| Array1::zeros(hidden)),
        };
        self.build_from(weights)
    }

    fn check(&self) -> Result<(), Error> {
        check_sizes(&[("input_size", self.input_size), ("hidden_size", self.hidden_size)])?;
        check_activation(self.activation)?;
        check_activation(self.gate_activation)
    }

    fn kernel_shape(&self, gates: usize) -> [usize; 2] {
        matrix_shape([self.input_size, self.hidden_size], [gates, self.hidden_size])
    }

    /// Builds the cell from existing weights.
    ///
    /// # Errors
    /// - [`Error::ZeroSize`] and [`Error::InvalidNumber`] as in [`build`](Self::build).
    /// - [`Error::ArrayShape`], [`Error::MissingWeight`] or [`Error::UnexpectedWeight`] if they do not fit the options.
    pub fn build_from(self, weights: GruWeights<E>) -> Result<Gru<E>, Error> {
        self.check()?;
        let weights = weights.checked("", &|name| self.shape(name))?;
        let (inputs, hidden) = (self.input_size, self.hidden_size);
        let shape = |gates, split| PackShape { inputs, recurrent: hidden, units: hidden, gates, split };
        let [r, u, n] = gates(&weights);
        let products = match self.reset {
            GruReset::Before => Products::Before {
                gates: Product::new(Isa::get(), shape(2, false), &[r, u], None),
                candidate: Product::new(Isa::get(), shape(1, false), &[n], None),
            },
            GruReset::After => {
                let recurrent_bias = weights.candidate_recurrent_bias.as_ref().map(numbers);
                Products::After(Product::new(Isa::get(), shape(3, true), &[r, u, n], recurrent_bias))
            }
        };
        Ok(Gru { options: self, weights, products })
    }

    /// The shape of a weight; `None` if the cell does not have it.
    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        match name {
            "gates/kernel" => Some(self.kernel_shape(2).into()),
            "candidate/kernel" => Some(self.kernel_shape(1).into()),
            "gates/bias" if self.use_bias => Some(vec![2 * self.hidden_size]),
            "candidate/bias" if self.use_bias => Some(vec![self.hidden_size]),
            "candidate/recurrent_bias" if self.use_bias && self.reset == GruReset::After => {
                Some(vec![self.hidden_size])
            }
            _ => None,
        }
    }
}

impl<E: Float> std::fmt::Debug for Gru<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gru").field("options", &self.options).finish_non_exhaustive()
    }
}
