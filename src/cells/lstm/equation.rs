//! The equation of an LSTM, forward and backward.

use super::{Lstm, LstmBuilder, LstmWeights, Peepholes};
use crate::compression::Compression;
use crate::fused::macros::{backward_compiled_here, forward_compiled_here};
use crate::fused::weights::numbers;
use crate::fused::{Backward, Forward, FusedCell, Samples, Stage, Stages, TrainableFusedCell, Units, Vector};
use crate::{Activation, Arrays, Error, Float, LstmState, trainable_fused_cell};
use ndarray::Array2;

/// Leaves of the state, and the temporary that holds h before its projection.
const C: usize = 0;
const H: usize = 1;
const UNPROJECTED: usize = 0;
/// The accumulator for the gradients of the peepholes to f, i, o.
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

    fn compress(&mut self, compression: &mut Compression<'_, E>) -> Result<(), Error> {
        let Self { weights, gates, projection, .. } = self;
        compression.product(gates, &mut [("kernel", &mut weights.kernel)])?;
        match (projection, &mut weights.projection) {
            (Some(product), Some(kernel)) => compression.product(product, &mut [("projection/kernel", kernel)]),
            _ => Ok(()),
        }
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
    /// Computes the gates' stage.
    #[inline(always)]
    fn gates_forward<V: Vector<E>, const PLAIN: bool>(&self, row: &mut Forward<'_, E>) {
        let recording = row.is_recording();
        let peepholes = if PLAIN { None } else { self.peepholes(row.units()) };
        let ([i, j, f, o], c, new_c) = (row.sums(0), row.state(C), row.new_state(C));
        // Without a projection, h goes straight to the new state and the output.
        let (h, output) = match self.projection {
            None => (row.new_state(H), row.output()),
            Some(_) => (row.temporary(UNPROJECTED), &mut [][..]),
        };
        for at in V::units(c.len()) {
            let gates = Gates { i: V::load(i, at), j: V::load(j, at), f: V::load(f, at), o: V::load(o, at) };
            let (gates, c) = self.step::<V, PLAIN>(gates, V::load(c, at), load_peepholes(peepholes, at));
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

    /// Runs the gates' stage backward.
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
            let (c, peepholes) = ([V::load(old_c, at), V::load(new_c, at)], load_peepholes(peepholes, at));
            let (gates, before) = self.step_back::<V, PLAIN>(gates, c, [d, V::load(d_c, at)], peepholes);
            gates.i.store(i, at);
            gates.j.store(j, at);
            gates.f.store(f, at);
            gates.o.store(o, at);
            before.store(d_c, at);
        }
        if !PLAIN && self.weights.peepholes.is_some() {
            // The forget and input gates saw the old c, the output gate the new one.
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

    /// Peepholes to f, i, o for some units.
    #[inline(always)]
    fn peepholes(&self, units: std::ops::Range<usize>) -> Option<[&[E]; 3]> {
        let Peepholes { w_f_diag, w_i_diag, w_o_diag } = self.weights.peepholes.as_ref()?;
        Some([w_f_diag, w_i_diag, w_o_diag].map(|weights| &numbers(weights)[units.clone()]))
    }

    /// Whether the sums and c are all that matters: usual activations, no peepholes, no clip. The loop over units then
    /// checks no options, which would take a tenth of a small cell's step.
    fn is_plain(&self) -> bool {
        let LstmBuilder { activation, gate_activation, cell_clip, .. } = &self.options;
        let usual = Activation::are_usual(*gate_activation, *activation);
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

    /// Computes the gates' values and the new c from the gates' sums and the old c.
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

    /// Computes the gradients of the gates' sums and of the old c from the gates' values, the c before and after the
    /// step, and the gradients of the new h and c.
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

/// Peepholes to f, i, o at some units. Not a closure: called from two places, it would not be inlined.
#[inline(always)]
fn load_peepholes<E, V: Vector<E>>(peepholes: Option<[&[E]; 3]>, at: Units) -> Option<[V; 3]> {
    let [f, i, o] = peepholes?;
    Some([V::load(f, at), V::load(i, at), V::load(o, at)])
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
        samples.add_product((0, 0..4), kernel.view_mut(), bias.as_mut());
        if let Some(kernel) = projection {
            samples.add_product((PROJECTION, 0..1), kernel.view_mut(), None);
        }
        if let Some(Peepholes { w_f_diag, w_i_diag, w_o_diag }) = peepholes {
            for (k, weights) in [w_f_diag, w_i_diag, w_o_diag].into_iter().enumerate() {
                samples.add_accumulated(PEEPHOLES, k * self.options.hidden_size, weights);
            }
        }
    }
}

trainable_fused_cell!([E: Float] Lstm<E>);
