//! The equation of a GRU, forward and backward.

use super::{Gru, GruWeights, Products};
use crate::cells::blend::{blend, blend_back};
use crate::compression::Compression;
use crate::fused::macros::{backward_compiled_here, forward_compiled_here};
use crate::fused::{Backward, Forward, FusedCell, Samples, Stage, Stages, TrainableFusedCell, Vector};
use crate::{Activation, Arrays, Error, Float, trainable_fused_cell};
use ndarray::{Array2, s};

/// With a reset before the product: the stage that computes the candidate, and the temporary that holds r ⊙ h.
const CANDIDATE: usize = 1;
const RESET_H: usize = 0;

impl<E: Float> FusedCell for Gru<E> {
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
        match &self.products {
            Products::After(all) => Stages::new([Stage::of(all).state(0)]),
            Products::Before { gates, candidate } => {
                let stages = [Stage::of(gates).state(0), Stage::of(candidate).temporary(RESET_H)];
                Stages::new(stages).temporary(self.options.hidden_size)
            }
        }
    }

    fn compress(&mut self, compression: &mut Compression<'_, E>) -> Result<(), Error> {
        let GruWeights { gates_kernel, candidate_kernel, .. } = &mut self.weights;
        let (r_u, n) = (("gates/kernel", gates_kernel), ("candidate/kernel", candidate_kernel));
        match &mut self.products {
            Products::After(all) => compression.product(all, &mut [r_u, n]),
            Products::Before { gates, candidate } => {
                compression.product(gates, &mut [r_u])?;
                compression.product(candidate, &mut [n])
            }
        }
    }

    forward_compiled_here!(Gru);

    #[inline(always)]
    fn forward<V: Vector<E>>(&self, stage: usize, row: &mut Forward<'_, E>) {
        if self.is_usual() {
            self.made_forward::<V, true>(stage, row);
        } else {
            self.made_forward::<V, false>(stage, row);
        }
    }
}

impl<E: Float> Gru<E> {
    /// Forward. `USUAL` fixes the usual activations at compile time, so that the loop over units need not check them.
    #[inline(always)]
    fn made_forward<V: Vector<E>, const USUAL: bool>(&self, stage: usize, row: &mut Forward<'_, E>) {
        let (gate, act) = self.known_activations::<USUAL>();
        let (h, recording) = (row.state(0), row.is_recording());
        match &self.products {
            Products::After(_) => {
                let [n, r, u, recurrent] = row.sums(0);
                let (new_h, output) = (row.new_state(0), row.output());
                for at in V::units(h.len()) {
                    let reset = V::load(r, at).activate(gate);
                    let update = V::load(u, at).activate(gate);
                    let candidate = reset.mul_add(V::load(recurrent, at), V::load(n, at)).activate(act);
                    if recording {
                        candidate.store(n, at);
                        reset.store(r, at);
                        update.store(u, at);
                    }
                    let next = blend(update, V::load(h, at), candidate);
                    next.store(new_h, at);
                    next.store(output, at);
                }
            }
            Products::Before { .. } if stage != CANDIDATE => {
                let ([r, u], reset_h) = (row.sums(0), row.temporary(RESET_H));
                for at in V::units(h.len()) {
                    let reset = V::load(r, at).activate(gate);
                    reset.store(r, at);
                    V::load(u, at).activate(gate).store(u, at);
                    (reset * V::load(h, at)).store(reset_h, at);
                }
            }
            Products::Before { .. } => {
                let ([_, u], [n]) = (row.sums(0), row.sums(CANDIDATE));
                let (new_h, output) = (row.new_state(0), row.output());
                for at in V::units(h.len()) {
                    let candidate = V::load(n, at).activate(act);
                    if recording {
                        candidate.store(n, at);
                    }
                    let next = blend(V::load(u, at), V::load(h, at), candidate);
                    next.store(new_h, at);
                    next.store(output, at);
                }
            }
        }
    }

    /// Backward. `USUAL` fixes the usual activations at compile time, so that the loop over units need not check them.
    #[inline(always)]
    fn made_backward<V: Vector<E>, const USUAL: bool>(&self, stage: usize, row: &mut Backward<'_, E>) {
        let (gate, act) = self.known_activations::<USUAL>();
        let (h, d_h, d_output) = (row.state(0), row.d_state(0), row.d_output());
        match &self.products {
            Products::After(_) => {
                let [n, r, u, recurrent] = row.sums(0);
                for at in V::units(h.len()) {
                    let d = V::load(d_h, at) + V::load(d_output, at);
                    let back = blend_back(d, V::load(u, at), V::load(h, at), V::load(n, at));
                    let d_n = back.candidate * V::load(n, at).slope(act);
                    let reset = V::load(r, at);
                    (d_n * (V::load(recurrent, at) * reset.slope(gate))).store(r, at);
                    (d_n * reset).store(recurrent, at);
                    d_n.store(n, at);
                    (d * (back.update * V::load(u, at).slope(gate))).store(u, at);
                    back.h.store(d_h, at);
                }
            }
            Products::Before { .. } if stage == CANDIDATE => {
                let ([_, u], [n]) = (row.sums(0), row.sums(CANDIDATE));
                for at in V::units(h.len()) {
                    let d = V::load(d_h, at) + V::load(d_output, at);
                    let back = blend_back(d, V::load(u, at), V::load(h, at), V::load(n, at));
                    (back.candidate * V::load(n, at).slope(act)).store(n, at);
                    (d * (back.update * V::load(u, at).slope(gate))).store(u, at);
                    back.h.store(d_h, at);
                }
            }
            Products::Before { .. } => {
                let ([r, _], d_reset_h) = (row.sums(0), row.d_temporary(RESET_H));
                for at in V::units(h.len()) {
                    let (reset, d) = (V::load(r, at), V::load(d_reset_h, at));
                    (d * (V::load(h, at) * reset.slope(gate))).store(r, at);
                    d.mul_add(reset, V::load(d_h, at)).store(d_h, at);
                }
            }
        }
    }

    fn is_usual(&self) -> bool {
        let (gate, candidate) = self.activations();
        Activation::are_usual(gate, candidate)
    }

    #[inline(always)]
    fn known_activations<const USUAL: bool>(&self) -> (Activation, Activation) {
        if USUAL { (Activation::Sigmoid, Activation::Tanh) } else { self.activations() }
    }
}

impl<E: Float> TrainableFusedCell for Gru<E> {
    type Gradient = GruWeights<E>;

    fn zero_gradient(&self) -> GruWeights<E> {
        self.weights.zeros()
    }

    backward_compiled_here!(Gru);

    #[inline(always)]
    fn backward<V: Vector<E>>(&self, stage: usize, row: &mut Backward<'_, E>) {
        if self.is_usual() {
            self.made_backward::<V, true>(stage, row);
        } else {
            self.made_backward::<V, false>(stage, row);
        }
    }

    fn gradients(&self, samples: &mut Samples<'_, E>, gradient: &mut GruWeights<E>) {
        let GruWeights { gates_kernel, gates_bias, candidate_kernel, candidate_bias, candidate_recurrent_bias } =
            gradient;
        match &self.products {
            Products::After(_) => {
                samples.add_product((0, 1..3), gates_kernel.view_mut(), gates_bias.as_mut());
                let inputs = self.options.input_size;
                let (from_x, from_h) = candidate_kernel.multi_slice_mut((s![..inputs, ..], s![inputs.., ..]));
                samples.add_product((0, 0..1), from_x, candidate_bias.as_mut());
                samples.add_product((0, 3..4), from_h, candidate_recurrent_bias.as_mut());
            }
            Products::Before { .. } => {
                samples.add_product((0, 0..2), gates_kernel.view_mut(), gates_bias.as_mut());
                samples.add_product((CANDIDATE, 0..1), candidate_kernel.view_mut(), candidate_bias.as_mut());
            }
        }
    }
}

trainable_fused_cell!([E: Float] Gru<E>);
