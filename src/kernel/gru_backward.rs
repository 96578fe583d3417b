//! The GRU back through time.

use super::buffer::Scratch;
use super::math::derivative;
use super::pack::{PackShape, Packed};
use super::pass::{Input, Linear, Out, Units, pass};
use super::product::{Columns, Source, add_product};
use super::sequence::{Gradual, Workspace, make_standard, with_gradients};
use super::team::{Team, with_team};
use super::tile::Rows;
use super::{Activation, Element};
use ndarray::{Array2, ArrayView3, ArrayViewMut1, ArrayViewMut2, ArrayViewMut3, s};
use pulp::{Simd, WithSimd};

/// What a run of steps leaves for backward; samples are (step, row).
pub struct Record<E> {
    steps: usize,
    rows: usize,
    hidden: usize,
    /// n, r, u and a fourth, (samples, 4 · hidden): with the reset gate after the product the candidate's recurrent sum,
    /// before it r ⊙ h. Backward makes them gradients of sums: dn, dr, du, and after the product d of the fourth.
    gates: Scratch<E>,
    /// h before the first step and after each, (steps + 1, rows, hidden).
    h: Scratch<E>,
}

impl<E: Element> Record<E> {
    pub(crate) fn new() -> Self {
        Self { steps: 0, rows: 0, hidden: 0, gates: Scratch::new([0]), h: Scratch::new([0]) }
    }

    /// Makes room; where the gates go, and where h does.
    pub(super) fn start(&mut self, steps: usize, h: &Array2<E>) -> (*mut E, *mut E) {
        let (rows, hidden) = h.dim();
        (self.steps, self.rows, self.hidden) = (steps, rows, hidden);
        self.gates = Scratch::new([steps, rows, 4, hidden]);
        self.h = Scratch::new([steps + 1, rows, hidden]);
        self.h.write(0, h.iter().copied());
        (self.gates.as_mut_ptr(), self.h.as_mut_ptr())
    }
}

/// Where the gradients of the parameters are added.
pub(crate) struct Gradients<'a, E> {
    pub gates_kernel: ArrayViewMut2<'a, E>,
    pub gates_bias: Option<ArrayViewMut1<'a, E>>,
    pub candidate_kernel: ArrayViewMut2<'a, E>,
    pub candidate_bias: Option<ArrayViewMut1<'a, E>>,
    pub candidate_recurrent_bias: Option<ArrayViewMut1<'a, E>>,
}

/// The weights as backward multiplies by them; gradients stand in the order n, r, u, fourth.
#[derive(Clone)]
pub(crate) struct Transposed<E> {
    /// n, r, u → inputs.
    inputs: Packed<E>,
    recurrent: Recurrent<E>,
}

#[derive(Clone)]
enum Recurrent<E> {
    Before {
        /// r, u → h.
        gates: Packed<E>,
        /// n → r ⊙ h.
        candidate: Packed<E>,
    },
    /// r, u, fourth → h.
    After(Packed<E>),
}

impl<E: Element> Transposed<E> {
    /// Of kernels (inputs + hidden, 2 · hidden) and (inputs + hidden, hidden); `after`: the reset gate stands after the
    /// candidate's product.
    pub(crate) fn new(gates: &Array2<E>, candidate: &Array2<E>, inputs: usize, after: bool) -> Self {
        let hidden = candidate.ncols();
        let recurrent = if after {
            Recurrent::After(Packed::transposed(&[gates, candidate], inputs, hidden))
        } else {
            let (gates, candidate) = (&[gates], &[candidate]);
            Recurrent::Before {
                gates: Packed::transposed(gates, inputs, hidden),
                candidate: Packed::transposed(candidate, inputs, hidden),
            }
        };
        Self { inputs: Packed::transposed(&[candidate, gates], 0, inputs), recurrent }
    }

    /// What the kernel relies on besides the shapes of arrays: weights of `hidden` units.
    fn check_layout(&self, hidden: usize) {
        let (isa, features) = (self.inputs.isa, self.inputs.shape.units);
        self.inputs.assert_is(isa, PackShape::product(3 * hidden, features));
        match &self.recurrent {
            Recurrent::After(packed) => packed.assert_is(isa, PackShape::product(3 * hidden, hidden)),
            Recurrent::Before { gates, candidate } => {
                gates.assert_is(isa, PackShape::product(2 * hidden, hidden));
                candidate.assert_is(isa, PackShape::product(hidden, hidden));
            }
        }
    }

    /// Packs other weights of the same shapes.
    pub(crate) fn refill(&mut self, gates: &Array2<E>, candidate: &Array2<E>, inputs: usize) {
        self.inputs.refill_transposed(&[candidate, gates], 0);
        match &mut self.recurrent {
            Recurrent::After(packed) => packed.refill_transposed(&[gates, candidate], inputs),
            Recurrent::Before { gates: packed_gates, candidate: packed_candidate } => {
                packed_gates.refill_transposed(&[gates], inputs);
                packed_candidate.refill_transposed(&[candidate], inputs);
            }
        }
    }
}

/// Runs a record back. `d_h` holds the gradient of the final state and gets that of the initial one; `d_inputs` is
/// overwritten, `gradients` are added to. Shapes as in
/// [`TrainableCell::unroll_backward`](crate::train::TrainableCell::unroll_backward).
#[allow(clippy::too_many_arguments)]
pub(crate) fn backward<E: Element>(
    mut record: Record<E>,
    transposed: &Transposed<E>,
    (gate_activation, activation): (Activation, Activation),
    inputs: ArrayView3<E>,
    d_outputs: ArrayView3<E>,
    d_h: &mut Array2<E>,
    d_inputs: ArrayViewMut3<E>,
    mut gradients: Gradients<E>,
    workspace: &mut Workspace<E>,
) {
    let (steps, rows, hidden) = (record.steps, record.rows, record.hidden);
    assert_eq!(d_outputs.dim(), (steps, rows, hidden), "d_outputs must be (seq, batch, output)");
    assert_eq!(d_h.dim(), (rows, hidden), "d_state must be the state's shape");
    assert_eq!(3 * hidden, transposed.inputs.shape.inputs, "the record must be this cell's");
    transposed.check_layout(hidden);
    make_standard(d_h);
    let (after, isa) = (matches!(transposed.recurrent, Recurrent::After(_)), transposed.inputs.isa);
    let (gates, h) = (record.gates.as_mut_ptr(), record.h.as_mut_ptr());
    let mut d_reset = Scratch::new([rows, hidden]);
    let d_reset = d_reset.as_mut_ptr();
    let recorded = (steps, rows, transposed.inputs.shape.units);
    with_gradients(recorded, inputs, d_outputs, d_inputs, workspace, |sequence, product| {
        let d_h = d_h.as_mut_ptr();
        let (Recurrent::After(recurrent) | Recurrent::Before { gates: recurrent, .. }) = &transposed.recurrent;
        let run = |team: Team<'_>| {
            E::run_gru_backward(
                isa,
                Recurrence { sequence, transposed, gate_activation, activation, hidden, gates, h, d_h, d_reset, team },
            );
        };
        // SAFETY: members read weights and h, which nobody writes. Of the gates, d_h, d_reset and d_inputs a pass writes rows
        // or units of its own blocks, and reads these or what earlier passes wrote.
        unsafe { with_team(sequence.work(recurrent), run) };
        let rows_of = |ptr: *mut E, width: usize| {
            let (step_stride, row_stride) = ((rows * width) as isize, width as isize);
            Source { ptr: ptr.cast_const(), step_stride, row_stride, features: hidden }
        };
        let column = |which: usize, count: usize| Columns {
            ptr: gates.wrapping_add(which * hidden).cast_const(),
            stride: 4 * hidden,
            columns: count * hidden,
        };
        let h = rows_of(h, hidden);
        let (x, samples) = (sequence.x, (steps, rows));
        let slice = |bias| ArrayViewMut1::into_slice(bias).expect("gradients are contiguous");
        let gates_bias = gradients.gates_bias.take().map(slice);
        let candidate_bias = gradients.candidate_bias.take().map(slice);
        let recurrent_bias = gradients.candidate_recurrent_bias.take().map(slice);
        // SAFETY: the record holds every sample of h and of the gates, all written by the run forward and now gradients;
        // `with_gradients` asserted that the inputs have as many. Columns and features end within a sample's 4 · hidden.
        unsafe {
            add_product(isa, samples, &[x, h], column(1, 2), product, gradients.gates_kernel, gates_bias);
            let mut candidate = gradients.candidate_kernel;
            if after {
                let (from_x, from_h) = candidate.multi_slice_mut((s![..x.features, ..], s![x.features.., ..]));
                add_product(isa, samples, &[x], column(0, 1), product, from_x, candidate_bias);
                add_product(isa, samples, &[h], column(3, 1), product, from_h, recurrent_bias);
            } else {
                let reset = rows_of(gates.wrapping_add(3 * hidden), 4 * hidden);
                add_product(isa, samples, &[x, reset], column(0, 1), product, candidate, candidate_bias);
            }
        }
    });
}

pub struct Recurrence<'a, E> {
    sequence: Gradual<E>,
    transposed: &'a Transposed<E>,
    gate_activation: Activation,
    activation: Activation,
    hidden: usize,
    gates: *mut E,
    h: *mut E,
    d_h: *mut E,
    /// The gradient of r ⊙ h, (rows, hidden).
    d_reset: *mut E,
    team: Team<'a>,
}

impl<E: Element> WithSimd for Recurrence<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Gradual { steps, rows, .. } = self.sequence;
        let mut team = self.team;
        let hidden = self.hidden;
        let width = 4 * hidden;
        let to_h = Linear { clip: None, add: true, units: hidden, out: Out::rows(self.d_h, hidden) };
        for t in (0..steps).rev() {
            // SAFETY: `backward` and `with_gradients` asserted the shapes and how the weights are laid out, for the instruction
            // set that runs this. t is a step of the record, written by the run forward; `d_reset` has room for every row.
            unsafe {
                let d_out = self.sequence.d_outputs(t);
                let d = self.gates.add(t * rows * width);
                let from = |which: usize| {
                    Input::Rows(Rows { ptr: d.wrapping_add(which * hidden).cast_const(), stride: width as isize })
                };
                let mut turn = team.turn(rows);
                while let Some(some) = turn.next() {
                    for row in some {
                        self.blend_back(s, t, row, d_out.row(row));
                    }
                }
                match &self.transposed.recurrent {
                    Recurrent::After(recurrent) => {
                        pass::<S, E, 4, false>(s, recurrent, from(1), None, rows, &mut team, &to_h);
                    }
                    Recurrent::Before { gates, candidate } => {
                        let to_reset = Linear { add: false, out: Out::rows(self.d_reset, hidden), ..to_h };
                        pass::<S, E, 4, false>(s, candidate, from(0), None, rows, &mut team, &to_reset);
                        let mut turn = team.turn(rows);
                        while let Some(some) = turn.next() {
                            for row in some {
                                self.reset_back(s, t, row);
                            }
                        }
                        pass::<S, E, 4, false>(s, gates, from(1), None, rows, &mut team, &to_h);
                    }
                }
            }
        }
        // SAFETY: every step's gates now hold gradients, n, r and u first; the weights are packed as a product of these.
        unsafe { self.sequence.input_gradients(s, &self.transposed.inputs, self.gates, width, &mut team) };
    }
}

impl<E: Element> Recurrence<'_, E> {
    /// dn and du of one step and row, after the product dr and d of the fourth too; `d_h` gets what flows through u.
    ///
    /// # Safety
    /// The step and the row exist; `d_out` is readable for `hidden` numbers.
    #[inline(always)]
    unsafe fn blend_back<S: Simd>(&self, s: S, t: usize, row: usize, d_out: *const E) {
        let hidden = self.hidden;
        let sample = t * self.sequence.rows + row;
        let after = matches!(self.transposed.recurrent, Recurrent::After(_));
        // SAFETY: the caller's promise; the record holds the sample's gates and the h before it.
        unsafe {
            let gates = self.gates.add(sample * 4 * hidden);
            let d_h = self.d_h.add(row * hidden);
            for vector in 0..hidden.div_ceil(E::lanes::<S>()) {
                let units = Units::of::<S, E>(vector, hidden);
                let n = units.load(s, gates.cast_const());
                let r = units.load(s, gates.add(hidden).cast_const());
                let u = units.load(s, gates.add(2 * hidden).cast_const());
                let fourth = units.load(s, gates.add(3 * hidden).cast_const());
                let h = units.load(s, self.h.add(sample * hidden).cast_const());
                let dh = E::vadd(s, units.load(s, d_h.cast_const()), units.load(s, d_out));
                let through_u = E::vmul(s, dh, u);
                let d_n = E::vmul(s, E::vsub(s, dh, through_u), derivative::<S, E>(s, self.activation, n));
                let slope = E::vmul(s, E::vsub(s, h, n), derivative::<S, E>(s, self.gate_activation, u));
                units.store(s, gates, d_n);
                units.store(s, gates.add(2 * hidden), E::vmul(s, dh, slope));
                units.store(s, d_h, through_u);
                if after {
                    let slope = E::vmul(s, fourth, derivative::<S, E>(s, self.gate_activation, r));
                    units.store(s, gates.add(hidden), E::vmul(s, d_n, slope));
                    units.store(s, gates.add(3 * hidden), E::vmul(s, d_n, r));
                }
            }
        }
    }

    /// dr from the gradient of r ⊙ h, and what flows through it to h.
    ///
    /// # Safety
    /// The step and the row exist.
    #[inline(always)]
    unsafe fn reset_back<S: Simd>(&self, s: S, t: usize, row: usize) {
        let hidden = self.hidden;
        let sample = t * self.sequence.rows + row;
        // SAFETY: the caller's promise; the record holds the sample's gates and the h before it.
        unsafe {
            let gates = self.gates.add(sample * 4 * hidden);
            let d_h = self.d_h.add(row * hidden);
            for vector in 0..hidden.div_ceil(E::lanes::<S>()) {
                let units = Units::of::<S, E>(vector, hidden);
                let r = units.load(s, gates.add(hidden).cast_const());
                let h = units.load(s, self.h.add(sample * hidden).cast_const());
                let d_reset = units.load(s, self.d_reset.add(row * hidden).cast_const());
                let slope = E::vmul(s, h, derivative::<S, E>(s, self.gate_activation, r));
                units.store(s, gates.add(hidden), E::vmul(s, d_reset, slope));
                units.store(s, d_h, E::fma(s, d_reset, r, units.load(s, d_h.cast_const())));
            }
        }
    }
}
