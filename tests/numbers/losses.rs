//! Losses and their gradients against PyTorch's, which `tools/losses_fixture.py` wrote.

use crate::{array, assert_near, numbers};
use ndarray::{Array, Array2, Array3, Axis, Dimension, array};
use rnn_cell::train::{
    Average, SequenceLoss, mean_squared_error, sequence_losses, sigmoid_cross_entropy, weighted_mean_squared_error,
    weighted_sigmoid_cross_entropy,
};
use rnn_cell::{Error, Float};
use serde_json::{Value, json};

fn fixture() -> Value {
    serde_json::from_str(include_str!("../fixtures/losses.json")).unwrap()
}

fn check<E: Float>(tolerance: f64) {
    let fixture = fixture();
    let input = |name: &str| array::<E, _>(&fixture["inputs"][name], (2, 3, 4));
    let (logits, probabilities, targets) = (input("logits"), input("probabilities"), input("numbers"));
    let of_each = input("of_each");
    let steps = array::<E, _>(&fixture["inputs"]["of_step"], (2, 3));
    let of_step = steps.clone().insert_axis(Axis(2));
    let classes = array::<f64, _>(&fixture["inputs"]["classes"], (2, 3)).mapv(|class| class as usize);
    let smooth = SequenceLoss::builder().label_smoothing(0.3).build().unwrap();
    let smooth = smooth.losses(&logits, &classes, &steps).unwrap();
    let sigmoid = |weights: &Array3<E>| weighted_sigmoid_cross_entropy(&logits, &probabilities, weights).unwrap();
    let squares = |weights: &Array3<E>| weighted_mean_squared_error(&logits, &targets, weights).unwrap();
    let found = [
        ("sigmoid", sigmoid_cross_entropy(&logits, &probabilities).unwrap()),
        ("sigmoid_weighted", sigmoid(&of_each)),
        ("sigmoid_steps", sigmoid(&of_step)),
        ("squares", mean_squared_error(&logits, &targets).unwrap()),
        ("squares_weighted", squares(&of_each)),
        ("squares_steps", squares(&of_step)),
        ("smooth", (smooth.0[[]], smooth.1)),
    ];
    assert_eq!(fixture["losses"].as_object().unwrap().len(), found.len());
    for (name, (loss, gradient)) in found {
        let expected = &fixture["losses"][name];
        assert_near(name, &array![loss], &json!([expected["loss"]]), tolerance);
        assert_near(name, &gradient, &expected["gradient"], tolerance);
        assert!(numbers(&expected["gradient"]).iter().any(|&d| d.abs() > 1e-3), "{name}");
    }
}

#[test]
fn losses_are_those_of_pytorch() {
    check::<f64>(1e-14);
    check::<f32>(1e-6);
}

/// The worst difference between a gradient and central differences.
fn worst<D: Dimension>(x: &Array<f64, D>, d: &Array<f64, D>, loss: impl Fn(&Array<f64, D>) -> f64) -> f64 {
    let worst = d.iter().enumerate().map(|(at, d)| {
        let moved = |by: f64| {
            let mut x = x.clone();
            x.as_slice_mut().unwrap()[at] += by;
            loss(&x)
        };
        ((moved(1e-5) - moved(-1e-5)) / 2e-5 - d).abs()
    });
    worst.fold(0.0, f64::max)
}

#[test]
fn gradients_agree_with_central_differences() {
    let fixture = fixture();
    let input = |name: &str| array::<f64, _>(&fixture["inputs"][name], (2, 3, 4));
    let (logits, targets, weights) = (input("logits") / 4.0, input("probabilities"), input("of_each"));
    let (_, d) = weighted_sigmoid_cross_entropy(&logits, &targets, &weights).unwrap();
    assert!(worst(&logits, &d, |x| weighted_sigmoid_cross_entropy(x, &targets, &weights).unwrap().0) < 1e-8);
    let (_, d) = weighted_mean_squared_error(&logits, &targets, &weights).unwrap();
    assert!(worst(&logits, &d, |x| weighted_mean_squared_error(x, &targets, &weights).unwrap().0) < 1e-8);
    let (classes, weights) = (array![[0, 3, 1], [2, 2, 0]], array![[1.0, 0.5, 2.0], [0.0, 1.0, 0.25]]);
    for average in [Average::TimestepsAndBatch, Average::Timesteps, Average::Batch, Average::Neither] {
        let smooth = SequenceLoss::builder().average(average).label_smoothing(0.2).build().unwrap();
        let (losses, d) = smooth.losses(&logits, &classes, &weights).unwrap();
        assert!(worst(&logits, &d, |x| smooth.losses(x, &classes, &weights).unwrap().0.sum()) < 1e-8);
        // Smoothing nothing is the plain loss.
        let plain = SequenceLoss::builder().average(average).build().unwrap();
        let plain = plain.losses(&logits, &classes, &weights).unwrap();
        assert_eq!(plain, sequence_losses(&logits, &classes, &weights, average).unwrap());
        assert_ne!(plain.0, losses);
    }
}

#[test]
fn a_weight_of_zero_masks() {
    let (x, targets) = (array![[0.5, f64::NAN], [1.0, 2.0]], array![[0.0, 1.0], [f64::INFINITY, 1.0]]);
    let weights = array![[1.0, 0.0], [0.0, 3.0]];
    let (loss, d) = weighted_mean_squared_error(&x, &targets, &weights).unwrap();
    assert_eq!((loss, d), ((0.25 + 3.0) / 4.0, array![[0.25, 0.0], [0.0, 1.5]]));
    let (loss, d) = weighted_sigmoid_cross_entropy(&x, &targets, &weights).unwrap();
    assert!(loss.is_finite() && (d[[0, 1]], d[[1, 0]]) == (0.0, 0.0));
    let nothing = Array2::zeros((2, 2));
    assert_eq!(weighted_sigmoid_cross_entropy(&x, &targets, &nothing).unwrap(), (0.0, nothing.clone()));
    assert_eq!(weighted_mean_squared_error(&x, &targets, &nothing).unwrap(), (0.0, nothing));
    let empty = Array2::<f32>::zeros((0, 2));
    assert_eq!(sigmoid_cross_entropy(&empty, &empty).unwrap().0, 0.0);
}

#[test]
fn a_sigmoid_of_any_size() {
    let (loss, d) = sigmoid_cross_entropy(&array![1e4_f32, -1e4, 90.0, -90.0], &array![0.0, 1.0, 1.0, 0.0]).unwrap();
    assert_eq!(loss, 5e3);
    assert_eq!(d.as_slice().unwrap()[..2], [0.25, -0.25]);
    // 1 / (1 + e⁹⁰) is an f32, 1 − σ(90) is not.
    let expected = (-90.0_f64).exp() / 4.0;
    assert!((f64::from(d[3]) / expected - 1.0).abs() < 1e-4 && d[2] == 0.0, "{d}");
    assert!(sigmoid_cross_entropy(&array![f64::NAN], &array![1.0]).unwrap().0.is_nan());
    let (loss, d) =
        weighted_sigmoid_cross_entropy(&array![1e4, f64::NAN], &array![1.0, 1.0], &array![1.0, 0.0]).unwrap();
    assert_eq!((loss, d), (0.0, array![0.0, 0.0]));
}

#[test]
fn what_does_not_fit_is_an_error() {
    let x = Array2::<f64>::zeros((2, 3));
    let shape = |argument: &str, expected: [usize; 2], found: [usize; 2]| Error::ArrayShape {
        argument: argument.into(),
        expected: expected.into(),
        found: found.into(),
    };
    let targets = Array2::zeros((2, 1));
    assert_eq!(sigmoid_cross_entropy(&x, &targets).unwrap_err(), shape("targets", [2, 3], [2, 1]));
    assert_eq!(weighted_mean_squared_error(&x, &targets, &x).unwrap_err(), shape("targets", [2, 3], [2, 1]));
    let weights = Array2::ones((3, 1));
    assert_eq!(weighted_mean_squared_error(&x, &x, &weights).unwrap_err(), shape("weights", [2, 1], [3, 1]));
    let any = x.clone().into_dyn();
    let error = weighted_sigmoid_cross_entropy(&any, &any, &Array::ones(vec![2])).unwrap_err();
    assert_eq!(error, Error::ArrayShape { argument: "weights".into(), expected: vec![2, 3], found: vec![2] });
    for bad in [-0.1, 1.0, f64::NAN] {
        let error = SequenceLoss::builder().label_smoothing(bad).build().unwrap_err();
        assert_eq!(error.to_string(), format!("label_smoothing is {bad}, but must be at least 0 and below 1"));
    }
}
