//! [`State`]: what a cell carries from one step to the next.

use crate::Float;
use crate::seed::child_seed;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, s};

/// What a cell carries from step to step: float arrays (leaves) of shape (batch, features), with one row per batch row.
///
/// Implemented for `Array2`, [`LstmState`], tuples and `Vec`s of states. Drivers never look inside: they visit leaves,
/// and select, drop and copy rows. A state may hold other data for each row, as a [`DropoutState`](crate::DropoutState)
/// does. Such data moves with the rows but is not a leaf.
pub trait State<E: Float>: Clone + Send + Sync + 'static {
    /// Number of rows.
    #[must_use]
    fn batch_size(&self) -> usize;

    /// Visits the leaves in a fixed order.
    fn visit<'a>(&'a self, visit: &mut dyn FnMut(ArrayView2<'a, E>));

    /// Visits the leaves mutably, in the same order.
    fn visit_mut<'a>(&'a mut self, visit: &mut dyn FnMut(ArrayViewMut2<'a, E>));

    /// Returns a new state with the given rows, in the given order. A row may appear more than once.
    ///
    /// # Panics
    /// If a row is out of bounds.
    #[must_use]
    fn select_rows(&self, rows: &[usize]) -> Self;

    /// Keeps the first `rows` rows, without allocating.
    ///
    /// # Panics
    /// If there are fewer rows.
    fn truncate_rows(&mut self, rows: usize);

    /// Overwrites one row with a row of another state, without allocating.
    ///
    /// # Panics
    /// If a row is out of bounds, or the states differ in features or layers.
    fn copy_row(&mut self, row: usize, from: &Self, from_row: usize);

    /// Makes this state a copy of another, which may have any number of rows, and reuses memory.
    ///
    /// The provided version is [`Clone::clone_from`]. It reuses memory for an `Array2`, but allocates for a struct that
    /// derives `Clone`. Drivers with reusable buffers call it when a run starts.
    fn copy_from(&mut self, from: &Self) {
        self.clone_from(from);
    }

    /// Sets the numbers to those of a zero state, for a reset to zero.
    ///
    /// The provided version sets all leaves to 0. A monotonic attention goes back to the beginning of its memory. States
    /// made of states do this with each of their parts.
    fn set_to_zero(&mut self) {
        self.visit_mut(&mut |mut leaf| leaf.fill(E::zero()));
    }

    /// Visits the leaves that state dropout may touch, in the order of [`visit_mut`](Self::visit_mut).
    ///
    /// The provided version visits all leaves. An LSTM leaves out c, as in TensorFlow: it is memory, not an activation.
    /// An attention leaves out its alignments.
    fn visit_droppable_mut<'a>(&'a mut self, visit: &mut dyn FnMut(ArrayViewMut2<'a, E>)) {
        self.visit_mut(visit);
    }

    /// Visits the alignments of attentions inside, (batch, time) each.
    ///
    /// The provided version visits none. States made of states visit those of their parts. A beam search with a
    /// coverage penalty reads them.
    fn visit_alignments<'a>(&'a self, visit: &mut dyn FnMut(ArrayView2<'a, E>)) {
        let _ = visit;
    }

    /// Turns dropout on: draws masks from `seed` and counts rows and steps from 0. `None` turns it off.
    ///
    /// It is off in a [`zero_state`](crate::RnnCell::zero_state). The provided version does nothing, which is right for
    /// a state without a [`DropoutState`](crate::DropoutState) inside. States made of states give each its own seed.
    fn seed_dropout(&mut self, seed: Option<u64>) {
        let _ = seed;
    }
}

impl<E: Float> State<E> for Array2<E> {
    fn batch_size(&self) -> usize {
        self.nrows()
    }
    fn visit<'a>(&'a self, visit: &mut dyn FnMut(ArrayView2<'a, E>)) {
        visit(self.view());
    }
    fn visit_mut<'a>(&'a mut self, visit: &mut dyn FnMut(ArrayViewMut2<'a, E>)) {
        visit(self.view_mut());
    }
    fn select_rows(&self, rows: &[usize]) -> Self {
        self.view().select(Axis(0), rows)
    }
    fn truncate_rows(&mut self, rows: usize) {
        self.slice_collapse(s![..rows, ..]);
    }
    fn copy_row(&mut self, row: usize, from: &Self, from_row: usize) {
        // `assign` would broadcast a single feature over the row.
        assert_eq!(self.ncols(), from.ncols(), "the states differ in features");
        self.row_mut(row).assign(&from.row(from_row));
    }
}

/// The state of an LSTM: the cell's memory `c` and its output `h`.
#[derive(Debug, Clone, PartialEq)]
pub struct LstmState<E> {
    /// Memory, (batch, hidden).
    pub c: Array2<E>,
    /// Output of the last step, (batch, output): `hidden` wide, or `num_proj` with a projection.
    pub h: Array2<E>,
}

impl<E: Float> State<E> for LstmState<E> {
    fn batch_size(&self) -> usize {
        self.c.nrows()
    }
    fn visit<'a>(&'a self, visit: &mut dyn FnMut(ArrayView2<'a, E>)) {
        visit(self.c.view());
        visit(self.h.view());
    }
    fn visit_mut<'a>(&'a mut self, visit: &mut dyn FnMut(ArrayViewMut2<'a, E>)) {
        visit(self.c.view_mut());
        visit(self.h.view_mut());
    }
    fn select_rows(&self, rows: &[usize]) -> Self {
        Self { c: self.c.select_rows(rows), h: self.h.select_rows(rows) }
    }
    fn truncate_rows(&mut self, rows: usize) {
        self.c.truncate_rows(rows);
        self.h.truncate_rows(rows);
    }
    fn copy_row(&mut self, row: usize, from: &Self, from_row: usize) {
        self.c.copy_row(row, &from.c, from_row);
        self.h.copy_row(row, &from.h, from_row);
    }
    fn copy_from(&mut self, from: &Self) {
        self.c.copy_from(&from.c);
        self.h.copy_from(&from.h);
    }
    fn visit_droppable_mut<'a>(&'a mut self, visit: &mut dyn FnMut(ArrayViewMut2<'a, E>)) {
        visit(self.h.view_mut());
    }
}

impl<E: Float, S: State<E>> State<E> for Vec<S> {
    fn batch_size(&self) -> usize {
        self.first().map_or(0, S::batch_size)
    }
    fn visit<'a>(&'a self, visit: &mut dyn FnMut(ArrayView2<'a, E>)) {
        self.iter().for_each(|state| state.visit(visit));
    }
    fn visit_mut<'a>(&'a mut self, visit: &mut dyn FnMut(ArrayViewMut2<'a, E>)) {
        self.iter_mut().for_each(|state| state.visit_mut(visit));
    }
    fn select_rows(&self, rows: &[usize]) -> Self {
        self.iter().map(|state| state.select_rows(rows)).collect()
    }
    fn truncate_rows(&mut self, rows: usize) {
        self.iter_mut().for_each(|state| state.truncate_rows(rows));
    }
    fn copy_row(&mut self, row: usize, from: &Self, from_row: usize) {
        assert_eq!(self.len(), from.len(), "the states differ in layers");
        for (to, from) in self.iter_mut().zip(from) {
            to.copy_row(row, from, from_row);
        }
    }
    fn copy_from(&mut self, from: &Self) {
        if self.len() != from.len() {
            return self.clone_from(from);
        }
        for (to, from) in self.iter_mut().zip(from) {
            to.copy_from(from);
        }
    }
    fn set_to_zero(&mut self) {
        self.iter_mut().for_each(S::set_to_zero);
    }
    fn visit_droppable_mut<'a>(&'a mut self, visit: &mut dyn FnMut(ArrayViewMut2<'a, E>)) {
        self.iter_mut().for_each(|state| state.visit_droppable_mut(visit));
    }
    fn visit_alignments<'a>(&'a self, visit: &mut dyn FnMut(ArrayView2<'a, E>)) {
        self.iter().for_each(|state| state.visit_alignments(visit));
    }
    fn seed_dropout(&mut self, seed: Option<u64>) {
        for (index, state) in self.iter_mut().enumerate() {
            state.seed_dropout(seed.map(|seed| child_seed(seed, index)));
        }
    }
}

macro_rules! tuple_state {
    ($($name:ident $index:tt)+) => {
        impl<E: Float, $($name: State<E>),+> State<E> for ($($name,)+) {
            fn batch_size(&self) -> usize {
                self.0.batch_size()
            }
            fn visit<'a>(&'a self, visit: &mut dyn FnMut(ArrayView2<'a, E>)) {
                $(self.$index.visit(visit);)+
            }
            fn visit_mut<'a>(&'a mut self, visit: &mut dyn FnMut(ArrayViewMut2<'a, E>)) {
                $(self.$index.visit_mut(visit);)+
            }
            fn select_rows(&self, rows: &[usize]) -> Self {
                ($(self.$index.select_rows(rows),)+)
            }
            fn truncate_rows(&mut self, rows: usize) {
                $(self.$index.truncate_rows(rows);)+
            }
            fn copy_row(&mut self, row: usize, from: &Self, from_row: usize) {
                $(self.$index.copy_row(row, &from.$index, from_row);)+
            }
            fn copy_from(&mut self, from: &Self) {
                $(self.$index.copy_from(&from.$index);)+
            }
            fn set_to_zero(&mut self) {
                $(self.$index.set_to_zero();)+
            }
            fn visit_droppable_mut<'a>(&'a mut self, visit: &mut dyn FnMut(ArrayViewMut2<'a, E>)) {
                $(self.$index.visit_droppable_mut(visit);)+
            }
            fn visit_alignments<'a>(&'a self, visit: &mut dyn FnMut(ArrayView2<'a, E>)) {
                $(self.$index.visit_alignments(visit);)+
            }
            fn seed_dropout(&mut self, seed: Option<u64>) {
                $(self.$index.seed_dropout(seed.map(|seed| child_seed(seed, $index)));)+
            }
        }
    };
}

tuple_state!(A 0);
tuple_state!(A 0 B 1);
tuple_state!(A 0 B 1 C 2);
tuple_state!(A 0 B 1 C 2 D 3);
