//! The product of backward's weight gradients: C += Aᵀ·D over all steps and rows.
//!
//! A is \[sources side by side, 1\] and D a matrix of gradients. Both are cut along the samples; a block of A is packed as
//! tiles read it, a block of D in panels, so that [`Tile`] multiplies them. Each number of C is one sum over the samples in
//! their order: how panels are shared among threads changes nothing.

use super::Element;
use super::buffer::Buffer;
use super::isa::Isa;
use super::pass::Units;
use super::team::{Team, Work, with_team};
use super::tile::{MAX_SUMS, Operands, Rows, Tile};
use ndarray::ArrayViewMut2;
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// Vectors of a panel of D.
const V: usize = MAX_SUMS;
/// Samples of a block: a panel of D stays in the L2 cache, and C is read and written once a block.
const BLOCK: usize = 256;
/// Rows of a tile where there are registers for them, and where there are not; one divides the other.
const HEIGHTS: [usize; 2] = [6, 3];

/// Features of every sample: sample n = step·rows + row stands at `ptr + step·step_stride + row·row_stride`.
#[derive(Clone, Copy)]
pub(super) struct Source<E> {
    pub ptr: *const E,
    pub step_stride: isize,
    pub row_stride: isize,
    pub features: usize,
}

/// Gradients of every sample: sample n has `columns` numbers at `ptr + n·stride`.
#[derive(Clone, Copy)]
pub(super) struct Columns<E> {
    pub ptr: *const E,
    pub stride: usize,
    pub columns: usize,
}

/// Adds \[sources, 1\]ᵀ·D to `kernel` (features of all sources, columns) and its last row, the sums of D, to `bias`.
///
/// # Safety
/// Sources hold `steps` · `rows` samples, each its features one behind the other, and D as many samples of its columns.
pub(super) unsafe fn add_product<E: Element>(
    isa: Isa,
    (steps, rows): (usize, usize),
    sources: &[Source<E>],
    d: Columns<E>,
    workspace: &mut ProductWorkspace<E>,
    mut kernel: ArrayViewMut2<E>,
    bias: Option<&mut [E]>,
) {
    let features: usize = sources.iter().map(|source| source.features).sum();
    assert_eq!(kernel.dim(), (features, d.columns), "a gradient has its kernel's shape");
    assert!(d.columns <= 1 || kernel.strides()[1] == 1, "gradients are contiguous");
    assert!(bias.as_ref().is_none_or(|bias| bias.len() == d.columns), "a gradient has its bias's shape");
    let () = ROOM;
    let ProductWorkspace { packed, sums } = workspace;
    let width = V * isa.lanes::<E>();
    let panels = d.columns.div_ceil(width);
    let height = (features + 1).next_multiple_of(HEIGHTS[0]);
    packed.grow([height / HEIGHTS[1], tile_stride(HEIGHTS[1])]);
    sums.grow([panels, height, width]);
    let (packed, sums) = (packed.as_mut_ptr(), sums.as_mut_ptr());
    let to = Sums { kernel: kernel.as_mut_ptr(), stride: kernel.strides()[0], bias: bias.map(<[E]>::as_mut_ptr) };
    let blocks = (steps * rows).div_ceil(BLOCK);
    let work = Work { passes: 2 * blocks, rows: BLOCK.min(steps * rows), panels, products: height * d.columns };
    let run = |team: Team<'_>| {
        E::run_product(isa, Multiply { samples: (steps, rows), sources, d, features, height, packed, sums, to, team });
    };
    // SAFETY: members read sources and D, which nobody writes. In a block's first pass they pack samples of their own, in its
    // second they read all of these and write sums, kernel and bias of panels of their own.
    unsafe { with_team(work, run) };
}

/// Buffers of [`add_product`].
#[derive(Default)]
pub(super) struct ProductWorkspace<E> {
    /// A block of \[sources, 1\], tile by tile: for each sample the tile's features.
    packed: Buffer<E>,
    /// C in panels, a row for each feature and the sums of D.
    sums: Buffer<E>,
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
struct Sums<E> {
    kernel: *mut E,
    stride: isize,
    bias: Option<*mut E>,
}

pub struct Multiply<'a, E> {
    samples: (usize, usize),
    sources: &'a [Source<E>],
    d: Columns<E>,
    features: usize,
    /// Rows of C: the features, the sums of D, and what fills the last tile.
    height: usize,
    packed: *mut E,
    sums: *mut E,
    to: Sums<E>,
    team: Team<'a>,
}

impl<E: Element> WithSimd for Multiply<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        if S::REGISTER_COUNT >= 32 { self.run::<S, { HEIGHTS[0] }>(s) } else { self.run::<S, { HEIGHTS[1] }>(s) }
    }
}

impl<E: Element> Multiply<'_, E> {
    #[inline(always)]
    fn run<S: Simd, const R: usize>(self, s: S) {
        let Self { samples: (steps, rows), d, height, packed, sums, mut team, .. } = self;
        let lanes = E::lanes::<S>();
        let width = V * lanes;
        let mut panel_of_d = Buffer::default();
        panel_of_d.grow([BLOCK, width]);
        let zeros = [E::default(); V * 16];
        let count = steps * rows;
        for first in (0..count).step_by(BLOCK) {
            let depth = BLOCK.min(count - first);
            // SAFETY: the caller promised `count` samples in every source and in D; `add_product` made room for `height` rows
            // of a block, in tiles of either height (`ROOM`), and for `height` rows of every panel of sums; a tile's
            // `R` rows of `width` sums are its P · R · MAX_SUMS vectors, in the same order. The first block's start is one
            // row of zeros, V vectors of at most 16, the others' are the sums so far. `panel_of_d` has a block's samples.
            // Members write different samples of the block, then different panels.
            unsafe {
                let mut turn = team.turn(depth);
                while let Some(samples) = turn.next() {
                    self.pack_samples::<R>(first, samples);
                }
                let mut turn = team.turn(d.columns.div_ceil(width));
                while let Some(panels) = turn.next() {
                    for panel in panels {
                        pack_panel::<S, E>(s, d, panel * width, first, depth, panel_of_d.as_mut_ptr());
                        for row in (0..height).step_by(R) {
                            let sums = sums.add((panel * height + row) * width);
                            let start = Rows { ptr: sums.cast_const(), stride: width as isize };
                            let x = Rows { ptr: packed.add(row / R * tile_stride(R)).cast_const(), stride: 1 };
                            let operands = Operands {
                                start: if first == 0 { Rows { ptr: zeros.as_ptr(), stride: 0 } } else { start },
                                start_panel: 0,
                                weights: panel_of_d.as_ptr(),
                                weights_panel: 0,
                                split: start.ptr,
                                split_panel: 0,
                                x,
                                inputs: depth,
                                h: x,
                                recurrent: 0,
                            };
                            s.vectorize(Tile::<E, V, R, 1, R, false> { operands, sums });
                        }
                        if first + depth == count {
                            self.add_panel(s, panel);
                        }
                    }
                }
            }
        }
    }

    /// Writes some samples of the block that begins at sample `first`: their features, a 1, and zeros to the last tile's end.
    ///
    /// # Safety
    /// The samples exist; `packed` has room for a block; no other member has these samples.
    #[inline(always)]
    unsafe fn pack_samples<const R: usize>(&self, first: usize, samples: Range<usize>) {
        let rows = self.samples.1;
        for at in samples {
            let sample = first + at;
            let (step, of_step) = ((sample / rows) as isize, (sample % rows) as isize);
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
                // SAFETY: the caller's promise: step and row of the sample exist.
                let from = unsafe { source.ptr.offset(step * source.step_stride + of_step * source.row_stride) };
                put(from, source.features);
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
    unsafe fn add_panel<S: Simd>(&self, s: S, panel: usize) {
        let lanes = E::lanes::<S>();
        let kernel = (0..self.features).map(|row| self.to.kernel.wrapping_offset(row as isize * self.to.stride));
        for (row, to) in kernel.chain(self.to.bias).enumerate() {
            for v in 0..V {
                let units = Units::of::<S, E>(panel * V + v, self.d.columns);
                if units.count == 0 {
                    break;
                }
                // SAFETY: the caller's promise; `add_product` asserted that the kernel has `features` rows and the bias, which
                // is the row after them, as many columns as D. `Units` keeps to these.
                unsafe {
                    let sum = E::load(s, self.sums.add(((panel * self.height + row) * V + v) * lanes).cast_const());
                    units.store(s, to, E::vadd(s, sum, units.load(s, to.cast_const())));
                }
            }
        }
    }
}

/// Writes a panel of D, from `column` on, of `depth` samples: V vectors a sample, 0 past the last column.
///
/// # Safety
/// The samples exist; `to` has room for V vectors for each.
#[inline(always)]
unsafe fn pack_panel<S: Simd, E: Element>(s: S, d: Columns<E>, column: usize, first: usize, depth: usize, to: *mut E) {
    let lanes = E::lanes::<S>();
    for sample in 0..depth {
        for v in 0..V {
            let units = Units::of::<S, E>(column / lanes + v, d.columns);
            // SAFETY: the caller's promise; `Units` keeps to the columns that exist.
            unsafe {
                let to = to.add((sample * V + v) * lanes);
                if units.count == 0 {
                    E::store(s, to, E::splat(s, E::number(0.0)));
                } else {
                    E::store(s, to, units.load(s, d.ptr.add((first + sample) * d.stride)));
                }
            }
        }
    }
}
