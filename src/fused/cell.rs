//! [`FusedCell`]: a cell defined by its equation.

use super::{Backward, Forward, Record, Samples, Stages, Vector, Workspace};
use crate::cell::not_compressible;
use crate::compression::Compression;
use crate::kernel::Driver;
use crate::kernel::recurrence::{
    BackwardRows, Equation, EquationBack, ForwardRows, Io, MOST, RowEquation, RowEquationBack,
};
use crate::{Error, Float, Parameters, ParametersMut, State};
use ndarray::{ArrayRef3, ArrayViewMut2};

/// A cell that supplies its equation; the crate supplies the products and everything around them.
///
/// A step runs the stages in order. The sums of a stage's product go to [`forward`](Self::forward) row by row, one
/// slice per gate, together with the old state. The equation computes the new state and the output from them.
///
/// [`fused_cell!`](crate::fused_cell) makes it an [`RnnCell`](crate::RnnCell).
pub trait FusedCell: Sync {
    /// `f32` or `f64`.
    type Elem: Float;
    /// What the cell carries from step to step: at most four leaves, numbered in the order of [`State::visit`].
    type State: State<Self::Elem>;

    /// Features per input row.
    fn input_size(&self) -> usize;

    /// Features per output row.
    fn output_size(&self) -> usize;

    /// The state before the first step, with `batch` rows.
    fn zero_state(&self, batch: usize) -> Self::State;

    /// The stages of a step. Called once per run.
    fn stages(&self) -> Stages<'_, Self::Elem>;

    /// Computes a stage's units of one row from their sums. Together, the stages must write all of the new state and
    /// the output. Mark it `#[inline(always)]`.
    ///
    /// - Ask `row` only once per call for each slice to be written; asking again panics.
    /// - A plain number must be the right operand: `f + E::one()`. On the left, use [`V::splat`](Vector::splat).
    fn forward<V: Vector<Self::Elem>>(&self, stage: usize, row: &mut Forward<'_, Self::Elem>);

    /// Hands the cell's products to `compression`: [`RnnCell::compress`](crate::RnnCell::compress). The provided version
    /// returns an error.
    ///
    /// # Errors
    /// [`Error::NotCompressible`] if the cell does not support it, a weight is not finite or rounds to infinity, or
    /// int8 has too many inputs.
    fn compress(&mut self, compression: &mut Compression<'_, Self::Elem>) -> Result<(), Error> {
        let _ = compression;
        Err(not_compressible::<Self>("it does not implement `compress`"))
    }

    // Decides where the loop over rows is compiled: in the crate that names the type, or here for this crate's cells.
    #[doc(hidden)]
    fn forward_rows(&self, rows: &ForwardRows<'_, Self::Elem>)
    where
        Self: Sized,
    {
        rows.run(&Seen(self));
    }
}

/// A [`FusedCell`] with a backward pass. Check it with [`gradient_error`](crate::train::gradient_error): a gradient
/// that is wrong, or was never written, does not panic.
///
/// [`trainable_fused_cell!`](crate::trainable_fused_cell) makes it a [`TrainableCell`](crate::train::TrainableCell), if
/// its weights are [`ParametersMut`].
pub trait TrainableFusedCell: FusedCell + Parameters<<Self as FusedCell>::Elem> {
    /// The gradients of the parameters: arrays with the same names, order and shapes, as
    /// [`parameters!`](crate::parameters) defines them.
    type Gradient: ParametersMut<Self::Elem> + Send + 'static;

    /// Returns gradients that are all 0.
    fn zero_gradient(&self) -> Self::Gradient;

    /// Computes the gradients of a stage's sums from those of its results, for one row. Stages run in reverse. Mark it
    /// `#[inline(always)]`.
    ///
    /// - [`Backward::sums`] holds what the forward pass left there. Overwrite it with the gradients of the sums.
    /// - [`Backward::d_state`] holds the gradients of the new state. Overwrite it with those of the old state, without
    ///   the part that flows through products: that is added after the stage. Write 0 if there is no other.
    /// - With several stages, each finds in `d_state` what stage + 1 left there: one stage, usually the last, overwrites
    ///   it, and the others add to it or leave it. In [`Backward::d_temporary`] each finds the whole gradient of the
    ///   temporary that stage + 1 multiplied. If two stages need a value, keep it in a temporary: sums hold either a value
    ///   or its gradient. See [the cell of two stages](super#a-cell-of-two-stages).
    fn backward<V: Vector<Self::Elem>>(&self, stage: usize, row: &mut Backward<'_, Self::Elem>);

    /// Adds the gradients of the parameters after a backward run: those of each [`Linear`] with
    /// [`Linear::add_gradients`], the cell's own with [`Samples::add_accumulated`].
    ///
    /// [`Linear`]: super::Linear
    /// [`Linear::add_gradients`]: super::Linear::add_gradients
    fn gradients(&self, samples: &mut Samples<'_, Self::Elem>, gradient: &mut Self::Gradient);

    // Like `forward_rows`.
    #[doc(hidden)]
    fn backward_rows(&self, rows: &BackwardRows<'_, Self::Elem>)
    where
        Self: Sized,
    {
        rows.run(&Seen(self));
    }
}

/// A cell as the kernels see it.
pub(super) struct Seen<'a, C>(pub(super) &'a C);

impl<C: FusedCell> RowEquation<C::Elem> for Seen<'_, C> {
    #[inline(always)]
    fn forward<V: Vector<C::Elem>>(&self, stage: usize, row: &mut Forward<'_, C::Elem>) {
        self.0.forward::<V>(stage, row);
    }
}

impl<C: TrainableFusedCell> RowEquationBack<C::Elem> for Seen<'_, C> {
    #[inline(always)]
    fn backward<V: Vector<C::Elem>>(&self, stage: usize, row: &mut Backward<'_, C::Elem>) {
        self.0.backward::<V>(stage, row);
    }
}

impl<C: FusedCell> Equation<C::Elem> for Seen<'_, C> {
    fn forward_rows(&self, rows: &ForwardRows<'_, C::Elem>) {
        self.0.forward_rows(rows);
    }
}

impl<C: TrainableFusedCell> EquationBack<C::Elem> for Seen<'_, C> {
    fn backward_rows(&self, rows: &BackwardRows<'_, C::Elem>) {
        self.0.backward_rows(rows);
    }
}

/// [`RnnCell::unroll`](crate::RnnCell::unroll) of a fused cell.
///
/// # Panics
/// If the shapes disagree with each other or with the cell.
#[track_caller]
pub fn unroll<C: FusedCell>(
    cell: &C,
    inputs: &ArrayRef3<C::Elem>,
    state: &mut C::State,
    outputs: &mut ArrayRef3<C::Elem>,
    workspace: &mut Workspace<C::Elem>,
) {
    run(cell, inputs, state, (outputs, None), workspace);
}

/// Like [`unroll`], and records what [`unroll_backward`](super::unroll_backward) needs.
///
/// # Panics
/// As [`unroll`].
#[track_caller]
pub fn unroll_recording<C: TrainableFusedCell>(
    cell: &C,
    inputs: &ArrayRef3<C::Elem>,
    state: &mut C::State,
    outputs: &mut ArrayRef3<C::Elem>,
    workspace: &mut Workspace<C::Elem>,
) -> Record<C::Elem> {
    let mut record = None;
    run(cell, inputs, state, (outputs, Some(&mut record)), workspace);
    record.expect("a recorded run leaves a record")
}

/// Where to put the record, if one is wanted.
type Recording<'a, E> = Option<&'a mut Option<Record<E>>>;

#[track_caller]
fn run<C: FusedCell>(
    cell: &C,
    inputs: &ArrayRef3<C::Elem>,
    state: &mut C::State,
    (outputs, record): (&mut ArrayRef3<C::Elem>, Recording<'_, C::Elem>),
    workspace: &mut Workspace<C::Elem>,
) {
    assert_eq!(inputs.dim().2, cell.input_size(), "inputs must be (seq, batch, input)");
    assert_eq!(outputs.dim().2, cell.output_size(), "outputs must be (seq, batch, output)");
    let mut io = Io { inputs: inputs.view(), outputs: outputs.view_mut(), leaves: leaves(cell, state) };
    C::Elem::unroll(&Seen(cell), cell.stages().plan(), &mut io, record, workspace);
}

/// The leaves of a state, which must be as wide as the cell's.
///
/// # Panics
/// If they are not.
#[track_caller]
pub(super) fn leaves<'a, C: FusedCell>(
    cell: &C,
    state: &'a mut C::State,
) -> [Option<ArrayViewMut2<'a, C::Elem>>; MOST] {
    let mut widths = [0; MOST];
    let mut count = 0;
    let zero = cell.zero_state(0);
    zero.visit(&mut |leaf| {
        assert!(count < MOST, "the state of a fused cell has at most {MOST} leaves");
        widths[count] = leaf.ncols();
        count += 1;
    });
    let mut leaves = [const { None }; MOST];
    let mut at = 0;
    state.visit_mut(&mut |leaf| {
        let (found, widths) = (leaf.ncols(), &widths[..count]);
        assert!(
            widths.get(at) == Some(&found),
            "the state must be as wide as the cell's: leaf {at} has the width {found}, but those of zero_state {widths:?}"
        );
        leaves[at] = Some(leaf);
        at += 1;
    });
    assert_eq!(at, count, "the state must have as many leaves as the cell's");
    leaves
}

/// The loop over rows for a cell of this crate, compiled for its element type.
#[inline(always)]
pub(crate) fn run_forward<C: FusedCell>(cell: &C, rows: &ForwardRows<'_, C::Elem>) {
    rows.run(&Seen(cell));
}

/// Like [`run_forward`].
#[inline(always)]
pub(crate) fn run_backward<C: TrainableFusedCell>(cell: &C, rows: &BackwardRows<'_, C::Elem>) {
    rows.run(&Seen(cell));
}

/// Casts a cell to its concrete type.
///
/// # Panics
/// If it is of another type.
pub(crate) fn same<A: 'static, B: 'static>(cell: &A) -> &B {
    (cell as &dyn std::any::Any).downcast_ref().expect("the element types were compared")
}
