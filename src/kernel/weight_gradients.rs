//! The product of backward's weight gradients: C += Aᵀ·D over all steps and rows.
//!
//! A is \[sources side by side, 1\] and D a matrix of gradients. Both are cut along the samples. A block of A is packed
//! as tiles read it, and a block of D in panels, so that [`Tile`] can multiply them.
//!
//! A single f32 sum over a million samples would be off by a hundredth. So each number of C is summed in three levels:
//! `CHAIN` samples in a register, the chains of `STRETCH` blocks in memory, all stretches in f64. The levels follow the
//! samples in order, so the way threads share panels changes nothing.

use super::Element;
use super::buffer::Buffer;
use super::lanes::Lanes;
use super::rows::{Frozen, Grid, Rows};
use super::team::Team;
use super::tile::{Operands, Out, Tile};
use super::vector::Units;
use blocks::{BLOCK, HEIGHTS, Sources, V};
use ndarray::{ArrayViewMut2, Axis};
use pulp::{Simd, WithSimd};
use std::sync::{Mutex, PoisonError};

mod blocks;

/// Samples summed in a register: few enough to round little, enough to read and write C rarely.
const CHAIN: usize = 128;
/// Blocks of a stretch.
const STRETCH: usize = 32;

/// What is summed, and where the sums go.
pub(super) struct Sums<'a, 'b, E> {
    /// Side by side, the rows of the kernel. All have D's steps and rows.
    pub sources: &'a [Frozen<'b, E>],
    pub d: Frozen<'b, E>,
    /// (features of all sources, columns of D), added to.
    pub kernel: ArrayViewMut2<'a, E>,
    /// Σ D, added to.
    pub bias: Option<&'a mut [E]>,
}

impl<E: Element> Sums<'_, '_, E> {
    /// Checks what the kernel relies on.
    ///
    /// # Panics
    /// If shapes disagree.
    fn check(&self) {
        let (steps, rows, columns) = self.d.dim();
        let features = self.features();
        assert!(self.sources.iter().all(|source| (source.dim().0, source.dim().1) == (steps, rows)), "samples differ");
        assert_eq!(self.kernel.dim(), (features, columns), "a gradient has its kernel's shape");
        assert!(columns <= 1 || self.kernel.strides()[1] == 1, "gradients are contiguous");
        assert!(self.bias.as_ref().is_none_or(|bias| bias.len() == columns), "a gradient has its bias's shape");
    }

    fn features(&self) -> usize {
        self.sources.iter().map(Frozen::width).sum()
    }

    pub(super) fn samples(&self) -> usize {
        self.d.dim().0 * self.d.dim().1
    }

    /// Rows of C: the features, the sums of D, and padding that fills the last tile.
    fn height(&self) -> usize {
        (self.features() + 1).next_multiple_of(HEIGHTS[0])
    }

    /// Samples of a block, and multiply-adds of each.
    pub(super) fn work(&self) -> (usize, usize) {
        (BLOCK.min(self.samples()), self.height() * self.d.width())
    }

    /// Passes of a team, and panels of a pass, for vectors of `lanes`.
    pub(super) fn passes(&self, lanes: usize) -> (usize, usize) {
        (2 * self.samples().div_ceil(BLOCK), self.d.width().div_ceil(V * lanes))
    }

    /// Sets up what the members of a team share, with room in `workspace`.
    pub(super) fn job<'s>(&'s mut self, lanes: usize, workspace: &'s mut GradientWorkspace<E>) -> Shared<'s, E> {
        self.check();
        let (height, panels, width) = (self.height(), self.passes(lanes).1, V * lanes);
        let GradientWorkspace { packed, sums, earlier } = workspace;
        packed.grow(blocks::room(height));
        sums.grow([panels, height, width]);
        let mut long = None;
        if self.samples() > STRETCH * BLOCK {
            earlier.grow([panels, height, width]);
            let earlier = &mut earlier.as_mut_slice()[..panels * height * width];
            earlier.fill(0.0);
            long = Some(earlier.chunks_exact_mut(height * width));
        }
        let mut bias = self.bias.as_deref_mut().map(|bias| bias.chunks_mut(width));
        let kernels = self.kernel.axis_chunks_iter_mut(Axis(1), width);
        let panels = kernels.zip(sums.as_mut_slice().chunks_exact_mut(height * width)).map(|(kernel, sums)| {
            let earlier = long.as_mut().and_then(Iterator::next);
            Mutex::new(Panel { sums, earlier, kernel, bias: bias.as_mut().and_then(Iterator::next) })
        });
        let packed = packed.as_mut_slice();
        let dim = (1, 1, packed.len());
        Shared {
            sources: Sources { grids: self.sources, rows: self.d.dim().1, height },
            d: self.d,
            packed: Grid::of(packed, dim).step(0),
            panels: panels.collect(),
        }
    }
}

/// What the members of a team share.
pub struct Shared<'a, E> {
    sources: Sources<'a, E>,
    d: Frozen<'a, E>,
    /// One row. In turn, members write their own samples of it, and all members read it.
    packed: Rows<'a, E>,
    /// In a pass, each belongs to one member, so nobody waits for a lock.
    panels: Vec<Mutex<Panel<'a, E>>>,
}

/// Buffers of [`Sums::job`].
#[derive(Default)]
pub(super) struct GradientWorkspace<E> {
    /// A block of \[sources, 1\], tile by tile: for each sample the tile's features.
    packed: Buffer<E>,
    /// C in panels, with a row for each feature and for the sums of D, over the current stretch.
    sums: Buffer<E>,
    /// The same over earlier stretches.
    earlier: Buffer<f64>,
}

/// One member's part of the sums.
pub struct WeightGradients<'m, 'a, E> {
    pub(super) shared: &'m Shared<'a, E>,
    pub(super) team: Team<'m>,
}

impl<E: Element> WithSimd for WeightGradients<'_, '_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, s: S) {
        // Only the tiles that fit the registers are compiled.
        if const { S::REGISTER_COUNT >= 32 } {
            self.run::<S, { HEIGHTS[0] }>(s);
        } else {
            self.run::<S, { HEIGHTS[1] }>(s);
        }
    }
}

impl<E: Element> WeightGradients<'_, '_, E> {
    #[inline(always)]
    fn run<S: Simd, const R: usize>(&mut self, s: S) {
        let &Shared { d, packed, ref sources, ref panels } = self.shared;
        let width = V * E::lanes::<S>();
        let mut panel_of_d = Buffer::default();
        panel_of_d.grow([BLOCK, width]);
        let (steps, rows, _) = d.dim();
        let count = steps * rows;
        for first in (0..count).step_by(BLOCK) {
            let depth = BLOCK.min(count - first);
            let (block, last) = (first / BLOCK, first + depth == count);
            let mut turn = self.team.turn(depth);
            while let Some(samples) = turn.next() {
                // SAFETY: `Sums::job` made room for blocks; each sample of a block belongs to one member.
                unsafe { sources.pack::<R>(packed, first, samples) };
            }
            let mut turn = self.team.turn(panels.len());
            while let Some(panels_of_turn) = turn.next() {
                for panel in panels_of_turn {
                    blocks::pack_panel::<S, E>(d, panel * width, first..first + depth, panel_of_d.as_mut_slice());
                    // SAFETY: all members have packed their samples, and nobody packs others before this pass ends.
                    let packed = unsafe { packed.slice(0, 0, packed.width()) };
                    let mut panel = panels[panel].lock().unwrap_or_else(PoisonError::into_inner);
                    let begins = block.is_multiple_of(STRETCH);
                    panel.add_block::<S, R>(s, (begins, depth), packed, panel_of_d.as_slice());
                    if last || (block + 1).is_multiple_of(STRETCH) {
                        panel.end_stretch(last);
                    }
                    if last {
                        panel.add_to_gradients::<S>();
                    }
                }
            }
        }
    }
}

/// A panel of C.
struct Panel<'a, E> {
    /// A row for each feature and for the sums of D, over the current stretch.
    sums: &'a mut [E],
    /// The same over earlier stretches, if there is more than one stretch.
    earlier: Option<&'a mut [f64]>,
    /// Where C is added at the end.
    kernel: ArrayViewMut2<'a, E>,
    bias: Option<&'a mut [E]>,
}

impl<E: Element> Panel<'_, E> {
    /// Adds a packed block's products with a panel of D. A block that begins a stretch overwrites the sums.
    #[inline(always)]
    fn add_block<S: Simd, const R: usize>(
        &mut self,
        s: S,
        (begins, depth): (bool, usize),
        packed: &[E],
        panel_of_d: &[E],
    ) {
        let lanes = E::lanes::<S>();
        let (width, zeros) = (V * lanes, [E::default(); V * 16]);
        for (tile, sums) in self.sums.chunks_exact_mut(R * width).enumerate() {
            let packed = &packed[tile * blocks::tile_stride(R)..][..depth * R];
            let rows = Grid::of(sums, (1, R, width)).step(0).lines();
            for from in (0..depth).step_by(CHAIN) {
                let samples = CHAIN.min(depth - from);
                let x = Rows::of_columns(&packed[from * R..(from + samples) * R], R).lines();
                let operands = Operands {
                    start: Rows::repeated(&zeros, R).lines(),
                    start_panel: 0,
                    weights: &panel_of_d[from * width..],
                    weights_panel: 0,
                    split: &[],
                    split_panel: 0,
                    x,
                    inputs: samples,
                    h: x,
                    recurrent: 0,
                };
                let vectors = std::array::from_fn(|v| v * lanes);
                let out = Out { rows, panel: 0, vectors, add: !(begins && from == 0) };
                s.vectorize(&Tile::<E, V, R, 1, R, false> { operands, out });
            }
        }
    }

    /// Adds the sums to those of earlier stretches. After the last stretch, moves the total to the sums.
    #[inline(always)]
    fn end_stretch(&mut self, last: bool) {
        let Some(earlier) = &mut self.earlier else { return };
        for (sum, earlier) in self.sums.iter_mut().zip(&mut **earlier) {
            *earlier += E::value(*sum);
            if last {
                *sum = E::number(*earlier);
            }
        }
    }

    /// Adds the sums, which now cover all samples, to the kernel and the bias.
    #[inline(always)]
    fn add_to_gradients<S: Simd>(&mut self) {
        let lanes = E::lanes::<S>();
        let kernel = self.kernel.rows_mut().into_iter().map(|row| row.into_slice().expect("checked above"));
        let rows = kernel.chain(self.bias.as_deref_mut());
        for (to, sums) in rows.zip(self.sums.chunks_exact(V * lanes)) {
            for v in 0..V {
                let units = Units::of(lanes, v, to.len());
                if units.count() == 0 {
                    break;
                }
                let sum = Lanes::<S, E>::read(&sums[v * lanes..], Units::first(lanes)) + Lanes::read(to, units);
                sum.write(to, units);
            }
        }
    }
}
