//! [`Schedule`]: a learning rate that follows the steps, and the [`Clock`] that counts them.

use super::check_learning_rate;
use crate::checks::{check_number, check_positive, check_sizes};
use crate::{Error, Float};
use ndarray::{Array0, ArrayViewD, ArrayViewMutD, arr0};
use std::f64::consts::PI;

/// The learning rate of each step. A number is a constant rate, so every `learning_rate` takes either.
///
/// The number of steps taken is saved with the optimizer, so that a run which resumes continues its schedule. The
/// schedule itself is an option, as β is: build the optimizer with the same one. (An `f32` optimizer counts up to 2²⁴
/// steps. There its schedule stops.)
///
/// [`warm_up`](Self::warm_up) works with each of them. Numbers are checked when the optimizer is built.
///
/// ```
/// use rand::SeedableRng;
/// use rnn_cell::train::{Adam, Optimizer, Schedule};
///
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let cell = rnn_cell::Gru::<f32>::new(4, 2, &mut rng);
/// let schedule = Schedule::cosine_decay(0.01, 900).warm_up(100);
/// assert_eq!((schedule.at(50), schedule.at(100), schedule.at(550)), (0.005, 0.01, 0.005));
/// let adam = Adam::builder().learning_rate(schedule).build(&cell)?;
/// assert_eq!(adam.learning_rate(), 0.0); // the first step of a warm-up
/// # Ok::<(), rnn_cell::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[must_use]
pub struct Schedule {
    initial: f64,
    decay: Decay,
    warm_up: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Decay {
    None,
    Exponential { steps: usize, rate: f64, staircase: bool },
    Cosine { steps: usize, alpha: f64 },
}

impl From<f64> for Schedule {
    fn from(learning_rate: f64) -> Self {
        Self::constant(learning_rate)
    }
}

impl Schedule {
    /// The same rate at every step, finite and at least 0.
    pub fn constant(learning_rate: f64) -> Self {
        Self { initial: learning_rate, decay: Decay::None, warm_up: 0 }
    }

    /// `learning_rate` · `decay_rate`^(step / `decay_steps`): TensorFlow 1's `tf.train.exponential_decay`.
    ///
    /// `decay_steps` is at least 1, `decay_rate` finite and above 0.
    pub fn exponential_decay(learning_rate: f64, decay_steps: usize, decay_rate: f64) -> Self {
        let decay = Decay::Exponential { steps: decay_steps, rate: decay_rate, staircase: false };
        Self { initial: learning_rate, decay, warm_up: 0 }
    }

    /// Whether the exponent of an exponential decay is a whole number, rounded down. Other schedules ignore it.
    /// Default: false.
    pub fn staircase(mut self, whole: bool) -> Self {
        if let Decay::Exponential { staircase, .. } = &mut self.decay {
            *staircase = whole;
        }
        self
    }

    /// Half a cosine from `learning_rate` down to 0 in `decay_steps` steps, and 0 from then on: TensorFlow 1's
    /// `tf.train.cosine_decay`, after Loshchilov and Hutter (2017).
    ///
    /// `decay_steps` is at least 1.
    pub fn cosine_decay(learning_rate: f64, decay_steps: usize) -> Self {
        Self { initial: learning_rate, decay: Decay::Cosine { steps: decay_steps, alpha: 0.0 }, warm_up: 0 }
    }

    /// The part of the learning rate that a cosine decay ends with, from 0 to 1. Other schedules ignore it. Default: 0.
    pub fn alpha(mut self, part: f64) -> Self {
        if let Decay::Cosine { alpha, .. } = &mut self.decay {
            *alpha = part;
        }
        self
    }

    /// The number of steps in which the rate first rises in a line: from 0 at the first step to the learning rate at
    /// step `steps`, where the rest of the schedule begins. Default: 0.
    pub fn warm_up(mut self, steps: usize) -> Self {
        self.warm_up = steps;
        self
    }

    /// The rate of step `step`, counted from 0.
    #[must_use]
    pub fn at(&self, step: usize) -> f64 {
        if step < self.warm_up {
            return self.initial * (step as f64 / self.warm_up as f64);
        }
        let step = (step - self.warm_up) as f64;
        self.initial
            * match self.decay {
                Decay::None => 1.0,
                Decay::Exponential { steps, rate, staircase } => {
                    let exponent = step / steps as f64;
                    rate.powf(if staircase { exponent.floor() } else { exponent })
                }
                Decay::Cosine { steps, alpha } => {
                    let part = (step / steps as f64).min(1.0);
                    alpha + (1.0 - alpha) * 0.5 * (1.0 + (PI * part).cos())
                }
            }
    }

    fn checked(self) -> Result<Self, Error> {
        check_learning_rate(self.initial)?;
        match self.decay {
            Decay::None => {}
            Decay::Exponential { steps, rate, .. } => {
                check_sizes(&[("decay_steps", steps)])?;
                check_positive("decay_rate", rate)?;
            }
            Decay::Cosine { steps, alpha } => {
                check_sizes(&[("decay_steps", steps)])?;
                check_number("alpha", alpha, (0.0..=1.0).contains(&alpha), "from 0 to 1")?;
            }
        }
        Ok(self)
    }
}

/// A schedule, and the number of steps taken: `step`, with shape (), 0 at first.
#[derive(Debug, Clone)]
pub(super) struct Clock<E> {
    schedule: Schedule,
    step: Array0<E>,
}

impl<E: Float> Clock<E> {
    pub(super) fn new(schedule: Schedule) -> Result<Self, Error> {
        Ok(Self { schedule: schedule.checked()?, step: arr0(E::zero()) })
    }

    pub(super) fn steps(&self) -> usize {
        self.step[()].as_f64() as usize
    }

    /// The rate of the next step.
    pub(super) fn rate(&self) -> f64 {
        self.schedule.at(self.steps())
    }

    /// Counts a step: returns its rate, and its number, counted from 1.
    pub(super) fn tick(&mut self) -> (f64, f64) {
        let rate = self.rate();
        self.step += E::one();
        (rate, self.step[()].as_f64())
    }

    pub(super) fn set_rate(&mut self, learning_rate: f64) -> Result<(), Error> {
        self.schedule = Schedule::constant(learning_rate).checked()?;
        Ok(())
    }

    pub(super) fn visit<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        visit("step", self.step.view().into_dyn());
    }

    pub(super) fn visit_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        visit("step", self.step.view_mut().into_dyn());
    }
}

/// The methods of an [`Optimizer`](super::Optimizer) that its field `clock` answers.
macro_rules! clock_methods {
    () => {
        fn steps(&self) -> usize {
            self.clock.steps()
        }
        fn learning_rate(&self) -> f64 {
            self.clock.rate()
        }
        fn set_learning_rate(&mut self, learning_rate: f64) -> Result<(), Error> {
            self.clock.set_rate(learning_rate)
        }
    };
}
pub(super) use clock_methods;
