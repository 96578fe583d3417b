//! The windows of a recorded run: what the forward pass keeps of each, and the backward pass over them.

use super::TrainableCell;
use super::long_sum::LongSum;
use crate::back::Back;
use crate::drivers::order::Room;
use crate::drivers::schedule::{Schedule, Window};
use crate::drivers::walk::{Piece, Sink};
use crate::{Float, State};
use ndarray::{ArrayView3, ArrayViewMut3, s};

/// The sink of a recorded run: keeps what each window needs to run backward.
pub(super) struct Recorder<C: TrainableCell> {
    pub checkpoints: bool,
    pub kept: Vec<(Window, Kept<C>)>,
}

pub(super) enum Kept<C: TrainableCell> {
    Records(Vec<C::Record>),
    /// The state before the first step.
    State(C::State),
}

impl<C: TrainableCell> Sink<C> for Recorder<C> {
    fn run(&mut self, piece: Piece<'_, C>, state: &mut C::State, workspace: &mut C::Workspace) {
        let Piece { cell, rows, steps, inputs, mut outputs, .. } = piece;
        let kept = if self.checkpoints {
            let kept = Kept::State(state.clone());
            cell.unroll(&inputs, state, &mut outputs, workspace);
            kept
        } else {
            let mut records = Vec::new();
            cell.unroll_recording(&inputs, state, &mut outputs, &mut records, workspace);
            Kept::Records(records)
        };
        self.kept.push((Window { steps, active: rows.len() }, kept));
    }
}

/// The backward pass over the windows of a run. Arrays are in the order of the schedule, (steps, batch, features).
pub(super) struct Windows<'a, C: TrainableCell> {
    pub cell: &'a C,
    pub schedule: &'a Schedule,
    pub inputs: ArrayView3<'a, C::Elem>,
    /// Room for the outputs of steps that are run again.
    pub again: &'a mut Room<C::Elem>,
    pub d_outputs: ArrayView3<'a, C::Elem>,
    pub d_inputs: ArrayViewMut3<'a, C::Elem>,
    /// What resets add to the gradient of the initial state, in the caller's order, if any row goes back to it: 0 at
    /// first.
    pub d_initial: Option<C::State>,
    pub gradient: LongSum<'a, C::Elem, C::Gradient>,
}

impl<C: TrainableCell> Windows<'_, C> {
    /// Runs the windows backward, the last one first. `d_state`, in the caller's order, is the gradient of the final
    /// state and becomes that of the initial one.
    pub fn run(mut self, kept: Vec<(Window, Kept<C>)>, d_state: &mut C::State, workspace: &mut C::Workspace) {
        if self.schedule.ragged() {
            self.run_ragged(kept, d_state, workspace);
        } else {
            for (window, kept) in kept.into_iter().rev() {
                self.window(&window, kept, d_state, workspace);
            }
        }
        self.cell.finish_backward(d_state, self.gradient.next_gradient(), workspace);
        if let Some(mut d_initial) = self.d_initial {
            for row in 0..d_initial.batch_size() {
                move_row(&mut d_initial, row, d_state, row);
            }
        }
        self.gradient.finish();
    }

    fn run_ragged(&mut self, kept: Vec<(Window, Kept<C>)>, d_state: &mut C::State, workspace: &mut C::Workspace) {
        let schedule = self.schedule;
        // Rows that ended earlier join on the way. Until then theirs is the gradient of the final state.
        let mut running: Option<C::State> = None;
        let leave = |running: &C::State, d_state: &mut C::State| {
            for row in 0..running.batch_size() {
                d_state.copy_row(schedule.row(row), running, row);
            }
        };
        for (window, kept) in kept.into_iter().rev() {
            if let Some(fewer) = running.take_if(|running| running.batch_size() != window.active) {
                leave(&fewer, d_state);
            }
            let running = running.get_or_insert_with(|| {
                d_state.select_rows(&(0..window.active).map(|row| schedule.row(row)).collect::<Vec<_>>())
            });
            self.window(&window, kept, running, workspace);
        }
        if let Some(all) = running {
            leave(&all, d_state);
        }
    }

    fn window(&mut self, window: &Window, kept: Kept<C>, d_state: &mut C::State, workspace: &mut C::Workspace) {
        let Window { steps, active } = window;
        let part = s![steps.clone(), ..*active, ..];
        let (cell, inputs) = (self.cell, &self.inputs.slice(part));
        let mut records = match kept {
            Kept::Records(records) => records,
            Kept::State(mut state) => {
                let mut outputs = self.again.array((steps.len(), *active, cell.output_size()));
                let mut records = Vec::new();
                cell.unroll_recording(inputs, &mut state, &mut outputs, &mut records, workspace);
                records
            }
        };
        let (d_outputs, d_inputs) = (&self.d_outputs.slice(part), &mut self.d_inputs.slice_mut(part));
        let back = Back { inputs, d_outputs, d_state, d_inputs, gradient: self.gradient.next_gradient() };
        cell.part_backward(&mut records, back, workspace);
        for row in self.schedule.resets(steps.start) {
            match &mut self.d_initial {
                Some(d_initial) => move_row(d_state, row, d_initial, self.schedule.row(row)),
                None => d_state.visit_mut(&mut |mut leaf| leaf.row_mut(row).fill(C::Elem::default())),
            }
        }
    }
}

/// Adds a row of the gradient of a state to a row of another, and sets it to 0.
fn move_row<E: Float, S: State<E>>(from: &mut S, from_row: usize, to: &mut S, to_row: usize) {
    let mut leaves = Vec::new();
    from.visit_mut(&mut |mut leaf| {
        leaves.push(leaf.row(from_row).to_owned());
        leaf.row_mut(from_row).fill(E::default());
    });
    let mut leaves = leaves.into_iter();
    to.visit_mut(&mut |mut leaf| {
        let mut row = leaf.row_mut(to_row);
        row += &leaves.next().expect("both states have the cell's leaves");
    });
}
