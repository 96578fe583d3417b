//! [`Packed`]: a cell's weights in the order in which the kernels read them.
//!
//! Units are cut into panels of `groups` vectors. A panel is contiguous: for each input, then for each recurrent value,
//! its weights to the panel's units, one vector for each (group, gate). Units past the last are zero weights.

use super::Element;
use super::buffer::Buffer;
use super::isa::Isa;
use super::tile::MAX_SUMS;
use ndarray::Array2;
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// Weights of all gates, packed for one instruction set.
#[derive(Clone)]
pub(crate) struct Packed<E> {
    pub(super) isa: Isa,
    pub(super) shape: PackShape,
    /// Numbers in a vector of `isa`.
    pub(super) lanes: usize,
    pub(super) weights: Buffer<E>,
    pub(super) bias: Buffer<E>,
}

/// What is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PackShape {
    /// Rows of weights for the inputs.
    pub inputs: usize,
    /// Rows of weights for the recurrent values.
    pub recurrent: usize,
    /// Units of each gate.
    pub units: usize,
    /// Gates side by side in a panel.
    pub gates: usize,
    /// Vectors of units in a panel.
    pub groups: usize,
    /// The last gate has a second bias, for its recurrent half, that is kept apart.
    pub split: bool,
}

impl PackShape {
    /// Not split, in panels of as many sums of a row as a tile holds.
    pub(crate) fn new(inputs: usize, recurrent: usize, units: usize, gates: usize) -> Self {
        Self { inputs, recurrent, units, gates, groups: MAX_SUMS / gates, split: false }
    }

    /// Of a product on its own, for [`Linear`](super::pass::Linear) and [`Activate`](super::rnn::Activate).
    pub(crate) fn product(inputs: usize, units: usize) -> Self {
        Self::new(inputs, 0, units, 1)
    }

    /// Vectors of weights for one input in one panel.
    pub(super) fn vectors(&self) -> usize {
        self.gates * self.groups
    }
    pub(super) fn bias_vectors(&self) -> usize {
        self.vectors() + usize::from(self.split)
    }
    pub(super) fn panels(&self, lanes: usize) -> usize {
        self.units.div_ceil(self.groups * lanes)
    }
    /// The units of one vector of a panel: as many as it has lanes, but for those past the last.
    fn units_of(&self, panel: usize, vector: usize, lanes: usize) -> Range<usize> {
        let first = (panel * self.groups + vector / self.gates) * lanes;
        first.min(self.units)..(first + lanes).min(self.units)
    }
}

/// Where one gate's weights stand: a row-major matrix and the gate's first column; its bias, if any.
#[derive(Clone, Copy)]
pub(crate) struct Gate<'a, E> {
    /// (inputs + recurrent) rows of `width`; if `transposed`, rows of units.
    pub matrix: &'a [E],
    pub width: usize,
    /// The gate's first column; if `transposed`, where the first unit's weights begin.
    pub column: usize,
    /// A unit's weights stand in a row, as backward's products want them, not in a column.
    pub transposed: bool,
    /// `units` numbers, or none for 0.
    pub bias: Option<&'a [E]>,
    /// Added to every bias.
    pub offset: f64,
}

impl<E: Element> Packed<E> {
    /// Packs `gates`, one for each gate of `shape`, and the second bias of the last one if `shape.split`.
    pub(crate) fn new(isa: Isa, shape: PackShape, gates: &[Gate<E>], split_bias: Option<&[E]>) -> Self {
        let mut packed = Self::empty(isa, shape);
        packed.refill(gates, split_bias);
        packed
    }

    fn empty(isa: Isa, shape: PackShape) -> Self {
        Self { isa, shape, lanes: isa.lanes::<E>(), weights: Buffer::default(), bias: Buffer::default() }
    }

    /// What a kernel relies on before it follows pointers into the weights: they are of this shape, for `isa`'s vectors.
    ///
    /// # Panics
    /// If not.
    pub(super) fn assert_is(&self, isa: Isa, shape: PackShape) {
        assert_eq!((self.lanes, self.shape), (isa.lanes::<E>(), shape), "weights are packed for another kernel");
    }

    /// Packs `units` rows, from row `first` on, of matrices side by side, to multiply by their transpose as backward does.
    pub(super) fn transposed(matrices: &[&Array2<E>], first: usize, units: usize) -> Self {
        let depth = matrices.iter().map(|matrix| matrix.ncols()).sum();
        let mut packed = Self::empty(Isa::get(), PackShape::product(depth, units));
        packed.refill_transposed(matrices, first);
        packed
    }

    /// Packs other matrices of the same shapes, into the same memory.
    pub(super) fn refill_transposed(&mut self, matrices: &[&Array2<E>], first: usize) {
        let mut at = 0;
        for matrix in matrices {
            let (width, numbers) = (matrix.ncols(), matrix.as_slice().expect("weights are stored in order"));
            let gate =
                Gate { matrix: numbers, width, column: first * width, transposed: true, bias: None, offset: 0.0 };
            self.fill(&[gate], at..at + width, None);
            at += width;
        }
    }

    pub(super) fn panels(&self) -> usize {
        self.shape.panels(self.lanes)
    }

    /// Numbers that a row is multiplied by, tails included.
    pub(super) fn numbers(&self) -> usize {
        (self.shape.inputs + self.shape.recurrent) * self.panels() * self.shape.vectors() * self.lanes
    }

    /// Packs other weights of the same shape, into the same memory.
    pub(crate) fn refill(&mut self, gates: &[Gate<E>], split_bias: Option<&[E]>) {
        self.fill(gates, 0..self.shape.inputs + self.shape.recurrent, split_bias);
    }

    /// Packs the weights of some inputs and recurrent values, and all biases.
    fn fill(&mut self, gates: &[Gate<E>], depths: Range<usize>, split_bias: Option<&[E]>) {
        let shape = self.shape;
        assert_eq!(gates.len(), shape.gates);
        assert!(depths.end <= shape.inputs + shape.recurrent);
        for gate in gates {
            let depth = depths.len();
            let (rows, columns) = if gate.transposed { (shape.units, depth) } else { (depth, shape.units) };
            let last_row = gate.column + rows.saturating_sub(1) * gate.width;
            assert!(columns <= gate.width && last_row + columns <= gate.matrix.len());
            assert!(gate.bias.is_none_or(|bias| bias.len() == shape.units));
        }
        assert!(split_bias.is_none_or(|bias| shape.split && bias.len() == shape.units));
        E::run_fill(self.isa, Fill { packed: self, gates, depths, split_bias });
    }
}

/// Rows of weights packed at a time: in a large matrix each stands in a page of its own, and few pages are at hand.
const BLOCK: usize = 16;

pub struct Fill<'a, E> {
    packed: &'a mut Packed<E>,
    gates: &'a [Gate<'a, E>],
    /// Of all inputs and recurrent values those that `gates` hold.
    depths: Range<usize>,
    split_bias: Option<&'a [E]>,
}

impl<E: Element> WithSimd for Fill<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let lanes = E::lanes::<S>();
        assert_eq!(lanes, self.packed.lanes, "weights are packed by the instruction set they are for");
        let Packed { shape, weights, bias, .. } = self.packed;
        let depth = shape.inputs + shape.recurrent;
        let (vectors, panels) = (shape.vectors(), shape.panels(lanes));
        weights.grow([panels, depth, vectors, lanes]);
        bias.grow([panels, shape.bias_vectors(), lanes]);
        for panel in 0..panels {
            let biases = &mut bias.as_mut_slice()[panel * shape.bias_vectors() * lanes..];
            for vector in 0..vectors {
                let gate = self.gates[vector % shape.gates];
                let units = shape.units_of(panel, vector, lanes);
                for (to, unit) in biases[vector * lanes..].iter_mut().zip(units) {
                    let value = gate.bias.map_or(E::number(0.0), |bias| bias[unit]);
                    *to = E::plus(value, E::number(gate.offset));
                }
            }
            if let Some(split) = self.split_bias {
                for (to, unit) in biases[vectors * lanes..].iter_mut().zip(shape.units_of(panel, 0, lanes)) {
                    *to = split[unit];
                }
            }
        }
        let Range { start: from, end } = self.depths;
        for start in (from..end).step_by(BLOCK) {
            // Of the gates' rows.
            let block = start - from..end.min(start + BLOCK) - from;
            for panel in 0..panels {
                for vector in 0..vectors {
                    let gate = self.gates[vector % shape.gates];
                    let units = shape.units_of(panel, vector, lanes);
                    if units.is_empty() {
                        continue;
                    }
                    let at = (panel * depth * vectors + vector) * lanes;
                    if gate.transposed {
                        for (lane, unit) in units.enumerate() {
                            let row = &gate.matrix[gate.column + unit * gate.width..][block.clone()];
                            let to = &mut weights.as_mut_slice()[at + start * vectors * lanes + lane..];
                            for (to, from) in to.iter_mut().step_by(vectors * lanes).zip(row) {
                                *to = *from;
                            }
                        }
                        continue;
                    }
                    let mask = E::first(s, units.len());
                    for k in block.clone() {
                        // SAFETY: row k of the gate's matrix holds all units from its column on (asserted in `fill`), these
                        // among them: a whole vector of them, or as many as the mask has. The buffer was grown above for
                        // all `depth` · `vectors` vectors of every panel; `from + k` is below `depth` (asserted in `fill`).
                        unsafe {
                            let weights_of_k = gate.matrix.as_ptr().add(gate.column + units.start + k * gate.width);
                            let to = weights.as_mut_ptr().add(at + (from + k) * vectors * lanes);
                            if units.len() == lanes {
                                E::store(s, to, E::load(s, weights_of_k));
                            } else {
                                E::store(s, to, E::load_masked(s, mask, weights_of_k));
                            }
                        }
                    }
                }
            }
        }
    }
}
