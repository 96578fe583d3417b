//! Activations that have numbers of their own.

use super::twin;
use crate::kernel::Activation;
use crate::{BasicRnn, Error, Float, Gru, LayerNormLstm, Lstm, Ugrnn};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use std::collections::HashSet;

/// All of them, the two relus with a negative threshold, too.
pub(super) const WITH_NUMBERS: [Activation; 7] = [
    Activation::HardSigmoidWith { slope: 1.0 / 6.0, offset: 0.5 },
    Activation::LeakyRelu { alpha: 0.125 },
    Activation::ThresholdedRelu { alpha: 0.25 },
    Activation::ThresholdedRelu { alpha: -0.5 },
    Activation::EluWith { alpha: 0.75 },
    Activation::ScaledTanh { alpha: 1.5, beta: -0.5 },
    Activation::Affine { alpha: -0.5, beta: 0.25 },
];

/// Numbers on both sides of every kink, and none on one.
fn numbers() -> Vec<f64> {
    (-60..60).map(|k| f64::from(k) * 0.125 + 0.03).collect()
}

fn applied<E: Float>(activation: Activation, x: &[f64], tolerance: f64) {
    let mut y: Vec<E> = x.iter().map(|&x| E::of(x)).collect();
    activation.apply(&mut y);
    for (&x, y) in x.iter().zip(y) {
        let expected = twin::activate(activation, E::of(x).as_f64());
        assert!((y.as_f64() - expected).abs() <= tolerance * (1.0 + expected.abs()), "{activation:?} {x}: {y}");
    }
}

#[test]
fn values_are_the_formulas() {
    for activation in WITH_NUMBERS {
        applied::<f32>(activation, &numbers(), 3e-7);
        applied::<f64>(activation, &numbers(), 1e-15);
    }
}

#[test]
fn slopes_are_central_differences() {
    const STEP: f64 = 1e-6;
    for activation in WITH_NUMBERS {
        for x in numbers() {
            let difference = twin::activate(activation, x + STEP) - twin::activate(activation, x - STEP);
            let mut slope = [twin::activate(activation, x)];
            activation.apply_slope(&mut slope);
            assert!((slope[0] - difference / (2.0 * STEP)).abs() < 1e-8, "{activation:?} {x}: {slope:?}");
        }
    }
}

#[test]
fn limits_saturate_and_nan_stays() {
    for activation in WITH_NUMBERS {
        let mut ends = [f64::NAN, f64::MAX, f64::MIN, f64::INFINITY, f64::NEG_INFINITY];
        let expected = ends.map(|x| twin::activate(activation, x));
        activation.apply(&mut ends);
        assert!(ends[0].is_nan(), "{activation:?}");
        assert_eq!(ends[1..], expected[1..], "{activation:?}");
    }
}

#[test]
fn activations_are_equal_if_their_numbers_are() {
    let mut all: HashSet<Activation> = WITH_NUMBERS.into_iter().collect();
    assert_eq!(all.len(), WITH_NUMBERS.len());
    all.extend(WITH_NUMBERS);
    assert_eq!(all.len(), WITH_NUMBERS.len());
    all.extend([Activation::LeakyRelu { alpha: 0.25 }, Activation::EluWith { alpha: 0.125 }, Activation::Elu]);
    assert_eq!(all.len(), WITH_NUMBERS.len() + 3);
    assert_eq!(Activation::LeakyRelu { alpha: f64::NAN }, Activation::LeakyRelu { alpha: f64::NAN });
}

#[test]
fn numbers_out_of_range_are_refused_by_every_cell() {
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(1);
    let (nan, infinity) = (f64::NAN, f64::INFINITY);
    let wrong = [
        (Activation::HardSigmoidWith { slope: nan, offset: 0.5 }, "slope is NaN, but must be finite"),
        (Activation::HardSigmoidWith { slope: 0.5, offset: infinity }, "offset is inf, but must be finite"),
        (Activation::LeakyRelu { alpha: 0.0 }, "alpha is 0, but must be finite and above 0"),
        (Activation::LeakyRelu { alpha: -0.1 }, "alpha is -0.1, but must be finite and above 0"),
        (Activation::ThresholdedRelu { alpha: nan }, "alpha is NaN, but must be finite"),
        (Activation::EluWith { alpha: -1.0 }, "alpha is -1, but must be finite and above 0"),
        (Activation::ScaledTanh { alpha: 0.0, beta: 1.0 }, "alpha is 0, but must be finite and not 0"),
        (Activation::ScaledTanh { alpha: 1.0, beta: nan }, "beta is NaN, but must be finite"),
        (Activation::Affine { alpha: infinity, beta: 0.0 }, "alpha is inf, but must be finite"),
        (Activation::Affine { alpha: 1.0, beta: nan }, "beta is NaN, but must be finite"),
    ];
    for (activation, message) in wrong {
        let errors: [Option<Error>; 7] = [
            BasicRnn::<f32>::builder(2, 3).activation(activation).build(rng).err(),
            Gru::<f32>::builder(2, 3).activation(activation).build(rng).err(),
            Gru::<f32>::builder(2, 3).gate_activation(activation).build(rng).err(),
            Lstm::<f32>::builder(2, 3).activation(activation).build(rng).err(),
            Lstm::<f32>::builder(2, 3).gate_activation(activation).build(rng).err(),
            Ugrnn::<f32>::builder(2, 3).activation(activation).build(rng).err(),
            LayerNormLstm::<f32>::builder(2, 3).activation(activation).build(rng).err(),
        ];
        for error in errors {
            assert_eq!(error.unwrap().to_string(), format!("the activation's {message}"));
        }
    }
}
