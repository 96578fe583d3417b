//! The LSTM.

use crate::checks::{check_finite, check_positive, check_sizes};
use crate::fused::cell::{backward_compiled_here, forward_compiled_here};
use crate::fused::weights::{drawn, gates_of, matrix_shape, numbers, packed_parameters};
use crate::fused::{Backward, Forward, FusedCell, Samples, Source, Stage, Stages, TrainableFusedCell, Vector};
use crate::kernel::isa::Isa;
use crate::kernel::pack::{Gate, PackShape};
use crate::kernel::product::Product;
use crate::{Activation, Arrays, Error, Float, LstmState, init, parameters, trainable_fused_cell};
use ndarray::{Array1, Array2, Axis};
use rand::Rng;

/// Long short-term memory: TensorFlow 1's `LSTMCell`, and `BasicLSTMCell` with its default options; after Hochreiter and
/// Schmidhuber (1997), Gers, Schmidhuber and Cummins (2000), and Sak, Senior and Beaufays (2014) for peepholes and
/// projection.
///
/// With z = \[x, h\] · kernel + bias cut into quarters **i, j, f, o** (input gate, candidate, forget gate, output gate)
/// and σ the gates' activation:
///
/// ```text
/// c' = σ(f + forget_bias + w_f_diag ⊙ c) ⊙ c + σ(i + w_i_diag ⊙ c) ⊙ act(j)
/// c' = c' cut to ±cell_clip
/// h' = σ(o + w_o_diag ⊙ c') ⊙ act(c')
/// h' = h' · projection/kernel, cut to ±proj_clip
/// ```
///
/// The output is h'. Peepholes (`w_*_diag`), clips and the projection are off unless asked for. `forget_bias` is added
/// as the step runs and is not in `bias`, as in TensorFlow. The output gate's peephole sees the new, clipped c.
///
/// | parameter | shape | initial value |
/// |---|---|---|
/// | `kernel` | (input + output, 4 · hidden), columns i, j, f, o | [`glorot_uniform`](init::glorot_uniform) |
/// | `bias` | (4 · hidden) | 0 |
/// | `w_f_diag`, `w_i_diag`, `w_o_diag` | (hidden), with `use_peepholes` | uniform in ±√(3 / hidden) |
/// | `projection/kernel` | (hidden, num_proj), with `num_proj` | `glorot_uniform` |
///
/// `output` is `num_proj` if set, else `hidden`. The state is [`LstmState`].
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
        /// (4 · hidden); `None` is no bias at all (`forget_bias` is still added).
        "bias" bias: Option<Array1<E>>,
        /// With `use_peepholes`.
        "" peepholes: Option<Peepholes<E>>,
        /// (hidden, num_proj), with `num_proj`.
        "projection/kernel" projection: Option<Array2<E>>,
    }
}

parameters! {
    /// Diagonal weights from the memory c to the gates, (hidden) each.
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
    /// A cell with TensorFlow's initial weights and default options.
    ///
    /// # Panics
    /// If a size is 0, or the weights would be larger than memory.
    #[must_use]
    pub fn new<R: Rng + ?Sized>(input_size: usize, hidden_size: usize, rng: &mut R) -> Self {
        Self::builder(input_size, hidden_size).build(rng).unwrap_or_else(|error| panic!("{error}"))
    }

    /// A cell with options: a bias, forget_bias 1, tanh and sigmoid, and nothing else unless set otherwise.
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

    /// A cell of existing weights with default options, its sizes read from their shapes.
    ///
    /// # Errors
    /// [`Error::ArrayShape`] if the shapes do not fit together, [`Error::ZeroSize`] if one is empty.
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

    /// Units of the memory c.
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
    /// Added to the forget gate at every step; 1 if not set. Finite.
    pub fn forget_bias(mut self, forget_bias: E) -> Self {
        self.forget_bias = forget_bias;
        self
    }

    /// Whether there is a bias; there is if not set.
    pub fn use_bias(mut self, use_bias: bool) -> Self {
        self.use_bias = use_bias;
        self
    }

    /// Whether the gates see c through diagonal weights; they do not if not set.
    pub fn use_peepholes(mut self, use_peepholes: bool) -> Self {
        self.use_peepholes = use_peepholes;
        self
    }

    /// Cuts each new c to ±`cell_clip`, finite and above 0; no clip if not set. An initial c beyond it is used as it is.
    pub fn cell_clip(mut self, cell_clip: E) -> Self {
        self.cell_clip = Some(cell_clip);
        self
    }

    /// Projects h to `num_proj` features, at least 1, possibly more than `hidden_size`; no projection if not set.
    pub fn num_proj(mut self, num_proj: usize) -> Self {
        self.num_proj = Some(num_proj);
        self
    }

    /// Cuts the projection to ±`proj_clip`, finite and above 0; no clip if not set. Without `num_proj` it does nothing.
    pub fn proj_clip(mut self, proj_clip: E) -> Self {
        self.proj_clip = Some(proj_clip);
        self
    }

    /// The activation of the candidate and of c; tanh if not set.
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// The activation of the gates i, f and o (Keras's `recurrent_activation`); sigmoid if not set.
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

    /// The gates as packed: forget_bias is added to what is packed, never to `bias`.
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
        for (argument, clip) in [("cell_clip", self.cell_clip), ("proj_clip", self.proj_clip)] {
            clip.map(|clip| check_positive(argument, clip)).transpose()?;
        }
        Ok(())
    }

    /// The cell, with TensorFlow's initial weights.
    ///
    /// # Errors
    /// [`Error::ZeroSize`] for a size or `num_proj` of 0, [`Error::InvalidNumber`] for a forget_bias that is not finite
    /// or a clip that is not finite and above 0, [`Error::TooLarge`] if the weights would be larger than memory.
    pub fn build<R: Rng + ?Sized>(self, rng: &mut R) -> Result<Lstm<E>, Error> {
        self.check()?;
        let hidden = self.hidden_size;
        let kernel = drawn("kernel", self.kernel_shape(), rng)?;
        let peepholes = self.use_peepholes.then(|| {
            let mut diagonal = || init::uniform((1, hidden), (3.0 / hidden as f64).sqrt(), rng).remove_axis(Axis(0));
            Peepholes { w_f_diag: diagonal(), w_i_diag: diagonal(), w_o_diag: diagonal() }
        });
        let projection = match self.num_proj {
            Some(num_proj) => Some(drawn("projection/kernel", [hidden, num_proj], rng)?),
            None => None,
        };
        let bias = self.use_bias.then(|| Array1::zeros(4 * hidden));
        self.build_from(LstmWeights { kernel, bias, peepholes, projection })
    }

    /// The cell, with existing weights.
    ///
    /// # Errors
    /// As [`build`](Self::build); and [`Error::ArrayShape`], [`Error::MissingWeight`] and [`Error::UnexpectedWeight`]
    /// if the weights are not those of these sizes and options.
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

    /// The shape of a weight; `None` without it.
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

/// Leaves of the state, and the temporary that holds h before its projection.
const C: usize = 0;
const H: usize = 1;
const UNPROJECTED: usize = 0;
/// The accumulator of the gradients of peepholes to f, i, o.
const PEEPHOLES: usize = 0;
/// The stage that projects.
const PROJECTION: usize = 1;

impl<E: Float> FusedCell for Lstm<E> {
    type Elem = E;
    type State = LstmState<E>;

    fn input_size(&self) -> usize {
        self.options.input_size
    }
    fn output_size(&self) -> usize {
        self.options.output_size()
    }
    fn zero_state(&self, batch: usize) -> LstmState<E> {
        LstmState {
            c: Array2::zeros((batch, self.options.hidden_size)),
            h: Array2::zeros((batch, self.options.output_size())),
        }
    }
    fn stages(&self) -> Stages<'_, E> {
        let (gates, hidden) = (Stage::of(&self.gates).state(H), self.options.hidden_size);
        let stages = match &self.projection {
            None => Stages::new([gates]),
            Some(projection) => Stages::new([gates, Stage::of(projection).temporary(UNPROJECTED)]).temporary(hidden),
        };
        if self.weights.peepholes.is_some() { stages.accumulator(3 * hidden) } else { stages }
    }

    forward_compiled_here!(Lstm);

    #[inline(always)]
    fn forward<V: Vector<E>>(&self, stage: usize, row: &mut Forward<'_, E>) {
        if stage == PROJECTION {
            let ([sum], h, output) = (row.sums(PROJECTION), row.new_state(H), row.output());
            for at in V::units(sum.len()) {
                let projected = V::load(sum, at);
                let projected = self.options.proj_clip.map_or(projected, |clip| projected.clamp(-clip, clip));
                projected.store(h, at);
                projected.store(output, at);
            }
            return;
        }
        if self.is_plain() { self.gates_forward::<V, true>(row) } else { self.gates_forward::<V, false>(row) }
    }
}

/// The gates' sums, or their values.
struct Gates<V> {
    i: V,
    j: V,
    f: V,
    o: V,
}

impl<E: Float> Lstm<E> {
    /// The stage of the gates.
    #[inline(always)]
    fn gates_forward<V: Vector<E>, const PLAIN: bool>(&self, row: &mut Forward<'_, E>) {
        let recording = row.is_recording();
        let peepholes = if PLAIN { None } else { self.peepholes(row.units()) };
        let ([i, j, f, o], c, new_c) = (row.sums(0), row.state(C), row.new_state(C));
        // Without a projection h is the new state's, and the output.
        let (h, output) = match self.projection {
            None => (row.new_state(H), row.output()),
            Some(_) => (row.temporary(UNPROJECTED), &mut [][..]),
        };
        for at in V::units(c.len()) {
            let gates = Gates { i: V::load(i, at), j: V::load(j, at), f: V::load(f, at), o: V::load(o, at) };
            let (gates, c) = self.step::<V, PLAIN>(
                gates,
                V::load(c, at),
                peepholes.map(|[f, i, o]| [V::load(f, at), V::load(i, at), V::load(o, at)]),
            );
            c.store(new_c, at);
            if recording {
                gates.i.store(i, at);
                gates.j.store(j, at);
                gates.f.store(f, at);
                gates.o.store(o, at);
            }
            let next = gates.o * c.activate(self.activations::<PLAIN>().0);
            next.store(h, at);
            if self.projection.is_none() {
                next.store(output, at);
            }
        }
    }

    /// The way back of the stage of the gates.
    #[inline(always)]
    fn gates_backward<V: Vector<E>, const PLAIN: bool>(&self, row: &mut Backward<'_, E>) {
        let ([i, j, f, o], old_c, new_c, d_c) = (row.sums(0), row.state(C), row.new_state(C), row.d_state(C));
        let peepholes = if PLAIN { None } else { self.peepholes(0..old_c.len()) };
        let (d_h, d_output) = match self.projection {
            None => (row.d_state(H), row.d_output()),
            Some(_) => (row.d_temporary(UNPROJECTED), &[][..]),
        };
        for at in V::units(old_c.len()) {
            let gates = Gates { i: V::load(i, at), j: V::load(j, at), f: V::load(f, at), o: V::load(o, at) };
            let mut d = V::load(d_h, at);
            if self.projection.is_none() {
                d = d + V::load(d_output, at);
                V::splat(E::zero()).store(d_h, at);
            }
            let (c, peepholes) = (
                [V::load(old_c, at), V::load(new_c, at)],
                peepholes.map(|[f, i, o]| [V::load(f, at), V::load(i, at), V::load(o, at)]),
            );
            let (gates, before) = self.step_back::<V, PLAIN>(gates, c, [d, V::load(d_c, at)], peepholes);
            gates.i.store(i, at);
            gates.j.store(j, at);
            gates.f.store(f, at);
            gates.o.store(o, at);
            before.store(d_c, at);
        }
        if !PLAIN && self.weights.peepholes.is_some() {
            // The forget and the input gate saw the c before the step, the output gate the one after.
            let hidden = old_c.len();
            for (to, (d, c)) in
                row.accumulator(PEEPHOLES).chunks_exact_mut(hidden).zip([(f, old_c), (i, old_c), (o, new_c)])
            {
                for at in V::units(hidden) {
                    V::load(d, at).mul_add(V::load(c, at), V::load(to, at)).store(to, at);
                }
            }
        }
    }

    /// Peepholes to f, i, o, of some units.
    #[inline(always)]
    fn peepholes(&self, units: std::ops::Range<usize>) -> Option<[&[E]; 3]> {
        let Peepholes { w_f_diag, w_i_diag, w_o_diag } = self.weights.peepholes.as_ref()?;
        Some([w_f_diag, w_i_diag, w_o_diag].map(|weights| &numbers(weights)[units.clone()]))
    }

    /// Whether only the sums and c matter: the usual activations, no peepholes, no clip. Then the loop over units has no options
    /// to look at, which takes a tenth of a small cell's step.
    fn is_plain(&self) -> bool {
        let LstmBuilder { activation, gate_activation, cell_clip, .. } = &self.options;
        let usual = (*activation, *gate_activation) == (Activation::Tanh, Activation::Sigmoid);
        usual && cell_clip.is_none() && self.weights.peepholes.is_none()
    }

    #[inline(always)]
    fn activations<const PLAIN: bool>(&self) -> (Activation, Activation) {
        if PLAIN {
            (Activation::Tanh, Activation::Sigmoid)
        } else {
            (self.options.activation, self.options.gate_activation)
        }
    }

    /// From the gates' sums and the old c to the gates' values and the new c.
    #[inline(always)]
    fn step<V: Vector<E>, const PLAIN: bool>(&self, sums: Gates<V>, c: V, peepholes: Option<[V; 3]>) -> (Gates<V>, V) {
        let LstmBuilder { cell_clip, .. } = self.options;
        let (activation, gate_activation) = self.activations::<PLAIN>();
        let Gates { mut i, j, mut f, mut o } = sums;
        let j = j.activate(activation);
        if let Some([w_f, w_i, _]) = peepholes {
            f = w_f.mul_add(c, f);
            i = w_i.mul_add(c, i);
        }
        let (i, f) = (i.activate(gate_activation), f.activate(gate_activation));
        let mut new = i.mul_add(j, f * c);
        if let (false, Some(clip)) = (PLAIN, cell_clip) {
            new = new.clamp(-clip, clip);
        }
        if let Some([_, _, w_o]) = peepholes {
            o = w_o.mul_add(new, o);
        }
        (Gates { i, j, f, o: o.activate(gate_activation) }, new)
    }

    /// From the gates' values, the c before and after, and the gradients of the new h and c to those of the gates' sums and of
    /// the old c.
    #[inline(always)]
    fn step_back<V: Vector<E>, const PLAIN: bool>(
        &self,
        gates: Gates<V>,
        [old_c, new_c]: [V; 2],
        [d_h, d_c]: [V; 2],
        peepholes: Option<[V; 3]>,
    ) -> (Gates<V>, V) {
        let LstmBuilder { cell_clip, .. } = self.options;
        let (activation, gate_activation) = self.activations::<PLAIN>();
        let Gates { i, j, f, o } = gates;
        let y = new_c.activate(activation);
        let d_o = d_h * y * o.slope(gate_activation);
        let mut d_c = d_h.mul_add(o * y.slope(activation), d_c);
        if let Some([_, _, w_o]) = peepholes {
            d_c = d_o.mul_add(w_o, d_c);
        }
        if let (false, Some(clip)) = (PLAIN, cell_clip) {
            d_c = inside(i.mul_add(j, f * old_c), clip, d_c);
        }
        let d_f = d_c * old_c * f.slope(gate_activation);
        let d_i = d_c * j * i.slope(gate_activation);
        let d_j = d_c * i * j.slope(activation);
        let mut before = d_c * f;
        if let Some([w_f, w_i, _]) = peepholes {
            before = d_f.mul_add(w_f, before);
            before = d_i.mul_add(w_i, before);
        }
        (Gates { i: d_i, j: d_j, f: d_f, o: d_o }, before)
    }
}

/// `gradient` where |value| ≤ clip, else 0.
#[inline(always)]
fn inside<E: Float, V: Vector<E>>(value: V, clip: E, gradient: V) -> V {
    V::select(V::splat(clip).less(value.abs()), V::splat(E::zero()), gradient)
}

impl<E: Float> TrainableFusedCell for Lstm<E> {
    type Gradient = LstmWeights<E>;

    fn zero_gradient(&self) -> LstmWeights<E> {
        self.weights.zeros()
    }

    backward_compiled_here!(Lstm);

    #[inline(always)]
    fn backward<V: Vector<E>>(&self, stage: usize, row: &mut Backward<'_, E>) {
        if stage == PROJECTION {
            let ([sum], d_h, d_output) = (row.sums(PROJECTION), row.d_state(H), row.d_output());
            for at in V::units(sum.len()) {
                let d = V::load(d_h, at) + V::load(d_output, at);
                let d = self.options.proj_clip.map_or(d, |clip| inside(V::load(sum, at), clip, d));
                d.store(sum, at);
                V::splat(E::zero()).store(d_h, at);
            }
            return;
        }
        if self.is_plain() { self.gates_backward::<V, true>(row) } else { self.gates_backward::<V, false>(row) }
    }

    fn gradients(&self, samples: &mut Samples<'_, E>, gradient: &mut LstmWeights<E>) {
        let LstmWeights { kernel, bias, peepholes, projection } = gradient;
        samples.add_product((0, 0..4), &[Source::Input, Source::State(H)], kernel.view_mut(), bias.as_mut());
        if let Some(kernel) = projection {
            samples.add_product((PROJECTION, 0..1), &[Source::Temporary(UNPROJECTED)], kernel.view_mut(), None);
        }
        if let Some(Peepholes { w_f_diag, w_i_diag, w_o_diag }) = peepholes {
            for (k, weights) in [w_f_diag, w_i_diag, w_o_diag].into_iter().enumerate() {
                samples.add_accumulated(PEEPHOLES, k * self.options.hidden_size, weights);
            }
        }
    }
}

trainable_fused_cell!([E: Float] Lstm<E>);

impl<E: Float> std::fmt::Debug for Lstm<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lstm").field("options", &self.options).finish_non_exhaustive()
    }
}
