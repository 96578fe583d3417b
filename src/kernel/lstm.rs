//! The LSTM's step: four gates in one product, then everything else while the sums are in registers.

use super::lstm_backward::{Record, Recorded, StepRecord};
use super::math::{activate, clamp};
use super::pack::{PackShape, Packed};
use super::pass::{Epilogue, Input, Linear, Out, Units, pass};
use super::rnn::GROUPS;
use super::sequence::{Hoist, Sequence, Workspace, make_standard, with_sequence};
use super::team::{Team, with_team};
use super::tile::Rows;
use super::{Activation, Element};
use ndarray::{Array2, ArrayView3, ArrayViewMut3};
use pulp::{Simd, WithSimd};

/// What a step does beyond its products.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options<'a, E> {
    pub activation: Activation,
    pub gate_activation: Activation,
    /// `w_f_diag`, `w_i_diag`, `w_o_diag`.
    pub peepholes: Option<[&'a [E]; 3]>,
    pub cell_clip: Option<E>,
    pub proj_clip: Option<E>,
}

impl<E> Options<'_, E> {
    /// # Panics
    /// If peepholes are not `hidden` numbers each.
    pub(super) fn assert_fit(&self, hidden: usize) {
        let fit = |peepholes: [&[E]; 3]| peepholes.iter().all(|weights| weights.len() == hidden);
        assert!(self.peepholes.is_none_or(fit), "a peephole is a weight a unit");
    }
}

/// Runs an LSTM, gates i, j, f, o; shapes as in [`RnnCell::unroll`](crate::RnnCell::unroll). `projection` is packed as
/// inputs alone. A `record` is made to hold what [`backward`](super::lstm_backward::backward) needs.
#[allow(clippy::too_many_arguments)]
pub(crate) fn unroll<E: Element>(
    packed: &Packed<E>,
    projection: Option<&Packed<E>>,
    options: Options<E>,
    inputs: ArrayView3<E>,
    c: &mut Array2<E>,
    h: &mut Array2<E>,
    outputs: ArrayViewMut3<E>,
    record: Option<&mut Record<E>>,
    workspace: &mut Workspace<E>,
) {
    let hidden = packed.shape.units;
    assert_eq!(c.dim(), (inputs.dim().1, hidden), "the state's c must be (batch, hidden)");
    assert_eq!(h.ncols(), packed.shape.recurrent, "the state's h must be (batch, output)");
    assert_eq!(inputs.dim().2, packed.shape.inputs, "inputs must be (seq, batch, input)");
    check_layout(packed, projection, &options);
    make_standard(c);
    let (record, kept) = record.map(|record| record.start(inputs.dim().0, c, h, projection.is_some())).unzip();
    let c = c.as_mut_ptr();
    with_sequence(inputs, outputs, h, kept, workspace, |sequence, initial, workspace| {
        let hoist = Hoist::new(packed, &sequence, &mut workspace.hoisted[0]);
        let projection = projection.map(|packed| {
            workspace.rows[0].grow([sequence.rows, hidden]);
            (packed, workspace.rows[0].as_mut_ptr())
        });
        let run = |team: Team<'_>| {
            let unroll = Unroll { packed, projection, options, sequence, initial, c, hoist, record, team };
            E::run_lstm(packed.isa, unroll);
        };
        // SAFETY: members read weights and options, which nobody writes. A pass writes the units of its panels, in the hoist's
        // buffer or in the rows of a step, and reads of these only what earlier passes wrote, or c at the same units.
        unsafe { with_team(sequence.work(packed), run) };
    });
}

/// What the kernel relies on besides the shapes of arrays.
fn check_layout<E: Element>(packed: &Packed<E>, projection: Option<&Packed<E>>, options: &Options<E>) {
    let (hidden, output) = (packed.shape.units, packed.shape.recurrent);
    packed.assert_is(packed.isa, PackShape { gates: 4, groups: 1, split: false, ..packed.shape });
    match projection {
        Some(projection) => projection.assert_is(packed.isa, PackShape::product(hidden, output)),
        None => assert_eq!(output, hidden, "without a projection the output is h"),
    }
    options.assert_fit(hidden);
}

pub struct Unroll<'a, E> {
    packed: &'a Packed<E>,
    /// The projection's weights, and room for what it projects.
    projection: Option<(&'a Packed<E>, *mut E)>,
    options: Options<'a, E>,
    sequence: Sequence<E>,
    initial: Rows<E>,
    c: *mut E,
    hoist: Hoist<E>,
    record: Option<Recorded<E>>,
    team: Team<'a>,
}

impl<E: Element> WithSimd for Unroll<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { packed, projection, options, sequence, initial, c, hoist, record, mut team } = self;
        let (rows, hidden) = (sequence.rows, packed.shape.units);
        for t in 0..sequence.steps {
            // SAFETY: `unroll` and `with_sequence` asserted the shapes and how both packs are laid out; `packed.isa` runs
            // this. The record has room for every step, and there is room for all units of what is projected.
            unsafe {
                let input = hoist.input::<S, 4>(s, packed, &sequence, t, &mut team);
                let h = sequence.before(t, initial);
                let record = record.map(|record| record.step(t));
                let out = match (projection, record) {
                    (None, _) => sequence.outputs(t),
                    (Some((_, unprojected)), None) => Out::rows(unprojected, hidden),
                    (Some(_), Some(record)) => Out::rows(record.unprojected, hidden),
                };
                let gates = Gates { options, hidden, c, out, record };
                pass::<S, E, 4, false>(s, packed, input, Some(h), rows, &mut team, &gates);
                if let Some((packed, _)) = projection {
                    let unprojected = Input::Rows(Rows { ptr: out.row(0), stride: hidden as isize });
                    let units = packed.shape.units;
                    let clip = Linear { clip: options.proj_clip, add: false, units, out: sequence.outputs(t) };
                    pass::<S, E, GROUPS, false>(s, packed, unprojected, None, rows, &mut team, &clip);
                }
            }
        }
    }
}

/// The gates' sums to the new c and h.
struct Gates<'a, E> {
    options: Options<'a, E>,
    hidden: usize,
    c: *mut E,
    out: Out<E>,
    record: Option<StepRecord<E>>,
}

impl<E: Element> Epilogue<E> for Gates<'_, E> {
    #[inline(always)]
    unsafe fn finish<S: Simd>(&self, s: S, sums: *const E, panel: usize, row: usize) {
        let Options { activation, gate_activation, peepholes, cell_clip, .. } = self.options;
        let lanes = E::lanes::<S>();
        let units = Units::of::<S, E>(panel, self.hidden);
        // SAFETY: the row and the panel exist; `Units` keeps to the units that do. The panel has four sums, peepholes have
        // `hidden` numbers (asserted in `unroll`), c as many a row, the record of a step four times as many and as many.
        unsafe {
            let mut i = E::load(s, sums);
            let j = activate::<S, E>(s, activation, E::load(s, sums.add(lanes)));
            let mut f = E::load(s, sums.add(2 * lanes));
            let mut o = E::load(s, sums.add(3 * lanes));
            let c = self.c.add(row * self.hidden);
            let old = units.load(s, c);
            if let Some([w_f, w_i, _]) = peepholes {
                f = E::fma(s, units.load(s, w_f.as_ptr()), old, f);
                i = E::fma(s, units.load(s, w_i.as_ptr()), old, i);
            }
            let i = activate::<S, E>(s, gate_activation, i);
            let f = activate::<S, E>(s, gate_activation, f);
            let mut new = E::fma(s, i, j, E::vmul(s, f, old));
            if let Some(clip) = cell_clip {
                new = clamp::<S, E>(s, new, E::minus(clip), clip);
            }
            units.store(s, c, new);
            if let Some([_, _, w_o]) = peepholes {
                o = E::fma(s, units.load(s, w_o.as_ptr()), new, o);
            }
            let o = activate::<S, E>(s, gate_activation, o);
            let h = E::vmul(s, o, activate::<S, E>(s, activation, new));
            self.out.store(s, units, row, h);
            if let Some(record) = self.record {
                let gates = record.gates.add(row * 4 * self.hidden);
                units.store(s, gates, i);
                units.store(s, gates.add(self.hidden), j);
                units.store(s, gates.add(2 * self.hidden), f);
                units.store(s, gates.add(3 * self.hidden), o);
                units.store(s, record.c.add(row * self.hidden), new);
            }
        }
    }
}
