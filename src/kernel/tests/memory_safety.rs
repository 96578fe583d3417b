//! The assertions that only a mistake in the kernels can trip, each tripped. `tests/memory_safety.txt` lists them beside
//! those that safe code can trip.

use crate::kernel::buffer::{Buffer, uninit};
use crate::kernel::isa::Isa;
use crate::kernel::memory::{room, total};
use crate::kernel::multiply::{Add, Input, Multiply, To};
use crate::kernel::pack::{Fill, Gate, PackShape, Packed};
use crate::kernel::product::{Product, Workspace, add_weight_gradients, multiply_grid};
use crate::kernel::recurrence::{Driver, Equation, ForwardRows, Io, MOST, Operand, Plan, Stage};
use crate::kernel::registry::Kernels;
use crate::kernel::rows::{Frozen, Grid, Rows};
use crate::kernel::team::Team;
use crate::kernel::weight_gradients::{GradientWorkspace, Sums};
use ndarray::{Array2, Array3, s};
use std::panic::{AssertUnwindSafe, catch_unwind};

#[track_caller]
pub(super) fn refuses<T>(expected: &str, run: impl FnOnce() -> T) {
    let Err(payload) = catch_unwind(AssertUnwindSafe(run)) else { panic!("no panic, but {expected:?} was expected") };
    let found = payload.downcast_ref::<String>().map(String::as_str);
    let found = found.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or_default();
    assert!(found.contains(expected), "{found:?}, but {expected:?} was expected");
}

// ── Views ──

#[test]
fn memory_of_a_grid() {
    for numbers in [5, 7, 0] {
        refuses("a grid is as large as its memory", || Grid::of(&mut vec![0.0_f32; numbers], (1, 2, 3)).dim());
    }
    // As many as there are if their count wraps around.
    let dim = (2, usize::MAX / 2 + 1, 1);
    refuses("larger than memory can be", || Grid::of(&mut [0.0_f32; 0], dim).dim());
}

#[test]
fn rows_of_a_grid() {
    refuses("rows do not overlap", || Grid::spaced(&mut [0.0_f32; 4], (1, 2, 3), 2).dim());
}

#[test]
fn columns_of_a_grid() {
    for (from, to) in [(2, 5), (3, 2), (4, 5)] {
        refuses(&format!("columns {from} to {to} of 4"), || {
            Grid::of(&mut [0.0_f32; 8], (1, 2, 4)).columns(from, to).dim()
        });
    }
}

#[test]
fn steps_of_a_grid() {
    refuses("3 steps of 2", || Grid::of(&mut [0.0_f32; 8], (2, 1, 4)).first(3).dim());
}

#[test]
fn strides_of_an_array() {
    let array = Array3::<f32>::zeros((2, 3, 4));
    for array in [array.slice(s![.., .., ..;2]), array.slice(s![.., .., ..;-1]), array.view().reversed_axes()] {
        refuses("the numbers of a row are neighbours", || Frozen::of_array(array).dim());
    }
}

#[test]
fn row_of_an_array() {
    let array = Array3::<f32>::zeros((2, 3, 4));
    for (step, row) in [(2, 0), (0, 3), (3, 1)] {
        refuses(&format!("({step}, {row}) of (2, 3)"), || Frozen::of_array(array.view()).row(step, row).len());
    }
}

#[test]
fn memory_of_a_buffer() {
    for shape in [[usize::MAX / 4, 4, 2], [2, usize::MAX / 2 + 1, 1]] {
        refuses("larger than memory can be", || Buffer::<f32>::default().grow(shape));
        refuses("larger than memory can be", || uninit::<f32, _>(shape));
        refuses("larger than memory can be", || room(shape));
    }
    refuses("larger than memory can be", || room([usize::MAX]));
    assert_eq!((total([1, 2]), total([usize::MAX, 2])), (3, usize::MAX));
}

// ── Weights ──

/// 3 inputs, 2 recurrent values, 5 units.
pub(super) const SHAPE: PackShape = PackShape { inputs: 3, recurrent: 2, units: 5, gates: 2, split: false };

/// The weights of `SHAPE`.
pub(super) const MATRIX: [f32; 50] = [0.5; 50];

fn gates<'a>() -> [Gate<'a, f32>; 2] {
    [0, 5].map(|column| Gate { matrix: &MATRIX, width: 10, column, bias: None, offset: 0.0 })
}

pub(super) fn product() -> Product<f32> {
    Product::new(Isa::get(), SHAPE, &gates(), None)
}

#[test]
fn gates_of_a_tile() {
    for (gates, split) in [(0, false), (5, false), (4, true)] {
        let shape = PackShape { gates, split, ..SHAPE };
        refuses("a tile has sums for 4 gates", || Packed::<f32>::empty(Isa::get(), shape));
    }
}

#[test]
fn instruction_set_of_weights() {
    let [scalar, widest] = [Isa::Scalar, Isa::available()[0]];
    if scalar.name() != widest.name() {
        let fill = || {
            let packed = &mut Packed::empty(widest, SHAPE);
            f32::fill(scalar, Fill { packed, gates: &gates(), split_bias: None });
        };
        refuses("weights are packed by the instruction set they are for", fill);
    }
}

#[test]
fn transposed_weights() {
    let product = product();
    let shape = PackShape { inputs: 10, recurrent: 0, units: 3, gates: 1, split: false };
    for shape in [PackShape { units: 2, ..shape }, PackShape { gates: 2, ..shape }, PackShape { recurrent: 1, ..shape }]
    {
        let mut to = Packed::empty(Isa::get(), shape);
        let fill = || to.fill_transposed(product.forward(), 0..3, 0..2);
        refuses("weights are transposed for one instruction set", fill);
    }
}

#[test]
fn number_of_gates() {
    for count in [0, 1] {
        let run = || Product::new(Isa::get(), SHAPE, &gates()[..count], None);
        refuses("there are as many gates as are packed", run);
    }
}

#[test]
fn weights_of_a_gate() {
    let gate = gates()[0];
    for gate in [
        Gate { matrix: &MATRIX[..44], ..gate },
        Gate { column: 6, matrix: &MATRIX[..50], ..gate },
        Gate { width: 4, ..gate },
    ] {
        refuses("a gate has its weights", || Product::new(Isa::get(), SHAPE, &[gate, gate], None));
    }
}

#[test]
fn bias_of_a_gate() {
    for units in [4, 6] {
        let gate = Gate { bias: Some(&MATRIX[..units]), ..gates()[0] };
        refuses("a bias has one number per unit", || Product::new(Isa::get(), SHAPE, &[gate, gate], None));
    }
}

#[test]
fn bias_of_a_split_gate() {
    for (split, units) in [(false, 5), (true, 4), (true, 6)] {
        let (shape, bias) = (PackShape { split, ..SHAPE }, Some(&MATRIX[..units]));
        refuses("a bias has one number per unit", || Product::new(Isa::get(), shape, &gates(), bias));
    }
}

// ── Products ──

/// Rows of a product of `SHAPE` and 4 rows.
struct Places {
    input: Array2<f32>,
    recurrent: Array2<f32>,
    /// 2 slots of 5 units each.
    to: Array2<f32>,
    stride: usize,
}

fn places() -> Places {
    let [input, recurrent, to] = [3, 2, 10].map(|width| Array2::zeros((4, width)));
    Places { input, recurrent, to, stride: 5 }
}

pub(super) fn rows(array: &mut Array2<f32>) -> Rows<'_, f32> {
    let (rows, width) = array.dim();
    Grid::of(array.as_slice_mut().unwrap(), (1, rows, width)).step(0)
}

impl Places {
    fn panels(mut self, more: usize) {
        let product = product();
        let input = Input::Rows(rows(&mut self.input));
        let to = To::Slots(rows(&mut self.to), self.stride, Add::No);
        let multiply = Multiply::new(product.forward(), 4, input, Some(rows(&mut self.recurrent)), to);
        f32::multiply(multiply.some(0..multiply.panels() + more));
    }
}

#[test]
fn inputs_of_a_product() {
    places().panels(0);
    for shape in [(3, 3), (4, 2), (0, 3)] {
        refuses("a product has its inputs", || Places { input: Array2::zeros(shape), ..places() }.panels(0));
    }
}

#[test]
fn recurrent_values_of_a_product() {
    for shape in [(3, 2), (4, 1), (0, 2)] {
        let recurrent = Array2::zeros(shape);
        refuses("a product has its recurrent values", || Places { recurrent, ..places() }.panels(0));
    }
}

#[test]
fn sums_of_a_product() {
    for shape in [(3, 10), (4, 9), (0, 10)] {
        refuses("a product has room for its sums", || Places { to: Array2::zeros(shape), ..places() }.panels(0));
    }
}

#[test]
fn slots_of_a_product() {
    refuses("a slot has room for its units", || Places { stride: 4, ..places() }.panels(0));
}

#[test]
fn panels_of_a_product() {
    refuses("the panels are packed", || places().panels(1));
}

#[test]
fn samples_of_a_product() {
    let product = product();
    let numbers = || vec![0.0_f32; 60];
    for to in [(2, 2, 3), (3, 1, 3)] {
        let (mut from, mut sums) = (numbers(), numbers());
        let (from, to) = (Grid::of(&mut from, (3, 2, 10)), Grid::of(&mut sums[..to.0 * to.1 * 3], to));
        let multiply = || multiply_grid(product.back_to_inputs(), from, (to, Add::No), &mut Team::alone());
        refuses("a product has a place for every sample", multiply);
    }
}

// ── Stages ──

/// An equation that leaves everything as it is.
pub(super) struct Nothing;

impl Equation<f32> for Nothing {
    fn forward_rows(&self, _: &ForwardRows<'_, f32>) {}
}

#[test]
fn units_of_a_stage() {
    let product = product();
    for units in [4, 6, 0] {
        let stage = Stage { product: Some(&product), operand: Operand::State(0), units, whole_rows: false };
        let [x, mut y] = [3, 5].map(|width| Array3::zeros((1, 4, width)));
        let mut h = Array2::zeros((4, 2));
        let plan = Plan::new().stage(stage);
        let run = || {
            let mut leaves = [const { None }; MOST];
            leaves[0] = Some(h.view_mut());
            let mut io = Io { inputs: x.view(), outputs: y.view_mut(), leaves };
            f32::unroll(&Nothing, &plan, &mut io, None, &mut Workspace::default());
        };
        refuses("a stage is as wide as its product", run);
    }
}

// ── Gradients of weights ──

#[test]
fn samples_of_a_gradient() {
    let d = Array3::<f32>::zeros((3, 2, 5));
    for samples in [(2, 2, 4), (3, 1, 4), (2, 3, 4)] {
        let (source, mut kernel) = (Array3::zeros(samples), Array2::zeros((4, 5)));
        let sources = [Frozen::of_array(source.view())];
        let sums = Sums { sources: &sources, d: Frozen::of_array(d.view()), kernel: kernel.view_mut(), bias: None };
        let run = || add_weight_gradients(Isa::get(), sums, &mut GradientWorkspace::default());
        refuses("samples differ", run);
    }
}
