//! The samples of short backward runs, gathered: from a run's places, and as what one run left.

use super::plan::{MOST, Plan, Widths};
use super::samples::{Left, Samples};
use crate::kernel::Element;
use crate::kernel::gathered::{Gathered, PIECES, Pieces};
use crate::kernel::product::Workspace;
use crate::kernel::registry::Kernels;
use crate::kernel::rows::Frozen;

const INPUTS: usize = 0;
const SUMS: usize = 1;
const LEAVES: usize = SUMS + MOST;
const TEMPORARIES: usize = LEAVES + MOST;
const _: () = assert!(PIECES == TEMPORARIES + MOST);

/// Keeps what a run leaves for the gradients of weights.
pub(super) fn gather<E: Element>(gathered: &mut Gathered<E>, left: &Left<'_, E>) {
    let steps = left.x.dim().0;
    let mut pieces = [Frozen::NONE; PIECES];
    pieces[INPUTS] = left.x;
    pieces[SUMS..LEAVES].copy_from_slice(&left.sums);
    pieces[TEMPORARIES..].copy_from_slice(&left.temporaries);
    for (piece, leaf) in pieces[LEAVES..].iter_mut().zip(left.leaves) {
        *piece = leaf.first(steps.min(leaf.dim().0));
    }
    let sums: Vec<f64> = left.accumulators.iter().flat_map(|accumulator| over_rows(*accumulator)).collect();
    gathered.add(&pieces, sums.into_iter());
}

/// The sums of an accumulator over the rows.
fn over_rows<E: Element>(accumulator: Frozen<'_, E>) -> Vec<f64> {
    let mut sums = vec![0.0; accumulator.width()];
    if accumulator.width() > 0 {
        for row in 0..accumulator.dim().1 {
            sums.iter_mut().zip(accumulator.row(0, row)).for_each(|(sum, &number)| *sum += E::value(number));
        }
    }
    sums
}

/// Calls `finish` with all that was gathered, as the samples of one run, if there are any.
pub(super) fn finish_backward<E: Kernels>(
    plan: &Plan<'_, E>,
    workspace: &mut Workspace<E>,
    finish: &mut dyn FnMut(&mut Samples<'_, E>),
) {
    let Workspace { gathered, gradients, .. } = workspace;
    if gathered.is_empty() {
        return;
    }
    let (pieces, mut sums) = gathered.take();
    let widths = Widths::new(plan, pieces[INPUTS].width(), 0, widths_of(&pieces, LEAVES));
    let same = widths.sums == widths_of(&pieces, SUMS) && widths.temporaries == widths_of(&pieces, TEMPORARIES);
    assert!(
        same && sums.len() == plan.accumulators.iter().sum::<usize>(),
        "finish the backward pass of the cell that ran"
    );
    let accumulated = plan.accumulators.map(|width| {
        let (these, others) = std::mem::take(&mut sums).split_at_mut(width);
        sums = others;
        Frozen::of(these, (1, 1, width))
    });
    let left = Left {
        units: widths.units,
        x: pieces[INPUTS],
        sums: std::array::from_fn(|k| pieces[SUMS + k]),
        leaves: std::array::from_fn(|k| pieces[LEAVES + k]),
        temporaries: std::array::from_fn(|k| pieces[TEMPORARIES + k]),
        accumulators: [Frozen::NONE; MOST],
        accumulated,
    };
    finish(&mut Samples::new(plan.isa(), plan, &left, gradients));
}

fn widths_of<E>(pieces: &Pieces<'_, E>, from: usize) -> [usize; MOST] {
    std::array::from_fn(|k| pieces[from + k].dim().2)
}
