//! The 8-bit codes of rows of inputs or recurrent values.
//!
//! With the row's largest value m, a value x has the code round(x · 127 / m), ties to even, and the row has the scale
//! m / 127. All steps are single operations in f32, so the codes are the same on every instruction set.
//!
//! **Outliers.** If m is far above the other values, these have few different codes left. A row most of whose values, not
//! counting zeros, have codes below [`COARSE`] gets fine codes as well: those of its rounding errors, with a scale 254
//! times as small, which are multiplied like another row. That is as good as 16-bit codes, at up to twice the time. A
//! row of one-hot inputs, or with many zeros, has no need of it: zeros have no error.

use super::machine::{Machine, OnMachine};
use crate::kernel::Element;
use crate::kernel::isa::Isa;
use crate::kernel::memory::room;
use crate::kernel::rows::Rows;
use pulp::Simd;
use pulp::bytemuck::{bytes_of, cast_slice, cast_slice_mut};
use std::ops::Range;

/// Where the codes begin: the two scales come first, on a cache line of their own.
pub(super) const HEADER: usize = 16;
/// Values with smaller codes have lost their size: the rounding error is above a tenth of them. Evenly spread values
/// lie below in 1 of 36 cases, normal ones in 1 of 15.
const COARSE: f32 = 4.0;
/// Fine steps in a coarse one.
const FINER: f32 = 254.0;
/// Smaller values count as 0: their scale would not be a normal number.
const SMALLEST: f32 = 1e-30;
/// 1.5 · 2²³: adding it rounds to the nearest whole number, and leaves its last byte in the last byte of the bits.
const ROUND: f32 = 12_582_912.0;
/// The scale of fine codes that are not there. Any number plus −0 is the same number.
pub(super) const NONE: f32 = -0.0;

/// Words of four codes for `depth` values.
pub(super) fn groups(depth: usize) -> usize {
    depth.div_ceil(4)
}

/// Numbers in a row of codes: two scales, the codes, and the fine codes. A code takes a quarter of a number.
pub(in crate::kernel) fn width(depth: usize) -> usize {
    if depth == 0 { 0 } else { HEADER + 2 * room([groups(depth)]) }
}

/// Where the fine codes begin.
pub(super) fn fine(groups: usize) -> usize {
    HEADER + groups.next_multiple_of(HEADER)
}

/// Computes the codes of some rows.
pub struct Encode<'a, E> {
    from: Rows<'a, E>,
    to: Rows<'a, E>,
    rows: Range<usize>,
    depth: usize,
}

impl<'a, E: Element> Encode<'a, E> {
    /// # Safety
    /// Nobody writes these rows of `from`. Nobody else has these rows of `to`.
    ///
    /// # Panics
    /// If there are fewer rows, or they are too short.
    pub(in crate::kernel) unsafe fn new(from: Rows<'a, E>, to: Rows<'a, E>, rows: Range<usize>, depth: usize) -> Self {
        assert!(rows.end <= from.rows() && rows.end <= to.rows(), "every row has a place");
        assert!(depth == from.width() && width(depth) <= to.width(), "rows are as wide as their product");
        Self { from, to, rows, depth }
    }
}

impl Encode<'_, f32> {
    pub(in crate::kernel) fn run_on_machine(&self, isa: Isa) {
        isa.run_bytes(self);
    }
}

impl OnMachine for &Encode<'_, f32> {
    #[inline(always)]
    fn run<M: Machine>(self, machine: M) {
        let &Encode { from, to, ref rows, depth } = self;
        for row in rows.clone() {
            // SAFETY: both rows exist and are as wide, as asserted; the caller of `new` promised the rest.
            let (from, to) = unsafe { (from.slice(row, 0, depth), to.slice_mut(row, 0, width(depth))) };
            encode(machine, from, to);
        }
    }
}

/// Computes a row's codes, a vector at a time. There is room for whole vectors of them.
#[inline(always)]
fn encode<M: Machine>(machine: M, x: &[f32], to: &mut [f32]) {
    let (s, lanes) = (machine.simd(), <M::S as Simd>::F32_LANES);
    let (header, codes) = to.split_at_mut(HEADER);
    let (codes, fine) = codes.split_at_mut(codes.len() / 2);
    let (codes, fine) = (cast_slice_mut::<f32, u8>(codes), cast_slice_mut::<f32, u8>(fine));
    // The order of magnitudes is that of their bits, and no number is above infinity but NaN.
    let (magnitude, mut largest) = (s.splat_u32s(!(1 << 31)), s.splat_u32s(0));
    for at in (0..x.len()).step_by(lanes) {
        let bits = s.and_u32s(s.transmute_u32s_f32s(f32::load_slice(s, &x[at..])), magnitude);
        largest = s.select_u32s(s.greater_than_u32s(bits, largest), bits, largest);
    }
    let largest = cast_slice::<u8, u32>(bytes_of(&largest)).iter().fold(0, |largest: u32, &bits| largest.max(bits));
    if largest >= f32::INFINITY.to_bits() {
        (header[0], header[1]) = (f32::NAN, NONE);
        codes.fill(M::BIAS);
        fine.fill(M::BIAS);
        return;
    }
    let largest = f32::from_bits(largest).max(SMALLEST);
    let (scale, inverse) = (largest / 127.0, 127.0 / largest);
    let (inverses, round) = (s.splat_f32s(inverse), s.splat_f32s(ROUND));
    let rounded = |x| s.add_f32s(s.mul_f32s(x, inverses), round);
    let (zero, value, lost) = (s.splat_f32s(0.0), s.splat_f32s(1.0), s.splat_f32s(-1.0));
    // Lanes add 1 for a value that keeps its size, and -1 for one that has lost it.
    let mut kept = zero;
    for at in (0..x.len()).step_by(lanes) {
        let x = f32::load_slice(s, &x[at..]);
        let rounded = rounded(x);
        machine.store_bytes(s.transmute_u32s_f32s(rounded), &mut codes[at..]);
        machine.store_bytes(s.splat_u32s(0), &mut fine[at..]);
        let is_coarse = s.less_than_f32s(s.abs_f32s(s.sub_f32s(rounded, round)), s.splat_f32s(COARSE));
        let kind = s.select_f32s(is_coarse, lost, value);
        kept = s.add_f32s(kept, s.select_f32s(s.equal_f32s(x, zero), zero, kind));
    }
    if s.reduce_sum_f32s(kept) >= 0.0 {
        (header[0], header[1]) = (scale, NONE);
        return;
    }
    (header[0], header[1]) = (scale, scale / FINER);
    let (scales, finer) = (s.splat_f32s(scale), s.splat_f32s(FINER));
    for at in (0..x.len()).step_by(lanes) {
        let x = f32::load_slice(s, &x[at..]);
        let error = s.sub_f32s(x, s.mul_f32s(s.sub_f32s(rounded(x), round), scales));
        let rounded = s.add_f32s(s.mul_f32s(s.mul_f32s(error, inverses), finer), round);
        machine.store_bytes(s.transmute_u32s_f32s(rounded), &mut fine[at..]);
    }
}
