//! [`Multiply`]: rows times packed weights, one tile after another.

use super::Element;
use super::isa::Isa;
use super::lanes::Lanes;
use super::pack::{PackShape, Packed};
use super::rows::{Grid, Rows};
use super::tile::{MAX_ROWS, MAX_SUMS, Operands, Out, Tile};
use super::vector::Units;
use pulp::{Simd, WithSimd};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::slice::{from_raw_parts, from_raw_parts_mut};

mod ends;

pub(super) use ends::{Add, Input, To};

/// A product: rows times packed weights. Anything that does not change from step to step is computed once.
pub struct Multiply<'a, E> {
    isa: Isa,
    shape: PackShape,
    split: bool,
    hoisted: bool,
    rows: usize,
    /// Those of the first tile.
    operands: Operands<'a, E>,
    out: Out<'a, E>,
    panels: usize,
    /// Room for the units of a slot.
    room: usize,
    /// How wide rows must be.
    widths: Widths,
}

/// The least widths of rows: of inputs or hoisted sums, of recurrent values, of the sums.
struct Widths {
    input: usize,
    recurrent: usize,
    to: usize,
}

/// Some panels of a [`Multiply`].
pub struct Panels<'m, 'a, E> {
    multiply: &'m Multiply<'a, E>,
    panels: Range<usize>,
}

impl<'a, E: Element> Multiply<'a, E> {
    /// A product of `rows` rows. Without `recurrent`, it leaves out the recurrent half.
    ///
    /// # Panics
    /// If a row is too short or missing.
    pub(super) fn new(
        weights: &'a Packed<E>,
        rows: usize,
        input: Input<'a, E>,
        recurrent: Option<Rows<'a, E>>,
        to: To<'a, E>,
    ) -> Self {
        let shape = weights.shape;
        let (one, lanes, bias) = (weights.one_panel_sums(), weights.lanes(), weights.bias_from(0));
        let split = shape.split && !matches!(to, To::Panels(_));
        let hoisted = matches!(input, Input::Hoisted(_));
        let mut operands = Operands {
            start: Rows::repeated(bias, rows).lines(),
            start_panel: weights.panel_bias(),
            weights: weights.weights_from(0),
            weights_panel: weights.panel_weights(),
            split: if split { &bias[one..] } else { &[] },
            split_panel: weights.panel_bias(),
            x: Rows::NONE.lines(),
            inputs: if hoisted { 0 } else { shape.inputs },
            h: Rows::NONE.lines(),
            recurrent: recurrent.map_or(0, |_| shape.recurrent),
        };
        if hoisted {
            operands.start_panel = one;
            operands.weights = &operands.weights[shape.inputs * one..];
        }
        let (sums, out, room, width) = match to {
            To::Panels(to) => {
                let (vectors, width) = ([0, lanes, 2 * lanes, 3 * lanes], weights.panel_sums());
                (to, Out { rows: to.lines(), panel: one, vectors, add: false }, width, width)
            }
            To::Slots(to, stride, add) => {
                assert!(shape.units <= stride, "a slot has room for its units");
                let (vectors, panel) = (shape.places(stride, lanes), shape.groups(lanes) * lanes);
                (to, Out { rows: to.lines(), panel, vectors, add: add == Add::Yes }, stride, shape.slots() * stride)
            }
        };
        let from = if hoisted { weights.panel_sums() } else { shape.inputs };
        let widths = Widths { input: from, recurrent: operands.recurrent, to: width };
        let (isa, panels) = (weights.isa, weights.panels());
        let mut multiply = Self { isa, shape, split, hoisted, rows, operands, out, panels, room, widths };
        multiply.step(input.rows(), recurrent.unwrap_or(Rows::NONE), sums);
        multiply
    }

    /// Moves on to another step: its inputs or hoisted sums, its recurrent values, if any, and where its sums go.
    ///
    /// # Panics
    /// If a row is too short or missing.
    #[inline]
    pub(super) fn step(&mut self, input: Rows<'a, E>, recurrent: Rows<'a, E>, to: Rows<'a, E>) {
        let (rows, widths) = (self.rows, &self.widths);
        assert!(input.rows() >= rows && input.width() >= widths.input, "a product has its inputs");
        let fits = recurrent.rows() >= rows && recurrent.width() >= widths.recurrent;
        assert!(widths.recurrent == 0 || fits, "a product has its recurrent values");
        assert!(to.rows() >= rows && to.width() >= widths.to, "a product has room for its sums");
        if self.hoisted {
            self.operands.start = input.lines();
        } else {
            self.operands.x = input.lines();
        }
        self.operands.h = recurrent.lines();
        self.out.rows = to.lines();
    }

    /// The units of some panels.
    pub(super) fn units(&self, panels: &Range<usize>) -> Range<usize> {
        let (units, one) = (self.shape.units, self.out.panel);
        (panels.start * one).min(units)..(panels.end * one).min(units)
    }

    /// # Panics
    /// If there are fewer panels.
    pub(super) fn some(&self, panels: Range<usize>) -> Panels<'_, 'a, E> {
        assert!(panels.end <= self.panels, "the panels are packed");
        Panels { multiply: self, panels }
    }

    pub(super) fn panels(&self) -> usize {
        self.panels
    }
}

impl<E> Panels<'_, '_, E> {
    pub(super) fn isa(&self) -> Isa {
        self.multiply.isa
    }
}

impl<E: Element> WithSimd for Panels<'_, '_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let (multiply, panels) = (self.multiply, self.panels);
        let shape = multiply.shape;
        match (shape.gates, shape.vectors(E::lanes::<S>()), multiply.split) {
            (1, 1, false) => multiply.run::<S, 1, 1, false>(s, panels),
            (1, _, false) => multiply.run::<S, 4, 1, false>(s, panels),
            (2, 2, false) => multiply.run::<S, 2, 2, false>(s, panels),
            (2, _, false) => multiply.run::<S, 4, 2, false>(s, panels),
            (3, _, false) => multiply.run::<S, 3, 3, false>(s, panels),
            (3, _, true) => multiply.run::<S, 3, 3, true>(s, panels),
            (4, _, false) => multiply.run::<S, 4, 4, false>(s, panels),
            _ => unreachable!("a panel has up to four gates, or three that are split"),
        }
    }
}

impl<'a, E: Element> Multiply<'a, E> {
    #[inline(always)]
    fn run<S: Simd, const V: usize, const G: usize, const SPLIT: bool>(&self, s: S, panels: Range<usize>) {
        if self.rows == 1 {
            let mut panel = panels.start;
            while panel < panels.end {
                // One row has too few sums to hide an addition's latency, so take several panels at once.
                let block = most_panels::<S>(panels.end - panel);
                self.tile::<S, V, G, SPLIT>(s, (panel, block), (0, 1));
                panel += block;
            }
            return;
        }
        let tiles = self.rows.div_ceil(most_rows::<S>());
        let (height, higher) = if tiles <= 1 { (self.rows, 0) } else { (self.rows / tiles, self.rows % tiles) };
        for panel in panels {
            let mut row = 0;
            for tile in 0..tiles {
                let height = height + usize::from(tile < higher);
                self.tile::<S, V, G, SPLIT>(s, (panel, 1), (row, height));
                row += height;
            }
        }
    }

    /// Runs one tile: some rows of a panel, or one row of a block of panels. All must exist.
    #[inline(always)]
    fn tile<S: Simd, const V: usize, const G: usize, const SPLIT: bool>(
        &self,
        s: S,
        (panel, block): (usize, usize),
        (row, height): (usize, usize),
    ) {
        const { assert!(size_of::<E::Vector<S>>() <= size_of::<[E; 16]>()) };
        let (all, out) = (&self.operands, self.out);
        let operands = Operands {
            start: all.start.from(row, panel * all.start_panel),
            weights: &all.weights[panel * all.weights_panel..],
            split: if SPLIT { &all.split[panel * all.split_panel..] } else { &[] },
            x: all.x.from(if all.inputs > 0 { row } else { 0 }, 0),
            h: all.h.from(if all.recurrent > 0 { row } else { 0 }, 0),
            ..*all
        };
        // Only the tiles that fit the registers are compiled.
        macro_rules! tiles {
            ($out:expr) => {
                if const { S::REGISTER_COUNT >= 32 } {
                    tiles!($out; (1 1) (2 1) (3 1) (4 1) (5 1) (6 1) (1 2) (1 4));
                } else {
                    tiles!($out; (1 1) (2 1) (3 1) (1 2));
                }
            };
            ($out:expr; $(($rows:literal $panels:literal))+) => {
                match (height, block) {
                    $(($rows, $panels) => {
                        s.vectorize(&Tile::<E, V, $rows, $panels, 1, SPLIT> { operands, out: $out });
                    })+
                    _ => unreachable!("a tile has at most MAX_ROWS rows, or one and a block of panels"),
                }
            };
        }
        if (panel + block) * out.panel <= self.room {
            let out = Out { rows: out.rows.from(row, panel * out.panel), ..out };
            tiles!(out);
            return;
        }
        let lanes = E::lanes::<S>();
        // A tile has at most MAX_ROWS rows of one panel, or one row of four panels. A vector has at most 16 numbers, as
        // asserted above.
        let mut sums = [[[MaybeUninit::uninit(); 16]; MAX_SUMS]; MAX_ROWS];
        let one = MAX_SUMS * lanes;
        let room = &mut sums.as_flattened_mut().as_flattened_mut()[..height * block * one];
        let sums = Grid::unwritten(room, (1, height, block * one), block * one).step(0);
        let near = Out { rows: sums.lines(), panel: one, vectors: std::array::from_fn(|v| v * lanes), add: false };
        tiles!(near);
        for sum in 0..height * block {
            let (panel, row) = if block == 1 { (panel, row + sum) } else { (panel + sum, row) };
            // SAFETY: the tile wrote these sums. Row and panel exist, as do their places in `out` (asserted in `step`).
            unsafe { self.finish::<S, V, G, SPLIT>(sums.at(0).add(sum * one), panel, out.rows.at(row)) };
        }
    }

    /// Writes or adds the sums of one row and one panel to the units that exist.
    ///
    /// # Safety
    /// `sums` holds the panel's sums, one vector each, the split one last; `panel` exists, and `to` is a row of `out`.
    #[inline(always)]
    unsafe fn finish<S: Simd, const V: usize, const G: usize, const SPLIT: bool>(
        &self,
        sums: *const E,
        panel: usize,
        to: *mut E,
    ) {
        let (lanes, out) = (E::lanes::<S>(), self.out);
        for v in 0..V + usize::from(SPLIT) {
            let group = if SPLIT { 0 } else { v / G };
            let units = Units::of(lanes, panel * (V / G) + group, self.shape.units).count();
            // SAFETY: the caller's promise; a row has room for every slot's units, and nobody else has these.
            let (sums, to) = unsafe {
                let to = to.wrapping_add(out.vectors[v] + panel * out.panel);
                (from_raw_parts(sums.add(v * lanes), lanes), from_raw_parts_mut(to, units))
            };
            let mut sum = Lanes::<S, E>::read(sums, Units::first(lanes));
            if out.add {
                sum = sum + Lanes::read(to, Units::first(units));
            }
            sum.write(to, Units::first(units));
        }
    }
}

/// Panels in a tile of one row, out of the `left` ones: as many as the registers hold the sums of.
#[inline(always)]
fn most_panels<S: Simd>(left: usize) -> usize {
    match S::REGISTER_COUNT {
        32.. if left >= 4 => 4,
        16.. if left >= 2 => 2,
        _ => 1,
    }
}

/// Rows whose sums fit the registers, with a panel's weights and one broadcast. (4 rows of 3 vectors would fit 16 too,
/// but the compiler finds no such order.)
#[inline(always)]
fn most_rows<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { MAX_ROWS } else { 3 }
}
