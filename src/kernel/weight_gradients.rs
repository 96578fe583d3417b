//! The product of backward's weight gradients: C += Aᵀ·D over all steps and rows.
//!
//! A is \[sources side by side, 1\] and D a matrix of gradients. Both are cut along the samples; a block of A is packed as
//! tiles read it, a block of D in panels, so that [`Tile`] multiplies them.
//!
//! One sum of an f32 over a million samples would be off by a hundredth. So each number of C is summed in three levels: `CHAIN`
//! samples in a register, the chains of `STRETCH` blocks in memory, all stretches in f64. The levels follow the samples in
//! their order: how panels are shared among threads changes nothing.

use super::Element;
use super::buffer::Buffer;
use super::lanes::Lanes;
use super::rows::{Grid, Rows};
use super::team::Team;
use super::tile::{MAX_SUMS, Operands, Out, Tile};
use super::vector::Units;
use ndarray::ArrayViewMut2;
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// Vectors of a panel of D.
const V: usize = MAX_SUMS;
/// Samples of a block: a panel of D stays in the L2 cache.
const BLOCK: usize = 256;
/// Samples of one sum in a register: few enough to round little, and enough to read and write C seldom.
const CHAIN: usize = 128;
/// Blocks of a stretch.
const STRETCH: usize = 32;
/// Rows of a tile where there are registers for them, and where there are not; one divides the other.
const HEIGHTS: [usize; 2] = [6, 3];

/// What is summed, and where the sums go.
pub(super) struct Sums<'a, 'b, E> {
    /// Side by side the rows of the kernel; all have D's steps and rows.
    pub sources: &'a [Grid<'b, E>],
    pub d: Grid<'b, E>,
    /// (features of all sources, columns of D), added to.
    pub kernel: ArrayViewMut2<'a, E>,
    /// Σ D, added to.
    pub bias: Option<&'a mut [E]>,
}

impl<E: Element> Sums<'_, '_, E> {
    /// What the kernel relies on.
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
        self.sources.iter().map(Grid::width).sum()
    }

    pub(super) fn samples(&self) -> usize {
        self.d.dim().0 * self.d.dim().1
    }

    /// Rows of C: the features, the sums of D, and what fills the last tile.
    fn height(&self) -> usize {
        (self.features() + 1).next_multiple_of(HEIGHTS[0])
    }

    /// Samples of a block and products of each, multiply and add.
    pub(super) fn work(&self) -> (usize, usize) {
        (BLOCK.min(self.samples()), self.height() * self.d.width())
    }

    /// Passes of a team, panels of a pass, for `lanes`.
    pub(super) fn passes(&self, lanes: usize) -> (usize, usize) {
        (2 * self.samples().div_ceil(BLOCK), self.d.width().div_ceil(V * lanes))
    }

    /// The kernel's job for each member of a team, with room in `workspace`.
    pub(super) fn job<'s>(&'s mut self, lanes: usize, workspace: &'s mut GradientWorkspace<E>) -> Shared<'s, E> {
        self.check();
        let () = ROOM;
        let height = self.height();
        workspace.packed.grow([height / HEIGHTS[1], tile_stride(HEIGHTS[1])]);
        let panels = self.passes(lanes).1;
        workspace.sums.grow([panels, height, V * lanes]);
        if self.samples() > STRETCH * BLOCK {
            workspace.earlier.grow([panels, height, V * lanes]);
            workspace.earlier.as_mut_slice()[..panels * height * V * lanes].fill(0.0);
        }
        Shared {
            sources: self.sources,
            d: self.d,
            features: self.features(),
            height,
            packed: workspace.packed.as_mut_ptr(),
            sums: workspace.sums.as_mut_ptr(),
            earlier: workspace.earlier.as_mut_ptr(),
            to: Places {
                kernel: self.kernel.as_mut_ptr(),
                stride: self.kernel.strides()[0],
                bias: self.bias.as_mut().map(|bias| bias.as_mut_ptr()),
            },
        }
    }
}

/// What the members of a team share.
#[derive(Clone, Copy)]
pub struct Shared<'a, E> {
    sources: &'a [Grid<'a, E>],
    d: Grid<'a, E>,
    features: usize,
    height: usize,
    packed: *mut E,
    sums: *mut E,
    /// As large as `sums` if there is more than one stretch.
    earlier: *mut f64,
    to: Places<E>,
}

/// Buffers of [`Sums::job`].
#[derive(Default)]
pub(super) struct GradientWorkspace<E> {
    /// A block of \[sources, 1\], tile by tile: for each sample the tile's features.
    packed: Buffer<E>,
    /// C in panels, a row for each feature and the sums of D: of the present stretch.
    sums: Buffer<E>,
    /// The same of earlier stretches.
    earlier: Buffer<f64>,
}

/// From one tile of a packed block to the next: an odd number of cache lines, so that a sample's tiles share no cache set.
const fn tile_stride(height: usize) -> usize {
    let lines = (BLOCK * height).div_ceil(16);
    16 * (lines + 1 - lines % 2)
}

/// A block is packed in the tiles of either height: the room for the lower ones is enough for the higher ones.
const ROOM: () = assert!(
    HEIGHTS[0].is_multiple_of(HEIGHTS[1])
        && HEIGHTS[0] / HEIGHTS[1] * tile_stride(HEIGHTS[1]) >= tile_stride(HEIGHTS[0])
        && tile_stride(HEIGHTS[1]) >= BLOCK * HEIGHTS[1]
        && tile_stride(HEIGHTS[0]) >= BLOCK * HEIGHTS[0]
);

/// Where C is added: rows of the kernel, and the last row's place.
#[derive(Clone, Copy)]
struct Places<E> {
    kernel: *mut E,
    stride: isize,
    bias: Option<*mut E>,
}

/// One member's part of the sums.
pub struct WeightGradients<'a, E> {
    pub(super) shared: Shared<'a, E>,
    pub(super) team: Team<'a>,
}

impl<E: Element> WithSimd for WeightGradients<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, s: S) {
        if S::REGISTER_COUNT >= 32 { self.run::<S, { HEIGHTS[0] }>(s) } else { self.run::<S, { HEIGHTS[1] }>(s) }
    }
}

impl<E: Element> WeightGradients<'_, E> {
    #[inline(always)]
    fn run<S: Simd, const R: usize>(&mut self, s: S) {
        let Shared { d, .. } = self.shared;
        let width = V * E::lanes::<S>();
        let mut panel_of_d = Buffer::default();
        panel_of_d.grow([BLOCK, width]);
        let (steps, rows, columns) = d.dim();
        let count = steps * rows;
        for first in (0..count).step_by(BLOCK) {
            let depth = BLOCK.min(count - first);
            let (block, last) = (first / BLOCK, first + depth == count);
            let mut turn = self.team.turn(depth);
            while let Some(samples) = turn.next() {
                // SAFETY: `Sums::check` saw that all sources have D's samples; the block's samples are different members'.
                unsafe { self.shared.pack_samples::<R>(first, samples) };
            }
            let mut turn = self.team.turn(columns.div_ceil(width));
            while let Some(panels) = turn.next() {
                for panel in panels {
                    // SAFETY: the panel and the samples exist, panels are different members', and all members have packed their
                    // samples of this block.
                    unsafe {
                        pack_panel::<S, E>(d, panel * width, first..first + depth, panel_of_d.as_mut_slice());
                        let begins = block.is_multiple_of(STRETCH);
                        self.shared.add_block::<S, R>(s, panel, (begins, depth), panel_of_d.as_slice());
                        if last || (block + 1).is_multiple_of(STRETCH) {
                            self.shared.end_stretch(panel, width, (block / STRETCH, last));
                        }
                        if last {
                            self.shared.add_panel::<S>(panel);
                        }
                    }
                }
            }
        }
    }
}

impl<E: Element> Shared<'_, E> {
    /// A packed block's products with a panel of D, added to the panel's sums; a block that begins a stretch overwrites them.
    ///
    /// # Safety
    /// The panel exists, `depth` samples of it are packed, and no other member has it.
    #[inline(always)]
    unsafe fn add_block<S: Simd, const R: usize>(
        &self,
        s: S,
        panel: usize,
        (begins, depth): (bool, usize),
        panel_of_d: &[E],
    ) {
        let lanes = E::lanes::<S>();
        let (width, zeros) = (V * lanes, [E::default(); V * 16]);
        for row in (0..self.height).step_by(R) {
            // SAFETY: `Sums::job` made room for `height` rows of a block, in tiles of either height (`ROOM`), and for `height`
            // rows of every panel of sums, of which a tile writes `R`, of V vectors each.
            unsafe {
                let sums = self.sums.add((panel * self.height + row) * width);
                let packed =
                    std::slice::from_raw_parts(self.packed.add(row / R * tile_stride(R)).cast_const(), depth * R);
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
                    let rows = Grid::new(sums, (0, width as isize), (1, R, width)).step(0).lines();
                    let vectors = std::array::from_fn(|v| v * lanes);
                    let out = Out { rows, panel: 0, vectors, add: !(begins && from == 0) };
                    s.vectorize(&Tile::<E, V, R, 1, R, false> { operands, out });
                }
            }
        }
    }

    /// Moves a panel's sums to those of earlier stretches; after the last stretch, these to the panel's sums.
    ///
    /// # Safety
    /// The panel exists; no other member has it.
    #[inline(always)]
    unsafe fn end_stretch(&self, panel: usize, width: usize, (stretch, last): (usize, bool)) {
        if stretch == 0 && last {
            return;
        }
        let numbers = self.height * width;
        // SAFETY: the caller's promise; `Sums::job` made room for all panels in both, as there is more than one stretch.
        let (sums, earlier) = unsafe {
            let sums = std::slice::from_raw_parts_mut(self.sums.add(panel * numbers), numbers);
            (sums, std::slice::from_raw_parts_mut(self.earlier.add(panel * numbers), numbers))
        };
        for (sum, earlier) in sums.iter_mut().zip(earlier) {
            *earlier += E::value(*sum);
            if last {
                *sum = E::number(*earlier);
            }
        }
    }

    /// Writes some samples of the block that begins at sample `first`: their features, a 1, and zeros to the last tile's end.
    ///
    /// # Safety
    /// The samples exist; `packed` has room for a block; no other member has these samples.
    #[inline(always)]
    unsafe fn pack_samples<const R: usize>(&self, first: usize, samples: Range<usize>) {
        let rows = self.d.dim().1;
        for at in samples {
            let sample = first + at;
            let (step, of_step) = (sample / rows, sample % rows);
            // The place of a feature: its tile's numbers of this sample, and where in them.
            let (mut tile, mut place) = (at * R, 0);
            let mut put = |mut from: *const E, count: usize| {
                let mut left = count;
                while left > 0 {
                    let some = left.min(R - place);
                    // SAFETY: the caller's promise; `some` numbers are left in what is put, and in the tile's of this sample.
                    // Tiles are as many as hold `height` numbers, which is what all that is put adds up to.
                    unsafe {
                        let to = self.packed.add(tile + place);
                        if some == R {
                            to.cast::<[E; R]>().write(from.cast::<[E; R]>().read());
                        } else {
                            to.copy_from_nonoverlapping(from, some);
                        }
                        from = from.add(some);
                    }
                    place += some;
                    left -= some;
                    if place == R {
                        (tile, place) = (tile + tile_stride(R), 0);
                    }
                }
            };
            for source in self.sources {
                put(source.at(step, of_step).cast_const(), source.width());
            }
            let mut last = [E::default(); HEIGHTS[0]];
            last[0] = E::number(1.0);
            put(last.as_ptr(), self.height - self.features);
        }
    }

    /// Adds a panel's sums, now of all samples, to the kernel and the bias.
    ///
    /// # Safety
    /// The panel exists; no other member has it.
    #[inline(always)]
    unsafe fn add_panel<S: Simd>(&self, panel: usize) {
        let lanes = E::lanes::<S>();
        let whole = Units { first: 0, count: lanes };
        let kernel = (0..self.features).map(|row| self.to.kernel.wrapping_offset(row as isize * self.to.stride));
        for (row, to) in kernel.chain(self.to.bias).enumerate() {
            for v in 0..V {
                let units = Units::of(lanes, panel * V + v, self.d.width());
                if units.count == 0 {
                    break;
                }
                // SAFETY: the caller's promise; `Sums::check` saw that the kernel has `features` rows and the bias, which is
                // the row after them, as many columns as D. `Units` keeps to these.
                unsafe {
                    let sum = self.sums.add(((panel * self.height + row) * V + v) * lanes);
                    let sum = Lanes::<S, E>::load_at(sum, whole) + Lanes::load_at(to, units);
                    sum.store_at(to, units);
                }
            }
        }
    }
}

/// Writes a panel of D, from `column` on, of some samples: V vectors a sample, 0 past the last column.
///
/// # Safety
/// The samples exist.
#[inline(always)]
unsafe fn pack_panel<S: Simd, E: Element>(d: Grid<'_, E>, column: usize, samples: Range<usize>, to: &mut [E]) {
    let lanes = E::lanes::<S>();
    let whole = Units { first: 0, count: lanes };
    let (mut step, mut row) = (samples.start / d.dim().1, samples.start % d.dim().1);
    for to in to.chunks_exact_mut(V * lanes).take(samples.len()) {
        for v in 0..V {
            let units = Units::of(lanes, column / lanes + v, d.width());
            // SAFETY: the caller's promise; `Units` keeps to the columns that exist, and `to` is V vectors.
            unsafe {
                let d =
                    if units.count == 0 { Lanes::<S, E>::number(0.0) } else { Lanes::load_at(d.at(step, row), units) };
                d.store_at(to.as_mut_ptr().add(v * lanes), whole);
            }
        }
        row += 1;
        if row == d.dim().1 {
            (step, row) = (step + 1, 0);
        }
    }
}
