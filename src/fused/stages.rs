//! [`Stages`]: the products of a step and what they multiply.

use super::Linear;
use crate::Float;
use crate::kernel::product::Product;
use crate::kernel::recurrence::{self, Operand, Plan};

/// A step's stages in order, and the temporaries that one leaves for a later one: at most four each.
///
/// A cell with one product has one stage. A minimal gated unit (Zhou et al., 2016) has two: the gate's writes f ⊙ h to
/// a temporary, which the candidate's multiplies.
///
/// ```
/// use ndarray::Array2;
/// use rnn_cell::fused::*;
///
/// /// f = σ([x, h] · W),  c = tanh([x, f ⊙ h] · U),  h' = (1 − f) ⊙ h + f ⊙ c.
/// struct Mgu { gate: Linear<f32>, candidate: Linear<f32> }
///
/// impl FusedCell for Mgu {
///     type Elem = f32;
///     type State = Array2<f32>;
///     fn input_size(&self) -> usize { self.gate.input_size() }
///     fn output_size(&self) -> usize { self.gate.units() }
///     fn zero_state(&self, batch: usize) -> Array2<f32> { Array2::zeros((batch, self.gate.units())) }
///     fn stages(&self) -> Stages<'_, f32> {
///         Stages::new([
///             Stage::new(&self.gate).state(0),          // stage 0 multiplies h, leaf 0 of the state
///             Stage::new(&self.candidate).temporary(0), // stage 1 multiplies temporary 0
///         ])
///         .temporary(self.gate.units())                 // temporary 0: f ⊙ h
///     }
///     #[inline(always)]
///     fn forward<V: Vector<f32>>(&self, stage: usize, row: &mut Forward<'_, f32>) {
///         let ([f], h) = (row.sums(0), row.state(0));
///         if stage == 0 {
///             let f_h = row.temporary(0);
///             for at in V::units(h.len()) {
///                 let gate = V::load(f, at).sigmoid();
///                 gate.store(f, at);                    // stage 1 reads it there
///                 (gate * V::load(h, at)).store(f_h, at);
///             }
///             return;
///         }
///         let ([c], new_h, output) = (row.sums(1), row.new_state(0), row.output());
///         for at in V::units(h.len()) {
///             let (gate, h) = (V::load(f, at), V::load(h, at));
///             let next = gate * (V::load(c, at).tanh() - h) + h;
///             next.store(new_h, at);
///             next.store(output, at);
///         }
///     }
/// }
///
/// rnn_cell::fused_cell!(Mgu);
///
/// let mut rng = rand::SeedableRng::seed_from_u64(1);
/// let rng: &mut rand::rngs::Xoshiro256PlusPlus = &mut rng;
/// let linear = Linear::<f32>::builder(3).input_size(4).recurrent_size(3);
/// let cell = Mgu { gate: linear.clone().build(rng)?, candidate: linear.build(rng)? };
/// let x = rnn_cell::one_hot(&["hello"], "helo")?;
/// let (outputs, h) = rnn_cell::dynamic_rnn(&cell, &x, None, None)?;
/// assert_eq!((outputs.dim(), h.dim()), ((1, 5, 3), (1, 3)));
/// # Ok::<(), rnn_cell::Error>(())
/// ```
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

    /// Adds an accumulator with `width` numbers per row, in which the backward pass sums the gradients of weights that
    /// belong to no product. Accumulators are numbered from 0; there are at most four.
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
