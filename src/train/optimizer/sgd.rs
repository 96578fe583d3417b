//! [`Sgd`]: gradient descent, with or without momentum.

use super::slots::Slots;
use super::{Optimizer, check_decay, check_learning_rate};
use crate::train::Gradients;
use crate::{Error, Float, Parameters, ParametersMut};
use ndarray::{ArrayViewD, ArrayViewMutD, Zip};
use std::marker::PhantomData;

/// Stochastic gradient descent: TensorFlow 1's `MomentumOptimizer`, and `GradientDescentOptimizer` with momentum 0.
///
/// ```text
/// sum = momentum · sum + gradient
/// p = p − learning_rate · sum
/// ```
///
/// It remembers the sum as `momentum/<parameter>`, with the shape of each parameter p, 0 at first.
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
    learning_rate: f64,
    momentum: f64,
    sums: Slots<E>,
}

/// Options of an [`Sgd`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it builds"]
pub struct SgdBuilder<E> {
    learning_rate: f64,
    momentum: f64,
    of: PhantomData<E>,
}

impl<E: Float> Sgd<E> {
    /// Starts an optimizer with this learning rate, finite and at least 0.
    pub fn builder(learning_rate: f64) -> SgdBuilder<E> {
        SgdBuilder { learning_rate, momentum: 0.0, of: PhantomData }
    }
}

impl<E: Float> SgdBuilder<E> {
    /// How much of the last steps' sum stays at each step, at least 0 and below 1. Default: 0.
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// Creates an optimizer for the parameters of `model`.
    ///
    /// # Errors
    /// [`Error::InvalidNumber`] if an option is out of range.
    pub fn build<P: Parameters<E> + ?Sized>(self, model: &P) -> Result<Sgd<E>, Error> {
        Ok(Sgd {
            learning_rate: check_learning_rate(self.learning_rate)?,
            momentum: check_decay("momentum", self.momentum)?,
            sums: Slots::zeros("momentum", model),
        })
    }
}

impl<E: Float> Optimizer<E> for Sgd<E> {
    fn apply_gradients(&mut self, model: &mut dyn ParametersMut<E>, gradients: &Gradients<E>) -> Result<(), Error> {
        self.sums.check(model, gradients)?;
        let (momentum, rate) = (E::of(self.momentum), E::of(self.learning_rate));
        let mut each = self.sums.arrays_mut().iter_mut().zip(gradients.arrays());
        model.visit_parameters_mut(&mut |_, parameter| {
            let (sum, gradient) = each.next().expect("the model has been checked");
            Zip::from(parameter).and(sum).and(gradient).for_each(|p, sum, &g| {
                *sum = momentum * *sum + g;
                *p -= rate * *sum;
            });
        });
        Ok(())
    }
    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }
    fn set_learning_rate(&mut self, learning_rate: f64) -> Result<(), Error> {
        self.learning_rate = check_learning_rate(learning_rate)?;
        Ok(())
    }
}

impl<E: Float> Parameters<E> for Sgd<E> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        self.sums.visit(visit);
    }
}

impl<E: Float> ParametersMut<E> for Sgd<E> {
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        self.sums.visit_mut(visit);
    }
}
