//! [`Fill`]: from matrices to packed weights.

use super::{Gate, Packed};
use crate::kernel::Element;
use crate::kernel::lanes::Lanes;
use crate::kernel::vector::Units;
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// Rows of weights packed at a time. In a large matrix each row is on a page of its own, and the TLB holds few pages.
const BLOCK: usize = 16;

/// Packs all weights and biases; of compressed weights only the biases, as they cannot change.
pub struct Fill<'a, E> {
    pub(in crate::kernel) packed: &'a mut Packed<E>,
    pub(in crate::kernel) gates: &'a [Gate<'a, E>],
    pub(in crate::kernel) split_bias: Option<&'a [E]>,
}

impl<E: Element> WithSimd for Fill<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, _: S) {
        assert_eq!(E::lanes::<S>(), self.packed.lanes, "weights are packed by the instruction set they are for");
        self.check();
        self.packed.grow();
        self.fill_biases();
        if self.packed.compact().is_some() {
            return;
        }
        for first in (0..self.packed.shape.depth()).step_by(BLOCK) {
            self.fill_weights::<S>(first..self.packed.shape.depth().min(first + BLOCK));
        }
    }
}

impl<E: Element> Fill<'_, E> {
    /// Checks that all weights and biases are there.
    ///
    /// # Panics
    /// If gates, weights or biases are not as many as the shape says.
    fn check(&self) {
        let (shape, gates, split_bias) = (self.packed.shape, self.gates, self.split_bias);
        assert_eq!(gates.len(), shape.gates, "there are as many gates as are packed");
        let compressed = self.packed.compact().is_some();
        for gate in gates {
            let last_row = gate.column + shape.depth().saturating_sub(1) * gate.width;
            let has_weights = shape.units <= gate.width && last_row + shape.units <= gate.matrix.len();
            assert!(compressed || has_weights, "a gate has its weights");
            assert!(gate.bias.is_none_or(|bias| bias.len() == shape.units), "a bias has one number per unit");
        }
        assert!(
            split_bias.is_none_or(|bias| shape.split && bias.len() == shape.units),
            "a bias has one number per unit"
        );
    }

    #[inline(always)]
    fn fill_biases(&mut self) {
        let Packed { shape, lanes, .. } = *self.packed;
        for panel in 0..shape.panels(lanes) {
            let biases = &mut self.packed.bias.as_mut_slice()[panel * shape.bias_vectors(lanes) * lanes..];
            for vector in 0..shape.vectors(lanes) {
                let gate = self.gates[vector % shape.gates];
                let units = shape.units_of(panel, vector / shape.gates, lanes);
                for (to, unit) in biases[vector * lanes..].iter_mut().zip(units) {
                    let value = gate.bias.map_or(E::number(0.0), |bias| bias[unit]);
                    *to = E::plus(value, E::number(gate.offset));
                }
            }
            if let Some(split) = self.split_bias {
                for (to, unit) in biases[shape.vectors(lanes) * lanes..].iter_mut().zip(shape.units_of(panel, 0, lanes))
                {
                    *to = split[unit];
                }
            }
        }
    }

    #[inline(always)]
    fn fill_weights<S: Simd>(&mut self, depths: Range<usize>) {
        let Packed { shape, lanes, .. } = *self.packed;
        let vectors = shape.vectors(lanes);
        for panel in 0..shape.panels(lanes) {
            for vector in 0..vectors {
                let gate = self.gates[vector % shape.gates];
                let units = shape.units_of(panel, vector / shape.gates, lanes);
                if units.is_empty() {
                    continue;
                }
                let (some, whole) = (Units::first(units.len()), Units::first(lanes));
                let at = (panel * shape.depth() * vectors + vector) * lanes;
                for k in depths.clone() {
                    let from = &gate.matrix[gate.column + units.start + k * gate.width..];
                    let to = &mut self.packed.numbers_of_mut().as_mut_slice()[at + k * vectors * lanes..];
                    Lanes::<S, E>::read(from, some).write(to, whole);
                }
            }
        }
    }
}
