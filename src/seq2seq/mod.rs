//! TensorFlow 1's `tf.contrib.seq2seq`: attention, decoders and beam search.

mod align;
mod basic;
mod beam;
mod beam_step;
mod choice;
mod compressed;
mod decode;
mod embedding_helper;
mod head;
mod heads;
mod helper;
mod inference_helper;
mod mechanism;
mod memory;
mod options;
mod scheduled_helper;
mod score;
mod state;
mod transducer;
mod transducer_builder;
mod tree;
mod wrapper;
mod wrapper_builder;

pub(crate) use align::Aligned;
pub use align::{MonotonicMode, Probability};
pub use basic::{BasicDecoder, BasicDecoderOutput};
pub(crate) use basic::{Start, by_batch};
pub use beam::{BeamSearchDecoder, BeamSearchDecoderOutput};
pub use decode::{Decoder, DynamicDecode, dynamic_decode};
pub use embedding_helper::{GreedyEmbeddingHelper, SampleEmbeddingHelper};
pub(crate) use head::{Head, HeadRow, MemorySums};
pub(crate) use heads::{prefix, visit_heads, visit_heads_mut};
pub use helper::{Helper, HelperStep, HelperStepBack, TrainableHelper, TrainingHelper};
pub use inference_helper::InferenceHelper;
pub(crate) use mechanism::BUFFERS;
pub use mechanism::{AttentionMechanism, AttentionMechanismWeights};
pub use memory::AttentionMemory;
pub(crate) use memory::MemoryRow;
pub use options::{
    AlignOptions, Bahdanau, BahdanauAttention, BahdanauMonotonicAttention, Luong, LuongAttention,
    LuongMonotonicAttention, MechanismBuilder, Monotonic, Plain, ScoreOptions,
};
pub use scheduled_helper::{ScheduledEmbeddingTrainingHelper, ScheduledOutputTrainingHelper};
pub(crate) use score::{HeadBuffers, ScoreGradients};
pub use state::{AttentionState, tile_batch};
pub use transducer::{Emission, Joiner, TransducerStream};
pub use transducer_builder::TransducerBuilder;
pub use tree::gather_tree;
pub use wrapper::{AttentionWrapper, AttentionWrapperWorkspace};
pub use wrapper_builder::AttentionWrapperBuilder;
