//! What surrounds a cell in training, against the numbers of PyTorch, optax and Flax.

mod dense;
mod losses;
mod optimizers;

use ndarray::{Array, Dimension, IntoDimension};
use rnn_cell::Float;
use serde_json::Value;

/// The numbers of a list of lists, of any depth.
fn numbers(value: &Value) -> Vec<f64> {
    match value.as_array() {
        Some(list) => list.iter().flat_map(numbers).collect(),
        None => vec![value.as_f64().unwrap()],
    }
}

fn array<E: Float, D: IntoDimension>(value: &Value, shape: D) -> Array<E, D::Dim> {
    Array::from(numbers(value)).mapv(E::of).into_shape_with_order(shape).unwrap()
}

#[track_caller]
fn assert_near<E: Float, D: Dimension>(what: &str, found: &Array<E, D>, expected: &Value, tolerance: f64) {
    let expected = numbers(expected);
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        let (found, scale) = (found.as_f64(), expected.abs().max(1.0));
        // Written so that NaN fails.
        assert!((found - expected).abs() <= tolerance * scale, "{what}: {found}, not {expected}");
    }
}
