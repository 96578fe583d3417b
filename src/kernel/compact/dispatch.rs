//! Which [`Machine`] each instruction set is.

use super::machine::{Machine, OnMachine, Plainly};
#[cfg(target_arch = "x86_64")]
use super::x86::{Masks, Signs, Vnni};
use crate::kernel::isa::Isa;

impl Isa {
    /// [`Machine::BIAS`].
    pub(super) fn code_bias(self) -> u8 {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni(_) => <Vnni as Machine>::BIAS,
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
