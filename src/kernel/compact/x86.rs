//! The dot product of bytes on x86-64.

use super::machine::{Machine, OnMachine};
use pulp::x86::{V3, V4};
use pulp::{Simd, cast};
use std::arch::x86_64::{__m256i, __m512i, __mmask64, _mm512_dpbusd_epi32};

type Ints<S> = <S as Simd>::i32s;
type Words<S> = <S as Simd>::u32s;
type Floats<S> = <S as Simd>::f32s;

/// AVX2. `vpmaddubsw` multiplies unsigned by signed bytes and adds two products in 16 bits. With the codes'
/// magnitudes, and their signs moved to the weights, that is at most 2 · 127 · 127: it never saturates.
#[derive(Clone, Copy)]
pub struct Signs(pub V3);

impl Machine for Signs {
    type S = V3;
    /// Magnitudes, and the codes.
    type Codes = (__m256i, __m256i);
    const ROWS: usize = 2;

    #[inline(always)]
    fn simd(self) -> V3 {
        self.0
    }
    #[inline(always)]
    fn codes(self, word: u32) -> (__m256i, __m256i) {
        let codes = self.0.avx._mm256_set1_epi32(word as i32);
        (self.0.avx2._mm256_abs_epi8(codes), codes)
    }
    #[inline(always)]
    fn dot(self, sums: Ints<V3>, (magnitudes, codes): Self::Codes, weights: Words<V3>) -> Ints<V3> {
        let V3 { avx, avx2, .. } = self.0;
        let weights = avx2._mm256_sign_epi8(cast(weights), codes);
        let pairs = avx2._mm256_maddubs_epi16(magnitudes, weights);
        let fours = avx2._mm256_madd_epi16(pairs, avx._mm256_set1_epi16(1));
        cast(avx2._mm256_add_epi32(cast(sums), fours))
    }
    #[inline(always)]
    fn store_bytes(self, words: Words<V3>, to: &mut [u8]) {
        let V3 { avx, avx2, .. } = self.0;
        let last = avx2._mm256_and_si256(cast(words), avx._mm256_set1_epi32(0xff));
        let pairs = avx2._mm256_packus_epi32(last, last);
        let bytes: [u8; 32] = cast(avx2._mm256_packus_epi16(pairs, pairs));
        to[..4].copy_from_slice(&bytes[..4]);
        to[4..8].copy_from_slice(&bytes[16..20]);
    }
    #[inline(always)]
    fn floats(self, sums: Ints<V3>) -> Floats<V3> {
        cast(self.0.avx._mm256_cvtepi32_ps(cast(sums)))
    }
}

/// The last byte of every lane.
#[inline(always)]
fn last_bytes(simd: V4, words: Words<V4>) -> [u8; 16] {
    cast(simd.avx512f._mm512_cvtepi32_epi8(cast(words)))
}

/// AVX-512 without VNNI: as [`Signs`]. Masks take the place of `vpsignb`, which AVX-512 lacks.
#[derive(Clone, Copy)]
pub struct Masks(pub V4);

impl Machine for Masks {
    type S = V4;
    /// Magnitudes, and which codes are negative.
    type Codes = (__m512i, __mmask64);
    const ROWS: usize = 6;

    #[inline(always)]
    fn simd(self) -> V4 {
        self.0
    }
    #[inline(always)]
    fn codes(self, word: u32) -> (__m512i, __mmask64) {
        let V4 { avx512f, avx512bw, .. } = self.0;
        let codes = avx512f._mm512_set1_epi32(word as i32);
        (avx512bw._mm512_abs_epi8(codes), avx512bw._mm512_movepi8_mask(codes))
    }
    #[inline(always)]
    fn dot(self, sums: Ints<V4>, (magnitudes, negative): Self::Codes, weights: Words<V4>) -> Ints<V4> {
        let V4 { avx512f, avx512bw, .. } = self.0;
        let weights = cast(weights);
        let weights = avx512bw._mm512_mask_sub_epi8(weights, negative, avx512f._mm512_setzero_si512(), weights);
        let pairs = avx512bw._mm512_maddubs_epi16(magnitudes, weights);
        let fours = avx512bw._mm512_madd_epi16(pairs, avx512f._mm512_set1_epi16(1));
        cast(avx512f._mm512_add_epi32(cast(sums), fours))
    }
    #[inline(always)]
    fn store_bytes(self, words: Words<V4>, to: &mut [u8]) {
        to[..16].copy_from_slice(&last_bytes(self.0, words));
    }
    #[inline(always)]
    fn floats(self, sums: Ints<V4>) -> Floats<V4> {
        cast(self.0.avx512f._mm512_cvtepi32_ps(cast(sums)))
    }
}

/// AVX-512 with VNNI. `vpdpbusd` multiplies unsigned by signed bytes and adds four products in 32 bits. The codes
/// are biased to be unsigned; sums start from what the bias adds, negated.
#[derive(Clone, Copy)]
pub struct Vnni(pub V4);

impl Machine for Vnni {
    type S = V4;
    type Codes = __m512i;
    const ROWS: usize = 6;
    const BIAS: u8 = 128;
    const ONLY_BYTES: bool = true;

    #[inline(always)]
    fn simd(self) -> V4 {
        self.0
    }
    fn enter<Op: OnMachine>(self, op: Op) {
        // pulp's V4, and VNNI.
        #[target_feature(enable = "sse,sse2,fxsr,sse3,ssse3,sse4.1,sse4.2,popcnt,avx,avx2,bmi1,bmi2,fma,lzcnt")]
        #[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vnni")]
        fn inside<Op: OnMachine>(machine: Vnni, op: Op) {
            op.run(machine);
        }
        // SAFETY: `Isa` makes a `Vnni` only where this machine has all of these.
        unsafe { inside(self, op) }
    }
    #[inline(always)]
    fn codes(self, word: u32) -> __m512i {
        self.0.avx512f._mm512_set1_epi32(word as i32)
    }
    #[inline(always)]
    fn dot(self, sums: Ints<V4>, codes: __m512i, weights: Words<V4>) -> Ints<V4> {
        // SAFETY: `self` is the proof that this machine has AVX-512 with VNNI.
        cast(unsafe { _mm512_dpbusd_epi32(cast(sums), codes, cast(weights)) })
    }
    #[inline(always)]
    fn store_bytes(self, words: Words<V4>, to: &mut [u8]) {
        let last = last_bytes(self.0, self.0.xor_u32s(words, self.0.splat_u32s(Self::BIAS.into())));
        to[..16].copy_from_slice(&last);
    }
    #[inline(always)]
    fn floats(self, sums: Ints<V4>) -> Floats<V4> {
        cast(self.0.avx512f._mm512_cvtepi32_ps(cast(sums)))
    }
}
