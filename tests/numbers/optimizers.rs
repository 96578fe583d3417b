//! Optimizers and schedules against PyTorch's and optax's numbers, which `tools/optimizer_fixture.py` wrote.

use crate::{array, assert_near, numbers};
use ndarray::{Array2, ArrayD};
use rnn_cell::train::{Adam, AdamBuilder, AdamW, Gradients, Optimizer, RmsProp, Schedule, Sgd};
use rnn_cell::{Dense, Error, Float, Parameters, ParametersMut};
use serde_json::Value;

fn fixture() -> Value {
    serde_json::from_str(include_str!("../fixtures/optimizers.json")).unwrap()
}

/// A kernel (2, 3) and a bias (3).
fn model<E: Float>(values: &Value) -> Dense<E> {
    Dense::from_weights(array(&values["kernel"], (2, 3)), Some(array(&values["bias"], 3))).unwrap()
}

fn gradients<E: Float>(values: &Value) -> Gradients<E> {
    Gradients::of(model::<E>(values))
}

type Boxed<E> = Box<dyn Optimizer<E>>;

/// The optimizers of the fixture's cases, by name.
fn optimizer<E: Float + 'static>(name: &str, model: &Dense<E>) -> Result<Boxed<E>, Error> {
    let adam = |options: AdamBuilder<E>| -> Result<Boxed<E>, Error> { Ok(Box::new(options.build(model)?)) };
    let sgd = Sgd::builder(0.05).momentum(0.9).weight_decay(0.1);
    let rms = |rate| RmsProp::builder(rate).decay(0.8).epsilon(1e-4);
    let options = |builder: AdamBuilder<E>| builder.learning_rate(0.1).beta1(0.8).beta2(0.95).epsilon(0.01);
    match name {
        "sgd_decay" => Ok(Box::new(sgd.build(model)?)),
        "nesterov" => Ok(Box::new(sgd.nesterov(true).build(model)?)),
        "adam" => adam(options(Adam::builder().epsilon_after_correction(true))),
        "adam_decay" => adam(options(Adam::builder().epsilon_after_correction(true)).weight_decay(0.3)),
        "adamw" => adam(options(AdamW::builder()).weight_decay(0.3)),
        "adamw_defaults" => adam(AdamW::builder()),
        "adamw_kernel" => {
            adam(AdamW::builder().learning_rate(0.1).weight_decay(0.3).weight_decay_of(|name| name == "kernel"))
        }
        "rms" => Ok(Box::new(rms(0.1).build(model)?)),
        "rms_momentum" => Ok(Box::new(rms(0.1).momentum(0.7).build(model)?)),
        "rms_centered" => Ok(Box::new(rms(0.1).momentum(0.7).centered(true).build(model)?)),
        "adamw_cosine" => {
            let cosine = Schedule::cosine_decay(0.3, 4).alpha(0.1).warm_up(2);
            adam(options(AdamW::builder()).learning_rate(cosine).weight_decay(0.3))
        }
        "sgd_exponential" => {
            Ok(Box::new(Sgd::builder(Schedule::exponential_decay(0.3, 3, 0.5)).momentum(0.9).build(model)?))
        }
        other => panic!("no optimizer {other}"),
    }
}

fn values<E: Float, P: Parameters<E> + ?Sized>(parameters: &P) -> Vec<(String, ArrayD<E>)> {
    let mut values = Vec::new();
    parameters.visit_parameters(&mut |name, array| values.push((name.to_owned(), array.to_owned())));
    values
}

fn set_values<E: Float, P: ParametersMut<E> + ?Sized>(parameters: &mut P, values: &[(String, ArrayD<E>)]) {
    let mut values = values.iter();
    parameters.visit_parameters_mut(&mut |name, mut array| {
        let (from, value) = values.next().unwrap();
        assert_eq!(from, name);
        array.assign(value);
    });
    assert!(values.next().is_none());
}

fn check<E: Float + 'static>(tolerance: f64) {
    let fixture = fixture();
    let cases = fixture["cases"].as_object().unwrap();
    assert_eq!(cases.len(), 12);
    for (name, expected) in cases {
        let mut model = model::<E>(&fixture["start"]);
        let mut optimizer = optimizer(name, &model).unwrap();
        for step in fixture["gradients"].as_array().unwrap() {
            optimizer.apply_gradients(&mut model, &gradients(step)).unwrap();
        }
        for (weight, found) in values(&model) {
            assert_near(&format!("{name}, {weight}"), &found, &expected[&weight], tolerance);
        }
    }
}

#[test]
fn optimizers_take_the_steps_of_pytorch_and_optax() {
    check::<f64>(1e-13);
    check::<f32>(2e-6);
}

#[test]
fn schedules_are_those_of_optax() {
    let fixture = fixture();
    let schedules = [
        ("exponential", Schedule::exponential_decay(0.3, 3, 0.5)),
        ("staircase", Schedule::exponential_decay(0.3, 3, 0.5).staircase(true)),
        ("cosine", Schedule::cosine_decay(0.3, 8).alpha(0.1)),
        ("cosine_warm_up", Schedule::cosine_decay(0.3, 8).alpha(0.1).warm_up(4)),
        ("warm_up", Schedule::constant(0.3).warm_up(5)),
    ];
    assert_eq!(fixture["schedules"].as_object().unwrap().len(), schedules.len());
    for (name, schedule) in schedules {
        for (step, expected) in numbers(&fixture["schedules"][name]).into_iter().enumerate() {
            let found = schedule.at(step);
            assert!((found - expected).abs() < 1e-15, "{name}, step {step}: {found}, not {expected}");
        }
    }
    // What other schedules ignore.
    assert_eq!(Schedule::constant(0.3).alpha(0.1).staircase(true), Schedule::from(0.3));
}

/// Stops after `taken` steps, saves, and loads into a new optimizer.
#[test]
fn optimizers_resume_to_the_same_bits_with_their_schedule() {
    let fixture = fixture();
    let steps = fixture["gradients"].as_array().unwrap();
    for name in fixture["cases"].as_object().unwrap().keys() {
        let run = |from: usize, to: usize, model: &mut Dense<f32>, optimizer: &mut dyn Optimizer<f32>| {
            for step in &steps[from..to] {
                optimizer.apply_gradients(model, &gradients(step)).unwrap();
            }
        };
        let mut unbroken = (model(&fixture["start"]), optimizer(name, &model(&fixture["start"])).unwrap());
        run(0, 7, &mut unbroken.0, &mut *unbroken.1);

        let mut stopped = (model(&fixture["start"]), optimizer(name, &model(&fixture["start"])).unwrap());
        run(0, 3, &mut stopped.0, &mut *stopped.1);
        let mut resumed = (model(&fixture["gradients"][0]), optimizer(name, &model(&fixture["start"])).unwrap());
        set_values(&mut resumed.0, &values(&stopped.0));
        set_values(&mut *resumed.1, &values(&*stopped.1));
        assert_eq!(resumed.1.learning_rate(), stopped.1.learning_rate());
        assert_eq!((resumed.1.steps(), unbroken.1.steps()), (3, 7));
        run(3, 7, &mut resumed.0, &mut *resumed.1);
        assert_eq!(resumed.0, unbroken.0, "{name}");
        assert_eq!(values(&*resumed.1), values(&*unbroken.1), "{name}");
        assert_ne!(stopped.0, unbroken.0, "{name}");
    }
}

#[test]
fn a_rate_that_is_set_replaces_the_schedule() {
    let model = Dense::<f64>::from_weights(Array2::zeros((1, 1)), None).unwrap();
    let mut sgd = Sgd::builder(Schedule::cosine_decay(0.3, 8).warm_up(2)).build(&model).unwrap();
    assert_eq!(sgd.learning_rate(), 0.0);
    sgd.set_learning_rate(0.25).unwrap();
    assert_eq!(sgd.learning_rate(), 0.25);
    assert!(sgd.set_learning_rate(f64::NAN).is_err());
    let mut rms = RmsProp::<f64>::builder(0.1).build(&model).unwrap();
    rms.set_learning_rate(0.5).unwrap();
    assert_eq!(rms.learning_rate(), 0.5);
}

/// Rounding alone makes the variance of equal gradients negative.
#[test]
fn a_centered_rms_prop_stays_finite_without_variance() {
    let mut model = Dense::<f32>::from_weights(Array2::ones((1, 1000)), None).unwrap();
    let mut optimizer = RmsProp::builder(1e-3).centered(true).build(&model).unwrap();
    let mut gradients = Gradients::zeros(&model);
    gradients.arrays_mut()[0].indexed_iter_mut().for_each(|(at, g)| *g = 100.0 + at[1] as f32 * 0.37);
    for _ in 0..300 {
        optimizer.apply_gradients(&mut model, &gradients).unwrap();
    }
    assert!(model.kernel().iter().all(|weight| weight.is_finite()), "{:?}", model.kernel());
}

#[test]
fn what_they_remember_has_names() {
    let model = Dense::<f64>::from_weights(Array2::zeros((1, 2)), None).unwrap();
    let names = |parameters: &dyn Parameters<f64>| -> Vec<String> {
        values(parameters)
            .into_iter()
            .map(|(name, array)| format!("{name} {:?} {}", array.shape(), array.sum()))
            .collect()
    };
    let centered = RmsProp::builder(0.1).centered(true).build(&model).unwrap();
    assert_eq!(
        names(&centered),
        ["rms/kernel [1, 2] 2", "momentum/kernel [1, 2] 0", "mg/kernel [1, 2] 0", "step [] 0"]
    );
    assert_eq!(names(&RmsProp::builder(0.1).build(&model).unwrap()).len(), 3);
    assert_eq!(names(&Sgd::builder(0.1).build(&model).unwrap()), ["momentum/kernel [1, 2] 0", "step [] 0"]);
}

#[test]
fn options_out_of_range_are_errors() {
    let model = Dense::<f64>::from_weights(Array2::zeros((1, 1)), None).unwrap();
    let message = |result: Result<Boxed<f64>, Error>| match result {
        Err(error) => error.to_string(),
        Ok(_) => panic!("no error"),
    };
    let sgd = |schedule: Schedule| -> Result<Boxed<f64>, Error> { Ok(Box::new(Sgd::builder(schedule).build(&model)?)) };
    assert_eq!(message(sgd((-0.1).into())), "learning_rate is -0.1, but must be finite and at least 0");
    assert_eq!(message(sgd(Schedule::cosine_decay(0.1, 0))), "decay_steps is 0, but must be at least 1");
    assert_eq!(message(sgd(Schedule::exponential_decay(0.1, 0, 0.5))), "decay_steps is 0, but must be at least 1");
    let error = message(sgd(Schedule::exponential_decay(0.1, 5, 0.0)));
    assert_eq!(error, "decay_rate is 0, but must be finite and above 0");
    for alpha in [-0.1, 1.1, f64::NAN] {
        let error = message(sgd(Schedule::cosine_decay(0.1, 5).alpha(alpha)));
        assert_eq!(error, format!("alpha is {alpha}, but must be from 0 to 1"));
    }
    for bad in [-0.1, f64::NAN, f64::INFINITY] {
        let errors = [
            message(Sgd::builder(0.1).weight_decay(bad).build(&model).map(|o| Box::new(o) as _)),
            message(AdamW::builder().weight_decay(bad).build(&model).map(|o| Box::new(o) as _)),
            message(RmsProp::builder(0.1).weight_decay(bad).build(&model).map(|o| Box::new(o) as _)),
        ];
        for error in errors {
            assert_eq!(error, format!("weight_decay is {bad}, but must be finite and at least 0"));
        }
    }
    let rms = || RmsProp::<f64>::builder(0.1);
    for (argument, options) in
        [("decay", rms().decay(1.0)), ("momentum", rms().momentum(-0.1)), ("epsilon", rms().epsilon(0.0))]
    {
        let error = options.build(&model).unwrap_err();
        assert!(error.to_string().starts_with(&format!("{argument} is ")), "{error}");
    }
    let mut rms = rms().build(&model).unwrap();
    let mut other = Dense::<f64>::from_weights(Array2::zeros((1, 2)), None).unwrap();
    let zeros = Gradients::zeros(&other);
    assert!(matches!(rms.apply_gradients(&mut other, &zeros), Err(Error::OptimizerParameter { .. })));
    assert_eq!(values(&rms).last().unwrap().1.sum(), 0.0, "an error counts no step");
}
