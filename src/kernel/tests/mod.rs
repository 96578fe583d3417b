//! Tests the driver under each built-in cell, on each of this machine's instruction sets, in `f32` and `f64`.

mod activation;
mod compact;
mod compact_safety;
mod math;
mod memory_safety;
mod twin;

use super::Workspace;
use super::isa::tests::on_each;
use crate::cells::{BasicRnnWeights, GruWeights, LstmWeights, Peepholes};
use crate::kernel::Activation;
use crate::{BasicRnn, Float, Gru, GruReset, Lstm, LstmState, RnnCell};
use ndarray::{Array1, Array2, Array3, ArrayView2, Axis, concatenate, s};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use twin::{Dense, LstmExtras};

/// A cell as the twin knows it.
#[derive(Clone)]
enum Kind {
    Rnn(Activation),
    Lstm(Box<LstmExtras>),
    Gru { recurrent_bias: Option<Array1<f64>>, gate_activation: Activation, activation: Activation },
}

#[derive(Clone)]
struct Case {
    name: String,
    kind: Kind,
    input: usize,
    hidden: usize,
    output: usize,
    gates: Vec<Dense>,
}

/// A number that both types hold.
fn number(rng: &mut Xoshiro256PlusPlus) -> f64 {
    f64::from(rng.random_range(-1.0_f32..1.0))
}

fn dense(depth: usize, units: usize, rng: &mut Xoshiro256PlusPlus) -> Dense {
    let scale = f64::from((1.0 / depth as f32).sqrt());
    let weights = Array2::from_shape_simple_fn((depth, units), || f64::from((number(rng) * scale) as f32));
    Dense { weights, bias: Array1::from_shape_simple_fn(units, || number(rng)) }
}

/// Every kernel and option, of one size.
fn cases(input: usize, hidden: usize, rng: &mut Xoshiro256PlusPlus) -> Vec<Case> {
    use Activation::{Elu, HardSigmoid, Linear, Relu, Sigmoid, Softsign, Tanh};
    let mut cases = Vec::new();
    let mut add = |name: &str, kind: Kind, output: usize, gates: usize, rng: &mut Xoshiro256PlusPlus| {
        let gates = (0..gates).map(|_| dense(input + output, hidden, rng)).collect();
        cases.push(Case { name: format!("{name} {input} {hidden}"), kind, input, hidden, output, gates });
    };
    let usual = [Tanh, Sigmoid, Relu, Elu, Softsign, HardSigmoid, Linear];
    for activation in usual.into_iter().chain(activation::WITH_NUMBERS) {
        add("rnn", Kind::Rnn(activation), hidden, 1, rng);
    }
    let plain = LstmExtras {
        activation: Tanh,
        gate_activation: Sigmoid,
        peepholes: None,
        cell_clip: None,
        projection: None,
        proj_clip: None,
    };
    add("lstm", Kind::Lstm(Box::new(plain.clone())), hidden, 4, rng);
    let peepholes = [0, 1, 2].map(|_| Array1::from_shape_simple_fn(hidden, || number(rng)));
    let peeping = LstmExtras { peepholes: Some(peepholes), cell_clip: Some(0.25), ..plain.clone() };
    add("peepholes, clip", Kind::Lstm(Box::new(peeping.clone())), hidden, 4, rng);
    for (output, proj_clip) in [(hidden.div_ceil(2), None), (hidden + 3, Some(0.125))] {
        let projection = Some(dense(hidden, output, rng));
        let all = LstmExtras { projection, proj_clip, gate_activation: HardSigmoid, ..peeping.clone() };
        add("projection", Kind::Lstm(Box::new(all)), output, 4, rng);
    }
    let gru = |recurrent_bias| Kind::Gru { recurrent_bias, gate_activation: Sigmoid, activation: Tanh };
    add("gru before", gru(None), hidden, 3, rng);
    add("gru after", gru(Some(Array1::from_shape_simple_fn(hidden, || number(rng)))), hidden, 3, rng);
    cases
}

impl Case {
    /// The twin's outputs (seq, batch, output) and final c and h.
    fn expected(&self, x: &Array3<f64>, c: &Array2<f64>, h: &Array2<f64>) -> [Array3<f64>; 3] {
        let (steps, rows, _) = x.dim();
        let mut outputs = Array3::zeros((steps, rows, self.output));
        let mut finals = [Array3::zeros((1, rows, self.hidden)), Array3::zeros((1, rows, self.output))];
        for row in 0..rows {
            let (mut c, mut h) = (c.row(row).to_vec(), h.row(row).to_vec());
            for t in 0..steps {
                let x = x.slice(s![t, row, ..]).to_vec();
                match &self.kind {
                    Kind::Rnn(activation) => twin::rnn(&self.gates[0], *activation, &x, &mut h),
                    Kind::Lstm(extras) => twin::lstm(&self.gates, extras, &x, &mut c, &mut h),
                    Kind::Gru { recurrent_bias, gate_activation, activation } => {
                        let [r, u, n] = &self.gates[..] else { unreachable!() };
                        let activations = (*gate_activation, *activation);
                        twin::gru([r, u, n], recurrent_bias.as_ref(), activations, &x, &mut h);
                    }
                }
                outputs.slice_mut(s![t, row, ..]).assign(&Array1::from(h.clone()));
            }
            finals[0].slice_mut(s![0, row, ..]).assign(&Array1::from(c));
            finals[1].slice_mut(s![0, row, ..]).assign(&Array1::from(h));
        }
        let [c, h] = finals;
        [outputs, c, h]
    }

    /// The same from the cell, all at once or step by step, on the chosen instruction set.
    fn found<E: Float>(&self, x: &Array3<E>, c: ArrayView2<E>, h: ArrayView2<E>, stepwise: bool) -> [Array3<E>; 3] {
        let (kernel, bias) = side_by_side(&self.gates);
        let (input, hidden) = (self.input, self.hidden);
        let unchanged = c.to_owned();
        match &self.kind {
            Kind::Rnn(activation) => {
                let weights = BasicRnnWeights { kernel, bias: Some(bias) };
                let cell = BasicRnn::builder(input, hidden).activation(*activation).build_from(weights).unwrap();
                let (outputs, h) = run(&cell, x, h.to_owned(), stepwise);
                [outputs, unchanged.insert_axis(Axis(0)), h.insert_axis(Axis(0))]
            }
            Kind::Gru { recurrent_bias, gate_activation, activation } => {
                let (gates_kernel, gates_bias) = side_by_side(&self.gates[..2]);
                let (candidate_kernel, candidate_bias) = side_by_side(&self.gates[2..]);
                let weights = GruWeights {
                    gates_kernel,
                    gates_bias: Some(gates_bias),
                    candidate_kernel,
                    candidate_bias: Some(candidate_bias),
                    candidate_recurrent_bias: recurrent_bias.as_ref().map(|bias| bias.mapv(E::of)),
                };
                let reset = if recurrent_bias.is_some() { GruReset::After } else { GruReset::Before };
                let builder = Gru::builder(input, hidden).reset(reset).gate_activation(*gate_activation);
                let cell = builder.activation(*activation).build_from(weights).unwrap();
                let (outputs, h) = run(&cell, x, h.to_owned(), stepwise);
                [outputs, unchanged.insert_axis(Axis(0)), h.insert_axis(Axis(0))]
            }
            Kind::Lstm(extras) => {
                let cell = self.lstm(extras, kernel, bias);
                let (outputs, LstmState { c, h }) =
                    run(&cell, x, LstmState { c: c.to_owned(), h: h.to_owned() }, stepwise);
                [outputs, c.insert_axis(Axis(0)), h.insert_axis(Axis(0))]
            }
        }
    }

    fn lstm<E: Float>(&self, extras: &LstmExtras, kernel: Array2<E>, bias: Array1<E>) -> Lstm<E> {
        let peepholes = extras.peepholes.as_ref().map(|all| {
            let [w_f_diag, w_i_diag, w_o_diag] = all.each_ref().map(|weights| weights.mapv(E::of));
            Peepholes { w_f_diag, w_i_diag, w_o_diag }
        });
        let projection = extras.projection.as_ref().map(|gate| gate.weights.mapv(E::of));
        let mut builder = Lstm::builder(self.input, self.hidden)
            .forget_bias(E::zero())
            .use_peepholes(peepholes.is_some())
            .activation(extras.activation)
            .gate_activation(extras.gate_activation);
        if let Some(clip) = extras.cell_clip {
            builder = builder.cell_clip(E::of(clip));
        }
        if let Some(clip) = extras.proj_clip {
            builder = builder.proj_clip(E::of(clip));
        }
        if projection.is_some() {
            builder = builder.num_proj(self.output);
        }
        builder.build_from(LstmWeights { kernel, bias: Some(bias), peepholes, projection }).unwrap()
    }
}

/// The gates' weights as one kernel and bias.
fn side_by_side<E: Float>(gates: &[Dense]) -> (Array2<E>, Array1<E>) {
    let kernels: Vec<_> = gates.iter().map(|gate| gate.weights.view()).collect();
    let biases: Vec<_> = gates.iter().map(|gate| gate.bias.view()).collect();
    let kernel = concatenate(Axis(1), &kernels).unwrap();
    (kernel.mapv(E::of), concatenate(Axis(0), &biases).unwrap().mapv(E::of))
}

fn run<E: Float, C: RnnCell<Elem = E, Workspace = Workspace<E>>>(
    cell: &C,
    x: &Array3<E>,
    mut state: C::State,
    stepwise: bool,
) -> (Array3<E>, C::State) {
    let (steps, rows, _) = x.dim();
    let mut outputs = Array3::zeros((steps, rows, cell.output_size()));
    let mut workspace = Workspace::default();
    let at_once = if stepwise { 1 } else { steps };
    for t in (0..steps).step_by(at_once) {
        let run = t..t + at_once;
        let mut outputs = outputs.slice_mut(s![run.clone(), .., ..]);
        cell.unroll(&x.slice(s![run, .., ..]), &mut state, &mut outputs, &mut workspace);
    }
    (outputs, state)
}

/// Every kernel, at odd sizes and row counts, with the input half hoisted (few rows, some inputs and steps) or not.
fn all(mut check: impl FnMut(&Case, Array3<f64>, Array2<f64>, Array2<f64>)) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
    let sizes = [(1, 1), (5, 7), (19, 33), (17, 16), (2, 65), (20, 130)];
    // Miri takes minutes for these.
    let sizes = if cfg!(miri) { &[(5, 3), (17, 2)] } else { &sizes[..] };
    for (at, &(input, hidden)) in sizes.iter().enumerate() {
        for case in cases(input, hidden, &mut rng) {
            // All row counts up to two tiles plus one, spread over the sizes.
            for rows in (1..=13).filter(|rows| rows % 6 == at || *rows == 1) {
                let steps = if rows == 1 { 27 } else { 3 };
                let mut array = |shape| Array3::from_shape_simple_fn(shape, || number(&mut rng));
                let x = array((steps, rows, input));
                let c = array((1, rows, hidden)).remove_axis(Axis(0));
                let h = array((1, rows, case.output)).remove_axis(Axis(0));
                check(&case, x, c, h);
            }
        }
    }
}

fn is_its_equations<E: Float>(tolerance: f64) {
    all(|case, x, c, h| {
        let expected = case.expected(&x, &c, &h);
        let (x, c, h) = (x.mapv(E::of), c.mapv(E::of), h.mapv(E::of));
        on_each(|isa| {
            let found = case.found(&x, c.view(), h.view(), false);
            for (which, (found, expected)) in found.iter().zip(&expected).enumerate() {
                // A cell without c leaves it alone.
                for ((at, found), expected) in found.indexed_iter().zip(expected) {
                    let error = (found.as_f64() - expected).abs();
                    // Without a bounded activation, numbers grow.
                    let bound = tolerance * expected.abs().max(1.0);
                    assert!(error <= bound, "{isa:?} {}: {which} {at:?}: {found} {expected}", case.name);
                }
            }
        });
    });
}

#[test]
fn every_kernel_is_its_equations_in_f64() {
    is_its_equations::<f64>(1e-13);
}

#[test]
fn every_kernel_is_its_equations_in_f32() {
    is_its_equations::<f32>(2e-6);
}

/// One row or one step alone gives the same bits as all rows and all steps at once.
fn bits_are_the_same<E: Float>() {
    all(|case, x, c, h| {
        let (x, c, h) = (x.mapv(E::of), c.mapv(E::of), h.mapv(E::of));
        on_each(|isa| {
            let together = case.found(&x, c.view(), h.view(), false);
            assert!(together == case.found(&x, c.view(), h.view(), true), "{isa:?} {}: stepwise", case.name);
            for row in 0..x.len_of(Axis(1)) {
                let rows = row..row + 1;
                let x = x.slice(s![.., rows.clone(), ..]).to_owned();
                let (c, h) = (c.slice(s![rows.clone(), ..]), h.slice(s![rows.clone(), ..]));
                for (alone, together) in case.found(&x, c, h, false).iter().zip(&together) {
                    let together = together.slice(s![.., rows.clone(), ..]);
                    assert!(alone.view() == together, "{isa:?} {}: row {row} alone", case.name);
                }
            }
        });
    });
}

#[test]
fn bits_do_not_depend_on_rows_or_steps_that_share_a_call() {
    bits_are_the_same::<f32>();
    bits_are_the_same::<f64>();
}
