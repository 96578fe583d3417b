//! The 8-bit codes of rows of inputs or recurrent values.
//!
//! With the row's largest value m, a value x has the code round(x · 127 / m), ties to even, and the row has the scale
//! m / 127. All steps are single operations in f32, so the codes are the same on every instruction set.
//!
//! **Outliers.** If m is far above the other values, these have few different codes left. A row most of whose values, not
//! counting zeros, have codes below [`COARSE`] gets fine codes as well: those of its rounding errors, with a scale 254
//! times as small, which are multiplied like another row. That is as good as 16-bit codes, at up to twice the time. A
//! row of one-hot inputs, or with many zeros, has no need of it: zeros have no error.

use crate::kernel::Element;
use crate::kernel::memory::room;
use crate::kernel::rows::Rows;
use pulp::bytemuck::cast_slice_mut;
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// Where the codes begin: the two scales come first, on a cache line of their own.
pub(super) const HEADER: usize = 16;
/// Values with smaller codes have lost their size: the rounding error is above a tenth of them. Evenly spread values
/// lie below in 1 of 36 cases, normal ones in 1 of 15.
const COARSE: i32 = 4;
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
    /// XORed to every code.
    flip: u8,
}

impl<'a, E: Element> Encode<'a, E> {
    /// # Safety
    /// Nobody writes these rows of `from`. Nobody else has these rows of `to`.
    ///
    /// # Panics
    /// If there are fewer rows, or they are too short.
    pub(in crate::kernel) unsafe fn new(
        from: Rows<'a, E>,
        to: Rows<'a, E>,
        rows: Range<usize>,
        depth: usize,
        flip: u8,
    ) -> Self {
        assert!(rows.end <= from.rows() && rows.end <= to.rows(), "every row has a place");
        assert!(depth == from.width() && width(depth) <= to.width(), "rows are as wide as their product");
        Self { from, to, rows, depth, flip }
    }
}

impl WithSimd for Encode<'_, f32> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { from, to, rows, depth, flip } = self;
        for row in rows {
            // SAFETY: both rows exist and are as wide, as asserted; the caller of `new` promised the rest.
            let (from, to) = unsafe { (from.slice(row, 0, depth), to.slice_mut(row, 0, width(depth))) };
            encode(from, to, flip);
        }
    }
}

/// Plain loops: compiled for an instruction set, they become its vectors. Integers add up to the same in any order.
#[inline(always)]
fn encode(x: &[f32], to: &mut [f32], flip: u8) {
    let (header, codes) = to.split_at_mut(HEADER);
    let (codes, fine) = codes.split_at_mut(codes.len() / 2);
    let (codes, fine) = (&mut cast_slice_mut::<f32, u8>(codes)[..x.len()], cast_slice_mut::<f32, u8>(fine));
    let fine = &mut fine[..x.len()];
    // The order of magnitudes is that of their bits, and no number is above infinity but NaN.
    let largest = x.iter().fold(0, |largest: u32, x| largest.max(x.to_bits() & !(1 << 31)));
    if largest >= f32::INFINITY.to_bits() {
        (header[0], header[1]) = (f32::NAN, NONE);
        codes.fill(flip);
        fine.fill(flip);
        return;
    }
    let largest = f32::from_bits(largest).max(SMALLEST);
    let (scale, inverse) = (largest / 127.0, 127.0 / largest);
    let (mut coarse, mut values) = (0_u32, 0_u32);
    for (to, &x) in codes.iter_mut().zip(x) {
        let rounded = x * inverse + ROUND;
        let code = rounded.to_bits() as i32 - ROUND.to_bits() as i32;
        let is_value = u32::from(x != 0.0);
        values += is_value;
        coarse += is_value & u32::from(code.abs() < COARSE);
        *to = code as u8 ^ flip;
    }
    if 2 * coarse <= values {
        (header[0], header[1]) = (scale, NONE);
        fine.fill(flip);
        return;
    }
    (header[0], header[1]) = (scale, scale / FINER);
    for (to, &x) in fine.iter_mut().zip(x) {
        let code = (x * inverse + ROUND) - ROUND;
        let error = x - code * scale;
        let rounded = error * inverse * FINER + ROUND;
        *to = (rounded.to_bits() as i32 - ROUND.to_bits() as i32) as u8 ^ flip;
    }
}
