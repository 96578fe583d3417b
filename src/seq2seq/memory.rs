//! [`AttentionMemory`]: what an attention attends to, with its keys.

use crate::checks::check_shape;
use crate::fused::{Linear, Workspace};
use crate::kernel::zeros;
use crate::{Error, Float};
use ndarray::{Array3, ArrayRef3, ArrayView3, s};
use std::sync::Arc;

/// A memory (batch, time, depth) and its keys (batch, time, units), which an
/// [`AttentionMechanism`](super::AttentionMechanism) computes once.
///
/// A clone shares both. A state's row refers to a row of it, so drivers and beams that sort, drop or repeat rows copy no
/// memory, and it need not be tiled.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionMemory<E>(Arc<Numbers<E>>);

#[derive(Debug, PartialEq)]
struct Numbers<E> {
    /// 0 past each row's length.
    values: Array3<E>,
    keys: Array3<E>,
    lengths: Vec<usize>,
}

impl<E: Float> AttentionMemory<E> {
    /// # Errors
    /// - [`Error::ArrayShape`] if `memory` is not as deep as the layer's input.
    /// - [`Error::ZeroSize`] if it has no steps.
    /// - [`Error::MemoryLength`] or [`Error::MemoryLengthBatch`] if the lengths do not fit it.
    pub(super) fn new(layer: &Linear<E>, memory: &ArrayRef3<E>, lengths: Option<&[usize]>) -> Result<Self, Error> {
        let (batch, time, _) = memory.dim();
        check_shape("memory", &[batch, time, layer.input_size()], memory.shape())?;
        crate::checks::check_sizes(&[("memory's time", time)])?;
        if let Some(lengths) = lengths {
            if lengths.len() != batch {
                return Err(Error::MemoryLengthBatch { found: lengths.len(), memory: memory.dim() });
            }
            if let Some(row) = lengths.iter().position(|length| !(1..=time).contains(length)) {
                return Err(Error::MemoryLength { row, length: lengths[row], memory: memory.dim() });
            }
        }
        let lengths = lengths.map_or_else(|| vec![time; batch], <[usize]>::to_vec);
        let mut values = zeros(memory.raw_dim());
        for (row, &length) in lengths.iter().enumerate() {
            // Not multiplied by a mask: a NaN in the padding would stay.
            values.slice_mut(s![row, ..length, ..]).assign(&memory.slice(s![row, ..length, ..]));
        }
        let mut keys = zeros((batch, time, layer.units()));
        layer.forward(&values, &mut keys, &mut Workspace::default());
        Ok(Self(Arc::new(Numbers { values, keys, lengths })))
    }

    /// The memory, (batch, time, depth), 0 past each row's length.
    #[must_use]
    pub fn values(&self) -> ArrayView3<'_, E> {
        self.0.values.view()
    }

    /// The keys, (batch, time, units).
    #[must_use]
    pub fn keys(&self) -> ArrayView3<'_, E> {
        self.0.keys.view()
    }

    /// The lengths of the rows, (batch).
    #[must_use]
    pub fn lengths(&self) -> &[usize] {
        &self.0.lengths
    }

    /// Number of rows.
    #[must_use]
    pub fn batch_size(&self) -> usize {
        self.0.lengths.len()
    }

    /// Number of steps.
    #[must_use]
    pub fn time(&self) -> usize {
        self.0.values.dim().1
    }
}

/// A row of a memory. Holds the whole memory alive, and copies none of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MemoryRow<E> {
    memory: AttentionMemory<E>,
    row: usize,
}

impl<E: Float> MemoryRow<E> {
    /// # Panics
    /// If there is no such row.
    pub(super) fn new(memory: &AttentionMemory<E>, row: usize) -> Self {
        assert!(row < memory.batch_size(), "the memory has this row");
        Self { memory: memory.clone(), row }
    }

    /// Steps of the row.
    pub(crate) fn length(&self) -> usize {
        self.memory.0.lengths[self.row]
    }

    pub(crate) fn time(&self) -> usize {
        self.memory.time()
    }

    /// (units, depth).
    pub(crate) fn widths(&self) -> (usize, usize) {
        (self.memory.0.keys.dim().2, self.memory.0.values.dim().2)
    }

    /// The keys of the row's steps, one after another.
    pub(crate) fn keys(&self) -> &[E] {
        self.of(&self.memory.0.keys)
    }

    /// The values of the row's steps, one after another.
    pub(crate) fn values(&self) -> &[E] {
        self.of(&self.memory.0.values)
    }

    fn of<'a>(&self, array: &'a Array3<E>) -> &'a [E] {
        let (_, time, width) = array.dim();
        let numbers = array.as_slice().expect("memories are kept in standard layout");
        &numbers[self.row * time * width..][..self.length() * width]
    }
}
