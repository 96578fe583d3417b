// The update gate recurrent network of Collins, Sohl-Dickstein and Sussillo (2017): g = σ(g + 1),
// h' = g ⊙ h + (1 − g) ⊙ tanh(c), where [x, h] · kernel + bias are the sums of the gate g and the candidate c.
use rnn_cell::{Activation, Arrays, Error, Float, fused::*, ndarray::Array2};

rnn_cell::parameters! { cell pub struct MyUgrnn { "" sums: Linear<E>, } }

impl<E: Float> MyUgrnn<E> {
    pub fn new(inputs: usize, units: usize, rng: &mut impl rand::Rng) -> Result<Self, Error> {
        Ok(Self { sums: Linear::<E>::builder(units).input_size(inputs).recurrent_size(units).gates(2).build(rng)? })
    }
}

impl<E: Float> FusedCell for MyUgrnn<E> {
    type Elem = E;
    type State = Array2<E>; // its only leaf, number 0, is h

    fn input_size(&self) -> usize {
        self.sums.input_size()
    }
    fn output_size(&self) -> usize {
        self.sums.units()
    }
    fn zero_state(&self, batch: usize) -> Array2<E> {
        Array2::zeros((batch, self.sums.units()))
    }
    fn stages(&self) -> Stages<'_, E> {
        Stages::new([Stage::new(&self.sums).state(0)])
    }
    #[inline(always)]
    fn forward<V: Vector<E>>(&self, _: usize, row: &mut Forward<'_, E>) {
        let ([gate, candidate], h) = (row.sums(0), row.state(0));
        let (new_h, output) = (row.new_state(0), row.output());
        for at in V::units(h.len()) {
            let g = (V::load(gate, at) + E::one()).sigmoid();
            let c = V::load(candidate, at).tanh();
            let next = g * V::load(h, at) + (V::splat(E::one()) - g) * c;
            g.store(gate, at); // for the way back
            c.store(candidate, at);
            next.store(new_h, at);
            next.store(output, at);
        }
    }
}

impl<E: Float> TrainableFusedCell for MyUgrnn<E> {
    type Gradient = LinearWeights<E>;

    fn zero_gradient(&self) -> LinearWeights<E> {
        self.sums.weights().zeros()
    }
    #[inline(always)]
    fn backward<V: Vector<E>>(&self, _: usize, row: &mut Backward<'_, E>) {
        let ([gate, candidate], h, d_h, d_output) = (row.sums(0), row.state(0), row.d_state(0), row.d_output());
        for at in V::units(h.len()) {
            let (g, c) = (V::load(gate, at), V::load(candidate, at));
            let d = V::load(d_h, at) + V::load(d_output, at); // h' went two ways: out, and to the next step
            (d * (V::load(h, at) - c) * g.slope(Activation::Sigmoid)).store(gate, at);
            (d * (V::splat(E::one()) - g) * c.slope(Activation::Tanh)).store(candidate, at);
            (d * g).store(d_h, at);
        }
    }
    fn gradients(&self, samples: &mut Samples<'_, E>, gradient: &mut LinearWeights<E>) {
        self.sums.add_gradients(samples, 0, gradient);
    }
}

rnn_cell::trainable_fused_cell!([E: Float] MyUgrnn<E>);
