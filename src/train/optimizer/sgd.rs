//! [`Sgd`]: gradient descent, with or without momentum.

use super::decay::{WeightDecay, weight_decay_options};
use super::schedule::{Clock, Schedule, clock_methods};
use super::slots::Slots;
use super::{Optimizer, check_decay};
use crate::train::Gradients;
use crate::{Error, Float, Parameters, ParametersMut};
use ndarray::{ArrayViewD, ArrayViewMutD, Zip};
use std::marker::PhantomData;

/// Stochastic gradient descent: TensorFlow 1's `MomentumOptimizer`, and `GradientDescentOptimizer` with momentum 0.
///
/// ```text
/// sum = momentum · sum + gradient
/// p = p − learning_rate · sum
/// p = p − learning_rate · (gradient + momentum · sum)          (Nesterov's)
/// ```
///
/// It remembers the sum as `momentum/<parameter>`, with the shape of each parameter p, and `step`, with shape (). All
/// start at 0.
///
/// ```
/// use rand::SeedableRng;
/// use rnn_cell::train::{Optimizer, Sgd};
///
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let cell = rnn_cell::Gru::<f32>::new(4, 2, &mut rng);
/// let sgd = Sgd::builder(0.1).momentum(0.9).build(&cell)?;
/// assert_eq!(sgd.learning_rate(), 0.1);
/// # Ok::<(), rnn_cell::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Sgd<E> {
    clock: Clock<E>,
    options: Options,
    sums: Slots<E>,
}

#[derive(Debug, Clone, Copy)]
struct Options {
    momentum: f64,
    nesterov: bool,
    weights: WeightDecay,
}

/// Options of an [`Sgd`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it builds"]
pub struct SgdBuilder<E> {
    schedule: Schedule,
    options: Options,
    of: PhantomData<E>,
}

impl<E: Float> Sgd<E> {
    /// Starts an optimizer with this learning rate, finite and at least 0, or this schedule.
    pub fn builder(learning_rate: impl Into<Schedule>) -> SgdBuilder<E> {
        let options = Options { momentum: 0.0, nesterov: false, weights: WeightDecay::default() };
        SgdBuilder { schedule: learning_rate.into(), options, of: PhantomData }
    }
}

impl<E: Float> SgdBuilder<E> {
    /// How much of the last steps' sum stays at each step, at least 0 and below 1. Default: 0.
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.options.momentum = momentum;
        self
    }

    /// Whether a step looks ahead (Nesterov, 1983, in the form of Sutskever et al., 2013): TensorFlow's and PyTorch's
    /// option of that name. Default: false.
    pub fn nesterov(mut self, nesterov: bool) -> Self {
        self.options.nesterov = nesterov;
        self
    }

    weight_decay_options!(options.weights, "Adds `weight_decay` · p to the gradient of each parameter p.");

    /// Creates an optimizer for the parameters of `model`.
    ///
    /// # Errors
    /// [`Error::InvalidNumber`] or [`Error::ZeroSize`] if an option is out of range.
    pub fn build<P: Parameters<E> + ?Sized>(self, model: &P) -> Result<Sgd<E>, Error> {
        check_decay("momentum", self.options.momentum)?;
        self.options.weights.check()?;
        let clock = Clock::new(self.schedule)?;
        Ok(Sgd { clock, options: self.options, sums: Slots::zeros("momentum", model) })
    }
}

impl<E: Float> Optimizer<E> for Sgd<E> {
    fn apply_gradients(&mut self, model: &mut dyn ParametersMut<E>, gradients: &Gradients<E>) -> Result<(), Error> {
        self.sums.check(model, gradients)?;
        let Options { momentum, nesterov, weights } = self.options;
        let (momentum, rate) = (E::of(momentum), E::of(self.clock.tick().0));
        let mut each = self.sums.arrays_mut().iter_mut().zip(gradients.arrays());
        model.visit_parameters_mut(&mut |name, parameter| {
            let pull = E::of(weights.for_parameter(name));
            let (sum, gradient) = each.next().expect("the model has been checked");
            Zip::from(parameter).and(sum).and(gradient).for_each(|p, sum, &g| {
                let g = g + pull * *p;
                *sum = momentum * *sum + g;
                *p -= rate * if nesterov { g + momentum * *sum } else { *sum };
            });
        });
        Ok(())
    }
    clock_methods!();
}

impl<E: Float> Parameters<E> for Sgd<E> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        self.sums.visit(visit);
        self.clock.visit(visit);
    }
}

impl<E: Float> ParametersMut<E> for Sgd<E> {
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        self.sums.visit_mut(visit);
        self.clock.visit_mut(visit);
    }
}
