//! Training: backpropagation through time for any cell that knows its own step backward.
//!
//! [`dynamic_rnn`] runs a [`TrainableCell`] forward and records; the [`Tape`] it returns runs the recording back.

mod basic_rnn;
mod cell;
mod check;
mod dynamic;
mod gradients;
mod gru;
mod lstm;
mod runs;

pub use basic_rnn::BasicRnnRecord;
pub use cell::TrainableCell;
pub use check::gradient_error;
pub use dynamic::{RunGradients, Tape, dynamic_rnn, dynamic_rnn_checkpointed};
pub use gradients::{Gradients, parameter_count};
pub use gru::GruRecord;
pub use lstm::LstmRecord;
