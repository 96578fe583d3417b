//! Drivers: they run any cell over a sequence.

mod bidirectional;
mod dynamic;
mod layers;
pub(crate) mod loop_rows;
pub(crate) mod order;
#[cfg(feature = "rayon")]
mod parallel;
mod places;
mod raw;
pub(crate) mod rows;
pub(crate) mod run;
pub(crate) mod schedule;
pub(crate) mod stack_bidirectional;
pub(crate) mod static_;
mod stream;
pub(crate) mod walk;

pub use bidirectional::{Bidirectional, BidirectionalRnn, bidirectional_dynamic_rnn, concat_outputs};
pub use dynamic::{DynamicRnn, DynamicRnnWorkspace, dynamic_rnn};
pub use raw::{RawRnn, RawStep, raw_rnn};
pub use stack_bidirectional::{StackBidirectionalRnn, stack_bidirectional_dynamic_rnn};
pub use static_::{static_bidirectional_rnn, static_rnn};
pub use stream::Stream;
