//! Clipping and optimizers.
//!
//! Reference numbers are from TensorFlow 2.15.1 (`tf.compat.v1`) in f64. Options are powers of two where TensorFlow
//! rounds them to f32.

use super::recorded_runs::{assert_close, rng, values};
use ndarray::array;
use rnn_cell::train::{Adam, AdamBuilder, Gradients, Optimizer, Parts, Sgd, clip_by_global_norm};
use rnn_cell::{Dense, Error, Gru};

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
