//! Blocks of samples as [`Tile`](crate::kernel::tile::Tile) reads them: the sources as rows, D as panels.

use crate::kernel::Element;
use crate::kernel::lanes::Lanes;
use crate::kernel::rows::{Frozen, Rows};
use crate::kernel::tile::MAX_SUMS;
use crate::kernel::vector::Units;
use pulp::Simd;
use std::ops::Range;

/// Vectors of a panel of D.
pub(super) const V: usize = MAX_SUMS;
/// Samples of a block: few enough for a panel of D to stay in the L2 cache.
pub(super) const BLOCK: usize = 256;
/// Rows of a tile with many registers, and with few. The second divides the first.
pub(super) const HEIGHTS: [usize; 2] = [6, 3];

/// From one tile of a packed block to the next: an odd number of cache lines, so that a sample's tiles share no cache set.
pub(super) const fn tile_stride(height: usize) -> usize {
    let lines = (BLOCK * height).div_ceil(16);
    16 * (lines + 1 - lines % 2)
}

/// A block is packed in tiles of either height. Room for the lower ones is enough for the higher ones.
const ROOM: () = assert!(
    HEIGHTS[0].is_multiple_of(HEIGHTS[1])
        && HEIGHTS[0] / HEIGHTS[1] * tile_stride(HEIGHTS[1]) >= tile_stride(HEIGHTS[0])
        && tile_stride(HEIGHTS[1]) >= BLOCK * HEIGHTS[1]
        && tile_stride(HEIGHTS[0]) >= BLOCK * HEIGHTS[0]
);

/// The most numbers that a packed block takes, for samples of `height` numbers.
pub(super) fn room(height: usize) -> [usize; 2] {
    let () = ROOM;
    [height / HEIGHTS[1], tile_stride(HEIGHTS[1])]
}

/// The rows of A: sources side by side, a 1, and zeros up to `height` numbers.
pub(super) struct Sources<'a, E> {
    pub grids: &'a [Frozen<'a, E>],
    /// Rows of a step.
    pub rows: usize,
    /// A whole number of tiles of either height.
    pub height: usize,
}

impl<E: Element> Sources<'_, E> {
    /// Writes some samples of the block that begins at sample `first`: tile by tile, for each sample the tile's features.
    ///
    /// # Safety
    /// `packed` is one row with [`room`] for the block, and nobody else has these samples of it. Together, all grids
    /// are less than `height` wide.
    #[inline(always)]
    pub(super) unsafe fn pack<const R: usize>(&self, packed: Rows<'_, E>, first: usize, samples: Range<usize>) {
        let mut rest = [E::default(); HEIGHTS[0]];
        rest[0] = E::number(1.0);
        let rest = &rest[..self.height - self.grids.iter().map(Frozen::width).sum::<usize>()];
        for at in samples {
            let (step, row) = ((first + at) / self.rows, (first + at) % self.rows);
            // The place of a feature: where its tile's numbers of this sample begin, and where it is among them.
            let (mut tile, mut place) = (at * R, 0);
            for mut from in self.grids.iter().map(|grid| grid.row(step, row)).chain([rest]) {
                while !from.is_empty() {
                    let (these, behind) = from.split_at(from.len().min(R - place));
                    let end = place + these.len();
                    // SAFETY: the caller's promise. There are enough tiles for `height` numbers, and all that is
                    // written adds up to `height`.
                    let to = unsafe { packed.slice_mut(0, tile + place, tile + end) };
                    match (to.first_chunk_mut::<R>(), these.first_chunk::<R>()) {
                        (Some(to), Some(these)) => *to = *these,
                        _ => to.copy_from_slice(these),
                    }
                    from = behind;
                    (tile, place) = if end == R { (tile + tile_stride(R), 0) } else { (tile, end) };
                }
            }
        }
    }
}

/// Writes a panel of D, from `column` on, for some samples: V vectors per sample, 0 past the last column.
#[inline(always)]
pub(super) fn pack_panel<S: Simd, E: Element>(d: Frozen<'_, E>, column: usize, samples: Range<usize>, to: &mut [E]) {
    let lanes = E::lanes::<S>();
    let (_, rows, columns) = d.dim();
    let (mut step, mut row) = (samples.start / rows, samples.start % rows);
    for to in to.chunks_exact_mut(V * lanes).take(samples.len()) {
        let from = d.row(step, row);
        for v in 0..V {
            let units = Units::of(lanes, column / lanes + v, columns);
            let numbers = if units.count() == 0 { Lanes::<S, E>::number(0.0) } else { Lanes::read(from, units) };
            numbers.write(&mut to[v * lanes..], Units::first(lanes));
        }
        row += 1;
        if row == rows {
            (step, row) = (step + 1, 0);
        }
    }
}
