//! Residual functions of one's own with their derivative, alone and inside other cells.

use crate::differences::*;
use ndarray::{ArrayRef2, Zip, s};
use rnn_cell::train::{BoxedTrainableCell, TrainableCell, gradient_error};
use rnn_cell::wrappers::ResidualBack;
use rnn_cell::{DynamicRnn, Gru, Lstm, MultiRnnCell, ResidualWrapper, RnnCell};

/// y² + x₀ y, whose width is not that of x.
fn residual(x: &ArrayRef2<f64>, y: &mut ArrayRef2<f64>) {
    for (x, mut y) in x.outer_iter().zip(y.outer_iter_mut()) {
        y.mapv_inplace(|y| y * y + x[0] * y);
    }
}

fn derivative(back: &mut ResidualBack<'_, f64>) {
    for row in 0..back.inputs.nrows() {
        let (x, y, d) = (back.inputs[[row, 0]], back.outputs.row(row), back.d_joined.row(row));
        back.d_inputs[[row, 0]] += (&y * &d).sum();
        Zip::from(back.d_outputs.row_mut(row)).and(y).and(d).for_each(|d_y, &y, &d| *d_y += d * (2.0 * y + x));
    }
}

fn wrapped<C: TrainableCell<Elem = f64>>(cell: C) -> impl TrainableCell<Elem = f64, State = C::State> {
    ResidualWrapper::with_residual_fns(cell, residual, derivative)
}

#[test]
fn gradients_are_differences() {
    let rng = &mut rng(41);
    let x = random((3, 5, 3), rng);
    let mut lstm = wrapped(Lstm::<f64>::new(3, 4, rng));
    let state = random_state(lstm.zero_state(3), rng);
    assert!(gradient_error(&mut lstm, &x, Some(&[5, 0, 3]), Some(state)).unwrap() < 1e-8);
    let mut twice = wrapped(wrapped(Gru::<f64>::new(3, 2, rng)));
    assert!(gradient_error(&mut twice, &x, None, None).unwrap() < 1e-8);
    let below = ResidualWrapper::with_residual_fns(Gru::<f64>::new(3, 2, rng), residual, derivative);
    let layers = vec![BoxedTrainableCell::new(below), BoxedTrainableCell::new(Lstm::new(2, 2, rng))];
    let mut stack = MultiRnnCell::new(layers).unwrap();
    assert!(gradient_error(&mut stack, &x, Some(&[4, 5, 1]), None).unwrap() < 1e-8);
}

/// A run without a record gives the same, and checkpoints change no gradient beyond rounding.
#[test]
fn recorded_and_checkpointed_runs_are_plain_runs() {
    let rng = &mut rng(42);
    let (cell, x) = (wrapped(Gru::<f64>::new(3, 2, rng)), random((2, 6, 3), rng));
    let plain = ResidualWrapper::with_residual_fn(Gru::<f64>::new(3, 2, &mut crate::differences::rng(42)), residual);
    let driver = || DynamicRnn::new(&cell).sequence_length(&[6, 4]);
    let (expected, _) = driver().run(&x).unwrap();
    assert_eq!(DynamicRnn::new(&plain).sequence_length(&[6, 4]).run(&x).unwrap().0, expected);
    let (outputs, _, tape) = driver().record(&x).unwrap();
    let (again, _, checkpointed) = driver().checkpoint_every(2).record(&x).unwrap();
    assert_eq!((&outputs, &again), (&expected, &expected));
    let [a, b] = [tape, checkpointed].map(|tape| tape.backward(&outputs).unwrap());
    let close = |a: &f64, b: &f64| assert!((a - b).abs() < 1e-13);
    a.inputs.iter().zip(&b.inputs).for_each(|(a, b)| close(a, b));
    assert!(a.inputs.slice(s![1, 4.., ..]).iter().all(|&d| d == 0.0));
    let numbers = |arrays: &[ndarray::ArrayD<f64>]| arrays.iter().flatten().copied().collect::<Vec<_>>();
    let (a, b) = (numbers(a.parameters.arrays()), numbers(b.parameters.arrays()));
    a.iter().zip(&b).for_each(|(a, b)| close(a, b));
}
