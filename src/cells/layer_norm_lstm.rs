//! The LSTM with layer normalization.

use super::layer_norm::{LayerNorm, LayerNorms, normalize};
use crate::cell::step_as_run;
use crate::checks::{check_finite, check_sizes};
use crate::dropout::{Keep, Masks, Site};
use crate::fused::cell::{run_backward, run_forward, same};
use crate::fused::weights::{drawn, gates_of, matrix_shape, packed_parameters};
use crate::fused::{
    self, Backward, Forward, FusedCell, Record, Samples, Source, Stage, Stages, TrainableFusedCell, Vector, Workspace,
};
use crate::kernel::isa::Isa;
use crate::kernel::pack::PackShape;
use crate::kernel::product::Product;
use crate::kernel::recurrence::{BackwardRows, Concrete, ForwardRows};
use crate::train::{Back, RunBack, TrainableCell, steps_as_runs};
use crate::{Activation, Arrays, DropoutState, Error, Float, LstmState, Parameters, RnnCell, parameters};
use ndarray::{Array1, Array2, ArrayRef2, ArrayRef3, ArrayViewD, Axis};
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
        /// (4 · hidden); there without `layer_norm`.
        "bias" bias: Option<Array1<E>>,
        /// There with `layer_norm`.
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
        let gates: [_; 4] = gates_of(&self.weights.kernel, self.weights.bias.as_ref());
        self.product.refill(&gates, None);
    }
}

packed_parameters!(LayerNormLstm);

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
        let weights = weights.checked("", &|name| self.shape(name))?;
        let shape = PackShape { inputs: input, recurrent: hidden, units: hidden, gates: 4, split: false };
        let gates: [_; 4] = gates_of(&weights.kernel, weights.bias.as_ref());
        let product = Product::new(Isa::get(), shape, &gates, None);
        Ok(LayerNormLstm { options: self, keep, weights, product })
    }

    /// The shape of a weight; `None` without it.
    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        match name {
            "kernel" => Some(self.kernel_shape().into()),
            "bias" => (!self.layer_norm).then(|| vec![4 * self.hidden_size]),
            _ => self.layer_norm.then(|| vec![self.hidden_size]),
        }
    }
}

/// Leaves of the state.
const C: usize = 0;
const H: usize = 1;
/// Temporaries: the gates' values i, j, f, o, j before dropout; the new c before gain and shift, or what it is made of; what
/// the sums and the new c were multiplied by to normalize them.
const GATES: usize = 0;
const NEW_C: usize = 1;
const SCALES: usize = 2;
/// The accumulator of the gradients of gains and shifts, those of a normalization side by side.
const NORMS: usize = 0;

/// The cell in one run, with the masks that its rows have there.
struct Masked<'a, E: Float> {
    cell: &'a LayerNormLstm<E>,
    masks: Option<&'a Masks>,
}

impl<E: Float> Masked<'_, E> {
    /// Drops from a row's candidate, or from its gradient.
    #[inline(always)]
    fn drop(&self, step: usize, row: usize, candidate: &mut [E]) {
        if let Some(masks) = self.masks {
            masks.drop_row(self.cell.keep, Site::Candidate, step, row, candidate.iter_mut());
        }
    }
}

impl<E: Float> Parameters<E> for Masked<'_, E> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        self.cell.visit_parameters(visit);
    }
}

impl<E: Float> FusedCell for Masked<'_, E> {
    type Elem = E;
    type State = LstmState<E>;

    fn input_size(&self) -> usize {
        self.cell.options.input_size
    }
    fn output_size(&self) -> usize {
        self.cell.options.hidden_size
    }
    fn zero_state(&self, batch: usize) -> LstmState<E> {
        let zeros = || Array2::zeros((batch, self.cell.options.hidden_size));
        LstmState { c: zeros(), h: zeros() }
    }
    fn stages(&self) -> Stages<'_, E> {
        let hidden = self.cell.options.hidden_size;
        let stages = Stages::new([Stage::of(&self.cell.product).state(H).whole_rows()]);
        stages.temporary(4 * hidden).temporary(hidden).temporary(5).accumulator(10 * hidden)
    }

    fn forward_rows(&self, rows: &ForwardRows<'_, E>) {
        #[inline(never)]
        fn of_f32(cell: &LayerNormLstm<f32>, masks: Option<&Masks>, rows: &ForwardRows<'_, f32>) {
            run_forward(&Masked { cell, masks }, rows);
        }
        #[inline(never)]
        fn of_f64(cell: &LayerNormLstm<f64>, masks: Option<&Masks>, rows: &ForwardRows<'_, f64>) {
            run_forward(&Masked { cell, masks }, rows);
        }
        match rows.concrete() {
            Concrete::F32(rows) => of_f32(same(self.cell), self.masks, rows),
            Concrete::F64(rows) => of_f64(same(self.cell), self.masks, rows),
        }
    }

    #[inline(always)]
    fn forward<V: Vector<E>>(&self, _: usize, row: &mut Forward<'_, E>) {
        let LayerNormLstmBuilder { activation, forget_bias, .. } = self.cell.options;
        let norms = self.cell.weights.norms.as_ref();
        let (step, number) = (row.step(), row.row());
        let (mut sums, gates) = (row.sums::<4>(0), row.temporary(GATES));
        let (scratch, scales) = (row.temporary(NEW_C), row.temporary(SCALES));
        let (c, new_c) = (row.state(C), row.new_state(C));
        let (h, output) = (row.new_state(H), row.output());
        let hidden = c.len();

        for (k, (sums, gates)) in sums.iter_mut().zip(gates.chunks_exact_mut(hidden)).enumerate() {
            if norms.is_some() {
                scales[k] = normalize::<E, V>(sums);
            }
            for at in V::units(hidden) {
                let sum = V::load(sums, at);
                let sum = norms.map_or(sum, |norms| norms.gates()[k].scale(sum, at));
                let value = match k {
                    1 => sum.activate(activation),
                    2 => (sum + forget_bias).sigmoid(),
                    _ => sum.sigmoid(),
                };
                value.store(gates, at);
            }
        }
        let [i, j, f, o] = quarters(gates);
        scratch.copy_from_slice(j);
        self.drop(step, number, scratch);
        for at in V::units(hidden) {
            let raw = V::load(c, at) * V::load(f, at) + V::load(i, at) * V::load(scratch, at);
            raw.store(scratch, at);
        }
        if norms.is_some() {
            scales[4] = normalize::<E, V>(scratch);
        }
        for at in V::units(hidden) {
            let normal = V::load(scratch, at);
            let c = norms.map_or(normal, |norms| norms.state.scale(normal, at));
            let y = c.activate(activation) * V::load(o, at);
            c.store(new_c, at);
            y.store(h, at);
            y.store(output, at);
        }
    }
}

/// The gates of a row, i, j, f, o.
#[inline(always)]
fn quarters<E>(gates: &[E]) -> [&[E]; 4] {
    let (left, right) = gates.split_at(gates.len() / 2);
    let ((i, j), (f, o)) = (left.split_at(left.len() / 2), right.split_at(right.len() / 2));
    [i, j, f, o]
}

impl<E: Float> TrainableFusedCell for Masked<'_, E> {
    type Gradient = LayerNormLstmWeights<E>;

    fn zero_gradient(&self) -> LayerNormLstmWeights<E> {
        self.cell.weights.zeros()
    }

    fn backward_rows(&self, rows: &BackwardRows<'_, E>) {
        #[inline(never)]
        fn of_f32(cell: &LayerNormLstm<f32>, masks: Option<&Masks>, rows: &BackwardRows<'_, f32>) {
            run_backward(&Masked { cell, masks }, rows);
        }
        #[inline(never)]
        fn of_f64(cell: &LayerNormLstm<f64>, masks: Option<&Masks>, rows: &BackwardRows<'_, f64>) {
            run_backward(&Masked { cell, masks }, rows);
        }
        match rows.concrete() {
            Concrete::F32(rows) => of_f32(same(self.cell), self.masks, rows),
            Concrete::F64(rows) => of_f64(same(self.cell), self.masks, rows),
        }
    }

    #[inline(always)]
    fn backward<V: Vector<E>>(&self, _: usize, row: &mut Backward<'_, E>) {
        let activation = self.cell.options.activation;
        let norms = self.cell.weights.norms.as_ref();
        let (step, number) = (row.step(), row.row());
        let (mut sums, gates, scratch) = (row.sums::<4>(0), row.temporary(GATES), row.temporary(NEW_C));
        let (scales, d_norms) = (row.temporary(SCALES), row.accumulator(NORMS));
        let (old_c, new_c) = (row.state(C), row.new_state(C));
        let (d_c, d_h, d_output) = (row.d_state(C), row.d_state(H), row.d_output());
        let hidden = old_c.len();

        let [i, j, f, o] = quarters_mut(gates);
        for at in V::units(hidden) {
            let d = V::load(d_h, at) + V::load(d_output, at);
            let y = V::load(new_c, at).activate(activation);
            // The gradient of o's value; its slope and those of the others' come below.
            (d * y).store(d_h, at);
            (V::load(d_c, at) + d * V::load(o, at) * y.slope(activation)).store(d_c, at);
        }
        if let Some(norms) = norms {
            norms.state.back::<V>(d_c, scratch, scales[4], &mut d_norms[8 * hidden..]);
        }
        scratch.copy_from_slice(j);
        self.drop(step, number, scratch);
        for at in V::units(hidden) {
            let (d, i_value, f_value, o_value) = (V::load(d_c, at), V::load(i, at), V::load(f, at), V::load(o, at));
            (d * V::load(scratch, at) * i_value.slope(Activation::Sigmoid)).store(i, at);
            (d * V::load(old_c, at) * f_value.slope(Activation::Sigmoid)).store(f, at);
            (V::load(d_h, at) * o_value.slope(Activation::Sigmoid)).store(o, at);
            (d * i_value).store(scratch, at);
            (d * f_value).store(d_c, at);
            V::splat(E::zero()).store(d_h, at);
        }
        self.drop(step, number, scratch);
        for at in V::units(hidden) {
            (V::load(scratch, at) * V::load(j, at).slope(activation)).store(j, at);
        }
        for (k, (normal, d)) in sums.iter_mut().zip([i, j, f, o]).enumerate() {
            if let Some(norms) = norms {
                norms.gates()[k].back::<V>(d, normal, scales[k], &mut d_norms[2 * k * hidden..][..2 * hidden]);
            }
            normal.copy_from_slice(d);
        }
    }

    fn gradients(&self, samples: &mut Samples<'_, E>, gradient: &mut LayerNormLstmWeights<E>) {
        let LayerNormLstmWeights { kernel, bias, norms } = gradient;
        samples.add_product((0, 0..4), &[Source::Input, Source::State(H)], kernel.view_mut(), bias.as_mut());
        let Some(LayerNorms { input, transform, forget, output, state }) = norms else { return };
        for (k, LayerNorm { gamma, beta }) in [input, transform, forget, output, state].into_iter().enumerate() {
            let hidden = gamma.len();
            samples.add_accumulated(NORMS, 2 * k * hidden, gamma);
            samples.add_accumulated(NORMS, (2 * k + 1) * hidden, beta);
        }
    }
}

/// As [`quarters`], to be written.
#[inline(always)]
fn quarters_mut<E>(gates: &mut [E]) -> [&mut [E]; 4] {
    let (left, right) = gates.split_at_mut(gates.len() / 2);
    let ((i, j), (f, o)) = (left.split_at_mut(left.len() / 2), right.split_at_mut(right.len() / 2));
    [i, j, f, o]
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
        DropoutState::new(Masked { cell: self, masks: None }.zero_state(batch))
    }

    step_as_run!();

    fn unroll(
        &self,
        inputs: &ArrayRef3<E>,
        state: &mut Self::State,
        outputs: &mut ArrayRef3<E>,
        workspace: &mut Workspace<E>,
    ) {
        let DropoutState { inner, masks } = state;
        fused::unroll(&self.masked(masks.as_ref(), inputs.dim()), inputs, inner, outputs, workspace);
        advance(masks, inputs.dim().0);
    }
}

impl<E: Float> LayerNormLstm<E> {
    fn masked<'a>(&'a self, masks: Option<&'a Masks>, inputs: (usize, usize, usize)) -> Masked<'a, E> {
        if let Some(masks) = masks {
            masks.check_batch(inputs.1);
        }
        Masked { cell: self, masks }
    }
}

fn advance(masks: &mut Option<Masks>, steps: usize) {
    if let Some(masks) = masks {
        masks.advance(steps);
    }
}

/// What a recorded run of a [`LayerNormLstm`] keeps.
#[derive(Debug)]
pub struct LayerNormLstmRecord<E> {
    record: Record<E>,
    /// As before the first step.
    masks: Option<Masks>,
}

impl<E: Float> TrainableCell for LayerNormLstm<E> {
    type Record = LayerNormLstmRecord<E>;
    type Gradient = LayerNormLstmWeights<E>;

    fn zero_gradient(&self) -> LayerNormLstmWeights<E> {
        self.weights.zeros()
    }

    steps_as_runs!();

    fn unroll_recording(
        &self,
        inputs: &ArrayRef3<E>,
        state: &mut Self::State,
        outputs: &mut ArrayRef3<E>,
        records: &mut Vec<Self::Record>,
        workspace: &mut Workspace<E>,
    ) {
        let DropoutState { inner, masks } = state;
        let masked = self.masked(masks.as_ref(), inputs.dim());
        let record = fused::unroll_recording(&masked, inputs, inner, outputs, workspace);
        records.push(LayerNormLstmRecord { record, masks: masks.clone() });
        advance(masks, inputs.dim().0);
    }

    fn unroll_backward(&self, records: &mut Vec<Self::Record>, back: RunBack<'_, Self>, workspace: &mut Workspace<E>) {
        let LayerNormLstmRecord { record, masks } = records.pop().expect("each run forward left a record");
        let Back { inputs, d_outputs, d_state, d_inputs, gradient } = back;
        let masked = self.masked(masks.as_ref(), inputs.dim());
        let d_state = &mut d_state.inner;
        fused::unroll_backward(&masked, record, Back { inputs, d_outputs, d_state, d_inputs, gradient }, workspace);
    }
}

impl<E: Float> std::fmt::Debug for LayerNormLstm<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LayerNormLstm").field("options", &self.options).finish_non_exhaustive()
    }
}
