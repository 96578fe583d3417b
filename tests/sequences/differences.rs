//! Central differences over everything that a run is given.

use ndarray::{Array, Dimension};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::train::Gradients;
use rnn_cell::{ParametersMut, State};

pub type Rng = Xoshiro256PlusPlus;

pub fn rng(seed: u64) -> Rng {
    Rng::seed_from_u64(seed)
}

/// Numbers from −1 to 1.
pub fn random<D: Dimension>(shape: impl ndarray::ShapeBuilder<Dim = D>, rng: &mut Rng) -> Array<f64, D> {
    Array::from_shape_simple_fn(shape, || rng.random_range(-1.0..1.0))
}

/// The state with random numbers.
pub fn random_state<S: State<f64>>(mut state: S, rng: &mut Rng) -> S {
    state.visit_mut(&mut |mut leaf| leaf.mapv_inplace(|_| rng.random_range(-1.0..1.0)));
    state
}

pub fn numbers<S: State<f64>>(state: &S) -> Vec<f64> {
    let mut numbers = Vec::new();
    state.visit(&mut |leaf| numbers.extend(leaf.iter().copied()));
    numbers
}

/// The sum of the products of two lists.
pub fn dot<'a>(a: impl IntoIterator<Item = &'a f64>, b: impl IntoIterator<Item = &'a f64>) -> f64 {
    a.into_iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Compares a gradient with differences of `loss`, which moves number `at` by `by`.
pub fn assert_differences<'a>(
    what: &str,
    gradient: impl IntoIterator<Item = &'a f64>,
    mut loss: impl FnMut(usize, f64) -> f64,
) {
    for (at, &found) in gradient.into_iter().enumerate() {
        let expected = (loss(at, 1e-5) - loss(at, -1e-5)) / 2e-5;
        assert!((found - expected).abs() < 1e-8 * expected.abs().max(1.0), "{what} {at}: {found}, but {expected}");
    }
}

/// An array with one number moved.
pub fn moved<D: Dimension>(array: &Array<f64, D>, at: usize, by: f64) -> Array<f64, D> {
    let mut array = array.clone();
    *array.iter_mut().nth(at).unwrap() += by;
    array
}

/// A state with one number moved.
pub fn moved_state<S: State<f64>>(state: &S, at: usize, by: f64) -> S {
    let (mut state, mut index) = (state.clone(), 0);
    state.visit_mut(&mut |mut leaf| {
        for number in &mut leaf {
            *number += if index == at { by } else { 0.0 };
            index += 1;
        }
    });
    state
}

/// A model with one weight moved.
pub fn moved_weight<P: ParametersMut<f64> + Clone>(model: &P, at: usize, by: f64) -> P {
    let (mut model, mut index) = (model.clone(), 0);
    model.visit_parameters_mut(&mut |_, mut array| {
        for number in &mut array {
            *number += if index == at { by } else { 0.0 };
            index += 1;
        }
    });
    model
}

/// All numbers of gradients that must have the names and order of a model's parameters.
pub fn of_model<P: ParametersMut<f64>>(model: &P, gradients: &Gradients<f64>) -> Vec<f64> {
    let mut names = Vec::new();
    model.visit_parameters(&mut |name, array| names.push((name.to_owned(), array.shape().to_owned())));
    let found: Vec<_> = gradients.iter().map(|(name, array)| (name.to_owned(), array.shape().to_owned())).collect();
    assert_eq!(found, names);
    gradients.arrays().iter().flatten().copied().collect()
}
