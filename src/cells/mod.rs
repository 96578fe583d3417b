//! The built-in cells, and the weights and builders they are made of.

mod basic_rnn;
mod gru;
pub(crate) mod layer_norm_lstm;
mod lstm;
pub(crate) mod weights;

pub use basic_rnn::{BasicRnn, BasicRnnBuilder, BasicRnnWeights};
pub use gru::{Gru, GruBuilder, GruReset, GruWeights};
pub use layer_norm_lstm::{LayerNorm, LayerNormLstm, LayerNormLstmBuilder, LayerNormLstmWeights, LayerNorms};
pub use lstm::{Lstm, LstmBuilder, LstmWeights, Peepholes};
