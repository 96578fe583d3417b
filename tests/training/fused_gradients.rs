//! A user's cell with a parameter that is one number, and gradients that do not fit it.

use crate::common::{array, message, rng};
use ndarray::{Array0, Array2, Array3};
use rnn_cell::fused::*;
use rnn_cell::train::{Back, TrainableCell, gradient_error};
use rnn_cell::{Activation, Arrays, Field};

rnn_cell::parameters! {
    pub struct PairWeights {
        "first" first: LinearWeights<E>,
        "gain" gain: Array0<E>,
    }
}

rnn_cell::parameters! {
    cell pub struct Pair {
        "first" first: Linear<E>,
        "gain" gain: Array0<E>,
        ; mistake: Mistake,
    }
}

/// How the gradient differs from the parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mistake {
    None,
    Name,
    Shape,
    Missing,
}

/// The gradient, or one that does not fit.
pub struct Gradient {
    fits: PairWeights<f64>,
    mistake: Mistake,
}

impl rnn_cell::Parameters<f64> for Gradient {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ndarray::ArrayViewD<'a, f64>)) {
        if self.mistake != Mistake::Missing {
            let gain = if self.mistake == Mistake::Name { "gains" } else { "gain" };
            self.fits.first.visit("first", visit);
            self.fits.gain.visit(gain, visit);
        }
    }
}

impl rnn_cell::ParametersMut<f64> for Gradient {
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ndarray::ArrayViewMutD<'_, f64>)) {
        self.fits.visit_parameters_mut(visit);
    }
}

impl FusedCell for Pair<f64> {
    type Elem = f64;
    type State = Array2<f64>;

    fn input_size(&self) -> usize {
        self.first.input_size()
    }
    fn output_size(&self) -> usize {
        self.first.units()
    }
    fn zero_state(&self, batch: usize) -> Array2<f64> {
        Array2::zeros((batch, self.first.units()))
    }
    fn stages(&self) -> Stages<'_, f64> {
        Stages::new([Stage::new(&self.first).state(0)])
    }
    /// h' = tanh(sum); the gain is not used, so that its gradient is 0.
    #[inline(always)]
    fn forward<V: Vector<f64>>(&self, _: usize, row: &mut Forward<'_, f64>) {
        let ([sum], h, output) = (row.sums(0), row.new_state(0), row.output());
        for at in V::units(sum.len()) {
            let next = V::load(sum, at).tanh();
            next.store(sum, at);
            next.store(h, at);
            next.store(output, at);
        }
    }
}

impl TrainableFusedCell for Pair<f64> {
    type Gradient = Gradient;

    fn zero_gradient(&self) -> Gradient {
        let mut first = self.first.weights().zeros();
        if self.mistake == Mistake::Shape {
            first.kernel = Array2::zeros((1, 1));
        }
        Gradient { fits: PairWeights { first, gain: Array0::zeros(()) }, mistake: self.mistake }
    }
    #[inline(always)]
    fn backward<V: Vector<f64>>(&self, _: usize, row: &mut Backward<'_, f64>) {
        let ([sum], d_h, d_output) = (row.sums(0), row.d_state(0), row.d_output());
        for at in V::units(sum.len()) {
            let d = V::load(d_h, at) + V::load(d_output, at);
            (d * V::load(sum, at).slope(Activation::Tanh)).store(sum, at);
            V::splat(0.0).store(d_h, at);
        }
    }
    fn gradients(&self, samples: &mut Samples<'_, f64>, gradient: &mut Gradient) {
        self.first.add_gradients(samples, 0, &mut gradient.fits.first);
    }
}

rnn_cell::trainable_fused_cell!(Pair<f64>);

fn pair(mistake: Mistake) -> Pair<f64> {
    let first = Linear::<f64>::builder(3).input_size(2).recurrent_size(3).build(&mut rng(1)).unwrap();
    Pair { first, gain: ndarray::arr0(0.5), mistake }
}

#[test]
fn a_parameter_may_be_one_number() {
    let x: Array3<f64> = array((2, 4, 2), &mut rng(2));
    assert!(gradient_error(&mut pair(Mistake::None), &x, None, None).unwrap() < 1e-8);
}

#[test]
fn a_gradient_that_does_not_fit_is_named() {
    for (mistake, expected) in [
        (Mistake::None, None),
        (Mistake::Name, Some("parameter 2 of the gradient is gains [], but the cell's is gain []")),
        (
            Mistake::Shape,
            Some("parameter 0 of the gradient is first/kernel [1, 1], but the cell's is first/kernel [5, 3]"),
        ),
        (Mistake::Missing, Some("parameter 0 of the gradient is nothing, but the cell's is first/kernel [5, 3]")),
    ] {
        let cell = pair(mistake);
        let x: Array3<f64> = array((4, 2, 2), &mut rng(3));
        let (mut workspace, mut records) = (Workspace::default(), Vec::new());
        let mut h = Array2::zeros((2, 3));
        cell.unroll_recording(&x, &mut h, &mut Array3::zeros((4, 2, 3)), &mut records, &mut workspace);
        let found = message(|| {
            let back = Back {
                inputs: &x,
                d_outputs: &Array3::zeros((4, 2, 3)),
                d_state: &mut h,
                d_inputs: &mut Array3::zeros((4, 2, 2)),
                gradient: &mut TrainableCell::zero_gradient(&cell),
            };
            cell.unroll_backward(&mut records, back, &mut workspace);
        });
        assert_eq!(found.as_deref(), expected, "{mistake:?}");
    }
}
