// Long short-term memory, as TensorFlow 1's BasicLSTMCell: [x, h] · kernel + bias are the sums of the input gate i, the
// candidate j, the forget gate f and the output gate o; c' = σ(f + 1) ⊙ c + σ(i) ⊙ tanh(j), h' = σ(o) ⊙ tanh(c').
use rnn_cell::{Arrays, Error, Float, LstmState, fused::*, ndarray::Array2};

rnn_cell::parameters! { cell pub struct MyLstm { "" sums: Linear<E>, } }

impl<E: Float> MyLstm<E> {
    pub fn new(inputs: usize, units: usize, rng: &mut impl rand::Rng) -> Result<Self, Error> {
        Ok(Self { sums: Linear::<E>::builder(units).input_size(inputs).recurrent_size(units).gates(4).build(rng)? })
    }
}

impl<E: Float> FusedCell for MyLstm<E> {
    type Elem = E;
    type State = LstmState<E>; // leaf 0 is c, leaf 1 is h

    fn input_size(&self) -> usize {
        self.sums.input_size()
    }
    fn output_size(&self) -> usize {
        self.sums.units()
    }
    fn zero_state(&self, batch: usize) -> LstmState<E> {
        LstmState { c: Array2::zeros((batch, self.sums.units())), h: Array2::zeros((batch, self.sums.units())) }
    }
    fn stages(&self) -> Stages<'_, E> {
        Stages::new([Stage::new(&self.sums).state(1)])
    }
    #[inline(always)]
    fn forward<V: Vector<E>>(&self, _: usize, row: &mut Forward<'_, E>) {
        let (mut sums, c) = (row.sums::<4>(0), row.state(0));
        let mut made = [row.new_state(0), row.new_state(1), row.output()];
        for at in V::units(c.len()) {
            let [i, j, f, o] = [V::load(sums[0], at), V::load(sums[1], at), V::load(sums[2], at), V::load(sums[3], at)];
            let [i, j, f, o] = [i.sigmoid(), j.tanh(), (f + E::one()).sigmoid(), o.sigmoid()];
            let c = f * V::load(c, at) + i * j;
            let h = o * c.tanh();
            [c, h, h].into_iter().zip(&mut made).for_each(|(value, to)| value.store(to, at));
            [i, j, f, o].into_iter().zip(&mut sums).for_each(|(gate, sum)| gate.store(sum, at)); // for the way back
        }
    }
}

impl<E: Float> TrainableFusedCell for MyLstm<E> {
    type Gradient = LinearWeights<E>;

    fn zero_gradient(&self) -> LinearWeights<E> {
        self.sums.weights().zeros()
    }
    #[inline(always)]
    fn backward<V: Vector<E>>(&self, _: usize, row: &mut Backward<'_, E>) {
        let (mut sums, old_c, new_c) = (row.sums::<4>(0), row.state(0), row.new_state(0));
        let (d_c, d_h, d_output) = (row.d_state(0), row.d_state(1), row.d_output());
        for at in V::units(old_c.len()) {
            let [i, j, f, o] = [V::load(sums[0], at), V::load(sums[1], at), V::load(sums[2], at), V::load(sums[3], at)];
            // h' went two ways: out, and to the next step. Its gradient is e, that of c' is d.
            let (c, y, e) = (V::load(old_c, at), V::load(new_c, at).tanh(), V::load(d_h, at) + V::load(d_output, at));
            let d = V::load(d_c, at) + e * (o - o * y * y); // tanh' = 1 − tanh², and below σ' = σ − σ²
            let d_sums = [d * j * (i - i * i), d * (i - i * j * j), d * c * (f - f * f), e * y * (o - o * o)];
            d_sums.into_iter().zip(&mut sums).for_each(|(d, sum)| d.store(sum, at));
            (d * f).store(d_c, at);
        }
        d_h.fill(E::zero()); // what flows through the product is added after this
    }
    fn gradients(&self, samples: &mut Samples<'_, E>, gradient: &mut LinearWeights<E>) {
        self.sums.add_gradients(samples, 0, gradient);
    }
}

rnn_cell::trainable_fused_cell!([E: Float] MyLstm<E>);
