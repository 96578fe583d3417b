//! [`Walk`]: the one loop over a schedule's windows, for all drivers of whole sequences; [`Sink`]: what they want.

use super::schedule::{Schedule, Window};
use crate::{RnnCell, State};
use ndarray::{ArrayBase, ArrayView3, ArrayViewMut3, Axis, Ix3, RawData, s};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Some rows of a schedule, and the arrays they run over.
pub(crate) struct Walk<'a, C: RnnCell> {
    pub cell: &'a C,
    pub schedule: &'a Schedule,
    /// Rows of the schedule.
    pub rows: Range<usize>,
    /// (steps, rows, input), in the order of the schedule.
    pub inputs: ArrayView3<'a, C::Elem>,
    /// (steps, rows, output).
    pub outputs: ArrayViewMut3<'a, C::Elem>,
    /// The state that resets go back to, in the caller's order, if any row resets.
    pub initial: Option<&'a C::State>,
}

/// A window to run: the first rows of a walk over some steps.
pub(crate) struct Piece<'a, C: RnnCell> {
    pub cell: &'a C,
    pub schedule: &'a Schedule,
    /// The schedule's rows.
    pub rows: Range<usize>,
    pub steps: Range<usize>,
    /// (steps, rows, input).
    pub inputs: ArrayView3<'a, C::Elem>,
    /// (steps, rows, output). Overwritten.
    pub outputs: ArrayViewMut3<'a, C::Elem>,
}

/// What a driver wants from a run besides its outputs and final state.
pub(crate) trait Sink<C: RnnCell> {
    /// Runs the piece, updates `state`, and takes what the driver wants.
    fn run(&mut self, piece: Piece<'_, C>, state: &mut C::State, workspace: &mut C::Workspace);
}

impl<C: RnnCell> Walk<'_, C> {
    /// Runs the rows. `running` holds their initial state and drops each row when it ends. Before that, `ended` sees
    /// those rows, numbered as rows of the walk, and their state. It also sees the rows that end last.
    #[inline]
    pub fn run(
        self,
        running: &mut C::State,
        workspace: &mut C::Workspace,
        sink: &mut impl Sink<C>,
        mut ended: impl FnMut(Range<usize>, &C::State),
    ) {
        let Self { cell, schedule, rows, inputs, mut outputs, initial } = self;
        for Window { steps, active } in schedule.windows(rows.clone()) {
            if active < running.batch_size() {
                ended(active..running.batch_size(), running);
                running.truncate_rows(active);
            }
            if let Some(initial) = initial {
                for row in schedule.resets(steps.start).filter(|row| rows.contains(row)) {
                    running.copy_row(row - rows.start, initial, schedule.row(row));
                }
            }
            let piece = Piece {
                cell,
                schedule,
                rows: rows.start..rows.start + active,
                inputs: first(inputs.view(), &steps, active),
                outputs: first(outputs.view_mut(), &steps, active),
                steps,
            };
            sink.run(piece, running, workspace);
        }
        ended(0..running.batch_size(), running);
    }
}

/// Some steps of the first rows. An array wanted whole is not sliced: slicing takes longer than a small cell's step.
fn first<S: RawData>(mut array: ArrayBase<S, Ix3>, steps: &Range<usize>, rows: usize) -> ArrayBase<S, Ix3> {
    if (steps.start, steps.end, rows) != (0, array.len_of(Axis(0)), array.len_of(Axis(1))) {
        array.slice_collapse(s![steps.clone(), ..rows, ..]);
    }
    array
}

/// The sink of drivers that only compute. Takes nothing, or the state after every step, in the caller's order.
pub(super) struct Watch<'a, S>(pub Option<&'a Mutex<Vec<S>>>);

impl<S> Clone for Watch<'_, S> {
    fn clone(&self) -> Self {
        Self(self.0)
    }
}

impl<C: RnnCell> Sink<C> for Watch<'_, C::State> {
    fn run(&mut self, mut piece: Piece<'_, C>, state: &mut C::State, workspace: &mut C::Workspace) {
        piece.cell.unroll(&piece.inputs, state, &mut piece.outputs, workspace);
        if let Some(states) = self.0 {
            let mut states = states.lock().unwrap_or_else(PoisonError::into_inner);
            for (from, row) in piece.rows.enumerate() {
                states[piece.steps.start].copy_row(piece.schedule.row(row), state, from);
            }
        }
    }
}
