//! Training: backpropagation through time for any cell with a backward step.
//!
//! [`dynamic_rnn`] runs a [`TrainableCell`] forward and records it. The [`Tape`] it returns runs the recording
//! backward. [`DynamicRnn::record`](crate::DynamicRnn::record) does the same with more options. The rest of a model: a layer ([`Dense`](crate::Dense)), losses with their gradients ([`sequence_loss`],
//! [`mean_squared_error`], [`sigmoid_cross_entropy`]), [`clip_by_global_norm`], and optimizers ([`Sgd`], [`Adam`],
//! [`AdamW`], [`RmsProp`]). [`Parts`] shows them together.
//!
//! A sample is one step of one row. Sums over many samples are computed in blocks, and the blocks are summed in `f64`.
//! Over ten million samples in `f32`, losses and norms are accurate to 1e-6, and gradients to 1e-5 of the largest
//! number in their array. If your own [`TrainableCell`] overrides `unroll_backward`, its sums are up to you.

mod attention;
mod bidirectional;
mod boxed;
mod cell;
mod check;
mod checkpoints;
mod clip;
mod decode;
mod dropout;
mod dynamic;
mod gradients;
mod highway;
mod learned_state;
mod long_sum;
mod loss;
mod mean_loss;
mod multi;
mod optimizer;
mod parts;
mod raw;
mod residual;
mod runs;
mod stack_bidirectional;
mod steps;
mod windows;

pub use crate::back::Back;
pub use attention::{AttentionGradient, AttentionRecord};
pub use bidirectional::{BidirectionalGradients, BidirectionalTape, bidirectional_dynamic_rnn};
pub use boxed::{BoxedTrainableCell, DynGradient, DynRecord};
pub use cell::{RunBack, StepBack, TrainableCell};
pub use check::gradient_error;
pub use checkpoints::Checkpointed;
pub use clip::clip_by_global_norm;
pub use decode::{DecoderGradients, DecoderTape};
pub use dropout::DropoutRecord;
pub use dynamic::{RunGradients, Tape, dynamic_rnn};
pub use gradients::Gradients;
pub use highway::{HighwayGradient, HighwayRecord};
pub use learned_state::LearnedState;
pub use loss::{Average, SequenceLoss, SequenceLossBuilder, sequence_loss, sequence_losses, sequence_weights};
pub use mean_loss::{
    mean_squared_error, sigmoid_cross_entropy, weighted_mean_squared_error, weighted_sigmoid_cross_entropy,
};
pub use multi::{MultiRecord, TrainableLayers};
pub use optimizer::{Adam, AdamBuilder, AdamW, Optimizer, RmsProp, RmsPropBuilder, Schedule, Sgd, SgdBuilder};
pub use parts::Parts;
pub use raw::{RawStepBack, RawTape};
pub use residual::ResidualRecord;
pub(crate) use runs::steps_as_runs;
pub use stack_bidirectional::StackBidirectionalTape;
