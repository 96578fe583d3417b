//! One pass over the panels: rows times packed weights, and what an epilogue makes of the sums.

use super::Element;
use super::math::clamp;
use super::pack::Packed;
use super::team::Team;
use super::tile::{MAX_ROWS, MAX_SUMS, Operands, Rows, Tile};
use pulp::Simd;
use std::mem::MaybeUninit;

/// What becomes of the sums of one row and one panel.
pub(super) trait Epilogue<E: Element> {
    /// # Safety
    /// `sums` holds the panel's sums, one vector each, the split one last; `panel` and `row` exist. No other thread
    /// finishes this panel in this pass.
    unsafe fn finish<S: Simd>(&self, s: S, sums: *const E, panel: usize, row: usize);
}

/// Where the sums start and the input half comes from.
#[derive(Clone, Copy)]
pub(super) enum Input<E> {
    /// From the bias, with these input rows.
    Rows(Rows<E>),
    /// From input products computed before: panels of vectors, one row behind the other.
    Hoisted(Rows<E>),
}

/// `rows` rows times the packed weights, in panels of `V` vectors; which of them, `team` says.
///
/// # Safety
/// The packed weights have `V` vectors a panel, were packed for `S`, and are split if `SPLIT`. `input` and `h` have
/// `rows` rows, at least one, of the packed sizes. Without `h` the recurrent half is left out. Every member of the team
/// runs this pass, and none writes what another reads in it; `epilogue` may finish every panel of every row.
#[inline(always)]
pub(super) unsafe fn pass<S: Simd, E: Element, const V: usize, const SPLIT: bool>(
    s: S,
    packed: &Packed<E>,
    input: Input<E>,
    h: Option<Rows<E>>,
    rows: usize,
    team: &mut Team<'_>,
    epilogue: &impl Epilogue<E>,
) {
    const { assert!(size_of::<E::Vector<S>>() <= size_of::<[E; 16]>()) };
    let lanes = E::lanes::<S>();
    let shape = packed.shape;
    let weights_panel = (shape.inputs + shape.recurrent) * V * lanes;
    let bias_panel = shape.bias_vectors() * lanes;
    let mut sums = MaybeUninit::<[[[E; 16]; MAX_SUMS]; MAX_ROWS]>::uninit();
    let sums: *mut E = sums.as_mut_ptr().cast();

    // SAFETY: a turn hands out panels that exist; `Packed` holds `weights_panel` weights and `bias_panel` biases for each. A
    // tile's rows end with the last row: the heights of all tiles add up to `rows`, which the caller promises. A tile is at
    // most MAX_ROWS rows of one panel, or one row of four panels: `sums` has room for MAX_ROWS · MAX_SUMS vectors of at most
    // 16 numbers (asserted above). A tile writes the sums that the epilogue reads.
    unsafe {
        let bias = packed.bias.as_ptr();
        let operands = |panel: usize, row: usize| {
            let at = |rows: Rows<E>| Rows { ptr: rows.row(row), stride: rows.stride };
            let weights = packed.weights.as_ptr().add(panel * weights_panel);
            let common = Operands {
                start: Rows { ptr: bias.add(panel * bias_panel), stride: 0 },
                start_panel: bias_panel,
                weights,
                weights_panel,
                split: if SPLIT { bias.add(panel * bias_panel + V * lanes) } else { bias },
                split_panel: bias_panel,
                x: Rows { ptr: bias, stride: 0 },
                inputs: shape.inputs,
                h: h.map_or(Rows { ptr: bias, stride: 0 }, at),
                recurrent: h.map_or(0, |_| shape.recurrent),
            };
            match input {
                Input::Rows(x) => Operands { x: at(x), ..common },
                Input::Hoisted(start) => Operands {
                    start: Rows { ptr: start.row(row).add(panel * V * lanes), stride: start.stride },
                    start_panel: V * lanes,
                    weights: weights.add(shape.inputs * V * lanes),
                    inputs: 0,
                    ..common
                },
            }
        };

        let mut turn = team.turn(packed.panels());
        let tiles = rows.div_ceil(most_rows::<S>());
        let (height, higher) = (rows / tiles, rows % tiles);
        while let Some(panels) = turn.next() {
            let mut panel = panels.start;
            while panel < panels.end {
                // One row has too few sums to hide an addition's latency: several panels at once.
                let block = if rows == 1 { most_panels::<S>(panels.end - panel) } else { 1 };
                let mut row = 0;
                for tile in 0..tiles {
                    let height = height + usize::from(tile < higher);
                    macro_rules! tiles {
                        ($(($rows:literal $panels:literal))+) => {
                            match (height, block) {
                                $(($rows, $panels) => {
                                    s.vectorize(Tile::<E, V, $rows, $panels, 1, SPLIT> { operands: operands(panel, row), sums });
                                })+
                                _ => unreachable!("a tile has at most MAX_ROWS rows, or one and a block of panels"),
                            }
                        };
                    }
                    tiles!((1 1) (2 1) (3 1) (4 1) (5 1) (6 1) (1 2) (1 4));
                    for sum in 0..height * block {
                        let (panel, row) = if block == 1 { (panel, row + sum) } else { (panel + sum, row) };
                        epilogue.finish(s, sums.add(sum * MAX_SUMS * lanes), panel, row);
                    }
                    row += height;
                }
                panel += block;
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

/// Stores the sums: the hoisted input products of many steps.
pub(super) struct Store<E> {
    pub to: *mut E,
    pub row_stride: usize,
    pub vectors: usize,
}

impl<E: Element> Epilogue<E> for Store<E> {
    #[inline(always)]
    unsafe fn finish<S: Simd>(&self, s: S, sums: *const E, panel: usize, row: usize) {
        let lanes = E::lanes::<S>();
        // SAFETY: the row and the panel exist; `Hoist::new` made room for `vectors` vectors of every panel and row.
        unsafe {
            let to = self.to.add(row * self.row_stride + panel * self.vectors * lanes);
            for v in 0..self.vectors {
                E::store(s, to.add(v * lanes), E::load(s, sums.add(v * lanes)));
            }
        }
    }
}

/// Up to `lanes` neighbouring units of a row.
#[derive(Clone, Copy)]
pub(super) struct Units {
    pub first: usize,
    pub count: usize,
}

impl Units {
    /// Vector number `vector` of `units` units.
    #[inline(always)]
    pub(super) fn of<S: Simd, E: Element>(vector: usize, units: usize) -> Self {
        let first = vector * E::lanes::<S>();
        Self { first, count: units.saturating_sub(first).min(E::lanes::<S>()) }
    }

    /// # Safety
    /// `row` is readable at these units.
    #[inline(always)]
    pub(super) unsafe fn load<S: Simd, E: Element>(self, s: S, row: *const E) -> E::Vector<S> {
        // SAFETY: the caller's promise.
        unsafe {
            let from = row.add(self.first);
            if self.count == E::lanes::<S>() {
                E::load(s, from)
            } else {
                E::load_masked(s, E::first(s, self.count), from)
            }
        }
    }

    /// # Safety
    /// `row` is writable at these units.
    #[inline(always)]
    pub(super) unsafe fn store<S: Simd, E: Element>(self, s: S, row: *mut E, value: E::Vector<S>) {
        // SAFETY: the caller's promise.
        unsafe {
            let to = row.add(self.first);
            if self.count == E::lanes::<S>() {
                E::store(s, to, value);
            } else {
                E::store_masked(s, E::first(s, self.count), to, value);
            }
        }
    }
}

/// Rows of results, and in training their copy for backward.
#[derive(Clone, Copy)]
pub(super) struct Out<E> {
    ptr: *mut E,
    stride: isize,
    /// Rows of `width` numbers, one behind the other.
    kept: Option<*mut E>,
    width: usize,
}

impl<E: Element> Out<E> {
    /// Row r starts at `ptr + r·stride`; with `kept` a copy of it at `kept + r·width`.
    pub(super) fn new(ptr: *mut E, stride: isize, kept: Option<*mut E>, width: usize) -> Self {
        Self { ptr, stride, kept, width }
    }

    /// Rows one behind the other.
    pub(super) fn rows(ptr: *mut E, width: usize) -> Self {
        Self { ptr, stride: width as isize, kept: None, width }
    }

    /// # Safety
    /// The row exists.
    #[inline(always)]
    pub(super) unsafe fn row(self, row: usize) -> *mut E {
        // SAFETY: the caller's promise.
        unsafe { self.ptr.offset(row as isize * self.stride) }
    }

    /// # Safety
    /// The row and the units exist.
    #[inline(always)]
    pub(super) unsafe fn store<S: Simd>(self, s: S, units: Units, row: usize, value: E::Vector<S>) {
        // SAFETY: the caller's promise.
        unsafe {
            units.store(s, self.row(row), value);
            if let Some(kept) = self.kept {
                units.store(s, kept.add(row * self.width), value);
            }
        }
    }
}

/// The sums themselves, clipped if asked for: a projection, or a gradient. Four vectors a panel.
#[derive(Clone, Copy)]
pub(super) struct Linear<E> {
    pub clip: Option<E>,
    /// Adds to what is there.
    pub add: bool,
    pub units: usize,
    pub out: Out<E>,
}

impl<E: Element> Epilogue<E> for Linear<E> {
    #[inline(always)]
    unsafe fn finish<S: Simd>(&self, s: S, sums: *const E, panel: usize, row: usize) {
        // SAFETY: the row and the panel exist; `Units` keeps to the units that do.
        unsafe {
            for group in 0..MAX_SUMS {
                let units = Units::of::<S, E>(panel * MAX_SUMS + group, self.units);
                if units.count == 0 {
                    break;
                }
                let mut sum = E::load(s, sums.add(group * E::lanes::<S>()));
                if let Some(clip) = self.clip {
                    sum = clamp::<S, E>(s, sum, E::minus(clip), clip);
                }
                if self.add {
                    sum = E::vadd(s, sum, units.load(s, self.out.row(row).cast_const()));
                }
                self.out.store(s, units, row, sum);
            }
        }
    }
}
