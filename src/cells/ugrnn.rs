//! The update gate recurrent network.

use super::blend::{blend, blend_back};
use crate::checks::{check_activation, check_finite, check_sizes};
use crate::compression::Compression;
use crate::fused::weights::{drawn, gates_of, matrix_shape, packed_parameters};
use crate::fused::{Backward, Forward, FusedCell, Samples, Stage, Stages, TrainableFusedCell, Vector};
use crate::kernel::isa::Isa;
use crate::kernel::pack::{Gate, PackShape};
use crate::kernel::product::Product;
use crate::{Activation, Arrays, Error, Float, parameters, trainable_fused_cell};
use ndarray::{Array1, Array2};
use rand::Rng;

/// The update gate recurrent network: tf.contrib.rnn's `UGRNNCell`, after Collins, Sohl-Dickstein and Sussillo (2017).
///
/// Let **g, c** (update gate, candidate) be the halves of \[x, h\] · kernel + bias. Then:
///
/// ```text
/// g = σ(g + forget_bias)
/// h' = g ⊙ h + (1 − g) ⊙ act(c)
/// ```
///
/// The output is h'. `forget_bias` is added during the step and is not part of `bias`, as in tf.contrib.
///
/// | parameter | shape | initial value |
/// |---|---|---|
/// | `kernel` | (input + hidden, 2 · hidden), columns g, c | [`glorot_uniform`](crate::init::glorot_uniform) |
/// | `bias` | (2 · hidden) | 0 |
///
/// The first `input` rows of `kernel` are the input's weights, the rest the state's. The state is h, (batch, hidden).
///
/// ```
/// use rand::SeedableRng;
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let cell = rnn_cell::Ugrnn::<f32>::new(4, 2, &mut rng);
/// let x = rnn_cell::one_hot(&["hello"], "helo")?;
/// let (outputs, h) = rnn_cell::dynamic_rnn(&cell, &x, None, None)?;
/// assert_eq!((outputs.dim(), h.dim()), ((1, 5, 2), (1, 2)));
/// # Ok::<(), rnn_cell::Error>(())
/// ```
#[derive(Clone)]
pub struct Ugrnn<E: Float> {
    options: UgrnnBuilder<E>,
    weights: UgrnnWeights<E>,
    product: Product<E>,
}

parameters! {
    /// The parameters of a [`Ugrnn`].
    pub struct UgrnnWeights {
        /// (input + hidden, 2 · hidden), columns g, c.
        "kernel" kernel: Array2<E>,
        /// (2 · hidden).
        "bias" bias: Array1<E>,
    }
}

/// Options of a [`Ugrnn`].
#[derive(Debug, Clone)]
#[must_use]
pub struct UgrnnBuilder<E> {
    input_size: usize,
    hidden_size: usize,
    forget_bias: E,
    activation: Activation,
}

impl<E: Float> Ugrnn<E> {
    /// Creates a cell with tf.contrib's initial weights and default options.
    ///
    /// # Panics
    /// If a size is 0 or the weights do not fit in memory.
    #[must_use]
    pub fn new<R: Rng + ?Sized>(input_size: usize, hidden_size: usize, rng: &mut R) -> Self {
        Self::builder(input_size, hidden_size).build(rng).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Returns a builder for a cell with options.
    pub fn builder(input_size: usize, hidden_size: usize) -> UgrnnBuilder<E> {
        UgrnnBuilder { input_size, hidden_size, forget_bias: E::one(), activation: Activation::Tanh }
    }

    /// Creates a cell with default options from existing weights and reads its sizes from their shapes.
    ///
    /// # Errors
    /// - [`Error::ZeroSize`] if the shapes give a size of 0.
    /// - [`Error::ArrayShape`] if the shapes do not fit together.
    pub fn from_weights(kernel: Array2<E>, bias: Array1<E>) -> Result<Self, Error> {
        let (rows, columns) = kernel.dim();
        let hidden = columns / 2;
        Self::builder(rows.saturating_sub(hidden), hidden).build_from(UgrnnWeights { kernel, bias })
    }

    /// The parameters.
    #[must_use]
    pub fn weights(&self) -> &UgrnnWeights<E> {
        &self.weights
    }

    /// Units of the state h.
    #[must_use]
    pub fn hidden_size(&self) -> usize {
        self.options.hidden_size
    }

    fn repack(&mut self) {
        self.product.refill(&self.options.gates(&self.weights), None);
    }
}

packed_parameters!(Ugrnn);

option_getters!(Ugrnn {
    /// What is added to the update gate at every step.
    forget_bias: E,
    /// The activation of the candidate.
    activation: Activation,
});

impl<E: Float> UgrnnBuilder<E> {
    /// Added to the update gate at every step. Must be finite. Default: 1.
    pub fn forget_bias(mut self, forget_bias: E) -> Self {
        self.forget_bias = forget_bias;
        self
    }

    /// The activation of the candidate; the gate's is always sigmoid. Default: tanh.
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// Builds the cell with tf.contrib's initial weights.
    ///
    /// # Errors
    /// - [`Error::ZeroSize`] if a size is 0.
    /// - [`Error::InvalidNumber`] if `forget_bias` is not finite, or a number of the activation is out of range.
    /// - [`Error::TooLarge`] if the weights do not fit in memory.
    pub fn build<R: Rng + ?Sized>(self, rng: &mut R) -> Result<Ugrnn<E>, Error> {
        self.check()?;
        let kernel = drawn("kernel", self.kernel_shape(), rng)?;
        let bias = Array1::zeros(2 * self.hidden_size);
        self.build_from(UgrnnWeights { kernel, bias })
    }

    /// Builds the cell from existing weights.
    ///
    /// # Errors
    /// - [`Error::ZeroSize`] and [`Error::InvalidNumber`] as in [`build`](Self::build).
    /// - [`Error::ArrayShape`] if the weights do not fit the sizes.
    pub fn build_from(self, weights: UgrnnWeights<E>) -> Result<Ugrnn<E>, Error> {
        self.check()?;
        let [rows, columns] = self.kernel_shape();
        let shape = |name: &str| Some(if name == "kernel" { vec![rows, columns] } else { vec![columns] });
        let weights = weights.checked("", &shape)?;
        let (inputs, hidden) = (self.input_size, self.hidden_size);
        let shape = PackShape { inputs, recurrent: hidden, units: hidden, gates: 2, split: false };
        let product = Product::new(Isa::get(), shape, &self.gates(&weights), None);
        Ok(Ugrnn { options: self, weights, product })
    }

    fn check(&self) -> Result<(), Error> {
        check_sizes(&[("input_size", self.input_size), ("hidden_size", self.hidden_size)])?;
        check_finite("forget_bias", self.forget_bias)?;
        check_activation(self.activation)
    }

    fn kernel_shape(&self) -> [usize; 2] {
        matrix_shape([self.input_size, self.hidden_size], [2, self.hidden_size])
    }

    /// The gates as packed: `forget_bias` is added to the packed copy, never to `bias`.
    fn gates<'a>(&self, weights: &'a UgrnnWeights<E>) -> [Gate<'a, E>; 2] {
        let [g, c] = gates_of(&weights.kernel, Some(&weights.bias));
        [Gate { offset: self.forget_bias.as_f64(), ..g }, c]
    }
}

impl<E: Float> FusedCell for Ugrnn<E> {
    type Elem = E;
    type State = Array2<E>;

    fn input_size(&self) -> usize {
        self.options.input_size
    }
    fn output_size(&self) -> usize {
        self.options.hidden_size
    }
    fn zero_state(&self, batch: usize) -> Array2<E> {
        Array2::zeros((batch, self.options.hidden_size))
    }
    fn stages(&self) -> Stages<'_, E> {
        Stages::new([Stage::of(&self.product).state(0)])
    }

    fn compress(&mut self, compression: &mut Compression<'_, E>) -> Result<(), Error> {
        compression.product(&mut self.product, &mut [("kernel", &mut self.weights.kernel)])
    }

    #[inline(always)]
    fn forward<V: Vector<E>>(&self, _: usize, row: &mut Forward<'_, E>) {
        let ([gate, candidate], h, recording) = (row.sums(0), row.state(0), row.is_recording());
        let (new_h, output) = (row.new_state(0), row.output());
        for at in V::units(h.len()) {
            let g = V::load(gate, at).sigmoid();
            let c = V::load(candidate, at).activate(self.options.activation);
            if recording {
                g.store(gate, at);
                c.store(candidate, at);
            }
            let next = blend(g, V::load(h, at), c);
            next.store(new_h, at);
            next.store(output, at);
        }
    }
}

impl<E: Float> TrainableFusedCell for Ugrnn<E> {
    type Gradient = UgrnnWeights<E>;

    fn zero_gradient(&self) -> UgrnnWeights<E> {
        self.weights.zeros()
    }

    #[inline(always)]
    fn backward<V: Vector<E>>(&self, _: usize, row: &mut Backward<'_, E>) {
        let ([gate, candidate], h) = (row.sums(0), row.state(0));
        let (d_h, d_output) = (row.d_state(0), row.d_output());
        for at in V::units(h.len()) {
            let (g, c) = (V::load(gate, at), V::load(candidate, at));
            let d = V::load(d_h, at) + V::load(d_output, at);
            let back = blend_back(d, g, V::load(h, at), c);
            (d * back.update * g.slope(Activation::Sigmoid)).store(gate, at);
            (back.candidate * c.slope(self.options.activation)).store(candidate, at);
            back.h.store(d_h, at);
        }
    }

    fn gradients(&self, samples: &mut Samples<'_, E>, gradient: &mut UgrnnWeights<E>) {
        let UgrnnWeights { kernel, bias } = gradient;
        samples.add_product((0, 0..2), kernel.view_mut(), Some(bias));
    }
}

trainable_fused_cell!([E: Float] Ugrnn<E>);

impl<E: Float> std::fmt::Debug for Ugrnn<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ugrnn").field("options", &self.options).finish_non_exhaustive()
    }
}
