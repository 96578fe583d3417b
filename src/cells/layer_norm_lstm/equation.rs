//! The equation of an LSTM with layer normalization, forward and backward.

use super::{LayerNormLstm, LayerNormLstmBuilder, LayerNormLstmWeights};
use crate::cells::layer_norm::{LayerNorm, LayerNorms, normalize};
use crate::dropout::{Masks, Site};
use crate::fused::cell::{run_backward, run_forward, same};
use crate::fused::{Backward, Forward, FusedCell, Samples, Stage, Stages, TrainableFusedCell, Vector};
use crate::kernel::recurrence::{BackwardRows, Concrete, ForwardRows};
use crate::{Activation, Arrays, Float, LstmState, Parameters};
use ndarray::{Array2, ArrayViewD};

/// Leaves of the state.
const C: usize = 0;
const H: usize = 1;
/// Temporaries: the values of the gates i, j (before dropout), f and o; the new c before gain and shift, earlier in the
/// step its parts; the factors that normalized the sums and the new c.
const GATES: usize = 0;
const NEW_C: usize = 1;
const SCALES: usize = 2;
/// The accumulator for the gradients of gains and shifts, side by side for each normalization.
const NORMS: usize = 0;

/// The cell in one run, with the dropout masks of its rows.
pub(super) struct Masked<'a, E: Float> {
    pub cell: &'a LayerNormLstm<E>,
    pub masks: Option<&'a Masks>,
}

impl<E: Float> Masked<'_, E> {
    /// Applies dropout to a row's candidate or to its gradient.
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

/// The gates i, j, f, o of a row.
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
            // The gradient of o's value. The slopes of all gates follow below.
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
        samples.add_product((0, 0..4), kernel.view_mut(), bias.as_mut());
        let Some(LayerNorms { input, transform, forget, output, state }) = norms else { return };
        for (k, LayerNorm { gamma, beta }) in [input, transform, forget, output, state].into_iter().enumerate() {
            let hidden = gamma.len();
            samples.add_accumulated(NORMS, 2 * k * hidden, gamma);
            samples.add_accumulated(NORMS, (2 * k + 1) * hidden, beta);
        }
    }
}

/// [`quarters`], mutable.
#[inline(always)]
fn quarters_mut<E>(gates: &mut [E]) -> [&mut [E]; 4] {
    let (left, right) = gates.split_at_mut(gates.len() / 2);
    let ((i, j), (f, o)) = (left.split_at_mut(left.len() / 2), right.split_at_mut(right.len() / 2));
    [i, j, f, o]
}
