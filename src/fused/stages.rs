//! [`Stages`]: which products a step has, and what they multiply.

use super::Linear;
use crate::Float;
use crate::kernel::product::Product;
use crate::kernel::recurrence::{self, Operand, Plan};

/// The stages of a cell's step, in their order; at most four, and at most four temporaries.
///
/// A cell with one product has one stage. A GRU that resets before its candidate's product has two: the gates', which leaves
/// r ⊙ h in a temporary, and the candidate's, which multiplies it.
pub struct Stages<'a, E: Float>(Plan<'a, E>);

/// A part of a step: a product and what the equation makes of its sums.
///
/// Default: works unit by unit; the product multiplies the inputs alone.
#[must_use]
pub struct Stage<'a, E: Float>(recurrence::Stage<'a, E>);

impl<'a, E: Float> Stages<'a, E> {
    /// The stages, at most four.
    ///
    /// # Panics
    /// If there are more.
    #[must_use]
    pub fn new<const N: usize>(stages: [Stage<'a, E>; N]) -> Self {
        Self(stages.into_iter().fold(Plan::new(), |plan, Stage(stage)| plan.stage(stage)))
    }

    /// Adds a temporary of `width` numbers a row, numbered from 0. There are at most four.
    ///
    /// # Panics
    /// If there are more.
    #[must_use]
    pub fn temporary(self, width: usize) -> Self {
        Self(self.0.temporary(width))
    }

    /// Adds an accumulator of `width` numbers a row, numbered from 0: where the way back adds up the gradients of weights that
    /// belong to no product. There are at most four.
    ///
    /// # Panics
    /// If there are more.
    #[must_use]
    pub fn accumulator(self, width: usize) -> Self {
        Self(self.0.accumulator(width))
    }

    pub(super) fn plan(&self) -> &Plan<'a, E> {
        &self.0
    }
}

impl<'a, E: Float> Stage<'a, E> {
    /// A stage with a product.
    pub fn new(linear: &'a Linear<E>) -> Self {
        Self::of(linear.product())
    }

    /// A stage without a product, of `units` units: a step's last words, once a temporary is there. It takes whole rows.
    pub fn without_product(units: usize) -> Self {
        Self(recurrence::Stage { product: None, operand: Operand::Nothing, units, whole_rows: true })
    }

    pub(crate) fn of(product: &'a Product<E>) -> Self {
        let units = product.shape().units;
        Self(recurrence::Stage { product: Some(product), operand: Operand::Nothing, units, whole_rows: false })
    }

    /// The product multiplies the leaf of this number of the old state.
    pub fn state(mut self, leaf: usize) -> Self {
        self.0.operand = Operand::State(leaf);
        self
    }

    /// The product multiplies the temporary of this number, which an earlier stage has written.
    pub fn temporary(mut self, temporary: usize) -> Self {
        self.0.operand = Operand::Temporary(temporary);
        self
    }

    /// The equation gets whole rows.
    pub fn whole_rows(mut self) -> Self {
        self.0.whole_rows = true;
        self
    }
}
