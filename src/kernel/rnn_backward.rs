//! The simple recurrence back through time.

use super::buffer::Scratch;
use super::math::derivative;
use super::pack::Packed;
use super::pass::{Input, Linear, Units, pass};
use super::product::{Columns, Source, add_product};
use super::sequence::{Gradual, Workspace, make_standard, with_gradients};
use super::team::{Team, with_training_team};
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
    /// Of the state before a run and its outputs.
    pub(crate) fn new(initial: Scratch<E>, outputs: ArrayView3<E>) -> Self {
        let (steps, rows, hidden) = outputs.dim();
        let mut h = initial;
        h.write(rows * hidden, outputs.iter().copied());
        Self { steps, rows, hidden, h }
    }

    /// Room for the record of `steps` steps, the state before the first written.
    pub(crate) fn start(steps: usize, h: &Array2<E>) -> Scratch<E> {
        let mut room = Scratch::new((steps + 1) * h.len());
        room.write(0, h.iter().copied());
        room
    }
}

/// Runs a record back. `d_h` holds the gradient of the final state and gets that of the initial one; `d_inputs` is
/// overwritten, `d_kernel` and `d_bias` are added to. Shapes as in
/// [`TrainableCell::unroll_backward`](crate::train::TrainableCell::unroll_backward).
#[allow(clippy::too_many_arguments)]
pub(crate) fn backward<E: Element>(
    mut record: Record<E>,
    (to_inputs, to_h): (&Packed<E>, &Packed<E>),
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
    if steps * rows == 0 {
        return;
    }
    make_standard(d_h);
    let mut d = Scratch::new(steps * rows * hidden);
    let (d, h) = (d.as_mut_ptr(), record.h.as_mut_ptr());
    with_gradients(inputs, d_outputs, d_inputs, workspace, |sequence, product| {
        let d_h = d_h.as_mut_ptr();
        with_training_team(2 * steps, rows * hidden * hidden, |team| {
            let recurrence = Recurrence { sequence, to_inputs, to_h, activation, hidden, d, h, d_h, team };
            E::run_rnn_backward(to_h.isa, recurrence);
        });
        let (step_stride, row_stride) = ((rows * hidden) as isize, hidden as isize);
        let h = Source { ptr: h.cast_const(), step_stride, row_stride, features: hidden };
        let d = Columns { ptr: d.cast_const(), stride: hidden, columns: hidden };
        let bias = d_bias.map(|bias| bias.into_slice().expect("gradients are contiguous"));
        // SAFETY: the record holds every sample of h, the recurrence wrote every sample of d.
        unsafe { add_product(to_h.isa, (steps, rows), &[sequence.x, h], d, product, d_kernel, bias) };
    });
}

pub struct Recurrence<'a, E> {
    sequence: Gradual<E>,
    to_inputs: &'a Packed<E>,
    to_h: &'a Packed<E>,
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
            // SAFETY: `backward` checked the shapes; t is a step of the record; `d` and `h` hold its samples.
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
                            let dy = E::add(s, d_h, units.load(s, d_out.row(row)));
                            let d = E::mul(s, dy, derivative::<S, E>(s, self.activation, y));
                            units.store(s, self.d.add(sample * hidden), d);
                        }
                    }
                }
                let from = Rows { ptr: self.d.add(t * rows * hidden).cast_const(), stride: hidden as isize };
                let to = Linear { clip: None, add: false, units: hidden, out: self.d_h, out_row: hidden as isize };
                pass::<S, E, 4, false>(s, self.to_h, Input::Rows(from), None, rows, &mut team, &to);
            }
        }
        // SAFETY: every sample of d was written.
        unsafe { self.sequence.input_gradients(s, self.to_inputs, self.d, hidden, &mut team) };
    }
}
