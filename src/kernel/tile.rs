//! The products: a few rows times one panel, or one row times a few panels, every sum in a register.

use super::Element;
use pulp::{Simd, WithSimd};

/// Rows of numbers: row r starts at `ptr + r·stride` and is contiguous.
#[derive(Clone, Copy)]
pub(super) struct Rows<E> {
    pub ptr: *const E,
    pub stride: isize,
}

impl<E> Rows<E> {
    /// # Safety
    /// Row `row` exists.
    #[inline(always)]
    pub(super) unsafe fn row(self, row: usize) -> *const E {
        // SAFETY: the caller's promise.
        unsafe { self.ptr.offset(row as isize * self.stride) }
    }
}

/// Most rows of a tile, and most panels of one row.
pub(super) const MAX_ROWS: usize = 6;
/// Most sums of a row and a panel: four gates, or three and the split one.
pub(super) const MAX_SUMS: usize = 4;

/// What the rows of a tile are multiplied by and added to.
#[derive(Clone, Copy)]
pub(super) struct Operands<E> {
    /// Sums start at these vectors: a panel's bias (stride 0) or hoisted input products.
    pub start: Rows<E>,
    /// From one panel's `start` to the next.
    pub start_panel: usize,
    /// A panel's weights, inputs first, then recurrent.
    pub weights: *const E,
    /// From one panel's weights to the next.
    pub weights_panel: usize,
    /// The last gate's second bias, if split; one panel's to the next is `start_panel` of a bias.
    pub split: *const E,
    pub split_panel: usize,
    pub x: Rows<E>,
    pub inputs: usize,
    pub h: Rows<E>,
    pub recurrent: usize,
}

/// `R` rows, whose numbers stand `STEP` apart, times `P` panels of `V` vectors. With `SPLIT` the last vector's recurrent sum
/// is kept apart, behind the others.
///
/// A function of its own on every instruction set, compiled once for all epilogues.
///
/// Whoever makes one promises, for the `S` it is run on: `start` has `R` rows, of `P` panels of `V` vectors; `x` and `h`
/// have `R` rows of `inputs` and `recurrent` numbers; each of `P` panels of `weights` has `V` vectors for each of these;
/// with `SPLIT`, `split` has a vector for each panel; and `sums` has room as said there.
pub(super) struct Tile<E, const V: usize, const R: usize, const P: usize, const STEP: usize, const SPLIT: bool> {
    pub operands: Operands<E>,
    /// Where the sums go, as `P` · `R` · `MAX_SUMS` whole vectors: (panel · `R` + row) · `MAX_SUMS` + vector.
    pub sums: *mut E,
}

impl<E: Element, const V: usize, const R: usize, const P: usize, const STEP: usize, const SPLIT: bool> WithSimd
    for Tile<E, V, R, P, STEP, SPLIT>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Operands { start, start_panel, weights, weights_panel, split, split_panel, x, inputs, h, recurrent } =
            self.operands;
        const { assert!(V + SPLIT as usize <= MAX_SUMS) };
        let lanes = E::lanes::<S>();
        let zero = E::splat(s, E::number(0.0));
        let mut sums = [[[zero; V]; R]; P];
        let mut kept = [[zero; R]; P];
        // SAFETY: what whoever made this promised. Nothing is read beyond the last row, panel, vector and number of it. With
        // SPLIT a row and panel store V + 1 vectors, else V, of the MAX_SUMS that `sums` has for them.
        unsafe {
            for p in 0..P {
                for r in 0..R {
                    for v in 0..V {
                        sums[p][r][v] = E::load(s, start.row(r).add(p * start_panel + v * lanes));
                    }
                }
            }
            multiply::<S, E, V, R, P, STEP>(s, &mut sums, x, inputs, weights, weights_panel);
            if SPLIT {
                for p in 0..P {
                    let bias = E::load(s, split.add(p * split_panel));
                    for r in 0..R {
                        kept[p][r] = sums[p][r][V - 1];
                        sums[p][r][V - 1] = bias;
                    }
                }
            }
            multiply::<S, E, V, R, P, STEP>(s, &mut sums, h, recurrent, weights.add(inputs * V * lanes), weights_panel);
            for p in 0..P {
                for r in 0..R {
                    let out = self.sums.add((p * R + r) * MAX_SUMS * lanes);
                    for v in 0..V {
                        E::store(s, out.add(v * lanes), sums[p][r][v]);
                    }
                    if SPLIT {
                        E::store(s, out.add(V * lanes), kept[p][r]);
                    }
                }
            }
        }
    }
}

/// sums\[p\]\[r\]\[v\] += Σ rows\[r\]\[k\] · weights\[p\]\[k\]\[v\], k ascending.
///
/// # Safety
/// `R` rows of `depth` numbers, `P` panels of `depth · V` vectors.
#[inline(always)]
unsafe fn multiply<S: Simd, E: Element, const V: usize, const R: usize, const P: usize, const STEP: usize>(
    s: S,
    sums: &mut [[[E::Vector<S>; V]; R]; P],
    rows: Rows<E>,
    depth: usize,
    weights: *const E,
    weights_panel: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let lanes = E::lanes::<S>();
        // A copy, so that the compiler sees that nothing else reads the sums and keeps them in registers.
        let mut acc = *sums;
        let mut weights = weights;
        for k in 0..depth {
            // The fewer of the two, rows' numbers and weights, are held at once, the others come one by one: min(R, V) + 1
            // registers beside the sums. Of sixteen, twelve sums leave no more; one too many and the sums move about.
            if R <= V {
                let mut a = [E::splat(s, E::number(0.0)); R];
                for r in 0..R {
                    a[r] = E::splat(s, *rows.row(r).add(k * STEP));
                }
                for p in 0..P {
                    for v in 0..V {
                        let w = E::load(s, weights.add(p * weights_panel + v * lanes));
                        for r in 0..R {
                            acc[p][r][v] = E::fma(s, a[r], w, acc[p][r][v]);
                        }
                    }
                }
            } else {
                for p in 0..P {
                    let mut w = [E::splat(s, E::number(0.0)); V];
                    for v in 0..V {
                        w[v] = E::load(s, weights.add(p * weights_panel + v * lanes));
                    }
                    for r in 0..R {
                        let a = E::splat(s, *rows.row(r).add(k * STEP));
                        for v in 0..V {
                            acc[p][r][v] = E::fma(s, a, w[v], acc[p][r][v]);
                        }
                    }
                }
            }
            weights = weights.add(V * lanes);
        }
        *sums = acc;
    }
}
