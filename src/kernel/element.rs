//! [`Element`]: `f32` and `f64` as vectors of any instruction set, so that a kernel is written once.

use pulp::bytemuck::{bytes_of, cast, pod_read_unaligned};
use pulp::{MemMask, Simd};

/// A number the kernels compute with: pulp's operations without the type in their names.
///
/// [`Float`](crate::Float) brings these names into users' scope, so none is one of `std::ops` or `num_traits::Float`.
pub trait Element: Copy + Default + Send + Sync + 'static {
    /// As many numbers as a register of `S` holds.
    type Vector<S: Simd>: Copy + Send;
    /// One boolean per lane.
    type Mask<S: Simd>: Copy;

    /// Terms of exp's Taylor series after the linear one, highest first: 1/n!, …, 1/2!.
    const EXP_TERMS: &'static [Self];
    /// log₂ e.
    const LOG2_E: Self;
    /// −ln 2 in two parts, the first with so few bits that its products with whole numbers are exact.
    const MINUS_LN_2: [Self; 2];
    /// 1.5 · 2^(mantissa bits): adding and subtracting it rounds to the nearest whole number.
    const ROUND: Self;
    /// Adding it to a whole number n puts n + exponent bias where a shift by `EXPONENT_SHIFT` makes it 2ⁿ.
    const EXPONENT: Self;
    /// Left shift, in 32-bit lanes, from the bits of n + `EXPONENT` to those of 2ⁿ.
    const EXPONENT_SHIFT: u32;
    /// For larger x, e^x overflows or e⁻ˣ is below the smallest normal number.
    const EXP_LIMIT: Self;
    /// −`EXP_LIMIT`.
    const MINUS_EXP_LIMIT: Self;
    /// tanh(x) rounds to ±1 for larger 2|x|.
    const TANH_LIMIT: Self;
    /// −`TANH_LIMIT`.
    const MINUS_TANH_LIMIT: Self;

    #[doc(hidden)]
    fn number(value: f64) -> Self;
    /// The exact value of a number.
    #[doc(hidden)]
    fn value(number: Self) -> f64;
    #[doc(hidden)]
    fn plus(a: Self, b: Self) -> Self;
    #[doc(hidden)]
    fn lanes<S: Simd>() -> usize;
    #[doc(hidden)]
    fn splat<S: Simd>(s: S, value: Self) -> Self::Vector<S>;
    #[doc(hidden)]
    fn vadd<S: Simd>(s: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    #[doc(hidden)]
    fn vsub<S: Simd>(s: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    #[doc(hidden)]
    fn vmul<S: Simd>(s: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    #[doc(hidden)]
    fn vdiv<S: Simd>(s: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// a · b + c, rounded once where the machine can.
    #[doc(hidden)]
    fn fma<S: Simd>(s: S, a: Self::Vector<S>, b: Self::Vector<S>, c: Self::Vector<S>) -> Self::Vector<S>;
    #[doc(hidden)]
    fn vabs<S: Simd>(s: S, a: Self::Vector<S>) -> Self::Vector<S>;
    /// a < b; false where either is NaN.
    #[doc(hidden)]
    fn less<S: Simd>(s: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Mask<S>;
    #[doc(hidden)]
    fn select<S: Simd>(s: S, mask: Self::Mask<S>, yes: Self::Vector<S>, no: Self::Vector<S>) -> Self::Vector<S>;
    /// 2ⁿ for a whole n in the exponent's range.
    #[doc(hidden)]
    fn exp2_whole<S: Simd>(s: S, n: Self::Vector<S>) -> Self::Vector<S>;
    /// The first `n` lanes.
    #[doc(hidden)]
    fn first<S: Simd>(s: S, n: usize) -> Self::Mask<S>;

    /// Loads the first numbers of a slice, as many as a vector holds. Lanes beyond the slice are 0 and not read.
    #[doc(hidden)]
    fn load_slice<S: Simd>(s: S, from: &[Self]) -> Self::Vector<S>;
    /// Writes the first lanes to a slice, as many as it has room for.
    #[doc(hidden)]
    fn store_slice<S: Simd>(s: S, to: &mut [Self], value: Self::Vector<S>);
    /// A value whose type is generic in the number type, with that type known.
    #[doc(hidden)]
    fn concrete<F: Family>(value: &F::Of<Self>) -> Concrete<&F::Of<f32>, &F::Of<f64>>;
}

/// A type that is generic in the number type.
pub trait Family {
    /// The type for one number type.
    type Of<E: Element>;
}

/// A generic value with its number type known.
pub enum Concrete<A, B> {
    F32(A),
    F64(B),
}

macro_rules! element {
    ($type:ident, $concrete:ident, $vector:ident, $mask:ident, $bits:ident, $uint:ident, $lanes:ident, $splat:ident,
     $add:ident, $sub:ident, $mul:ident, $div:ident, $mul_add:ident, $abs:ident, $less:ident, $select:ident,
     $splat_bits:ident, $less_bits:ident, $load_masked:ident, $store_masked:ident; $($constants:tt)+) => {
        impl Element for $type {
            type Vector<S: Simd> = S::$vector;
            type Mask<S: Simd> = S::$mask;

            $($constants)+

            #[inline(always)]
            fn number(value: f64) -> Self {
                value as $type
            }
            #[inline(always)]
            fn value(number: Self) -> f64 {
                number.into()
            }
            #[inline(always)]
            fn plus(a: Self, b: Self) -> Self {
                a + b
            }
            #[inline(always)]
            fn lanes<S: Simd>() -> usize {
                S::$lanes
            }
            #[inline(always)]
            fn splat<S: Simd>(s: S, value: Self) -> S::$vector {
                s.$splat(value)
            }
            #[inline(always)]
            fn vadd<S: Simd>(s: S, a: S::$vector, b: S::$vector) -> S::$vector {
                s.$add(a, b)
            }
            #[inline(always)]
            fn vsub<S: Simd>(s: S, a: S::$vector, b: S::$vector) -> S::$vector {
                s.$sub(a, b)
            }
            #[inline(always)]
            fn vmul<S: Simd>(s: S, a: S::$vector, b: S::$vector) -> S::$vector {
                s.$mul(a, b)
            }
            #[inline(always)]
            fn vdiv<S: Simd>(s: S, a: S::$vector, b: S::$vector) -> S::$vector {
                s.$div(a, b)
            }
            #[inline(always)]
            fn fma<S: Simd>(s: S, a: S::$vector, b: S::$vector, c: S::$vector) -> S::$vector {
                s.$mul_add(a, b, c)
            }
            #[inline(always)]
            fn vabs<S: Simd>(s: S, a: S::$vector) -> S::$vector {
                s.$abs(a)
            }
            #[inline(always)]
            fn less<S: Simd>(s: S, a: S::$vector, b: S::$vector) -> S::$mask {
                s.$less(a, b)
            }
            #[inline(always)]
            fn select<S: Simd>(s: S, mask: S::$mask, yes: S::$vector, no: S::$vector) -> S::$vector {
                s.$select(mask, yes, no)
            }
            #[inline(always)]
            fn exp2_whole<S: Simd>(s: S, n: S::$vector) -> S::$vector {
                let bits = s.$add(n, s.$splat(Self::EXPONENT));
                // A vector of one lane (only `Scalar`) is the number itself, as wide as its unsigned twin. Any other
                // vector is a register, as wide as a register of words.
                if S::$lanes == 1 {
                    let bits: $uint = cast(bits);
                    cast(bits << Self::EXPONENT_SHIFT)
                } else {
                    let words: S::u32s = cast(bits);
                    cast(s.wrapping_dyn_shl_u32s(words, s.splat_u32s(Self::EXPONENT_SHIFT)))
                }
            }
            #[inline(always)]
            fn first<S: Simd>(s: S, n: usize) -> S::$mask {
                static INDEX: [$uint; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
                const { assert!(size_of::<S::$bits>() <= 16 * size_of::<$uint>()) };
                let index: S::$bits = pod_read_unaligned(&bytes_of(&INDEX)[..size_of::<S::$bits>()]);
                s.$less_bits(index, s.$splat_bits(n as $uint))
            }
            #[inline(always)]
            fn load_slice<S: Simd>(s: S, from: &[Self]) -> S::$vector {
                // SAFETY: the slice is readable for a whole vector, or in the mask's lanes. A vector is plain numbers, for
                // which any bits are valid, and need not be aligned.
                unsafe {
                    if from.len() >= S::$lanes {
                        from.as_ptr().cast::<S::$vector>().read_unaligned()
                    } else {
                        s.$load_masked(MemMask::new(Self::first(s, from.len())), from.as_ptr())
                    }
                }
            }
            #[inline(always)]
            fn store_slice<S: Simd>(s: S, to: &mut [Self], value: S::$vector) {
                // SAFETY: the slice is writable for a whole vector, or in the mask's lanes.
                unsafe {
                    if to.len() >= S::$lanes {
                        to.as_mut_ptr().cast::<S::$vector>().write_unaligned(value);
                    } else {
                        s.$store_masked(MemMask::new(Self::first(s, to.len())), to.as_mut_ptr(), value);
                    }
                }
            }
            #[inline(always)]
            fn concrete<F: Family>(value: &F::Of<Self>) -> Concrete<&F::Of<f32>, &F::Of<f64>> {
                Concrete::$concrete(value)
            }
        }
    };
}

element!(
    f32, F32, f32s, m32s, u32s, u32, F32_LANES, splat_f32s, add_f32s, sub_f32s, mul_f32s, div_f32s,
    mul_add_e_f32s, abs_f32s, less_than_f32s, select_f32s, splat_u32s, less_than_u32s, mask_load_ptr_f32s,
    mask_store_ptr_f32s;
    // |r| ≤ ln 2 / 2 = 0.347: the first dropped term, r⁸/8!, is below 5.3e-9, a tenth of half an ULP of exp(r).
    const EXP_TERMS: &'static [f32] = &[1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 1.0 / 2.0];
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    // 0x3f317000: 12 bits of ln 2, and the rest (Cody and Waite, 1980).
    const MINUS_LN_2: [f32; 2] = [-0.693_115_23, -3.194_618_5e-5];
    const ROUND: f32 = 12_582_912.0;
    const EXPONENT: f32 = 12_582_912.0 + 127.0;
    const EXPONENT_SHIFT: u32 = 23;
    const EXP_LIMIT: f32 = 87.0;
    const MINUS_EXP_LIMIT: f32 = -87.0;
    const TANH_LIMIT: f32 = 40.0;
    const MINUS_TANH_LIMIT: f32 = -40.0;
);

element!(
    f64, F64, f64s, m64s, u64s, u64, F64_LANES, splat_f64s, add_f64s, sub_f64s, mul_f64s, div_f64s,
    mul_add_e_f64s, abs_f64s, less_than_f64s, select_f64s, splat_u64s, less_than_u64s, mask_load_ptr_f64s,
    mask_store_ptr_f64s;
    // The first dropped term, r¹⁴/14!, is below 4.2e-18, a tenth of half an ULP of exp(r).
    const EXP_TERMS: &'static [f64] = &[
        1.0 / 6_227_020_800.0, 1.0 / 479_001_600.0, 1.0 / 39_916_800.0, 1.0 / 3_628_800.0, 1.0 / 362_880.0,
        1.0 / 40_320.0, 1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 1.0 / 2.0,
    ];
    const LOG2_E: f64 = std::f64::consts::LOG2_E;
    const MINUS_LN_2: [f64; 2] = [-6.931_471_803_691_238e-1, -1.908_214_929_270_587_8e-10];
    const ROUND: f64 = 6_755_399_441_055_744.0;
    // 2^20 · 1.5: one ULP is 2^-32, so n is in the upper 32-bit word, and the lower one stays 0 when shifted.
    const EXPONENT: f64 = 1_572_864.0 + 1023.0;
    const EXPONENT_SHIFT: u32 = 20;
    const EXP_LIMIT: f64 = 708.0;
    const MINUS_EXP_LIMIT: f64 = -708.0;
    const TANH_LIMIT: f64 = 80.0;
    const MINUS_TANH_LIMIT: f64 = -80.0;
);
