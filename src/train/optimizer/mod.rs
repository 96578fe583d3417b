//! [`Optimizer`]: what turns gradients into better parameters; [`Sgd`] and [`Adam`].

mod adam;
mod sgd;
mod slots;

pub use adam::{Adam, AdamOptions};
pub use sgd::Sgd;

use super::Gradients;
use crate::checks::check_number;
use crate::{Error, Float, Parameters};

/// Changes the parameters of the model it was built for, step by step, by their gradients.
///
/// What it remembers from step to step are [`Parameters`] of its own: with the model's they are all of a half-done
/// training. Loaded into a model and an optimizer of the same sizes and options, training goes on with the same bits as if
/// it had not stopped.
pub trait Optimizer<E: Float>: Parameters<E> {
    /// One step: changes the parameters of `model` by `gradients`. Neither is changed after an error.
    ///
    /// # Errors
    /// [`Error::OptimizerParameter`] if the names or shapes of `model` or `gradients` are not those of the model that the
    /// optimizer was built for.
    fn apply_gradients(&mut self, model: &mut dyn Parameters<E>, gradients: &Gradients<E>) -> Result<(), Error>;

    /// The learning rate.
    #[must_use]
    fn learning_rate(&self) -> f64;

    /// Changes the learning rate, for a schedule. It is no parameter: who resumes sets it again.
    ///
    /// # Errors
    /// [`Error::InvalidNumber`] unless it is finite and at least 0.
    fn set_learning_rate(&mut self, learning_rate: f64) -> Result<(), Error>;
}

fn check_learning_rate(learning_rate: f64) -> Result<f64, Error> {
    let right = learning_rate.is_finite() && learning_rate >= 0.0;
    check_number("learning_rate", learning_rate, right, "finite and at least 0")
}

/// Of a moving average: how much of the old value stays.
fn check_decay(argument: &'static str, decay: f64) -> Result<f64, Error> {
    check_number(argument, decay, (0.0..1.0).contains(&decay), "at least 0 and below 1")
}
