//! The gated recurrent unit.

use super::weights::{checked, checked_option, drawn, gate, matrix_shape, numbers, visit_then_repack};
use crate::cell::step_as_run;
use crate::checks::check_sizes;
use crate::kernel::gru::Weights as PackedWeights;
use crate::kernel::gru_backward::{Record, Transposed};
use crate::kernel::isa::Isa;
use crate::kernel::pack::{Gate, PackShape, Packed};
use crate::kernel::{self, Workspace};
use crate::{Activation, Error, Float, Parameters, RnnCell};
use ndarray::{Array1, Array2, ArrayRef3, ArrayViewD, ArrayViewMutD};
use rand::Rng;
use std::marker::PhantomData;
use std::sync::OnceLock;

/// Gated recurrent unit: TensorFlow 1's `GRUCell`, after Cho et al. (2014); with [`GruReset::After`] the form of cuDNN,
/// PyTorch and Keras.
///
/// With \[r, u\] = σ(\[x, h\] · gates/kernel + gates/bias), halves **r, u** (reset gate, update gate), and W and U the
/// first `input` and the other rows of `candidate/kernel`:
///
/// ```text
/// reset before:  n = act(x·W + (r ⊙ h)·U + candidate/bias)
/// reset after:   n = act(x·W + candidate/bias + r ⊙ (h·U + candidate/recurrent_bias))
/// h' = u ⊙ h + (1 − u) ⊙ n
/// ```
///
/// The output is h'. PyTorch's z is this u. Keras 2's z is too; where a library blends h' = (1 − u) ⊙ h + u ⊙ n instead
/// (madmom, the paper), negate u's columns of `gates/kernel` and its half of `gates/bias`: 1 − σ(a) is σ(−a).
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
    packed: PackedWeights<E>,
    /// Packed by the first run backward.
    transposed: OnceLock<Transposed<E>>,
}

/// Where a [`Gru`]'s reset gate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum GruReset {
    /// It multiplies h before the candidate's product: TensorFlow 1's and the paper's.
    #[default]
    Before,
    /// It multiplies the candidate's recurrent product, which has a bias of its own: cuDNN's, PyTorch's and Keras's.
    After,
}

/// The parameters of a [`Gru`].
#[derive(Debug, Clone, PartialEq)]
pub struct GruWeights<E> {
    /// `gates/kernel`, (input + hidden, 2 · hidden), columns r, u.
    pub gates_kernel: Array2<E>,
    /// `gates/bias`, (2 · hidden); there with `use_bias`.
    pub gates_bias: Option<Array1<E>>,
    /// `candidate/kernel`, (input + hidden, hidden).
    pub candidate_kernel: Array2<E>,
    /// `candidate/bias`, (hidden); there with `use_bias`.
    pub candidate_bias: Option<Array1<E>>,
    /// `candidate/recurrent_bias`, (hidden); there with `use_bias` and [`GruReset::After`].
    pub candidate_recurrent_bias: Option<Array1<E>>,
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
    /// A cell with TensorFlow's initial weights and default options.
    ///
    /// # Panics
    /// If a size is 0, or the weights would be larger than memory.
    #[must_use]
    pub fn new<R: Rng + ?Sized>(input_size: usize, hidden_size: usize, rng: &mut R) -> Self {
        Self::builder(input_size, hidden_size).build(rng).unwrap_or_else(|error| panic!("{error}"))
    }

    /// A cell with options: reset before the product, biases, tanh and sigmoid unless set otherwise.
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

    /// The parameters.
    #[must_use]
    pub fn weights(&self) -> &GruWeights<E> {
        &self.weights
    }

    pub(crate) fn reset(&self) -> GruReset {
        self.options.reset
    }

    pub(crate) fn activations(&self) -> (Activation, Activation) {
        (self.options.gate_activation, self.options.activation)
    }

    /// The weights as backward multiplies by them.
    pub(crate) fn transposed(&self) -> &Transposed<E> {
        let GruWeights { gates_kernel, candidate_kernel, .. } = &self.weights;
        let (inputs, after) = (self.options.input_size, self.options.reset == GruReset::After);
        self.transposed.get_or_init(|| Transposed::new(gates_kernel, candidate_kernel, inputs, after))
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
        let (gates, candidate) = self.activations();
        let (inputs, outputs) = (inputs.view(), outputs.view_mut());
        kernel::gru::unroll(&self.packed, gates, candidate, inputs, state, outputs, record, workspace);
    }

    fn repack(&mut self) {
        let [r, u, n] = gates(&self.weights, self.options.hidden_size);
        let recurrent_bias = self.weights.candidate_recurrent_bias.as_ref().map(numbers);
        match &mut self.packed {
            PackedWeights::ResetBefore { gates, candidate } => {
                gates.refill(&[r, u], None);
                candidate.refill(&[n], None);
            }
            PackedWeights::ResetAfter(all) => all.refill(&[r, u, n], recurrent_bias),
        }
        if let Some(transposed) = self.transposed.get_mut() {
            let GruWeights { gates_kernel, candidate_kernel, .. } = &self.weights;
            transposed.refill(gates_kernel, candidate_kernel, self.options.input_size);
        }
    }
}

/// r, u and the candidate as packed.
fn gates<E: Float>(weights: &GruWeights<E>, hidden: usize) -> [Gate<'_, E>; 3] {
    let both = gate(&weights.gates_kernel, weights.gates_bias.as_ref());
    let half = |index: usize| Gate {
        column: index * hidden,
        bias: both.bias.map(|bias| &bias[index * hidden..][..hidden]),
        ..both
    };
    [half(0), half(1), gate(&weights.candidate_kernel, weights.candidate_bias.as_ref())]
}

impl<E: Float> GruBuilder<E> {
    /// Where the reset gate stands; [`GruReset::Before`] if not set.
    pub fn reset(mut self, reset: GruReset) -> Self {
        self.reset = reset;
        self
    }

    /// Whether there are biases; there are if not set.
    pub fn use_bias(mut self, use_bias: bool) -> Self {
        self.use_bias = use_bias;
        self
    }

    /// The activation of the candidate; tanh if not set.
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// The activation of the gates r and u (Keras's `recurrent_activation`); sigmoid if not set.
    pub fn gate_activation(mut self, gate_activation: Activation) -> Self {
        self.gate_activation = gate_activation;
        self
    }

    /// The cell, with TensorFlow's initial weights.
    ///
    /// # Errors
    /// [`Error::ZeroSize`]; [`Error::TooLarge`] if the weights would be larger than memory.
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
        check_sizes(&[("input_size", self.input_size), ("hidden_size", self.hidden_size)])
    }

    fn kernel_shape(&self, gates: usize) -> [usize; 2] {
        matrix_shape([self.input_size, self.hidden_size], [gates, self.hidden_size])
    }

    /// The cell, with existing weights.
    ///
    /// # Errors
    /// [`Error::ZeroSize`]; [`Error::ArrayShape`], [`Error::MissingWeight`] and [`Error::UnexpectedWeight`] if the
    /// weights are not those of these sizes and options.
    pub fn build_from(self, weights: GruWeights<E>) -> Result<Gru<E>, Error> {
        let (input, hidden, use_bias) = (self.input_size, self.hidden_size, self.use_bias);
        self.check()?;
        let after = self.reset == GruReset::After;
        let weights = GruWeights {
            gates_kernel: checked("gates/kernel", weights.gates_kernel, &self.kernel_shape(2))?,
            gates_bias: checked_option("gates/bias", weights.gates_bias, use_bias, &[2 * hidden])?,
            candidate_kernel: checked("candidate/kernel", weights.candidate_kernel, &self.kernel_shape(1))?,
            candidate_bias: checked_option("candidate/bias", weights.candidate_bias, use_bias, &[hidden])?,
            candidate_recurrent_bias: checked_option(
                "candidate/recurrent_bias",
                weights.candidate_recurrent_bias,
                use_bias && after,
                &[hidden],
            )?,
        };
        let shape = |gates| PackShape::new(input, hidden, hidden, gates);
        let [r, u, n] = gates(&weights, hidden);
        let packed = match self.reset {
            GruReset::Before => PackedWeights::ResetBefore {
                gates: Packed::new(Isa::get(), shape(2), &[r, u], None),
                candidate: Packed::new(Isa::get(), shape(1), &[n], None),
            },
            GruReset::After => {
                let recurrent_bias = weights.candidate_recurrent_bias.as_ref().map(numbers);
                let shape = PackShape { split: true, ..shape(3) };
                PackedWeights::ResetAfter(Packed::new(Isa::get(), shape, &[r, u, n], recurrent_bias))
            }
        };
        Ok(Gru { options: self, weights, packed, transposed: OnceLock::new() })
    }
}

impl<E: Float> RnnCell for Gru<E> {
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

impl<E: Float> Parameters<E> for Gru<E> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        let GruWeights { gates_kernel, gates_bias, candidate_kernel, candidate_bias, candidate_recurrent_bias } =
            &self.weights;
        visit("gates/kernel", gates_kernel.view().into_dyn());
        if let Some(bias) = gates_bias {
            visit("gates/bias", bias.view().into_dyn());
        }
        visit("candidate/kernel", candidate_kernel.view().into_dyn());
        if let Some(bias) = candidate_bias {
            visit("candidate/bias", bias.view().into_dyn());
        }
        if let Some(bias) = candidate_recurrent_bias {
            visit("candidate/recurrent_bias", bias.view().into_dyn());
        }
    }
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        let visit = |cell: &mut Self| {
            let GruWeights { gates_kernel, gates_bias, candidate_kernel, candidate_bias, candidate_recurrent_bias } =
                &mut cell.weights;
            visit("gates/kernel", gates_kernel.view_mut().into_dyn());
            if let Some(bias) = gates_bias {
                visit("gates/bias", bias.view_mut().into_dyn());
            }
            visit("candidate/kernel", candidate_kernel.view_mut().into_dyn());
            if let Some(bias) = candidate_bias {
                visit("candidate/bias", bias.view_mut().into_dyn());
            }
            if let Some(bias) = candidate_recurrent_bias {
                visit("candidate/recurrent_bias", bias.view_mut().into_dyn());
            }
        };
        visit_then_repack(self, visit, Self::repack);
    }
}

impl<E: Float> std::fmt::Debug for Gru<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gru").field("options", &self.options).finish_non_exhaustive()
    }
}
