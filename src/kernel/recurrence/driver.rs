//! [`Driver`]: the driver of steps for each number type, compiled here and once for all cells.

use super::backward::{self, Back};
use super::equation::{Equation, EquationBack};
use super::forward::{self, Io};
use super::gather;
use super::places::Record;
use super::plan::Plan;
use super::samples::Samples;
use crate::kernel::product::Workspace;
use crate::kernel::registry::Kernels;

/// The driver of `f32` and of `f64`.
pub trait Driver: Kernels {
    /// Runs the steps, and records them if backward is to follow.
    ///
    /// # Panics
    /// If shapes disagree.
    #[doc(hidden)]
    fn unroll<'a>(
        equation: &dyn Equation<Self>,
        plan: &Plan<'_, Self>,
        io: &mut Io<'a, Self>,
        record: Option<&'a mut Option<Record<Self>>>,
        workspace: &'a mut Workspace<Self>,
    );

    /// Runs a record backward. Then `finish` adds the gradients of the weights, now or in
    /// [`finish_backward`](Self::finish_backward) if `back` lets it.
    ///
    /// # Panics
    /// If shapes disagree, or the record is of another cell.
    #[doc(hidden)]
    fn unroll_backward(
        equation: &dyn EquationBack<Self>,
        plan: &Plan<'_, Self>,
        record: Record<Self>,
        back: Back<'_, Self>,
        workspace: &mut Workspace<Self>,
        finish: &mut dyn FnMut(&mut Samples<'_, Self>),
    );

    /// Calls `finish` for the weights whose gradients wait in the workspace, if there are any.
    ///
    /// # Panics
    /// If they are of another cell.
    #[doc(hidden)]
    fn finish_backward(
        plan: &Plan<'_, Self>,
        workspace: &mut Workspace<Self>,
        finish: &mut dyn FnMut(&mut Samples<'_, Self>),
    );
}

macro_rules! driver {
    ($($number:ident)+) => {$(
        impl Driver for $number {
            fn unroll<'a>(
                equation: &dyn Equation<Self>,
                plan: &Plan<'_, Self>,
                io: &mut Io<'a, Self>,
                record: Option<&'a mut Option<Record<Self>>>,
                workspace: &'a mut Workspace<Self>,
            ) {
                forward::unroll(equation, plan, io, record, workspace);
            }
            fn unroll_backward(
                equation: &dyn EquationBack<Self>,
                plan: &Plan<'_, Self>,
                record: Record<Self>,
                back: Back<'_, Self>,
                workspace: &mut Workspace<Self>,
                finish: &mut dyn FnMut(&mut Samples<'_, Self>),
            ) {
                backward::unroll_backward(equation, plan, record, back, workspace, finish);
            }
            fn finish_backward(
                plan: &Plan<'_, Self>,
                workspace: &mut Workspace<Self>,
                finish: &mut dyn FnMut(&mut Samples<'_, Self>),
            ) {
                gather::finish_backward(plan, workspace, finish);
            }
        }
    )+};
}

driver!(f32 f64);
