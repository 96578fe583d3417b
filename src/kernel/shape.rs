//! [`PackShape`]: how many inputs, units and gates packed weights have, and the panels these are cut into.

use super::tile::MAX_SUMS;
use std::ops::Range;

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

    pub(super) fn bias_vectors(&self, lanes: usize) -> usize {
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

    pub(crate) fn depth(&self) -> usize {
        self.inputs + self.recurrent
    }

    pub(super) fn panels(&self, lanes: usize) -> usize {
        self.units.div_ceil(self.groups(lanes) * lanes)
    }

    /// The units of one vector of a panel: one per lane, except those past the last unit.
    pub(super) fn units_of(&self, panel: usize, group: usize, lanes: usize) -> Range<usize> {
        let first = (panel * self.groups(lanes) + group) * lanes;
        first.min(self.units)..(first + lanes).min(self.units)
    }
}
