//! [`Multiply`]: rows times packed weights, a tile after the other.

use super::Element;
use super::lanes::Lanes;
use super::pack::Packed;
use super::rows::Rows;
use super::tile::{MAX_ROWS, MAX_SUMS, Operands, Tile};
use super::vector::Units;
use pulp::{Simd, WithSimd};
use std::mem::MaybeUninit;
use std::ops::Range;

/// Some panels of a product.
pub struct Multiply<'a, E> {
    pub(super) weights: &'a Packed<E>,
    pub(super) panels: Range<usize>,
    pub(super) rows: usize,
    pub(super) input: Input<'a, E>,
    /// Without, the recurrent half is left out.
    pub(super) recurrent: Option<Rows<'a, E>>,
    pub(super) to: To<'a, E>,
}

/// Where the sums start and the input half comes from.
#[derive(Clone, Copy)]
pub(super) enum Input<'a, E> {
    /// From the bias, with these input rows.
    Rows(Rows<'a, E>),
    /// From input products computed before, as [`To::Panels`] left them.
    Hoisted(Rows<'a, E>),
}

/// Where the sums go.
#[derive(Clone, Copy)]
pub(super) enum To<'a, E> {
    /// To rows of whole vectors, panel after panel.
    Panels(Rows<'a, E>),
    /// To rows of units, slot after slot, as far apart as said; added to what is there, or not.
    Slots(Rows<'a, E>, usize, Add),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Add {
    Yes,
    No,
}

impl<'a, E: Element> Multiply<'a, E> {
    /// What the tiles rely on, and can be seen once for all panels.
    ///
    /// # Panics
    /// If a row is too short or missing.
    fn check(&self) {
        let (weights, rows) = (self.weights, self.rows);
        let shape = weights.shape;
        assert!(self.panels.end <= weights.panels(), "the panels are packed");
        let (input, width) = match self.input {
            Input::Rows(x) => (x, shape.inputs),
            Input::Hoisted(start) => (start, weights.panel_sums()),
        };
        assert!(input.rows() >= rows && input.width() >= width, "a product has its inputs");
        let fits = |h: Rows<E>| h.rows() >= rows && h.width() >= shape.recurrent;
        assert!(self.recurrent.is_none_or(fits), "a product has its recurrent values");
        let (to, width) = match self.to {
            To::Panels(to) => (to, weights.panel_sums()),
            To::Slots(to, slot, _) => (to, if shape.units <= slot { shape.slots() * slot } else { usize::MAX }),
        };
        assert!(to.rows() >= rows && to.width() >= width, "a product has room for its sums");
    }
}

impl<E: Element> WithSimd for &Multiply<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        self.check();
        let split = self.weights.shape.split && !matches!(self.to, To::Panels(_));
        let shape = self.weights.shape;
        match (shape.gates, shape.vectors(E::lanes::<S>()), split) {
            (1, 1, false) => self.run::<S, 1, 1, false>(s),
            (1, _, false) => self.run::<S, 4, 1, false>(s),
            (2, 2, false) => self.run::<S, 2, 2, false>(s),
            (2, _, false) => self.run::<S, 4, 2, false>(s),
            (3, _, false) => self.run::<S, 3, 3, false>(s),
            (3, _, true) => self.run::<S, 3, 3, true>(s),
            (4, _, false) => self.run::<S, 4, 4, false>(s),
            _ => unreachable!("a panel has up to four gates, or three that are split"),
        }
    }
}

impl<'a, E: Element> Multiply<'a, E> {
    #[inline(always)]
    fn run<S: Simd, const V: usize, const G: usize, const SPLIT: bool>(&self, s: S) {
        const { assert!(size_of::<E::Vector<S>>() <= size_of::<[E; 16]>()) };
        let lanes = E::lanes::<S>();
        let mut sums = MaybeUninit::<[[[E; 16]; MAX_SUMS]; MAX_ROWS]>::uninit();
        let sums: *mut E = sums.as_mut_ptr().cast();
        let tiles = self.rows.div_ceil(most_rows::<S>());
        let (height, higher) = (self.rows / tiles.max(1), self.rows % tiles.max(1));
        let mut panel = self.panels.start;
        while panel < self.panels.end {
            // One row has too few sums to hide an addition's latency: several panels at once.
            let block = if self.rows == 1 { most_panels::<S>(self.panels.end - panel) } else { 1 };
            let mut row = 0;
            for tile in 0..tiles {
                let height = height + usize::from(tile < higher);
                let operands = self.operands::<V, SPLIT>(lanes, panel, row);
                macro_rules! tiles {
                    ($(($rows:literal $panels:literal))+) => {
                        match (height, block) {
                            $(($rows, $panels) => {
                                s.vectorize(Tile::<E, V, $rows, $panels, 1, SPLIT> { operands, sums });
                            })+
                            _ => unreachable!("a tile has at most MAX_ROWS rows, or one and a block of panels"),
                        }
                    };
                }
                tiles!((1 1) (2 1) (3 1) (4 1) (5 1) (6 1) (1 2) (1 4));
                for sum in 0..height * block {
                    let (panel, row) = if block == 1 { (panel, row + sum) } else { (panel + sum, row) };
                    // SAFETY: a tile is at most MAX_ROWS rows of one panel, or one row of four panels: there is room for
                    // MAX_ROWS · MAX_SUMS vectors of at most 16 numbers (asserted above), and it wrote these. Row and panel
                    // exist, and their places in `to` (asserted in `check`).
                    unsafe { self.finish::<S, V, G, SPLIT>(sums.add(sum * MAX_SUMS * lanes), panel, row) };
                }
                row += height;
            }
            panel += block;
        }
    }

    /// Of the tile that begins at this panel and row, which exist.
    #[inline(always)]
    fn operands<const V: usize, const SPLIT: bool>(&self, lanes: usize, panel: usize, row: usize) -> Operands<'a, E> {
        let (weights, shape) = (self.weights, self.weights.shape);
        let bias = weights.bias_from(panel);
        let left = self.rows - row;
        let common = Operands {
            start: Rows::repeated(bias, left),
            start_panel: weights.panel_bias(),
            weights: weights.weights_from(panel),
            weights_panel: weights.panel_weights(),
            split: if SPLIT { &bias[V * lanes..] } else { &[] },
            split_panel: weights.panel_bias(),
            x: Rows::NONE,
            inputs: 0,
            h: self.recurrent.map_or(Rows::NONE, |h| h.from(row, 0)),
            recurrent: self.recurrent.map_or(0, |_| shape.recurrent),
        };
        match self.input {
            Input::Rows(x) => Operands { x: x.from(row, 0), inputs: shape.inputs, ..common },
            Input::Hoisted(start) => Operands {
                start: start.from(row, panel * V * lanes),
                start_panel: V * lanes,
                weights: &common.weights[shape.inputs * V * lanes..],
                ..common
            },
        }
    }

    /// Takes the sums of one row and one panel where they go.
    ///
    /// # Safety
    /// `sums` holds the panel's sums, one vector each, the split one last; `panel` and `row` exist.
    #[inline(always)]
    unsafe fn finish<S: Simd, const V: usize, const G: usize, const SPLIT: bool>(
        &self,
        sums: *const E,
        panel: usize,
        row: usize,
    ) {
        const { assert!(V.is_multiple_of(G)) };
        let lanes = E::lanes::<S>();
        let units = self.weights.shape.units;
        let whole = Units { first: 0, count: lanes };
        // SAFETY: the caller's promise, for all that follows; `check` saw that a row of `to` has room for every panel, or for
        // every slot's units, and `Units` keeps to the units that exist.
        unsafe {
            match self.to {
                To::Panels(to) => {
                    let to = to.at(row).add(panel * V * lanes);
                    for v in 0..V {
                        Lanes::<S, E>::load_at(sums.add(v * lanes), whole).store_at(to.add(v * lanes), whole);
                    }
                }
                To::Slots(to, stride, add) => {
                    let to = to.at(row);
                    for group in 0..V / G {
                        let at = Units::of(lanes, panel * (V / G) + group, units);
                        if at.count == 0 {
                            break;
                        }
                        // Of split gates the first slot is the inputs' sum of the last one, which comes last.
                        for slot in 0..G + usize::from(SPLIT) {
                            let vector = if SPLIT { (slot + V) % (V + 1) } else { group * G + slot };
                            let mut sum = Lanes::<S, E>::load_at(sums.add(vector * lanes), whole);
                            if add == Add::Yes {
                                sum = sum + Lanes::load_at(to.add(slot * stride), at);
                            }
                            sum.store_at(to.add(slot * stride), at);
                        }
                    }
                }
            }
        }
    }
}

/// Panels of one row's tile, of `left`: as many as the registers hold sums of.
#[inline(always)]
fn most_panels<S: Simd>(left: usize) -> usize {
    match S::REGISTER_COUNT {
        32.. if left >= 4 => 4,
        16.. if left >= 2 => 2,
        _ => 1,
    }
}

/// Rows whose sums, with a panel's weights and one broadcast, fit the registers. (4 rows of 3 vectors would fit 16 too, but
/// the compiler finds no order that needs no more.)
#[inline(always)]
fn most_rows<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { MAX_ROWS } else { 3 }
}
