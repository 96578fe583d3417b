//! [`MemoryBack`]: the gradients of a memory.

use crate::Float;
use crate::fused::{LinearWeights, Workspace};
use crate::kernel::zeros;
use crate::seq2seq::{AttentionMechanism, BUFFERS, HeadRow, MemoryRow};
use ndarray::Array3;

/// The gradients of a mechanism's memory while a run goes backward, by row of the state.
pub(super) struct MemoryBack<E> {
    rows: Vec<MemoryRow<E>>,
    /// (batch, time, units).
    d_keys: Array3<E>,
    /// (batch, time, depth).
    d_values: Array3<E>,
}

impl<E: Float> MemoryBack<E> {
    pub(super) fn new(mechanism: &AttentionMechanism<E>, rows: &[MemoryRow<E>], time: usize) -> Self {
        let batch = rows.len();
        Self {
            rows: rows.to_vec(),
            d_keys: zeros((batch, time, mechanism.num_units())),
            d_values: zeros((batch, time, mechanism.memory_depth())),
        }
    }

    /// The gradients of the keys and values of a row's valid steps.
    pub(super) fn row(&mut self, row: usize, length: usize) -> (&mut [E], &mut [E]) {
        fn of<E>(array: &mut Array3<E>, row: usize, length: usize) -> &mut [E] {
            let (_, time, width) = array.dim();
            let numbers = array.as_slice_mut().expect(BUFFERS);
            &mut numbers[row * time * width..][..length * width]
        }
        (of(&mut self.d_keys, row, length), of(&mut self.d_values, row, length))
    }

    /// Steps of the memory.
    pub(super) fn time(&self) -> usize {
        self.d_keys.dim().1
    }

    /// Takes the keys' gradients through the memory layer, and adds all to the gradient of the state.
    pub(super) fn finish(
        self,
        mechanism: &AttentionMechanism<E>,
        gradient: &mut LinearWeights<E>,
        to: &mut [HeadRow<E>],
        products: &mut Workspace<E>,
    ) {
        let mut values = zeros(self.d_values.raw_dim());
        for (mut to, row) in values.outer_iter_mut().zip(&self.rows) {
            to.iter_mut().zip(row.values()).for_each(|(to, &value)| *to = value);
        }
        let mut d_values = zeros(values.raw_dim());
        mechanism.memory_layer().backward(&values, &self.d_keys, &mut d_values, gradient, products);
        d_values += &self.d_values;
        for (to, d) in to.iter_mut().zip(d_values.outer_iter()) {
            to.d_memory.resize(d.len(), E::zero());
            to.d_memory.iter_mut().zip(d).for_each(|(to, &d)| *to += d);
        }
    }
}
