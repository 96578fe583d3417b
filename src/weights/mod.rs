//! Weights in and out: import models that other frameworks trained, and export to all of them.
//!
//! Each source has a module. Its page starts with that framework's names, layout, gate order and bias convention. Its
//! functions take [`Tensors`], arrays by name, and a prefix. They return a cell or several, an
//! [`Embedding`](crate::Embedding), a [`Dense`](crate::Dense), a [`MultiRnnCell`](crate::MultiRnnCell) or a
//! [`Bidirectional`](crate::Bidirectional) pair. Importers need no feature. Readers of files are behind features:
//!
//! | feature | reads | with |
//! |---|---|---|
//! | `safetensors` | `.safetensors`, and writes them | `safetensors::read_tensors`, `load`, `save` |
//! | `onnx` | `.onnx`, and writes them | `onnx::Model`, `onnx::Export` |
//! | `pytorch` | `.pt`, `.pth` | `pytorch::read_tensors`, `read_state_dict` |
//! | `hdf5` | `.h5`, `.keras`, `.weights.h5`, `.weights.json` | `keras::read_model`, `keras::Shards` |
//! | `tensorflow` | checkpoints: `.index` and `.data-…` | `tensorflow::Checkpoint` |
//! | `npz` | `.npz` | `npz::read_tensors` |
//!
//! [`open`] tells a file's format from its bytes, [`File::layers`] lists the recurrent layers in it, and
//! `examples/inspect` prints them with the line of Rust that loads each. Files are not trusted: a truncated, damaged or
//! hostile one is an error, and takes no more memory than a small multiple of its length.
//!
//! | module | from | to |
//! |---|---|---|
//! | [`pytorch`] | state dicts of `nn.RNN`, `nn.LSTM`, `nn.GRU`, `nn.Embedding`, `nn.Linear`, `nn.BatchNorm1d` | all layers and directions in one call |
//! | [`keras`] | `SimpleRNN`, `LSTM`, `GRU`, `Embedding`, `Dense`, `BatchNormalization` | a cell |
//! | [`tensorflow`] | TensorFlow 1's variables and checkpoints, `tf.layers.dense` and `batch_normalization` | a cell; a stack; both directions; a stack of both |
//! | [`onnx`] | `RNN`, `LSTM`, `GRU`, `DynamicQuantizeLSTM` | a cell; both directions |
//! | [`flax`] | `SimpleCell`, `LSTMCell`, `OptimizedLSTMCell`, `GRUCell`, `Dense`, `BatchNorm` | a cell |
//! | [`haiku`] | `VanillaRNN`, `LSTM`, `GRU` | a cell |
//!
//! Each module's `export…` functions go the other way: they return [`Tensors`] of the framework's own names, which its
//! importers read back bit for bit, for [`safetensors::save_tensors`]. [`Tensors::append`] makes one file of several.
//!
//! What the weights show is not asked for: sizes, biases, projections, peepholes, a GRU's form if its bias tells it. What
//! they do not show is an option. A [`Stack`] in place of a prefix says how many layers there must be. A layer of
//! [`BatchNorm`] is folded into the next one.
//!
//! An importer removes the tensors it takes. After an error, those it has taken are gone.

#[cfg(feature = "_archive")]
mod archive;
mod batch_norm;
mod file;
pub mod flax;
mod format;
pub mod haiku;
pub mod keras;
mod layer;
mod layout;
#[cfg(feature = "npz")]
pub mod npz;
pub mod onnx;
mod open;
pub mod pytorch;
mod recognize;
#[cfg(any(feature = "onnx", feature = "safetensors"))]
mod replace;
#[cfg(feature = "safetensors")]
pub mod safetensors;
mod single;
mod stack;
#[cfg(feature = "_stored")]
mod stored;
pub mod tensorflow;
mod tensors;
#[cfg(any(feature = "onnx", feature = "tensorflow"))]
mod wire;

pub use batch_norm::{BatchNorm, Normalizable};
pub use format::Format;
pub use layer::Layer;
pub use open::{File, open};
pub use recognize::{layers, only_layer};
pub use stack::Stack;
pub use tensors::Tensors;
