//! Parts of a model, shared or not, saved and loaded as one.

use crate::common::{gru, lstm, randomized, rng};
use rnn_cell::train::{Gradients, Parts};
use rnn_cell::weights::safetensors;
use rnn_cell::{Bidirectional, Dense, Gru, Lstm, MultiRnnCell, Parameters, RnnCell};
use std::sync::Arc;

fn names<P: Parameters<f32>>(parameters: &P) -> Vec<String> {
    let mut names = Vec::new();
    parameters.visit_parameters(&mut |name, _| names.push(name.to_owned()));
    names
}

struct Model {
    cell: Lstm<f32>,
    dense: Dense<f32>,
}

impl Model {
    fn new(seed: u64) -> Self {
        let rng = &mut rng(seed);
        Self { cell: lstm(4, 5, rng), dense: randomized(Dense::new(3, 2, rng), rng) }
    }

    fn saved(&self) -> Vec<u8> {
        safetensors::to_bytes(&Parts::shared([("cell", &self.cell), ("dense", &self.dense)])).unwrap()
    }

    fn load(&mut self, bytes: &[u8]) {
        let mut parts = Parts::new([("cell", &mut self.cell), ("dense", &mut self.dense)]);
        safetensors::from_bytes(&mut parts, bytes).unwrap();
    }
}

#[test]
fn a_model_is_saved_through_a_shared_reference() {
    let (model, mut other) = (Model::new(1), Model::new(2));
    let bytes = model.saved();
    assert_ne!(other.saved(), bytes);
    other.load(&bytes);
    assert_eq!(other.saved(), bytes);
    assert_eq!(safetensors::to_bytes(&Parts::new([("cell", &mut other.cell), ("dense", &mut other.dense)])), Ok(bytes));
}

#[test]
fn parts_and_gradients_come_from_lists() {
    let mut layers: Vec<Gru<f32>> = (1..4).map(|seed| gru(3, 3, &mut rng(seed))).collect();
    let named = |layer: usize| format!("layer_{layer}");
    let expected: Vec<String> = (0..3)
        .flat_map(|layer| names(&layers[layer]).into_iter().map(move |name| format!("layer_{layer}/{name}")))
        .collect();
    let shared: Parts<&Gru<f32>> = layers.iter().enumerate().map(|(layer, cell)| (named(layer), cell)).collect();
    assert_eq!(names(&shared), expected);
    let bytes = safetensors::to_bytes(&shared).unwrap();

    let gradients = layers.iter().enumerate().map(|(layer, cell)| (named(layer), Gradients::zeros(cell)));
    let gradients = Gradients::join(gradients.collect::<Vec<_>>());
    assert!(gradients.iter().map(|(name, _)| name).eq(&expected));
    assert_eq!(Gradients::<f32>::join(Vec::<(&str, _)>::new()).iter().count(), 0);

    let kept = layers.clone();
    layers = (4..7).map(|seed| gru(3, 3, &mut rng(seed))).collect();
    let list: Vec<(String, &mut Gru<f32>)> =
        layers.iter_mut().enumerate().map(|(at, cell)| (named(at), cell)).collect();
    safetensors::from_bytes(&mut list.into_iter().collect::<Parts<_>>(), &bytes).unwrap();
    assert!(layers.iter().zip(&kept).all(|(cell, kept)| cell.weights() == kept.weights()));
}

#[test]
fn shared_cells_are_saved_where_they_are() {
    let (below, above) = (lstm::<f32>(4, 5, &mut rng(1)), gru::<f32>(3, 3, &mut rng(2)));
    let owned = MultiRnnCell::new((below.clone(), above.clone())).unwrap();
    let bytes = safetensors::to_bytes(&owned).unwrap();
    let shared = Arc::new(below.clone());
    let stack = MultiRnnCell::new((Arc::clone(&shared), &above)).unwrap();
    assert_eq!(safetensors::to_bytes(&stack).as_ref(), Ok(&bytes));
    assert_eq!((stack.parameter_count(), stack.output_size()), (owned.parameter_count(), 3));
    assert_eq!(safetensors::to_bytes(&(&below, &above)).as_ref(), Ok(&bytes));
    assert_eq!(names(&Bidirectional { fw: &above, bw: Arc::new(above.clone()) }).len(), 8);
}
