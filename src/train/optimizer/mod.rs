//! [`Optimizer`]: updates parameters from gradients; [`Sgd`], [`Adam`] and [`RmsProp`], with a [`Schedule`].

mod adam;
mod decay;
mod rms_prop;
mod schedule;
mod sgd;
mod slots;

pub use adam::{Adam, AdamBuilder, AdamW};
pub use rms_prop::{RmsProp, RmsPropBuilder};
pub use schedule::Schedule;
pub use sgd::{Sgd, SgdBuilder};

use super::Gradients;
use crate::checks::check_number;
use crate::{Error, Float, ParametersMut};

/// Updates the parameters of the model it was built for, step by step, from their gradients.
///
/// Its memory between steps is [`Parameters`](crate::Parameters) of its own. Save them with the model's to interrupt
/// training. Load both into a model and an optimizer of the same sizes and options, and training continues with the
/// same bits as if it had not stopped.
pub trait Optimizer<E: Float>: ParametersMut<E> {
    /// Takes one step: updates the parameters of `model` with `gradients`. An error changes nothing.
    ///
    /// # Errors
    /// [`Error::OptimizerParameter`] if `model` or `gradients` have other names or shapes than the optimizer's model.
    fn apply_gradients(&mut self, model: &mut dyn ParametersMut<E>, gradients: &Gradients<E>) -> Result<(), Error>;

    /// The number of steps taken, which is saved: a run that resumes continues from it.
    #[must_use]
    fn steps(&self) -> usize;

    /// The learning rate of the next step.
    #[must_use]
    fn learning_rate(&self) -> f64;

    /// Sets a constant learning rate, in place of the [`Schedule`]. It is not saved with the parameters: set it again
    /// when you resume.
    ///
    /// # Errors
    /// [`Error::InvalidNumber`] unless it is finite and at least 0.
    fn set_learning_rate(&mut self, learning_rate: f64) -> Result<(), Error>;
}

fn check_learning_rate(learning_rate: f64) -> Result<f64, Error> {
    let right = learning_rate.is_finite() && learning_rate >= 0.0;
    check_number("learning_rate", learning_rate, right, "finite and at least 0")
}

/// Checks how much of the old value a moving average keeps.
fn check_decay(argument: &'static str, decay: f64) -> Result<f64, Error> {
    check_number(argument, decay, (0.0..1.0).contains(&decay), "at least 0 and below 1")
}
