//! The simple recurrence h' = f(\[x, h\]·W + b).

use super::math::activate;
use super::pack::{PackShape, Packed};
use super::pass::{Epilogue, Out, Units, pass};
use super::rnn_backward::Record;
use super::sequence::{Hoist, Sequence, Workspace, with_sequence};
use super::team::{Team, with_team};
use super::tile::Rows;
use super::{Activation, Element};
use ndarray::{Array2, ArrayView3, ArrayViewMut3};
use pulp::{Simd, WithSimd};

/// Vectors of units in a panel: as many sums as an LSTM's four gates.
pub(crate) const GROUPS: usize = 4;

/// Runs the recurrence; shapes as in [`RnnCell::unroll`](crate::RnnCell::unroll). A `record` is made to hold what
/// [`backward`](super::rnn_backward::backward) needs.
pub(crate) fn unroll<E: Element>(
    packed: &Packed<E>,
    activation: Activation,
    inputs: ArrayView3<E>,
    h: &mut Array2<E>,
    outputs: ArrayViewMut3<E>,
    record: Option<&mut Record<E>>,
    workspace: &mut Workspace<E>,
) {
    assert_eq!(h.ncols(), packed.shape.units, "the state's width must be the hidden size");
    assert_eq!(inputs.dim().2, packed.shape.inputs, "inputs must be (seq, batch, input)");
    let shape = packed.shape;
    let layout = PackShape { recurrent: shape.units, gates: 1, groups: GROUPS, split: false, ..shape };
    packed.assert_is(packed.isa, layout);
    let kept = record.map(|record| record.start(inputs.dim().0, h));
    with_sequence(inputs, outputs, h, kept, workspace, |sequence, initial, workspace| {
        let hoist = Hoist::new(packed, &sequence, &mut workspace.hoisted[0]);
        let run = |team: Team<'_>| {
            E::run_rnn(packed.isa, Unroll { packed, activation, sequence, initial, hoist, team });
        };
        // SAFETY: members read the weights, which nobody writes. A pass writes the units of its panels, in the hoist's buffer
        // or in the rows of a step, and reads of these only what earlier passes wrote.
        unsafe { with_team(sequence.work(packed), run) };
    });
}

pub struct Unroll<'a, E> {
    packed: &'a Packed<E>,
    activation: Activation,
    sequence: Sequence<E>,
    initial: Rows<E>,
    hoist: Hoist<E>,
    team: Team<'a>,
}

impl<E: Element> WithSimd for Unroll<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { packed, activation, sequence, initial, hoist, mut team } = self;
        for t in 0..sequence.steps {
            // SAFETY: `unroll` and `with_sequence` asserted the shapes and how `packed` is laid out; `packed.isa` runs this.
            unsafe {
                let input = hoist.input::<S, GROUPS>(s, packed, &sequence, t, &mut team);
                let h = sequence.before(t, initial);
                let epilogue = Activate { activation, units: packed.shape.units, out: sequence.outputs(t) };
                pass::<S, E, GROUPS, false>(s, packed, input, Some(h), sequence.rows, &mut team, &epilogue);
            }
        }
    }
}

/// The sums through an activation, to rows of outputs.
struct Activate<E> {
    activation: Activation,
    units: usize,
    out: Out<E>,
}

impl<E: Element> Epilogue<E> for Activate<E> {
    #[inline(always)]
    unsafe fn finish<S: Simd>(&self, s: S, sums: *const E, panel: usize, row: usize) {
        // SAFETY: the row and the panel exist; `Units` keeps to the units that do. The panel has GROUPS sums.
        unsafe {
            for group in 0..GROUPS {
                let units = Units::of::<S, E>(panel * GROUPS + group, self.units);
                if units.count == 0 {
                    break;
                }
                let sum = E::load(s, sums.add(group * E::lanes::<S>()));
                self.out.store(s, units, row, activate::<S, E>(s, self.activation, sum));
            }
        }
    }
}
