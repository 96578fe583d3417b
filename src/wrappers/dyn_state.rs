//! [`DynState`]: a state whose type is known at run time only.

use crate::{Float, State};
use ndarray::{ArrayView2, ArrayViewMut2};
use std::any::{Any, type_name};
use std::fmt;

/// Holds any state of element type `E`: the state of a [`BoxedCell`](crate::BoxedCell).
pub struct DynState<E: Float>(Box<dyn ErasedState<E>>);

impl<E: Float> DynState<E> {
    /// Erases the type of `state`.
    #[must_use]
    pub fn new<S: State<E>>(state: S) -> Self {
        Self(Box::new(state))
    }

    /// The state inside, if it is an `S`.
    #[must_use]
    pub fn downcast_ref<S: State<E>>(&self) -> Option<&S> {
        self.0.erased_any().downcast_ref()
    }

    /// The state inside, mutably, if it is an `S`.
    #[must_use]
    pub fn downcast_mut<S: State<E>>(&mut self) -> Option<&mut S> {
        self.0.erased_any_mut().downcast_mut()
    }

    pub(crate) fn expect_mut<S: State<E>>(&mut self) -> &mut S {
        let found = self.0.erased_name();
        self.downcast_mut()
            .unwrap_or_else(|| panic!("the state is a {found}, but the cell's state is a {}", type_name::<S>()))
    }
}

impl<E: Float> Clone for DynState<E> {
    fn clone(&self) -> Self {
        self.0.erased_clone()
    }
}

impl<E: Float> fmt::Debug for DynState<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut leaves = Vec::new();
        self.visit(&mut |leaf| leaves.push(leaf));
        f.debug_struct("DynState").field("type", &self.0.erased_name()).field("leaves", &leaves).finish()
    }
}

impl<E: Float> State<E> for DynState<E> {
    fn batch_size(&self) -> usize {
        self.0.erased_batch_size()
    }
    fn visit<'a>(&'a self, visit: &mut dyn FnMut(ArrayView2<'a, E>)) {
        self.0.erased_visit(visit);
    }
    fn visit_mut<'a>(&'a mut self, visit: &mut dyn FnMut(ArrayViewMut2<'a, E>)) {
        self.0.erased_visit_mut(visit);
    }
    fn select_rows(&self, rows: &[usize]) -> Self {
        self.0.erased_select_rows(rows)
    }
    fn truncate_rows(&mut self, rows: usize) {
        self.0.erased_truncate_rows(rows);
    }
    fn copy_row(&mut self, row: usize, from: &Self, from_row: usize) {
        self.0.erased_copy_row(row, from, from_row);
    }
    fn copy_from(&mut self, from: &Self) {
        if !self.0.erased_copy_from(from) {
            *self = from.clone();
        }
    }
    fn set_to_zero(&mut self) {
        self.0.erased_set_to_zero();
    }
    fn visit_droppable_mut<'a>(&'a mut self, visit: &mut dyn FnMut(ArrayViewMut2<'a, E>)) {
        self.0.erased_visit_droppable_mut(visit);
    }
    fn visit_alignments<'a>(&'a self, visit: &mut dyn FnMut(ArrayView2<'a, E>)) {
        self.0.erased_visit_alignments(visit);
    }
    fn seed_dropout(&mut self, seed: Option<u64>) {
        self.0.erased_seed_dropout(seed);
    }
}

/// [`State`] without `Self` in its signatures.
trait ErasedState<E: Float>: Send + Sync {
    fn erased_name(&self) -> &'static str;
    fn erased_any(&self) -> &dyn Any;
    fn erased_any_mut(&mut self) -> &mut dyn Any;
    fn erased_clone(&self) -> DynState<E>;
    fn erased_batch_size(&self) -> usize;
    fn erased_visit<'a>(&'a self, visit: &mut dyn FnMut(ArrayView2<'a, E>));
    fn erased_visit_mut<'a>(&'a mut self, visit: &mut dyn FnMut(ArrayViewMut2<'a, E>));
    fn erased_select_rows(&self, rows: &[usize]) -> DynState<E>;
    fn erased_truncate_rows(&mut self, rows: usize);
    fn erased_copy_row(&mut self, row: usize, from: &DynState<E>, from_row: usize);
    /// Returns false, and copies nothing, if `from` is of another type.
    fn erased_copy_from(&mut self, from: &DynState<E>) -> bool;
    fn erased_set_to_zero(&mut self);
    fn erased_visit_droppable_mut<'a>(&'a mut self, visit: &mut dyn FnMut(ArrayViewMut2<'a, E>));
    fn erased_visit_alignments<'a>(&'a self, visit: &mut dyn FnMut(ArrayView2<'a, E>));
    fn erased_seed_dropout(&mut self, seed: Option<u64>);
}

impl<E: Float, S: State<E>> ErasedState<E> for S {
    fn erased_name(&self) -> &'static str {
        type_name::<S>()
    }
    fn erased_any(&self) -> &dyn Any {
        self
    }
    fn erased_any_mut(&mut self) -> &mut dyn Any {
        self
    }
    fn erased_clone(&self) -> DynState<E> {
        DynState::new(self.clone())
    }
    fn erased_batch_size(&self) -> usize {
        self.batch_size()
    }
    fn erased_visit<'a>(&'a self, visit: &mut dyn FnMut(ArrayView2<'a, E>)) {
        self.visit(visit);
    }
    fn erased_visit_mut<'a>(&'a mut self, visit: &mut dyn FnMut(ArrayViewMut2<'a, E>)) {
        self.visit_mut(visit);
    }
    fn erased_select_rows(&self, rows: &[usize]) -> DynState<E> {
        DynState::new(self.select_rows(rows))
    }
    fn erased_truncate_rows(&mut self, rows: usize) {
        self.truncate_rows(rows);
    }
    fn erased_copy_row(&mut self, row: usize, from: &DynState<E>, from_row: usize) {
        let found = from.0.erased_name();
        let from = from
            .downcast_ref::<S>()
            .unwrap_or_else(|| panic!("a row of a {found} cannot be copied to a {}", type_name::<S>()));
        self.copy_row(row, from, from_row);
    }
    fn erased_copy_from(&mut self, from: &DynState<E>) -> bool {
        let Some(from) = from.downcast_ref::<S>() else { return false };
        self.copy_from(from);
        true
    }
    fn erased_set_to_zero(&mut self) {
        self.set_to_zero();
    }
    fn erased_visit_droppable_mut<'a>(&'a mut self, visit: &mut dyn FnMut(ArrayViewMut2<'a, E>)) {
        self.visit_droppable_mut(visit);
    }
    fn erased_visit_alignments<'a>(&'a self, visit: &mut dyn FnMut(ArrayView2<'a, E>)) {
        self.visit_alignments(visit);
    }
    fn erased_seed_dropout(&mut self, seed: Option<u64>) {
        self.seed_dropout(seed);
    }
}
