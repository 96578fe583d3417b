//! What surrounds the backward pass: layer, losses, clipping, optimizers; and what training as a whole promises.
//!
//! Reference numbers are from TensorFlow 2.15.1 (`tf.compat.v1`) in f64. Options are powers of two where TensorFlow
//! rounds them to f32.

use ndarray::{Array2, Array3, ArrayD, Axis, Dimension, array, s};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rnn_cell::train::{
    self, Adam, AdamBuilder, AdamW, Average, BoxedTrainableCell, Gradients, Optimizer, Parts, RmsProp, Schedule, Sgd,
    clip_by_global_norm, mean_squared_error, sequence_loss, sequence_losses, sequence_weights,
};
use rnn_cell::{
    BasicRnn, BidirectionalRnn, Dense, DynState, DynamicRnn, Error, Float, Gru, Lstm, LstmState, Parameters,
    ParametersMut,
};

fn rng(seed: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(seed)
}

fn random(shape: (usize, usize, usize), seed: u64) -> Array3<f64> {
    let mut rng = rng(seed);
    Array3::from_shape_simple_fn(shape, || rng.random_range(-1.0..1.0))
}

/// Every parameter by name.
fn values<E: Float, P: Parameters<E> + ?Sized>(parameters: &P) -> Vec<(String, ArrayD<E>)> {
    let mut values = Vec::new();
    parameters.visit_parameters(&mut |name, value| values.push((name.to_owned(), value.to_owned())));
    values
}

/// Loads what [`values`] saved, with the visitor.
fn set_values<E: Float, P: ParametersMut<E> + ?Sized>(parameters: &mut P, values: &[(String, ArrayD<E>)]) {
    let mut values = values.iter();
    parameters.visit_parameters_mut(&mut |name, mut to| {
        let (saved, value) = values.next().unwrap();
        assert_eq!(saved, name);
        to.assign(value);
    });
}

fn assert_close<'a>(
    what: &str,
    found: impl IntoIterator<Item = &'a f64>,
    expected: impl IntoIterator<Item = &'a f64>,
    tolerance: f64,
) {
    let (found, expected): (Vec<_>, Vec<_>) = (found.into_iter().collect(), expected.into_iter().collect());
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1.0_f64, |a, &&b| a.max(b.abs()));
    for (found, expected) in found.into_iter().zip(expected) {
        // Written so that NaN fails.
        let close = (found - expected).abs() <= tolerance * largest;
        assert!(close, "{what}: {found}, expected {expected}");
    }
}

/// Central differences of `loss` with respect to each number of `at`.
fn differences<D: Dimension>(
    at: &ndarray::Array<f64, D>,
    mut loss: impl FnMut(&ndarray::Array<f64, D>) -> f64,
) -> Vec<f64> {
    const STEP: f64 = 1e-5;
    let mut shifted = at.clone();
    let mut differences = Vec::new();
    for index in 0..at.len() {
        let mut set = |by: f64| {
            *shifted.iter_mut().nth(index).unwrap() = at.iter().nth(index).unwrap() + by;
            loss(&shifted)
        };
        differences.push((set(STEP) - set(-STEP)) / (2.0 * STEP));
        set(0.0);
    }
    differences
}

// ── Dense ──

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

// ── Losses ──

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

// ── Clipping and optimizers ──

fn small_model() -> Dense<f64> {
    Dense::from_weights(array![[0.5, -1.0], [2.0, 0.25]], Some(array![0.1, -0.3])).unwrap()
}

/// The gradients of step 0, 1, 2 of the reference runs.
fn small_gradients(step: i32) -> Gradients<f64> {
    let mut gradients = Gradients::zeros(&small_model());
    let scale = f64::from(step + 1) * (-0.7_f64).powi(step);
    gradients.arrays_mut()[0].assign(&(array![[0.1, -0.2], [0.3, -4.0]] * scale));
    gradients.arrays_mut()[1].assign(&(array![1e-3, 2.0] / f64::from(step + 1)));
    gradients
}

#[test]
fn clipping_is_that_of_tensorflow() {
    let mut gradients = small_gradients(0);
    assert_eq!(clip_by_global_norm(&mut gradients, 100.0).unwrap(), 4.487761245877503);
    assert_eq!(gradients, small_gradients(0));
    // tf.clip_by_global_norm([kernel, bias], 1.0)
    let norm = clip_by_global_norm(&mut gradients, 1.0).unwrap();
    assert_close("norm", [&norm], [&4.487761245877503], 1e-15);
    let kernel = [0.022282825337881083, -0.04456565067576217, 0.06684847601364324, -0.8913130135152433];
    assert_close("kernel", &gradients.arrays()[0], &kernel, 1e-15);
    assert_close("bias", &gradients.arrays()[1], &[2.2282825337881083e-4, 4.4565650675762164e-1], 1e-15);

    for bad in [f64::INFINITY, f64::NAN] {
        let mut gradients = small_gradients(0);
        gradients.arrays_mut()[0][[0, 0]] = bad;
        assert!(!clip_by_global_norm(&mut gradients, 1.0).unwrap().is_finite());
        assert!(gradients.arrays().iter().flatten().all(|g| g.is_nan()));
    }
    for clip_norm in [0.0, -1.0, f64::INFINITY, f64::NAN] {
        let error = clip_by_global_norm(&mut gradients, clip_norm).unwrap_err();
        assert!(matches!(error, Error::InvalidNumber { argument: "clip_norm", .. }), "{error}");
    }
}

#[test]
fn optimizers_are_those_of_tensorflow() {
    let f32_ = |number: f32| f64::from(number);
    let adam = |builder: AdamBuilder<f64>| Box::new(builder.build(&small_model()).unwrap()) as Box<dyn Optimizer<f64>>;
    let sgd = |momentum| {
        Box::new(Sgd::builder(0.125).momentum(momentum).build(&small_model()).unwrap()) as Box<dyn Optimizer<f64>>
    };
    // Three times apply_gradients of tf.train.GradientDescentOptimizer(0.125), MomentumOptimizer(0.125, 0.875),
    // AdamOptimizer(2**-4, 0.875, 0.9375, 2**-10) and AdamOptimizer(), whose defaults are rounded to f32. TensorFlow's
    // powers of those betas are rounded to f32 too: a relative 1e-6 of the steps of 0.001.
    let rounded = Adam::builder().learning_rate(f32_(0.001)).beta1(f32_(0.9)).beta2(f32_(0.999)).epsilon(f32_(1e-8));
    let options = Adam::builder().learning_rate(0.0625).beta1(0.875).beta2(0.9375).epsilon(1.0 / 1024.0);
    let cases = [
        (
            "gradient descent",
            sgd(0.0),
            [0.48662500000000003, -0.9732500000000001, 1.959875, 0.7849999999999999],
            [0.09977083333333335, -0.7583333333333334],
            1e-12,
        ),
        (
            "momentum",
            sgd(0.875),
            [0.4814296875, -0.962859375, 1.9442890625, 0.9928125],
            [0.09951106770833333, -1.2778645833333333],
            1e-12,
        ),
        (
            "Adam, defaults",
            adam(rounded),
            [0.4989282504746973, -0.9989282488910288, 1.9989282483631383, 0.25107175261346065],
            [0.09719548756969003, -0.30280532864677084],
            1e-8,
        ),
        (
            "Adam, unrounded defaults",
            adam(Adam::builder()),
            [0.4989282504746973, -0.9989282488910288, 1.9989282483631383, 0.25107175261346065],
            [0.09719548756969003, -0.30280532864677084],
            1e-8,
        ),
        (
            "Adam, options",
            adam(options),
            [0.43597781726472334, -0.9348276289223508, 1.9344345500212143, 0.31630589451428864],
            [0.06231655346319435, -0.4758752205132185],
            1e-12,
        ),
    ];
    for (name, mut optimizer, kernel, bias, tolerance) in cases {
        let mut model = small_model();
        for step in 0..3 {
            optimizer.apply_gradients(&mut model, &small_gradients(step)).unwrap();
        }
        assert_close(name, model.kernel(), &kernel, tolerance);
        assert_close(name, model.bias().unwrap(), &bias, tolerance);
    }
    // Each default is the number on its page.
    let written = Adam::builder().learning_rate(0.001).beta1(0.9).beta2(0.999).epsilon(1e-8);
    let [plain, written] = [Adam::builder(), written].map(|builder| {
        let (mut model, mut adam) = (small_model(), builder.build(&small_model()).unwrap());
        adam.apply_gradients(&mut model, &small_gradients(0)).unwrap();
        values(&model)
    });
    assert_eq!(plain, written);
}

#[test]
fn optimizers_refuse_what_does_not_fit() {
    let model = small_model();
    for bad in [-0.1, f64::NAN, f64::INFINITY] {
        assert!(matches!(
            Sgd::<f64>::builder(bad).build(&model),
            Err(Error::InvalidNumber { argument: "learning_rate", .. })
        ));
        assert!(matches!(
            Sgd::<f64>::builder(0.1).momentum(bad).build(&model),
            Err(Error::InvalidNumber { argument: "momentum", .. })
        ));
    }
    let adam =
        |change: fn(AdamBuilder<f64>) -> AdamBuilder<f64>| change(Adam::builder()).build(&small_model()).map(|_| ());
    let argument = |result: Result<(), Error>| match result {
        Err(Error::InvalidNumber { argument, .. }) => argument,
        other => panic!("{other:?}"),
    };
    assert_eq!(argument(adam(|o| o.learning_rate(-1.0))), "learning_rate");
    assert_eq!(argument(adam(|o| o.beta1(1.0))), "beta1");
    assert_eq!(argument(adam(|o| o.beta2(-0.1))), "beta2");
    assert_eq!(argument(adam(|o| o.epsilon(0.0))), "epsilon");

    let mut optimizer = Adam::builder().build(&model).unwrap();
    assert!(optimizer.set_learning_rate(f64::NAN).is_err());
    optimizer.set_learning_rate(0.5).unwrap();
    assert_eq!(optimizer.learning_rate(), 0.5);
    let mut sgd = Sgd::builder(0.1).build(&model).unwrap();
    assert!(sgd.set_learning_rate(-1.0).is_err());
    sgd.set_learning_rate(0.25).unwrap();
    assert_eq!(sgd.learning_rate(), 0.25);

    let without_bias = || Dense::from_weights(array![[0.5, -1.0], [2.0, 0.25]], None).unwrap();
    let before = (values(&optimizer), values(&model));
    let mut same = small_model();
    let error = optimizer.apply_gradients(&mut same, &Gradients::zeros(&without_bias())).unwrap_err();
    let expected = "parameter 1 of gradients is nothing, but the optimizer expects bias [2]";
    assert_eq!(error.to_string(), expected);
    let mut other = Dense::<f64>::new(2, 3, &mut rng(1));
    let error = optimizer.apply_gradients(&mut other, &small_gradients(0)).unwrap_err();
    let expected = "parameter 0 of model is kernel [2, 3], but the optimizer expects kernel [2, 2]";
    assert_eq!(error.to_string(), expected);
    assert_eq!((values(&optimizer), values(&same)), before);
}

#[test]
fn parts_and_joined_gradients_have_the_same_names() {
    let mut rng = rng(1);
    let (mut cell, mut dense) = (Gru::<f64>::new(2, 3, &mut rng), Dense::new(3, 1, &mut rng));
    let gradients = Gradients::join([("cell", Gradients::zeros(&cell)), ("dense", Gradients::zeros(&dense))]);
    let model = Parts::new([("cell", &mut cell), ("dense", &mut dense)]);
    assert_eq!(gradients, Gradients::zeros(&model));
    assert_eq!(gradients.get("dense/bias").unwrap().shape(), [1]);
    assert!(gradients.get("bias").is_none());
    let adam = Adam::builder().build(&model).unwrap();
    let names: Vec<String> = values(&adam).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names[0], "m/cell/gates/kernel");
    assert_eq!(names[names.len() - 2..], ["v/dense/bias", "step"]);
}

// ── Training as a whole ──

struct Training<O> {
    cell: Lstm<f32>,
    dense: Dense<f32>,
    optimizer: O,
}

impl<O: Optimizer<f32>> Training<O> {
    fn new(seed: u64, optimizer: impl Fn(&Parts<&mut dyn ParametersMut<f32>>) -> O) -> Self {
        let mut rng = rng(seed);
        let (mut cell, mut dense) = (Lstm::new(3, 7, &mut rng), Dense::new(7, 2, &mut rng));
        let optimizer = optimizer(&Parts::new([("cell", &mut cell), ("dense", &mut dense)]));
        Self { cell, dense, optimizer }
    }

    fn run(&mut self, steps: std::ops::Range<u64>) {
        for step in steps {
            let x = random((4, 6, 3), step).mapv(|x| x as f32);
            let targets = Array2::from_shape_fn((4, 6), |(row, step)| (row + step) % 2);
            let weights = sequence_weights(&[6, 3, 5, 1], 6).unwrap();
            let (outputs, _, tape) = train::dynamic_rnn(&self.cell, &x, Some(&[6, 3, 5, 1]), None).unwrap();
            let logits = self.dense.forward(&outputs).unwrap();
            let (_, d_logits) = sequence_loss(&logits, &targets, &weights).unwrap();
            let (d_outputs, dense) = self.dense.backward(&outputs, &d_logits).unwrap();
            let cell = tape.backward(&d_outputs).unwrap().parameters;
            let mut gradients = Gradients::join([("cell", cell), ("dense", dense)]);
            clip_by_global_norm(&mut gradients, 0.1).unwrap();
            let model = &mut Parts::new([("cell", &mut self.cell), ("dense", &mut self.dense)]);
            self.optimizer.apply_gradients(model, &gradients).unwrap();
        }
    }

    /// Everything that must be saved.
    fn all(&mut self) -> Parts<'_, &mut dyn ParametersMut<f32>> {
        Parts::new([("cell", &mut self.cell), ("dense", &mut self.dense), ("optimizer", &mut self.optimizer)])
    }
}

fn resumed_equals_unbroken<O: Optimizer<f32>>(optimizer: impl Fn(&Parts<&mut dyn ParametersMut<f32>>) -> O) {
    let mut unbroken = Training::new(1, &optimizer);
    unbroken.run(0..10);

    let mut stopped = Training::new(1, &optimizer);
    stopped.run(0..5);
    let saved = values(&stopped.all());
    let mut resumed = Training::new(99, &optimizer);
    set_values(&mut resumed.all(), &saved);
    #[cfg(feature = "safetensors")]
    {
        use rnn_cell::weights::safetensors;
        let file = safetensors::to_bytes(&stopped.all()).unwrap();
        resumed = Training::new(99, &optimizer);
        safetensors::from_bytes(&mut resumed.all(), &file).unwrap();
    }
    resumed.run(5..10);

    let bits = |training: &mut Training<O>| -> Vec<(String, Vec<u32>)> {
        let values = values(&training.all());
        values.into_iter().map(|(name, value)| (name, value.iter().map(|v| v.to_bits()).collect())).collect()
    };
    assert_eq!(bits(&mut resumed), bits(&mut unbroken));
    assert_ne!(bits(&mut stopped), bits(&mut unbroken));
}

#[test]
fn resumed_training_has_the_bits_of_training_that_did_not_stop() {
    resumed_equals_unbroken(|model| Adam::builder().build(model).unwrap());
    resumed_equals_unbroken(|model| Sgd::builder(0.1).momentum(0.9).build(model).unwrap());
    resumed_equals_unbroken(|model| RmsProp::builder(0.01).momentum(0.9).centered(true).build(model).unwrap());
    // The run stops in the middle of the schedule.
    let schedule = Schedule::cosine_decay(0.01, 5).warm_up(3);
    resumed_equals_unbroken(|model| AdamW::builder().learning_rate(schedule).build(model).unwrap());
}

#[test]
fn a_checkpoint_every_no_steps_is_refused() {
    let cell = Lstm::<f64>::new(1, 1, &mut rng(1));
    let error = DynamicRnn::new(&cell).checkpoint_every(0).record(&Array3::zeros((1, 1, 1))).err();
    assert_eq!(error, Some(Error::ZeroSize { argument: "checkpoint_every" }));
}

#[test]
fn both_directions_are_each_direction() {
    let mut rng = rng(11);
    let (cell_fw, cell_bw) = (Lstm::<f64>::new(3, 4, &mut rng), Gru::<f64>::new(3, 2, &mut rng));
    let x = random((3, 5, 3), 12);
    let (d_fw, d_bw) = (random((3, 5, 4), 13), random((3, 5, 2), 14));
    let half = |shape: (usize, usize)| Array2::from_elem(shape, 0.5);
    let initial = (LstmState { c: half((3, 4)), h: half((3, 4)) }, half((3, 2)));
    for lengths in [None, Some([5, 5, 5]), Some([3, 3, 3]), Some([2, 5, 0])] {
        let lengths = lengths.as_ref().map(|lengths| &lengths[..]);
        let (fw0, bw0) = (Some(initial.0.clone()), Some(initial.1.clone()));
        let ((fw, bw), states, tape) =
            train::bidirectional_dynamic_rnn(&cell_fw, &cell_bw, &x, lengths, fw0.clone(), bw0.clone()).unwrap();
        let (outputs, expected_states) =
            rnn_cell::bidirectional_dynamic_rnn(&cell_fw, &cell_bw, &x, lengths, fw0.clone(), bw0.clone()).unwrap();
        assert_eq!(((&fw, &bw), &states), ((&outputs.0, &outputs.1), &expected_states));
        assert!(bw.is_standard_layout());
        let gradients =
            tape.d_final_state_fw(states.0.clone()).d_final_state_bw(states.1.clone()).backward(&d_fw, &d_bw).unwrap();

        // Each direction alone, the backward one over a copy that is reversed row by row.
        let reversed = |from: &Array3<f64>| {
            let mut to = Array3::zeros(from.dim());
            for row in 0..3 {
                let length = lengths.map_or(5, |lengths| lengths[row]);
                to.slice_mut(s![row, ..length, ..]).assign(&from.slice(s![row, ..length;-1, ..]));
            }
            to
        };
        let (_, _, tape) = train::dynamic_rnn(&cell_fw, &x, lengths, fw0).unwrap();
        let alone_fw = tape.d_final_state(states.0).backward(&d_fw).unwrap();
        let x_reversed = reversed(&x);
        let (_, _, tape) = train::dynamic_rnn(&cell_bw, &x_reversed, lengths, bw0).unwrap();
        let alone_bw = tape.d_final_state(states.1).backward(&reversed(&d_bw)).unwrap();
        assert_close("inputs", &gradients.inputs, &(&alone_fw.inputs + &reversed(&alone_bw.inputs)), 1e-12);
        let expected = Gradients::join([("fw", alone_fw.parameters), ("bw", alone_bw.parameters)]);
        let names = |gradients: &Gradients<f64>| gradients.iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(names(&gradients.parameters), names(&expected));
        for (found, expected) in gradients.parameters.arrays().iter().zip(expected.arrays()) {
            assert_close("parameters", found, expected, 1e-12);
        }
        let (d_initial_fw, d_initial_bw) = gradients.initial_states;
        assert_close("initial c", &d_initial_fw.c, &alone_fw.initial_state.c, 1e-12);
        assert_close("initial h", &d_initial_fw.h, &alone_fw.initial_state.h, 1e-12);
        assert_close("initial bw", &d_initial_bw, &alone_bw.initial_state, 1e-12);
    }
}

#[test]
fn checkpoints_are_a_step_apart_or_more() {
    let (cell, x) = (Lstm::<f64>::new(1, 1, &mut rng(1)), Array3::zeros((1, 1, 1)));
    let error = Some(Error::ZeroSize { argument: "checkpoint_every" });
    assert_eq!(DynamicRnn::new(&cell).checkpoint_every(0).record(&x).err(), error);
    assert_eq!(BidirectionalRnn::new(&cell, &cell).checkpoint_every(0).record(&x).err(), error);
}

#[test]
fn a_tape_refuses_gradients_of_other_shapes() {
    let cell = Lstm::<f64>::builder(3, 4).num_proj(2).build(&mut rng(1)).unwrap();
    let x = random((2, 5, 3), 2);
    let state = |c, h| Some(LstmState { c: Array2::zeros(c), h: Array2::zeros(h) });
    let back = |every: Option<usize>, d_outputs: (usize, usize, usize), d_state| {
        let driver = DynamicRnn::new(&cell).sequence_length(&[5, 2]);
        let (_, _, tape) = match every {
            None => driver.record(&x).unwrap(),
            Some(every) => driver.checkpoint_every(every).record(&x).unwrap(),
        };
        let tape = match d_state {
            Some(d_state) => tape.d_final_state(d_state),
            None => tape,
        };
        tape.backward(&Array3::zeros(d_outputs)).map(|_| ())
    };
    for every in [None, Some(2)] {
        assert_eq!(back(every, (2, 5, 2), None), Ok(()));
        assert_eq!(back(every, (2, 5, 2), state((2, 4), (2, 2))), Ok(()));
        for wrong in [(1, 5, 2), (3, 5, 2), (2, 4, 2), (2, 6, 2), (2, 5, 1), (2, 5, 4), (5, 2, 2), (0, 0, 0)] {
            let (expected, found) = (vec![2, 5, 2], <[usize; 3]>::from(wrong).to_vec());
            let error = Error::ArrayShape { argument: "d_outputs".into(), expected, found };
            assert_eq!(back(every, wrong, None), Err(error));
        }
        for (c, h, leaf, expected, found) in [
            ((1, 4), (2, 2), 0, (2, 4), (1, 4)),
            ((3, 4), (3, 2), 0, (2, 4), (3, 4)),
            ((2, 2), (2, 2), 0, (2, 4), (2, 2)),
            ((2, 4), (2, 4), 1, (2, 2), (2, 4)),
            ((2, 4), (1, 2), 1, (2, 2), (1, 2)),
        ] {
            let error = Error::StateShape { argument: "d_final_state".into(), leaf, expected, found };
            assert_eq!(back(every, (2, 5, 2), state(c, h)), Err(error));
        }
    }
    // A state with another number of leaves, which only types known at run time can have.
    let cell = BoxedTrainableCell::new(cell);
    let (_, _, tape) = train::dynamic_rnn(&cell, &x, None, None).unwrap();
    let error = tape.d_final_state(DynState::new(Array2::zeros((2, 4)))).backward(&Array3::zeros((2, 5, 2))).err();
    assert_eq!(error, Some(Error::StateLeaves { argument: "d_final_state".into(), expected: 2, found: 1 }));
}

#[test]
fn both_directions_refuse_what_does_not_fit() {
    let (three, four) = (BasicRnn::<f64>::new(3, 2, &mut rng(1)), BasicRnn::<f64>::new(4, 2, &mut rng(1)));
    let x = Array3::zeros((2, 5, 3));
    let error = train::bidirectional_dynamic_rnn(&three, &four, &x, None, None, None).err();
    assert_eq!(error, Some(Error::CellInputSize { cell: "cell_bw".into(), expected: 3, found: 4 }));
    let wrong = Array2::zeros((1, 2));
    let error = train::bidirectional_dynamic_rnn(&three, &three, &x, None, None, Some(wrong.clone())).err().unwrap();
    let message = "leaf 0 of initial_state_bw is (1, 2), but must be (2, 2) (batch, features)";
    assert_eq!(error.to_string(), message);
    let d = Array3::zeros((2, 5, 2));
    let outputs = |name: &str| format!("{name} has shape [2, 5, 3], but must have [2, 5, 2]");
    let state = |name: &str| message.replace("initial_state_bw", name);
    let tape = || train::bidirectional_dynamic_rnn(&three, &three, &x, None, None, None).unwrap().2;
    for (result, message) in [
        (tape().backward(&x, &d), outputs("d_outputs_fw")),
        (tape().backward(&d, &x), outputs("d_outputs_bw")),
        (tape().d_final_state_fw(wrong.clone()).backward(&d, &d), state("d_final_state_fw")),
        (tape().d_final_state_bw(wrong.clone()).backward(&d, &d), state("d_final_state_bw")),
    ] {
        assert_eq!(result.err().unwrap().to_string(), message);
    }
}
