//! Rows of a batch split over the pool's threads: rows never meet, so nobody waits for anybody before the end.

use super::masked::unroll_rows;
use crate::kernel::ROWS_A_THREAD;
use crate::kernel::threads::{WORTH_SHARING, threads, with_helpers};
use crate::{RnnCell, State};
use ndarray::{ArrayView3, ArrayViewMut3, Axis};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Some neighbouring rows, and all that a thread needs to run them.
struct Part<'a, C: RnnCell> {
    rows: Range<usize>,
    inputs: ArrayView3<'a, C::Elem>,
    lengths: Option<&'a [usize]>,
    state: C::State,
    outputs: ArrayViewMut3<'a, C::Elem>,
}

/// In how many parts rows of these lengths (never increasing) are run: 1 if they are not worth another thread.
pub(super) fn parts<C: RnnCell>(cell: &C, batch: usize, seq: usize, lengths: Option<&[usize]>) -> usize {
    if batch < 2 * ROWS_A_THREAD {
        return 1;
    }
    if products(cell, batch, seq, lengths) < WORTH_SHARING { 1 } else { threads().min(batch / ROWS_A_THREAD) }
}

/// Whether the run is worth being one half of what is shared by two threads.
pub(super) fn worth_halving<C: RnnCell>(cell: &C, batch: usize, seq: usize, lengths: Option<&[usize]>) -> bool {
    threads() > 1 && products(cell, batch, seq, lengths) >= WORTH_SHARING / 2
}

/// What a simple recurrence of these sizes takes; a driver cannot know more.
fn products<C: RnnCell>(cell: &C, batch: usize, seq: usize, lengths: Option<&[usize]>) -> usize {
    let steps = lengths.map_or(batch * seq, |lengths| lengths.iter().sum());
    steps * (cell.input_size() + cell.output_size()) * cell.output_size()
}

/// Runs both, each on the first thread that is free for it.
pub(super) fn both<A: Send, B: Send>(a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
    let (a, b) = (Job::new(a), Job::new(b));
    with_helpers(1, &|_| {
        a.run();
        b.run();
    });
    (a.result(), b.result())
}

/// Something to be done once, by whoever comes first.
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

/// As [`unroll_rows`], in parts of about as many steps each.
pub(super) fn unroll_parts<C: RnnCell>(
    cell: &C,
    mut inputs: ArrayView3<C::Elem>,
    lengths: Option<&[usize]>,
    mut state: C::State,
    mut outputs: ArrayViewMut3<C::Elem>,
    parts: usize,
) -> C::State {
    let (seq, batch, _) = inputs.dim();
    let mut first = 0;
    let mut jobs = Vec::with_capacity(parts);
    for end in ends(batch, seq, lengths, parts) {
        let (x, later_inputs) = inputs.split_at(Axis(1), end - first);
        let (out, later_outputs) = outputs.split_at(Axis(1), end - first);
        (inputs, outputs) = (later_inputs, later_outputs);
        let rows = first..end;
        let part = Part::<C> {
            inputs: x,
            lengths: lengths.map(|lengths| &lengths[rows.clone()]),
            state: state.select_rows(&rows.clone().collect::<Vec<_>>()),
            outputs: out,
            rows,
        };
        jobs.push(Mutex::new(Some(part)));
        first = end;
    }

    let finished = Mutex::new(Vec::with_capacity(parts));
    let next = AtomicUsize::new(0);
    with_helpers(parts - 1, &|_| {
        let mut workspace = C::Workspace::default();
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let part = job.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some(Part { rows, inputs, lengths, state, outputs }) = part else { continue };
            let state = unroll_rows(cell, inputs, lengths, state, outputs, &mut workspace);
            finished.lock().unwrap_or_else(PoisonError::into_inner).push((rows, state));
        }
    });
    for (rows, part) in finished.into_inner().unwrap_or_else(PoisonError::into_inner) {
        for (from, to) in rows.enumerate() {
            state.copy_row(to, &part, from);
        }
    }
    state
}

/// The end of each part, so that parts have about as many steps; each has a row at least.
fn ends(batch: usize, seq: usize, lengths: Option<&[usize]>, parts: usize) -> Vec<usize> {
    let length = |row: usize| lengths.map_or(seq, |lengths| lengths[row]);
    let all: usize = (0..batch).map(length).sum();
    let (mut ends, mut row, mut before) = (Vec::with_capacity(parts), 0, 0);
    for part in 1..parts {
        let first = row;
        while row + parts - part < batch && (row == first || (before + length(row) / 2) * parts < all * part) {
            before += length(row);
            row += 1;
        }
        ends.push(row);
    }
    ends.push(batch);
    ends
}

#[cfg(test)]
mod tests {
    use super::{both, ends};

    #[test]
    fn parts_cover_every_row_and_share_the_steps() {
        assert_eq!(ends(32, 100, None, 2), [16, 32]);
        assert_eq!(ends(13, 100, None, 3), [4, 9, 13]);
        assert_eq!(ends(4, 9, Some(&[9, 3, 3, 3]), 2), [1, 4]);
        assert_eq!(ends(3, 9, Some(&[9, 0, 0]), 3), [1, 2, 3]);
        assert_eq!(ends(3, 9, Some(&[0, 0, 0]), 3), [1, 2, 3]);
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
