//! [`Compressed`] around an [`AttentionWrapper`]: cell, memory and query layers, and attention layers.

use super::memory::AttentionMemory;
use super::state::AttentionState;
use super::wrapper::AttentionWrapper;
use crate::{Compressed, Error, RnnCell};
use ndarray::ArrayRef3;

/// With compressed weights the state to start from comes from here. Keys, memories and alignments stay `f32`.
impl<C: RnnCell<Elem = f32>> Compressed<AttentionWrapper<C>> {
    /// [`AttentionWrapper::attend`].
    ///
    /// # Errors
    /// As [`AttentionWrapper::attend`].
    pub fn attend(
        &self,
        memory: &ArrayRef3<f32>,
        memory_sequence_length: Option<&[usize]>,
    ) -> Result<AttentionState<C::State, f32>, Error> {
        self.cell().attend(memory, memory_sequence_length)
    }

    /// [`AttentionMechanism::memory`](super::AttentionMechanism::memory) of the mechanism with this number, for [`attend_to`](Self::attend_to).
    ///
    /// # Errors
    /// As [`AttentionMechanism::memory`](super::AttentionMechanism::memory).
    ///
    /// # Panics
    /// If there is no such mechanism.
    pub fn memory(
        &self,
        mechanism: usize,
        memory: &ArrayRef3<f32>,
        memory_sequence_length: Option<&[usize]>,
    ) -> Result<AttentionMemory<f32>, Error> {
        self.cell().mechanisms()[mechanism].memory(memory, memory_sequence_length)
    }

    /// [`AttentionWrapper::attend_to`].
    ///
    /// # Errors
    /// As [`AttentionWrapper::attend_to`].
    pub fn attend_to(&self, memories: &[AttentionMemory<f32>]) -> Result<AttentionState<C::State, f32>, Error> {
        self.cell().attend_to(memories)
    }
}
