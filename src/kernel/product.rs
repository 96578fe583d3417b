//! The product of backward's weight gradients: C += Aᵀ·D over all steps and rows.
//!
//! A is \[sources side by side, 1\] and D a matrix of gradients. Both are cut along the samples; a block of A is
//! transposed and a block of D packed in panels, so that [`Tile`] multiplies them. Each number of C is one sum over the
//! samples in their order: how panels are shared among threads changes nothing.

use super::Element;
use super::buffer::Buffer;
use super::isa::Isa;
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
    let width = E::run_product(isa, Multiply { samples: (steps, rows), sources, d, features, workspace });
    let sums = workspace.sums.as_slice();
    let add = |to: &mut [E], feature: usize| {
        for (panel, to) in to.chunks_mut(width).enumerate() {
            let from = &sums[(panel * workspace.height + feature) * width..][..to.len()];
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
    transposed: Buffer<E>,
    panel: Buffer<E>,
    /// C in panels of `height` rows.
    sums: Buffer<E>,
    height: usize,
}

/// From one row of a transposed block to the next: not a power of two, which would share cache sets.
const TRANSPOSED_STRIDE: usize = BLOCK + 16;

pub struct Multiply<'a, E> {
    samples: (usize, usize),
    sources: &'a [Source<E>],
    d: Columns<E>,
    features: usize,
    workspace: &'a mut ProductWorkspace<E>,
}

impl<E: Element> WithSimd for Multiply<'_, E> {
    /// Columns of a panel.
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) -> usize {
        let width = V * E::lanes::<S>();
        if S::REGISTER_COUNT >= 32 {
            self.run::<S, 6>(s)
        } else {
            self.run::<S, 3>(s)
        }
        width
    }
}

impl<E: Element> Multiply<'_, E> {
    #[inline(always)]
    fn run<S: Simd, const R: usize>(self, s: S) {
        let Self { samples: (steps, rows), sources, d, features, workspace } = self;
        let width = V * E::lanes::<S>();
        let panels = d.columns.div_ceil(width);
        let height = (features + 1).next_multiple_of(R);
        let ProductWorkspace { transposed, panel: packed, sums, height: stored } = workspace;
        *stored = height;
        transposed.grow(height * TRANSPOSED_STRIDE);
        packed.grow(BLOCK * width);
        sums.grow(panels * height * width);
        sums.as_mut_slice()[..panels * height * width].fill(E::number(0.0));
        transposed.as_mut_slice()[features * TRANSPOSED_STRIDE..][..BLOCK].fill(E::number(1.0));

        let count = steps * rows;
        let mut first = 0;
        while first < count {
            let block = first..count.min(first + BLOCK);
            // SAFETY: the caller promised `count` samples in every source and in D; the buffers were grown above for
            // `height` rows of a block, a panel of a block, and all sums.
            unsafe {
                transpose(rows, sources, block.clone(), transposed.as_mut_slice());
                for panel in 0..panels {
                    let columns = width.min(d.columns - panel * width);
                    for (sample, to) in block.clone().zip(packed.as_mut_slice().chunks_mut(width)) {
                        let from = d.ptr.add(sample * d.stride + panel * width);
                        if columns == width {
                            for v in 0..V {
                                let at = v * E::lanes::<S>();
                                E::store(s, to.as_mut_ptr().add(at), E::load(s, from.add(at)));
                            }
                        } else {
                            to[..columns].copy_from_slice(std::slice::from_raw_parts(from, columns));
                            to[columns..].fill(E::number(0.0));
                        }
                    }
                    for row in (0..height).step_by(R) {
                        let sums = sums.as_mut_ptr().add((panel * height + row) * width);
                        let start = Rows { ptr: sums.cast_const(), stride: width as isize };
                        let x = Rows {
                            ptr: transposed.as_ptr().add(row * TRANSPOSED_STRIDE),
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
                            inputs: block.len(),
                            h: x,
                            recurrent: 0,
                        };
                        s.vectorize(Tile::<E, V, R, 1, false> { operands, sums });
                    }
                }
            }
            first = block.end;
        }
    }
}

/// Writes the sources' features of the samples of `block`, a row a feature.
///
/// # Safety
/// The samples exist.
unsafe fn transpose<E: Element>(rows: usize, sources: &[Source<E>], block: Range<usize>, to: &mut [E]) {
    let mut row = 0;
    for source in sources {
        for (at, sample) in block.clone().enumerate() {
            let (step, of_step) = ((sample / rows) as isize, (sample % rows) as isize);
            // SAFETY: the caller's promise.
            let from = unsafe {
                let ptr = source.ptr.offset(step * source.step_stride + of_step * source.row_stride);
                std::slice::from_raw_parts(ptr, source.features)
            };
            let column = to[row * TRANSPOSED_STRIDE + at..].iter_mut().step_by(TRANSPOSED_STRIDE);
            for (to, from) in column.zip(from) {
                *to = *from;
            }
        }
        row += source.features;
    }
}
