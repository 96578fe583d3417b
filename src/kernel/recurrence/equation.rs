//! [`Equation`], a cell's own part, and its loops over rows, which are compiled for each instruction set.

use super::at::At;
use super::places::{Step, Ways};
use super::row::{Backward, Forward};
use crate::kernel::element::{Concrete, Element, Family};
use crate::kernel::isa::Isa;
use crate::kernel::lanes::Lanes;
use crate::kernel::vector::Vector;
use pulp::{Simd, WithSimd};
use std::marker::PhantomData;
use std::ops::Range;

/// A cell's own part, as the driver calls it: some rows at a time, compiled for every instruction set. The driver is
/// the same for all cells and compiled once.
pub trait Equation<E: Element>: Sync {
    /// Computes what a stage makes of its sums.
    fn forward_rows(&self, rows: &ForwardRows<'_, E>);
}

/// The backward half of an [`Equation`].
pub trait EquationBack<E: Element>: Equation<E> {
    /// Turns the gradients of what a stage made into those of its sums.
    fn backward_rows(&self, rows: &BackwardRows<'_, E>);
}

/// An equation as it is written, for one row.
pub(crate) trait RowEquation<E: Element> {
    fn forward<V: Vector<E>>(&self, stage: usize, row: &mut Forward<'_, E>);
}

/// The backward half of a [`RowEquation`].
pub(crate) trait RowEquationBack<E: Element> {
    fn backward<V: Vector<E>>(&self, stage: usize, row: &mut Backward<'_, E>);
}

/// Some rows of a stage, forward.
pub struct ForwardRows<'a, E> {
    pub(super) isa: Isa,
    pub(super) step: &'a Step<'a, E>,
    pub(super) stage: usize,
    pub(super) rows: Range<usize>,
    pub(super) units: Range<usize>,
    pub(super) width: usize,
    pub(super) whole: bool,
}

/// Some rows of a stage, backward.
pub struct BackwardRows<'a, E> {
    pub(super) isa: Isa,
    pub(super) step: &'a Step<'a, E>,
    pub(super) ways: &'a Ways<'a, E>,
    pub(super) stage: usize,
    pub(super) rows: Range<usize>,
    pub(super) width: usize,
}

/// [`ForwardRows`] of any number type.
struct Forwards<'a>(PhantomData<&'a ()>);

impl<'a> Family for Forwards<'a> {
    type Of<E: Element> = ForwardRows<'a, E>;
}

/// [`BackwardRows`] of any number type.
struct Backwards<'a>(PhantomData<&'a ()>);

impl<'a> Family for Backwards<'a> {
    type Of<E: Element> = BackwardRows<'a, E>;
}

impl<'a, E: Element> ForwardRows<'a, E> {
    pub(crate) fn run<Q: RowEquation<E>>(&self, equation: &Q) {
        self.isa.run(Rowwise { rows: self, equation });
    }

    /// The same with its number type known, so that the cells of this crate are compiled here.
    pub(crate) fn concrete(&self) -> Concrete<&ForwardRows<'a, f32>, &ForwardRows<'a, f64>> {
        E::concrete::<Forwards<'a>>(self)
    }
}

impl<'a, E: Element> BackwardRows<'a, E> {
    pub(crate) fn run<Q: RowEquationBack<E>>(&self, equation: &Q) {
        self.isa.run(RowwiseBack { rows: self, equation });
    }

    /// As [`ForwardRows::concrete`].
    pub(crate) fn concrete(&self) -> Concrete<&BackwardRows<'a, f32>, &BackwardRows<'a, f64>> {
        E::concrete::<Backwards<'a>>(self)
    }
}

struct Rowwise<'a, 'b, E, Q> {
    rows: &'b ForwardRows<'a, E>,
    equation: &'b Q,
}

impl<E: Element, Q: RowEquation<E>> WithSimd for Rowwise<'_, '_, E, Q> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let &ForwardRows { step, stage, ref rows, ref units, width, whole, .. } = self.rows;
        for row in rows.clone() {
            // SAFETY: the driver hands out rows and units of a step that exist, each to one thread in a pass. No pass
            // that runs an equation writes the inputs or the state before the step.
            let at = unsafe { At::new((row, stage), units.clone(), width, whole) };
            self.equation.forward::<Lanes<S, E>>(stage, &mut Forward::new(step, at));
        }
    }
}

struct RowwiseBack<'a, 'b, E, Q> {
    rows: &'b BackwardRows<'a, E>,
    equation: &'b Q,
}

impl<E: Element, Q: RowEquationBack<E>> WithSimd for RowwiseBack<'_, '_, E, Q> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let &BackwardRows { step, ways, stage, ref rows, width, .. } = self.rows;
        for row in rows.clone() {
            // SAFETY: the driver hands out rows of a step that exist, each to one thread in a pass. Nobody writes the
            // record's states or the gradients of outputs.
            let at = unsafe { At::new((row, stage), 0..width, width, true) };
            self.equation.backward::<Lanes<S, E>>(stage, &mut Backward::new(step, ways, at));
        }
    }
}
