//! Law 7: every option's gradient agrees with central differences in f64. Also: other promises of backward passes.

use crate::common::Echo;
use ndarray::{Array1, Array2, Array3, ArrayRef2, ArrayViewD, ArrayViewMutD, Axis, array};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rnn_cell::GruReset;
use rnn_cell::train::{self, StepBack, TrainableCell, gradient_error};
use rnn_cell::{Activation, Arrays, BasicRnn, Gru, Lstm, Parameters, ParametersMut, RnnCell, State};

fn random<C: RnnCell<Elem = f64>>(cell: &C, batch: usize, seq: usize, seed: u64) -> (Array3<f64>, C::State) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let x = Array3::from_shape_simple_fn((batch, seq, cell.input_size()), || rng.random_range(-1.0..1.0));
    let mut state = cell.zero_state(batch);
    state.visit_mut(&mut |mut leaf| leaf.mapv_inplace(|_| rng.random_range(-0.5..0.5)));
    (x, state)
}

/// (batch, seq, lengths): masked or not, sorted or not.
const SHAPES: [(usize, usize, Option<[usize; 3]>); 5] =
    [(1, 1, None), (3, 4, None), (2, 7, None), (3, 4, Some([4, 2, 0])), (3, 4, Some([1, 4, 3]))];

/// Compares with central differences on all `SHAPES`.
fn check<C: TrainableCell<Elem = f64>>(name: &str, cell: C) {
    check_on(&SHAPES, name, cell);
}

fn check_on<C: TrainableCell<Elem = f64>>(shapes: &[(usize, usize, Option<[usize; 3]>)], name: &str, mut cell: C) {
    for &(batch, seq, lengths) in shapes {
        let (x, state) = random(&cell, batch, seq, 3);
        let lengths: Option<&[usize]> = lengths.as_ref().map(|lengths| &lengths[..]);
        let error = train::gradient_error(&mut cell, &x, lengths, Some(state)).unwrap();
        assert!(error < 1e-8, "{name}, ({batch}, {seq}), lengths {lengths:?}: {error:e}");
    }
}

#[test]
fn lstm() {
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(5);
    check("plain", Lstm::<f64>::new(3, 5, rng));
    check("one unit", Lstm::<f64>::new(1, 1, rng));
    let builder = || Lstm::<f64>::builder(3, 4);
    check("peepholes", builder().use_peepholes(true).build(rng).unwrap());
    check("cell_clip", builder().cell_clip(0.2).build(rng).unwrap());
    check("num_proj", builder().num_proj(2).build(rng).unwrap());
    check("wide num_proj, proj_clip", builder().num_proj(6).proj_clip(0.05).build(rng).unwrap());
    let all = builder().use_peepholes(true).cell_clip(0.3).num_proj(3).proj_clip(0.1).use_bias(false);
    check("all", all.forget_bias(-0.5).build(rng).unwrap());
    for activation in ACTIVATIONS {
        check(&format!("{activation:?}"), builder().activation(activation).build(rng).unwrap());
        check(&format!("gates {activation:?}"), builder().gate_activation(activation).build(rng).unwrap());
    }
}

#[test]
fn gru() {
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(6);
    for reset in [GruReset::Before, GruReset::After] {
        let builder = || Gru::<f64>::builder(3, 5).reset(reset);
        check(&format!("{reset:?}"), builder().build(rng).unwrap());
        check(&format!("{reset:?}, no bias"), builder().use_bias(false).build(rng).unwrap());
        for activation in ACTIVATIONS {
            let name = format!("{reset:?}, {activation:?}");
            check(&name, builder().activation(activation).build(rng).unwrap());
            // With an unbounded gate h grows from step to step, and so does the error of the differences.
            let bounded = matches!(
                activation,
                Activation::Tanh
                    | Activation::Sigmoid
                    | Activation::Softsign
                    | Activation::HardSigmoid
                    | Activation::HardSigmoidWith { .. }
            );
            let shapes = if bounded { &SHAPES[..] } else { &SHAPES[..1] };
            check_on(shapes, &format!("{name} gates"), builder().gate_activation(activation).build(rng).unwrap());
        }
    }
}

/// A gate that is always 1 or 0 passes no gradient on; in between it is linear.
#[test]
fn a_hard_sigmoid_that_saturates_has_no_slope() {
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(8);
    let hard = Activation::HardSigmoid;
    for bias in [10.0, -10.0, 0.0] {
        let mut rnn = BasicRnn::<f64>::builder(3, 5).activation(hard).build(rng).unwrap();
        let mut lstm = Lstm::<f64>::builder(3, 4).gate_activation(hard).build(rng).unwrap();
        let mut gru = Gru::<f64>::builder(3, 4).gate_activation(hard).build(rng).unwrap();
        fill_biases(&mut rnn, bias);
        fill_biases(&mut lstm, bias);
        fill_biases(&mut gru, bias);
        let (x, state) = random(&rnn, 2, 3, 9);
        let (outputs, _, tape) = train::dynamic_rnn(&rnn, &x, None, Some(state)).unwrap();
        let back = tape.backward(&Array3::ones(outputs.dim())).unwrap();
        let saturates = bias != 0.0;
        assert_eq!(outputs.iter().all(|&y| y == f64::from(bias > 0.0)), saturates);
        assert_eq!(back.inputs.iter().chain(&back.parameters.arrays()[0]).all(|&d| d == 0.0), saturates, "{bias}");
        check(&format!("rnn, biases of {bias}"), rnn);
        check(&format!("lstm, biases of {bias}"), lstm);
        check(&format!("gru, biases of {bias}"), gru);
    }
}

fn fill_biases<P: ParametersMut<f64>>(cell: &mut P, bias: f64) {
    cell.visit_parameters_mut(&mut |name, mut array| {
        if name.ends_with("bias") {
            array.fill(bias);
        }
    });
}

#[test]
fn basic_rnn() {
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(7);
    check("plain", BasicRnn::<f64>::new(3, 5, rng));
    check("no bias", BasicRnn::<f64>::builder(2, 18).use_bias(false).build(rng).unwrap());
    for activation in ACTIVATIONS {
        let cell = BasicRnn::<f64>::builder(3, 5).activation(activation).build(rng).unwrap();
        check(&format!("{activation:?}"), cell);
    }
}

const ACTIVATIONS: [Activation; 13] = [
    Activation::Tanh,
    Activation::Sigmoid,
    Activation::Relu,
    Activation::Elu,
    Activation::Softsign,
    Activation::HardSigmoid,
    Activation::Linear,
    Activation::HardSigmoidWith { slope: 0.25, offset: 0.375 },
    Activation::LeakyRelu { alpha: 0.125 },
    Activation::ThresholdedRelu { alpha: 0.05 },
    Activation::EluWith { alpha: 0.75 },
    Activation::ScaledTanh { alpha: 1.5, beta: -0.5 },
    Activation::Affine { alpha: -0.5, beta: 0.25 },
];

rnn_cell::parameters! {
    /// A weight of the input and one of the state for each feature.
    struct Weights {
        "w" w: Array1<E>,
        "u" u: Array1<E>,
    }
}

/// Where the backward pass is wrong, always in the last number.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Wrong {
    Nothing,
    FirstParameter,
    LastParameter,
    Inputs,
    State,
    NotANumber,
}

/// h' = w ⊙ x + u ⊙ h, with a backward pass that may be wrong.
struct Faulty(Weights<f64>, Wrong);

impl RnnCell for Faulty {
    type Elem = f64;
    type State = Array2<f64>;
    type Workspace = ();

    fn input_size(&self) -> usize {
        self.0.w.len()
    }
    fn output_size(&self) -> usize {
        self.0.w.len()
    }
    fn zero_state(&self, batch: usize) -> Array2<f64> {
        Array2::zeros((batch, self.0.w.len()))
    }
    fn step(&self, x: &ArrayRef2<f64>, h: &mut Array2<f64>, output: &mut ArrayRef2<f64>, (): &mut ()) {
        *h = &x.view() * &self.0.w + &*h * &self.0.u;
        output.assign(h);
    }
}

impl Parameters<f64> for Faulty {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, f64>)) {
        self.0.visit_parameters(visit);
    }
}

impl ParametersMut<f64> for Faulty {
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, f64>)) {
        self.0.visit_parameters_mut(visit);
    }
}

impl TrainableCell for Faulty {
    type Record = Array2<f64>;
    type Gradient = Weights<f64>;

    fn zero_gradient(&self) -> Weights<f64> {
        self.0.zeros()
    }
    fn step_recording(
        &self,
        x: &ArrayRef2<f64>,
        h: &mut Array2<f64>,
        output: &mut ArrayRef2<f64>,
        workspace: &mut (),
    ) -> Array2<f64> {
        let before = h.clone();
        self.step(x, h, output, workspace);
        before
    }
    fn step_backward(&self, before: Array2<f64>, back: StepBack<'_, Self>, (): &mut ()) {
        let train::Back { inputs: x, d_outputs, d_state: d_h, d_inputs: d_x, gradient } = back;
        *d_h += &d_outputs.view();
        gradient.w += &(&*d_h * &x.view()).sum_axis(Axis(0));
        gradient.u += &(&*d_h * &before).sum_axis(Axis(0));
        d_x.assign(&(&*d_h * &self.0.w));
        *d_h *= &self.0.u;
        let (wrong, by) = match self.1 {
            Wrong::Nothing => return,
            Wrong::FirstParameter => (gradient.w.last_mut(), 0.01),
            Wrong::LastParameter => (gradient.u.last_mut(), 0.01),
            Wrong::Inputs => (d_x.last_mut(), 0.01),
            Wrong::State => (d_h.last_mut(), 0.01),
            Wrong::NotANumber => (gradient.w.first_mut(), f64::NAN),
        };
        *wrong.unwrap() += by;
    }
}

#[test]
fn a_wrong_backward_is_noticed_wherever_it_is_wrong() {
    use Wrong::{FirstParameter, Inputs, LastParameter, NotANumber, Nothing, State};
    let weights = Weights { w: array![0.5, -0.3, 0.8], u: array![0.4, 0.9, -0.6] };
    for wrong in [Nothing, FirstParameter, LastParameter, Inputs, State, NotANumber] {
        let mut cell = Faulty(weights.clone(), wrong);
        // With a single step, a mistake in one place does not reach another.
        let (x, state) = random(&cell, 2, 1, 4);
        let error = gradient_error(&mut cell, &x, None, Some(state.clone())).unwrap();
        match wrong {
            Nothing => assert!(error < 1e-8, "{error:e}"),
            NotANumber => assert!(error.is_nan(), "{error:e}"),
            _ => assert!((error - 0.01).abs() < 1e-8, "{wrong:?}: {error:e}"),
        }
        assert!(cell.0.w.abs_diff_eq(&weights.w, 1e-15) && cell.0.u.abs_diff_eq(&weights.u, 1e-15), "{wrong:?}");
        let error = gradient_error(&mut cell, &x, None, None).unwrap();
        assert_eq!(error < 1e-8, wrong == Nothing, "{wrong:?}: {error:e}");
        let (x, state) = random(&cell, 2, 5, 4);
        let error = gradient_error(&mut cell, &x, Some(&[5, 0]), Some(state)).unwrap();
        assert_eq!(error < 1e-8, wrong == Nothing, "{wrong:?}, ragged: {error:e}");
    }
}

/// An echo with a weight that can be seen but not changed.
struct Fixed(Echo, Array1<f64>);

impl RnnCell for Fixed {
    type Elem = f64;
    type State = Array2<f64>;
    type Workspace = ();

    fn input_size(&self) -> usize {
        self.0.input_size()
    }
    fn output_size(&self) -> usize {
        self.0.output_size()
    }
    fn zero_state(&self, batch: usize) -> Array2<f64> {
        self.0.zero_state(batch)
    }
    fn step(&self, x: &ArrayRef2<f64>, state: &mut Array2<f64>, output: &mut ArrayRef2<f64>, workspace: &mut ()) {
        self.0.step(x, state, output, workspace);
    }
}

impl Parameters<f64> for Fixed {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, f64>)) {
        visit("weight", self.1.view().into_dyn());
    }
}

impl ParametersMut<f64> for Fixed {}

impl TrainableCell for Fixed {
    type Record = ();
    type Gradient = ();

    fn zero_gradient(&self) {}

    fn step_recording(&self, x: &ArrayRef2<f64>, state: &mut Array2<f64>, output: &mut ArrayRef2<f64>, w: &mut ()) {
        self.step(x, state, output, w);
    }
    fn step_backward(&self, (): (), _: StepBack<'_, Self>, (): &mut ()) {
        unreachable!("the visits are compared before anything runs");
    }
}

#[test]
#[should_panic(expected = "visit_parameters and visit_parameters_mut must visit the same")]
fn visits_that_differ_are_no_wrong_gradient() {
    let _ = gradient_error(&mut Fixed(Echo(2), Array1::zeros(2)), &Array3::zeros((1, 2, 2)), None, None);
}
