//! The products of one half of compressed weights: a few rows times one panel, or one row times a few panels.

use super::codes::{HEADER, fine};
use super::machine::{Machine, OnMachine};
use crate::kernel::rows::Lines;
use crate::kernel::tile::MAX_SUMS;
use pulp::Simd;

/// What the rows of a tile are multiplied by, and what their sums start from.
#[derive(Clone, Copy)]
pub(super) struct Operands<'a> {
    /// Rows of codes, or of numbers for 16-bit weights.
    pub rows: Lines<'a, f32>,
    /// Rows of weights.
    pub depth: usize,
    /// Words of a lane.
    pub groups: usize,
    /// The words of a panel, and of all panels after it.
    pub words: &'a [u32],
    /// Of a panel, and of all panels after it: a number per sum. Only 8-bit weights have them.
    pub scales: &'a [f32],
    pub corrections: &'a [i32],
    pub start: Sums<'a>,
    /// What the last vector starts from instead: a split gate's recurrent bias.
    pub last_start: Option<&'a [f32]>,
    /// From one panel's `last_start` to the next.
    pub last_panel: usize,
    pub to: Sums<'a>,
}

/// Where vectors of sums are.
#[derive(Clone, Copy)]
pub(super) struct Sums<'a> {
    pub rows: Lines<'a, f32>,
    /// From one panel's sums to the next.
    pub panel: usize,
    /// Where in a row each vector of the first panel is.
    pub vectors: [usize; MAX_SUMS],
}

impl Sums<'_> {
    /// Those from a row and a panel on.
    #[inline(always)]
    pub(super) fn from(self, row: usize, panel: usize) -> Self {
        Self { rows: self.rows.from(row, panel * self.panel), ..self }
    }
}

/// `R` rows times `P` panels of `V` vectors.
///
/// The maker of a tile promises, for the machine it runs on: `rows` has `R` rows as wide as their codes or as `depth`.
/// `words`, `scales` and `corrections` have `P` panels of `V` vectors. `start` and `to` have `R` rows with room for every
/// vector of every panel, and `last_start` a vector for each panel.
pub(super) struct Int8Tile<'a, const V: usize, const R: usize, const P: usize>(pub Operands<'a>);

/// As [`Int8Tile`], for 16-bit weights.
pub(super) struct Bf16Tile<'a, const V: usize, const R: usize, const P: usize>(pub Operands<'a>);

type Ints<M> = <<M as Machine>::S as Simd>::i32s;
type Words<M> = <<M as Machine>::S as Simd>::u32s;
type Floats<M> = <<M as Machine>::S as Simd>::f32s;

impl Operands<'_> {
    /// Asserts in debug builds what the maker promised about everything but `rows`.
    #[inline(always)]
    fn debug_assert_inside<const V: usize, const R: usize, const P: usize>(&self, lanes: usize) {
        debug_assert!(self.words.len() >= P * self.groups * V * lanes, "words of {P} panels");
        for v in 0..V {
            for (last, sums) in [(self.last_start, self.start), (None, self.to)] {
                match last.filter(|_| v == V - 1) {
                    Some(last) => debug_assert!(last.len() >= (P - 1) * self.last_panel + lanes),
                    None => sums.rows.debug_assert_inside(R, (P - 1) * sums.panel + sums.vectors[v] + lanes),
                }
            }
        }
    }

    /// Where the sums of a row start from.
    #[inline(always)]
    fn start<const V: usize>(&self, row: usize, panel: usize, vector: usize) -> *const f32 {
        match self.last_start {
            Some(last) if vector == V - 1 => last.as_ptr().wrapping_add(panel * self.last_panel),
            _ => self.start.rows.at(row).wrapping_add(panel * self.start.panel + self.start.vectors[vector]),
        }
    }

    #[inline(always)]
    fn to(&self, row: usize, panel: usize, vector: usize) -> *mut f32 {
        self.to.rows.at(row).wrapping_add(panel * self.to.panel + self.to.vectors[vector])
    }
}

impl<const V: usize, const R: usize, const P: usize> OnMachine for &Int8Tile<'_, V, R, P> {
    #[inline(always)]
    fn run<M: Machine>(self, machine: M) {
        let (all, s, lanes) = (&self.0, machine.simd(), <M::S as Simd>::I32_LANES);
        all.debug_assert_inside::<V, R, P>(lanes);
        let sums = lanes * V;
        debug_assert!(all.scales.len() >= P * sums && all.corrections.len() >= P * sums);
        // SAFETY: the promise of the tile's maker. Nothing is read beyond the last row, panel and word of it. A vector is
        // plain numbers, for which any bits are valid, and need not be aligned. So it is below.
        unsafe {
            for is_fine in [false, true] {
                if is_fine && !(0..R).any(|r| *all.rows.at(r).add(1) > 0.0) {
                    return;
                }
                let codes = if is_fine { fine(all.groups) } else { HEADER };
                let acc = dots::<M, V, R, P>(machine, all, codes);
                for p in 0..P {
                    for v in 0..V {
                        let unit = all.scales.as_ptr().add(p * sums + v * lanes).cast::<Floats<M>>().read_unaligned();
                        for r in 0..R {
                            let row = s.splat_f32s(*all.rows.at(r).add(usize::from(is_fine)));
                            // The fine half adds to what the coarse one has written.
                            let start = if is_fine { all.to(r, p, v) } else { all.start::<V>(r, p, v) };
                            let scale = s.mul_f32s(row, unit);
                            let sum = s.mul_add_e_f32s(
                                machine.floats(acc[p][r][v]),
                                scale,
                                start.cast::<Floats<M>>().read_unaligned(),
                            );
                            all.to(r, p, v).cast::<Floats<M>>().write_unaligned(sum);
                        }
                    }
                }
            }
        }
    }
}

/// Σ codes · weights for every row, panel and vector, from the codes that begin at number `codes` of a row.
///
/// # Safety
/// As the promise of an [`Int8Tile`].
#[inline(always)]
unsafe fn dots<M: Machine, const V: usize, const R: usize, const P: usize>(
    machine: M,
    all: &Operands<'_>,
    codes: usize,
) -> [[[Ints<M>; V]; R]; P] {
    let (s, lanes) = (machine.simd(), <M::S as Simd>::I32_LANES);
    all.rows.debug_assert_inside(R, codes + all.groups);
    let mut acc = [[[s.splat_i32s(0); V]; R]; P];
    // SAFETY: the caller's promise; the words move on by as many vectors as were read.
    unsafe {
        for p in 0..P {
            for v in 0..V {
                let correction = all.corrections.as_ptr().add((p * V + v) * lanes).cast::<Ints<M>>().read_unaligned();
                for r in 0..R {
                    acc[p][r][v] = correction;
                }
            }
        }
        // With few sums, two of each: one alone would wait for its own last product.
        if const { R * P * V <= 8 } {
            let mut odd = [[[s.splat_i32s(0); V]; R]; P];
            let pairs = all.groups / 2;
            for pair in 0..pairs {
                group_of(machine, all, (codes, 2 * pair), &mut acc);
                group_of(machine, all, (codes, 2 * pair + 1), &mut odd);
            }
            if all.groups % 2 == 1 {
                group_of(machine, all, (codes, 2 * pairs), &mut acc);
            }
            for p in 0..P {
                for r in 0..R {
                    for v in 0..V {
                        acc[p][r][v] = s.add_i32s(acc[p][r][v], odd[p][r][v]);
                    }
                }
            }
        } else {
            for group in 0..all.groups {
                group_of(machine, all, (codes, group), &mut acc);
            }
        }
    }
    acc
}

/// Adds the products of one group of codes.
///
/// # Safety
/// As [`dots`]; the group exists.
#[inline(always)]
unsafe fn group_of<M: Machine, const V: usize, const R: usize, const P: usize>(
    machine: M,
    all: &Operands<'_>,
    (codes, group): (usize, usize),
    acc: &mut [[[Ints<M>; V]; R]; P],
) {
    let (s, lanes) = (machine.simd(), <M::S as Simd>::I32_LANES);
    let panel = all.groups * V * lanes;
    // SAFETY: the caller's promise.
    unsafe {
        let words = all.words.as_ptr().add(group * V * lanes);
        let word = |r: usize| (*all.rows.at(r).add(codes + group)).to_bits();
        if R <= V {
            let mut row = [machine.codes(0); R];
            for r in 0..R {
                row[r] = machine.codes(word(r));
            }
            for p in 0..P {
                for v in 0..V {
                    let weights = words.add(p * panel + v * lanes).cast::<Words<M>>().read_unaligned();
                    for r in 0..R {
                        acc[p][r][v] = machine.dot(acc[p][r][v], row[r], weights);
                    }
                }
            }
            return;
        }
        for p in 0..P {
            let mut weights = [s.splat_u32s(0); V];
            for v in 0..V {
                weights[v] = words.add(p * panel + v * lanes).cast::<Words<M>>().read_unaligned();
            }
            for r in 0..R {
                let row = machine.codes(word(r));
                for v in 0..V {
                    acc[p][r][v] = machine.dot(acc[p][r][v], row, weights[v]);
                }
            }
        }
    }
}

impl<const V: usize, const R: usize, const P: usize> OnMachine for &Bf16Tile<'_, V, R, P> {
    #[inline(always)]
    fn run<M: Machine>(self, machine: M) {
        let (all, s, lanes) = (&self.0, machine.simd(), <M::S as Simd>::I32_LANES);
        all.debug_assert_inside::<V, R, P>(lanes);
        all.rows.debug_assert_inside(R, all.depth);
        let panel = all.groups * V * lanes;
        let (shift, mask) = (s.splat_u32s(16), s.splat_u32s(0xffff_0000));
        let mut acc = [[[s.splat_f32s(0.0); V]; R]; P];
        // SAFETY: the promise of the tile's maker. Nothing is read beyond the last row, panel and word of it; a row's
        // last number may be the first of a word.
        unsafe {
            for p in 0..P {
                for r in 0..R {
                    for v in 0..V {
                        acc[p][r][v] = all.start::<V>(r, p, v).cast::<Floats<M>>().read_unaligned();
                    }
                }
            }
            let mut words = all.words.as_ptr();
            for group in 0..all.groups {
                for part in 0..2 {
                    if 2 * group + part == all.depth {
                        break;
                    }
                    for p in 0..P {
                        let mut weights = [s.splat_f32s(0.0); V];
                        for v in 0..V {
                            let word = words.add(p * panel + v * lanes).cast::<Words<M>>().read_unaligned();
                            let upper =
                                if part == 0 { s.wrapping_dyn_shl_u32s(word, shift) } else { s.and_u32s(word, mask) };
                            weights[v] = s.transmute_f32s_u32s(upper);
                        }
                        for r in 0..R {
                            let x = s.splat_f32s(*all.rows.at(r).add(2 * group + part));
                            for v in 0..V {
                                acc[p][r][v] = s.mul_add_e_f32s(x, weights[v], acc[p][r][v]);
                            }
                        }
                    }
                }
                words = words.add(V * lanes);
            }
            for p in 0..P {
                for r in 0..R {
                    for v in 0..V {
                        all.to(r, p, v).cast::<Floats<M>>().write_unaligned(acc[p][r][v]);
                    }
                }
            }
        }
    }
}
