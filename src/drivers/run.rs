//! [`Run`]: a cell over a scheduled batch, on one thread or several; [`Buffers`]: what runs reuse.

use super::order::Rooms;
#[cfg(feature = "rayon")]
use super::parallel;
use super::schedule::{Direction, Schedule};
use super::walk::{Sink, Walk, Watch};
use crate::{Float, RnnCell, State};
use ndarray::{ArrayView3, ArrayViewMut3};

/// A cell over a scheduled batch. Arrays are checked and time-major, in the caller's order.
pub(crate) struct Run<'a, C: RnnCell> {
    pub cell: &'a C,
    pub schedule: &'a Schedule,
    pub direction: Direction,
    pub inputs: ArrayView3<'a, C::Elem>,
    /// Overwritten up to each row's length, left alone past it.
    pub outputs: ArrayViewMut3<'a, C::Elem>,
}

/// Buffers of a run. Results never depend on their contents.
pub(crate) struct Buffers<C: RnnCell> {
    pub rooms: Rooms<C::Elem>,
    /// The state of the rows that are still running.
    running: Option<C::State>,
    /// The state that resets go back to.
    initial: Option<C::State>,
    pub workspace: C::Workspace,
}

impl<C: RnnCell> Default for Buffers<C> {
    fn default() -> Self {
        Self { rooms: Rooms::default(), running: None, initial: None, workspace: C::Workspace::default() }
    }
}

impl<C: RnnCell> Buffers<C> {
    /// Frees everything except the workspace and the inputs in their order.
    pub fn keep_inputs(&mut self) {
        self.rooms.to = Default::default();
        (self.running, self.initial) = (None, None);
    }
}

impl<C: RnnCell> Run<'_, C> {
    /// Runs on this thread. Takes `state` from initial to final.
    #[inline]
    pub fn alone(self, state: &mut C::State, sink: &mut impl Sink<C>, buffers: &mut Buffers<C>) {
        let Buffers { rooms, running, initial, workspace } = buffers;
        self.in_order(state, (rooms, initial), |walk, state| run_alone(walk, state, (running, workspace), sink));
    }

    /// Runs on as many threads as are worth it. Takes `state` from initial to final.
    #[inline]
    pub(super) fn shared(self, state: &mut C::State, mut watch: Watch<'_, C::State>, buffers: &mut Buffers<C>) {
        #[cfg(feature = "rayon")]
        {
            let parts = parallel::parts(self.cell, self.schedule);
            if parts > 1 {
                let Buffers { rooms, initial, .. } = buffers;
                return self.in_order(state, (rooms, initial), |walk, state| {
                    parallel::run_parts(walk, parts, state, watch);
                });
            }
        }
        self.alone(state, &mut watch, buffers);
    }

    /// Calls `walk` with all rows in the order of the schedule.
    #[inline]
    fn in_order(
        self,
        state: &mut C::State,
        (rooms, initial): (&mut Rooms<C::Elem>, &mut Option<C::State>),
        walk: impl FnOnce(Walk<'_, C>, &mut C::State),
    ) {
        let Self { cell, schedule, direction, inputs, outputs } = self;
        let initial = schedule.has_resets().then(|| {
            let initial = copied(initial, state);
            if schedule.resets_to_zero() {
                initial.set_to_zero();
            }
            &*initial
        });
        schedule.in_order(direction, inputs, outputs, rooms, |inputs, outputs| {
            walk(Walk { cell, schedule, rows: 0..schedule.batch(), inputs, outputs, initial }, state);
        });
    }
}

/// Runs all rows of a batch on this thread. `state` is in the caller's order.
#[inline]
fn run_alone<C: RnnCell>(
    walk: Walk<'_, C>,
    state: &mut C::State,
    (running, workspace): (&mut Option<C::State>, &mut C::Workspace),
    sink: &mut impl Sink<C>,
) {
    let schedule = walk.schedule;
    if !schedule.ragged() {
        return walk.run(state, workspace, sink, |_, _| ());
    }
    let running = sorted(running, state, schedule);
    walk.run(running, workspace, sink, |rows, running| {
        for row in rows {
            state.copy_row(schedule.row(row), running, row);
        }
    });
}

/// The rows of `state` in the order of the schedule.
fn sorted<'a, E: Float, S: State<E>>(room: &'a mut Option<S>, state: &S, schedule: &Schedule) -> &'a mut S {
    if room.is_none() && !schedule.in_callers_order() {
        let rows: Vec<usize> = (0..schedule.batch()).map(|row| schedule.row(row)).collect();
        return room.insert(state.select_rows(&rows));
    }
    let sorted = copied(room, state);
    if !schedule.in_callers_order() {
        for row in 0..schedule.batch() {
            sorted.copy_row(row, state, schedule.row(row));
        }
    }
    sorted
}

/// A copy of `state` in the memory of the previous copy.
fn copied<'a, E: Float, S: State<E>>(room: &'a mut Option<S>, state: &S) -> &'a mut S {
    if let Some(copy) = room {
        copy.copy_from(state);
    }
    room.get_or_insert_with(|| state.clone())
}
