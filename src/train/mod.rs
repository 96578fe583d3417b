//! Training: backpropagation through time for any cell that knows its own step backward.
//!
//! [`dynamic_rnn`] runs a [`TrainableCell`] forward and records; the [`Tape`] it returns runs the recording back. Around it
//! stand a layer ([`Dense`]), losses with their gradients ([`sequence_loss`], [`mean_squared_error`]),
//! [`clip_by_global_norm`], and optimizers ([`Sgd`], [`Adam`]). [`Parts`] shows them together.

mod basic_rnn;
mod bidirectional;
mod boxed;
mod cell;
mod check;
mod clip;
mod dense;
mod dropout;
mod dynamic;
mod gradients;
mod gru;
mod highway;
mod layer_norm_lstm;
mod loss;
mod lstm;
mod multi;
mod optimizer;
mod parts;
mod residual;
mod runs;

pub use bidirectional::{
    BidirectionalGradients, BidirectionalTape, bidirectional_dynamic_rnn, bidirectional_dynamic_rnn_checkpointed,
};
pub use boxed::BoxedTrainableCell;
pub use cell::TrainableCell;
pub use check::gradient_error;
pub use clip::clip_by_global_norm;
pub use dense::Dense;
pub use dynamic::{RunGradients, Tape, dynamic_rnn, dynamic_rnn_checkpointed};
pub use gradients::Gradients;
pub use loss::{Average, mean_squared_error, sequence_loss, sequence_losses, sequence_weights};
pub use optimizer::{Adam, AdamOptions, Optimizer, Sgd};
pub use parts::Parts;
