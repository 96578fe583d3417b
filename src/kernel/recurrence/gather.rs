//! The samples of short backward runs, gathered: from a run's places, and as the places of one run.

use super::places::{Leaf, Places, Ways};
use super::plan::{MOST, Plan, Widths};
use super::samples::Samples;
use crate::kernel::Element;
use crate::kernel::gathered::{Gathered, PIECES, Pieces};
use crate::kernel::product::Workspace;
use crate::kernel::registry::Kernels;
use crate::kernel::rows::{Frozen, Grid, Rows};

const INPUTS: usize = 0;
const SUMS: usize = 1;
const LEAVES: usize = SUMS + MOST;
const TEMPORARIES: usize = LEAVES + MOST;
const _: () = assert!(PIECES == TEMPORARIES + MOST);

/// Keeps what a run leaves for the gradients of weights.
///
/// # Safety
/// The run has ended.
pub(super) unsafe fn gather<E: Element>(gathered: &mut Gathered<E>, places: &Places<'_, E>, ways: &Ways<'_, E>) {
    let steps = places.x.dim().0;
    let mut grids = [Grid::NONE; PIECES];
    grids[INPUTS] = places.x;
    grids[SUMS..LEAVES].copy_from_slice(&places.sums);
    grids[TEMPORARIES..].copy_from_slice(&places.temporaries);
    for (grid, leaf) in grids[LEAVES..].iter_mut().zip(places.leaves) {
        *grid = leaf.all().first(steps.min(leaf.all().dim().0));
    }
    // SAFETY: the run has ended, so its places are only read.
    let (pieces, accumulators) =
        unsafe { (grids.map(|grid| grid.frozen()), ways.accumulators.map(|rows| rows.grid().frozen())) };
    let sums: Vec<f64> = accumulators.iter().flat_map(|accumulator| over_rows(*accumulator)).collect();
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
    let mut places = Places::empty(true, &widths);
    let grid = |piece: usize| pieces[piece].grid();
    places.x = grid(INPUTS);
    places.sums = std::array::from_fn(|k| grid(SUMS + k));
    places.leaves = std::array::from_fn(|k| Leaf::kept(grid(LEAVES + k)));
    places.temporaries = std::array::from_fn(|k| grid(TEMPORARIES + k));
    let accumulated = plan.accumulators.map(|width| {
        let (these, others) = std::mem::take(&mut sums).split_at_mut(width);
        sums = others;
        Grid::of(these, (1, 1, width)).step(0)
    });
    let none = [Rows::NONE; MOST];
    let ways = Ways { leaves: none, temporaries: none, accumulators: none, accumulated, output: Grid::NONE };
    finish(&mut Samples::new(plan.isa(), plan, (&places, &ways), gradients));
}

fn widths_of<E>(pieces: &Pieces<'_, E>, from: usize) -> [usize; MOST] {
    std::array::from_fn(|k| pieces[from + k].dim().2)
}
