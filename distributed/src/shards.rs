//! [`Shards`]: a batch's gradient from the gradients of its parts.

use crate::checksum::{checksum, layout};
use crate::{Error, World};
use mpi::datatype::{Partition, PartitionMut};
use mpi::traits::{CommunicatorCollectives, Equivalence};
use rnn_cell::train::{Gradients, Optimizer};
use rnn_cell::{Float, Parameters, ParametersMut};
use std::ops::Range;

/// How many of a gradient's numbers are exchanged at a time, at most. It bounds the memory of the buffers.
const BLOCK: usize = 1 << 22;
/// The numbers of all shards that are exchanged at a time, at most: MPI counts in 31 bits.
const EXCHANGED: usize = 1 << 30;

/// The loss of a shard's rows, and its gradient.
#[derive(Debug, Clone)]
pub struct Shard<E> {
    /// The weighted mean of the losses of the shard's rows.
    pub loss: f64,
    /// What the mean is divided by: the sum of the weights, or the number of rows. Finite and at least 0; a shard of
    /// weight 0 adds nothing.
    pub weight: f64,
    /// The gradient of `loss`.
    pub gradients: Gradients<E>,
}

/// Divides batches into shards: runs of rows whose gradients are computed by themselves, each in one process.
///
/// Results depend on the number of shards, but not on the number of processes.
#[derive(Debug, Clone, Copy)]
pub struct Shards<'w> {
    world: &'w World,
    count: usize,
}

/// Options of [`Shards`].
#[derive(Debug, Clone, Copy)]
#[must_use = "a builder does nothing until it builds"]
pub struct ShardsBuilder<'w> {
    world: &'w World,
    count: Option<usize>,
}

impl<'w> ShardsBuilder<'w> {
    /// The number of shards of every batch, at least the number of processes. Keep it when you change the number of
    /// processes, and results stay the same bits. Default: the number of processes.
    pub fn count(mut self, count: usize) -> Self {
        self.count = Some(count);
        self
    }

    /// Creates the shards, and compares them.
    ///
    /// # Errors
    /// - [`Error::Differ`] if processes have different numbers of shards, or compute on different instruction sets, which
    ///   do not give the same bits. (`RNN_CELL_ISA` selects one that all machines have.)
    /// - [`Error::ShardCount`] if there are fewer shards than processes.
    pub fn build(self) -> Result<Shards<'w>, Error> {
        let (world, count) = (self.world, self.count.unwrap_or(self.world.size()));
        let instructions = crate::checksum::text(0, rnn_cell::instruction_set());
        world.agree(Ok([count as u64, instructions]), ["the number of shards", "the instruction set"])?;
        if count < world.size() {
            return Err(Error::ShardCount { shards: count, bound: world.size(), of: "processes" });
        }
        Ok(Shards { world, count })
    }
}

/// What a process has computed.
struct Own<E> {
    /// The loss and the weight of each of its shards, one after another.
    means: Vec<f64>,
    /// The numbers of each shard's gradients.
    numbers: Vec<Vec<E>>,
    /// The last shard's gradients, for their names and shapes.
    gradients: Gradients<E>,
}

/// Part `number` of `parts` nearly equal parts of `len`.
fn part(len: usize, number: usize, parts: usize) -> Range<usize> {
    let at = |number: usize| (len as u128 * number as u128 / parts as u128) as usize;
    at(number)..at(number + 1)
}

impl<'w> Shards<'w> {
    /// Starts shards for the processes of `world`.
    pub fn builder(world: &'w World) -> ShardsBuilder<'w> {
        ShardsBuilder { world, count: None }
    }

    /// The number of shards.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The loss of a batch of `rows` rows and its gradient, the same in every process.
    ///
    /// Calls `compute` for each of this process's shards with the rows of the shard, in their order. Shard s of n has the
    /// rows from s · rows / n up to (s + 1) · rows / n, rounded down. The loss is the weighted mean over the whole batch,
    /// Σ weight · loss / Σ weight, and 0 if Σ weight is 0. Sums are in `f64` and in the order of the shards. One shard
    /// gives the bits of `compute`.
    ///
    /// # Errors
    /// No process returns an error without the others.
    /// - The error of `compute`; [`Error::Other`] in the other processes.
    /// - [`Error::ShardCount`] if there are fewer rows than shards.
    /// - [`Error::Differ`] if processes have different numbers of rows, or names or shapes of gradients.
    /// - [`Error::Weight`] if a weight is out of range.
    /// - [`Error::Layout`] if a process's shards have gradients of different names or shapes.
    pub fn gradients<E: Float + Equivalence>(
        &self,
        rows: usize,
        mut compute: impl FnMut(Range<usize>) -> Result<Shard<E>, rnn_cell::Error>,
    ) -> Result<(f64, Gradients<E>), Error> {
        let own = self.compute(rows, &mut compute);
        let report = own.as_ref().map(|own| [rows as u64, layout_of(&own.gradients)]).map_err(Error::clone);
        self.world.agree(report, ["the number of rows", "the names and shapes of the gradients"])?;
        let own = own.expect("an error has been reported");

        let mut of_shards = vec![0.0; 2 * self.count];
        let (counts, starts) = layout_of_ranks(self.world.size(), |rank| 2 * self.of_rank(rank).len());
        let mut received = PartitionMut::new(&mut of_shards[..], counts, starts);
        self.world.communicator().all_gather_varcount_into(&own.means[..], &mut received);
        let total: f64 = of_shards.chunks_exact(2).map(|shard| shard[1]).sum();
        let part_of = |weight: f64| if weight == 0.0 { 0.0 } else { weight / total };
        let parts: Vec<f64> = of_shards.chunks_exact(2).map(|shard| part_of(shard[1])).collect();
        let losses = of_shards.chunks_exact(2).zip(&parts).filter(|(_, part)| **part != 0.0);
        let loss = losses.map(|(shard, part)| part * shard[0]).sum();
        Ok((loss, self.sum(own, &parts)))
    }

    /// Takes a step of the optimizer with the gradients of a batch, and compares the weights of all processes after it. If
    /// learning rates, clips or other options differ, the weights do.
    ///
    /// # Errors
    /// - The optimizer's error; [`Error::Other`] in the other processes.
    /// - [`Error::Differ`] if the weights of a process differ.
    pub fn apply<E: Float>(
        &self,
        optimizer: &mut dyn Optimizer<E>,
        model: &mut dyn ParametersMut<E>,
        gradients: &Gradients<E>,
    ) -> Result<(), Error> {
        let applied = optimizer.apply_gradients(model, gradients);
        let report = applied.map(|()| [checksum(model)]).map_err(Error::Own);
        self.world.agree(report, ["after a step, the weights"])
    }

    /// The shards of a process.
    fn of_rank(&self, rank: usize) -> Range<usize> {
        part(self.count, rank, self.world.size())
    }

    fn compute<E: Float>(
        &self,
        rows: usize,
        compute: &mut dyn FnMut(Range<usize>) -> Result<Shard<E>, rnn_cell::Error>,
    ) -> Result<Own<E>, Error> {
        if rows < self.count {
            return Err(Error::ShardCount { shards: self.count, bound: rows, of: "rows" });
        }
        let (mut means, mut numbers, mut last) = (Vec::new(), Vec::new(), None);
        for shard in self.of_rank(self.world.rank()) {
            let Shard { loss, weight, gradients } = compute(part(rows, shard, self.count))?;
            if !(weight.is_finite() && weight >= 0.0) {
                return Err(Error::Weight { shard, found: weight });
            }
            if last.as_ref().is_some_and(|last| layout_of(last) != layout_of(&gradients)) {
                return Err(Error::Layout { shard });
            }
            means.extend([loss, weight]);
            numbers.push(flattened(&gradients));
            last = Some(gradients);
        }
        Ok(Own { means, numbers, gradients: last.expect("a process has a shard") })
    }

    /// Adds up the gradients of all shards, each times its part of the batch.
    ///
    /// Each process adds up a slice of the numbers for all: it gets that slice of every shard, and sends the sums.
    fn sum<E: Float + Equivalence>(&self, own: Own<E>, parts: &[f64]) -> Gradients<E> {
        let Own { numbers: own, gradients: mut sums, .. } = own;
        let mut total = vec![E::zero(); own[0].len()];
        let block = BLOCK.min(EXCHANGED / self.count).max(1);
        for (number, total) in total.chunks_mut(block).enumerate() {
            let start = number * block;
            let shards: Vec<&[E]> = own.iter().map(|shard| &shard[start..start + total.len()]).collect();
            self.sum_block(&shards, parts, total);
        }
        let mut total = &total[..];
        for array in sums.arrays_mut() {
            let (of_array, rest) = total.split_at(array.len());
            array.iter_mut().zip(of_array).for_each(|(to, &sum)| *to = sum);
            total = rest;
        }
        sums
    }

    /// Sums some of the numbers of all shards. `own` are those of this process's shards.
    fn sum_block<E: Float + Equivalence>(&self, own: &[&[E]], parts: &[f64], total: &mut [E]) {
        let (world, ranks) = (self.world, self.world.size());
        if ranks == 1 {
            sum_shards(own.iter().copied(), parts, total);
            return;
        }
        let len = total.len();
        let slice = |rank: usize| part(len, rank, ranks);
        let mut sent = Vec::with_capacity(own.len() * total.len());
        for rank in 0..ranks {
            own.iter().for_each(|shard| sent.extend_from_slice(&shard[slice(rank)]));
        }
        let mut sums = vec![E::zero(); slice(world.rank()).len()];
        let mut received = vec![E::zero(); self.count * sums.len()];
        let (counts, starts) = layout_of_ranks(ranks, |rank| own.len() * slice(rank).len());
        let to = Partition::new(&sent[..], counts, starts);
        let (counts, starts) = layout_of_ranks(ranks, |rank| self.of_rank(rank).len() * sums.len());
        let mut from = PartitionMut::new(&mut received[..], counts, starts);
        world.communicator().all_to_all_varcount_into(&to, &mut from);

        // Ranks have their shards in order, so what was received is in the order of the shards.
        sum_shards(received.chunks_exact(sums.len().max(1)), parts, &mut sums);
        let (counts, starts) = layout_of_ranks(ranks, |rank| slice(rank).len());
        let mut gathered = PartitionMut::new(total, counts, starts);
        world.communicator().all_gather_varcount_into(&sums[..], &mut gathered);
    }
}

/// Σ part · shard, number by number, in `f64` and in the order of the shards. A part of 0 adds nothing.
fn sum_shards<'a, E: Float>(shards: impl Iterator<Item = &'a [E]> + Clone, parts: &[f64], sums: &mut [E]) {
    // So few that their sums stay in the first cache.
    const CHUNK: usize = 1024;
    let mut wide = [0.0_f64; CHUNK];
    for (number, sums) in sums.chunks_mut(CHUNK).enumerate() {
        let (start, wide) = (number * CHUNK, &mut wide[..sums.len()]);
        // Not 0, so that the sum of a −0 is one: then one shard keeps every bit.
        wide.fill(-0.0);
        for (shard, &part) in shards.clone().zip(parts).filter(|(_, part)| **part != 0.0) {
            let shard = &shard[start..start + sums.len()];
            wide.iter_mut().zip(shard).for_each(|(sum, number)| *sum += part * number.as_f64());
        }
        let any = parts.iter().any(|&part| part != 0.0);
        sums.iter_mut().zip(wide).for_each(|(to, sum)| *to = if any { E::of(*sum) } else { E::zero() });
    }
}

/// All numbers, array by array.
fn flattened<E: Float>(gradients: &Gradients<E>) -> Vec<E> {
    let mut flat = Vec::with_capacity(gradients.arrays().iter().map(|array| array.len()).sum());
    for array in gradients.arrays() {
        match array.as_slice() {
            Some(numbers) => flat.extend_from_slice(numbers),
            None => flat.extend(array.iter()),
        }
    }
    flat
}

/// The counts and starts of what each rank has of a buffer.
fn layout_of_ranks(ranks: usize, len: impl Fn(usize) -> usize) -> (Vec<i32>, Vec<i32>) {
    let counts: Vec<i32> = (0..ranks).map(|rank| len(rank) as i32).collect();
    let starts = counts.iter().scan(0, |start, count| Some(std::mem::replace(start, *start + count))).collect();
    (counts, starts)
}

/// The layout of gradients, as that of parameters.
fn layout_of<E: Float>(gradients: &Gradients<E>) -> u64 {
    struct Named<'a, E>(&'a Gradients<E>);
    impl<E: Float> Parameters<E> for Named<'_, E> {
        fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, rnn_cell::ndarray::ArrayViewD<'a, E>)) {
            self.0.iter().for_each(|(name, array)| visit(name, array.view()));
        }
    }
    layout(&Named(gradients))
}
