//! [`Compact`]: weights in 16 or 8 bits, and their products, forward only.
//!
//! Panels and vectors are those of [`pack`](super::pack). A lane holds words of 32 bits, each for a group of adjacent
//! inputs: two bf16 numbers or four 8-bit codes.
//!
//! ```text
//! panel 0                                    panel 1
//! k = 0 … 3   gate 0 │ gate 1 │ … (a vector of words each)
//! k = 4 … 7   gate 0 │ gate 1 │ …
//! ⋮           inputs; the recurrent half is stored after all panels, in the same way
//! ```
//!
//! A product is computed half by half, inputs first. A half adds to what its sums hold: the bias, or the other half.
//!
//! - **bf16**: sum ← fma(x\[k\], weight\[k\], sum), k ascending, in f32. The bits are those of f32 weights that were
//!   rounded to bf16.
//! - **int8**: sum ← fma(Σ codes · weights, row scale · unit scale, sum). The codes are those of a row of inputs or of
//!   recurrent values ([`codes`]), the inner sum is an integer, and so is exact in any order.
//!
//! Every row has its own scale, and its sums depend on nothing else. So the bits are the same for any batch, tile and
//! thread, and whether or not the input half was computed earlier.

pub(super) mod codes;
mod dispatch;
mod inputs;
mod machine;
mod multiply;
mod plain;
mod tile;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(super) use inputs::{Inputs, scratch_numbers};
pub use multiply::Panels;
pub(super) use multiply::{Factors, Multiply};
pub(crate) use plain::Plain;

use super::Element;
use super::buffer::Buffer;
use super::isa::Isa;
use super::rows::Rows;
use super::shape::PackShape;
use std::ops::Range;

/// How the weights of a [`Compressed`](crate::Compressed) cell are stored.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WeightFormat {
    /// bfloat16: 16 bits, with the range of `f32` and 8 significant bits. Weights are rounded to the nearest, ties to
    /// even: to within 1/256 of their value. Everything else is computed in `f32`.
    Bf16,
    /// 8-bit integers, with a scale per unit of each gate, one for the inputs and one for the recurrent values. Weights
    /// are rounded to within 1/254 of the largest one of their unit.
    ///
    /// The inputs and the recurrent values of each row are rounded to 8 bits at every step, to within 1/254 of the
    /// row's largest value. If a few large values leave most others too few bits, the row's rounding errors are
    /// multiplied as well, which makes it 16 bits; the weights keep 8. A row with a value that is not finite gives NaN.
    Int8,
}

impl WeightFormat {
    /// The inputs whose weights are in one word.
    pub(super) fn inputs_per_word(self) -> usize {
        match self {
            Self::Bf16 => 2,
            Self::Int8 => 4,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        }
    }
}

/// The most inputs of an 8-bit product: with more, a sum of 127 · 127 each could be more than 31 bits.
pub(crate) const MOST_INT8_INPUTS: usize = (i32::MAX / (127 * 127)) as usize;

/// Weights of all gates in fewer bits, packed for one instruction set.
pub(crate) struct Compact {
    isa: Isa,
    shape: PackShape,
    lanes: usize,
    format: WeightFormat,
    /// Of the inputs, and of the recurrent values.
    halves: [Half; 2],
}

/// The weights of the inputs, or of the recurrent values.
struct Half {
    /// Rows of weights.
    depth: usize,
    /// Words of a lane.
    groups: usize,
    words: Buffer<u32>,
    /// Of 8-bit weights: a scale per unit, and what to add to its sum because codes are biased.
    scales: Buffer<f32>,
    corrections: Buffer<i32>,
}

/// One vector of one panel.
struct PanelVector {
    /// Its number among the vectors of all panels.
    at: usize,
    gate: usize,
    units: Range<usize>,
}

impl Compact {
    pub(super) fn assert_fits(&self, shape: PackShape, lanes: usize, isa: Isa) {
        assert_eq!((self.shape, self.lanes, self.isa.name()), (shape, lanes, isa.name()), "weights fit their product");
    }

    pub(crate) fn format(&self) -> WeightFormat {
        self.format
    }

    pub(crate) fn shape(&self) -> PackShape {
        self.shape
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        let half = |half: &Half| half.words.bytes() + half.scales.bytes() + half.corrections.bytes();
        self.halves.iter().map(half).sum()
    }

    /// What a half multiplies; nothing if it has no weights.
    ///
    /// # Panics
    /// If there are fewer rows, or they are too short.
    fn operand<'a, E: Element>(&self, half: usize, rows: usize, operand: Option<Rows<'a, E>>) -> Option<Rows<'a, E>> {
        let operand = operand.filter(|_| self.halves[half].depth > 0)?;
        let width = self.operand_width(half);
        assert!(operand.rows() >= rows && operand.width() >= width, "a product has what it multiplies");
        Some(operand)
    }

    /// How wide a row is that a half multiplies: of codes, or of numbers.
    fn operand_width(&self, half: usize) -> usize {
        match self.format {
            WeightFormat::Bf16 => self.halves[half].depth,
            WeightFormat::Int8 => codes::width(self.halves[half].depth),
        }
    }

    /// The vectors of all panels, in order.
    fn vectors(shape: PackShape, lanes: usize) -> impl Iterator<Item = PanelVector> {
        let vectors = shape.vectors(lanes);
        (0..shape.panels(lanes) * vectors).map(move |at| {
            let (panel, vector) = (at / vectors, at % vectors);
            let units = shape.units_of(panel, vector / shape.gates, lanes);
            PanelVector { at, gate: vector % shape.gates, units }
        })
    }

    /// Where the word of a vector's first lane for one group of inputs is.
    fn word(shape: PackShape, lanes: usize, groups: usize, vector: usize, group: usize) -> usize {
        let vectors = shape.vectors(lanes);
        ((vector / vectors * groups + group) * vectors + vector % vectors) * lanes
    }
}
