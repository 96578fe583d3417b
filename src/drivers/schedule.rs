//! [`Schedule`]: which rows of a batch run when. It knows nothing about arrays: `order.rs` puts them in its order.

use super::places::Places;
use ndarray::ArrayView2;
use std::cmp::Reverse;
use std::ops::Range;

/// Where reading a row begins: at its first step, or at its last valid one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Forward,
    Backward,
}

/// Steps that run together: the same rows are active in all of them, and nothing happens in between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    pub steps: Range<usize>,
    /// How many rows run, counted from the first.
    pub active: usize,
}

/// Which rows of a batch run when, and where their steps are cut.
///
/// Rows have an order of their own, longest first, so that those still running always come first. Steps count from the
/// end at which a row is read, so one schedule serves both directions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Schedule {
    batch: usize,
    /// Steps of the longest row.
    steps: usize,
    /// Steps of each row, longest first. Empty if every row makes `steps` steps.
    lengths: Vec<usize>,
    /// The caller's number of each row. Empty if the rows are in the caller's order.
    order: Vec<usize>,
    /// The caller's steps that the rows run, if there is a mask.
    places: Option<Places>,
    /// Whether a masked step shows the output of the last step before it that ran.
    repeats: bool,
    /// (step, row): the row restarts before the step. Sorted by step.
    resets: Vec<(usize, usize)>,
    /// Whether rows restart from zeros, not from their initial state.
    to_zero: bool,
    /// The most steps of a window. `None` for no limit.
    every: Option<usize>,
}

impl Schedule {
    /// Schedules every row for its length, or for `seq` steps, without cuts.
    #[cfg(test)]
    pub fn new(seq: usize, batch: usize, sequence_length: Option<&[usize]>) -> Self {
        let mut schedule = Self::default();
        schedule.set(seq, batch, sequence_length);
        schedule
    }

    /// Makes this another schedule and reuses its memory.
    pub fn set(&mut self, seq: usize, batch: usize, sequence_length: Option<&[usize]>) {
        let lengths = sequence_length.unwrap_or_default();
        (self.batch, self.steps) = (batch, lengths.iter().max().map_or(seq, |&longest| longest));
        self.lengths.clear();
        self.order.clear();
        self.resets.clear();
        (self.places, self.repeats) = (None, false);
        (self.to_zero, self.every) = (false, None);
        if lengths.iter().all(|&length| length == self.steps) {
            return;
        }
        if !lengths.is_sorted_by(|a, b| a >= b) {
            self.order.extend(0..batch);
            // Sorted by row too: this makes the sort stable without extra memory.
            self.order.sort_unstable_by_key(|&row| (Reverse(lengths[row]), row));
        }
        self.lengths.extend((0..batch).map(|row| lengths[*self.order.get(row).unwrap_or(&row)]));
    }

    /// Schedules the steps of each row at which `mask` (seq, batch) is true, up to the row's length.
    pub fn set_masked(&mut self, mask: ArrayView2<'_, bool>, sequence_length: Option<&[usize]>) {
        let (seq, batch) = mask.dim();
        let places = Places::new(mask, sequence_length);
        self.set(seq, batch, Some(&places.counts()));
        self.places = Some(places);
    }

    /// Whether a masked step is to show the output of the last step before it that ran, instead of 0.
    pub fn repeat_masked(&mut self, repeats: bool) {
        self.repeats = repeats;
    }

    /// Cuts windows after every `every` steps, if set.
    pub fn cut_every(&mut self, every: Option<usize>) {
        self.every = every;
    }

    /// Whether windows are cut after a number of steps.
    pub fn is_cut(&self) -> bool {
        self.every.is_some()
    }

    /// Cuts windows where `resets` (seq, batch) says that a sequence starts within a row's length, so that the row can
    /// restart from its initial state, or from zeros.
    pub fn cut_at(&mut self, resets: ArrayView2<'_, bool>, direction: Direction, to_zero: bool) {
        self.to_zero = to_zero;
        for step in 0..self.steps {
            for row in 0..self.active(&(0..self.batch), step) {
                let this = self.place(direction, row, step);
                let last = step.checked_sub(1).map(|last| self.place(direction, row, last));
                let mut between = match (direction, last) {
                    (Direction::Forward, last) => last.map_or(0, |last| last + 1)..this + 1,
                    (Direction::Backward, Some(last)) => this + 1..last + 1,
                    (Direction::Backward, None) => 0..0,
                };
                if between.any(|step| resets[[step, self.row(row)]]) {
                    self.resets.push((step, row));
                }
            }
        }
    }

    /// The caller's number of a row's step, which counts from the end at which the row is read.
    fn place(&self, direction: Direction, row: usize, step: usize) -> usize {
        let step = match direction {
            Direction::Forward => step,
            Direction::Backward => self.length(row) - 1 - step,
        };
        self.places(row).map_or(step, |places| places[step])
    }

    /// The caller's numbers of a row's steps, if there is a mask.
    pub fn places(&self, row: usize) -> Option<&[usize]> {
        self.places.as_ref().map(|places| places.row(self.row(row)))
    }

    /// The masked steps of the caller's `row`, each with the last step before it that runs.
    pub fn masked(&self, row: usize) -> impl Iterator<Item = (usize, Option<usize>)> + '_ {
        self.places.iter().flat_map(move |places| places.masked(row))
    }

    /// Whether there is a mask.
    pub fn is_masked(&self) -> bool {
        self.places.is_some()
    }

    /// Where a row's padding begins, in the caller's steps.
    pub fn end(&self, row: usize) -> usize {
        self.places.as_ref().map_or(self.length(row), |places| places.length(self.row(row)))
    }

    /// How many of a row's steps have run after the caller's step `step`, read forward.
    pub fn done(&self, row: usize, step: usize) -> usize {
        self.places(row).map_or(self.length(row).min(step + 1), |places| places.partition_point(|&at| at <= step))
    }

    /// Whether masked steps repeat outputs.
    pub fn repeats(&self) -> bool {
        self.repeats
    }

    /// Number of rows.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Steps of the longest row.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Steps of all rows together.
    #[cfg(feature = "rayon")]
    pub fn steps_of_all_rows(&self) -> usize {
        if self.ragged() { self.lengths.iter().sum() } else { self.batch.saturating_mul(self.steps) }
    }

    /// Steps of a row.
    pub fn length(&self, row: usize) -> usize {
        self.lengths.get(row).copied().unwrap_or(self.steps)
    }

    /// Whether some rows end before others.
    pub fn ragged(&self) -> bool {
        !self.lengths.is_empty()
    }

    /// The caller's number of a row.
    pub fn row(&self, row: usize) -> usize {
        self.order.get(row).copied().unwrap_or(row)
    }

    /// Whether the rows are in the caller's order.
    pub fn in_callers_order(&self) -> bool {
        self.order.is_empty()
    }

    /// Whether rows restart from zeros.
    pub fn resets_to_zero(&self) -> bool {
        self.to_zero
    }

    /// Whether any row restarts.
    pub fn has_resets(&self) -> bool {
        !self.resets.is_empty()
    }

    /// The rows that restart before `step`.
    pub fn resets(&self, step: usize) -> impl Iterator<Item = usize> + '_ {
        let from = self.resets.partition_point(|&(earlier, _)| earlier < step);
        self.resets[from..].iter().take_while(move |&&(at, _)| at == step).map(|&(_, row)| row)
    }

    /// The windows in which `rows` run, in order. `active` counts from the first of these rows.
    pub fn windows(&self, rows: Range<usize>) -> impl Iterator<Item = Window> + '_ {
        let mut start = 0;
        std::iter::from_fn(move || {
            let active = self.active(&rows, start);
            let last = rows.start + active.checked_sub(1)?;
            let mut end = self.length(last);
            if let Some(every) = self.every {
                end = end.min(start.saturating_add(every));
            }
            let later = self.resets.partition_point(|&(step, _)| step <= start);
            if let Some(&(reset, _)) = self.resets[later..].iter().find(|(_, row)| rows.contains(row)) {
                end = end.min(reset);
            }
            let steps = start..end;
            start = end;
            Some(Window { steps, active })
        })
    }

    /// How many of `rows` run step `step`.
    fn active(&self, rows: &Range<usize>, step: usize) -> usize {
        if self.ragged() {
            return self.lengths[rows.clone()].partition_point(|&length| length > step);
        }
        if step < self.steps { rows.len() } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    fn windows(schedule: &Schedule, rows: Range<usize>) -> Vec<(Range<usize>, usize)> {
        schedule.windows(rows).map(|Window { steps, active }| (steps, active)).collect()
    }

    #[test]
    fn the_longest_rows_come_first_and_ties_keep_their_order() {
        let schedule = Schedule::new(9, 5, Some(&[2, 5, 0, 5, 3]));
        assert_eq!((0..5).map(|row| schedule.row(row)).collect::<Vec<_>>(), [1, 3, 4, 0, 2]);
        assert_eq!(windows(&schedule, 0..5), [(0..2, 4), (2..3, 3), (3..5, 2)]);
        assert_eq!(windows(&schedule, 2..5), [(0..2, 2), (2..3, 1)]);
        assert_eq!(windows(&schedule, 4..5), []);
    }

    #[test]
    fn rows_of_one_length_need_no_order() {
        for lengths in [None, Some(&[3, 3][..])] {
            let schedule = Schedule::new(3, 2, lengths);
            assert!(!schedule.ragged() && schedule.in_callers_order());
            assert_eq!(windows(&schedule, 0..2), [(0..3, 2)]);
        }
        assert_eq!(windows(&Schedule::new(3, 0, Some(&[])), 0..0), []);
        assert_eq!(windows(&Schedule::new(0, 2, None), 0..2), []);
        assert_eq!(windows(&Schedule::new(4, 2, Some(&[0, 0])), 0..2), []);
    }

    #[test]
    fn windows_are_cut_however_large_the_cut() {
        let mut schedule = Schedule::new(7, 2, Some(&[7, 3]));
        schedule.cut_every(Some(2));
        assert_eq!(windows(&schedule, 0..2), [(0..2, 2), (2..3, 2), (3..5, 1), (5..7, 1)]);
        for every in [usize::MAX, usize::MAX - 1] {
            schedule.cut_every(Some(every));
            assert_eq!(windows(&schedule, 0..2), [(0..3, 2), (3..7, 1)]);
        }
    }

    #[test]
    fn resets_cut_the_windows_of_their_rows() {
        let mut resets = Array2::from_elem((6, 3), false);
        for at in [[0, 0], [2, 1], [2, 2], [4, 0], [4, 2], [5, 2]] {
            resets[at] = true;
        }
        let mut schedule = Schedule::new(6, 3, Some(&[3, 6, 5]));
        schedule.cut_at(resets.view(), Direction::Forward, false);
        // In order: rows 1, 2 and 0. Row 0 has ended when it would reset, row 2 before its last.
        assert_eq!(windows(&schedule, 0..3), [(0..2, 3), (2..3, 3), (3..4, 2), (4..5, 2), (5..6, 1)]);
        assert_eq!(windows(&schedule, 0..1), [(0..2, 1), (2..6, 1)]);
        let at = |step| schedule.resets(step).collect::<Vec<_>>();
        assert_eq!([at(0), at(1), at(2), at(4), at(5)], [vec![2], vec![], vec![0, 1], vec![1], vec![]]);
    }
}
