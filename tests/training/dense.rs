//! The dense layer, forward and back.

use super::recorded_runs::{assert_close, differences, random, rng, set_values, values};
use ndarray::{Array2, Array3, Axis, array};
use rnn_cell::train::Gradients;
use rnn_cell::{Dense, Error};

#[test]
fn dense_multiplies_and_adds_over_any_leading_axes() {
    let dense = Dense::from_weights(array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], Some(array![0.5, -0.5])).unwrap();
    let x = array![[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]];
    let y = array![[1.5, 1.5], [9.5, 11.5]];
    assert_eq!(dense.forward(&x).unwrap(), y);
    assert_eq!(dense.forward(&x.row(1)).unwrap(), y.row(1));
    assert_eq!(dense.forward(&x.view().insert_axis(Axis(1))).unwrap(), y.view().insert_axis(Axis(1)));
    let by_step = x.view().insert_axis(Axis(0)).permuted_axes([1, 0, 2]);
    assert_eq!(dense.forward(&by_step).unwrap().dim(), (2, 1, 2));
    assert_eq!(dense.forward(&Array3::<f64>::zeros((0, 4, 3))).unwrap().dim(), (0, 4, 2));
}

#[test]
fn dense_agrees_with_central_differences() {
    for with_bias in [true, false] {
        let plain = Dense::<f64>::new(4, 3, &mut rng(1));
        let bias = with_bias.then(|| array![0.1, 0.2, -0.3]);
        let mut dense = Dense::from_weights(plain.kernel().clone(), bias).unwrap();
        // Strides in another order, as in the outputs of a time-major driver.
        let x = random((5, 2, 4), 2).permuted_axes([1, 0, 2]);
        let d_y = random((2, 5, 3), 3);
        let loss = |dense: &Dense<f64>, x: &Array3<f64>| (dense.forward(x).unwrap() * &d_y).sum();

        let (d_x, gradients) = dense.backward(&x, &d_y).unwrap();
        assert_eq!(d_x.dim(), x.dim());
        assert_close("x", &d_x, &differences(&x, |x| loss(&dense, x)), 1e-9);
        let saved = values(&dense);
        assert_eq!(gradients.iter().count(), 1 + usize::from(with_bias));
        for (position, (name, gradient)) in gradients.iter().enumerate() {
            let expected = differences(&saved[position].1, |value| {
                let mut moved = saved.clone();
                moved[position].1.assign(value);
                set_values(&mut dense, &moved);
                loss(&dense, &x)
            });
            assert_close(name, gradient, &expected, 1e-9);
        }
    }
}

/// More rows and columns than a tile or a panel has, and rows whose numbers are not adjacent.
#[test]
fn dense_is_ndarrays_product_at_any_size_and_strides() {
    for (rows, input, output) in [(1, 1, 1), (7, 37, 70), (300, 5, 129)] {
        let dense = Dense::<f64>::new(input, output, &mut rng(1));
        let (x, d_y) = (random((input, rows, 1), 2), random((output, rows, 1), 3));
        // (1, rows, features), the last axis with the largest stride; once more backwards.
        let (mut x, mut d_y) = (x.permuted_axes([2, 1, 0]), d_y.permuted_axes([2, 1, 0]));
        for _ in 0..2 {
            x.invert_axis(Axis(1));
            d_y.invert_axis(Axis(2));
            let (x_rows, d_rows) = (x.index_axis(Axis(0), 0), d_y.index_axis(Axis(0), 0));
            assert_close("y", &dense.forward(&x).unwrap(), &x_rows.dot(dense.kernel()), 1e-13);
            let (d_x, gradients) = dense.backward(&x, &d_y).unwrap();
            assert_close("x", &d_x, &d_rows.dot(&dense.kernel().t()), 1e-13);
            assert_close("kernel", gradients.get("kernel").unwrap(), &x_rows.t().dot(&d_rows), 1e-13);
            assert_close("bias", gradients.get("bias").unwrap(), &d_rows.sum_axis(Axis(0)), 1e-13);
        }
    }
}

#[test]
fn dense_of_no_rows_has_gradients_of_zero() {
    let dense = Dense::<f64>::new(3, 2, &mut rng(1));
    let (d_x, gradients) = dense.backward(&Array3::zeros((0, 4, 3)), &Array3::zeros((0, 4, 2))).unwrap();
    assert_eq!(d_x.dim(), (0, 4, 3));
    assert_eq!(gradients, Gradients::zeros(&dense));
}

#[test]
fn dense_refuses_what_does_not_fit() {
    let dense = Dense::<f64>::new(3, 2, &mut rng(1));
    let error = dense.forward(&Array2::zeros((4, 2))).unwrap_err();
    assert_eq!(error, Error::ArrayShape { argument: "x".into(), expected: vec![4, 3], found: vec![4, 2] });
    assert_eq!(error.to_string(), "x has shape [4, 2], but must have [4, 3]");
    assert!(dense.forward(&ndarray::arr0(1.0)).is_err());
    let error = dense.backward(&Array2::zeros((4, 3)), &Array2::zeros((3, 2))).unwrap_err();
    assert_eq!(error, Error::ArrayShape { argument: "d_y".into(), expected: vec![4, 2], found: vec![3, 2] });
    let error = Dense::from_weights(Array2::<f64>::zeros((3, 2)), Some(array![0.0])).unwrap_err();
    assert_eq!(error, Error::ArrayShape { argument: "bias".into(), expected: vec![2], found: vec![1] });
    let error = Dense::from_weights(Array2::<f64>::zeros((3, 0)), None).unwrap_err();
    assert_eq!(error, Error::ZeroSize { argument: "output_size" });
}
