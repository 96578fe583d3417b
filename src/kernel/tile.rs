//! The products: a few rows times one panel, or one row times a few panels, with every sum in a register.

use super::Element;
use super::rows::Lines;
use pulp::{Simd, WithSimd};

/// The most rows of a tile. A tile of one row has no more panels than this.
pub(super) const MAX_ROWS: usize = 6;
/// The most sums of a row in a panel: four gates, or three and the split one.
pub(super) const MAX_SUMS: usize = 4;

/// What the rows of a tile are multiplied by and added to.
#[derive(Clone, Copy)]
pub(super) struct Operands<'a, E> {
    /// The vectors that sums start from: a panel's bias, the same for all rows, or the sums so far.
    pub start: Lines<'a, E>,
    /// From one panel's `start` to the next.
    pub start_panel: usize,
    /// A panel's weights, inputs first, then recurrent. Those of the other panels follow.
    pub weights: &'a [E],
    /// From one panel's weights to the next.
    pub weights_panel: usize,
    /// The biases of a split gate's recurrent sum, `split_panel` numbers from one panel to the next.
    pub split: &'a [E],
    pub split_panel: usize,
    pub x: Lines<'a, E>,
    pub inputs: usize,
    pub h: Lines<'a, E>,
    pub recurrent: usize,
}

/// Where a tile writes or adds its sums, in whole vectors.
#[derive(Clone, Copy)]
pub(super) struct Out<'a, E> {
    /// The rows of the tile.
    pub rows: Lines<'a, E>,
    /// From one panel's sums to the next.
    pub panel: usize,
    /// Where in a row each vector of the first panel goes. A split gate's input sum is the last.
    pub vectors: [usize; MAX_SUMS],
    pub add: bool,
}

/// `R` rows, whose numbers are `STEP` apart, times `P` panels of `V` vectors. With `SPLIT`, the last vector's input sum
/// is kept apart, after the others.
///
/// A separate function on every instruction set, compiled once.
///
/// The maker of a tile promises, for the `S` it runs on: `start` has `R` rows of `P` panels of `V` vectors. `x` and `h`
/// have `R` rows of `inputs` and `recurrent` numbers. Each of `P` panels of `weights` has `V` vectors for each of them.
/// With `SPLIT`, `split` has a vector for each panel. `out` has `R` rows with room for every vector of every panel.
pub(super) struct Tile<'a, E, const V: usize, const R: usize, const P: usize, const STEP: usize, const SPLIT: bool> {
    pub operands: Operands<'a, E>,
    pub out: Out<'a, E>,
}

impl<E: Element, const V: usize, const R: usize, const P: usize, const STEP: usize, const SPLIT: bool> WithSimd
    for &Tile<'_, E, V, R, P, STEP, SPLIT>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Operands { start, start_panel, weights, weights_panel, split, split_panel, x, inputs, h, recurrent } =
            self.operands;
        const { assert!(V + SPLIT as usize <= MAX_SUMS) };
        let lanes = E::lanes::<S>();
        start.debug_assert_inside(R, (P - 1) * start_panel + V * lanes);
        debug_assert!(weights.len() >= (P - 1) * weights_panel + (inputs + recurrent) * V * lanes);
        debug_assert!(!SPLIT || split.len() >= (P - 1) * split_panel + lanes);
        let Out { rows: to, panel, vectors, add } = self.out;
        for v in 0..V + usize::from(SPLIT) {
            to.debug_assert_inside(R, (P - 1) * panel + vectors[v] + lanes);
        }
        let mut sums = [[[E::splat(s, E::number(0.0)); V]; R]; P];
        let mut kept = [[E::splat(s, E::number(0.0)); R]; P];
        // SAFETY: the promise of the tile's maker. Nothing is read beyond the last row, panel, vector and number of it. A
        // vector is plain numbers, for which any bits are valid, and need not be aligned.
        unsafe {
            for p in 0..P {
                for r in 0..R {
                    for v in 0..V {
                        let from = start.at(r).add(p * start_panel + v * lanes).cast::<E::Vector<S>>();
                        sums[p][r][v] = from.read_unaligned();
                    }
                }
            }
            multiply::<S, E, V, R, P, STEP>(s, &mut sums, x, inputs, weights, weights_panel);
            if SPLIT {
                for p in 0..P {
                    let bias = split.as_ptr().add(p * split_panel).cast::<E::Vector<S>>().read_unaligned();
                    for r in 0..R {
                        kept[p][r] = sums[p][r][V - 1];
                        sums[p][r][V - 1] = bias;
                    }
                }
            }
            let weights = weights.get_unchecked(inputs * V * lanes..);
            multiply::<S, E, V, R, P, STEP>(s, &mut sums, h, recurrent, weights, weights_panel);
            for p in 0..P {
                for r in 0..R {
                    let row = to.at(r).add(p * panel);
                    for v in 0..V + usize::from(SPLIT) {
                        let (sum, to) = (
                            if v < V { sums[p][r][v] } else { kept[p][r] },
                            row.add(vectors[v]).cast::<E::Vector<S>>(),
                        );
                        to.write_unaligned(if add { E::vadd(s, sum, to.read_unaligned()) } else { sum });
                    }
                }
            }
        }
    }
}

/// sums\[p\]\[r\]\[v\] += Σ rows\[r\]\[k\] · weights\[p\]\[k\]\[v\], k ascending.
///
/// # Safety
/// There are `R` rows of `depth` numbers, `STEP` apart, and `P` panels of `depth · V` vectors.
#[inline(always)]
unsafe fn multiply<S: Simd, E: Element, const V: usize, const R: usize, const P: usize, const STEP: usize>(
    s: S,
    sums: &mut [[[E::Vector<S>; V]; R]; P],
    rows: Lines<'_, E>,
    depth: usize,
    weights: &[E],
    weights_panel: usize,
) {
    let lanes = E::lanes::<S>();
    if depth > 0 {
        rows.debug_assert_inside(R, (depth - 1) * STEP + 1);
    }
    debug_assert!(depth == 0 || weights.len() >= (P - 1) * weights_panel + depth * V * lanes);
    // A copy, so that the compiler sees that nothing else reads the sums, and keeps them in registers.
    let mut acc = *sums;
    let mut weights = weights.as_ptr();
    for k in 0..depth {
        // Holds the fewer of rows' numbers and weights at once, and loads the others one by one: min(R, V) + 1
        // registers besides the sums. Of sixteen, twelve sums leave just that many; one more would move the sums about.
        // SAFETY: the caller's promise, and as above; the weights move on by as many vectors as were read.
        unsafe {
            if R <= V {
                let mut a = [E::splat(s, E::number(0.0)); R];
                for r in 0..R {
                    a[r] = E::splat(s, *rows.at(r).add(k * STEP));
                }
                for p in 0..P {
                    for v in 0..V {
                        let w = weights.add(p * weights_panel + v * lanes).cast::<E::Vector<S>>().read_unaligned();
                        for r in 0..R {
                            acc[p][r][v] = E::fma(s, a[r], w, acc[p][r][v]);
                        }
                    }
                }
            } else {
                for p in 0..P {
                    let mut w = [E::splat(s, E::number(0.0)); V];
                    for v in 0..V {
                        w[v] = weights.add(p * weights_panel + v * lanes).cast::<E::Vector<S>>().read_unaligned();
                    }
                    for r in 0..R {
                        let a = E::splat(s, *rows.at(r).add(k * STEP));
                        for v in 0..V {
                            acc[p][r][v] = E::fma(s, a, w[v], acc[p][r][v]);
                        }
                    }
                }
            }
            weights = weights.add(V * lanes);
        }
    }
    *sums = acc;
}
