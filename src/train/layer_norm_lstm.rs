//! The layer-normalized LSTM's backward.

use super::cell::TrainableCell;
use super::runs::{add_weight_gradients, steps_as_runs};
use crate::cells::layer_norm::{LayerNorm, mean_and_scale, sum};
use crate::dropout::{Masks, Site};
use crate::kernel::Workspace;
use crate::kernel::linear::{activate_all, slopes_of_all};
use crate::{Activation, DropoutState, Float, LayerNormLstm, LstmState, RnnCell};
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, Array3, ArrayD, ArrayRef2, ArrayRef3, Axis, Ix2, s};

/// What a recorded run of a [`LayerNormLstm`] keeps: for each step and row 4 · hidden sums, c and h before the step.
pub struct LayerNormLstmRecord<E> {
    /// (samples, 4 · hidden), before normalization; a sample is a step of a row.
    sums: Vec<E>,
    /// (samples, hidden).
    c: Vec<E>,
    /// (seq, batch, hidden).
    h: Array3<E>,
    /// As before the first step.
    masks: Option<Masks>,
}

impl<E: Float> TrainableCell for LayerNormLstm<E> {
    type Record = LayerNormLstmRecord<E>;

    steps_as_runs!();

    fn unroll_recording(
        &self,
        inputs: &ArrayRef3<E>,
        state: &mut DropoutState<LstmState<E>>,
        outputs: &mut ArrayRef3<E>,
        records: &mut Vec<LayerNormLstmRecord<E>>,
        workspace: &mut Workspace<E>,
    ) {
        let (steps, batch, _) = inputs.dim();
        let (samples, hidden) = (steps * batch, self.output_size());
        let mut record = LayerNormLstmRecord {
            sums: Vec::with_capacity(samples * 4 * hidden),
            c: Vec::with_capacity(samples * hidden),
            h: Array3::zeros((steps, batch, hidden)),
            masks: state.masks.clone(),
        };
        if steps > 0 {
            record.h.index_axis_mut(Axis(0), 0).assign(&state.inner.h);
        }
        self.run(inputs, state, outputs, workspace, |sums, c| {
            record.sums.extend_from_slice(sums);
            record.c.extend_from_slice(c);
        });
        for t in 1..steps {
            record.h.index_axis_mut(Axis(0), t).assign(&outputs.index_axis(Axis(0), t - 1));
        }
        records.push(record);
    }

    fn unroll_backward(
        &self,
        records: &mut Vec<LayerNormLstmRecord<E>>,
        inputs: &ArrayRef3<E>,
        d_outputs: &ArrayRef3<E>,
        d_state: &mut DropoutState<LstmState<E>>,
        d_inputs: &mut ArrayRef3<E>,
        gradients: &mut [ArrayD<E>],
        workspace: &mut Workspace<E>,
    ) {
        let _ = workspace;
        let LayerNormLstmRecord { sums, c, h, masks } = records.pop().expect("each run forward left a record");
        let LstmState { c: d_c, h: d_h } = &mut d_state.inner;
        let (steps, batch, features) = inputs.dim();
        let hidden = self.output_size();
        assert_eq!(h.dim(), (steps, batch, hidden), "inputs must be those of the record");
        assert_eq!(features, self.input_size(), "inputs must be (seq, batch, input)");
        assert_eq!(d_inputs.dim(), inputs.dim(), "d_inputs must be (seq, batch, input)");
        assert_eq!(d_outputs.dim(), (steps, batch, hidden), "d_outputs must be (seq, batch, output)");
        assert_eq!((d_c.dim(), d_h.dim()), ((batch, hidden), (batch, hidden)), "d_state must be the state's shape");

        let fixed = "a gradient has its parameter's shape";
        let (to_input, to_h) = self.weights().kernel.view().split_at(Axis(0), features);
        // The sums become their own gradients.
        let mut d = Array2::from_shape_vec((steps * batch, 4 * hidden), sums).expect("a run records every sample");
        let mut norms = NormGradients { arrays: Vec::new() };
        if self.weights().norms.is_some() {
            norms.arrays = vec![vec![E::zero(); hidden]; 10];
        }
        let mut row_buffers = RowBuffers::new(hidden);
        for t in (0..steps).rev() {
            *d_h += &d_outputs.index_axis(Axis(0), t);
            for row in 0..batch {
                let sample = t * batch + row;
                let old_c = &c[sample * hidden..][..hidden];
                let sums = d.row_mut(sample).into_slice().expect("the sums are stored in order");
                row_buffers.d_h.iter_mut().zip(d_h.row(row)).for_each(|(to, &d)| *to = d);
                row_buffers.d_c.iter_mut().zip(d_c.row(row)).for_each(|(to, &d)| *to = d);
                self.row_back(sums, old_c, &mut row_buffers, &mut norms, |candidate| {
                    if let Some(masks) = &masks {
                        masks.drop_row(self.keep, Site::Candidate, t, row, candidate.iter_mut());
                    }
                });
                d_c.row_mut(row).iter_mut().zip(&row_buffers.d_c).for_each(|(to, &d)| *to = d);
            }
            let d = d.slice(s![t * batch..(t + 1) * batch, ..]);
            general_mat_mul(E::one(), &d, &to_h.t(), E::zero(), d_h);
            let mut d_input = d_inputs.index_axis_mut(Axis(0), t);
            general_mat_mul(E::one(), &d, &to_input.t(), E::zero(), &mut d_input);
        }

        let (d_kernel, rest) = gradients.split_first_mut().expect("there is one gradient a parameter");
        let d_kernel = d_kernel.view_mut().into_dimensionality::<Ix2>().expect(fixed);
        let (of_input, of_h) = d_kernel.split_at(Axis(0), features);
        add_weight_gradients(&inputs.view(), &d, of_input);
        add_weight_gradients(&h.view(), &d, of_h);
        if norms.arrays.is_empty() {
            let d_bias = rest.first_mut().expect("there is one gradient a parameter");
            *d_bias += &d.sum_axis(Axis(0));
        }
        assert_eq!(rest.len(), norms.arrays.len().max(1), "there is one gradient a parameter");
        for (to, from) in rest.iter_mut().zip(&norms.arrays) {
            assert_eq!(to.shape(), [hidden], "{fixed}");
            to.iter_mut().zip(from).for_each(|(to, &d)| *to += d);
        }
    }
}

/// Of gammas and betas in the order of the parameters (i, j, f, o, c; gamma first); empty without layer normalization.
struct NormGradients<E> {
    arrays: Vec<Vec<E>>,
}

/// One row's numbers on the way back, each (hidden), but for the gates.
struct RowBuffers<E> {
    /// Gradient of the new h.
    d_h: Vec<E>,
    /// Gradient of the new c; then of the old.
    d_c: Vec<E>,
    /// i, g, f, o, (4 · hidden).
    gates: Vec<E>,
    /// g before dropout.
    candidate: Vec<E>,
    /// The new c before normalization, and after.
    raw_c: Vec<E>,
    new_c: Vec<E>,
    /// act(c'), and the derivative there.
    y: Vec<E>,
    slopes: Vec<E>,
    /// Gradients of the gates' normalized sums, (4 · hidden).
    d_gates: Vec<E>,
}

impl<E: Float> RowBuffers<E> {
    fn new(hidden: usize) -> Self {
        let room = |len| vec![E::zero(); len];
        Self {
            d_h: room(hidden),
            d_c: room(hidden),
            gates: room(4 * hidden),
            candidate: room(hidden),
            raw_c: room(hidden),
            new_c: room(hidden),
            y: room(hidden),
            slopes: room(hidden),
            d_gates: room(4 * hidden),
        }
    }
}

impl<E: Float> LayerNormLstm<E> {
    /// One row's step back: `sums` become their gradients, `row.d_c` that of the old c. Gates are computed again.
    fn row_back(
        &self,
        sums: &mut [E],
        old_c: &[E],
        row: &mut RowBuffers<E>,
        norm_gradients: &mut NormGradients<E>,
        drop: impl Fn(&mut [E]),
    ) {
        let (hidden, activation) = (self.options.hidden_size, self.options.activation);
        let norms = self.weights().norms.as_ref();
        let RowBuffers { d_h, d_c, gates, candidate, raw_c, new_c, y, slopes, d_gates } = row;
        gates.copy_from_slice(sums);
        self.gates(gates, |g| {
            candidate.copy_from_slice(g);
            drop(g);
        });
        let (i, rest) = gates.split_at(hidden);
        let (g, rest) = rest.split_at(hidden);
        let (f, o) = rest.split_at(hidden);
        for unit in 0..hidden {
            raw_c[unit] = old_c[unit] * f[unit] + i[unit] * g[unit];
        }
        new_c.copy_from_slice(raw_c);
        if let Some(norms) = norms {
            norms.state.apply(new_c);
        }
        y.copy_from_slice(new_c);
        activate_all(activation, y);
        slopes.copy_from_slice(y);
        slopes_of_all(activation, slopes);
        for unit in 0..hidden {
            d_c[unit] += d_h[unit] * o[unit] * slopes[unit];
        }
        if let Some(norms) = norms {
            norm_back(&norms.state, raw_c, d_c, &mut norm_gradients.arrays[8..]);
        }

        let (d_i, rest) = d_gates.split_at_mut(hidden);
        let (d_g, rest) = rest.split_at_mut(hidden);
        let (d_f, d_o) = rest.split_at_mut(hidden);
        for unit in 0..hidden {
            d_i[unit] = d_c[unit] * g[unit];
            d_g[unit] = d_c[unit] * i[unit];
            d_f[unit] = d_c[unit] * old_c[unit];
            d_o[unit] = d_h[unit] * y[unit];
            d_c[unit] *= f[unit];
        }
        drop(d_g);
        // The values give way to the derivatives there.
        gates[hidden..2 * hidden].copy_from_slice(candidate);
        for (gate, values) in gates.chunks_exact_mut(hidden).enumerate() {
            slopes_of_all(if gate == 1 { activation } else { Activation::Sigmoid }, values);
        }
        d_gates.iter_mut().zip(&*gates).for_each(|(d, &slope)| *d *= slope);
        if let Some(norms) = norms {
            let norms = [&norms.input, &norms.transform, &norms.forget, &norms.output];
            let arrays = norm_gradients.arrays.chunks_exact_mut(2);
            let gates = sums.chunks_exact(hidden).zip(d_gates.chunks_exact_mut(hidden));
            for ((norm, arrays), (sums, d)) in norms.into_iter().zip(arrays).zip(gates) {
                norm_back(norm, sums, d, arrays);
            }
        }
        sums.copy_from_slice(d_gates);
    }
}

/// One row's normalization back: `d` from the gradient of what `values` became to theirs; gamma's and beta's are added.
fn norm_back<E: Float>(norm: &LayerNorm<E>, values: &[E], d: &mut [E], gradients: &mut [Vec<E>]) {
    let (mean, scale) = mean_and_scale(values);
    let [d_gamma, d_beta] = gradients else { unreachable!("a normalization has a gamma and a beta") };
    let normal = |value: E| (value - mean) * scale;
    let count = E::from_f64(values.len() as f64);
    // A gradient along the ones or along the normalized row itself is lost: mean and variance undo such a change.
    let mut along = E::zero();
    for (unit, (d, &value)) in d.iter_mut().zip(values).enumerate() {
        d_gamma[unit] += *d * normal(value);
        d_beta[unit] += *d;
        *d *= norm.gamma[unit];
        along += *d * normal(value);
    }
    let (mean_d, along) = (sum(d, |d| d) / count, along / count);
    for (d, &value) in d.iter_mut().zip(values) {
        *d = scale * (*d - mean_d - normal(value) * along);
    }
}
