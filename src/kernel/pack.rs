//! [`Packed`]: weights in the order in which the products read them.
//!
//! ```text
//! panel 0                              panel 1
//! k = 0   gate 0 │ gate 1 │ … (a vector each; with several groups of units, group after group)
//! k = 1   gate 0 │ gate 1 │ …
//! ⋮       first the inputs, then the recurrent values
//! ```
//!
//! Units are cut into panels of `groups` vectors. A panel is contiguous. Units past the last have zero weights. Nothing
//! here depends on what the sums are for. Only this file and [`tile`](super::tile) would have to change for weights of
//! another kind.

use super::Element;
use super::buffer::Buffer;
use super::isa::Isa;
use super::tile::MAX_SUMS;
use std::ops::Range;

mod fill;

pub use fill::Fill;

/// Weights of all gates, packed for one instruction set.
#[derive(Clone)]
pub(crate) struct Packed<E> {
    pub(super) isa: Isa,
    pub(super) shape: PackShape,
    /// Numbers in a vector of `isa`.
    lanes: usize,
    panels: usize,
    weights: Buffer<E>,
    bias: Buffer<E>,
}

/// The shape of packed weights.
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
    /// Whether the last gate keeps its sum over inputs apart from that over recurrent values, which has its own bias.
    pub split: bool,
}

impl PackShape {
    /// Vectors of units in a panel: as many as a tile has sums for, or one if it holds all units. Otherwise a cell of
    /// few units and many inputs would be mostly padding.
    pub(super) fn groups(&self, lanes: usize) -> usize {
        match self.gates {
            _ if self.units <= lanes => 1,
            1 => MAX_SUMS,
            2 => MAX_SUMS / 2,
            _ => 1,
        }
    }

    /// Vectors of weights for one input in one panel.
    pub(super) fn vectors(&self, lanes: usize) -> usize {
        self.gates * self.groups(lanes)
    }

    fn bias_vectors(&self, lanes: usize) -> usize {
        self.vectors(lanes) + usize::from(self.split)
    }

    /// Sums of a unit: one per gate, in order. A split gate has two, the one over inputs first of all and the one over
    /// recurrent values last. So inputs take part in adjacent slots, and recurrent values do too.
    pub(crate) fn slots(&self) -> usize {
        self.gates + usize::from(self.split)
    }

    /// Where each vector of a panel's sums goes in a row of slots that are `stride` apart. The last vector is a split
    /// gate's input sum, which goes to the first slot.
    pub(super) fn places(&self, stride: usize, lanes: usize) -> [usize; MAX_SUMS] {
        match self.gates {
            1 => [0, lanes, 2 * lanes, 3 * lanes],
            2 => [0, stride, lanes, stride + lanes],
            3 if self.split => [stride, 2 * stride, 3 * stride, 0],
            _ => [0, stride, 2 * stride, 3 * stride],
        }
    }

    /// The gates of the slots that inputs take part in, slot by slot.
    pub(super) fn input_gates(&self) -> impl Iterator<Item = usize> {
        let (gates, split) = (self.gates, self.split);
        (0..gates).map(move |slot| if split { (slot + gates - 1) % gates } else { slot })
    }

    fn depth(&self) -> usize {
        self.inputs + self.recurrent
    }

    fn panels(&self, lanes: usize) -> usize {
        self.units.div_ceil(self.groups(lanes) * lanes)
    }

    /// The units of one vector of a panel: one per lane, except those past the last unit.
    fn units_of(&self, panel: usize, group: usize, lanes: usize) -> Range<usize> {
        let first = (panel * self.groups(lanes) + group) * lanes;
        first.min(self.units)..(first + lanes).min(self.units)
    }
}

/// Where one gate's weights are: a row-major matrix and the gate's first column. Also its bias, if any.
#[derive(Clone, Copy)]
pub(crate) struct Gate<'a, E> {
    /// (inputs + recurrent) rows of `width`.
    pub matrix: &'a [E],
    pub width: usize,
    pub column: usize,
    /// `units` numbers. `None` means 0.
    pub bias: Option<&'a [E]>,
    /// Added to every bias.
    pub offset: f64,
}

impl<E: Element> Packed<E> {
    /// No weights yet.
    pub(super) fn empty(isa: Isa, shape: PackShape) -> Self {
        assert!((1..=MAX_SUMS).contains(&shape.gates) && shape.slots() <= MAX_SUMS, "a tile has sums for 4 gates");
        let lanes = isa.lanes::<E>();
        let panels = shape.panels(lanes);
        Self { isa, shape, lanes, panels, weights: Buffer::default(), bias: Buffer::default() }
    }

    pub(super) fn panels(&self) -> usize {
        self.panels
    }

    pub(super) fn lanes(&self) -> usize {
        self.lanes
    }

    /// Units of all panels, including those past the last unit.
    pub(super) fn padded_units(&self) -> usize {
        self.panels * self.shape.groups(self.lanes) * self.lanes
    }

    /// Numbers of a row's sums in one panel.
    pub(super) fn one_panel_sums(&self) -> usize {
        self.shape.vectors(self.lanes) * self.lanes
    }

    /// Numbers of a row's sums as a tile leaves them: whole vectors, panel after panel.
    pub(super) fn panel_sums(&self) -> usize {
        self.panels() * self.shape.vectors(self.lanes) * self.lanes
    }

    /// Numbers that a row is multiplied by, including padding.
    pub(super) fn numbers(&self) -> usize {
        self.shape.depth() * self.panel_sums()
    }

    /// The weights of a panel and of all panels after it.
    #[inline(always)]
    pub(super) fn weights_from(&self, panel: usize) -> &[E] {
        &self.weights.as_slice()[panel * self.panel_weights()..]
    }

    /// From one panel's weights to the next's.
    #[inline(always)]
    pub(super) fn panel_weights(&self) -> usize {
        self.shape.depth() * self.shape.vectors(self.lanes) * self.lanes
    }

    /// The biases of a panel (a vector for each of weights, the split one last) and of all panels after it.
    #[inline(always)]
    pub(super) fn bias_from(&self, panel: usize) -> &[E] {
        &self.bias.as_slice()[panel * self.panel_bias()..]
    }

    /// From one panel's biases to the next's.
    #[inline(always)]
    pub(super) fn panel_bias(&self) -> usize {
        self.shape.bias_vectors(self.lanes) * self.lanes
    }

    fn grow(&mut self) {
        let shape = self.shape;
        self.weights.grow([self.panels(), shape.depth(), shape.vectors(self.lanes), self.lanes]);
        self.bias.grow([self.panels(), shape.bias_vectors(self.lanes), self.lanes]);
    }

    /// Packs rows `depths` of `from`, transposed: sums of `gates` in, one number for each of these rows out. Backward
    /// multiplies by the result.
    pub(super) fn fill_transposed(
        &mut self,
        from: &Packed<E>,
        depths: Range<usize>,
        gates: impl Iterator<Item = usize>,
    ) {
        let (lanes, units) = (self.lanes, from.shape.units);
        let to_shape =
            PackShape { inputs: self.shape.inputs, recurrent: 0, units: depths.len(), gates: 1, split: false };
        assert_eq!((lanes, self.shape), (from.lanes, to_shape), "weights are transposed for one instruction set");
        self.grow();
        let (width, from_groups) = (self.shape.vectors(lanes) * lanes, from.shape.groups(lanes));
        let from_width = from.shape.vectors(lanes) * lanes;
        for (slot, gate) in gates.enumerate() {
            for group in 0..units.div_ceil(lanes) {
                let (panel, group) = (group / from_groups, group % from_groups);
                let source = &from.weights_from(panel)[(group * from.shape.gates + gate) * lanes..];
                let some = from.shape.units_of(panel, group, lanes);
                for (at, first) in (0..depths.len()).step_by(width).enumerate() {
                    let features = width.min(depths.len() - first);
                    let to = self.weights.as_mut_slice();
                    for (lane, unit) in some.clone().enumerate() {
                        let row = (at * self.shape.inputs + slot * units + unit) * width;
                        let sources = source[(depths.start + first) * from_width + lane..].iter().step_by(from_width);
                        for (to, &from) in to[row..row + features].iter_mut().zip(sources) {
                            *to = from;
                        }
                    }
                }
            }
        }
    }
}
