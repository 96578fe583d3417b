//! [`AttentionGradient`]: the gradients of an attention cell's parameters.

use crate::fused::LinearWeights;
use crate::seq2seq::{AttentionMechanismWeights, prefix, visit_heads, visit_heads_mut};
use crate::{Arrays, Float, Parameters, ParametersMut, joined};
use ndarray::{ArrayD, ArrayViewD, ArrayViewMutD};

/// The gradients of an [`AttentionWrapper`](crate::seq2seq::AttentionWrapper)'s parameters: the cell's, then each
/// mechanism's and its layer's.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionGradient<G, E> {
    /// The gradients of the cell's parameters.
    pub cell: G,
    /// The gradients of each mechanism's parameters.
    pub mechanisms: Vec<AttentionMechanismWeights<E>>,
    /// The gradients of each attention layer; empty without layers.
    pub layers: Vec<LinearWeights<E>>,
}

impl<E: Float, G: Parameters<E>> Parameters<E> for AttentionGradient<G, E> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        self.cell.visit_parameters(visit);
        visit_heads(&self.mechanisms, &self.layers, visit);
    }
    fn take_parameters(self, take: &mut dyn FnMut(&str, ArrayD<E>)) {
        self.cell.take_parameters(take);
        let (count, mut layers) = (self.mechanisms.len(), self.layers.into_iter());
        for (at, mechanism) in self.mechanisms.into_iter().enumerate() {
            let prefix = prefix(at, count);
            mechanism.take(&prefix, take);
            if let Some(layer) = layers.next() {
                layer.take(&joined(&prefix, "attention_layer"), take);
            }
        }
    }
}

impl<E: Float, G: ParametersMut<E>> ParametersMut<E> for AttentionGradient<G, E> {
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        self.cell.visit_parameters_mut(visit);
        visit_heads_mut(&mut self.mechanisms, &mut self.layers, visit);
    }
}
