//! Weights in and out: import models that other frameworks trained, and export to PyTorch and ONNX.
//!
//! Each source has a module. Its page starts with that framework's names, layout, gate order and bias convention. Its
//! functions take [`Tensors`], arrays by name, and return an ordinary cell, a [`MultiRnnCell`](crate::MultiRnnCell) or
//! a [`Bidirectional`](crate::Bidirectional) pair. Importers need no feature. To read and write files, enable the
//! feature `safetensors` for the module of that name. The feature `onnx` reads and writes ONNX models.
//!
//! [`open`] tells a file's format from its bytes, [`File::layers`] lists the recurrent layers in it, and
//! `examples/inspect` prints them with the line of Rust that loads each.
//!
//! | module | from | to |
//! |---|---|---|
//! | [`pytorch`] | state dicts of `nn.RNN`, `nn.LSTM`, `nn.GRU`, `nn.Embedding` | all layers and directions in one call, and back |
//! | [`keras`] | `SimpleRNN`, `LSTM`, `GRU`, `Embedding` | a cell |
//! | [`tensorflow`] | TensorFlow 1's variables and checkpoints | a cell; a stack; both directions |
//! | [`onnx`] | `RNN`, `LSTM`, `GRU`, `DynamicQuantizeLSTM` | a cell; both directions; and models back |
//! | [`flax`] | `SimpleCell`, `LSTMCell`, `OptimizedLSTMCell`, `GRUCell` | a cell |
//!
//! An importer removes the tensors it takes. After an error, those it has taken are gone.

mod file;
pub mod flax;
pub mod keras;
mod layer;
mod layout;
pub mod onnx;
mod open;
pub mod pytorch;
mod recognize;
#[cfg(feature = "_stored")]
mod replace;
#[cfg(feature = "safetensors")]
pub mod safetensors;
#[cfg(feature = "_stored")]
mod stored;
pub mod tensorflow;
mod tensors;

pub use layer::Layer;
pub use open::{File, Format, open};
pub use recognize::{layers, only_layer};
pub use tensors::Tensors;

use crate::{Embedding, Error, Float};

/// Takes a tensor of this name, (vocabulary, features).
fn embedding<E: Float>(tensors: &mut Tensors<'_, E>, name: &str) -> Result<Embedding<E>, Error> {
    let [vocabulary, features] = tensors.axes(name, "(vocabulary, features)")?;
    Embedding::from_weights(tensors.take_matrix(name, (vocabulary, features))?)
}
