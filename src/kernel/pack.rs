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
//! here depends on what the sums are for. Compressed weights keep this order of panels and vectors: see
//! [`compact`](super::compact).

use super::Element;
use super::buffer::Buffer;
use super::compact::Compact;
use super::isa::Isa;
use super::tile::MAX_SUMS;
use std::ops::Range;
use std::sync::Arc;

mod fill;

pub(crate) use super::shape::PackShape;
pub use fill::Fill;

/// Weights of all gates, packed for one instruction set.
#[derive(Clone)]
pub(crate) struct Packed<E> {
    pub(super) isa: Isa,
    pub(super) shape: PackShape,
    /// Numbers in a vector of `isa`.
    lanes: usize,
    panels: usize,
    weights: Storage<E>,
    bias: Buffer<E>,
}

/// How weights are stored.
#[derive(Clone)]
enum Storage<E> {
    /// As numbers. They can be repacked and transposed.
    Numbers(Buffer<E>),
    /// In fewer bits, for forward products only.
    Compact(Arc<Compact>),
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
        Self { isa, shape, lanes, panels, weights: Storage::Numbers(Buffer::default()), bias: Buffer::default() }
    }

    /// The compressed weights, if they are compressed.
    pub(super) fn compact(&self) -> Option<&Arc<Compact>> {
        match &self.weights {
            Storage::Numbers(_) => None,
            Storage::Compact(compact) => Some(compact),
        }
    }

    /// Replaces the weights by compressed ones. Biases stay.
    ///
    /// # Panics
    /// If they are of another shape or for another instruction set.
    pub(super) fn compress(&mut self, compact: Arc<Compact>) {
        compact.assert_fits(self.shape, self.lanes, self.isa);
        self.weights = Storage::Compact(compact);
    }

    /// # Panics
    /// If the weights are compressed.
    fn numbers_of(&self) -> &Buffer<E> {
        match &self.weights {
            Storage::Numbers(numbers) => numbers,
            Storage::Compact(_) => panic!("compressed weights can only be multiplied forward"),
        }
    }

    /// # Panics
    /// As [`numbers_of`](Self::numbers_of).
    fn numbers_of_mut(&mut self) -> &mut Buffer<E> {
        match &mut self.weights {
            Storage::Numbers(numbers) => numbers,
            Storage::Compact(_) => panic!("compressed weights can only be multiplied forward"),
        }
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
        &self.numbers_of().as_slice()[panel * self.panel_weights()..]
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
        let weights = [self.panels(), shape.depth(), shape.vectors(self.lanes), self.lanes];
        if let Storage::Numbers(numbers) = &mut self.weights {
            numbers.grow(weights);
        }
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
        let inputs = self.shape.inputs;
        let (width, from_groups) = (self.shape.vectors(lanes) * lanes, from.shape.groups(lanes));
        let from_width = from.shape.vectors(lanes) * lanes;
        for (slot, gate) in gates.enumerate() {
            for group in 0..units.div_ceil(lanes) {
                let (panel, group) = (group / from_groups, group % from_groups);
                let source = &from.weights_from(panel)[(group * from.shape.gates + gate) * lanes..];
                let some = from.shape.units_of(panel, group, lanes);
                for (at, first) in (0..depths.len()).step_by(width).enumerate() {
                    let features = width.min(depths.len() - first);
                    let to = self.numbers_of_mut().as_mut_slice();
                    for (lane, unit) in some.clone().enumerate() {
                        let row = (at * inputs + slot * units + unit) * width;
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
