//! Batch normalizations that are folded into the next layer, against the normalization computed apart.

use crate::{bits, input, randomized, rng};
use ndarray::{Array1, Array3, array};
use rnn_cell::weights::{BatchNorm, Normalizable, Tensors, flax, keras, pytorch, tensorflow};
use rnn_cell::{BasicRnn, Dense, Error, Gru, GruReset, Lstm, RnnCell, dynamic_rnn};

const EPSILON: f64 = 0.01;

fn vectors() -> [Array1<f64>; 4] {
    [array![2.0, -0.5, 1.5], array![0.3, 0.0, -1.0], array![0.1, -0.2, 0.7], array![0.5, 2.0, 0.04]]
}

fn tensors(names: [&str; 4]) -> Tensors<'static, f64> {
    let mut tensors = Tensors::new();
    for (name, vector) in names.into_iter().zip(vectors()) {
        tensors.insert(format!("norm/{name}"), vector);
    }
    tensors
}

fn norm() -> BatchNorm<f64> {
    let mut tensors = tensors(["gamma", "beta", "moving_mean", "moving_variance"]);
    let norm = keras::batch_norm(&mut tensors, "norm/", EPSILON).unwrap();
    tensors.finish().unwrap();
    norm
}

/// What the framework computes.
fn normalized(x: &Array3<f64>) -> Array3<f64> {
    let [gamma, beta, mean, variance] = vectors();
    let mut x = x.clone();
    for mut row in x.rows_mut() {
        for i in 0..3 {
            row[i] = gamma[i] * (row[i] - mean[i]) / (variance[i] + EPSILON).sqrt() + beta[i];
        }
    }
    x
}

fn near(a: &Array3<f64>, b: &Array3<f64>) {
    let error = (a - b).iter().fold(0.0_f64, |most, d| most.max(d.abs()));
    assert!(error < 1e-14, "{error:e}");
}

#[test]
fn every_frameworks_names_are_read() {
    for (mut tensors, import) in [
        (
            tensors(["gamma", "beta", "moving_mean", "moving_variance"]),
            tensorflow::batch_norm as fn(&mut Tensors<'_, f64>, &str, f64) -> Result<BatchNorm<f64>, Error>,
        ),
        (tensors(["weight", "bias", "running_mean", "running_var"]), pytorch::batch_norm),
        (tensors(["scale", "bias", "mean", "var"]), flax::batch_norm),
    ] {
        tensors.insert("norm/num_batches_tracked", array![7.0]);
        assert_eq!(import(&mut tensors, "norm/", EPSILON), Ok(norm()));
        tensors.retain(|name| name != "norm/num_batches_tracked");
        tensors.finish().unwrap();
    }
    let mut tensors = tensors(["weight", "bias", "running_mean", "running_var"]);
    tensors.insert("norm/num_batches_tracked", array![7.0]);
    pytorch::batch_norm(&mut tensors, "norm/", EPSILON).unwrap();
    tensors.finish().unwrap();
}

fn folded_cell<C: RnnCell<Elem = f64> + Normalizable<f64> + Clone>(cell: &C) {
    let mut folded = cell.clone();
    norm().fold_into(&mut folded).unwrap();
    let x = input(1);
    let run = |cell: &C, x: &Array3<f64>| dynamic_rnn(cell, x, None, None).unwrap().0;
    near(&run(&folded, &x), &run(cell, &normalized(&x)));
}

#[test]
fn cells_compute_what_was_normalized() {
    let rng = &mut rng(1);
    folded_cell(&randomized(BasicRnn::<f64>::new(3, 4, rng), 1));
    folded_cell(&randomized(Lstm::<f64>::new(3, 4, rng), 2));
    let options = Lstm::<f64>::builder(3, 4).use_peepholes(true).num_proj(2).cell_clip(1.0).forget_bias(0.5);
    folded_cell(&randomized(options.build(rng).unwrap(), 3));
    for reset in [GruReset::Before, GruReset::After] {
        folded_cell(&randomized(Gru::<f64>::builder(3, 4).reset(reset).build(rng).unwrap(), 4));
    }
    let dense = randomized(Dense::<f64>::new(3, 2, rng), 5);
    let mut folded = dense.clone();
    norm().fold_into(&mut folded).unwrap();
    let x = input(2);
    near(&folded.forward(&x).unwrap(), &dense.forward(&normalized(&x)).unwrap());
}

#[test]
fn without_gamma_and_beta_they_are_1_and_0() {
    let mut plain = tensors(["no", "none", "moving_mean", "moving_variance"]);
    let plain = keras::batch_norm(&mut plain, "norm/", EPSILON).unwrap();
    let mut said = tensors(["no", "none", "moving_mean", "moving_variance"]);
    said.insert("norm/gamma", array![1.0, 1.0, 1.0]);
    said.insert("norm/beta", array![0.0, 0.0, 0.0]);
    assert_eq!(Ok(plain), keras::batch_norm(&mut said, "norm/", EPSILON));
}

#[test]
fn what_does_not_fit_is_an_error_and_changes_nothing() {
    let rng = &mut rng(1);
    let mut wide = Lstm::<f64>::new(5, 4, rng);
    let before = bits(&wide);
    let error = norm().fold_into(&mut wide).unwrap_err();
    assert_eq!(error.to_string(), "the normalization has shape [3], but must have [5]");
    assert_eq!(bits(&wide), before);
    let mut bare = Gru::<f64>::builder(3, 4).use_bias(false).build(rng).unwrap();
    let before = bits(&bare);
    let error = norm().fold_into(&mut bare).unwrap_err();
    assert_eq!(error.to_string(), "a batch normalization has a layer with a bias, but the cell has none");
    assert_eq!(bits(&bare), before);
    // Without a shift it needs no bias.
    let mut tensors = tensors(["gamma", "none", "no", "moving_variance"]);
    tensors.insert("norm/moving_mean", array![0.0, 0.0, 0.0]);
    keras::batch_norm(&mut tensors, "norm/", EPSILON).unwrap().fold_into(&mut bare).unwrap();
    assert_ne!(bits(&bare), before);

    let names = ["gamma", "beta", "moving_mean", "moving_variance"];
    for epsilon in [-1.0, f64::NAN, f64::INFINITY] {
        let error = keras::batch_norm(&mut self::tensors(names), "norm/", epsilon).unwrap_err();
        assert!(matches!(error, Error::InvalidNumber { argument: "epsilon", .. }), "{error}");
    }
    for (name, shape) in
        [("gamma", vec![4]), ("beta", vec![2]), ("moving_mean", vec![3, 1]), ("moving_variance", vec![])]
    {
        let mut tensors = self::tensors(names);
        tensors.insert(format!("norm/{name}"), ndarray::ArrayD::zeros(shape));
        let error = keras::batch_norm(&mut tensors, "norm/", EPSILON).unwrap_err();
        assert!(
            matches!(&error, Error::TensorShape { name: found, .. } if *found == format!("norm/{name}")),
            "{error}"
        );
    }
    for name in ["moving_mean", "moving_variance"] {
        let mut tensors = self::tensors(names);
        tensors.retain(|other| !other.ends_with(name));
        let error = keras::batch_norm(&mut tensors, "norm/", EPSILON).unwrap_err();
        assert!(matches!(&error, Error::MissingWeight { name: found, .. } if found.ends_with(name)), "{error}");
    }
}
