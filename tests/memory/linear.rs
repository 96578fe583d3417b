//! A [`Linear`] by itself is ndarray's product.

use crate::common::{array, message, number, randomized, rng};
use ndarray::{Array2, Array3, Axis};
use rnn_cell::fused::{Linear, LinearWeights, Workspace};
use rnn_cell::{Arrays, Error, Float, Parameters, ParametersMut};

/// (steps, rows, features) as (steps · rows, features).
fn flat<E: Float>(array: &Array3<E>) -> Array2<E> {
    let (steps, rows, features) = array.dim();
    array.to_shape((steps * rows, features)).unwrap().to_owned()
}

fn largest_difference<E: Float, D: ndarray::Dimension>(a: &ndarray::Array<E, D>, b: &ndarray::Array<E, D>) -> f64 {
    assert_eq!(a.shape(), b.shape());
    a.iter().zip(b).map(|(a, b)| (a.as_f64() - b.as_f64()).abs() / b.as_f64().abs().max(1.0)).fold(0.0, f64::max)
}

/// Forward and backward are ndarray's products, and still are after the weights change.
fn linear<E: Float>(tolerance: f64) {
    let rng = &mut rng(9);
    for (steps, rows, input, units, gates) in [(1, 1, 1, 1, 1), (3, 5, 7, 9, 4), (30, 1, 19, 33, 2), (2, 13, 64, 5, 3)]
    {
        for use_bias in [true, false] {
            let linear = Linear::<E>::builder(units).input_size(input).gates(gates).use_bias(use_bias).build(rng);
            let mut linear = randomized(linear.unwrap(), rng);
            let mut workspace = Workspace::default();
            for _ in 0..2 {
                let (x, d) = (array::<E>((steps, rows, input), rng), array::<E>((steps, rows, gates * units), rng));
                let LinearWeights { kernel, bias } = linear.weights().clone();
                let mut expected = flat(&x).dot(&kernel);
                if let Some(bias) = &bias {
                    expected += bias;
                }
                let mut to = Array3::from_elem(d.dim(), E::nan());
                linear.forward(&x, &mut to, &mut workspace);
                assert!(largest_difference(&flat(&to), &expected) < tolerance);
                let mut strided = Array3::from_elem((gates * units, rows, steps), E::nan());
                linear.forward(&x, &mut strided.view_mut().reversed_axes(), &mut workspace);
                assert_eq!(strided.reversed_axes(), to);

                let (mut d_x, mut gradient) = (Array3::from_elem(x.dim(), E::nan()), linear.weights().zeros());
                gradient.kernel.fill(E::one()); // it is added to
                linear.backward(&x, &d, &mut d_x, &mut gradient, &mut workspace);
                let samples = (steps * rows) as f64;
                assert!(largest_difference(&flat(&d_x), &flat(&d).dot(&kernel.t())) < tolerance);
                let d_kernel = flat(&x).t().dot(&flat(&d)) + E::one();
                assert!(largest_difference(&gradient.kernel, &d_kernel) < samples * tolerance);
                assert_eq!(gradient.bias.is_some(), use_bias);
                if let Some(d_bias) = &gradient.bias {
                    assert!(largest_difference(d_bias, &flat(&d).sum_axis(Axis(0))) < samples * tolerance);
                }
                linear.visit_parameters_mut(&mut |_, mut weight| weight.mapv_inplace(|_| number(rng, 0.5)));
            }
        }
    }
}

#[test]
fn linear_by_itself_is_ndarrays_product() {
    linear::<f64>(1e-13);
    linear::<f32>(1e-5);
}

#[test]
fn linear_agrees_with_central_differences() {
    let rng = &mut rng(10);
    let mut linear = randomized(Linear::<f64>::builder(5).input_size(3).gates(2).build(rng).unwrap(), rng);
    let (mut x, d) = (array::<f64>((2, 3, 3), rng), array::<f64>((2, 3, 10), rng));
    let mut workspace = Workspace::default();
    let (mut d_x, mut gradient) = (Array3::zeros(x.dim()), linear.weights().zeros());
    linear.backward(&x, &d, &mut d_x, &mut gradient, &mut workspace);
    let mut loss = |linear: &Linear<f64>, x: &Array3<f64>| {
        let mut to = Array3::zeros(d.dim());
        linear.forward(x, &mut to, &mut workspace);
        (to * &d).sum()
    };
    const STEP: f64 = 1e-3; // the product is linear: only rounding counts
    for at in ndarray::indices(x.dim()) {
        let mut shifted = |by: f64| {
            x[at] += by;
            loss(&linear, &x)
        };
        let difference = shifted(STEP) - shifted(-2.0 * STEP);
        shifted(STEP);
        assert!((difference / (2.0 * STEP) - d_x[at]).abs() < 1e-9);
    }
    let mut gradients = Vec::new();
    gradient.visit_parameters(&mut |_, array| gradients.extend(array.iter().copied()));
    for (at, gradient) in gradients.into_iter().enumerate() {
        let mut shifted = |by: f64| {
            let mut seen = 0;
            linear.visit_parameters_mut(&mut |_, mut array| {
                if let Some(weight) = at.checked_sub(seen).and_then(|at| array.iter_mut().nth(at)) {
                    *weight += by;
                }
                seen += array.len();
            });
            loss(&linear, &x)
        };
        let difference = shifted(STEP) - shifted(-2.0 * STEP);
        shifted(STEP);
        assert!((difference / (2.0 * STEP) - gradient).abs() < 1e-9);
    }
}

#[test]
fn linear_refuses() {
    let rng = &mut rng(11);
    let mut build = |builder: rnn_cell::fused::LinearBuilder| builder.build::<f32, _>(rng).map(drop);
    let nothing = build(Linear::<f32>::builder(3)).unwrap_err();
    assert_eq!(nothing.to_string(), "input_size + recurrent_size is 0, but must be at least 1");
    assert!(matches!(build(Linear::<f32>::builder(0).input_size(1)), Err(Error::ZeroSize { .. })));
    assert!(matches!(build(Linear::<f32>::builder(3).input_size(1).gates(0)), Err(Error::ZeroSize { .. })));
    assert!(matches!(build(Linear::<f32>::builder(3).input_size(1).gates(5)), Err(Error::InvalidNumber { .. })));
    let big = Linear::<f32>::builder(usize::MAX / 2).input_size(3);
    assert!(matches!(build(big), Err(Error::TooLarge { .. })));
    let weights = |kernel, bias: Option<usize>| LinearWeights::<f32> {
        kernel: Array2::zeros(kernel),
        bias: bias.map(ndarray::Array1::zeros),
    };
    let two = || Linear::<f32>::builder(2).input_size(3);
    assert!(matches!(two().build_from(weights((2, 3), Some(2))), Err(Error::ArrayShape { .. })));
    assert!(matches!(two().build_from(weights((3, 2), None)), Err(Error::MissingWeight { .. })));
    let unexpected = two().use_bias(false).build_from(weights((3, 2), Some(2)));
    assert!(matches!(unexpected, Err(Error::UnexpectedWeight { .. })));
    let recurrent = two().recurrent_size(2).build(&mut crate::common::rng(1)).unwrap();
    let (x, mut to) = (Array3::zeros((1, 1, 3)), Array3::zeros((1, 1, 2)));
    assert!(message(|| recurrent.forward(&x, &mut to, &mut Workspace::<f32>::default())).is_some());
}
