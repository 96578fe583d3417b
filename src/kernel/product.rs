//! The product of backward's weight gradients: C += Aᵀ·D over all steps and rows.
//!
//! A is \[sources side by side, 1\] and D a matrix of gradients. Both are cut along the samples; a block of A is
//! transposed and a block of D packed in panels, so that [`Tile`] multiplies them. Each number of C is one sum over the
//! samples in their order: how panels are shared among threads changes nothing.

use super::Element;
use super::buffer::Buffer;
use super::isa::Isa;
use super::pass::Units;
use super::team::{Team, with_training_team};
use super::tile::{MAX_SUMS, Operands, Rows, Tile};
use ndarray::ArrayViewMut2;
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// Vectors of a panel of D.
const V: usize = MAX_SUMS;
/// Samples of a block: a panel of D and a few rows of Aᵀ stay in the L1 cache, the block of Aᵀ in L2.
const BLOCK: usize = 128;

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
/// Sources hold `steps` · `rows` samples of contiguous features, and D as many.
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
    let ProductWorkspace { transposed, sums } = workspace;
    let width = V * isa.lanes::<E>();
    let panels = d.columns.div_ceil(width);
    // A whole number of tiles, of 6 rows or 3.
    let height = (features + 1).next_multiple_of(6);
    transposed.grow(height * TRANSPOSED_STRIDE);
    transposed.as_mut_slice()[features * TRANSPOSED_STRIDE..][..BLOCK].fill(E::number(1.0));
    sums.grow(panels * height * width);
    sums.as_mut_slice()[..panels * height * width].fill(E::number(0.0));
    let (transposed, at) = (transposed.as_mut_ptr(), sums.as_mut_ptr());
    let blocks = (steps * rows).div_ceil(BLOCK);
    with_training_team(blocks, BLOCK.min(steps * rows) * height * d.columns, |team| {
        E::run_product(isa, Multiply { samples: (steps, rows), sources, d, height, transposed, sums: at, team });
    });
    let sums = sums.as_slice();
    let add = |to: &mut [E], feature: usize| {
        for (panel, to) in to.chunks_mut(width).enumerate() {
            let from = &sums[(panel * height + feature) * width..][..to.len()];
            for (to, &from) in to.iter_mut().zip(from) {
                *to = E::plus(*to, from);
            }
        }
    };
    for (feature, mut row) in kernel.rows_mut().into_iter().enumerate() {
        add(row.as_slice_mut().expect("gradients are contiguous"), feature);
    }
    if let Some(bias) = bias {
        add(bias, features);
    }
}

/// Buffers of [`add_product`].
#[derive(Default)]
pub(super) struct ProductWorkspace<E> {
    /// A block of \[sources, 1\]ᵀ.
    transposed: Buffer<E>,
    /// C in panels, a row for each feature and the sums of D.
    sums: Buffer<E>,
}

/// From one row of a transposed block to the next: not a power of two, which would share cache sets.
const TRANSPOSED_STRIDE: usize = BLOCK + 16;

pub struct Multiply<'a, E> {
    samples: (usize, usize),
    sources: &'a [Source<E>],
    d: Columns<E>,
    height: usize,
    transposed: *mut E,
    sums: *mut E,
    team: Team<'a>,
}

impl<E: Element> WithSimd for Multiply<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        if S::REGISTER_COUNT >= 32 { self.run::<S, 6>(s) } else { self.run::<S, 3>(s) }
    }
}

impl<E: Element> Multiply<'_, E> {
    #[inline(always)]
    fn run<S: Simd, const R: usize>(self, s: S) {
        let Self { samples: (steps, rows), sources, d, height, transposed, sums, mut team } = self;
        let lanes = E::lanes::<S>();
        let width = V * lanes;
        let mut packed = Buffer::new(BLOCK * width);
        let count = steps * rows;
        for first in (0..count).step_by(BLOCK) {
            let depth = BLOCK.min(count - first);
            // SAFETY: the caller promised `count` samples in every source and in D; `add_product` made room for `height`
            // rows of a block and for all sums. Members write different columns of the block, then different panels.
            unsafe {
                let mut turn = team.turn(depth);
                while let Some(samples) = turn.next() {
                    transpose(rows, sources, first, samples, transposed);
                }
                let mut turn = team.turn(d.columns.div_ceil(width));
                while let Some(panels) = turn.next() {
                    for panel in panels {
                        pack::<S, E>(s, d, panel * width, first, depth, packed.as_mut_ptr());
                        for row in (0..height).step_by(R) {
                            let sums = sums.add((panel * height + row) * width);
                            let start = Rows { ptr: sums.cast_const(), stride: width as isize };
                            let x = Rows {
                                ptr: transposed.add(row * TRANSPOSED_STRIDE).cast_const(),
                                stride: TRANSPOSED_STRIDE as isize,
                            };
                            let operands = Operands {
                                start,
                                start_panel: 0,
                                weights: packed.as_ptr(),
                                weights_panel: 0,
                                split: start.ptr,
                                split_panel: 0,
                                x,
                                inputs: depth,
                                h: x,
                                recurrent: 0,
                            };
                            s.vectorize(Tile::<E, V, R, 1, false> { operands, sums });
                        }
                    }
                }
            }
        }
    }
}

/// Writes a panel of D, from `column` on, of `depth` samples: V vectors a sample, 0 past the last column.
///
/// # Safety
/// The samples exist, `to` has room.
#[inline(always)]
unsafe fn pack<S: Simd, E: Element>(s: S, d: Columns<E>, column: usize, first: usize, depth: usize, to: *mut E) {
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

/// Writes the sources' features of some samples of the block that begins at sample `first`, a row a feature.
///
/// # Safety
/// The samples exist, `to` has room for all features of a block.
unsafe fn transpose<E: Element>(rows: usize, sources: &[Source<E>], first: usize, samples: Range<usize>, to: *mut E) {
    let mut row = 0;
    for source in sources {
        for at in samples.clone() {
            let sample = first + at;
            let (step, of_step) = ((sample / rows) as isize, (sample % rows) as isize);
            // SAFETY: the caller's promise.
            unsafe {
                let from = source.ptr.offset(step * source.step_stride + of_step * source.row_stride);
                for feature in 0..source.features {
                    *to.add((row + feature) * TRANSPOSED_STRIDE + at) = *from.add(feature);
                }
            }
        }
        row += source.features;
    }
}
