//! [`Multiply`]: rows times compressed weights, half by half, one tile after another.

mod of_format;

use super::Compact;
use super::machine::Machine;
use super::tile::{Bf16Tile, Int8Tile, Operands, Sums};
use crate::kernel::Element;
use crate::kernel::isa::Isa;
use crate::kernel::pack::Packed;
use crate::kernel::rows::Rows;
use crate::kernel::tile::{MAX_ROWS, MAX_SUMS};
use pulp::Simd;
use std::ops::Range;

/// Words that fit the nearest cache, with room for all else: 16 KiB.
const NEAR: usize = 4096;

/// A product of one step: rows times compressed weights.
pub struct Multiply<'a, E> {
    isa: Isa,
    compact: &'a Compact,
    rows: usize,
    panels: usize,
    /// Units of a panel.
    units: usize,
    /// What the inputs' half multiplies, unless its sums are there already, and what the recurrent half does. Rows of
    /// codes, or of numbers for 16-bit weights.
    operands: [Option<Rows<'a, E>>; 2],
    /// The inputs' half, computed earlier.
    hoisted: Option<Rows<'a, E>>,
    bias: &'a [E],
    panel_bias: usize,
    to: Rows<'a, E>,
    /// How wide its rows are at least, and those of `hoisted`.
    to_width: usize,
    hoisted_width: usize,
    /// Whether sums are left apart by panels or by slots, with these places in a row.
    split: bool,
    places: [usize; MAX_SUMS],
    to_panel: usize,
    /// Whether the last panels come first. Every other step should be so: it begins with the weights that the step
    /// before left in the nearest cache.
    pub(in crate::kernel) backwards: bool,
}

/// What a compressed product multiplies.
pub(in crate::kernel) struct Factors<'a, E> {
    /// Inputs, as codes or numbers; or the sums that [`Multiply::of_inputs`] left.
    pub inputs: Option<Rows<'a, E>>,
    pub hoisted: Option<Rows<'a, E>>,
    pub recurrent: Option<Rows<'a, E>>,
}

/// Some panels of a [`Multiply`].
pub struct Panels<'m, 'a, E> {
    multiply: &'m Multiply<'a, E>,
    panels: Range<usize>,
}

impl<'a, E: Element> Multiply<'a, E> {
    /// A product of `rows` rows. Sums go to slots that are `stride` numbers apart, with room for whole panels.
    ///
    /// # Panics
    /// If a row is too short or missing, or the weights are not compressed.
    #[inline(always)]
    pub(in crate::kernel) fn new(
        weights: &'a Packed<E>,
        rows: usize,
        factors: &Factors<'a, E>,
        (to, stride): (Rows<'a, E>, usize),
    ) -> Self {
        assert!(weights.padded_units() <= stride, "a slot has room for whole panels");
        let mut multiply = Self::before_first(weights, rows, to, Some(stride));
        multiply.step(factors, to);
        multiply
    }

    /// Moves on to another step.
    ///
    /// # Panics
    /// If a row is too short or missing.
    #[inline]
    pub(in crate::kernel) fn step(&mut self, factors: &Factors<'a, E>, to: Rows<'a, E>) {
        let (shape, rows) = (&self.compact.shape, self.rows);
        assert!(to.rows() >= rows && to.width() >= self.to_width, "a product has room for its sums");
        let hoisted = factors.hoisted.filter(|_| shape.inputs > 0);
        if let Some(hoisted) = hoisted {
            assert!(hoisted.rows() >= rows && hoisted.width() >= self.hoisted_width, "a product has its input half");
        }
        let inputs = self.compact.operand(0, rows, factors.inputs.filter(|_| hoisted.is_none()));
        let recurrent = self.compact.operand(1, rows, factors.recurrent);
        let has_inputs = inputs.is_some() == (hoisted.is_none() && shape.inputs > 0);
        assert!(has_inputs && recurrent.is_some() == (shape.recurrent > 0), "a product has what it multiplies");
        (self.hoisted, self.operands, self.to) = (hoisted, [inputs, recurrent], to);
    }

    /// The inputs' half of a product, to rows of whole vectors, panel after panel.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub(in crate::kernel) fn of_inputs(
        weights: &'a Packed<E>,
        rows: usize,
        inputs: Rows<'a, E>,
        to: Rows<'a, E>,
    ) -> Self {
        assert!(to.rows() >= rows && to.width() >= weights.panel_sums(), "a product has room for its sums");
        let mut multiply = Self::before_first(weights, rows, to, None);
        multiply.operands[0] = multiply.compact.operand(0, rows, Some(inputs));
        multiply
    }

    /// Without what it multiplies. Sums go to slots with this stride, or panel after panel.
    #[inline(always)]
    fn before_first(weights: &'a Packed<E>, rows: usize, to: Rows<'a, E>, stride: Option<usize>) -> Self {
        let (shape, lanes) = (&weights.shape, weights.lanes());
        let units = shape.groups(lanes) * lanes;
        let (places, to_panel, to_width) = match stride {
            Some(stride) => (shape.places(stride, lanes), units, shape.slots() * stride),
            None => ([0, lanes, 2 * lanes, 3 * lanes], weights.one_panel_sums(), weights.panel_sums()),
        };
        Self {
            isa: weights.isa,
            compact: weights.compact().expect("the weights are compressed"),
            rows,
            panels: weights.panels(),
            units,
            operands: [None, None],
            hoisted: None,
            bias: weights.bias_from(0),
            panel_bias: weights.panel_bias(),
            to,
            to_width,
            hoisted_width: weights.panel_sums(),
            split: stride.is_some() && shape.split,
            places,
            to_panel,
            backwards: false,
        }
    }

    /// The units of some panels.
    pub(in crate::kernel) fn units(&self, panels: &Range<usize>) -> Range<usize> {
        let all = self.compact.shape.units;
        (panels.start * self.units).min(all)..(panels.end * self.units).min(all)
    }

    /// # Panics
    /// If there are fewer panels.
    pub(in crate::kernel) fn some(&self, panels: Range<usize>) -> Panels<'_, 'a, E> {
        assert!(panels.end <= self.panels, "the panels are packed");
        Panels { multiply: self, panels }
    }

    pub(in crate::kernel) fn panels(&self) -> usize {
        self.panels
    }
}

impl<'a> Multiply<'a, f32> {
    #[inline(always)]
    fn run<M: Machine, const V: usize, const INT8: bool>(&self, machine: M, panels: Range<usize>) {
        let lanes = <M::S as Simd>::I32_LANES;
        let most_rows = if INT8 { M::ROWS } else { M::ROWS.max(3) };
        let tiles = self.rows.div_ceil(most_rows);
        let (height, higher) = (self.rows / tiles, self.rows % tiles);
        let mut left = panels;
        while !left.is_empty() {
            let count = if self.rows == 1 { self.most_panels::<M, V, INT8>(left.len()) } else { 1 };
            let panel = if self.backwards { left.end - count } else { left.start };
            left = if self.backwards { left.start..panel } else { panel + count..left.end };
            for half in 0..2 {
                let Some(operands) = self.operands::<V>(half, lanes) else { continue };
                let mut row = 0;
                for tile in 0..tiles {
                    let height = height + usize::from(tile < higher);
                    tile_of::<M, V, INT8>(machine, &operands, (panel, count), (row, height));
                    row += height;
                }
            }
            if self.split && self.hoisted.is_some() {
                self.keep_input_sums::<V>(panel..panel + count, lanes);
            }
        }
    }

    /// Panels in a tile of one row, out of the `left` ones. One alone has too few sums to hide an addition's latency.
    #[inline(always)]
    fn most_panels<M: Machine, const V: usize, const INT8: bool>(&self, left: usize) -> usize {
        // Two panels hide it too if a tile has two of each sum. Then the order of panels leaves more of them near.
        let four = 4 * V * <M::S as Simd>::I32_LANES * self.compact.halves[1].groups;
        let most = if M::ROWS <= 3 || INT8 && V > 2 && four > NEAR { 2 } else { 4 };
        match left {
            4.. if most == 4 => 4,
            2.. => 2,
            _ => 1,
        }
    }

    /// What the tiles of a half multiply, from the first row and panel on.
    #[inline(always)]
    fn operands<const V: usize>(&self, half: usize, lanes: usize) -> Option<Operands<'a>> {
        let (rows, weights) = (self.operands[half]?, &self.compact.halves[half]);
        let panels = [0, lanes, 2 * lanes, 3 * lanes];
        // Where the inputs' half leaves its sums. That of a split gate is the first slot.
        let mut vectors = self.places;
        if self.split {
            vectors[V - 1] = self.places[V];
        }
        let inputs = Sums { rows: self.to.lines(), panel: self.to_panel, vectors };
        let start = match self.hoisted {
            Some(hoisted) => Sums { rows: hoisted.lines(), panel: V * lanes, vectors: panels },
            None if half == 1 && self.operands[0].is_some() => inputs,
            None => {
                Sums { rows: Rows::repeated(self.bias, self.rows).lines(), panel: self.panel_bias, vectors: panels }
            }
        };
        let recurrent = Sums { vectors: self.places, ..inputs };
        Some(Operands {
            rows: rows.lines(),
            depth: weights.depth,
            groups: weights.groups,
            words: weights.words.as_slice(),
            scales: weights.scales.as_slice(),
            corrections: weights.corrections.as_slice(),
            start,
            last_start: (half == 1 && self.split).then(|| &self.bias[V * lanes..]),
            last_panel: self.panel_bias,
            to: if half == 0 { inputs } else { recurrent },
        })
    }

    /// Copies a split gate's input sums, computed earlier, to their slot.
    fn keep_input_sums<const V: usize>(&self, panels: Range<usize>, lanes: usize) {
        let Some(hoisted) = self.hoisted else { return };
        for panel in panels {
            for row in 0..self.rows {
                let from = (panel * V + V - 1) * lanes;
                let to = self.places[V] + panel * self.to_panel;
                // SAFETY: both rows exist and are as wide, as asserted. Nobody writes these sums of `hoisted`, and
                // nobody else has this panel of `to`.
                unsafe {
                    let from = hoisted.slice(row, from, from + lanes);
                    self.to.slice_mut(row, to, to + lanes).copy_from_slice(from);
                }
            }
        }
    }
}

/// Runs one tile: some rows of a panel, or one row of a block of panels. All must exist.
#[inline(always)]
fn tile_of<M: Machine, const V: usize, const INT8: bool>(
    machine: M,
    all: &Operands<'_>,
    (panel, block): (usize, usize),
    (row, height): (usize, usize),
) {
    let lanes = <M::S as Simd>::I32_LANES;
    let sums = panel * V * lanes;
    let operands = Operands {
        rows: all.rows.from(row, 0),
        words: &all.words[sums * all.groups..],
        scales: if INT8 { &all.scales[sums..] } else { &[] },
        corrections: if INT8 { &all.corrections[sums..] } else { &[] },
        start: all.start.from(row, panel),
        last_start: all.last_start.map(|last| &last[panel * all.last_panel..]),
        to: all.to.from(row, panel),
        ..*all
    };
    const { assert!(M::ROWS <= 3 || M::ROWS == MAX_ROWS) };
    macro_rules! tiles {
        ($(($rows:literal $panels:literal))+) => {
            match (height, block) {
                $(($rows, $panels) if INT8 => machine.enter(&Int8Tile::<V, $rows, $panels>(operands)),
                ($rows, $panels) => machine.enter(&Bf16Tile::<V, $rows, $panels>(operands)),)+
                _ => unreachable!("a tile has at most MAX_ROWS rows, or one and a block of panels"),
            }
        };
    }
    // Only the tiles that fit the registers are compiled.
    if const { M::ROWS > 3 } {
        tiles!((1 1) (2 1) (3 1) (4 1) (5 1) (6 1) (1 2) (1 4));
    } else {
        tiles!((1 1) (2 1) (3 1) (1 2));
    }
}
