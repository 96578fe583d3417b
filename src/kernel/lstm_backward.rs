//! The LSTM back through time: the recurrence once, then the gradients of weights and inputs over all steps.

use super::Element;
use super::buffer::Scratch;
use super::lstm::Options;
use super::math::{activate, derivative};
use super::pack::{PackShape, Packed};
use super::pass::{Input, Linear, Out, Units, pass};
use super::product::{Columns, Source, add_product};
use super::sequence::{Gradual, Workspace, make_standard, with_gradients};
use super::team::{Team, with_team};
use super::tile::Rows;
use ndarray::{Array2, ArrayView3, ArrayViewMut1, ArrayViewMut2, ArrayViewMut3};
use pulp::{Simd, WithSimd};

/// What a run of steps leaves for backward; samples are (step, row).
pub struct Record<E> {
    steps: usize,
    rows: usize,
    hidden: usize,
    output: usize,
    /// i, j, f, o after their activations, (samples, 4 · hidden); backward makes them the gradients of the sums.
    gates: Scratch<E>,
    /// c before the first step and after each, (steps + 1, rows, hidden).
    c: Scratch<E>,
    /// h likewise, (steps + 1, rows, output).
    h: Scratch<E>,
    /// h before the projection, (samples, hidden), if there is one.
    unprojected: Scratch<E>,
}

impl<E: Element> Record<E> {
    pub(crate) fn new() -> Self {
        let none = || Scratch::new([0]);
        Self { steps: 0, rows: 0, hidden: 0, output: 0, gates: none(), c: none(), h: none(), unprojected: none() }
    }

    /// Makes room; where the gates, c and what is projected go, and where h does.
    pub(super) fn start(
        &mut self,
        steps: usize,
        c: &Array2<E>,
        h: &Array2<E>,
        projects: bool,
    ) -> (Recorded<E>, *mut E) {
        let (rows, hidden) = c.dim();
        let output = h.ncols();
        (self.steps, self.rows, self.hidden, self.output) = (steps, rows, hidden, output);
        self.gates = Scratch::new([steps, rows, 4, hidden]);
        self.c = Scratch::new([steps + 1, rows, hidden]);
        self.h = Scratch::new([steps + 1, rows, output]);
        self.unprojected = Scratch::new([usize::from(projects), steps, rows, hidden]);
        self.c.write(0, c.iter().copied());
        self.h.write(0, h.iter().copied());
        let recorded = Recorded {
            samples: rows * hidden,
            gates: self.gates.as_mut_ptr(),
            c: self.c.as_mut_ptr(),
            unprojected: self.unprojected.as_mut_ptr(),
        };
        (recorded, self.h.as_mut_ptr())
    }
}

impl<E: Element> Record<E> {
    /// What the kernel relies on besides the shapes of arrays: the record and all weights are of one cell.
    fn check(&self, projection: Option<&Packed<E>>, transposed: &Transposed<E>) {
        let Self { steps, rows, hidden, output, .. } = *self;
        let Transposed { inputs, recurrent, projection: back } = transposed;
        let samples = steps * rows;
        let unprojected = if projection.is_some() { samples * hidden } else { 0 };
        let cell = (recurrent.shape.inputs, recurrent.shape.units, unprojected);
        assert_eq!((4 * hidden, output, self.unprojected.len()), cell, "the record must be this cell's");
        inputs.assert_is(recurrent.isa, PackShape::product(4 * hidden, inputs.shape.units));
        recurrent.assert_is(recurrent.isa, PackShape::product(4 * hidden, output));
        match (projection, back) {
            (Some(projection), Some(back)) => {
                projection.assert_is(recurrent.isa, PackShape::product(hidden, output));
                back.assert_is(recurrent.isa, PackShape::product(output, hidden));
            }
            (None, None) => assert_eq!(output, hidden, "without a projection the output is h"),
            _ => panic!("a projection is packed both ways"),
        }
    }
}

/// Where a forward run writes its record.
#[derive(Clone, Copy)]
pub(super) struct Recorded<E> {
    /// Numbers of one step and gate.
    samples: usize,
    gates: *mut E,
    c: *mut E,
    unprojected: *mut E,
}

/// Where step t writes.
#[derive(Clone, Copy)]
pub(super) struct StepRecord<E> {
    pub gates: *mut E,
    pub c: *mut E,
    pub unprojected: *mut E,
}

impl<E: Element> Recorded<E> {
    /// # Safety
    /// Step `t` exists.
    #[inline(always)]
    pub(super) unsafe fn step(self, t: usize) -> StepRecord<E> {
        // SAFETY: the caller's promise; `start` made room for every step, in c for one more. Without a projection
        // `unprojected` has none, and is never followed: its place is computed without a claim to be inside.
        unsafe {
            StepRecord {
                gates: self.gates.add(t * 4 * self.samples),
                c: self.c.add((t + 1) * self.samples),
                unprojected: self.unprojected.wrapping_add(t * self.samples),
            }
        }
    }
}

/// Where the gradients of the parameters are added, as the cell visits them.
pub(crate) struct Gradients<'a, E> {
    pub kernel: ArrayViewMut2<'a, E>,
    pub bias: Option<ArrayViewMut1<'a, E>>,
    /// f, i, o.
    pub peepholes: Option<[ArrayViewMut1<'a, E>; 3]>,
    pub projection: Option<ArrayViewMut2<'a, E>>,
}

/// The weights as backward multiplies by them.
#[derive(Clone)]
pub(crate) struct Transposed<E> {
    /// (4 · hidden) → inputs.
    inputs: Packed<E>,
    /// (4 · hidden) → outputs.
    recurrent: Packed<E>,
    /// outputs → hidden.
    projection: Option<Packed<E>>,
}

impl<E: Element> Transposed<E> {
    /// Of a kernel (inputs + outputs, 4 · hidden) and a projection (hidden, outputs).
    pub(crate) fn new(kernel: &Array2<E>, inputs: usize, projection: Option<&Array2<E>>) -> Self {
        Self {
            inputs: Packed::transposed(&[kernel], 0, inputs),
            recurrent: Packed::transposed(&[kernel], inputs, kernel.nrows() - inputs),
            projection: projection.map(|kernel| Packed::transposed(&[kernel], 0, kernel.nrows())),
        }
    }

    /// Packs other weights of the same shapes.
    pub(crate) fn refill(&mut self, kernel: &Array2<E>, inputs: usize, projection: Option<&Array2<E>>) {
        self.inputs.refill_transposed(&[kernel], 0);
        self.recurrent.refill_transposed(&[kernel], inputs);
        if let (Some(packed), Some(kernel)) = (&mut self.projection, projection) {
            packed.refill_transposed(&[kernel], 0);
        }
    }
}

/// Runs a record back; `projection` is forward's, if there is one. `d_c` and `d_h` hold the gradients of the final state and
/// get those of the initial one; `d_inputs` is overwritten, `gradients` are added to. Shapes as in
/// [`TrainableCell::unroll_backward`](crate::train::TrainableCell::unroll_backward).
#[allow(clippy::too_many_arguments)]
pub(crate) fn backward<E: Element>(
    mut record: Record<E>,
    projection: Option<&Packed<E>>,
    transposed: &Transposed<E>,
    options: Options<E>,
    inputs: ArrayView3<E>,
    d_outputs: ArrayView3<E>,
    d_c: &mut Array2<E>,
    d_h: &mut Array2<E>,
    d_inputs: ArrayViewMut3<E>,
    gradients: Gradients<E>,
    workspace: &mut Workspace<E>,
) {
    let (steps, rows, hidden, output) = (record.steps, record.rows, record.hidden, record.output);
    assert_eq!(d_outputs.dim(), (steps, rows, output), "d_outputs must be (seq, batch, output)");
    assert_eq!((d_c.dim(), d_h.dim()), ((rows, hidden), (rows, output)), "d_state must be the state's shape");
    record.check(projection, transposed);
    options.assert_fit(hidden);
    let samples = steps * rows;
    make_standard(d_c);
    make_standard(d_h);
    let isa = transposed.recurrent.isa;
    let projects = projection.is_some();
    let mut d_projected = Scratch::new([usize::from(projects), samples, output]);
    let mut d_unprojected = Scratch::new([usize::from(projects), rows, hidden]);
    let mut raw = Scratch::new([usize::from(projects && options.proj_clip.is_some()), rows, output]);
    let (gates, h) = (record.gates.as_mut_ptr(), record.h.as_mut_ptr());
    let recorded = (steps, rows, transposed.inputs.shape.units);
    with_gradients(recorded, inputs, d_outputs, d_inputs, workspace, |sequence, product| {
        let (c, unprojected) = (record.c.as_mut_ptr(), record.unprojected.as_mut_ptr());
        let (d_c, d_h) = (d_c.as_mut_ptr(), d_h.as_mut_ptr());
        let (d_projected_at, d_unprojected) = (d_projected.as_mut_ptr(), d_unprojected.as_mut_ptr());
        let raw = raw.as_mut_ptr();
        let run = |team: Team<'_>| {
            let recurrence = Recurrence {
                sequence,
                projection,
                transposed,
                options,
                hidden,
                output,
                gates,
                c,
                unprojected,
                d_c,
                d_h,
                d_projected: d_projected_at,
                d_unprojected,
                raw,
                team,
            };
            E::run_lstm_backward(isa, recurrence);
        };
        // SAFETY: members read weights, options, c and what was projected, which nobody writes. Of everything else a pass
        // writes rows or units of its own blocks, and reads these or what earlier passes wrote.
        unsafe { with_team(sequence.work(&transposed.recurrent), run) };
        let h = Source { ptr: h, step_stride: (rows * output) as isize, row_stride: output as isize, features: output };
        let d = Columns { ptr: gates.cast_const(), stride: 4 * hidden, columns: 4 * hidden };
        let bias = gradients.bias.map(|bias| bias.into_slice().expect("gradients are contiguous"));
        // SAFETY: the record holds every sample of h and of the gates, all written by the run forward, and the gates are now
        // gradients; `with_gradients` asserted that the inputs have as many.
        unsafe { add_product(isa, (steps, rows), &[sequence.x, h], d, product, gradients.kernel, bias) };
        assert_eq!(gradients.projection.is_some(), projects, "a projection has a gradient");
        if let Some(kernel) = gradients.projection {
            let (step_stride, row_stride) = ((rows * hidden) as isize, hidden as isize);
            let m = Source { ptr: record.unprojected.as_mut_ptr(), step_stride, row_stride, features: hidden };
            let d = Columns { ptr: d_projected.as_mut_ptr(), stride: output, columns: output };
            // SAFETY: the record holds every sample of h before the projection (asserted in `check`: there is one where the
            // gradients have one), and the recurrence wrote all of D.
            unsafe { add_product(isa, (steps, rows), &[m], d, product, kernel, None) };
        }
    });
    if let Some(peepholes) = gradients.peepholes {
        // SAFETY: the run forward wrote the gates of every sample, the recurrence made them gradients; c holds what
        // `start` wrote, and the run forward behind it one for each sample.
        let (d, c) =
            unsafe { (record.gates.written(0..samples * 4 * hidden), record.c.written(0..(samples + rows) * hidden)) };
        // The forget and the input gate saw the c before the step, the output gate the one after.
        for (mut to, (gate, later)) in peepholes.into_iter().zip([(2, 0), (0, 0), (3, rows)]) {
            for (d, c) in d.chunks_exact(4 * hidden).zip(c[later * hidden..].chunks_exact(hidden)) {
                for ((to, &d), &c) in to.iter_mut().zip(&d[gate * hidden..]).zip(c) {
                    *to = E::plus(*to, E::times(d, c));
                }
            }
        }
    }
}

pub struct Recurrence<'a, E> {
    sequence: Gradual<E>,
    projection: Option<&'a Packed<E>>,
    transposed: &'a Transposed<E>,
    options: Options<'a, E>,
    hidden: usize,
    output: usize,
    gates: *mut E,
    c: *mut E,
    unprojected: *mut E,
    d_c: *mut E,
    d_h: *mut E,
    /// With a projection: the gradients of what it gave, clip undone, (samples, output); of what it got, (rows, hidden).
    d_projected: *mut E,
    d_unprojected: *mut E,
    /// With its clip: what it gave before, (rows, output).
    raw: *mut E,
    team: Team<'a>,
}

impl<E: Element> WithSimd for Recurrence<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Gradual { steps, rows, .. } = self.sequence;
        let mut team = self.team;
        let (hidden, output) = (self.hidden, self.output);
        for t in (0..steps).rev() {
            // SAFETY: `backward`, `Record::check` and `with_gradients` asserted the shapes and how the weights are laid out,
            // for the instruction set that runs this; `backward` made room. t is a step of the record, written by the run
            // forward. Without a projection h is as wide as c.
            unsafe {
                let d_out = self.sequence.d_outputs(t);
                let mut d_h = (self.d_h.cast_const(), output, Some(d_out));
                if let Some((projection, back)) = self.projection.zip(self.transposed.projection.as_ref()) {
                    let d_projected = self.d_projected.add(t * rows * output);
                    self.undo_clip(s, projection, t, d_out, d_projected, &mut team);
                    let from = Input::Rows(Rows { ptr: d_projected, stride: output as isize });
                    let out = Out::rows(self.d_unprojected, hidden);
                    let to = Linear { clip: None, add: false, units: hidden, out };
                    pass::<S, E, 4, false>(s, back, from, None, rows, &mut team, &to);
                    d_h = (self.d_unprojected.cast_const(), hidden, None);
                }
                let mut turn = team.turn(rows);
                while let Some(some) = turn.next() {
                    for row in some {
                        let d_out = d_h.2.map(|d_out| d_out.row(row));
                        self.gates_back(s, t, row, d_h.0.add(row * d_h.1), d_out);
                    }
                }
                let from = self.gates.add(t * rows * 4 * hidden);
                let from = Input::Rows(Rows { ptr: from, stride: 4 * hidden as isize });
                let to = Linear { clip: None, add: false, units: output, out: Out::rows(self.d_h, output) };
                let recurrent = &self.transposed.recurrent;
                pass::<S, E, 4, false>(s, recurrent, from, None, rows, &mut team, &to);
            }
        }
        // SAFETY: every step's gates now hold gradients; the weights are packed as a product of these.
        unsafe { self.sequence.input_gradients(s, &self.transposed.inputs, self.gates, 4 * hidden, &mut team) };
    }
}

impl<E: Element> Recurrence<'_, E> {
    /// The gradient of the projection's product: that of its clipped value, 0 where the clip cut.
    ///
    /// # Safety
    /// Step `t` exists, buffers hold its rows.
    #[inline(always)]
    unsafe fn undo_clip<S: Simd>(
        &self,
        s: S,
        projection: &Packed<E>,
        t: usize,
        d_out: Rows<E>,
        to: *mut E,
        team: &mut Team<'_>,
    ) {
        let (rows, output) = (self.sequence.rows, self.output);
        // SAFETY: the caller's promise.
        unsafe {
            if self.options.proj_clip.is_some() {
                let from = self.unprojected.add(t * rows * self.hidden);
                let from = Input::Rows(Rows { ptr: from, stride: self.hidden as isize });
                let raw = Linear { clip: None, add: false, units: output, out: Out::rows(self.raw, output) };
                pass::<S, E, 4, false>(s, projection, from, None, rows, team, &raw);
            }
            let mut turn = team.turn(rows);
            while let Some(some) = turn.next() {
                for row in some {
                    for vector in 0..output.div_ceil(E::lanes::<S>()) {
                        let units = Units::of::<S, E>(vector, output);
                        let d_h = units.load(s, self.d_h.add(row * output).cast_const());
                        let mut d = E::vadd(s, d_h, units.load(s, d_out.row(row)));
                        if let Some(clip) = self.options.proj_clip {
                            d = inside::<S, E>(s, units.load(s, self.raw.add(row * output).cast_const()), clip, d);
                        }
                        units.store(s, to.add(row * output), d);
                    }
                }
            }
        }
    }

    /// The gates of one step and row to the gradients of their sums, and `d_c` one step back.
    ///
    /// # Safety
    /// The step and the row exist; `d_h` and `d_out` are readable for `hidden` numbers.
    #[inline(always)]
    unsafe fn gates_back<S: Simd>(&self, s: S, t: usize, row: usize, d_h: *const E, d_out: Option<*const E>) {
        let Options { activation, gate_activation, peepholes, cell_clip, .. } = self.options;
        let (hidden, rows) = (self.hidden, self.sequence.rows);
        let sample = t * rows + row;
        // SAFETY: the caller's promise; the record holds the sample's gates and the c before and after it.
        unsafe {
            let gates = self.gates.add(sample * 4 * hidden);
            let (old, new) = (self.c.add(sample * hidden), self.c.add((sample + rows) * hidden));
            let d_c = self.d_c.add(row * hidden);
            for vector in 0..hidden.div_ceil(E::lanes::<S>()) {
                let units = Units::of::<S, E>(vector, hidden);
                let i = units.load(s, gates.cast_const());
                let j = units.load(s, gates.add(hidden).cast_const());
                let f = units.load(s, gates.add(2 * hidden).cast_const());
                let o = units.load(s, gates.add(3 * hidden).cast_const());
                let (old, new) = (units.load(s, old.cast_const()), units.load(s, new.cast_const()));
                let mut dh = units.load(s, d_h);
                if let Some(d_out) = d_out {
                    dh = E::vadd(s, dh, units.load(s, d_out));
                }
                let y = activate::<S, E>(s, activation, new);
                let d_o = E::vmul(s, E::vmul(s, dh, y), derivative::<S, E>(s, gate_activation, o));
                let slope = E::vmul(s, o, derivative::<S, E>(s, activation, y));
                let mut dc = E::fma(s, dh, slope, units.load(s, d_c.cast_const()));
                if let Some([_, _, w_o]) = peepholes {
                    dc = E::fma(s, d_o, units.load(s, w_o.as_ptr()), dc);
                }
                if let Some(clip) = cell_clip {
                    let unclipped = E::fma(s, i, j, E::vmul(s, f, old));
                    dc = inside::<S, E>(s, unclipped, clip, dc);
                }
                let d_f = E::vmul(s, E::vmul(s, dc, old), derivative::<S, E>(s, gate_activation, f));
                let d_i = E::vmul(s, E::vmul(s, dc, j), derivative::<S, E>(s, gate_activation, i));
                let d_j = E::vmul(s, E::vmul(s, dc, i), derivative::<S, E>(s, activation, j));
                let mut before = E::vmul(s, dc, f);
                if let Some([w_f, w_i, _]) = peepholes {
                    before = E::fma(s, d_f, units.load(s, w_f.as_ptr()), before);
                    before = E::fma(s, d_i, units.load(s, w_i.as_ptr()), before);
                }
                units.store(s, d_c, before);
                units.store(s, gates, d_i);
                units.store(s, gates.add(hidden), d_j);
                units.store(s, gates.add(2 * hidden), d_f);
                units.store(s, gates.add(3 * hidden), d_o);
            }
        }
    }
}

/// `gradient` where |value| ≤ clip, else 0.
#[inline(always)]
fn inside<S: Simd, E: Element>(s: S, value: E::Vector<S>, clip: E, gradient: E::Vector<S>) -> E::Vector<S> {
    let cut = E::less(s, E::splat(s, clip), E::vabs(s, value));
    E::select(s, cut, E::splat(s, E::number(0.0)), gradient)
}
