//! Weights in and out: import models that other frameworks trained, and export to PyTorch.
//!
//! Each source has a module. Its page starts with that framework's names, layout, gate order and bias convention. Its
//! functions take [`Tensors`], arrays by name, and return an ordinary cell, a [`MultiRnnCell`](crate::MultiRnnCell) or
//! a [`Bidirectional`](crate::Bidirectional) pair. Importers need no feature. Readers of files are behind features:
//!
//! | feature | reads | with |
//! |---|---|---|
//! | `safetensors` | `.safetensors`, and writes them | `safetensors::read_tensors`, `load`, `save` |
//! | `pytorch` | `.pt`, `.pth` | `pytorch::read_tensors`, `read_state_dict` |
//! | `hdf5` | `.h5`, `.keras`, `.weights.h5` | `keras::read_model` |
//! | `tensorflow` | checkpoints: `.index` and `.data-…` | `tensorflow::Checkpoint` |
//! | `npz` | `.npz` | `npz::read_tensors` |
//!
//! Files are not trusted: a truncated, damaged or hostile one is an error, and takes no more memory than a small multiple
//! of its length.
//!
//! | module | from | to |
//! |---|---|---|
//! | [`pytorch`] | state dicts of `nn.RNN`, `nn.LSTM`, `nn.GRU`, `nn.Embedding` | all layers and directions in one call, and back |
//! | [`keras`] | `SimpleRNN`, `LSTM`, `GRU`, `Embedding` | a cell |
//! | [`tensorflow`] | TensorFlow 1's variables and checkpoints | a cell; a stack; both directions |
//! | [`onnx`] | `W`, `R`, `B`, `P` of `RNN`, `LSTM`, `GRU` | a cell; both directions |
//! | [`flax`] | `SimpleCell`, `LSTMCell`, `OptimizedLSTMCell`, `GRUCell` | a cell |
//! | [`haiku`] | `VanillaRNN`, `LSTM`, `GRU` | a cell |
//!
//! An importer removes the tensors it takes. After an error, those it has taken are gone.

#[cfg(feature = "_archive")]
mod archive;
#[cfg(any(feature = "safetensors", feature = "tensorflow"))]
#[cfg_attr(not(feature = "safetensors"), allow(dead_code))]
mod file;
pub mod flax;
pub mod haiku;
pub mod keras;
mod layout;
#[cfg(feature = "npz")]
pub mod npz;
pub mod onnx;
pub mod pytorch;
#[cfg(feature = "safetensors")]
pub mod safetensors;
#[cfg(feature = "_stored")]
mod stored;
pub mod tensorflow;
mod tensors;

pub use tensors::Tensors;

use crate::{Embedding, Error, Float};

/// Takes a tensor of this name, (vocabulary, features).
fn embedding<E: Float>(tensors: &mut Tensors<'_, E>, name: &str) -> Result<Embedding<E>, Error> {
    let [vocabulary, features] = tensors.axes(name, "(vocabulary, features)")?;
    Embedding::from_weights(tensors.take_matrix(name, (vocabulary, features))?)
}
