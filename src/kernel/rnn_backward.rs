//! The simple recurrence back through time.

use super::buffer::Scratch;
use super::math::derivative;
use super::pack::{PackShape, Packed};
use super::pass::{Input, Linear, Out, Units, pass};
use super::product::{Columns, Source, add_product};
use super::sequence::{Gradual, Workspace, make_standard, with_gradients};
use super::team::{Team, with_team};
use super::tile::Rows;
use super::{Activation, Element};
use ndarray::{Array2, ArrayView3, ArrayViewMut1, ArrayViewMut2, ArrayViewMut3};
use pulp::{Simd, WithSimd};

/// What a run of steps leaves for backward: h before the first step and after each, (steps + 1, rows, hidden).
pub struct Record<E> {
    steps: usize,
    rows: usize,
    hidden: usize,
    h: Scratch<E>,
}

impl<E: Element> Record<E> {
    pub(crate) fn new() -> Self {
        Self { steps: 0, rows: 0, hidden: 0, h: Scratch::new([0]) }
    }

    /// Makes room; where h goes.
    pub(super) fn start(&mut self, steps: usize, h: &Array2<E>) -> *mut E {
        (self.steps, (self.rows, self.hidden)) = (steps, h.dim());
        self.h = Scratch::new([steps + 1, self.rows, self.hidden]);
        self.h.write(0, h.iter().copied());
        self.h.as_mut_ptr()
    }
}

/// The weights as backward multiplies by them.
#[derive(Clone)]
pub(crate) struct Transposed<E> {
    inputs: Packed<E>,
    recurrent: Packed<E>,
}

impl<E: Element> Transposed<E> {
    /// Of a kernel (inputs + hidden, hidden).
    pub(crate) fn new(kernel: &Array2<E>, inputs: usize) -> Self {
        Self {
            inputs: Packed::transposed(&[kernel], 0, inputs),
            recurrent: Packed::transposed(&[kernel], inputs, kernel.ncols()),
        }
    }

    /// Packs other weights of the same shape.
    pub(crate) fn refill(&mut self, kernel: &Array2<E>, inputs: usize) {
        self.inputs.refill_transposed(&[kernel], 0);
        self.recurrent.refill_transposed(&[kernel], inputs);
    }
}

/// Runs a record back. `d_h` holds the gradient of the final state and gets that of the initial one; `d_inputs` is
/// overwritten, `d_kernel` and `d_bias` are added to. Shapes as in
/// [`TrainableCell::unroll_backward`](crate::train::TrainableCell::unroll_backward).
#[allow(clippy::too_many_arguments)]
pub(crate) fn backward<E: Element>(
    mut record: Record<E>,
    transposed: &Transposed<E>,
    activation: Activation,
    inputs: ArrayView3<E>,
    d_outputs: ArrayView3<E>,
    d_h: &mut Array2<E>,
    d_inputs: ArrayViewMut3<E>,
    (d_kernel, d_bias): (ArrayViewMut2<E>, Option<ArrayViewMut1<E>>),
    workspace: &mut Workspace<E>,
) {
    let (steps, rows, hidden) = (record.steps, record.rows, record.hidden);
    assert_eq!(d_outputs.dim(), (steps, rows, hidden), "d_outputs must be (seq, batch, output)");
    assert_eq!(d_h.dim(), (rows, hidden), "d_state must be the state's shape");
    assert_eq!(hidden, transposed.recurrent.shape.units, "the record must be this cell's");
    let (isa, features) = (transposed.inputs.isa, transposed.inputs.shape.units);
    transposed.inputs.assert_is(isa, PackShape::product(hidden, features));
    transposed.recurrent.assert_is(isa, PackShape::product(hidden, hidden));
    make_standard(d_h);
    let mut d = Scratch::new([steps, rows, hidden]);
    let (d, h) = (d.as_mut_ptr(), record.h.as_mut_ptr());
    with_gradients((steps, rows, features), inputs, d_outputs, d_inputs, workspace, |sequence, product| {
        let d_h = d_h.as_mut_ptr();
        let run = |team: Team<'_>| {
            let recurrence = Recurrence { sequence, transposed, activation, hidden, d, h, d_h, team };
            E::run_rnn_backward(isa, recurrence);
        };
        // SAFETY: members read weights and record, which nobody writes. Of d, d_h and d_inputs a pass writes rows or units of
        // its own blocks, and reads what earlier passes wrote.
        unsafe { with_team(sequence.work(&transposed.recurrent), run) };
        let (step_stride, row_stride) = ((rows * hidden) as isize, hidden as isize);
        let h = Source { ptr: h.cast_const(), step_stride, row_stride, features: hidden };
        let d = Columns { ptr: d.cast_const(), stride: hidden, columns: hidden };
        let bias = d_bias.map(|bias| bias.into_slice().expect("gradients are contiguous"));
        // SAFETY: the record holds every sample of h, the recurrence wrote every sample of d; `with_gradients` asserted that
        // the inputs have as many.
        unsafe { add_product(isa, (steps, rows), &[sequence.x, h], d, product, d_kernel, bias) };
    });
}

pub struct Recurrence<'a, E> {
    sequence: Gradual<E>,
    transposed: &'a Transposed<E>,
    activation: Activation,
    hidden: usize,
    /// Gradients of the sums, (samples, hidden).
    d: *mut E,
    h: *mut E,
    d_h: *mut E,
    team: Team<'a>,
}

impl<E: Element> WithSimd for Recurrence<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Gradual { steps, rows, .. } = self.sequence;
        let mut team = self.team;
        let hidden = self.hidden;
        for t in (0..steps).rev() {
            // SAFETY: `backward` and `with_gradients` asserted the shapes and how the weights are laid out, for the instruction
            // set that runs this. t is a step of the record, written by the run forward; `d` has room for every sample.
            unsafe {
                let d_out = self.sequence.d_outputs(t);
                let mut turn = team.turn(rows);
                while let Some(some) = turn.next() {
                    for row in some {
                        let sample = t * rows + row;
                        for vector in 0..hidden.div_ceil(E::lanes::<S>()) {
                            let units = Units::of::<S, E>(vector, hidden);
                            let y = units.load(s, self.h.add((sample + rows) * hidden).cast_const());
                            let d_h = units.load(s, self.d_h.add(row * hidden).cast_const());
                            let dy = E::vadd(s, d_h, units.load(s, d_out.row(row)));
                            let d = E::vmul(s, dy, derivative::<S, E>(s, self.activation, y));
                            units.store(s, self.d.add(sample * hidden), d);
                        }
                    }
                }
                let from = Rows { ptr: self.d.add(t * rows * hidden).cast_const(), stride: hidden as isize };
                let to = Linear { clip: None, add: false, units: hidden, out: Out::rows(self.d_h, hidden) };
                pass::<S, E, 4, false>(s, &self.transposed.recurrent, Input::Rows(from), None, rows, &mut team, &to);
            }
        }
        // SAFETY: every sample of d was written; the weights are packed as a product of `hidden` inputs.
        unsafe { self.sequence.input_gradients(s, &self.transposed.inputs, self.d, hidden, &mut team) };
    }
}
