//! The packed product on its own, for what no fused kernel does: sums of whole rows, handed to the caller.

use super::isa::Isa;
use super::math::{activate, derivative};
use super::pack::{PackShape, Packed};
use super::pass::{Input, Linear, Out, Units, pass};
use super::rnn::GROUPS;
use super::sequence::{Hoist, Sequence, Workspace, with_sequence};
use super::team::Team;
use super::tile::Rows;
use super::{Activation, Element};
use ndarray::{Array2, ArrayView3, ArrayViewMut3};
use pulp::{Simd, WithSimd};

/// Runs a recurrence whose step is `finish(t, row, sums, output)`: `sums` is bias + \[x, h\]·W of one row, h the last step's
/// output. `packed` has one gate; shapes as in [`RnnCell::unroll`](crate::RnnCell::unroll).
pub(crate) fn unroll<E: Element>(
    packed: &Packed<E>,
    inputs: ArrayView3<E>,
    h: &mut Array2<E>,
    outputs: ArrayViewMut3<E>,
    workspace: &mut Workspace<E>,
    mut finish: impl FnMut(usize, usize, &mut [E], &mut [E]),
) {
    let width = h.ncols();
    assert_eq!(width, packed.shape.recurrent, "the state's h must be (batch, output)");
    assert_eq!(inputs.dim().2, packed.shape.inputs, "inputs must be (seq, batch, input)");
    packed.assert_is(packed.isa, PackShape { gates: 1, groups: GROUPS, split: false, ..packed.shape });
    with_sequence(inputs, outputs, h, None, workspace, |sequence, initial, workspace| {
        let hoist = Hoist::new(packed, &sequence, &mut workspace.hoisted[0]);
        workspace.rows[0].grow([sequence.rows, packed.shape.units]);
        let sums = workspace.rows[0].as_mut_ptr();
        let finish = &mut finish;
        E::run_linear(packed.isa, Unroll { packed, sequence, initial, hoist, sums, width, finish });
    });
}

pub struct Unroll<'a, E> {
    packed: &'a Packed<E>,
    sequence: Sequence<E>,
    initial: Rows<E>,
    hoist: Hoist<E>,
    sums: *mut E,
    width: usize,
    finish: &'a mut Finish<'a, E>,
}

type Finish<'a, E> = dyn FnMut(usize, usize, &mut [E], &mut [E]) + 'a;

impl<E: Element> WithSimd for Unroll<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { packed, sequence, initial, hoist, sums, width, finish } = self;
        let units = packed.shape.units;
        for t in 0..sequence.steps {
            // SAFETY: `unroll` and `with_sequence` asserted the shapes and how `packed` is laid out, and `packed.isa` runs
            // this. `sums` has room for every row's units, an output row for `width` numbers; both are initialised, of
            // different arrays borrowed mutably, and nothing else refers to these rows while `finish` runs.
            unsafe {
                let input = hoist.input::<S, GROUPS>(s, packed, &sequence, t, &mut Team::alone());
                let h = sequence.before(t, initial);
                let store = Linear { clip: None, add: false, units, out: Out::rows(sums, units) };
                pass::<S, E, GROUPS, false>(s, packed, input, Some(h), sequence.rows, &mut Team::alone(), &store);
                for row in 0..sequence.rows {
                    let sums = std::slice::from_raw_parts_mut(sums.add(row * units), units);
                    let out = sequence.outputs(t).row(row);
                    finish(t, row, sums, std::slice::from_raw_parts_mut(out, width));
                }
            }
        }
    }
}

/// Rows whose products are computed at once: a few full tiles.
const ROWS: usize = 24;

/// Calls `finish(t, row, sums)` for each row of `inputs` (seq, batch, input), with `sums` = bias + x·W. `packed` has one
/// gate and no recurrent half.
pub(crate) fn project<E: Element>(
    packed: &Packed<E>,
    inputs: ArrayView3<E>,
    workspace: &mut Workspace<E>,
    mut finish: impl FnMut(usize, usize, &mut [E]),
) {
    let (steps, batch, features) = inputs.dim();
    let units = packed.shape.units;
    assert_eq!(features, packed.shape.inputs, "inputs must be (seq, batch, input)");
    packed.assert_is(packed.isa, PackShape::product(features, units));
    let [gathered, sums] = &mut workspace.rows;
    gathered.grow([ROWS, features]);
    sums.grow([ROWS, units]);
    let mut rows = (0..steps).flat_map(|t| (0..batch).map(move |row| (t, row)));
    loop {
        let mut places = [(0, 0); ROWS];
        let mut count = 0;
        for (place, at) in places.iter_mut().zip(rows.by_ref()) {
            *place = at;
            let x = gathered.as_mut_slice()[count * features..].iter_mut();
            x.zip(inputs.slice(ndarray::s![at.0, at.1, ..])).for_each(|(to, &from)| *to = from);
            count += 1;
        }
        if count == 0 {
            return;
        }
        E::run_project(packed.isa, Project { packed, x: gathered.as_ptr(), sums: sums.as_mut_ptr(), rows: count });
        for (sums, &(t, row)) in sums.as_mut_slice().chunks_exact_mut(units).zip(&places[..count]) {
            finish(t, row, sums);
        }
    }
}

/// Products of contiguous rows.
pub struct Project<'a, E> {
    packed: &'a Packed<E>,
    x: *const E,
    sums: *mut E,
    rows: usize,
}

impl<E: Element> WithSimd for Project<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { packed, x, sums, rows } = self;
        let units = packed.shape.units;
        let x = Input::Rows(Rows { ptr: x, stride: packed.shape.inputs as isize });
        let store = Linear { clip: None, add: false, units, out: Out::rows(sums, units) };
        // SAFETY: `project` grew both buffers for ROWS rows, of which `rows`, not 0, are asked for; it asserted how `packed`
        // is laid out, and `packed.isa` runs this.
        unsafe { pass::<S, E, GROUPS, false>(s, packed, x, None, rows, &mut Team::alone(), &store) };
    }
}

/// Applies `activation` to every value.
pub(crate) fn activate_all<E: Element>(activation: Activation, values: &mut [E]) {
    E::run_activate_all(Isa::get(), ActivateAll { activation, slopes: false, values });
}

/// Replaces every value of `activation` by the derivative there.
pub(crate) fn slopes_of_all<E: Element>(activation: Activation, values: &mut [E]) {
    E::run_activate_all(Isa::get(), ActivateAll { activation, slopes: true, values });
}

pub struct ActivateAll<'a, E> {
    activation: Activation,
    slopes: bool,
    values: &'a mut [E],
}

impl<E: Element> WithSimd for ActivateAll<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let len = self.values.len();
        let values = self.values.as_mut_ptr();
        for vector in 0..len.div_ceil(E::lanes::<S>()) {
            let units = Units::of::<S, E>(vector, len);
            // SAFETY: `Units` keeps to the `len` values, and there is at least one in each of `len / lanes` vectors, rounded up.
            unsafe {
                let value = units.load(s, values.cast_const());
                let value = match self.slopes {
                    true => derivative::<S, E>(s, self.activation, value),
                    false => activate::<S, E>(s, self.activation, value),
                };
                units.store(s, values, value);
            }
        }
    }
}
