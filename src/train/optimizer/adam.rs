//! [`Adam`]: an optimizer with its own step size for each number; [`AdamW`], its defaults in PyTorch.

use super::decay::{WeightDecay, weight_decay_options};
use super::schedule::{Clock, Schedule, clock_methods};
use super::slots::Slots;
use super::{Optimizer, check_decay};
use crate::checks::check_positive;
use crate::train::Gradients;
use crate::{Error, Float, Parameters, ParametersMut};
use ndarray::{ArrayViewD, ArrayViewMutD, Zip};
use std::marker::PhantomData;

/// Adam (Kingma and Ba, 2015) in the form of TensorFlow 1's `AdamOptimizer`: ε is added to √v before bias correction.
///
/// ```text
/// step = step + 1
/// rate = learning_rate · √(1 − beta2^step) / (1 − beta1^step)
/// m = beta1 · m + (1 − beta1) · gradient
/// v = beta2 · v + (1 − beta2) · gradient²
/// p = p − rate · m / (√v + epsilon)
/// ```
///
/// It remembers `m/<parameter>` and `v/<parameter>` for each parameter, with its shape, and `step`, with shape (). All
/// start at 0. (An `f32` counts up to 2²⁴ steps; with the default betas the corrections are 1 long before.)
///
/// [`epsilon_after_correction`](AdamBuilder::epsilon_after_correction) makes it PyTorch's `Adam`, [`AdamW`] PyTorch's
/// `AdamW`.
///
/// ```
/// use rand::SeedableRng;
/// use rnn_cell::train::{Adam, Optimizer};
///
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let cell = rnn_cell::Gru::<f32>::new(4, 2, &mut rng);
/// let adam = Adam::builder().learning_rate(0.01).build(&cell)?;
/// assert_eq!(adam.learning_rate(), 0.01);
/// # Ok::<(), rnn_cell::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Adam<E> {
    options: Options,
    m: Slots<E>,
    v: Slots<E>,
    clock: Clock<E>,
}

/// An [`Adam`] whose weights decay apart from the gradients (Loshchilov and Hutter, 2019): PyTorch's `AdamW`.
///
/// Its builder is that of an [`Adam`] with PyTorch's defaults: decoupled weight decay of 0.01, ε after bias correction.
///
/// ```
/// use rand::SeedableRng;
/// use rnn_cell::train::{Adam, AdamW, Schedule};
///
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let cell = rnn_cell::Gru::<f32>::new(4, 2, &mut rng);
/// let schedule = Schedule::cosine_decay(3e-4, 10_000).warm_up(500);
/// let options = AdamW::builder().learning_rate(schedule).weight_decay_of(|name| !name.ends_with("bias"));
/// let adam: Adam<f32> = options.build(&cell)?;
/// # Ok::<(), rnn_cell::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub enum AdamW {}

impl AdamW {
    /// Starts an optimizer. Every option has a default.
    pub fn builder<E: Float>() -> AdamBuilder<E> {
        Adam::builder().epsilon_after_correction(true).decoupled(true).weight_decay(0.01)
    }
}

#[derive(Debug, Clone, Copy)]
struct Options {
    beta1: f64,
    beta2: f64,
    epsilon: f64,
    epsilon_after_correction: bool,
    weights: WeightDecay,
    decoupled: bool,
}

/// Options of an [`Adam`]. The defaults are TensorFlow's.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it builds"]
pub struct AdamBuilder<E> {
    schedule: Schedule,
    options: Options,
    of: PhantomData<E>,
}

impl<E: Float> Adam<E> {
    /// Starts an optimizer. Every option has a default.
    pub fn builder() -> AdamBuilder<E> {
        let options = Options {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            epsilon_after_correction: false,
            weights: WeightDecay::default(),
            decoupled: false,
        };
        AdamBuilder { schedule: Schedule::constant(0.001), options, of: PhantomData }
    }
}

impl<E: Float> AdamBuilder<E> {
    /// The learning rate, finite and at least 0, or a schedule. Default: 0.001.
    pub fn learning_rate(mut self, learning_rate: impl Into<Schedule>) -> Self {
        self.schedule = learning_rate.into();
        self
    }

    /// How much of m stays at each step, at least 0 and below 1. Default: 0.9.
    pub fn beta1(mut self, beta1: f64) -> Self {
        self.options.beta1 = beta1;
        self
    }

    /// How much of v stays at each step, at least 0 and below 1. Default: 0.999.
    pub fn beta2(mut self, beta2: f64) -> Self {
        self.options.beta2 = beta2;
        self
    }

    /// Keeps the division from exploding; finite and above 0. Default: 1e-8.
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.options.epsilon = epsilon;
        self
    }

    /// Whether ε is added to √v after bias correction, as in PyTorch and in the paper's algorithm 1, not before, as in
    /// TensorFlow 1. The denominator is then √v + epsilon · √(1 − beta2^step). Default: false.
    pub fn epsilon_after_correction(mut self, after: bool) -> Self {
        self.options.epsilon_after_correction = after;
        self
    }

    weight_decay_options!(
        options.weights,
        "Adds `weight_decay` · p to the gradient of each parameter p, or takes it from p if [`decoupled`](Self::decoupled)."
    );

    /// Whether weights decay apart from the gradients, as in [`AdamW`]: p = p − learning_rate · weight_decay · p comes
    /// first. Default: false.
    pub fn decoupled(mut self, decoupled: bool) -> Self {
        self.options.decoupled = decoupled;
        self
    }

    /// Creates an optimizer for the parameters of `model`.
    ///
    /// # Errors
    /// [`Error::InvalidNumber`] or [`Error::ZeroSize`] if an option is out of range.
    pub fn build<P: Parameters<E> + ?Sized>(self, model: &P) -> Result<Adam<E>, Error> {
        let options = self.options;
        check_decay("beta1", options.beta1)?;
        check_decay("beta2", options.beta2)?;
        check_positive("epsilon", options.epsilon)?;
        options.weights.check()?;
        let clock = Clock::new(self.schedule)?;
        Ok(Adam { options, m: Slots::zeros("m", model), v: Slots::zeros("v", model), clock })
    }
}

impl<E: Float> Optimizer<E> for Adam<E> {
    fn apply_gradients(&mut self, model: &mut dyn ParametersMut<E>, gradients: &Gradients<E>) -> Result<(), Error> {
        self.m.check(model, gradients)?;
        let Options { beta1, beta2, epsilon, epsilon_after_correction, weights, decoupled } = self.options;
        let (learning_rate, step) = self.clock.tick();
        let correction = (1.0 - beta2.powf(step)).sqrt();
        let rate = learning_rate * correction / (1.0 - beta1.powf(step));
        let epsilon = if epsilon_after_correction { epsilon * correction } else { epsilon };
        let [rate, keep_m, new_m, keep_v, new_v, epsilon] =
            [rate, beta1, 1.0 - beta1, beta2, 1.0 - beta2, epsilon].map(E::of);

        let slots = self.m.arrays_mut().iter_mut().zip(self.v.arrays_mut());
        let mut each = slots.zip(gradients.arrays());
        model.visit_parameters_mut(&mut |name, parameter| {
            let decay = weights.for_parameter(name);
            let (shrink, pull) = if decoupled { (learning_rate * decay, 0.0) } else { (0.0, decay) };
            let (shrink, pull) = (E::of(1.0 - shrink), E::of(pull));
            let ((m, v), gradient) = each.next().expect("the model has been checked");
            Zip::from(parameter).and(m).and(v).and(gradient).for_each(|p, m, v, &g| {
                let g = g + pull * *p;
                *m = keep_m * *m + new_m * g;
                *v = keep_v * *v + new_v * (g * g);
                *p = shrink * *p - rate * *m / (v.sqrt() + epsilon);
            });
        });
        Ok(())
    }
    clock_methods!();
}

impl<E: Float> Parameters<E> for Adam<E> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        self.m.visit(visit);
        self.v.visit(visit);
        self.clock.visit(visit);
    }
}

impl<E: Float> ParametersMut<E> for Adam<E> {
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        self.m.visit_mut(visit);
        self.v.visit_mut(visit);
        self.clock.visit_mut(visit);
    }
}
