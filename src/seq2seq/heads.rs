//! The parameters of mechanisms and attention layers, of a cell or a gradient.

use super::mechanism::AttentionMechanism;
use crate::compression::Compression;
use crate::fused::Linear;
use crate::{Error, Float, Parameters, ParametersMut, joined};
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

/// Compresses each mechanism's layers and its attention layer, if any.
pub(super) fn compress_heads<E: Float>(
    mechanisms: &mut [AttentionMechanism<E>],
    layers: &mut [Linear<E>],
    compression: &mut Compression<'_, E>,
) -> Result<(), Error> {
    let count = mechanisms.len();
    for (at, mechanism) in mechanisms.iter_mut().enumerate() {
        let prefix = prefix(at, count);
        mechanism.compress(&prefix, compression)?;
        if let Some(layer) = layers.get_mut(at) {
            layer.compress(&joined(&prefix, "attention_layer"), compression)?;
        }
    }
    Ok(())
}
