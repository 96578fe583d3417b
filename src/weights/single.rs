//! Layers of one matrix, which several frameworks name alike.

use super::tensors::Tensors;
use crate::{Dense, Embedding, Error, Float};
use ndarray::Array1;

/// Takes a tensor of this name, (vocabulary, features).
pub(super) fn embedding<E: Float>(tensors: &mut Tensors<'_, E>, name: &str) -> Result<Embedding<E>, Error> {
    let [vocabulary, features] = tensors.axes(name, "(vocabulary, features)")?;
    Embedding::from_weights(tensors.take_matrix(name, (vocabulary, features))?)
}

/// Takes `<prefix>kernel` (input, output), and `<prefix>bias` (output) if there is one.
pub(super) fn dense<E: Float>(tensors: &mut Tensors<'_, E>, prefix: &str) -> Result<Dense<E>, Error> {
    let [kernel, bias] = ["kernel", "bias"].map(|name| format!("{prefix}{name}"));
    let [input, output] = tensors.axes(&kernel, "(input, output)")?;
    let bias = dense_bias(tensors, &bias, output)?;
    Dense::from_weights(tensors.take_matrix(&kernel, (input, output))?, bias)
}

/// Takes the bias of a dense layer, (output), if there is one.
pub(super) fn dense_bias<E: Float>(
    tensors: &mut Tensors<'_, E>,
    name: &str,
    output: usize,
) -> Result<Option<Array1<E>>, Error> {
    tensors.contains(name).then(|| tensors.take_vector(name, output)).transpose()
}

/// `<prefix>kernel`, and `<prefix>bias` if there is one, as [`dense`] takes them.
pub(super) fn export_dense<E: Float>(dense: &Dense<E>, prefix: &str) -> Tensors<'static, E> {
    let mut tensors = Tensors::new();
    tensors.insert(format!("{prefix}kernel"), dense.kernel().clone());
    if let Some(bias) = dense.bias() {
        tensors.insert(format!("{prefix}bias"), bias.clone());
    }
    tensors
}

/// The table, under this name.
pub(super) fn export_embedding<E: Float>(embedding: &Embedding<E>, name: &str) -> Tensors<'static, E> {
    let mut tensors = Tensors::new();
    tensors.insert(name, embedding.embeddings().clone());
    tensors
}
