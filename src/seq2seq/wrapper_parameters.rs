//! The parameters of an [`AttentionWrapper`]: the cell's, then each mechanism's and its layer's.

use super::wrapper::AttentionWrapper;
use crate::{Float, Parameters, ParametersMut, RnnCell, joined};
use ndarray::{ArrayViewD, ArrayViewMutD};

/// The prefix of a mechanism's parameters.
pub(crate) fn prefix(mechanism: usize, mechanisms: usize) -> String {
    if mechanisms == 1 { String::new() } else { format!("attention_{mechanism}") }
}

/// Visits each mechanism's parameters, then those of its layer, if any.
pub(crate) fn visit_heads<'a, E: Float>(
    mechanisms: &'a [impl Parameters<E>],
    layers: &'a [impl Parameters<E>],
    visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>),
) {
    for (at, mechanism) in mechanisms.iter().enumerate() {
        let prefix = prefix(at, mechanisms.len());
        mechanism.visit_parameters(&mut |name, array| visit(&joined(&prefix, name), array));
        if let Some(layer) = layers.get(at) {
            let prefix = joined(&prefix, "attention_layer");
            layer.visit_parameters(&mut |name, array| visit(&joined(&prefix, name), array));
        }
    }
}

/// The same, mutably.
pub(crate) fn visit_heads_mut<E: Float>(
    mechanisms: &mut [impl ParametersMut<E>],
    layers: &mut [impl ParametersMut<E>],
    visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>),
) {
    let count = mechanisms.len();
    for (at, mechanism) in mechanisms.iter_mut().enumerate() {
        let prefix = prefix(at, count);
        mechanism.visit_parameters_mut(&mut |name, array| visit(&joined(&prefix, name), array));
        if let Some(layer) = layers.get_mut(at) {
            let prefix = joined(&prefix, "attention_layer");
            layer.visit_parameters_mut(&mut |name, array| visit(&joined(&prefix, name), array));
        }
    }
}

impl<E: Float, C: RnnCell<Elem = E> + Parameters<E>> Parameters<E> for AttentionWrapper<C> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        self.cell.visit_parameters(visit);
        visit_heads(&self.mechanisms, &self.layers, visit);
    }
}

impl<E: Float, C: RnnCell<Elem = E> + ParametersMut<E>> ParametersMut<E> for AttentionWrapper<C> {
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        self.cell.visit_parameters_mut(visit);
        visit_heads_mut(&mut self.mechanisms, &mut self.layers, visit);
    }
}
