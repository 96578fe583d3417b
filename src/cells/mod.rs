//! The built-in cells, and the weights and builders they are made of.

mod basic_rnn;
mod gru;
mod lstm;
mod weights;

pub use basic_rnn::{BasicRnn, BasicRnnBuilder, BasicRnnWeights};
pub use gru::{Gru, GruBuilder, GruReset, GruWeights};
pub use lstm::{Lstm, LstmBuilder, LstmWeights, Peepholes};
