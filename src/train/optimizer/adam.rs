//! [`Adam`]: an optimizer with its own step size for each number.

use super::slots::Slots;
use super::{Optimizer, check_decay, check_learning_rate};
use crate::checks::check_positive;
use crate::train::Gradients;
use crate::{Error, Float, Parameters, ParametersMut};
use ndarray::{Array0, ArrayViewD, ArrayViewMutD, Zip, arr0};
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
    step: Array0<E>,
}

#[derive(Debug, Clone, Copy)]
struct Options {
    learning_rate: f64,
    beta1: f64,
    beta2: f64,
    epsilon: f64,
}

/// Options of an [`Adam`]. The defaults are TensorFlow's.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it builds"]
pub struct AdamBuilder<E> {
    options: Options,
    of: PhantomData<E>,
}

impl<E: Float> Adam<E> {
    /// Starts an optimizer. Every option has a default.
    pub fn builder() -> AdamBuilder<E> {
        let options = Options { learning_rate: 0.001, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
        AdamBuilder { options, of: PhantomData }
    }
}

impl<E: Float> AdamBuilder<E> {
    /// The learning rate, finite and at least 0. Default: 0.001.
    pub fn learning_rate(mut self, learning_rate: f64) -> Self {
        self.options.learning_rate = learning_rate;
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

    /// Creates an optimizer for the parameters of `model`.
    ///
    /// # Errors
    /// [`Error::InvalidNumber`] if an option is out of range.
    pub fn build<P: Parameters<E> + ?Sized>(self, model: &P) -> Result<Adam<E>, Error> {
        let options = self.options;
        check_learning_rate(options.learning_rate)?;
        check_decay("beta1", options.beta1)?;
        check_decay("beta2", options.beta2)?;
        check_positive("epsilon", options.epsilon)?;
        Ok(Adam { options, m: Slots::zeros("m", model), v: Slots::zeros("v", model), step: arr0(E::zero()) })
    }
}

impl<E: Float> Optimizer<E> for Adam<E> {
    fn apply_gradients(&mut self, model: &mut dyn ParametersMut<E>, gradients: &Gradients<E>) -> Result<(), Error> {
        self.m.check(model, gradients)?;
        let Options { learning_rate, beta1, beta2, epsilon } = self.options;
        self.step += E::one();
        let step = self.step[()].as_f64();
        let rate = learning_rate * (1.0 - beta2.powf(step)).sqrt() / (1.0 - beta1.powf(step));
        let [rate, keep_m, new_m, keep_v, new_v, epsilon] =
            [rate, beta1, 1.0 - beta1, beta2, 1.0 - beta2, epsilon].map(E::of);

        let slots = self.m.arrays_mut().iter_mut().zip(self.v.arrays_mut());
        let mut each = slots.zip(gradients.arrays());
        model.visit_parameters_mut(&mut |_, parameter| {
            let ((m, v), gradient) = each.next().expect("the model has been checked");
            Zip::from(parameter).and(m).and(v).and(gradient).for_each(|p, m, v, &g| {
                *m = keep_m * *m + new_m * g;
                *v = keep_v * *v + new_v * (g * g);
                *p -= rate * *m / (v.sqrt() + epsilon);
            });
        });
        Ok(())
    }
    fn learning_rate(&self) -> f64 {
        self.options.learning_rate
    }
    fn set_learning_rate(&mut self, learning_rate: f64) -> Result<(), Error> {
        self.options.learning_rate = check_learning_rate(learning_rate)?;
        Ok(())
    }
}

impl<E: Float> Parameters<E> for Adam<E> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        self.m.visit(visit);
        self.v.visit(visit);
        visit("step", self.step.view().into_dyn());
    }
}

impl<E: Float> ParametersMut<E> for Adam<E> {
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        self.m.visit_mut(visit);
        self.v.visit_mut(visit);
        visit("step", self.step.view_mut().into_dyn());
    }
}
