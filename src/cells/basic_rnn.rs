//! The simple recurrent network.

use super::weights::{checked, checked_option, drawn, gate, matrix_shape, visit_then_repack};
use crate::cell::step_as_run;
use crate::checks::check_sizes;
use crate::kernel::isa::Isa;
use crate::kernel::pack::{PackShape, Packed};
use crate::kernel::rnn_backward::{Record, Transposed};
use crate::kernel::{self, Workspace};
use crate::{Activation, Error, Float, Parameters, RnnCell};
use ndarray::{Array1, Array2, ArrayRef3, ArrayViewD, ArrayViewMutD};
use rand::Rng;
use std::marker::PhantomData;
use std::sync::OnceLock;

/// The simple recurrent network: TensorFlow 1's `BasicRNNCell`, after Elman (1990).
///
/// h' = tanh(\[x, h\] · kernel + bias); the output is h'.
///
/// | parameter | shape | initial value |
/// |---|---|---|
/// | `kernel` | (input + hidden, hidden) | [`glorot_uniform`](crate::init::glorot_uniform) |
/// | `bias` | (hidden) | 0 |
///
/// The first `input` rows of `kernel` are the input's weights, the others the state's. The state is h, (batch, hidden).
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
    packed: Packed<E>,
    /// Packed by the first run backward.
    transposed: OnceLock<Transposed<E>>,
}

/// The parameters of a [`BasicRnn`].
#[derive(Debug, Clone, PartialEq)]
pub struct BasicRnnWeights<E> {
    /// (input + hidden, hidden).
    pub kernel: Array2<E>,
    /// (hidden); `None` is no bias at all.
    pub bias: Option<Array1<E>>,
}

impl<E: Float> BasicRnn<E> {
    /// A cell with TensorFlow's initial weights.
    ///
    /// # Panics
    /// If a size is 0, or the weights would be larger than memory.
    #[must_use]
    pub fn new<R: Rng + ?Sized>(input_size: usize, hidden_size: usize, rng: &mut R) -> Self {
        Self::builder(input_size, hidden_size).build(rng).unwrap_or_else(|error| panic!("{error}"))
    }

    /// A cell with options: tanh and a bias unless set otherwise.
    pub fn builder(input_size: usize, hidden_size: usize) -> BasicRnnBuilder<E> {
        BasicRnnBuilder { input_size, hidden_size, activation: Activation::Tanh, use_bias: true, element: PhantomData }
    }

    /// A tanh cell of existing weights, its sizes read from their shapes.
    ///
    /// # Errors
    /// [`Error::ArrayShape`] if the shapes do not fit together, [`Error::ZeroSize`] if one is empty.
    pub fn from_weights(kernel: Array2<E>, bias: Array1<E>) -> Result<Self, Error> {
        let (rows, hidden) = kernel.dim();
        Self::builder(rows.saturating_sub(hidden), hidden).build_from(BasicRnnWeights { kernel, bias: Some(bias) })
    }

    /// The parameters.
    #[must_use]
    pub fn weights(&self) -> &BasicRnnWeights<E> {
        &self.weights
    }

    pub(crate) fn activation(&self) -> Activation {
        self.options.activation
    }

    /// [`RnnCell::unroll`], recorded if asked for.
    pub(crate) fn run(
        &self,
        inputs: &ArrayRef3<E>,
        state: &mut Array2<E>,
        outputs: &mut ArrayRef3<E>,
        record: Option<&mut Record<E>>,
        workspace: &mut Workspace<E>,
    ) {
        let (inputs, outputs) = (inputs.view(), outputs.view_mut());
        kernel::rnn::unroll(&self.packed, self.options.activation, inputs, state, outputs, record, workspace);
    }

    /// The weights as backward multiplies by them.
    pub(crate) fn transposed(&self) -> &Transposed<E> {
        self.transposed.get_or_init(|| Transposed::new(&self.weights.kernel, self.options.input_size))
    }

    fn repack(&mut self) {
        self.packed.refill(&[gate(&self.weights.kernel, self.weights.bias.as_ref())], None);
        if let Some(transposed) = self.transposed.get_mut() {
            transposed.refill(&self.weights.kernel, self.options.input_size);
        }
    }
}

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
    /// The activation; tanh if not set.
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// Whether there is a bias; there is if not set.
    pub fn use_bias(mut self, use_bias: bool) -> Self {
        self.use_bias = use_bias;
        self
    }

    /// The cell, with TensorFlow's initial weights.
    ///
    /// # Errors
    /// [`Error::ZeroSize`]; [`Error::TooLarge`] if the weights would be larger than memory.
    pub fn build<R: Rng + ?Sized>(self, rng: &mut R) -> Result<BasicRnn<E>, Error> {
        self.check()?;
        let kernel = drawn("kernel", self.kernel_shape(), rng)?;
        let bias = self.use_bias.then(|| Array1::zeros(self.hidden_size));
        self.build_from(BasicRnnWeights { kernel, bias })
    }

    fn check(&self) -> Result<(), Error> {
        check_sizes(&[("input_size", self.input_size), ("hidden_size", self.hidden_size)])
    }

    fn kernel_shape(&self) -> [usize; 2] {
        matrix_shape([self.input_size, self.hidden_size], [1, self.hidden_size])
    }

    /// The cell, with existing weights.
    ///
    /// # Errors
    /// [`Error::ZeroSize`]; [`Error::ArrayShape`], [`Error::MissingWeight`] and [`Error::UnexpectedWeight`] if the
    /// weights are not those of these sizes and options.
    pub fn build_from(self, weights: BasicRnnWeights<E>) -> Result<BasicRnn<E>, Error> {
        self.check()?;
        let (input, hidden) = (self.input_size, self.hidden_size);
        let weights = BasicRnnWeights {
            kernel: checked("kernel", weights.kernel, &self.kernel_shape())?,
            bias: checked_option("bias", weights.bias, self.use_bias, &[hidden])?,
        };
        let shape = PackShape::new(input, hidden, hidden, 1);
        let packed = Packed::new(Isa::get(), shape, &[gate(&weights.kernel, weights.bias.as_ref())], None);
        Ok(BasicRnn { options: self, weights, packed, transposed: OnceLock::new() })
    }
}

impl<E: Float> RnnCell for BasicRnn<E> {
    type Elem = E;
    type State = Array2<E>;
    type Workspace = Workspace<E>;

    fn input_size(&self) -> usize {
        self.options.input_size
    }
    fn output_size(&self) -> usize {
        self.options.hidden_size
    }
    fn zero_state(&self, batch: usize) -> Array2<E> {
        Array2::zeros((batch, self.options.hidden_size))
    }

    step_as_run!();

    fn unroll(
        &self,
        inputs: &ArrayRef3<E>,
        state: &mut Array2<E>,
        outputs: &mut ArrayRef3<E>,
        workspace: &mut Workspace<E>,
    ) {
        self.run(inputs, state, outputs, None, workspace);
    }
}

impl<E: Float> Parameters<E> for BasicRnn<E> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        visit("kernel", self.weights.kernel.view().into_dyn());
        if let Some(bias) = &self.weights.bias {
            visit("bias", bias.view().into_dyn());
        }
    }
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        let visit = |cell: &mut Self| {
            visit("kernel", cell.weights.kernel.view_mut().into_dyn());
            if let Some(bias) = &mut cell.weights.bias {
                visit("bias", bias.view_mut().into_dyn());
            }
        };
        visit_then_repack(self, visit, Self::repack);
    }
}

impl<E: Float> std::fmt::Debug for BasicRnn<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BasicRnn").field("options", &self.options).finish_non_exhaustive()
    }
}
