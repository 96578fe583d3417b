//! The simple recurrent unit of Lei et al. (2018), like tf.contrib.rnn's `SRUCell`: one product, of the inputs only.
//! x · kernel has the quarters x̃, f, r, s. Then f = σ(f + b_f), r = σ(r + b_r), c' = f ⊙ c + (1 − f) ⊙ x̃, and the
//! output is r ⊙ act(c') + (1 − r) ⊙ s. The state is c.

use ndarray::{Array1, Array2};
use rnn_cell::fused::*;
use rnn_cell::{Activation, Arrays, Error, Float};

rnn_cell::parameters! {
    cell pub struct Sru {
        "" quarters: Linear<E>,
        "bias" bias: Array1<E>,
        ;
        activation: Activation,
    }
}

rnn_cell::parameters! {
    pub struct SruGradient {
        "" quarters: LinearWeights<E>,
        "bias" bias: Array1<E>,
    }
}

impl<E: Float> Sru<E> {
    pub fn new(inputs: usize, units: usize, activation: Activation, rng: &mut impl rand::Rng) -> Result<Self, Error> {
        let quarters = Linear::<E>::builder(units).input_size(inputs).gates(4).use_bias(false).build(rng)?;
        Ok(Self { quarters, bias: Array1::zeros(2 * units), activation })
    }
}

impl<E: Float> FusedCell for Sru<E> {
    type Elem = E;
    type State = Array2<E>;

    fn input_size(&self) -> usize {
        self.quarters.input_size()
    }
    fn output_size(&self) -> usize {
        self.quarters.units()
    }
    fn zero_state(&self, batch: usize) -> Array2<E> {
        Array2::zeros((batch, self.quarters.units()))
    }
    fn stages(&self) -> Stages<'_, E> {
        Stages::new([Stage::new(&self.quarters)]).accumulator(self.bias.len())
    }
    #[inline(always)]
    fn forward<V: Vector<E>>(&self, _: usize, row: &mut Forward<'_, E>) {
        let (b_f, b_r) = self.bias.as_slice().unwrap().split_at(self.quarters.units());
        let (b_f, b_r) = (&b_f[row.units()], &b_r[row.units()]);
        let [x, f, r, s] = row.sums(0);
        let (c, new_c, output) = (row.state(0), row.new_state(0), row.output());
        for at in V::units(c.len()) {
            let one = V::splat(E::one());
            let forget = (V::load(f, at) + V::load(b_f, at)).sigmoid();
            let reset = (V::load(r, at) + V::load(b_r, at)).sigmoid();
            let next = forget * V::load(c, at) + (one - forget) * V::load(x, at);
            forget.store(f, at);
            reset.store(r, at);
            next.store(new_c, at);
            (reset * next.activate(self.activation) + (one - reset) * V::load(s, at)).store(output, at);
        }
    }
}

impl<E: Float> TrainableFusedCell for Sru<E> {
    type Gradient = SruGradient<E>;

    fn zero_gradient(&self) -> SruGradient<E> {
        SruGradient { quarters: self.quarters.weights().zeros(), bias: self.bias.zeros() }
    }
    #[inline(always)]
    fn backward<V: Vector<E>>(&self, _: usize, row: &mut Backward<'_, E>) {
        let [x, f, r, s] = row.sums(0);
        let (c, new_c, d_c, d_output) = (row.state(0), row.new_state(0), row.d_state(0), row.d_output());
        let (d_b_f, d_b_r) = row.accumulator(0).split_at_mut(c.len());
        for at in V::units(c.len()) {
            let (one, forget, reset) = (V::splat(E::one()), V::load(f, at), V::load(r, at));
            let (d, y) = (V::load(d_output, at), V::load(new_c, at).activate(self.activation));
            let d_next = V::load(d_c, at) + d * reset * y.slope(self.activation);
            let d_r = d * (y - V::load(s, at)) * reset.slope(Activation::Sigmoid);
            let d_f = d_next * (V::load(c, at) - V::load(x, at)) * forget.slope(Activation::Sigmoid);
            (d_next * (one - forget)).store(x, at);
            d_f.store(f, at);
            d_r.store(r, at);
            (d * (one - reset)).store(s, at);
            (V::load(d_b_f, at) + d_f).store(d_b_f, at);
            (V::load(d_b_r, at) + d_r).store(d_b_r, at);
            (d_next * forget).store(d_c, at);
        }
    }
    fn gradients(&self, samples: &mut Samples<'_, E>, gradient: &mut SruGradient<E>) {
        self.quarters.add_gradients(samples, 0, &mut gradient.quarters);
        samples.add_accumulated(0, 0, &mut gradient.bias);
    }
}

rnn_cell::trainable_fused_cell!([E: Float] Sru<E>);
