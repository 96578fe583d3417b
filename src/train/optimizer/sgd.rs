//! [`Sgd`]: gradient descent, with or without momentum.

use super::slots::Slots;
use super::{Optimizer, check_decay, check_learning_rate};
use crate::train::Gradients;
use crate::{Error, Float, Parameters, ParametersMut};
use ndarray::{ArrayViewD, ArrayViewMutD, Zip};

/// Stochastic gradient descent: TensorFlow 1's `MomentumOptimizer`, and `GradientDescentOptimizer` with momentum 0.
///
/// ```text
/// momentum/p = momentum · momentum/p + gradient
/// p = p − learning_rate · momentum/p
/// ```
///
/// It remembers `momentum/<parameter>` for each parameter, with its shape, 0 at first.
#[derive(Debug, Clone)]
pub struct Sgd<E> {
    learning_rate: f64,
    momentum: f64,
    sums: Slots<E>,
}

impl<E: Float> Sgd<E> {
    /// Creates an optimizer for the parameters of `model`. `learning_rate` must be finite and at least 0, `momentum` at
    /// least 0 and below 1.
    ///
    /// # Errors
    /// [`Error::InvalidNumber`] if a number is out of range.
    pub fn new<P: Parameters<E> + ?Sized>(model: &P, learning_rate: f64, momentum: f64) -> Result<Self, Error> {
        Ok(Self {
            learning_rate: check_learning_rate(learning_rate)?,
            momentum: check_decay("momentum", momentum)?,
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
