//! Splits the rows of a batch over the pool's threads. Rows are independent, so no thread waits before the end.

use super::schedule::Schedule;
use super::walk::{Walk, Watch};
use crate::kernel::threads::{WORTH_SHARING, alone, threads, with_helpers};
use crate::{RnnCell, State};
use ndarray::Axis;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// How many rows are worth a thread of their own: a full tile of the kernels. Fewer share the units of a step instead.
const ROWS_A_THREAD: usize = 6;

/// The number of parts to run the rows in: 1 if they are not worth another thread.
pub(super) fn parts<C: RnnCell>(cell: &C, schedule: &Schedule) -> usize {
    let most = schedule.batch() / ROWS_A_THREAD;
    if most < 2 || products(cell, schedule) < WORTH_SHARING { 1 } else { threads().min(most) }
}

/// Whether the run is large enough to be one of two halves on two threads.
pub(super) fn worth_halving<C: RnnCell>(cell: &C, schedule: &Schedule) -> bool {
    threads() > 1 && products(cell, schedule) >= WORTH_SHARING / 2
}

/// The work of a simple recurrence of these sizes. A driver cannot know more.
fn products<C: RnnCell>(cell: &C, schedule: &Schedule) -> usize {
    let of_a_step = cell.input_size().saturating_add(cell.output_size()).saturating_mul(cell.output_size());
    schedule.steps_of_all_rows().saturating_mul(of_a_step)
}

/// Runs both, each on the first free thread.
pub(super) fn both<A: Send, B: Send>(a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
    let (a, b) = (Job::new(a), Job::new(b));
    with_helpers(1, &|_| {
        a.run();
        b.run();
    });
    (a.result(), b.result())
}

/// A job that is done once, by the first thread to take it.
struct Job<F, R> {
    todo: Mutex<Option<F>>,
    done: Mutex<Option<R>>,
}

impl<R, F: FnOnce() -> R> Job<F, R> {
    fn new(job: F) -> Self {
        Self { todo: Mutex::new(Some(job)), done: Mutex::new(None) }
    }

    fn run(&self) {
        let todo = self.todo.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(job) = todo {
            let result = job();
            *self.done.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        }
    }

    fn result(self) -> R {
        self.done.into_inner().unwrap_or_else(PoisonError::into_inner).expect("the job has run")
    }
}

/// Runs all rows of a batch in parts of about equally many steps. `state` is in the caller's order.
pub(super) fn run_parts<C: RnnCell>(walk: Walk<'_, C>, parts: usize, state: &mut C::State, watch: Watch<'_, C::State>) {
    let walks: Vec<_> = split(walk, parts).into_iter().map(|walk| Mutex::new(Some(walk))).collect();
    let state = Mutex::new(state);
    let next = AtomicUsize::new(0);
    let run = |walk: Walk<'_, C>, workspace: &mut C::Workspace| {
        let (schedule, first) = (walk.schedule, walk.rows.start);
        let rows: Vec<usize> = walk.rows.clone().map(|row| schedule.row(row)).collect();
        let mut running = state.lock().unwrap_or_else(PoisonError::into_inner).select_rows(&rows);
        walk.run(&mut running, workspace, &mut watch.clone(), |ended, running| {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            for row in ended {
                state.copy_row(schedule.row(first + row), running, row);
            }
        });
    };
    with_helpers(parts - 1, &|_| {
        let mut workspace = C::Workspace::default();
        while let Some(walk) = walks.get(next.fetch_add(1, Ordering::Relaxed)) {
            let walk = walk.lock().unwrap_or_else(PoisonError::into_inner).take().expect("each part is taken once");
            // Every thread has its own parts.
            alone(|| run(walk, &mut workspace));
        }
    });
}

/// Splits the walk into parts of neighbouring rows.
fn split<C: RnnCell>(walk: Walk<'_, C>, parts: usize) -> Vec<Walk<'_, C>> {
    let Walk { cell, schedule, mut inputs, mut outputs, initial, .. } = walk;
    let mut first = 0;
    let mut walks = Vec::with_capacity(parts);
    for end in ends(schedule, parts) {
        let (x, later_inputs) = inputs.split_at(Axis(1), end - first);
        let (out, later_outputs) = outputs.split_at(Axis(1), end - first);
        (inputs, outputs) = (later_inputs, later_outputs);
        walks.push(Walk { cell, schedule, rows: first..end, inputs: x, outputs: out, initial });
        first = end;
    }
    walks
}

/// The end of each part. Parts have about equally many steps, and at least one row each.
fn ends(schedule: &Schedule, parts: usize) -> Vec<usize> {
    let (batch, all) = (schedule.batch(), schedule.steps_of_all_rows());
    let (mut ends, mut row, mut before) = (Vec::with_capacity(parts), 0, 0);
    for part in 1..parts {
        let first = row;
        while row + parts - part < batch && (row == first || (before + schedule.length(row) / 2) * parts < all * part) {
            before += schedule.length(row);
            row += 1;
        }
        ends.push(row);
    }
    ends.push(batch);
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_every_row_and_share_the_steps() {
        let ends = |batch, seq, lengths, parts| ends(&Schedule::new(seq, batch, lengths), parts);
        assert_eq!(ends(32, 100, None, 2), [16, 32]);
        assert_eq!(ends(13, 100, None, 3), [4, 9, 13]);
        assert_eq!(ends(4, 9, Some(&[9, 3, 3, 3]), 2), [1, 4]);
        assert_eq!(ends(3, 9, Some(&[9, 0, 0]), 3), [1, 2, 3]);
        assert_eq!(ends(3, 9, Some(&[0, 0, 0]), 3), [1, 2, 3]);
    }

    /// More parts than `parts` would ask for on a machine of few cores.
    #[test]
    fn eight_parts_give_the_bits_of_one() {
        use rand::SeedableRng;
        let rng = &mut rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
        let cell = crate::Gru::<f32>::new(3, 20, rng);
        let x = ndarray::Array3::from_shape_fn((7, 50, 3), |(t, row, i)| ((t + 3 * row + i) as f32).sin());
        let (expected, expected_state) = crate::DynamicRnn::new(&cell).time_major(true).run(&x).unwrap();
        let (schedule, mut outputs) = (Schedule::new(7, 50, None), ndarray::Array3::zeros(expected.raw_dim()));
        let (inputs, out, mut state) = (x.view(), outputs.view_mut(), cell.zero_state(50));
        let walk = Walk { cell: &cell, schedule: &schedule, rows: 0..50, inputs, outputs: out, initial: None };
        run_parts(walk, 8, &mut state, Watch(None));
        assert_eq!((outputs, state), (expected, expected_state));
    }

    #[test]
    fn both_jobs_run_once_and_hand_back_their_results() {
        for number in 0..1000 {
            assert_eq!(both(|| number, || format!("{number}")), (number, format!("{number}")));
        }
    }

    #[test]
    #[should_panic(expected = "the second job")]
    fn a_panic_in_a_job_comes_back() {
        both(|| (), || panic!("the second job"));
    }
}
