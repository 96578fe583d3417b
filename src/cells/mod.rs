//! Builders and weights of the built-in cells. The cells themselves are at the crate root.

pub(crate) mod basic_rnn;
mod blend;
pub(crate) mod gru;
pub(crate) mod layer_norm;
pub(crate) mod layer_norm_lstm;
pub(crate) mod lstm;
pub(crate) mod ugrnn;

pub use basic_rnn::{BasicRnnBuilder, BasicRnnWeights};
pub use gru::{GruBuilder, GruWeights};
pub use layer_norm::{LayerNorm, LayerNorms};
pub use layer_norm_lstm::{LayerNormLstmBuilder, LayerNormLstmWeights};
pub use lstm::{LstmBuilder, LstmWeights, Peepholes};
pub use ugrnn::{UgrnnBuilder, UgrnnWeights};
