//! The LSTM's step: four gates in one product, then everything else while the sums are in registers.

use super::Element;
use super::math::{activate, clamp};
use super::pack::Packed;
use super::pass::{Epilogue, Input, Units, pass};
use super::rnn::GROUPS;
use super::sequence::{Hoist, Sequence, Workspace, make_standard, with_sequence};
use super::tile::Rows;
use crate::Activation;
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

/// Runs an LSTM, gates i, j, f, o; shapes as in [`RnnCell::unroll`](crate::RnnCell::unroll). `projection` is packed as
/// inputs alone.
#[allow(clippy::too_many_arguments)]
pub(crate) fn unroll<E: Element>(
    packed: &Packed<E>,
    projection: Option<&Packed<E>>,
    options: Options<E>,
    inputs: ArrayView3<E>,
    c: &mut Array2<E>,
    h: &mut Array2<E>,
    outputs: ArrayViewMut3<E>,
    workspace: &mut Workspace<E>,
) {
    let hidden = packed.shape.units;
    assert_eq!(c.dim(), (inputs.dim().1, hidden), "the state's c must be (batch, hidden)");
    assert_eq!(h.ncols(), packed.shape.recurrent, "the state's h must be (batch, output)");
    assert_eq!(inputs.dim().2, packed.shape.inputs, "inputs must be (seq, batch, input)");
    make_standard(c);
    let c = c.as_mut_ptr();
    with_sequence(inputs, outputs, h, workspace, |sequence, initial, workspace| {
        let hoist = Hoist::new(packed, &sequence, &mut workspace.hoisted[0]);
        let projection = projection.map(|packed| {
            workspace.rows[0].grow(sequence.rows * hidden);
            (packed, workspace.rows[0].as_mut_ptr())
        });
        packed.isa.run(Unroll { packed, projection, options, sequence, initial, c, hoist });
    });
}

struct Unroll<'a, E> {
    packed: &'a Packed<E>,
    /// The projection's weights, and room for what it projects.
    projection: Option<(&'a Packed<E>, *mut E)>,
    options: Options<'a, E>,
    sequence: Sequence<E>,
    initial: Rows<E>,
    c: *mut E,
    hoist: Hoist<E>,
}

impl<E: Element> WithSimd for Unroll<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { packed, projection, options, sequence, initial, c, hoist } = self;
        let (rows, hidden) = (sequence.rows, packed.shape.units);
        for t in 0..sequence.steps {
            // SAFETY: `unroll` and `with_sequence` checked the shapes; both packs were made for this instruction set, in
            // four vectors; the projected rows have room for all units.
            unsafe {
                let input = hoist.input::<S, 4>(s, packed, &sequence, t);
                let h = sequence.before(t, initial);
                let (out, out_row) = match projection {
                    None => (sequence.outputs(t), sequence.out_row),
                    Some((_, unprojected)) => (unprojected, hidden as isize),
                };
                let gates = Gates { options, hidden, c, out, out_row };
                pass::<S, E, 4, false>(s, packed, input, Some(h), rows, 0..packed.panels(), &gates);
                if let Some((packed, unprojected)) = projection {
                    let unprojected = Input::Rows(Rows { ptr: unprojected, stride: hidden as isize });
                    let clip = Clip {
                        clip: options.proj_clip,
                        units: packed.shape.units,
                        out: sequence.outputs(t),
                        out_row: sequence.out_row,
                    };
                    pass::<S, E, GROUPS, false>(s, packed, unprojected, None, rows, 0..packed.panels(), &clip);
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
    out: *mut E,
    out_row: isize,
}

impl<E: Element> Epilogue<E> for Gates<'_, E> {
    #[inline(always)]
    unsafe fn finish<S: Simd>(&self, s: S, sums: *const E, panel: usize, row: usize) {
        let Options { activation, gate_activation, peepholes, cell_clip, .. } = self.options;
        let lanes = E::lanes::<S>();
        let units = Units::of::<S, E>(panel, self.hidden);
        // SAFETY: the row and the panel exist; `Units` keeps to the units that do; peepholes have `hidden` numbers.
        unsafe {
            let [mut i, j, mut f, mut o] = [0, 1, 2, 3].map(|gate| E::load(s, sums.add(gate * lanes)));
            let c = self.c.add(row * self.hidden);
            let old = units.load(s, c);
            if let Some([w_f, w_i, _]) = peepholes {
                f = E::mul_add(s, units.load(s, w_f.as_ptr()), old, f);
                i = E::mul_add(s, units.load(s, w_i.as_ptr()), old, i);
            }
            let kept = E::mul(s, activate::<S, E>(s, gate_activation, f), old);
            let candidate = activate::<S, E>(s, activation, j);
            let mut new = E::mul_add(s, activate::<S, E>(s, gate_activation, i), candidate, kept);
            if let Some(clip) = cell_clip {
                new = clamp::<S, E>(s, new, E::minus(clip), clip);
            }
            units.store(s, c, new);
            if let Some([_, _, w_o]) = peepholes {
                o = E::mul_add(s, units.load(s, w_o.as_ptr()), new, o);
            }
            let h = E::mul(s, activate::<S, E>(s, gate_activation, o), activate::<S, E>(s, activation, new));
            units.store(s, self.out.offset(row as isize * self.out_row), h);
        }
    }
}

/// The projection's sums, clipped.
struct Clip<E> {
    clip: Option<E>,
    units: usize,
    out: *mut E,
    out_row: isize,
}

impl<E: Element> Epilogue<E> for Clip<E> {
    #[inline(always)]
    unsafe fn finish<S: Simd>(&self, s: S, sums: *const E, panel: usize, row: usize) {
        // SAFETY: the row and the panel exist; `Units` keeps to the units that do.
        unsafe {
            for group in 0..GROUPS {
                let units = Units::of::<S, E>(panel * GROUPS + group, self.units);
                if units.count == 0 {
                    break;
                }
                let mut sum = E::load(s, sums.add(group * E::lanes::<S>()));
                if let Some(clip) = self.clip {
                    sum = clamp::<S, E>(s, sum, E::minus(clip), clip);
                }
                units.store(s, self.out.offset(row as isize * self.out_row), sum);
            }
        }
    }
}
