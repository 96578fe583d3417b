//! [`AttentionState`]: the state of an attention cell, memory included.

use super::head::Head;
use crate::checks::{check_shape, check_state, leaf_shapes};
use crate::kernel::zeros;
use crate::seed::child_seed;
use crate::{Error, Float, State};
use ndarray::{Array2, Array3, ArrayRef3, ArrayView2, ArrayViewMut2, s};

/// The state of an [`AttentionWrapper`](super::AttentionWrapper): TensorFlow 1's `AttentionWrapperState`.
///
/// Its leaves are those of the cell's state, the last attention (batch, attention), and the last alignments of each
/// mechanism (batch, time of its memory). Each row also refers to its row of the memory, and keeps its alignment
/// history if asked to. So a row can be moved, dropped and repeated like that of any state, and a memory needs no
/// `tile_batch`.
///
/// A zero state has no memory. [`AttentionWrapper::attend`](super::AttentionWrapper::attend) makes one that has.
///
/// TensorFlow's `time` is left out, and `attention_state` is `alignments`.
#[derive(Debug, PartialEq)]
pub struct AttentionState<S, E> {
    pub(crate) cell_state: S,
    pub(crate) attention: Array2<E>,
    pub(crate) heads: Vec<Head<E>>,
}

impl<S, E: Float> AttentionState<S, E> {
    /// The cell's state.
    #[must_use]
    pub fn cell_state(&self) -> &S {
        &self.cell_state
    }

    /// The cell's state, to change.
    #[must_use]
    pub fn cell_state_mut(&mut self) -> &mut S {
        &mut self.cell_state
    }

    /// The cell's state.
    #[must_use]
    pub fn into_cell_state(self) -> S {
        self.cell_state
    }

    /// The attention after the last step, (batch, attention).
    #[must_use]
    pub fn attention(&self) -> &Array2<E> {
        &self.attention
    }

    /// The alignments of a mechanism, counted from 0, after the last step: (batch, time).
    ///
    /// # Panics
    /// If there is no such mechanism.
    #[must_use]
    pub fn alignments(&self, mechanism: usize) -> &Array2<E> {
        &self.heads[mechanism].alignments
    }

    /// The alignments of a mechanism after every step since the state was made, (steps, batch, time): 0 past a row's
    /// end, and empty if the wrapper keeps no history. Only steps that ran count: masked ones have no entry, and a row
    /// that is reset starts anew. (In TensorFlow the entries of a finished row go on, computed from its frozen state.)
    ///
    /// # Panics
    /// If there is no such mechanism.
    #[must_use]
    pub fn alignment_history(&self, mechanism: usize) -> Array3<E> {
        let Head { alignments, rows, .. } = &self.heads[mechanism];
        let time = alignments.ncols();
        let longest = rows.iter().map(|row| row.history.len()).max().unwrap_or(0);
        let mut history = zeros((longest.checked_div(time).unwrap_or(0), rows.len(), time));
        for (at, row) in rows.iter().enumerate() {
            for (step, alignments) in row.history.chunks_exact(time.max(1)).enumerate() {
                history.slice_mut(s![step, at, ..]).iter_mut().zip(alignments).for_each(|(to, &a)| *to = a);
            }
        }
        history
    }

    /// If this state is the gradient of an initial state: that of a mechanism's memory, (batch, time, depth), one entry
    /// per row of the batch. 0 in the padding. `None` if no step ran backward.
    ///
    /// # Panics
    /// If there is no such mechanism.
    #[must_use]
    pub fn memory_gradient(&self, mechanism: usize) -> Option<Array3<E>> {
        let Head { alignments, rows, .. } = &self.heads[mechanism];
        let (time, numbers) = (alignments.ncols(), rows.iter().map(|row| row.d_memory.len()).max()?);
        let depth = numbers.checked_div(time).filter(|&depth| depth > 0)?;
        let mut gradient = zeros((rows.len(), time, depth));
        for (row, mut to) in rows.iter().zip(gradient.outer_iter_mut()) {
            to.iter_mut().zip(&row.d_memory).for_each(|(to, &d)| *to = d);
        }
        Some(gradient)
    }

    /// If this state is the gradient of a final state: sets that of a mechanism's
    /// [`alignment_history`](Self::alignment_history), (steps, batch, time), for a loss over alignments. `steps` is the
    /// number of steps each row ran; entries past a row's end are ignored. `time` must be the memory's, which is not
    /// checked.
    ///
    /// # Errors
    /// [`Error::ArrayShape`] if `gradient` or `steps` does not have the batch of this state.
    ///
    /// # Panics
    /// If there is no such mechanism, or a row has more steps than the gradient.
    pub fn set_alignment_history_gradient(
        &mut self,
        mechanism: usize,
        gradient: &ArrayRef3<E>,
        steps: &[usize],
    ) -> Result<(), Error> {
        let rows = &mut self.heads[mechanism].rows;
        let (seq, _, time) = gradient.dim();
        check_shape("gradient", &[seq, rows.len(), time], gradient.shape())?;
        check_shape("steps", &[rows.len()], &[steps.len()])?;
        for (at, (row, &steps)) in rows.iter_mut().zip(steps).enumerate() {
            row.d_history.clear();
            row.d_history.extend(gradient.slice(s![..steps, at, ..]).iter());
        }
        Ok(())
    }

    /// Starts the cell from another state, such as an encoder's last: TensorFlow's `clone(cell_state=…)`.
    ///
    /// # Errors
    /// [`Error::StateShape`] or [`Error::StateLeaves`] if it does not fit the cell or the batch.
    pub fn with_cell_state(mut self, cell_state: S) -> Result<Self, Error>
    where
        S: State<E>,
    {
        check_state("cell_state", &leaf_shapes(&self.cell_state), self.attention.nrows(), &cell_state)?;
        self.cell_state = cell_state;
        Ok(self)
    }
}

impl<S: Clone, E: Float> Clone for AttentionState<S, E> {
    fn clone(&self) -> Self {
        let heads = self.heads.iter().map(|head| Head {
            alignments: head.alignments.clone(),
            rows: head.rows.clone(),
            keeps_history: head.keeps_history,
            is_monotonic: head.is_monotonic,
        });
        Self { cell_state: self.cell_state.clone(), attention: self.attention.clone(), heads: heads.collect() }
    }
}

impl<E: Float, S: State<E>> State<E> for AttentionState<S, E> {
    fn batch_size(&self) -> usize {
        self.attention.nrows()
    }
    fn visit<'a>(&'a self, visit: &mut dyn FnMut(ArrayView2<'a, E>)) {
        self.cell_state.visit(visit);
        visit(self.attention.view());
        self.heads.iter().for_each(|head| visit(head.alignments.view()));
    }
    fn visit_mut<'a>(&'a mut self, visit: &mut dyn FnMut(ArrayViewMut2<'a, E>)) {
        self.cell_state.visit_mut(visit);
        visit(self.attention.view_mut());
        self.heads.iter_mut().for_each(|head| visit(head.alignments.view_mut()));
    }
    fn select_rows(&self, rows: &[usize]) -> Self {
        Self {
            cell_state: self.cell_state.select_rows(rows),
            attention: self.attention.select_rows(rows),
            heads: self.heads.iter().map(|head| head.select_rows(rows)).collect(),
        }
    }
    fn truncate_rows(&mut self, rows: usize) {
        self.cell_state.truncate_rows(rows);
        self.attention.truncate_rows(rows);
        for head in &mut self.heads {
            assert!(rows <= head.rows.len(), "there are as many rows");
            head.alignments.truncate_rows(rows);
            head.rows.truncate(rows);
        }
    }
    fn copy_row(&mut self, row: usize, from: &Self, from_row: usize) {
        self.cell_state.copy_row(row, &from.cell_state, from_row);
        self.attention.copy_row(row, &from.attention, from_row);
        assert_eq!(self.heads.len(), from.heads.len(), "the states differ in mechanisms");
        for (to, from) in self.heads.iter_mut().zip(&from.heads) {
            // A gradient starts without a memory, and gets one where steps ran backward.
            to.widen(from.alignments.ncols());
            match from.alignments.ncols() {
                0 => to.alignments.row_mut(row).fill(E::zero()),
                _ => to.alignments.copy_row(row, &from.alignments, from_row),
            }
            to.rows[row].clone_from(&from.rows[from_row]);
        }
    }
    fn copy_from(&mut self, from: &Self) {
        if self.heads.len() != from.heads.len() {
            return self.clone_from(from);
        }
        self.cell_state.copy_from(&from.cell_state);
        self.attention.copy_from(&from.attention);
        for (to, from) in self.heads.iter_mut().zip(&from.heads) {
            to.alignments.copy_from(&from.alignments);
            to.rows.clone_from(&from.rows);
            to.keeps_history = from.keeps_history;
            to.is_monotonic = from.is_monotonic;
        }
    }
    fn set_to_zero(&mut self) {
        self.cell_state.set_to_zero();
        self.attention.fill(E::zero());
        self.heads.iter_mut().for_each(Head::go_to_first);
    }
    fn visit_droppable_mut<'a>(&'a mut self, visit: &mut dyn FnMut(ArrayViewMut2<'a, E>)) {
        self.cell_state.visit_droppable_mut(visit);
        visit(self.attention.view_mut());
    }
    fn visit_alignments<'a>(&'a self, visit: &mut dyn FnMut(ArrayView2<'a, E>)) {
        self.heads.iter().for_each(|head| visit(head.alignments.view()));
    }
    fn seed_dropout(&mut self, seed: Option<u64>) {
        self.cell_state.seed_dropout(seed.map(|seed| child_seed(seed, 0)));
    }
}

/// Repeats every row of a state `multiplier` times: a, a, b, b. TensorFlow's `tile_batch`.
///
/// Memories are shared. [`BeamSearchDecoder`](super::BeamSearchDecoder) does this itself; it takes an untiled state.
#[must_use]
pub fn tile_batch<E: Float, S: State<E>>(state: &S, multiplier: usize) -> S {
    let rows: Vec<usize> = (0..state.batch_size()).flat_map(|row| std::iter::repeat_n(row, multiplier)).collect();
    state.select_rows(&rows)
}
