//! The GRU's step, with the reset gate before or after the candidate's product.

use super::gru_backward::Record;
use super::math::activate;
use super::pack::{PackShape, Packed};
use super::pass::{Epilogue, Out, Units, pass};
use super::rnn::GROUPS;
use super::sequence::{Hoist, Sequence, Workspace, with_sequence};
use super::team::{Team, with_team};
use super::tile::Rows;
use super::{Activation, Element};
use ndarray::{Array2, ArrayView3, ArrayViewMut3};
use pulp::{Simd, WithSimd};

/// Vectors of units in a panel of the two gates r and u.
pub(crate) const GATE_GROUPS: usize = 2;

/// A GRU's weights, by where the reset gate stands.
#[derive(Clone)]
pub(crate) enum Weights<E> {
    /// r ⊙ h enters the candidate's product: two passes a step.
    ResetBefore {
        /// r and u, in `GATE_GROUPS` groups.
        gates: Packed<E>,
        /// In `GROUPS` groups.
        candidate: Packed<E>,
    },
    /// r multiplies the candidate's recurrent product: r, u and the candidate in one pass, split.
    ResetAfter(Packed<E>),
}

impl<E: Element> Weights<E> {
    fn first(&self) -> &Packed<E> {
        match self {
            Self::ResetBefore { gates, .. } => gates,
            Self::ResetAfter(all) => all,
        }
    }

    /// What the kernel relies on besides the shapes of arrays.
    fn check_layout(&self) {
        let (isa, shape) = (self.first().isa, self.first().shape);
        let shape = PackShape { recurrent: shape.units, ..shape };
        match self {
            Self::ResetBefore { gates, candidate } => {
                gates.assert_is(isa, PackShape { gates: 2, groups: GATE_GROUPS, split: false, ..shape });
                candidate.assert_is(isa, PackShape { gates: 1, groups: GROUPS, split: false, ..shape });
            }
            Self::ResetAfter(all) => all.assert_is(isa, PackShape { gates: 3, groups: 1, split: true, ..shape }),
        }
    }
}

/// Runs a GRU; shapes as in [`RnnCell::unroll`](crate::RnnCell::unroll).
#[allow(clippy::too_many_arguments)]
pub(crate) fn unroll<E: Element>(
    weights: &Weights<E>,
    gate_activation: Activation,
    activation: Activation,
    inputs: ArrayView3<E>,
    h: &mut Array2<E>,
    outputs: ArrayViewMut3<E>,
    record: Option<&mut Record<E>>,
    workspace: &mut Workspace<E>,
) {
    let first = weights.first();
    let hidden = first.shape.units;
    assert_eq!(h.ncols(), hidden, "the state's width must be the hidden size");
    assert_eq!(inputs.dim().2, first.shape.inputs, "inputs must be (seq, batch, input)");
    weights.check_layout();
    let (record, kept) = record.map(|record| record.start(inputs.dim().0, h)).unzip();
    with_sequence(inputs, outputs, h, kept, workspace, |sequence, initial, workspace| {
        let [hoist, hoist_candidate] = {
            let [a, b] = &mut workspace.hoisted;
            let second = match weights {
                Weights::ResetBefore { candidate, .. } => candidate,
                Weights::ResetAfter(all) => all,
            };
            [Hoist::new(first, &sequence, a), Hoist::new(second, &sequence, b)]
        };
        for rows in &mut workspace.rows {
            rows.grow([sequence.rows, hidden]);
        }
        let [reset, update] = &mut workspace.rows;
        let (reset, update) = (reset.as_mut_ptr(), update.as_mut_ptr());
        let activations = (gate_activation, activation);
        let run = |team: Team<'_>| {
            E::run_gru(
                first.isa,
                Unroll { weights, activations, sequence, initial, hoist, hoist_candidate, reset, update, record, team },
            );
        };
        // SAFETY: members read the weights, which nobody writes. A pass writes the units of its panels, in the hoist's buffer
        // or in the rows of a step, and reads of these only what earlier passes wrote.
        unsafe { with_team(sequence.work(first), run) };
    });
}

pub struct Unroll<'a, E> {
    weights: &'a Weights<E>,
    activations: (Activation, Activation),
    sequence: Sequence<E>,
    initial: Rows<E>,
    hoist: Hoist<E>,
    hoist_candidate: Hoist<E>,
    /// r ⊙ h, (rows, hidden).
    reset: *mut E,
    /// u, (rows, hidden).
    update: *mut E,
    /// Where n, r, u and a fourth go, 4 · hidden numbers a sample.
    record: Option<*mut E>,
    team: Team<'a>,
}

impl<E: Element> WithSimd for Unroll<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { weights, sequence, initial, reset, update, record, mut team, .. } = self;
        let hidden = weights.first().shape.units;
        let rows = sequence.rows;
        for t in 0..sequence.steps {
            // SAFETY: `unroll` and `with_sequence` asserted the shapes and how the packs are laid out: in the vectors named
            // here, for the instruction set that runs this. `reset`, `update` and the record have room for every row.
            unsafe {
                let h = sequence.before(t, initial);
                let step = Step {
                    gate_activation: self.activations.0,
                    activation: self.activations.1,
                    hidden,
                    h,
                    reset,
                    update,
                    record: record.map(|record| record.add(t * rows * 4 * hidden)),
                    out: sequence.outputs(t),
                };
                match weights {
                    Weights::ResetAfter(packed) => {
                        let input = self.hoist.input::<S, 3>(s, packed, &sequence, t, &mut team);
                        pass::<S, E, 3, true>(s, packed, input, Some(h), rows, &mut team, &After(step));
                    }
                    Weights::ResetBefore { gates, candidate } => {
                        let input = self.hoist.input::<S, 4>(s, gates, &sequence, t, &mut team);
                        pass::<S, E, 4, false>(s, gates, input, Some(h), rows, &mut team, &BeforeGates(&step));
                        let reset = Rows { ptr: reset.cast_const(), stride: hidden as isize };
                        let input = self.hoist_candidate.input::<S, GROUPS>(s, candidate, &sequence, t, &mut team);
                        pass::<S, E, GROUPS, false>(
                            s,
                            candidate,
                            input,
                            Some(reset),
                            rows,
                            &mut team,
                            &BeforeCandidate(&step),
                        );
                    }
                }
            }
        }
    }
}

struct Step<E> {
    gate_activation: Activation,
    activation: Activation,
    hidden: usize,
    h: Rows<E>,
    reset: *mut E,
    update: *mut E,
    record: Option<*mut E>,
    out: Out<E>,
}

impl<E: Element> Step<E> {
    /// Stores u ⊙ h + (1 − u) ⊙ candidate.
    ///
    /// # Safety
    /// The row and the units exist.
    #[inline(always)]
    unsafe fn blend<S: Simd>(&self, s: S, units: Units, row: usize, u: E::Vector<S>, candidate: E::Vector<S>) {
        // SAFETY: the caller's promise; h has a number a unit.
        unsafe {
            let h = units.load(s, self.h.row(row));
            // candidate + u (h − candidate), with one product.
            let new = E::fma(s, u, E::vsub(s, h, candidate), candidate);
            self.out.store(s, units, row, new);
        }
    }

    /// Keeps values for backward, each with its number of n, r, u and the fourth.
    ///
    /// # Safety
    /// The row and the units exist.
    #[inline(always)]
    unsafe fn keep<S: Simd, const N: usize>(&self, s: S, units: Units, row: usize, values: [(usize, E::Vector<S>); N]) {
        if let Some(record) = self.record {
            for (which, value) in values {
                // SAFETY: the caller's promise; the record has 4 · hidden numbers for each row of a step.
                unsafe { units.store(s, record.add((4 * row + which) * self.hidden), value) };
            }
        }
    }
}

struct After<E>(Step<E>);

impl<E: Element> Epilogue<E> for After<E> {
    #[inline(always)]
    unsafe fn finish<S: Simd>(&self, s: S, sums: *const E, panel: usize, row: usize) {
        let Self(step) = self;
        let lanes = E::lanes::<S>();
        let units = Units::of::<S, E>(panel, step.hidden);
        // SAFETY: the row and the panel exist; `Units` keeps to the units that do. The panel has three sums and the split one.
        unsafe {
            let r = E::load(s, sums);
            let u = E::load(s, sums.add(lanes));
            let recurrent = E::load(s, sums.add(2 * lanes));
            let input = E::load(s, sums.add(3 * lanes));
            let r = activate::<S, E>(s, step.gate_activation, r);
            let u = activate::<S, E>(s, step.gate_activation, u);
            let candidate = activate::<S, E>(s, step.activation, E::fma(s, r, recurrent, input));
            step.keep(s, units, row, [(0, candidate), (1, r), (2, u), (3, recurrent)]);
            step.blend(s, units, row, u, candidate);
        }
    }
}

struct BeforeGates<'a, E>(&'a Step<E>);

impl<E: Element> Epilogue<E> for BeforeGates<'_, E> {
    #[inline(always)]
    unsafe fn finish<S: Simd>(&self, s: S, sums: *const E, panel: usize, row: usize) {
        let Self(step) = self;
        let lanes = E::lanes::<S>();
        // SAFETY: the row and the panel exist; `Units` keeps to the units that do. The panel has two sums a group; `reset` and
        // `update` hold every row.
        unsafe {
            for group in 0..GATE_GROUPS {
                let units = Units::of::<S, E>(panel * GATE_GROUPS + group, step.hidden);
                if units.count == 0 {
                    break;
                }
                let sums = sums.add(2 * group * lanes);
                let r = activate::<S, E>(s, step.gate_activation, E::load(s, sums));
                let u = activate::<S, E>(s, step.gate_activation, E::load(s, sums.add(lanes)));
                let h = units.load(s, step.h.row(row));
                let reset = E::vmul(s, r, h);
                step.keep(s, units, row, [(1, r), (2, u), (3, reset)]);
                units.store(s, step.reset.add(row * step.hidden), reset);
                units.store(s, step.update.add(row * step.hidden), u);
            }
        }
    }
}

struct BeforeCandidate<'a, E>(&'a Step<E>);

impl<E: Element> Epilogue<E> for BeforeCandidate<'_, E> {
    #[inline(always)]
    unsafe fn finish<S: Simd>(&self, s: S, sums: *const E, panel: usize, row: usize) {
        let Self(step) = self;
        // SAFETY: as above; the panel has a sum a group, and the gates' pass has written `update`.
        unsafe {
            for group in 0..GROUPS {
                let units = Units::of::<S, E>(panel * GROUPS + group, step.hidden);
                if units.count == 0 {
                    break;
                }
                let sum = E::load(s, sums.add(group * E::lanes::<S>()));
                let u = units.load(s, step.update.add(row * step.hidden).cast_const());
                let candidate = activate::<S, E>(s, step.activation, sum);
                step.keep(s, units, row, [(0, candidate)]);
                step.blend(s, units, row, u, candidate);
            }
        }
    }
}
