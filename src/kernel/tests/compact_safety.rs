//! Like `memory_safety`, for products with compressed weights.

use super::memory_safety::{MATRIX, Nothing, SHAPE, product, refuses, rows};
use crate::kernel::compact::codes::{Encode, width};
use crate::kernel::compact::{Compact, Factors, Multiply, Plain, WeightFormat};
use crate::kernel::isa::Isa;
use crate::kernel::product::{Product, Workspace};
use crate::kernel::recurrence::{Driver, Io, MOST, Operand, Plan, Stage};
use crate::kernel::shape::PackShape;
use ndarray::{Array2, Array3};
use std::sync::Arc;

fn plain(format: WeightFormat, rows: usize, columns: usize) -> Plain {
    Plain::of(format, &MATRIX[..rows * columns], columns, 3).unwrap()
}

fn compressed() -> Product<f32> {
    let mut product = product();
    product.compress(Arc::new(Compact::pack(Isa::get(), SHAPE, &[plain(WeightFormat::Bf16, 5, 10)])));
    product
}

#[test]
fn rows_of_codes() {
    for (from, to, count) in [(3, 4, 4), (4, 3, 4), (4, 4, 5)] {
        let (mut from, mut to) = (Array2::zeros((from, 3)), Array2::zeros((to, width(3))));
        // SAFETY: both arrays are borrowed mutably, and nothing is computed.
        let new = || _ = unsafe { Encode::new(rows(&mut from), rows(&mut to), 0..count, 3) };
        refuses("every row has a place", new);
    }
}

#[test]
fn width_of_codes() {
    for (from, to) in [(2, width(3)), (4, width(3)), (3, width(3) - 1)] {
        let (mut from, mut to) = (Array2::zeros((4, from)), Array2::zeros((4, to)));
        // SAFETY: as above.
        let new = || _ = unsafe { Encode::new(rows(&mut from), rows(&mut to), 0..4, 3) };
        refuses("rows are as wide as their product", new);
    }
}

#[test]
fn compressed_weights_of_a_product() {
    for shape in [PackShape { inputs: 2, recurrent: 3, ..SHAPE }, PackShape { units: 10, gates: 1, ..SHAPE }] {
        let compact = Arc::new(Compact::pack(Isa::get(), shape, &[plain(WeightFormat::Bf16, 5, 10)]));
        refuses("weights fit their product", || product().compress(compact));
    }
}

#[test]
fn columns_of_matrices() {
    for columns in [[5, 4], [5, 6]] {
        let matrices =
            columns.map(|columns| Plain::of(WeightFormat::Bf16, &vec![0.5; 5 * columns], columns, 3).unwrap());
        let pack = || drop(Compact::pack(Isa::get(), SHAPE, &matrices));
        refuses("matrices have a column for each unit of each gate", pack);
    }
}

#[test]
fn rows_of_matrices() {
    let [bf16, int8] = [WeightFormat::Bf16, WeightFormat::Int8];
    for matrices in [[plain(bf16, 5, 5), plain(bf16, 4, 5)], [plain(bf16, 5, 5), plain(int8, 5, 5)]] {
        let pack = || drop(Compact::pack(Isa::get(), SHAPE, &matrices));
        refuses("matrices have a row for each input", pack);
    }
}

/// What a product of 4 rows multiplies, and where its sums go.
struct Places {
    inputs: Option<Array2<f32>>,
    hoisted: Option<Array2<f32>>,
    recurrent: Option<Array2<f32>>,
    to: Array2<f32>,
    stride: usize,
}

fn places() -> Places {
    let stride = compressed().forward().padded_units();
    let [inputs, recurrent] = [3, 2].map(|width| Some(Array2::zeros((4, width))));
    Places { inputs, hoisted: None, recurrent, to: Array2::zeros((4, 2 * stride)), stride }
}

impl Places {
    fn panels(mut self, more: usize) {
        let product = compressed();
        let [inputs, hoisted, recurrent] =
            [&mut self.inputs, &mut self.hoisted, &mut self.recurrent].map(|array| array.as_mut().map(rows));
        let factors = Factors { inputs, hoisted, recurrent };
        let multiply = Multiply::new(product.forward(), 4, &factors, (rows(&mut self.to), self.stride));
        _ = multiply.some(0..multiply.panels() + more);
    }
}

#[test]
fn operands_of_compressed_weights() {
    places().panels(0);
    for shape in [(3, 3), (4, 2), (0, 3)] {
        let inputs = Some(Array2::zeros(shape));
        refuses("a product has what it multiplies", || Places { inputs, ..places() }.panels(0));
    }
    for shape in [(3, 2), (4, 1), (0, 2)] {
        let recurrent = Some(Array2::zeros(shape));
        refuses("a product has what it multiplies", || Places { recurrent, ..places() }.panels(0));
    }
}

#[test]
fn halves_of_compressed_weights() {
    refuses("a product has what it multiplies", || Places { inputs: None, ..places() }.panels(0));
    refuses("a product has what it multiplies", || Places { recurrent: None, ..places() }.panels(0));
}

#[test]
fn hoisted_half_of_compressed_weights() {
    let sums = compressed().forward().panel_sums();
    Places { hoisted: Some(Array2::zeros((4, sums))), ..places() }.panels(0);
    for shape in [(3, sums), (4, sums - 1), (0, sums)] {
        let hoisted = Some(Array2::zeros(shape));
        refuses("a product has its input half", || Places { hoisted, ..places() }.panels(0));
    }
}

#[test]
fn slots_of_compressed_weights() {
    let stride = places().stride - 1;
    refuses("a slot has room for whole panels", || Places { stride, ..places() }.panels(0));
}

#[test]
fn sums_of_compressed_weights() {
    let width = 2 * places().stride;
    for shape in [(3, width), (4, width - 1), (0, width)] {
        refuses("a product has room for its sums", || Places { to: Array2::zeros(shape), ..places() }.panels(0));
    }
}

#[test]
fn sums_of_the_inputs_half() {
    let product = compressed();
    let sums = product.forward().panel_sums();
    for shape in [(3, sums), (4, sums - 1), (0, sums)] {
        let (mut inputs, mut to) = (Array2::zeros((4, 3)), Array2::zeros(shape));
        let run = || _ = Multiply::of_inputs(product.forward(), 4, rows(&mut inputs), rows(&mut to));
        refuses("a product has room for its sums", run);
    }
}

#[test]
fn panels_of_compressed_weights() {
    refuses("the panels are packed", || places().panels(1));
}

#[test]
fn record_of_compressed_weights() {
    let product = compressed();
    let stage = Stage { product: Some(&product), operand: Operand::State(0), units: 5, whole_rows: false };
    let [x, mut y] = [3, 5].map(|width| Array3::zeros((1, 4, width)));
    let mut h = Array2::zeros((4, 2));
    let plan = Plan::new().stage(stage);
    let run = || {
        let mut leaves = [const { None }; MOST];
        leaves[0] = Some(h.view_mut());
        let mut io = Io { inputs: x.view(), outputs: y.view_mut(), leaves };
        f32::unroll(&Nothing, &plan, &mut io, Some(&mut None), &mut Workspace::default());
    };
    refuses("a cell with compressed weights cannot be trained", run);
}
