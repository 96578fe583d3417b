//! [`Stages`]: the products of a step and what they multiply.

use super::Linear;
use crate::Float;
use crate::kernel::product::Product;
use crate::kernel::recurrence::{self, Operand, Plan};

/// A step's stages in order, and the temporaries that one leaves for a later one: at most four each.
///
/// A cell with one product has one stage. For one with two, see [the page of this module](super#a-cell-of-two-stages).
pub struct Stages<'a, E: Float>(Plan<'a, E>);

/// A part of a step: a product and what the equation computes from its sums.
///
/// By default it gets some units at a time, and its product multiplies only the inputs.
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

    /// Adds a temporary with `width` numbers per row. Temporaries are numbered from 0; there are at most four.
    ///
    /// # Panics
    /// If there are more.
    #[must_use]
    pub fn temporary(self, width: usize) -> Self {
        Self(self.0.temporary(width))
    }

    /// Adds an accumulator with `width` numbers per row, 1 for a single number, in which the backward pass sums the
    /// gradients of weights that belong to no product. Accumulators are numbered from 0; there are at most four.
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

    /// A stage without a product, with `units` units, for work that needs a complete temporary. It gets whole rows.
    pub fn without_product(units: usize) -> Self {
        Self(recurrence::Stage { product: None, operand: Operand::Nothing, units, whole_rows: true })
    }

    pub(crate) fn of(product: &'a Product<E>) -> Self {
        let units = product.shape().units;
        Self(recurrence::Stage { product: Some(product), operand: Operand::Nothing, units, whole_rows: false })
    }

    /// Sets what the product multiplies: this leaf of the old state.
    pub fn state(mut self, leaf: usize) -> Self {
        self.0.operand = Operand::State(leaf);
        self
    }

    /// Sets what the product multiplies: this temporary, which an earlier stage writes.
    pub fn temporary(mut self, temporary: usize) -> Self {
        self.0.operand = Operand::Temporary(temporary);
        self
    }

    /// Gives the equation whole rows.
    pub fn whole_rows(mut self) -> Self {
        self.0.whole_rows = true;
        self
    }
}
