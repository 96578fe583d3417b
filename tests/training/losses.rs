//! Losses.
//!
//! Reference numbers are from TensorFlow 2.15.1 (`tf.compat.v1`) in f64.

use super::recorded_runs::{assert_close, differences};
use ndarray::{Array2, Array3, array, s};
use rnn_cell::Error;
use rnn_cell::train::{Average, mean_squared_error, sequence_loss, sequence_losses, sequence_weights};

/// logits[b, t, k] = 3 · sin(1.3 · (12 b + 4 t + k) + 0.2), (2, 3, 4); targets; weights.
fn loss_case() -> (Array3<f64>, Array2<usize>, Array2<f64>) {
    let logits = Array3::from_shape_fn((2, 3, 4), |(b, t, k)| 3.0 * ((12 * b + 4 * t + k) as f64 * 1.3 + 0.2).sin());
    (logits, array![[0, 3, 1], [2, 2, 0]], array![[1.0, 0.5, 0.0], [2.0, 1.0, 0.25]])
}

/// The averaging, the shape and numbers of the losses, and the first gradients.
type LossCase<'a> = (Average, &'a [usize], &'a [f64], [f64; 4]);

#[test]
fn sequence_loss_is_that_of_tensorflow() {
    let (logits, targets, weights) = loss_case();
    // tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits) * weights, and its sums divided by those of the
    // weights, as tf.contrib.seq2seq does in TensorFlow 1.15.
    let cases: [LossCase; 4] = [
        (
            Average::TimestepsAndBatch,
            &[],
            &[3.589199743517212],
            [-0.19497436901250867, 0.17082895502193923, 0.02340950844265707, 0.0007359055479123919],
        ),
        (
            Average::Timesteps,
            &[2],
            &[2.6770046726216736, 4.010212853161307],
            [-0.6174188352062775, 0.5409583575694742, 0.07413011006841405, 0.0023303675683892413],
        ),
        (
            Average::Batch,
            &[3],
            &[3.3124768481163276, 4.6616131643129615, 0.47539396355332963],
            [-0.30870941760313875, 0.2704791787847371, 0.037065055034207026, 0.0011651837841946207],
        ),
        (
            Average::Neither,
            &[2, 3],
            &[2.605424835486413, 1.4100821734460975, 0.0, 7.33200570886257, 5.582337573023344, 0.11884849088833241],
            [-0.9261282528094162, 0.8114375363542113, 0.11119516510262108, 0.003495551352583862],
        ),
    ];
    for (average, shape, expected, first) in cases {
        let (losses, d_logits) = sequence_losses(&logits, &targets, &weights, average).unwrap();
        assert_eq!(losses.shape(), shape, "{average:?}");
        assert_close(&format!("{average:?}"), &losses, expected, 1e-13);
        assert_close(&format!("{average:?}, gradient"), d_logits.slice(s![0, 0, ..]), &first, 1e-14);
        let difference = |logits: &Array3<f64>| sequence_losses(logits, &targets, &weights, average).unwrap().0.sum();
        assert_close(&format!("{average:?}, differences"), &d_logits, &differences(&logits, difference), 1e-9);
    }
    let (loss, _) = sequence_loss(&logits, &targets, &weights).unwrap();
    assert_close("sequence_loss", [&loss], [&3.589199743517212], 1e-13);
}

#[test]
fn a_weight_of_zero_is_not_looked_at() {
    let (mut logits, mut targets, weights) = loss_case();
    let expected = sequence_loss(&logits, &targets, &weights).unwrap();
    logits.slice_mut(s![0, 2, ..]).fill(f64::NAN);
    targets[[0, 2]] = 99;
    assert_eq!(sequence_loss(&logits, &targets, &weights).unwrap(), expected);
    let (loss, d_logits) = sequence_loss(&logits, &targets, &Array2::zeros((2, 3))).unwrap();
    assert_eq!((loss, d_logits), (0.0, Array3::zeros((2, 3, 4))));
    targets[[0, 2]] = 0;
    let (loss, _) = sequence_loss(&logits, &targets, &Array2::ones((2, 3))).unwrap();
    assert!(loss.is_nan());
}

#[test]
fn sequence_loss_takes_any_logits() {
    let loss = |logits: Array3<f64>| sequence_loss(&logits, &array![[0]], &array![[1.0]]).unwrap();
    let (value, d) = loss(array![[[1e4, -1e4, 0.0]]]);
    assert_eq!((value, d), (0.0, array![[[0.0, 0.0, 0.0]]]));
    let (value, d) = loss(array![[[-1e4, 1e4, 0.0]]]);
    assert_close("far off", [&value], [&2e4], 1e-11);
    assert_close("far off", &d, &[-1.0, 1.0, 0.0], 1e-11);
    let (value, d) = loss(array![[[0.0, f64::NAN, 0.0]]]);
    assert!(value.is_nan() && d.iter().all(|d| d.is_nan()));
}

#[test]
fn sequence_loss_refuses_what_does_not_fit() {
    let (logits, mut targets, weights) = loss_case();
    let error = sequence_loss(&logits, &array![[0, 0, 0]], &weights).unwrap_err();
    assert_eq!(error, Error::ArrayShape { argument: "targets".into(), expected: vec![2, 3], found: vec![1, 3] });
    let error = sequence_loss(&logits, &targets, &array![[1.0], [1.0]]).unwrap_err();
    assert_eq!(error, Error::ArrayShape { argument: "weights".into(), expected: vec![2, 3], found: vec![2, 1] });
    targets[[1, 1]] = 4;
    let error = sequence_loss(&logits, &targets, &weights).unwrap_err();
    assert_eq!(error.to_string(), "targets[1, 1] is 4, but there are only 4 classes");
}

#[test]
fn sequence_weights_are_one_up_to_the_length() {
    let weights = sequence_weights::<f32>(&[2, 0, 3], 3).unwrap();
    assert_eq!(weights, array![[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]);
    let error = sequence_weights::<f32>(&[1, 4], 3).unwrap_err();
    assert_eq!(error.to_string(), "sequence_length[1] is 4, but there are only 3 steps");
}

#[test]
fn mean_squared_error_is_that_of_tensorflow() {
    let (predictions, targets) = (array![[1.0, 2.0], [-0.5, 4.0]], array![[0.5, 2.5], [0.5, 1.0]]);
    // tf.losses.mean_squared_error and tf.gradients of it.
    let (loss, d) = mean_squared_error(&predictions, &targets).unwrap();
    assert_eq!((loss, d), (2.625, array![[0.25, -0.25], [-0.5, 1.5]]));
    let empty = Array2::<f64>::zeros((0, 2));
    assert_eq!(mean_squared_error(&empty, &empty).unwrap().0, 0.0);
    let error = mean_squared_error(&predictions, &array![[0.0, 1.0]]).unwrap_err();
    assert_eq!(error, Error::ArrayShape { argument: "targets".into(), expected: vec![2, 2], found: vec![1, 2] });
}
