//! Drivers: they run any cell over a sequence.

mod bidirectional;
mod dynamic;
pub(crate) mod order;
#[cfg(feature = "rayon")]
mod parallel;
mod raw;
pub(crate) mod run;
pub(crate) mod schedule;
mod stack_bidirectional;
mod static_;
mod stream;
pub(crate) mod walk;

pub use bidirectional::{
    Bidirectional, bidirectional_dynamic_rnn, bidirectional_dynamic_rnn_time_major, concat_outputs,
};
pub use dynamic::{DynamicRnn, DynamicRnnWorkspace, dynamic_rnn, dynamic_rnn_time_major};
pub use raw::{RawStep, raw_rnn};
pub use stack_bidirectional::stack_bidirectional_dynamic_rnn;
pub use static_::{static_bidirectional_rnn, static_rnn};
pub use stream::Stream;
