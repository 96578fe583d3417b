// The independently recurrent network of Li et al. (2018), with tanh: h' = tanh(x · kernel + bias + u ⊙ h). Each unit
// remembers itself alone, by its own weight of u. As u belongs to no product, its gradient adds up in an accumulator.
use rnn_cell::{Activation, Arrays, Error, Float, fused::*, init, ndarray::Array1, ndarray::Array2};

rnn_cell::parameters! { cell pub struct MyIndRnn { "" sum: Linear<E>, "u" u: Array1<E>, } }
rnn_cell::parameters! { pub struct MyIndRnnGradient { "" sum: LinearWeights<E>, "u" u: Array1<E>, } }

impl<E: Float> MyIndRnn<E> {
    pub fn new(inputs: usize, units: usize, rng: &mut impl rand::Rng) -> Result<Self, Error> {
        let u = init::uniform((1, units), 1.0, rng).row(0).to_owned();
        Ok(Self { sum: Linear::<E>::builder(units).input_size(inputs).build(rng)?, u })
    }
}

impl<E: Float> FusedCell for MyIndRnn<E> {
    type Elem = E;
    type State = Array2<E>; // its only leaf, number 0, is h

    fn input_size(&self) -> usize {
        self.sum.input_size()
    }
    fn output_size(&self) -> usize {
        self.sum.units()
    }
    fn zero_state(&self, batch: usize) -> Array2<E> {
        Array2::zeros((batch, self.sum.units()))
    }
    fn stages(&self) -> Stages<'_, E> {
        Stages::new([Stage::new(&self.sum)]).accumulator(self.u.len())
    }
    #[inline(always)]
    fn forward<V: Vector<E>>(&self, _: usize, row: &mut Forward<'_, E>) {
        let u = &self.u.as_slice().expect("u is contiguous")[row.units()]; // not whole rows, but some units at a time
        let ([sum], h, new_h, output) = (row.sums(0), row.state(0), row.new_state(0), row.output());
        for at in V::units(h.len()) {
            let next = (V::load(sum, at) + V::load(u, at) * V::load(h, at)).tanh();
            next.store(new_h, at);
            next.store(output, at);
        }
    }
}

impl<E: Float> TrainableFusedCell for MyIndRnn<E> {
    type Gradient = MyIndRnnGradient<E>;

    fn zero_gradient(&self) -> MyIndRnnGradient<E> {
        MyIndRnnGradient { sum: self.sum.weights().zeros(), u: self.u.zeros() }
    }
    #[inline(always)]
    fn backward<V: Vector<E>>(&self, _: usize, row: &mut Backward<'_, E>) {
        let u = self.u.as_slice().expect("u is contiguous");
        let ([sum], h, new_h, d_u) = (row.sums(0), row.state(0), row.new_state(0), row.accumulator(0));
        let (d_h, d_output) = (row.d_state(0), row.d_output());
        for at in V::units(h.len()) {
            let d = V::load(d_h, at) + V::load(d_output, at); // h' went two ways: out, and to the next step
            let d_sum = d * V::load(new_h, at).slope(Activation::Tanh);
            d_sum.store(sum, at);
            (V::load(d_u, at) + d_sum * V::load(h, at)).store(d_u, at);
            (d_sum * V::load(u, at)).store(d_h, at);
        }
    }
    fn gradients(&self, samples: &mut Samples<'_, E>, gradient: &mut MyIndRnnGradient<E>) {
        self.sum.add_gradients(samples, 0, &mut gradient.sum);
        samples.add_accumulated(0, 0, &mut gradient.u);
    }
}

rnn_cell::trainable_fused_cell!([E: Float] MyIndRnn<E>);
