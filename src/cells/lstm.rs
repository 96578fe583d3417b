//! The LSTM.

mod equation;
mod options;

use crate::checks::{check_activation, check_finite, check_positive, check_sizes};
use crate::fused::weights::{drawn, drawn_vector, gates_of, matrix_shape, packed_parameters};
use crate::kernel::isa::Isa;
use crate::kernel::pack::{Gate, PackShape};
use crate::kernel::product::Product;
use crate::{Activation, Arrays, Error, Float, parameters};
use ndarray::{Array1, Array2};
use rand::Rng;

/// Long short-term memory: TensorFlow 1's `LSTMCell`, and with default options its `BasicLSTMCell`. After Hochreiter
/// and Schmidhuber (1997), Gers et al. (2000) and, for peepholes and projection, Sak et al. (2014).
///
/// Let **i, j, f, o** (input gate, candidate, forget gate, output gate) be the quarters of \[x, h\] · kernel + bias,
/// and σ the gates' activation. Then:
///
/// ```text
/// c' = σ(f + forget_bias + w_f_diag ⊙ c) ⊙ c + σ(i + w_i_diag ⊙ c) ⊙ act(j)
/// c' = c' clipped to ±cell_clip
/// h' = σ(o + w_o_diag ⊙ c') ⊙ act(c')
/// h' = h' · projection/kernel, clipped to ±proj_clip
/// ```
///
/// The output is h'. Peepholes (`w_*_diag`), clips and the projection are off by default. `forget_bias` is added during
/// the step and is not part of `bias`, as in TensorFlow. The output gate's peephole sees the new, clipped c. A gradient
/// passes a clip unchanged up to and at its boundary, and is 0 beyond, as in TensorFlow.
///
/// | parameter | shape | initial value |
/// |---|---|---|
/// | `kernel` | (input + output, 4 · hidden), columns i, j, f, o | [`glorot_uniform`](crate::init::glorot_uniform) |
/// | `bias` | (4 · hidden) | 0 |
/// | `w_f_diag`, `w_i_diag`, `w_o_diag` | (hidden), with `use_peepholes` | uniform in ±√(3 / hidden) |
/// | `projection/kernel` | (hidden, num_proj), with `num_proj` | `glorot_uniform` |
///
/// `output` is `num_proj` if set, else `hidden`. The state is [`LstmState`](crate::LstmState).
///
/// ```
/// use rand::SeedableRng;
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let cell = rnn_cell::Lstm::<f32>::builder(4, 8).use_peepholes(true).num_proj(2).cell_clip(3.0).build(&mut rng)?;
/// let x = rnn_cell::one_hot(&["hello"], "helo")?;
/// let (outputs, state) = rnn_cell::dynamic_rnn(&cell, &x, None, None)?;
/// assert_eq!((outputs.dim(), state.c.dim(), state.h.dim()), ((1, 5, 2), (1, 8), (1, 2)));
/// # Ok::<(), rnn_cell::Error>(())
/// ```
#[derive(Clone)]
pub struct Lstm<E: Float> {
    options: LstmBuilder<E>,
    weights: LstmWeights<E>,
    gates: Product<E>,
    projection: Option<Product<E>>,
}

parameters! {
    /// The parameters of an [`Lstm`].
    pub struct LstmWeights {
        /// (input + output, 4 · hidden), columns i, j, f, o.
        "kernel" kernel: Array2<E>,
        /// (4 · hidden); `None` if the cell has no bias. `forget_bias` is added either way.
        "bias" bias: Option<Array1<E>>,
        /// With `use_peepholes`.
        "" peepholes: Option<Peepholes<E>>,
        /// (hidden, num_proj), with `num_proj`.
        "projection/kernel" projection: Option<Array2<E>>,
    }
}

parameters! {
    /// Diagonal weights from the memory c to the gates, each (hidden).
    pub struct Peepholes {
        /// To the forget gate.
        "w_f_diag" w_f_diag: Array1<E>,
        /// To the input gate.
        "w_i_diag" w_i_diag: Array1<E>,
        /// To the output gate.
        "w_o_diag" w_o_diag: Array1<E>,
    }
}

/// Options of an [`Lstm`].
#[derive(Debug, Clone)]
#[must_use]
pub struct LstmBuilder<E> {
    input_size: usize,
    hidden_size: usize,
    pub(crate) forget_bias: E,
    use_bias: bool,
    use_peepholes: bool,
    pub(crate) cell_clip: Option<E>,
    num_proj: Option<usize>,
    pub(crate) proj_clip: Option<E>,
    pub(crate) activation: Activation,
    pub(crate) gate_activation: Activation,
}

impl<E: Float> Lstm<E> {
    /// Creates a cell with TensorFlow's initial weights and default options.
    ///
    /// # Panics
    /// If a size is 0 or the weights do not fit in memory.
    #[must_use]
    pub fn new<R: Rng + ?Sized>(input_size: usize, hidden_size: usize, rng: &mut R) -> Self {
        Self::builder(input_size, hidden_size).build(rng).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Returns a builder for a cell with options.
    pub fn builder(input_size: usize, hidden_size: usize) -> LstmBuilder<E> {
        LstmBuilder {
            input_size,
            hidden_size,
            forget_bias: E::one(),
            use_bias: true,
            use_peepholes: false,
            cell_clip: None,
            num_proj: None,
            proj_clip: None,
            activation: Activation::Tanh,
            gate_activation: Activation::Sigmoid,
        }
    }

    /// Creates a cell with default options from existing weights and reads its sizes from their shapes.
    ///
    /// # Errors
    /// - [`Error::ZeroSize`] if the shapes give a size of 0.
    /// - [`Error::ArrayShape`] if the shapes do not fit together.
    pub fn from_weights(kernel: Array2<E>, bias: Array1<E>) -> Result<Self, Error> {
        let (rows, columns) = kernel.dim();
        let hidden = columns / 4;
        let weights = LstmWeights { kernel, bias: Some(bias), peepholes: None, projection: None };
        Self::builder(rows.saturating_sub(hidden), hidden).build_from(weights)
    }

    /// The parameters.
    #[must_use]
    pub fn weights(&self) -> &LstmWeights<E> {
        &self.weights
    }

    /// Number of units of the memory c.
    #[must_use]
    pub fn hidden_size(&self) -> usize {
        self.options.hidden_size
    }

    pub(crate) fn options(&self) -> &LstmBuilder<E> {
        &self.options
    }

    fn repack(&mut self) {
        self.gates.refill(&self.options.gates(&self.weights), None);
        if let (Some(product), Some(kernel)) = (&mut self.projection, &self.weights.projection) {
            let gates: [_; 1] = gates_of(kernel, None);
            product.refill(&gates, None);
        }
    }
}

packed_parameters!(Lstm);

impl<E: Float> LstmBuilder<E> {
    /// Added to the forget gate at every step. Must be finite. Default: 1.
    pub fn forget_bias(mut self, forget_bias: E) -> Self {
        self.forget_bias = forget_bias;
        self
    }

    /// Whether the cell has a bias. Default: true.
    pub fn use_bias(mut self, use_bias: bool) -> Self {
        self.use_bias = use_bias;
        self
    }

    /// Whether the gates see c through diagonal weights. Default: false.
    pub fn use_peepholes(mut self, use_peepholes: bool) -> Self {
        self.use_peepholes = use_peepholes;
        self
    }

    /// Clips each new c to ±`cell_clip`, finite and above 0. NaN stays. An initial c is not clipped. Default: no clip.
    pub fn cell_clip(mut self, cell_clip: E) -> Self {
        self.cell_clip = Some(cell_clip);
        self
    }

    /// Projects h to `num_proj` features, at least 1. May be more than `hidden_size`. Default: no projection.
    pub fn num_proj(mut self, num_proj: usize) -> Self {
        self.num_proj = Some(num_proj);
        self
    }

    /// Clips the projection to ±`proj_clip`, finite and above 0. No effect without `num_proj`. Default: no clip.
    pub fn proj_clip(mut self, proj_clip: E) -> Self {
        self.proj_clip = Some(proj_clip);
        self
    }

    /// The activation of the candidate and of c. Default: tanh.
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// The activation of the gates i, f and o (Keras's `recurrent_activation`). Default: sigmoid.
    pub fn gate_activation(mut self, gate_activation: Activation) -> Self {
        self.gate_activation = gate_activation;
        self
    }

    fn output_size(&self) -> usize {
        self.num_proj.unwrap_or(self.hidden_size)
    }

    fn kernel_shape(&self) -> [usize; 2] {
        matrix_shape([self.input_size, self.output_size()], [4, self.hidden_size])
    }

    /// The gates as packed: `forget_bias` is added to the packed copy, never to `bias`.
    fn gates<'a>(&self, weights: &'a LstmWeights<E>) -> [Gate<'a, E>; 4] {
        let [i, j, f, o] = gates_of(&weights.kernel, weights.bias.as_ref());
        [i, j, Gate { offset: self.forget_bias.as_f64(), ..f }, o]
    }

    fn check(&self) -> Result<(), Error> {
        check_sizes(&[
            ("input_size", self.input_size),
            ("hidden_size", self.hidden_size),
            ("num_proj", self.output_size()),
        ])?;
        check_finite("forget_bias", self.forget_bias)?;
        check_activation(self.activation)?;
        check_activation(self.gate_activation)?;
        for (argument, clip) in [("cell_clip", self.cell_clip), ("proj_clip", self.proj_clip)] {
            clip.map(|clip| check_positive(argument, clip)).transpose()?;
        }
        Ok(())
    }

    /// Builds the cell with TensorFlow's initial weights.
    ///
    /// # Errors
    /// - [`Error::ZeroSize`] if a size or `num_proj` is 0.
    /// - [`Error::InvalidNumber`] if `forget_bias` is not finite, a clip is not finite and above 0, or a number of an
    ///   activation is out of range.
    /// - [`Error::TooLarge`] if the weights do not fit in memory.
    pub fn build<R: Rng + ?Sized>(self, rng: &mut R) -> Result<Lstm<E>, Error> {
        self.check()?;
        let hidden = self.hidden_size;
        let kernel = drawn("kernel", self.kernel_shape(), rng)?;
        let peepholes = self.use_peepholes.then(|| {
            let mut diagonal = || drawn_vector(hidden, rng);
            Peepholes { w_f_diag: diagonal(), w_i_diag: diagonal(), w_o_diag: diagonal() }
        });
        let projection =
            self.num_proj.map(|num_proj| drawn("projection/kernel", [hidden, num_proj], rng)).transpose()?;
        let bias = self.use_bias.then(|| Array1::zeros(4 * hidden));
        self.build_from(LstmWeights { kernel, bias, peepholes, projection })
    }

    /// Builds the cell from existing weights.
    ///
    /// # Errors
    /// - [`Error::ZeroSize`] and [`Error::InvalidNumber`] as in [`build`](Self::build).
    /// - [`Error::ArrayShape`], [`Error::MissingWeight`] or [`Error::UnexpectedWeight`] if they do not fit the options.
    pub fn build_from(self, weights: LstmWeights<E>) -> Result<Lstm<E>, Error> {
        self.check()?;
        let weights = weights.checked("", &|name| self.shape(name))?;
        let (inputs, units, output) = (self.input_size, self.hidden_size, self.output_size());
        let shape = PackShape { inputs, recurrent: output, units, gates: 4, split: false };
        let gates = Product::new(Isa::get(), shape, &self.gates(&weights), None);
        let projection = weights.projection.as_ref().map(|kernel| {
            let shape = PackShape { inputs: 0, recurrent: units, units: output, gates: 1, split: false };
            let gates: [_; 1] = gates_of(kernel, None);
            Product::new(Isa::get(), shape, &gates, None)
        });
        Ok(Lstm { options: self, weights, gates, projection })
    }

    /// The shape of a weight; `None` if the cell does not have it.
    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let hidden = self.hidden_size;
        match name {
            "kernel" => Some(self.kernel_shape().into()),
            "bias" if self.use_bias => Some(vec![4 * hidden]),
            "w_f_diag" | "w_i_diag" | "w_o_diag" if self.use_peepholes => Some(vec![hidden]),
            "projection/kernel" => self.num_proj.map(|num_proj| vec![hidden, num_proj]),
            _ => None,
        }
    }
}

impl<E: Float> std::fmt::Debug for Lstm<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lstm").field("options", &self.options).finish_non_exhaustive()
    }
}
