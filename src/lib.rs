// Targets of the README's links on this page: the guide, and pictures as data URIs, since a page of documentation has
// no files beside it. Left out when the README's code is tested, so that a failure names the README.
#![cfg_attr(not(doctest), doc = include_str!("../docs/pictures.md"))]
#![cfg_attr(not(doctest), doc = "[guide]: crate::guide")]
#![cfg_attr(not(doctest), doc = "[seq2seq]: crate::guide::seq2seq")]
#![doc = include_str!("../README.md")]
#![deny(missing_docs)]
#![warn(unnameable_types)]
#![deny(unsafe_code)]
#![deny(unsafe_op_in_unsafe_fn)]
#![deny(clippy::undocumented_unsafe_blocks)]

mod back;
mod cell;
pub mod cells;
mod checks;
mod compression;
pub mod data;
mod dense;
mod drivers;
mod dropout;
mod embedding;
mod error;
mod float;
pub mod fused;
pub mod guide;
pub mod init;
// What the public `Float` needs of the kernels is sealed.
#[allow(unsafe_code, unnameable_types)]
mod kernel;
mod logits;
mod one_hot;
mod parameters;
mod seed;
pub mod seq2seq;
mod state;
pub mod train;
pub mod weights;
pub mod wrappers;

pub use cell::RnnCell;
pub use cells::basic_rnn::BasicRnn;
pub use cells::gru::{Gru, GruReset};
pub use cells::layer_norm_lstm::LayerNormLstm;
pub use cells::lstm::Lstm;
pub use cells::ugrnn::Ugrnn;
pub use compression::Compression;
pub use dense::Dense;
pub use drivers::{
    Bidirectional, BidirectionalRnn, DynamicRnn, DynamicRnnWorkspace, RawRnn, RawStep, StackBidirectionalRnn, Stream,
    bidirectional_dynamic_rnn, concat_outputs, dynamic_rnn, raw_rnn, stack_bidirectional_dynamic_rnn,
    static_bidirectional_rnn, static_rnn,
};
pub use dropout::DropoutState;
pub use embedding::Embedding;
pub use error::Error;
pub use float::Float;
pub use kernel::{Activation, WeightFormat, instruction_set};
pub use logits::{TopK, argmax, softmax, top_k};
pub use ndarray;
pub use one_hot::one_hot;
pub use parameters::{Arrays, Field, Parameters, ParametersMut, joined};
pub use state::{LstmState, State};
pub use wrappers::boxed::BoxedCell;
pub use wrappers::compressed::Compressed;
pub use wrappers::dropout::DropoutWrapper;
pub use wrappers::dyn_state::DynState;
pub use wrappers::highway::HighwayWrapper;
pub use wrappers::multi::MultiRnnCell;
pub use wrappers::residual::ResidualWrapper;
