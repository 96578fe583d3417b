//! Cells that a user might write: two products, a projection, whole rows.

use ndarray::{Array1, Array2};
use rnn_cell::fused::*;
use rnn_cell::{Activation, Arrays, Error, Float};

/// Sizes and the zero state of a cell whose only state is h, `units` wide.
macro_rules! sizes {
    ($linear:ident, $output:ident) => {
        type Elem = E;
        type State = Array2<E>;

        fn input_size(&self) -> usize {
            self.$linear.input_size()
        }
        fn output_size(&self) -> usize {
            self.$output.units()
        }
        fn zero_state(&self, batch: usize) -> Array2<E> {
            Array2::zeros((batch, self.$output.units()))
        }
    };
}

rnn_cell::parameters! {
    /// TensorFlow's GRU. It resets before the candidate's product, which multiplies the temporary r ⊙ h.
    cell pub struct TwoProducts {
        "gates" gates: Linear<E>,
        "candidate" candidate: Linear<E>,
    }
}

rnn_cell::parameters! {
    pub struct TwoProductsGradient {
        "gates" gates: LinearWeights<E>,
        "candidate" candidate: LinearWeights<E>,
    }
}

impl<E: Float> TwoProducts<E> {
    pub fn new(inputs: usize, units: usize, rng: &mut impl rand::Rng) -> Result<Self, Error> {
        let linear = || Linear::<E>::builder(units).input_size(inputs).recurrent_size(units);
        Ok(Self { gates: linear().gates(2).build(rng)?, candidate: linear().build(rng)? })
    }
}

impl<E: Float> FusedCell for TwoProducts<E> {
    sizes!(gates, gates);

    fn stages(&self) -> Stages<'_, E> {
        let stages = [Stage::new(&self.gates).state(0), Stage::new(&self.candidate).temporary(0)];
        Stages::new(stages).temporary(self.gates.units())
    }
    #[inline(always)]
    fn forward<V: Vector<E>>(&self, stage: usize, row: &mut Forward<'_, E>) {
        let ([r, u], h) = (row.sums(0), row.state(0));
        if stage == 0 {
            let reset_h = row.temporary(0);
            for at in V::units(h.len()) {
                let reset = V::load(r, at).sigmoid();
                reset.store(r, at);
                V::load(u, at).sigmoid().store(u, at);
                (reset * V::load(h, at)).store(reset_h, at);
            }
            return;
        }
        let ([n], new_h, output) = (row.sums(1), row.new_state(0), row.output());
        for at in V::units(h.len()) {
            let (candidate, update) = (V::load(n, at).tanh(), V::load(u, at));
            candidate.store(n, at);
            let next = update * V::load(h, at) + (V::splat(E::one()) - update) * candidate;
            next.store(new_h, at);
            next.store(output, at);
        }
    }
}

impl<E: Float> TrainableFusedCell for TwoProducts<E> {
    type Gradient = TwoProductsGradient<E>;

    fn zero_gradient(&self) -> TwoProductsGradient<E> {
        TwoProductsGradient { gates: self.gates.weights().zeros(), candidate: self.candidate.weights().zeros() }
    }
    #[inline(always)]
    fn backward<V: Vector<E>>(&self, stage: usize, row: &mut Backward<'_, E>) {
        let ([r, u], h, d_h, d_output) = (row.sums(0), row.state(0), row.d_state(0), row.d_output());
        if stage == 0 {
            let d_reset_h = row.d_temporary(0);
            for at in V::units(h.len()) {
                let (reset, d) = (V::load(r, at), V::load(d_reset_h, at));
                (d * V::load(h, at) * reset.slope(Activation::Sigmoid)).store(r, at);
                (V::load(d_h, at) + d * reset).store(d_h, at);
            }
            return;
        }
        let [n] = row.sums(1);
        for at in V::units(h.len()) {
            let (candidate, update) = (V::load(n, at), V::load(u, at));
            let d = V::load(d_h, at) + V::load(d_output, at);
            (d * (V::splat(E::one()) - update) * candidate.slope(Activation::Tanh)).store(n, at);
            (d * (V::load(h, at) - candidate) * update.slope(Activation::Sigmoid)).store(u, at);
            (d * update).store(d_h, at);
        }
    }
    fn gradients(&self, samples: &mut Samples<'_, E>, gradient: &mut TwoProductsGradient<E>) {
        self.gates.add_gradients(samples, 0, &mut gradient.gates);
        self.candidate.add_gradients(samples, 1, &mut gradient.candidate);
    }
}

rnn_cell::trainable_fused_cell!([E: Float] TwoProducts<E>);

rnn_cell::parameters! {
    /// h' = tanh(\[x, h\] · kernel + bias) · projection: its stage is wider than its state.
    cell pub struct Projected {
        "" sum: Linear<E>,
        "projection" projection: Linear<E>,
    }
}

rnn_cell::parameters! {
    pub struct ProjectedGradient {
        "" sum: LinearWeights<E>,
        "projection" projection: LinearWeights<E>,
    }
}

impl<E: Float> Projected<E> {
    pub fn new(inputs: usize, units: usize, rng: &mut impl rand::Rng) -> Result<Self, Error> {
        let sum = Linear::<E>::builder(2 * units + 1).input_size(inputs).recurrent_size(units).build(rng)?;
        let projection = Linear::<E>::builder(units).recurrent_size(2 * units + 1).use_bias(false).build(rng)?;
        Ok(Self { sum, projection })
    }
}

impl<E: Float> FusedCell for Projected<E> {
    sizes!(sum, projection);

    fn stages(&self) -> Stages<'_, E> {
        let stages = [Stage::new(&self.sum).state(0), Stage::new(&self.projection).temporary(0)];
        Stages::new(stages).temporary(self.sum.units())
    }
    #[inline(always)]
    fn forward<V: Vector<E>>(&self, stage: usize, row: &mut Forward<'_, E>) {
        let [sum] = row.sums(stage);
        if stage == 0 {
            let wide = row.temporary(0);
            V::units(sum.len()).for_each(|at| V::load(sum, at).tanh().store(wide, at));
            return;
        }
        row.new_state(0).copy_from_slice(sum);
        row.output().copy_from_slice(sum);
    }
}

impl<E: Float> TrainableFusedCell for Projected<E> {
    type Gradient = ProjectedGradient<E>;

    fn zero_gradient(&self) -> ProjectedGradient<E> {
        ProjectedGradient { sum: self.sum.weights().zeros(), projection: self.projection.weights().zeros() }
    }
    #[inline(always)]
    fn backward<V: Vector<E>>(&self, stage: usize, row: &mut Backward<'_, E>) {
        let [sum] = row.sums(stage);
        if stage == 0 {
            let (wide, d) = (row.temporary(0), row.d_temporary(0));
            V::units(sum.len())
                .for_each(|at| (V::load(d, at) * V::load(wide, at).slope(Activation::Tanh)).store(sum, at));
            return;
        }
        let (d_h, d_output) = (row.d_state(0), row.d_output());
        V::units(sum.len()).for_each(|at| (V::load(d_h, at) + V::load(d_output, at)).store(sum, at));
        d_h.fill(E::zero());
    }
    fn gradients(&self, samples: &mut Samples<'_, E>, gradient: &mut ProjectedGradient<E>) {
        self.sum.add_gradients(samples, 0, &mut gradient.sum);
        self.projection.add_gradients(samples, 1, &mut gradient.projection);
    }
}

rnn_cell::trainable_fused_cell!([E: Float] Projected<E>);

rnn_cell::parameters! {
    /// h' = tanh(gamma ⊙ n + beta), where n is \[x, h\] · kernel scaled to mean 0 and deviation 1 per row. It needs
    /// whole rows and goes number by number. The state is h and a leaf of another width, which halves and adds 1.
    cell pub struct Normed {
        "" sum: Linear<E>,
        "gamma" gamma: Array1<E>,
        "beta" beta: Array1<E>,
    }
}

rnn_cell::parameters! {
    pub struct NormedGradient {
        "" sum: LinearWeights<E>,
        "gamma" gamma: Array1<E>,
        "beta" beta: Array1<E>,
    }
}

impl<E: Float> Normed<E> {
    pub fn new(inputs: usize, units: usize, rng: &mut impl rand::Rng) -> Result<Self, Error> {
        let builder = Linear::<E>::builder(units).input_size(inputs).recurrent_size(units).use_bias(false);
        Ok(Self { sum: builder.build(rng)?, gamma: Array1::ones(units), beta: Array1::zeros(units) })
    }
}

fn mean<E: Float>(numbers: impl ExactSizeIterator<Item = E>) -> E {
    let count = E::of(numbers.len() as f64);
    numbers.fold(E::zero(), |sum, number| sum + number) / count
}

impl<E: Float> FusedCell for Normed<E> {
    type Elem = E;
    type State = (Array2<E>, Array2<E>);

    fn input_size(&self) -> usize {
        self.sum.input_size()
    }
    fn output_size(&self) -> usize {
        self.sum.units()
    }
    fn zero_state(&self, batch: usize) -> Self::State {
        (Array2::zeros((batch, self.sum.units())), Array2::zeros((batch, 1)))
    }
    fn stages(&self) -> Stages<'_, E> {
        // The temporary is 1 / deviation; the accumulators are the gradients of gamma and beta.
        let units = self.sum.units();
        Stages::new([Stage::new(&self.sum).state(0).whole_rows()]).temporary(1).accumulator(units).accumulator(units)
    }
    #[inline(always)]
    fn forward<V: Vector<E>>(&self, _: usize, row: &mut Forward<'_, E>) {
        let ([n], inverse, h) = (row.sums(0), row.temporary(0), row.new_state(0));
        row.new_state(1)[0] = row.state(1)[0] * E::of(0.5) + E::one();
        let center = mean(n.iter().copied());
        n.iter_mut().for_each(|n| *n -= center);
        inverse[0] = (mean(n.iter().map(|&n| n * n)) + E::of(0.01)).sqrt().recip();
        for (at, n) in n.iter_mut().enumerate() {
            *n *= inverse[0];
            h[at] = *n * self.gamma[at] + self.beta[at];
        }
        Activation::Tanh.apply(h);
        row.output().copy_from_slice(h);
    }
}

impl<E: Float> TrainableFusedCell for Normed<E> {
    type Gradient = NormedGradient<E>;

    fn zero_gradient(&self) -> NormedGradient<E> {
        let Self { sum, gamma, beta } = self;
        NormedGradient { sum: sum.weights().zeros(), gamma: gamma.zeros(), beta: beta.zeros() }
    }
    #[inline(always)]
    fn backward<V: Vector<E>>(&self, _: usize, row: &mut Backward<'_, E>) {
        let ([n], inverse, h) = (row.sums(0), row.temporary(0)[0], row.new_state(0));
        let (d, d_output, d_gamma, d_beta) = (row.d_state(0), row.d_output(), row.accumulator(0), row.accumulator(1));
        for at in 0..n.len() {
            let d_sum = (d[at] + d_output[at]) * (E::one() - h[at] * h[at]);
            d_gamma[at] += d_sum * n[at];
            d_beta[at] += d_sum;
            d[at] = d_sum * self.gamma[at];
        }
        let (center, along) = (mean(d.iter().copied()), mean(d.iter().zip(&*n).map(|(&d, &n)| d * n)));
        for (n, d) in n.iter_mut().zip(&*d) {
            *n = (*d - center - *n * along) * inverse;
        }
        d.fill(E::zero());
        row.d_state(1)[0] *= E::of(0.5);
    }
    fn gradients(&self, samples: &mut Samples<'_, E>, gradient: &mut NormedGradient<E>) {
        self.sum.add_gradients(samples, 0, &mut gradient.sum);
        samples.add_accumulated(0, 0, &mut gradient.gamma);
        samples.add_accumulated(1, 0, &mut gradient.beta);
    }
}

rnn_cell::trainable_fused_cell!([E: Float] Normed<E>);
