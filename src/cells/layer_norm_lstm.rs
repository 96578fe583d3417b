//! The LSTM with layer normalization.

use super::layer_norm::{LayerNorm, LayerNorms};
use super::weights::{checked, checked_option, drawn, gate, matrix_shape, visit_then_repack};
use crate::cell::step_as_run;
use crate::checks::{check_finite, check_sizes};
use crate::dropout::{Keep, Site};
use crate::kernel::isa::Isa;
use crate::kernel::linear::activate_all;
use crate::kernel::pack::{PackShape, Packed};
use crate::kernel::{self, Workspace};
use crate::{Activation, DropoutState, Error, Float, LstmState, Parameters, RnnCell};
use ndarray::{Array1, Array2, ArrayRef3, ArrayViewD, ArrayViewMutD};
use rand::Rng;

/// LSTM with layer normalization and recurrent dropout: tf.contrib.rnn's `LayerNormBasicLSTMCell`, after Ba, Kiros and
/// Hinton (2016) and Semeniuta, Severyn and Barth (2016).
///
/// With \[x, h\] · kernel cut into quarters **i, j, f, o** (input gate, candidate, forget gate, output gate):
///
/// ```text
/// norm(v) = gamma ⊙ (v − mean(v)) / √(variance(v) + 1e-12) + beta,  over the units of one row; gamma and beta of each use
/// g  = drop(act(norm(j)))
/// c' = norm(σ(norm(f) + forget_bias) ⊙ c + σ(norm(i)) ⊙ g)
/// h' = σ(norm(o)) ⊙ act(c')
/// ```
///
/// The output is h'. The c kept in the state is the normalized one, as in tf.contrib. `forget_bias` is added after the
/// normalization. There is a bias only without layer normalization: beta does its work.
///
/// Dropout (each value of g is 0, or with probability `dropout_keep_prob` itself divided by it, drawn anew at every step)
/// happens only in a state from [`training_state`](RnnCell::training_state) or [`seed_dropout`](crate::State::seed_dropout).
///
/// | parameter | shape | initial value |
/// |---|---|---|
/// | `kernel` | (input + hidden, 4 · hidden), columns i, j, f, o | [`glorot_uniform`](crate::init::glorot_uniform) |
/// | `bias` | (4 · hidden), without `layer_norm` | 0 |
/// | `input/gamma`, `transform/gamma`, `forget/gamma`, `output/gamma`, `state/gamma` | (hidden) | `norm_gain` |
/// | `input/beta`, `transform/beta`, `forget/beta`, `output/beta`, `state/beta` | (hidden) | `norm_shift` |
///
/// The state is [`LstmState`] in a [`DropoutState`].
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
    pub(crate) options: LayerNormLstmBuilder<E>,
    pub(crate) keep: Keep,
    weights: LayerNormLstmWeights<E>,
    packed: Packed<E>,
}

/// The parameters of a [`LayerNormLstm`].
#[derive(Debug, Clone, PartialEq)]
pub struct LayerNormLstmWeights<E> {
    /// (input + hidden, 4 · hidden), columns i, j, f, o.
    pub kernel: Array2<E>,
    /// (4 · hidden); there without `layer_norm`.
    pub bias: Option<Array1<E>>,
    /// There with `layer_norm`.
    pub norms: Option<LayerNorms<E>>,
}

/// Options of a [`LayerNormLstm`].
#[derive(Debug, Clone)]
#[must_use]
pub struct LayerNormLstmBuilder<E> {
    input_size: usize,
    pub(crate) hidden_size: usize,
    forget_bias: E,
    layer_norm: bool,
    norm_gain: E,
    norm_shift: E,
    dropout_keep_prob: f64,
    pub(crate) activation: Activation,
}

impl<E: Float> LayerNormLstm<E> {
    /// A cell with tf.contrib's initial weights and default options.
    ///
    /// # Panics
    /// If a size is 0, or the weights would be larger than memory.
    #[must_use]
    pub fn new<R: Rng + ?Sized>(input_size: usize, hidden_size: usize, rng: &mut R) -> Self {
        Self::builder(input_size, hidden_size).build(rng).unwrap_or_else(|error| panic!("{error}"))
    }

    /// A cell with options: forget_bias 1, layer normalization of gain 1 and shift 0, no dropout and tanh unless set
    /// otherwise.
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

    /// The parameters.
    #[must_use]
    pub fn weights(&self) -> &LayerNormLstmWeights<E> {
        &self.weights
    }

    fn repack(&mut self) {
        self.packed.refill(&[gate(&self.weights.kernel, self.weights.bias.as_ref())], None);
    }

    /// One row's `sums` to its gates i, g, f, o. `drop` is the dropout of the candidate.
    pub(crate) fn gates(&self, sums: &mut [E], drop: impl FnOnce(&mut [E])) {
        let Self { options, weights: LayerNormLstmWeights { norms, .. }, .. } = self;
        let mut gates = sums.chunks_exact_mut(options.hidden_size);
        let [i, j, f, o] = std::array::from_fn(|_| gates.next().expect("four gates"));
        if let Some(norms) = norms {
            norms.input.apply(i);
            norms.transform.apply(j);
            norms.forget.apply(f);
            norms.output.apply(o);
        }
        f.iter_mut().for_each(|f| *f += options.forget_bias);
        activate_all(options.activation, j);
        drop(j);
        for gate in [i, f, o] {
            activate_all(Activation::Sigmoid, gate);
        }
    }

    /// One row's gates, given as `sums`, to its new `c` and `h`.
    fn finish(&self, sums: &mut [E], c: &mut [E], h: &mut [E], drop: impl FnOnce(&mut [E])) {
        self.gates(sums, drop);
        let Self { options, weights: LayerNormLstmWeights { norms, .. }, .. } = self;
        let mut gates = sums.chunks_exact(options.hidden_size);
        let [i, j, f, o] = std::array::from_fn(|_| gates.next().expect("four gates"));
        for (((c, &f), &i), &j) in c.iter_mut().zip(f).zip(i).zip(j) {
            *c = *c * f + i * j;
        }
        if let Some(norms) = norms {
            norms.state.apply(c);
        }
        h.copy_from_slice(c);
        activate_all(options.activation, h);
        for (h, &o) in h.iter_mut().zip(o) {
            *h *= o;
        }
    }
}

impl<E: Float> LayerNormLstmBuilder<E> {
    /// Added to the forget gate at every step, after normalization; 1 if not set. Finite.
    pub fn forget_bias(mut self, forget_bias: E) -> Self {
        self.forget_bias = forget_bias;
        self
    }

    /// Whether gates and c are normalized; they are if not set. Without, there is a bias instead.
    pub fn layer_norm(mut self, layer_norm: bool) -> Self {
        self.layer_norm = layer_norm;
        self
    }

    /// Initial gain, 1 if not set. Finite.
    pub fn norm_gain(mut self, norm_gain: E) -> Self {
        self.norm_gain = norm_gain;
        self
    }

    /// Initial shift, 0 if not set. Finite.
    pub fn norm_shift(mut self, norm_shift: E) -> Self {
        self.norm_shift = norm_shift;
        self
    }

    /// Probability of keeping a value of the candidate, above 0 and at most 1; 1 if not set.
    pub fn dropout_keep_prob(mut self, dropout_keep_prob: f64) -> Self {
        self.dropout_keep_prob = dropout_keep_prob;
        self
    }

    /// The activation of the candidate and of c; tanh if not set.
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// The cell, with tf.contrib's initial weights.
    ///
    /// # Errors
    /// [`Error::ZeroSize`] for a size of 0, [`Error::InvalidNumber`] for a forget_bias, gain or shift that is not finite or
    /// a keep probability that is not above 0 and at most 1, [`Error::TooLarge`] if the weights would be larger than memory.
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
        self.build_from(LayerNormLstmWeights { kernel, bias: (!norm).then(|| Array1::zeros(4 * hidden)), norms })
    }

    fn check(&self) -> Result<(), Error> {
        check_sizes(&[("input_size", self.input_size), ("hidden_size", self.hidden_size)])
    }

    fn kernel_shape(&self) -> [usize; 2] {
        matrix_shape([self.input_size, self.hidden_size], [4, self.hidden_size])
    }

    /// The cell, with existing weights.
    ///
    /// # Errors
    /// As [`build`](Self::build); and [`Error::ArrayShape`], [`Error::MissingWeight`] and [`Error::UnexpectedWeight`]
    /// if the weights are not those of these sizes and options.
    pub fn build_from(self, weights: LayerNormLstmWeights<E>) -> Result<LayerNormLstm<E>, Error> {
        let (input, hidden) = (self.input_size, self.hidden_size);
        self.check()?;
        check_finite("forget_bias", self.forget_bias)?;
        check_finite("norm_gain", self.norm_gain)?;
        check_finite("norm_shift", self.norm_shift)?;
        let keep = Keep::new("dropout_keep_prob", self.dropout_keep_prob, false)?;
        let norms = match (weights.norms, self.layer_norm) {
            (Some(norms), true) => Some(LayerNorms {
                input: norms.input.checked("input", hidden)?,
                transform: norms.transform.checked("transform", hidden)?,
                forget: norms.forget.checked("forget", hidden)?,
                output: norms.output.checked("output", hidden)?,
                state: norms.state.checked("state", hidden)?,
            }),
            (None, false) => None,
            (None, true) => return Err(Error::MissingWeight { name: "input/gamma".into() }),
            (Some(_), false) => return Err(Error::UnexpectedWeight { name: "input/gamma".into() }),
        };
        let weights = LayerNormLstmWeights {
            kernel: checked("kernel", weights.kernel, &self.kernel_shape())?,
            bias: checked_option("bias", weights.bias, !self.layer_norm, &[4 * hidden])?,
            norms,
        };
        // The four gates are packed as one: their sums come out side by side.
        let shape = PackShape::new(input, hidden, 4 * hidden, 1);
        let packed = Packed::new(Isa::get(), shape, &[gate(&weights.kernel, weights.bias.as_ref())], None);
        Ok(LayerNormLstm { options: self, keep, weights, packed })
    }
}

impl<E: Float> RnnCell for LayerNormLstm<E> {
    type Elem = E;
    type State = DropoutState<LstmState<E>>;
    type Workspace = Workspace<E>;

    fn input_size(&self) -> usize {
        self.options.input_size
    }
    fn output_size(&self) -> usize {
        self.options.hidden_size
    }
    fn zero_state(&self, batch: usize) -> Self::State {
        let zeros = || Array2::zeros((batch, self.options.hidden_size));
        DropoutState::new(LstmState { c: zeros(), h: zeros() })
    }

    step_as_run!();

    fn unroll(
        &self,
        inputs: &ArrayRef3<E>,
        state: &mut Self::State,
        outputs: &mut ArrayRef3<E>,
        workspace: &mut Workspace<E>,
    ) {
        self.run(inputs, state, outputs, workspace, |_, _| {});
    }
}

impl<E: Float> LayerNormLstm<E> {
    /// A run of steps; `keep` sees the sums and the old c of each step and row, in order.
    pub(crate) fn run(
        &self,
        inputs: &ArrayRef3<E>,
        state: &mut DropoutState<LstmState<E>>,
        outputs: &mut ArrayRef3<E>,
        workspace: &mut Workspace<E>,
        mut keep: impl FnMut(&[E], &[E]),
    ) {
        let (steps, batch, _) = inputs.dim();
        let DropoutState { inner: LstmState { c, h }, masks } = state;
        let hidden = self.options.hidden_size;
        assert_eq!(c.dim(), (batch, hidden), "the state's c must be (batch, hidden)");
        if let Some(masks) = masks {
            masks.check_batch(batch);
        }
        kernel::make_standard(c);
        let c = c.as_slice_mut().expect("c was just made standard");
        kernel::linear::unroll(&self.packed, inputs.view(), h, outputs.view_mut(), workspace, |t, row, sums, h| {
            let c = &mut c[row * hidden..][..hidden];
            keep(sums, c);
            self.finish(sums, c, h, |candidate| {
                if let Some(masks) = masks {
                    masks.drop_row(self.keep, Site::Candidate, t, row, candidate.iter_mut());
                }
            });
        });
        if let Some(masks) = masks {
            masks.advance(steps);
        }
    }
}

impl<E: Float> Parameters<E> for LayerNormLstm<E> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        visit("kernel", self.weights.kernel.view().into_dyn());
        if let Some(bias) = &self.weights.bias {
            visit("bias", bias.view().into_dyn());
        }
        for (name, norm) in self.weights.norms.iter().flat_map(LayerNorms::named) {
            visit(&format!("{name}/gamma"), norm.gamma.view().into_dyn());
            visit(&format!("{name}/beta"), norm.beta.view().into_dyn());
        }
    }
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        let visit = |cell: &mut Self| {
            visit("kernel", cell.weights.kernel.view_mut().into_dyn());
            if let Some(bias) = &mut cell.weights.bias {
                visit("bias", bias.view_mut().into_dyn());
            }
            for (name, norm) in cell.weights.norms.iter_mut().flat_map(LayerNorms::named_mut) {
                visit(&format!("{name}/gamma"), norm.gamma.view_mut().into_dyn());
                visit(&format!("{name}/beta"), norm.beta.view_mut().into_dyn());
            }
        };
        visit_then_repack(self, visit, Self::repack);
    }
}

impl<E: Float> std::fmt::Debug for LayerNormLstm<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LayerNormLstm").field("options", &self.options).finish_non_exhaustive()
    }
}
