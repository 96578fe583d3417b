//! The instruction set that runs, chosen once, at run time.

use pulp::{Simd, WithSimd};
use std::sync::OnceLock;

/// The instruction set the kernels run on here: `"avx512+vnni"`, `"avx512"`, `"avx2"`, `"neon"` or `"scalar"`.
///
/// The widest one this machine has, unless the environment variable `RNN_CELL_ISA` names another before the first cell
/// is made. An empty variable counts as unset. Results on different instruction sets differ in the last bits.
///
/// `+vnni` says that the products of [`WeightFormat::Int8`](crate::WeightFormat::Int8) use VNNI's dot product of bytes.
/// Everything else is the same as on `"avx512"`, bit for bit.
///
/// # Panics
/// If the variable names one that this machine does not have.
#[must_use]
pub fn instruction_set() -> &'static str {
    Isa::get().name()
}

/// An instruction set the kernels are compiled for, and the proof that this machine has it.
#[derive(Debug, Clone, Copy)]
pub enum Isa {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2(pulp::x86::V3),
    #[cfg(target_arch = "x86_64")]
    Avx512(pulp::x86::V4),
    /// With VNNI, the dot product of bytes. All other kernels are those of `Avx512`.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni(pulp::x86::V4),
    #[cfg(target_arch = "aarch64")]
    Neon(pulp::aarch64::Neon),
}

impl Isa {
    /// The one that [`instruction_set`] names.
    pub(crate) fn get() -> Self {
        #[cfg(test)]
        if let Some(isa) = tests::FORCED.get() {
            return isa;
        }
        static CHOSEN: OnceLock<Isa> = OnceLock::new();
        *CHOSEN.get_or_init(|| {
            let name = std::env::var_os("RNN_CELL_ISA").unwrap_or_default();
            if name.is_empty() {
                return Self::available()[0];
            }
            // No silent fallback: a test that asks for one path must not run another.
            let asked_for = Self::available().into_iter().find(|isa| name == isa.name());
            asked_for.unwrap_or_else(|| panic!("RNN_CELL_ISA is {name:?}, which this machine does not have"))
        })
    }

    /// All instruction sets of this machine, widest first.
    pub(crate) fn available() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx512 = pulp::x86::V4::try_new();
            all.extend(avx512.filter(|_| is_x86_feature_detected!("avx512vnni")).map(Self::Avx512Vnni));
            all.extend(avx512.map(Self::Avx512));
            all.extend(pulp::x86::V3::try_new().map(Self::Avx2));
        }
        #[cfg(target_arch = "aarch64")]
        all.extend(pulp::aarch64::Neon::try_new().map(Self::Neon));
        all.push(Self::Scalar);
        all
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni(_) => "avx512+vnni",
            #[cfg(target_arch = "aarch64")]
            Self::Neon(_) => "neon",
        }
    }

    /// Numbers of type `E` in a vector.
    pub(crate) fn lanes<E>(self) -> usize {
        match self {
            Self::Scalar => 1,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => 32 / size_of::<E>(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) | Self::Avx512Vnni(_) => 64 / size_of::<E>(),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(_) => 16 / size_of::<E>(),
        }
    }

    /// Runs `op` compiled for this instruction set.
    #[inline]
    pub(crate) fn run<Op: WithSimd>(self, op: Op) -> Op::Output {
        match self {
            Self::Scalar => pulp::Scalar::new().vectorize(op),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(simd) => Simd::vectorize(simd, op),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(simd) | Self::Avx512Vnni(simd) => Simd::vectorize(simd, op),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(simd) => Simd::vectorize(simd, op),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::Isa;
    use std::cell::Cell;

    thread_local! {
        /// What [`Isa::get`] returns on this thread, if set.
        pub(in crate::kernel) static FORCED: Cell<Option<Isa>> = const { Cell::new(None) };
    }

    /// Runs `test` on each of this machine's instruction sets.
    pub(in crate::kernel) fn on_each(mut test: impl FnMut(Isa)) {
        for isa in Isa::available() {
            FORCED.set(Some(isa));
            test(isa);
        }
        FORCED.set(None);
    }
}
