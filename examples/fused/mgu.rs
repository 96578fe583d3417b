// The minimal gated unit of Zhou et al. (2016): f = σ([x, h] · W), c = tanh([x, f ⊙ h] · U), h' = (1 − f) ⊙ h + f ⊙ c. It
// has two stages, as U multiplies what the sums of W decide.
use rnn_cell::{Activation, Arrays, Error, Float, fused::*, ndarray::Array2};

rnn_cell::parameters! { cell pub struct MyMgu { "gate" gate: Linear<E>, "candidate" candidate: Linear<E>, } }
rnn_cell::parameters! {
    pub struct MyMguGradient { "gate" gate: LinearWeights<E>, "candidate" candidate: LinearWeights<E>, }
}

impl<E: Float> MyMgu<E> {
    pub fn new(inputs: usize, units: usize, rng: &mut impl rand::Rng) -> Result<Self, Error> {
        let linear = Linear::<E>::builder(units).input_size(inputs).recurrent_size(units);
        Ok(Self { gate: linear.clone().build(rng)?, candidate: linear.build(rng)? })
    }
}

impl<E: Float> FusedCell for MyMgu<E> {
    type Elem = E;
    type State = Array2<E>; // its only leaf, number 0, is h

    fn input_size(&self) -> usize {
        self.gate.input_size()
    }
    fn output_size(&self) -> usize {
        self.gate.units()
    }
    fn zero_state(&self, batch: usize) -> Array2<E> {
        Array2::zeros((batch, self.gate.units()))
    }
    fn stages(&self) -> Stages<'_, E> {
        let (gate, candidate) = (Stage::new(&self.gate).state(0), Stage::new(&self.candidate).temporary(0));
        let units = self.gate.units();
        Stages::new([gate, candidate]).temporary(units).temporary(units) // 0 is f ⊙ h, 1 is f
    }
    #[inline(always)]
    fn forward<V: Vector<E>>(&self, stage: usize, row: &mut Forward<'_, E>) {
        let ([sum], h, f) = (row.sums(stage), row.state(0), row.temporary(1));
        if stage == 0 {
            let f_h = row.temporary(0);
            for at in V::units(h.len()) {
                let gate = V::load(sum, at).sigmoid();
                gate.store(f, at); // stage 1 needs it too
                (gate * V::load(h, at)).store(f_h, at);
            }
            return;
        }
        let (new_h, output) = (row.new_state(0), row.output());
        for at in V::units(h.len()) {
            let (gate, h, c) = (V::load(f, at), V::load(h, at), V::load(sum, at).tanh());
            let next = gate * (c - h) + h;
            c.store(sum, at); // for the way back
            next.store(new_h, at);
            next.store(output, at);
        }
    }
}

impl<E: Float> TrainableFusedCell for MyMgu<E> {
    type Gradient = MyMguGradient<E>;

    fn zero_gradient(&self) -> MyMguGradient<E> {
        MyMguGradient { gate: self.gate.weights().zeros(), candidate: self.candidate.weights().zeros() }
    }
    #[inline(always)]
    fn backward<V: Vector<E>>(&self, stage: usize, row: &mut Backward<'_, E>) {
        let ([d_f], h, f, d_h) = (row.sums(0), row.state(0), row.temporary(1), row.d_state(0));
        if stage == 1 {
            let ([c], d_output) = (row.sums(1), row.d_output());
            for at in V::units(h.len()) {
                let (gate, candidate) = (V::load(f, at), V::load(c, at));
                let d = V::load(d_h, at) + V::load(d_output, at); // h' went two ways: out, and to the next step
                (d * gate * candidate.slope(Activation::Tanh)).store(c, at);
                (d * (candidate - V::load(h, at))).store(d_f, at); // the rest comes in stage 0
                (d - d * gate).store(d_h, at);
            }
            return;
        }
        let d_f_h = row.d_temporary(0); // what flowed back through U
        for at in V::units(h.len()) {
            let (gate, d) = (V::load(f, at), V::load(d_f_h, at));
            ((V::load(d_f, at) + d * V::load(h, at)) * gate.slope(Activation::Sigmoid)).store(d_f, at);
            (V::load(d_h, at) + d * gate).store(d_h, at);
        }
    }
    fn gradients(&self, samples: &mut Samples<'_, E>, gradient: &mut MyMguGradient<E>) {
        self.gate.add_gradients(samples, 0, &mut gradient.gate);
        self.candidate.add_gradients(samples, 1, &mut gradient.candidate);
    }
}

rnn_cell::trainable_fused_cell!([E: Float] MyMgu<E>);
