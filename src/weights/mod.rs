//! Weights in and out: run what other frameworks trained.
//!
//! One module for each source. Its page opens with the names, layout, gate order and bias convention there; its functions
//! take [`Tensors`], arrays by name, and end in an ordinary cell, a [`MultiRnnCell`](crate::MultiRnnCell) or a
//! [`Bidirectional`](crate::Bidirectional) pair. Importers need no feature; reading and writing files is the module
//! `safetensors` behind the feature of that name.
//!
//! | module | from | to |
//! |---|---|---|
//! | [`pytorch`] | state dicts of `nn.RNN`, `nn.LSTM`, `nn.GRU` | all layers and directions in one call, and back |
//! | [`keras`] | `SimpleRNN`, `LSTM`, `GRU` | a cell |
//! | [`tensorflow`] | TensorFlow 1's variables and checkpoints | a cell; a stack; both directions |
//! | [`onnx`] | `W`, `R`, `B`, `P` of `RNN`, `LSTM`, `GRU` | a cell; both directions |
//! | [`flax`] | `SimpleCell`, `LSTMCell`, `OptimizedLSTMCell`, `GRUCell` | a cell |
//!
//! An importer takes its tensors out of the map; after an error those it had taken are gone from it.

pub mod flax;
pub mod keras;
mod layout;
pub mod onnx;
pub mod pytorch;
#[cfg(feature = "safetensors")]
pub mod safetensors;
#[cfg(feature = "safetensors")]
mod stored;
pub mod tensorflow;
mod tensors;

pub use tensors::Tensors;
