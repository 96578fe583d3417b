//! [`Rows`]: steps the rows of a loop that are not finished; [`LoopSink`]: what a driver wants from a step.

use crate::{RnnCell, State};
use ndarray::{Array2, ArrayRef2, s};

/// What a driver wants from the steps of a loop.
pub(crate) trait LoopSink<C: RnnCell> {
    /// Runs a step of the batch's `rows` on their inputs and outputs, given as a pair.
    fn step(
        &mut self,
        cell: &C,
        rows: &[usize],
        io: (&ArrayRef2<C::Elem>, &mut ArrayRef2<C::Elem>),
        state: &mut C::State,
        workspace: &mut C::Workspace,
    );

    /// The closure has emitted something of its own, or the last step's output.
    fn emitted(&mut self, own: bool);
}

/// The sink of a loop that only computes.
pub(super) struct Plain;

impl<C: RnnCell> LoopSink<C> for Plain {
    fn step(
        &mut self,
        cell: &C,
        _: &[usize],
        (x, output): (&ArrayRef2<C::Elem>, &mut ArrayRef2<C::Elem>),
        state: &mut C::State,
        workspace: &mut C::Workspace,
    ) {
        cell.step(x, state, output, workspace);
    }

    fn emitted(&mut self, _: bool) {}
}

/// The unfinished rows, in order, and room to gather them.
pub(super) struct Rows<C: RnnCell> {
    pub active: Vec<usize>,
    input: Array2<C::Elem>,
    output: Array2<C::Elem>,
    workspace: C::Workspace,
}

impl<C: RnnCell> Rows<C> {
    pub fn new(cell: &C, batch: usize) -> Self {
        Self {
            active: (0..batch).collect(),
            input: Array2::zeros((batch, cell.input_size())),
            output: Array2::zeros((batch, cell.output_size())),
            workspace: C::Workspace::default(),
        }
    }

    /// Steps the active rows of `state` and leaves the others as they are.
    pub fn step(
        &mut self,
        cell: &C,
        input: &Array2<C::Elem>,
        state: &mut C::State,
        output: &mut Array2<C::Elem>,
        sink: &mut impl LoopSink<C>,
    ) {
        let active = self.active.len();
        if active == input.nrows() {
            return sink.step(cell, &self.active, (input, output), state, &mut self.workspace);
        }
        // Selected again at each step: the closure may have changed more of the state than its leaves.
        let mut running = state.select_rows(&self.active);
        for (to, &from) in self.active.iter().enumerate() {
            self.input.row_mut(to).assign(&input.row(from));
        }
        let (x, mut out) = (self.input.slice(s![..active, ..]), self.output.slice_mut(s![..active, ..]));
        sink.step(cell, &self.active, (&x, &mut out), &mut running, &mut self.workspace);
        for (from, &to) in self.active.iter().enumerate() {
            state.copy_row(to, &running, from);
            output.row_mut(to).assign(&self.output.row(from));
        }
    }
}
