//! [`Machine`]: the dot product of bytes on each instruction set. All give the same integers.

use crate::kernel::isa::Isa;
use pulp::bytemuck::{bytes_of, cast_slice};
use pulp::{Simd, WithSimd};

impl Isa {
    /// What is added to every code to make it unsigned, where the dot product wants that.
    pub(super) fn code_bias(self) -> u8 {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni(_) => Vnni::BIAS,
            _ => 0,
        }
    }

    /// The same without what only bytes need.
    pub(super) fn without_bytes(self) -> Self {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni(simd) => Self::Avx512(simd),
            _ => self,
        }
    }

    /// Runs `op` on the machine of this instruction set.
    pub(super) fn run_bytes<Op: OnMachine>(self, op: Op) {
        match self {
            Self::Scalar => Plainly(pulp::Scalar::new()).enter(op),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(simd) => Signs(simd).enter(op),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(simd) => Masks(simd).enter(op),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni(simd) => Vnni(simd).enter(op),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(simd) => Plainly(simd).enter(op),
        }
    }
}

/// What runs on any machine. Its function is inlined into one that is compiled for the machine.
pub(super) trait OnMachine {
    fn run<M: Machine>(self, machine: M);
}

/// How an instruction set multiplies bytes. A value is the proof that this machine has it.
pub(super) trait Machine: Copy {
    type S: Simd;
    /// Four codes, one word, as the dot product wants them.
    type Codes: Copy;
    /// Rows of a tile, so that its sums fit the registers.
    const ROWS: usize;

    fn simd(self) -> Self::S;

    /// Compiles `op` for this machine and runs it.
    fn enter<Op: OnMachine>(self, op: Op);

    /// The same four codes for every lane.
    fn codes(self, word: u32) -> Self::Codes;

    /// In every lane, sums + Σ codes · weights, over the four codes and the lane's four weights.
    fn dot(
        self,
        sums: <Self::S as Simd>::i32s,
        codes: Self::Codes,
        weights: <Self::S as Simd>::u32s,
    ) -> <Self::S as Simd>::i32s;

    /// The nearest numbers.
    fn floats(self, sums: <Self::S as Simd>::i32s) -> <Self::S as Simd>::f32s;
}

/// [`OnMachine`] for pulp.
struct Entered<M, Op>(M, Op);

impl<M: Machine, Op: OnMachine> WithSimd for Entered<M, Op> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.1.run(self.0);
    }
}

/// Lane by lane, in the language's integers.
#[derive(Clone, Copy)]
struct Plainly<S>(S);

/// What `of` makes of the lanes of up to three vectors, as wide as one of `S`.
#[inline(always)]
fn lanes<V: pulp::bytemuck::Pod>(mut of: impl FnMut(usize) -> [u8; 4]) -> V {
    let mut bytes = [0_u8; 64];
    for lane in 0..size_of::<V>() / 4 {
        bytes[4 * lane..][..4].copy_from_slice(&of(lane));
    }
    pulp::bytemuck::pod_read_unaligned(&bytes[..size_of::<V>()])
}

impl<S: Simd> Machine for Plainly<S> {
    type S = S;
    type Codes = [i8; 4];
    const ROWS: usize = 3;

    #[inline(always)]
    fn simd(self) -> S {
        self.0
    }
    fn enter<Op: OnMachine>(self, op: Op) {
        self.0.vectorize(Entered(self, op));
    }
    #[inline(always)]
    fn codes(self, word: u32) -> [i8; 4] {
        word.to_le_bytes().map(|byte| byte as i8)
    }
    #[inline(always)]
    fn dot(self, sums: S::i32s, codes: [i8; 4], weights: S::u32s) -> S::i32s {
        let (sums, weights): (&[i32], &[u32]) = (cast_slice(bytes_of(&sums)), cast_slice(bytes_of(&weights)));
        lanes(|lane| {
            let weights = weights[lane].to_le_bytes();
            let products = (0..4).map(|k| i32::from(codes[k]) * i32::from(weights[k] as i8));
            (sums[lane] + products.sum::<i32>()).to_ne_bytes()
        })
    }
    #[inline(always)]
    fn floats(self, sums: S::i32s) -> S::f32s {
        let sums: &[i32] = cast_slice(bytes_of(&sums));
        lanes(|lane| (sums[lane] as f32).to_ne_bytes())
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::*;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Entered, Machine, OnMachine};
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
        fn enter<Op: OnMachine>(self, op: Op) {
            Simd::vectorize(self.0, Entered(self, op));
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
        fn floats(self, sums: Ints<V3>) -> Floats<V3> {
            cast(self.0.avx._mm256_cvtepi32_ps(cast(sums)))
        }
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
        fn enter<Op: OnMachine>(self, op: Op) {
            Simd::vectorize(self.0, Entered(self, op));
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
        fn floats(self, sums: Ints<V4>) -> Floats<V4> {
            cast(self.0.avx512f._mm512_cvtepi32_ps(cast(sums)))
        }
    }

    /// AVX-512 with VNNI. `vpdpbusd` multiplies unsigned by signed bytes and adds four products in 32 bits. The codes
    /// are biased to be unsigned; sums start from what the bias adds, negated.
    #[derive(Clone, Copy)]
    pub struct Vnni(pub V4);

    impl Vnni {
        pub const BIAS: u8 = 128;
    }

    impl Machine for Vnni {
        type S = V4;
        type Codes = __m512i;
        const ROWS: usize = 6;

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
        fn floats(self, sums: Ints<V4>) -> Floats<V4> {
            cast(self.0.avx512f._mm512_cvtepi32_ps(cast(sums)))
        }
    }
}
