//! [`LongSum`]: a gradient that many backward runs add to.

use crate::{Float, ParametersMut};
use ndarray::{ArrayD, Zip};
use std::marker::PhantomData;

/// The number of runs that add to the gradient before its contents move to f64.
const RUNS: usize = 64;

/// The gradient of a cell's parameters while many backward runs add to it. An `f32` would lose the last of a million.
pub(super) struct LongSum<'a, E, G> {
    gradient: &'a mut G,
    runs: usize,
    /// What earlier runs added to each array; empty if there were few.
    earlier: Vec<ArrayD<f64>>,
    numbers: PhantomData<E>,
}

impl<'a, E: Float, G: ParametersMut<E>> LongSum<'a, E, G> {
    pub(super) fn new(gradient: &'a mut G) -> Self {
        Self { gradient, runs: 0, earlier: Vec::new(), numbers: PhantomData }
    }

    /// The gradient that the next backward run adds to.
    pub(super) fn next_gradient(&mut self) -> &mut G {
        if self.runs == RUNS {
            self.runs = 0;
            self.move_on();
        }
        self.runs += 1;
        self.gradient
    }

    /// Writes the sum of all runs to the gradient.
    pub(super) fn finish(mut self) {
        if !self.earlier.is_empty() {
            self.move_on();
            let mut earlier = self.earlier.iter();
            self.gradient.visit_parameters_mut(&mut |_, mut array| {
                let earlier = earlier.next().expect("a gradient has as many arrays as before");
                Zip::from(&mut array).and(earlier).for_each(|number, &sum| *number = E::of(sum));
            });
        }
    }

    fn move_on(&mut self) {
        let (earlier, mut at) = (&mut self.earlier, 0);
        self.gradient.visit_parameters_mut(&mut |_, mut array| {
            if earlier.len() == at {
                earlier.push(ArrayD::zeros(array.raw_dim()));
            }
            Zip::from(&mut array).and(&mut earlier[at]).for_each(|number, sum| {
                *sum += number.as_f64();
                *number = E::default();
            });
            at += 1;
        });
    }
}
