//! A run of steps as the kernels see it: contiguous rows, one step behind the other.

use super::Element;
use super::buffer::Buffer;
use super::pack::Packed;
use super::pass::{Input, Linear, Out, Store, pass};
use super::product::{ProductWorkspace, Source};
use super::team::{Team, Work};
use super::tile::{MAX_ROWS, Rows};
use ndarray::{Array2, ArrayView3, ArrayViewMut2, ArrayViewMut3, Axis};
use pulp::Simd;

/// Buffers that steps reuse: empty at first, grown by the first step, opaque.
#[derive(Default)]
pub struct Workspace<E> {
    inputs: Buffer<E>,
    outputs: Buffer<E>,
    pub(super) hoisted: [Buffer<E>; 2],
    pub(super) rows: [Buffer<E>; 2],
    d_inputs: Buffer<E>,
    product: ProductWorkspace<E>,
}

impl<E> std::fmt::Debug for Workspace<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workspace").finish_non_exhaustive()
    }
}

/// Rows worth a thread of their own, a full tile. Fewer share the panels of a step instead.
pub(crate) const ROWS_A_THREAD: usize = MAX_ROWS;

/// Inputs and outputs of a run of steps, features contiguous.
#[derive(Clone, Copy)]
pub(super) struct Sequence<E> {
    pub steps: usize,
    pub rows: usize,
    pub x: *const E,
    pub x_step: isize,
    pub x_row: isize,
    out: *mut E,
    out_step: isize,
    out_row: isize,
    /// Numbers of an output row.
    width: usize,
    /// In training, h before the first step and after each, (steps + 1, rows, width).
    kept: Option<*mut E>,
}

impl<E: Element> Sequence<E> {
    /// Steps of products with `packed`; none to share where a driver has given each thread rows of its own, as it does from
    /// two threads' rows on, but not in training.
    pub(super) fn work(&self, packed: &Packed<E>) -> Work {
        let shared = self.kept.is_some() || self.rows < 2 * ROWS_A_THREAD;
        let passes = if shared { self.steps } else { 0 };
        Work { passes, rows: self.rows, panels: packed.panels(), products: packed.numbers() }
    }

    /// # Safety
    /// Step `t` exists.
    pub(super) unsafe fn inputs(&self, t: usize) -> Rows<E> {
        // SAFETY: the caller's promise.
        Rows { ptr: unsafe { self.x.offset(t as isize * self.x_step) }, stride: self.x_row }
    }
    /// # Safety
    /// Step `t` exists.
    pub(super) unsafe fn outputs(&self, t: usize) -> Out<E> {
        // SAFETY: the caller's promise.
        let ptr = unsafe { self.out.offset(t as isize * self.out_step) };
        // SAFETY: `kept` has a step more than the outputs.
        let kept = self.kept.map(|kept| unsafe { kept.add((t + 1) * self.rows * self.width) });
        Out::new(ptr, self.out_row, kept, self.width)
    }
    /// The rows that step `t` continues from: the last step's outputs, or `initial`.
    /// # Safety
    /// Step `t` exists.
    pub(super) unsafe fn before(&self, t: usize, initial: Rows<E>) -> Rows<E> {
        // SAFETY: the caller's promise; `kept` has a step more than the outputs.
        unsafe {
            match self.kept {
                Some(kept) => Rows { ptr: kept.add(t * self.rows * self.width), stride: self.width as isize },
                None if t == 0 => initial,
                None => Rows { ptr: self.outputs(t - 1).row(0), stride: self.out_row },
            }
        }
    }
}

/// Calls `run` with the sequence of `inputs` (seq, batch, features) and `outputs`, then copies the last step's outputs to
/// `h`. Arrays whose features are not contiguous go through the workspace's buffers. `h` is made standard. In training
/// every h goes to `kept` too, which has room for a step more than there are and holds the first.
///
/// # Panics
/// If the shapes disagree.
pub(super) fn with_sequence<E: Element>(
    inputs: ArrayView3<E>,
    mut outputs: ArrayViewMut3<E>,
    h: &mut Array2<E>,
    kept: Option<*mut E>,
    workspace: &mut Workspace<E>,
    run: impl FnOnce(Sequence<E>, Rows<E>, &mut Workspace<E>),
) {
    let (steps, rows, _) = inputs.dim();
    assert_eq!(outputs.dim(), (steps, rows, h.ncols()), "outputs must be (seq, batch, output)");
    assert_eq!(h.nrows(), rows, "the state's rows must be the inputs' batch");
    if steps == 0 || rows == 0 {
        return;
    }
    make_standard(h);
    let x = contiguous(inputs, &mut workspace.inputs);
    let mut sequence = Sequence {
        steps,
        rows,
        x: x.ptr,
        x_step: x.step_stride,
        x_row: x.row_stride,
        out: outputs.as_mut_ptr(),
        out_step: outputs.strides()[0],
        out_row: outputs.strides()[1],
        width: h.ncols(),
        kept,
    };
    let width = h.ncols();
    let buffered = width > 1 && outputs.strides()[2] != 1;
    if buffered {
        workspace.outputs.grow([steps, rows, width]);
        sequence.out = workspace.outputs.as_mut_ptr();
        (sequence.out_step, sequence.out_row) = ((rows * width) as isize, width as isize);
    }
    run(sequence, Rows { ptr: h.as_ptr(), stride: width as isize }, workspace);
    if buffered {
        for (to, from) in outputs.iter_mut().zip(workspace.outputs.as_slice()) {
            *to = *from;
        }
    }
    let last: ArrayViewMut2<E> = outputs.index_axis_move(Axis(0), steps - 1);
    h.assign(&last);
}

/// Gives `array` rows of contiguous numbers, one behind the other.
pub(crate) fn make_standard<E: Element>(array: &mut Array2<E>) {
    if !array.is_standard_layout() {
        *array = array.as_standard_layout().into_owned();
    }
}

/// Steps whose input products are computed at once: four full tiles of rows.
const HOISTED_STEPS: usize = 24;
/// With fewer rows than this a step's input half is hoisted out of the time loop.
const HOIST_BELOW: usize = 6;
/// With fewer inputs than this it is not: the product is less work than storing and loading it.
const HOIST_INPUTS: usize = 16;

/// Input products of some steps, computed in one go where a single step's rows are too few.
#[derive(Clone, Copy)]
pub(super) struct Hoist<E> {
    on: bool,
    buffer: *mut E,
    step: usize,
    row: usize,
}

impl<E: Element> Hoist<E> {
    pub(super) fn new(packed: &Packed<E>, sequence: &Sequence<E>, buffer: &mut Buffer<E>) -> Self {
        let on = sequence.steps > 1 && sequence.rows < HOIST_BELOW && packed.shape.inputs >= HOIST_INPUTS;
        let step = packed.panels() * packed.shape.vectors() * packed.lanes;
        let row = HOISTED_STEPS.min(sequence.steps) * step;
        if on {
            buffer.grow([sequence.rows, row]);
        }
        Self { on, buffer: buffer.as_mut_ptr(), step, row }
    }

    /// The input of step `t`. Steps are asked for in order from 0.
    ///
    /// # Safety
    /// As [`pass`]; `t` exists; the hoist was made for `packed` and `sequence`.
    #[inline(always)]
    pub(super) unsafe fn input<S: Simd, const V: usize>(
        &self,
        s: S,
        packed: &Packed<E>,
        sequence: &Sequence<E>,
        t: usize,
        team: &mut Team<'_>,
    ) -> Input<E> {
        // SAFETY: the caller's promise; the buffer was grown for HOISTED_STEPS steps of every row, or all if they are fewer.
        unsafe {
            if !self.on {
                return Input::Rows(sequence.inputs(t));
            }
            if t.is_multiple_of(HOISTED_STEPS) {
                let steps = HOISTED_STEPS.min(sequence.steps - t);
                for row in 0..sequence.rows {
                    let x = Rows { ptr: sequence.inputs(t).row(row), stride: sequence.x_step };
                    let store = Store { to: self.buffer.add(row * self.row), row_stride: self.step, vectors: V };
                    pass::<S, E, V, false>(s, packed, Input::Rows(x), None, steps, team, &store);
                }
            }
            let at = self.buffer.add(t % HOISTED_STEPS * self.step);
            Input::Hoisted(Rows { ptr: at, stride: self.row as isize })
        }
    }
}

/// Inputs and gradients of a run of steps, features contiguous.
#[derive(Clone, Copy)]
pub(super) struct Gradual<E> {
    pub steps: usize,
    pub rows: usize,
    pub x: Source<E>,
    d_outputs: Source<E>,
    /// Of `d_inputs`, as a source; written through `d_inputs`.
    d_inputs_shape: Source<E>,
    d_inputs: *mut E,
}

impl<E: Element> Gradual<E> {
    /// Steps back: gradients of gates, then their product with `recurrent`.
    pub(super) fn work(&self, recurrent: &Packed<E>) -> Work {
        Work { passes: 2 * self.steps, rows: self.rows, panels: recurrent.panels(), products: recurrent.numbers() }
    }

    /// # Safety
    /// Step `t` exists.
    #[inline(always)]
    pub(super) unsafe fn d_outputs(&self, t: usize) -> Rows<E> {
        let Source { ptr, step_stride, row_stride, .. } = self.d_outputs;
        // SAFETY: the caller's promise.
        Rows { ptr: unsafe { ptr.offset(t as isize * step_stride) }, stride: row_stride }
    }

    /// Writes d_inputs = `d` · `weights`, `d` having `width` numbers a sample.
    ///
    /// # Safety
    /// `d` holds every sample, from the column on that `weights` start with; `weights` are packed for `S`, as a product of
    /// no more than `width` inputs. Every member of the team is here.
    #[inline(always)]
    pub(super) unsafe fn input_gradients<S: Simd>(
        &self,
        s: S,
        weights: &Packed<E>,
        d: *const E,
        width: usize,
        team: &mut Team<'_>,
    ) {
        // Rows of a product are the longer axis: steps of one row, or rows of one step.
        let products = self.steps.min(self.rows);
        // SAFETY: the caller's promise. Where members take whole products, these write different rows.
        unsafe {
            if products < SHARED_PRODUCTS {
                for product in 0..products {
                    self.input_gradient::<S>(s, weights, d, width, product, team);
                }
                return;
            }
            let mut turn = team.turn(products);
            while let Some(products) = turn.next() {
                for product in products {
                    self.input_gradient::<S>(s, weights, d, width, product, &mut Team::alone());
                }
            }
        }
    }

    /// One of the products of [`input_gradients`](Self::input_gradients).
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    unsafe fn input_gradient<S: Simd>(
        &self,
        s: S,
        weights: &Packed<E>,
        d: *const E,
        width: usize,
        product: usize,
        team: &mut Team<'_>,
    ) {
        let Self { steps, rows, .. } = *self;
        let Source { step_stride, row_stride, features, .. } = self.d_inputs_shape;
        let (height, first, stride, out, out_row) = if steps > rows {
            (steps, product, rows, row_stride, step_stride)
        } else {
            (rows, product * rows, 1, step_stride, row_stride)
        };
        // SAFETY: the caller's promise; `with_gradients` asserted that `d_inputs` has every step and row, or made its
        // buffer so. A product is `height` rows of both: all steps of one row, or all rows of one step.
        unsafe {
            let from = Input::Rows(Rows { ptr: d.add(first * width), stride: (stride * width) as isize });
            let out = self.d_inputs.offset(product as isize * out);
            let to = Linear { clip: None, add: false, units: features, out: Out::new(out, out_row, None, features) };
            pass::<S, E, 4, false>(s, weights, from, None, height, team, &to);
        }
    }
}

/// From so many products on each is one thread's, below a product's panels are shared.
const SHARED_PRODUCTS: usize = 8;

/// Calls `run` with contiguous features; arrays that lack them go through the workspace's buffers. `recorded` is the
/// (seq, batch, input) of the run forward; if it had no step or no row, nothing is called.
///
/// # Panics
/// If the shapes of `inputs` and `d_inputs` are others, or `d_outputs` has other steps or rows.
pub(super) fn with_gradients<E: Element>(
    recorded: (usize, usize, usize),
    inputs: ArrayView3<E>,
    d_outputs: ArrayView3<E>,
    mut d_inputs: ArrayViewMut3<E>,
    workspace: &mut Workspace<E>,
    run: impl FnOnce(Gradual<E>, &mut ProductWorkspace<E>),
) {
    let (steps, rows, features) = recorded;
    assert_eq!(inputs.dim(), recorded, "inputs must be those of the record, (seq, batch, input)");
    assert_eq!(d_inputs.dim(), recorded, "d_inputs must be (seq, batch, input)");
    assert_eq!((d_outputs.dim().0, d_outputs.dim().1), (steps, rows), "d_outputs must be (seq, batch, output)");
    if steps == 0 || rows == 0 {
        return;
    }
    let x = contiguous(inputs, &mut workspace.inputs);
    let d_outputs = contiguous(d_outputs, &mut workspace.outputs);
    let buffered = features > 1 && d_inputs.strides()[2] != 1;
    let (d_inputs_shape, ptr) = if buffered {
        workspace.d_inputs.grow([steps, rows, features]);
        let ptr = workspace.d_inputs.as_mut_ptr();
        let (step_stride, row_stride) = ((rows * features) as isize, features as isize);
        (Source { ptr: ptr.cast_const(), step_stride, row_stride, features }, ptr)
    } else {
        let ptr = d_inputs.as_mut_ptr();
        let (step_stride, row_stride) = (d_inputs.strides()[0], d_inputs.strides()[1]);
        (Source { ptr: ptr.cast_const(), step_stride, row_stride, features }, ptr)
    };
    run(Gradual { steps, rows, x, d_outputs, d_inputs_shape, d_inputs: ptr }, &mut workspace.product);
    if buffered {
        for (to, from) in d_inputs.iter_mut().zip(workspace.d_inputs.as_slice()) {
            *to = *from;
        }
    }
}

/// The array itself if its features are contiguous, else a copy in `buffer`.
fn contiguous<E: Element>(array: ArrayView3<E>, buffer: &mut Buffer<E>) -> Source<E> {
    let (_, rows, features) = array.dim();
    if features <= 1 || array.strides()[2] == 1 {
        let (step_stride, row_stride) = (array.strides()[0], array.strides()[1]);
        return Source { ptr: array.as_ptr(), step_stride, row_stride, features };
    }
    buffer.grow([array.len()]);
    for (to, from) in buffer.as_mut_slice().iter_mut().zip(array.iter()) {
        *to = *from;
    }
    let (step_stride, row_stride) = ((rows * features) as isize, features as isize);
    Source { ptr: buffer.as_ptr(), step_stride, row_stride, features }
}
