//! [`RmsProp`]: steps in units of the gradients' running root mean square.

use super::decay::{WeightDecay, weight_decay_options};
use super::schedule::{Clock, Schedule, clock_methods};
use super::slots::Slots;
use super::{Optimizer, check_decay};
use crate::checks::check_positive;
use crate::train::Gradients;
use crate::{Error, Float, Parameters, ParametersMut};
use ndarray::{ArrayViewD, ArrayViewMutD, Zip};
use std::marker::PhantomData;

/// RMSProp (Tieleman and Hinton, 2012) as TensorFlow 1's `RMSPropOptimizer` defines it: ε is inside the root, the mean
/// square starts at 1, and the momentum sums steps, not gradients.
///
/// ```text
/// rms = decay · rms + (1 − decay) · gradient²
/// mg = decay · mg + (1 − decay) · gradient          (centered; otherwise mg is 0)
/// sum = momentum · sum + learning_rate · gradient / √(rms − mg² + epsilon)
/// p = p − sum
/// ```
///
/// Where rounding makes rms − mg² negative, it counts as 0. (In TensorFlow the parameter may become NaN there.)
///
/// It remembers `rms/<parameter>`, the sum as `momentum/<parameter>` and, if centered, `mg/<parameter>`, with the shape
/// of each parameter p, and `step`, with shape (). `rms` starts at 1, the others at 0.
///
/// ```
/// use rand::SeedableRng;
/// use rnn_cell::train::{Optimizer, RmsProp};
///
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let cell = rnn_cell::Gru::<f32>::new(4, 2, &mut rng);
/// let rms_prop = RmsProp::builder(0.001).centered(true).momentum(0.9).build(&cell)?;
/// assert_eq!(rms_prop.learning_rate(), 0.001);
/// # Ok::<(), rnn_cell::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct RmsProp<E> {
    options: Options,
    clock: Clock<E>,
    rms: Slots<E>,
    momentum: Slots<E>,
    mg: Option<Slots<E>>,
}

#[derive(Debug, Clone, Copy)]
struct Options {
    decay: f64,
    momentum: f64,
    epsilon: f64,
    weights: WeightDecay,
}

/// Options of an [`RmsProp`]. The defaults are TensorFlow's.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it builds"]
pub struct RmsPropBuilder<E> {
    schedule: Schedule,
    centered: bool,
    options: Options,
    of: PhantomData<E>,
}

impl<E: Float> RmsProp<E> {
    /// Starts an optimizer with this learning rate, finite and at least 0, or this schedule.
    pub fn builder(learning_rate: impl Into<Schedule>) -> RmsPropBuilder<E> {
        let options = Options { decay: 0.9, momentum: 0.0, epsilon: 1e-10, weights: WeightDecay::default() };
        RmsPropBuilder { schedule: learning_rate.into(), centered: false, options, of: PhantomData }
    }
}

impl<E: Float> RmsPropBuilder<E> {
    /// How much of the averages stays at each step, at least 0 and below 1. Default: 0.9.
    pub fn decay(mut self, decay: f64) -> Self {
        self.options.decay = decay;
        self
    }

    /// How much of the last steps' sum stays at each step, at least 0 and below 1. Default: 0.
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.options.momentum = momentum;
        self
    }

    /// Keeps the division from exploding; finite and above 0. Default: 1e-10.
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.options.epsilon = epsilon;
        self
    }

    /// Whether steps are in units of the gradients' standard deviation, not of their root mean square. Default: false.
    pub fn centered(mut self, centered: bool) -> Self {
        self.centered = centered;
        self
    }

    weight_decay_options!(options.weights, "Adds `weight_decay` · p to the gradient of each parameter p.");

    /// Creates an optimizer for the parameters of `model`.
    ///
    /// # Errors
    /// [`Error::InvalidNumber`] or [`Error::ZeroSize`] if an option is out of range.
    pub fn build<P: Parameters<E> + ?Sized>(self, model: &P) -> Result<RmsProp<E>, Error> {
        let options = self.options;
        check_decay("decay", options.decay)?;
        check_decay("momentum", options.momentum)?;
        check_positive("epsilon", options.epsilon)?;
        options.weights.check()?;
        Ok(RmsProp {
            options,
            clock: Clock::new(self.schedule)?,
            rms: Slots::filled("rms", model, E::one()),
            momentum: Slots::zeros("momentum", model),
            mg: self.centered.then(|| Slots::zeros("mg", model)),
        })
    }
}

impl<E: Float> Optimizer<E> for RmsProp<E> {
    fn apply_gradients(&mut self, model: &mut dyn ParametersMut<E>, gradients: &Gradients<E>) -> Result<(), Error> {
        self.rms.check(model, gradients)?;
        let Options { decay, momentum, epsilon, weights } = self.options;
        let (rate, _) = self.clock.tick();
        let [rate, keep, new, momentum, epsilon] = [rate, decay, 1.0 - decay, momentum, epsilon].map(E::of);

        let mut centers = self.mg.as_mut().map(|mg| mg.arrays_mut().iter_mut());
        let slots = self.rms.arrays_mut().iter_mut().zip(self.momentum.arrays_mut());
        let mut each = slots.zip(gradients.arrays());
        model.visit_parameters_mut(&mut |name, mut parameter| {
            let ((rms, sum), gradient) = each.next().expect("the model has been checked");
            let pull = E::of(weights.for_parameter(name));
            let update = |p: &mut E, rms: &mut E, sum: &mut E, gradient: E, variance: &mut dyn FnMut(E, E) -> E| {
                let g = gradient + pull * *p;
                *rms = keep * *rms + new * (g * g);
                *sum = momentum * *sum + rate * g / (variance(*rms, g) + epsilon).sqrt();
                *p -= *sum;
            };
            let zip = Zip::from(&mut parameter).and(rms).and(sum).and(gradient);
            match centers.as_mut() {
                None => zip.for_each(|p, rms, sum, &g| update(p, rms, sum, g, &mut |rms, _| rms)),
                Some(centers) => {
                    let mg = centers.next().expect("every parameter has one");
                    zip.and(mg).for_each(|p, rms, sum, &g, mg| {
                        update(p, rms, sum, g, &mut |rms, g| {
                            *mg = keep * *mg + new * g;
                            (rms - *mg * *mg).max(E::zero())
                        });
                    });
                }
            }
        });
        Ok(())
    }
    clock_methods!();
}

impl<E: Float> Parameters<E> for RmsProp<E> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        self.rms.visit(visit);
        self.momentum.visit(visit);
        self.mg.iter().for_each(|mg| mg.visit(visit));
        self.clock.visit(visit);
    }
}

impl<E: Float> ParametersMut<E> for RmsProp<E> {
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        self.rms.visit_mut(visit);
        self.momentum.visit_mut(visit);
        self.mg.iter_mut().for_each(|mg| mg.visit_mut(visit));
        self.clock.visit_mut(visit);
    }
}
