//! Enters the machine with the format and the vectors of a panel known.

use super::Panels;
use crate::kernel::compact::WeightFormat;
use crate::kernel::compact::machine::{Machine, OnMachine};
use pulp::Simd;

impl Panels<'_, '_, f32> {
    pub(in crate::kernel) fn run_on_machine(self) {
        let isa = self.multiply.isa;
        match self.multiply.compact.format {
            WeightFormat::Bf16 => isa.without_bytes().run_bytes(OfFormat::<false>(&self)),
            WeightFormat::Int8 => isa.run_bytes(OfFormat::<true>(&self)),
        }
    }
}

/// [`Panels`] with their format known. A reference: copying what was written a moment ago would wait for those writes.
struct OfFormat<'p, 'm, 'a, const INT8: bool>(&'p Panels<'m, 'a, f32>);

impl<const INT8: bool> OnMachine for OfFormat<'_, '_, '_, INT8> {
    #[inline(always)]
    fn run<M: Machine>(self, machine: M) {
        if const { M::ONLY_BYTES && !INT8 } {
            unreachable!("16-bit weights run without bytes");
        }
        let Panels { multiply, panels } = self.0;
        let panels = panels.clone();
        match multiply.compact.shape.vectors(<M::S as Simd>::I32_LANES) {
            1 => multiply.run::<M, 1, INT8>(machine, panels),
            2 => multiply.run::<M, 2, INT8>(machine, panels),
            3 => multiply.run::<M, 3, INT8>(machine, panels),
            _ => multiply.run::<M, 4, INT8>(machine, panels),
        }
    }
}
