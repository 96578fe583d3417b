//! [`Head`]: what one mechanism of a state carries.

use super::memory::{AttentionMemory, MemoryRow};
use crate::kernel::zeros;
use crate::{Float, State};
use ndarray::Array2;

/// What one mechanism carries.
#[derive(Debug, PartialEq)]
pub(crate) struct Head<E> {
    /// (batch, time); 0 wide without a memory.
    pub alignments: Array2<E>,
    pub rows: Vec<HeadRow<E>>,
    pub keeps_history: bool,
    /// Whether the alignments are a position, which starts at the memory's beginning.
    pub is_monotonic: bool,
}

/// What belongs to a row of a head, beside its alignments.
#[derive(Debug, PartialEq)]
pub(crate) struct HeadRow<E> {
    pub memory: Option<MemoryRow<E>>,
    /// The alignments after each step, one step after another.
    pub(super) history: Vec<E>,
    /// In a gradient: that of the memory's row, (time, depth). Empty if 0.
    pub d_memory: Vec<E>,
    /// In a gradient: that of the history. A step backward takes its alignments' from the end.
    pub(super) d_history: Vec<E>,
    /// In a gradient, while a pass goes backward: the number of the memory's sums in the workspace.
    pub sums: Option<usize>,
}

/// What a backward pass has added to a row of a memory.
pub(crate) struct MemorySums<E> {
    pub memory: MemoryRow<E>,
    /// (length, units).
    pub keys: Vec<E>,
    /// (length, depth).
    pub values: Vec<E>,
}

impl<E> Default for HeadRow<E> {
    fn default() -> Self {
        Self { memory: None, history: Vec::new(), d_memory: Vec::new(), d_history: Vec::new(), sums: None }
    }
}

/// By hand, so that `clone_from` reuses memory.
impl<E: Clone> Clone for HeadRow<E> {
    fn clone(&self) -> Self {
        let Self { memory, history, d_memory, d_history, sums } = self;
        Self {
            memory: memory.clone(),
            history: history.clone(),
            d_memory: d_memory.clone(),
            d_history: d_history.clone(),
            sums: *sums,
        }
    }
    fn clone_from(&mut self, from: &Self) {
        self.memory.clone_from(&from.memory);
        self.history.clone_from(&from.history);
        self.d_memory.clone_from(&from.d_memory);
        self.d_history.clone_from(&from.d_history);
        self.sums = from.sums;
    }
}

impl<E: Float> HeadRow<E> {
    /// # Panics
    /// If there is none.
    pub(crate) fn memory(&self) -> &MemoryRow<E> {
        self.memory.as_ref().expect("the state has no memory: start from a state of AttentionWrapper::attend")
    }

    /// Takes the gradient of the last remembered alignments, if there is one.
    pub(crate) fn take_d_history(&mut self, time: usize, to: &mut [E]) {
        if let Some(start) = self.d_history.len().checked_sub(time) {
            to.iter_mut().zip(&self.d_history[start..]).for_each(|(to, &d)| *to += d);
            self.d_history.truncate(start);
        }
    }
}

impl<E: Float> Head<E> {
    /// Without a memory.
    pub(super) fn empty(batch: usize, is_monotonic: bool, keeps_history: bool) -> Self {
        let rows = vec![HeadRow::default(); batch];
        Self { alignments: zeros((batch, 0)), rows, keeps_history, is_monotonic }
    }

    /// Before the first step.
    pub(super) fn new(memory: &AttentionMemory<E>, is_monotonic: bool, keeps_history: bool) -> Self {
        let batch = memory.batch_size();
        let row = |row| HeadRow { memory: Some(MemoryRow::new(memory, row)), ..HeadRow::default() };
        let (alignments, rows) = (zeros((batch, memory.time())), (0..batch).map(row).collect());
        let mut head = Self { alignments, rows, keeps_history, is_monotonic };
        head.go_to_first();
        head
    }

    /// Sets the alignments to those before the first step.
    pub(super) fn go_to_first(&mut self) {
        self.alignments.fill(E::zero());
        if self.is_monotonic && self.alignments.ncols() > 0 {
            self.alignments.column_mut(0).fill(E::one());
        }
    }

    /// Adds the alignments to the history, if it is kept.
    pub(super) fn remember(&mut self) {
        if self.keeps_history {
            for (row, alignments) in self.rows.iter_mut().zip(self.alignments.rows()) {
                row.history.extend(alignments);
            }
        }
    }

    /// Makes the alignments of a state without a memory as wide as another's.
    pub(crate) fn widen(&mut self, time: usize) {
        if self.alignments.ncols() == 0 {
            self.alignments = zeros((self.alignments.nrows(), time));
        }
    }

    pub(super) fn select_rows(&self, rows: &[usize]) -> Self {
        Self {
            alignments: self.alignments.select_rows(rows),
            rows: rows.iter().map(|&row| self.rows[row].clone()).collect(),
            keeps_history: self.keeps_history,
            is_monotonic: self.is_monotonic,
        }
    }
}
