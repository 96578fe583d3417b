//! Files of other frameworks, as those frameworks wrote them. The scripts are in `tools/`.

#[path = "../common/allocator.rs"]
mod allocator;
mod checkpoint;
mod door;
mod hostile;
mod jax;
mod keras;
mod normalization;
mod npz;
mod packed;
mod pytorch;

use ndarray::{Array3, Ix3};
use rnn_cell::weights::Tensors;
use rnn_cell::{Float, RnnCell, dynamic_rnn};
use std::path::PathBuf;

/// Where a fixture is.
fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/readers").join(name)
}

/// A fixture's bytes.
fn fixture(name: &str) -> Vec<u8> {
    let path = path(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A tensor of three axes.
fn take<E: Float>(tensors: &mut Tensors<'_, E>, name: &str) -> Array3<E> {
    tensors.take(name).unwrap().into_dimensionality::<Ix3>().unwrap()
}

/// The outputs of a cell.
fn run<E: Float, C: RnnCell<Elem = E>>(cell: &C, x: &Array3<E>) -> Array3<E> {
    dynamic_rnn(cell, x, None, None).unwrap().0
}

/// Compares outputs with the framework's own.
fn check_close(what: &str, found: &Array3<f32>, expected: &Array3<f32>) {
    assert_eq!(found.dim(), expected.dim(), "{what}");
    let error = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(error <= 2e-6, "{what}: outputs differ by {error:e}");
    assert!(expected.iter().any(|number| number.abs() > 1e-2), "{what}: outputs are near 0");
}
