//! [`Machine`]: the dot product of bytes on each instruction set. All give the same integers.

use pulp::bytemuck::{bytes_of, cast_slice};
use pulp::{Simd, WithSimd};

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
    /// What is added to every code to make it unsigned, where the dot product wants that.
    const BIAS: u8 = 0;
    /// Whether this is another machine, but for bytes. All else runs there, as [`Isa::without_bytes`] says.
    ///
    /// [`Isa::without_bytes`]: crate::kernel::isa::Isa::without_bytes
    const ONLY_BYTES: bool = false;

    fn simd(self) -> Self::S;

    /// Compiles `op` for this machine and runs it.
    fn enter<Op: OnMachine>(self, op: Op) {
        self.simd().vectorize(Entered(self, op));
    }

    /// The same four codes for every lane.
    fn codes(self, word: u32) -> Self::Codes;

    /// In every lane, sums + Σ codes · weights, over the four codes and the lane's four weights.
    fn dot(
        self,
        sums: <Self::S as Simd>::i32s,
        codes: Self::Codes,
        weights: <Self::S as Simd>::u32s,
    ) -> <Self::S as Simd>::i32s;

    /// Writes the last byte of every lane, plus the bias.
    ///
    /// # Panics
    /// If there is no room for them.
    fn store_bytes(self, words: <Self::S as Simd>::u32s, to: &mut [u8]);

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
pub(super) struct Plainly<S>(pub S);

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
    fn store_bytes(self, words: S::u32s, to: &mut [u8]) {
        let words: &[u32] = cast_slice(bytes_of(&words));
        to[..words.len()].iter_mut().zip(words).for_each(|(to, &word)| *to = word as u8);
    }
    #[inline(always)]
    fn floats(self, sums: S::i32s) -> S::f32s {
        let sums: &[i32] = cast_slice(bytes_of(&sums));
        lanes(|lane| (sums[lane] as f32).to_ne_bytes())
    }
}
