//! The gradients of memories.

use crate::Float;
use crate::fused::{LinearWeights, Workspace};
use crate::kernel::zeros;
use crate::seq2seq::{AttentionMechanism, HeadRow, MemoryRow, MemorySums};
use ndarray::{ArrayViewMut3, Axis, s};

/// What has been added to the memory of a row of a gradient; 0 at first.
pub(super) fn sums_of<'a, E: Float>(
    row: &mut HeadRow<E>,
    memory: &MemoryRow<E>,
    sums: &'a mut Vec<MemorySums<E>>,
) -> &'a mut MemorySums<E> {
    let number = *row.sums.get_or_insert_with(|| {
        let (keys, values) = (vec![E::zero(); memory.keys().len()], vec![E::zero(); memory.values().len()]);
        sums.push(MemorySums { memory: memory.clone(), keys, values });
        sums.len() - 1
    });
    &mut sums[number]
}

/// Takes the keys' gradients through the memory layer, all rows at once, and adds all to the gradient of the state.
pub(super) fn finish<E: Float>(
    mechanism: &AttentionMechanism<E>,
    gradient: &mut LinearWeights<E>,
    rows: &mut [HeadRow<E>],
    (sums, products): (&mut Vec<MemorySums<E>>, &mut Workspace<E>),
) {
    let rows: Vec<_> = rows.iter_mut().filter_map(|row| row.sums.take().map(|number| (row, &sums[number]))).collect();
    let (units, depth) = (mechanism.num_units(), mechanism.memory_depth());
    let steps = rows.iter().map(|(_, sums)| sums.memory.length()).sum();
    let (mut values, mut d_keys) = (zeros((1, steps, depth)), zeros((1, steps, units)));
    let mut first = 0;
    for (_, sums) in &rows {
        let of_row = s![.., first..first + sums.memory.length(), ..];
        assign(values.slice_mut(of_row), sums.memory.values());
        assign(d_keys.slice_mut(of_row), &sums.keys);
        first += sums.memory.length();
    }
    let mut d_values = zeros(values.raw_dim());
    mechanism.memory_layer().backward(&values, &d_keys, &mut d_values, gradient, products);
    let mut d_values = d_values.index_axis(Axis(0), 0).into_iter();
    for (row, MemorySums { memory, values, .. }) in rows {
        row.d_memory.resize(memory.time() * depth, E::zero());
        for ((to, &through_values), &through_keys) in row.d_memory.iter_mut().zip(values).zip(&mut d_values) {
            *to += through_values + through_keys;
        }
    }
    sums.clear();
}

fn assign<E: Float>(mut to: ArrayViewMut3<'_, E>, from: &[E]) {
    to.iter_mut().zip(from).for_each(|(to, &from)| *to = from);
}
