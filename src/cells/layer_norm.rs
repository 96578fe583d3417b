//! Layer normalization of a row, after Ba, Kiros and Hinton (2016).

use crate::fused::Vector;
use crate::fused::weights::numbers;
use crate::{Float, parameters};
use ndarray::Array1;

parameters! {
    /// Gains and shifts of a [`LayerNormLstm`](crate::LayerNormLstm).
    pub struct LayerNorms {
        /// Of the input gate i.
        "input" input: LayerNorm<E>,
        /// Of the candidate j.
        "transform" transform: LayerNorm<E>,
        /// Of the forget gate f.
        "forget" forget: LayerNorm<E>,
        /// Of the output gate o.
        "output" output: LayerNorm<E>,
        /// Of the new c.
        "state" state: LayerNorm<E>,
    }
}

parameters! {
    /// Gain and shift of one layer normalization.
    pub struct LayerNorm {
        /// Gain, (hidden).
        "gamma" gamma: Array1<E>,
        /// Shift, (hidden).
        "beta" beta: Array1<E>,
    }
}

/// Added to a variance, as tf.contrib.layers does.
const EPSILON: f64 = 1e-12;

impl<E: Float> LayerNorm<E> {
    pub(super) fn filled(size: usize, gain: E, shift: E) -> Self {
        Self { gamma: Array1::from_elem(size, gain), beta: Array1::from_elem(size, shift) }
    }

    /// gamma ⊙ `normal` + beta for some units.
    #[inline(always)]
    pub(super) fn scale<V: Vector<E>>(&self, normal: V, at: crate::fused::Units) -> V {
        normal * V::load(numbers(&self.gamma), at) + V::load(numbers(&self.beta), at)
    }

    /// Turns `d`, the gradient of a row's normalization, into the gradient of the row. `normal` is the normalized row
    /// before gain and shift, `scale` its factor from [`normalize`]. Adds gain's and shift's gradients to `d_norm`.
    #[inline(always)]
    pub(super) fn back<V: Vector<E>>(&self, d: &mut [E], normal: &[E], scale: E, d_norm: &mut [E]) {
        let (d_gamma, d_beta) = d_norm.split_at_mut(normal.len());
        let (mut total, mut along) = (0.0, 0.0);
        let block = CHAIN * V::LANES;
        let read = normal.chunks(block).zip(numbers(&self.gamma).chunks(block));
        let written = d.chunks_mut(block).zip(d_gamma.chunks_mut(block)).zip(d_beta.chunks_mut(block));
        for ((normal, gamma), ((d, d_gamma), d_beta)) in read.zip(written) {
            let mut sums = [V::splat(E::zero()); 2];
            for at in V::units(d.len()) {
                let (d_y, n) = (V::load(d, at), V::load(normal, at));
                (V::load(d_gamma, at) + d_y * n).store(d_gamma, at);
                (V::load(d_beta, at) + d_y).store(d_beta, at);
                let d_n = d_y * V::load(gamma, at);
                sums = [sums[0] + d_n, d_n.mul_add(n, sums[1])];
                d_n.store(d, at);
            }
            total += sums[0].sum().as_f64();
            along += sums[1].sum().as_f64();
        }
        // No gradient flows along the ones or along the normalized row: mean and variance undo such changes.
        let mean = |sum: f64| V::splat(E::of(sum) / E::of(normal.len() as f64));
        let (mean, along) = (mean(total), mean(along));
        for at in V::units(d.len()) {
            ((V::load(d, at) - mean - V::load(normal, at) * along) * scale).store(d, at);
        }
    }
}

/// Subtracts a row's mean and divides by √(variance + 1e-12). Returns the factor that it multiplied by.
#[inline(always)]
pub(super) fn normalize<E: Float, V: Vector<E>>(values: &mut [E]) -> E {
    let count = E::of(values.len() as f64);
    let mean = sum(values, |value| value) / count;
    let variance = sum(values, |value| (value - mean) * (value - mean)) / count;
    let scale = (variance + E::of(EPSILON)).sqrt().recip();
    for at in V::units(values.len()) {
        ((V::load(values, at) - mean) * scale).store(values, at);
    }
    scale
}

/// How many numbers are summed one after another in their own type. The sums of such chains are summed in f64.
const CHAIN: usize = 64;

/// Σ term(value) in sixteen chains, so that it vectorizes. Their number is fixed, so the bits are too.
#[inline(always)]
fn sum<E: Float>(values: &[E], term: impl Fn(E) -> E) -> E {
    let mut total = 0.0;
    for values in values.chunks(16 * CHAIN) {
        let mut chains = [E::zero(); 16];
        let (whole, rest) = values.as_chunks::<16>();
        for values in whole {
            for (chain, &value) in chains.iter_mut().zip(values) {
                *chain += term(value);
            }
        }
        for (chain, &value) in chains.iter_mut().zip(rest) {
            *chain += term(value);
        }
        total += chains.into_iter().sum::<E>().as_f64();
    }
    E::of(total)
}

impl<E: Float> LayerNorms<E> {
    /// Of the gates i, j, f, o.
    #[inline(always)]
    pub(super) fn gates(&self) -> [&LayerNorm<E>; 4] {
        [&self.input, &self.transform, &self.forget, &self.output]
    }
}

#[cfg(test)]
mod tests {
    use super::{LayerNorm, normalize};
    use crate::back::Back;
    use crate::fused::{
        Backward, Forward, FusedCell, Samples, Stage, Stages, TrainableFusedCell, Vector, Workspace, unroll_backward,
        unroll_recording,
    };
    use crate::{Arrays, Parameters};
    use ndarray::{Array1, Array2, Array3, ArrayViewD};

    /// Normalizes its state.
    struct Normalized(LayerNorm<f32>);

    impl Parameters<f32> for Normalized {
        fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, f32>)) {
            self.0.visit_parameters(visit);
        }
    }

    impl FusedCell for Normalized {
        type Elem = f32;
        type State = Array2<f32>;

        fn input_size(&self) -> usize {
            1
        }
        fn output_size(&self) -> usize {
            1
        }
        fn zero_state(&self, batch: usize) -> Array2<f32> {
            Array2::zeros((batch, self.0.gamma.len()))
        }
        fn stages(&self) -> Stages<'_, f32> {
            let width = self.0.gamma.len();
            Stages::new([Stage::without_product(width)]).temporary(1).accumulator(2 * width)
        }
        #[inline(always)]
        fn forward<V: Vector<f32>>(&self, _: usize, row: &mut Forward<'_, f32>) {
            let values = row.new_state(0);
            values.copy_from_slice(row.state(0));
            row.temporary(0)[0] = normalize::<f32, V>(values);
            row.output()[0] = 0.0;
        }
    }

    impl TrainableFusedCell for Normalized {
        type Gradient = LayerNorm<f32>;

        fn zero_gradient(&self) -> LayerNorm<f32> {
            self.0.zeros()
        }
        #[inline(always)]
        fn backward<V: Vector<f32>>(&self, _: usize, row: &mut Backward<'_, f32>) {
            let (normal, scale) = (row.new_state(0), row.temporary(0)[0]);
            self.0.back::<V>(row.d_state(0), normal, scale, row.accumulator(0));
        }
        fn gradients(&self, samples: &mut Samples<'_, f32>, gradient: &mut LayerNorm<f32>) {
            samples.add_accumulated(0, 0, &mut gradient.gamma);
            samples.add_accumulated(0, gradient.gamma.len(), &mut gradient.beta);
        }
    }

    fn assert_near(found: &Array2<f32>, expected: &Array1<f64>, tolerance: f64) {
        let largest = expected.iter().fold(0.0_f64, |largest, number| largest.max(number.abs()));
        for (&found, expected) in found.iter().zip(expected) {
            assert!((f64::from(found) - expected).abs() <= tolerance * largest, "{found}, expected {expected}");
        }
    }

    #[test]
    fn a_row_of_a_million_numbers() {
        let width = 1_000_000;
        let cell = Normalized(LayerNorm { gamma: Array1::from_elem(width, 0.7), beta: Array1::zeros(width) });
        let values = Array1::from_shape_fn(width, |at| [0.1_f32, 0.2, 0.4][at % 3]);
        let d = Array1::from_shape_fn(width, |at| [0.3_f32, 0.1, 0.1, 0.2][at % 4]);
        let row = |numbers: &Array1<f32>| numbers.clone().into_shape_with_order((1, width)).unwrap();
        let (mut state, mut d_state) = (row(&values), row(&d));
        let (x, mut y, workspace) = (Array3::zeros((1, 1, 1)), Array3::zeros((1, 1, 1)), &mut Workspace::default());
        let record = unroll_recording(&cell, &x, &mut state, &mut y, workspace);
        let (d_y, mut d_x, mut gradient) = (y.clone(), x.clone(), cell.zero_gradient());
        let (d_state, d_inputs, gradient) = (&mut d_state, &mut d_x, &mut gradient);
        unroll_backward(&cell, record, Back { inputs: &x, d_outputs: &d_y, d_state, d_inputs, gradient }, workspace);

        let (values, d) = (values.mapv(f64::from), d.mapv(|d| f64::from(d) * f64::from(0.7_f32)));
        let centered = &values - values.mean().unwrap();
        let scale = ((&centered * &centered).mean().unwrap() + 1e-12).sqrt().recip();
        let normal = centered * scale;
        let along = (&d * &normal).mean().unwrap();
        assert_near(&state, &normal, 1e-6);
        assert_near(d_state, &((&d - d.mean().unwrap() - &normal * along) * scale), 1e-5);
    }
}
