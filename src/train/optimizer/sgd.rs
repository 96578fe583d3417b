//! [`Sgd`]: gradient descent, with or without momentum.

use super::slots::Slots;
use super::{Optimizer, check_decay, check_learning_rate};
use crate::train::Gradients;
use crate::{Error, Float, Parameters};
use ndarray::{ArrayViewD, ArrayViewMutD, Zip};

/// Stochastic gradient descent: TensorFlow 1's `MomentumOptimizer`, and `GradientDescentOptimizer` with momentum 0.
///
/// ```text
/// momentum/p = momentum · momentum/p + gradient
/// p = p − learning_rate · momentum/p
/// ```
///
/// It remembers `momentum/<parameter>` for each parameter, 0 at first, of its shape.
#[derive(Debug, Clone)]
pub struct Sgd<E> {
    options: SgdBuilder,
    momentum: Slots<E>,
}

/// Options of [`Sgd`].
#[derive(Debug, Clone)]
pub struct SgdBuilder {
    learning_rate: f64,
    momentum: f64,
}

impl SgdBuilder {
    /// The momentum, at least 0 and below 1; 0 if not set.
    #[must_use]
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// The optimizer of the parameters of `model`.
    ///
    /// # Errors
    /// [`Error::InvalidNumber`] for an option outside its range.
    pub fn build<E: Float, P: Parameters<E> + ?Sized>(self, model: &P) -> Result<Sgd<E>, Error> {
        check_learning_rate(self.learning_rate)?;
        check_decay("momentum", self.momentum)?;
        Ok(Sgd { options: self, momentum: Slots::zeros("momentum", model) })
    }
}

impl Sgd<f32> {
    /// Gradient descent with options. `learning_rate` is finite and at least 0; TensorFlow has no default for it.
    #[must_use]
    pub fn builder(learning_rate: f64) -> SgdBuilder {
        SgdBuilder { learning_rate, momentum: 0.0 }
    }
}

impl<E: Float> Optimizer<E> for Sgd<E> {
    fn apply_gradients(&mut self, model: &mut dyn Parameters<E>, gradients: &Gradients<E>) -> Result<(), Error> {
        self.momentum.check(model, gradients)?;
        let (momentum, rate) = (E::from_f64(self.options.momentum), E::from_f64(self.options.learning_rate));
        let mut each = self.momentum.arrays_mut().iter_mut().zip(gradients.arrays());
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
        self.options.learning_rate
    }
    fn set_learning_rate(&mut self, learning_rate: f64) -> Result<(), Error> {
        self.options.learning_rate = check_learning_rate(learning_rate)?;
        Ok(())
    }
}

impl<E: Float> Parameters<E> for Sgd<E> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        self.momentum.visit(visit);
    }
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        self.momentum.visit_mut(visit);
    }
}
