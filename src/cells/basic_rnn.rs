//! The simple recurrent network.

use crate::checks::{check_activation, check_sizes};
use crate::compression::Compression;
use crate::fused::macros::{backward_compiled_here, forward_compiled_here};
use crate::fused::weights::{drawn, gates_of, matrix_shape, packed_parameters};
use crate::fused::{Backward, Forward, FusedCell, Samples, Stage, Stages, TrainableFusedCell, Vector};
use crate::kernel::isa::Isa;
use crate::kernel::pack::PackShape;
use crate::kernel::product::Product;
use crate::{Activation, Arrays, Error, Float, parameters, trainable_fused_cell};
use ndarray::{Array1, Array2};
use rand::Rng;
use std::marker::PhantomData;

/// The simple recurrent network: TensorFlow 1's `BasicRNNCell`, after Elman (1990).
///
/// h' = tanh(\[x, h\] · kernel + bias); the output is h'.
///
/// | parameter | shape | initial value |
/// |---|---|---|
/// | `kernel` | (input + hidden, hidden) | [`glorot_uniform`](crate::init::glorot_uniform) |
/// | `bias` | (hidden) | 0 |
///
/// The first `input` rows of `kernel` are the input's weights, the rest the state's. The state is h, (batch, hidden).
///
/// ```
/// use rand::SeedableRng;
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let cell = rnn_cell::BasicRnn::<f32>::new(4, 2, &mut rng);
/// let x = rnn_cell::one_hot(&["hello"], "helo")?;
/// let (outputs, h) = rnn_cell::dynamic_rnn(&cell, &x, None, None)?;
/// assert_eq!((outputs.dim(), h.dim()), ((1, 5, 2), (1, 2)));
/// # Ok::<(), rnn_cell::Error>(())
/// ```
#[derive(Clone)]
pub struct BasicRnn<E: Float> {
    options: BasicRnnBuilder<E>,
    weights: BasicRnnWeights<E>,
    product: Product<E>,
}

parameters! {
    /// The parameters of a [`BasicRnn`].
    pub struct BasicRnnWeights {
        /// (input + hidden, hidden).
        "kernel" kernel: Array2<E>,
        /// (hidden); `None` if the cell has no bias.
        "bias" bias: Option<Array1<E>>,
    }
}

impl<E: Float> BasicRnn<E> {
    /// Creates a cell with TensorFlow's initial weights.
    ///
    /// # Panics
    /// If a size is 0 or the weights do not fit in memory.
    #[must_use]
    pub fn new<R: Rng + ?Sized>(input_size: usize, hidden_size: usize, rng: &mut R) -> Self {
        Self::builder(input_size, hidden_size).build(rng).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Returns a builder for a cell with options.
    pub fn builder(input_size: usize, hidden_size: usize) -> BasicRnnBuilder<E> {
        BasicRnnBuilder { input_size, hidden_size, activation: Activation::Tanh, use_bias: true, element: PhantomData }
    }

    /// Creates a tanh cell from existing weights and reads its sizes from their shapes.
    ///
    /// # Errors
    /// - [`Error::ZeroSize`] if the shapes give a size of 0.
    /// - [`Error::ArrayShape`] if the shapes do not fit together.
    pub fn from_weights(kernel: Array2<E>, bias: Array1<E>) -> Result<Self, Error> {
        let (rows, hidden) = kernel.dim();
        Self::builder(rows.saturating_sub(hidden), hidden).build_from(BasicRnnWeights { kernel, bias: Some(bias) })
    }

    /// The parameters.
    #[must_use]
    pub fn weights(&self) -> &BasicRnnWeights<E> {
        &self.weights
    }

    /// Units of the state h.
    #[must_use]
    pub fn hidden_size(&self) -> usize {
        self.options.hidden_size
    }

    fn repack(&mut self) {
        let gates: [_; 1] = gates_of(&self.weights.kernel, self.weights.bias.as_ref());
        self.product.refill(&gates, None);
    }
}

packed_parameters!(BasicRnn);

option_getters!(BasicRnn {
    /// The activation.
    activation: Activation,
    /// Whether the cell has a bias.
    use_bias: bool,
});

/// Options of a [`BasicRnn`].
#[derive(Debug, Clone)]
#[must_use]
pub struct BasicRnnBuilder<E> {
    input_size: usize,
    hidden_size: usize,
    activation: Activation,
    use_bias: bool,
    element: PhantomData<E>,
}

impl<E: Float> BasicRnnBuilder<E> {
    /// The activation. Default: tanh.
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// Whether the cell has a bias. Default: true.
    pub fn use_bias(mut self, use_bias: bool) -> Self {
        self.use_bias = use_bias;
        self
    }

    /// Builds the cell with TensorFlow's initial weights.
    ///
    /// # Errors
    /// - [`Error::ZeroSize`] if a size is 0.
    /// - [`Error::InvalidNumber`] if a number of an activation is out of range.
    /// - [`Error::TooLarge`] if the weights do not fit in memory.
    pub fn build<R: Rng + ?Sized>(self, rng: &mut R) -> Result<BasicRnn<E>, Error> {
        self.check()?;
        let kernel = drawn("kernel", self.kernel_shape(), rng)?;
        let bias = self.use_bias.then(|| Array1::zeros(self.hidden_size));
        self.build_from(BasicRnnWeights { kernel, bias })
    }

    fn check(&self) -> Result<(), Error> {
        check_sizes(&[("input_size", self.input_size), ("hidden_size", self.hidden_size)])?;
        check_activation(self.activation)
    }

    fn kernel_shape(&self) -> [usize; 2] {
        matrix_shape([self.input_size, self.hidden_size], [1, self.hidden_size])
    }

    /// Builds the cell from existing weights.
    ///
    /// # Errors
    /// - [`Error::ZeroSize`] and [`Error::InvalidNumber`] as in [`build`](Self::build).
    /// - [`Error::ArrayShape`], [`Error::MissingWeight`] or [`Error::UnexpectedWeight`] if they do not fit the options.
    pub fn build_from(self, weights: BasicRnnWeights<E>) -> Result<BasicRnn<E>, Error> {
        self.check()?;
        let weights = weights.checked("", &|name| self.shape(name))?;
        let (inputs, hidden) = (self.input_size, self.hidden_size);
        let shape = PackShape { inputs, recurrent: hidden, units: hidden, gates: 1, split: false };
        let gates: [_; 1] = gates_of(&weights.kernel, weights.bias.as_ref());
        let product = Product::new(Isa::get(), shape, &gates, None);
        Ok(BasicRnn { options: self, weights, product })
    }

    /// The shape of a weight; `None` if the cell does not have it.
    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        match name {
            "kernel" => Some(self.kernel_shape().into()),
            "bias" if self.use_bias => Some(vec![self.hidden_size]),
            _ => None,
        }
    }
}

impl<E: Float> FusedCell for BasicRnn<E> {
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

    forward_compiled_here!(BasicRnn);

    #[inline(always)]
    fn forward<V: Vector<E>>(&self, _: usize, row: &mut Forward<'_, E>) {
        let [sum] = row.sums(0);
        let (new_h, output) = (row.new_state(0), row.output());
        for at in V::units(sum.len()) {
            let h = V::load(sum, at).activate(self.options.activation);
            h.store(new_h, at);
            h.store(output, at);
        }
    }
}

impl<E: Float> TrainableFusedCell for BasicRnn<E> {
    type Gradient = BasicRnnWeights<E>;

    fn zero_gradient(&self) -> BasicRnnWeights<E> {
        self.weights.zeros()
    }

    backward_compiled_here!(BasicRnn);

    #[inline(always)]
    fn backward<V: Vector<E>>(&self, _: usize, row: &mut Backward<'_, E>) {
        let [d_sum] = row.sums(0);
        let (d_h, d_output, h) = (row.d_state(0), row.d_output(), row.new_state(0));
        for at in V::units(d_sum.len()) {
            let d = V::load(d_h, at) + V::load(d_output, at);
            (d * V::load(h, at).slope(self.options.activation)).store(d_sum, at);
            V::splat(E::zero()).store(d_h, at);
        }
    }

    fn gradients(&self, samples: &mut Samples<'_, E>, gradient: &mut BasicRnnWeights<E>) {
        let BasicRnnWeights { kernel, bias } = gradient;
        samples.add_product((0, 0..1), kernel.view_mut(), bias.as_mut());
    }
}

trainable_fused_cell!([E: Float] BasicRnn<E>);

impl<E: Float> std::fmt::Debug for BasicRnn<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BasicRnn").field("options", &self.options).finish_non_exhaustive()
    }
}
