//! TensorFlow 1's `tf.contrib.seq2seq`: attention, decoders and beam search.

mod align;
mod mechanism;
mod memory;
mod options;
mod score;
mod state;
mod wrapper;

pub(crate) use align::Aligned;
pub use align::{MonotonicMode, Probability};
pub(crate) use mechanism::BUFFERS;
pub use mechanism::{AttentionMechanism, AttentionMechanismWeights};
pub use memory::AttentionMemory;
pub(crate) use memory::MemoryRow;
pub use options::{
    Bahdanau, BahdanauAttention, BahdanauMonotonicAttention, Luong, LuongAttention, LuongMonotonicAttention,
    MechanismBuilder, Monotonic, Plain,
};
pub(crate) use score::{HeadBuffers, ScoreGradients};
pub use state::{AttentionState, tile_batch};
pub(crate) use state::{Head, HeadRow};
pub(crate) use wrapper::prefix;
pub use wrapper::{AttentionWrapper, AttentionWrapperBuilder, AttentionWrapperWorkspace};
