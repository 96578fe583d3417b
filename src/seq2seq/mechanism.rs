//! [`AttentionMechanism`]: scores a memory by a query.

use super::align::Align;
use super::memory::AttentionMemory;
use crate::compression::Compression;
use crate::fused::{Linear, LinearWeights};
use crate::{Error, Float, joined, parameters};
use ndarray::{Array0, Array1, ArrayRef3};

parameters! {
    /// The parameters of an [`AttentionMechanism`], or their gradients. See there for the shapes.
    pub struct AttentionMechanismWeights {
        /// (depth, units), no bias.
        "memory_layer" memory_layer: LinearWeights<E>,
        /// (query, units), no bias; Bahdanau.
        "query_layer" query_layer: Option<LinearWeights<E>>,
        /// (units); Bahdanau.
        "attention_v" attention_v: Option<Array1<E>>,
        /// (); Luong with `scale`, Bahdanau with `normalize`.
        "attention_g" attention_g: Option<Array0<E>>,
        /// (units); Bahdanau with `normalize`.
        "attention_b" attention_b: Option<Array1<E>>,
        /// (); monotonic.
        "attention_score_bias" attention_score_bias: Option<Array0<E>>,
    }
}

parameters! {
    /// Scores the steps of a memory by a query, and turns the scores into alignments, which weigh the memory:
    /// TensorFlow 1's `AttentionMechanism`.
    ///
    /// Build one with [`LuongAttention`], [`BahdanauAttention`], [`LuongMonotonicAttention`] or
    /// [`BahdanauMonotonicAttention`], and wrap a cell with it: [`AttentionWrapper`]. Unlike TensorFlow's, it holds
    /// weights only. A batch's memory is in the state of the wrapper.
    ///
    /// ```text
    /// key = memory · memory_layer
    /// score = query · key                                  Luong; times g with scale
    /// score = Σ v ⊙ tanh(key + query · query_layer)        Bahdanau
    /// score = Σ g v / |v| ⊙ tanh(key + query · query_layer + b)   … with normalize
    /// score + attention_score_bias                         monotonic
    /// alignments = softmax(score),  context = Σ alignments · memory
    /// ```
    ///
    /// | parameter | shape | initial value |
    /// |---|---|---|
    /// | `memory_layer/kernel` | (depth, units) | [`glorot_uniform`](crate::init::glorot_uniform) |
    /// | `query_layer/kernel` | (query, units), Bahdanau | `glorot_uniform` |
    /// | `attention_v` | (units), Bahdanau | `glorot_uniform` |
    /// | `attention_g` | (), Luong with `scale` or Bahdanau with `normalize` | 1, or √(1 / units) |
    /// | `attention_b` | (units), Bahdanau with `normalize` | 0 |
    /// | `attention_score_bias` | (), monotonic | `score_bias_init` |
    ///
    /// Steps past a row's memory length get alignment 0, whatever the memory holds there. (TensorFlow multiplies the
    /// memory by a mask, so that a NaN in its padding reaches the row.) `score_mask_value`, `custom_key_value_fn` and
    /// `sigmoid_noise` are left out.
    ///
    /// [`LuongAttention`]: super::LuongAttention
    /// [`BahdanauAttention`]: super::BahdanauAttention
    /// [`LuongMonotonicAttention`]: super::LuongMonotonicAttention
    /// [`BahdanauMonotonicAttention`]: super::BahdanauMonotonicAttention
    /// [`AttentionWrapper`]: super::AttentionWrapper
    #[derive(Clone)]
    cell pub struct AttentionMechanism {
        "memory_layer" memory_layer: Linear<E>,
        "query_layer" query_layer: Option<Linear<E>>,
        "attention_v" attention_v: Option<Array1<E>>,
        "attention_g" attention_g: Option<Array0<E>>,
        "attention_b" attention_b: Option<Array1<E>>,
        "attention_score_bias" attention_score_bias: Option<Array0<E>>,
        ; align: Align,
    }
}

/// What a score is made of.
#[derive(Debug, Clone, Copy)]
#[allow(unnameable_types)]
pub enum Score {
    Luong { scale: bool },
    Bahdanau { normalize: bool },
}

impl<E: Float> AttentionMechanism<E> {
    /// `weights` are checked.
    pub(super) fn new(weights: AttentionMechanismWeights<E>, align: Align) -> Result<Self, Error> {
        let layer = |weights: LinearWeights<E>| {
            let (inputs, units) = weights.kernel.dim();
            Linear::<E>::builder(units).input_size(inputs).use_bias(false).build_from(weights)
        };
        Ok(Self {
            memory_layer: layer(weights.memory_layer)?,
            query_layer: weights.query_layer.map(layer).transpose()?,
            attention_v: weights.attention_v,
            attention_g: weights.attention_g,
            attention_b: weights.attention_b,
            attention_score_bias: weights.attention_score_bias,
            align,
        })
    }

    /// The memory to attend to, with its keys: `memory` (batch, time, depth), and the length of each row, 1 to time.
    /// Without lengths, all steps are valid.
    ///
    /// # Errors
    /// - [`Error::ArrayShape`] if `memory` is not as deep as [`memory_depth`](Self::memory_depth).
    /// - [`Error::ZeroSize`] if it has no steps.
    /// - [`Error::MemoryLengthBatch`] if `memory_sequence_length` does not have one entry per row.
    /// - [`Error::MemoryLength`] if an entry is 0 or exceeds time.
    pub fn memory(
        &self,
        memory: &ArrayRef3<E>,
        memory_sequence_length: Option<&[usize]>,
    ) -> Result<AttentionMemory<E>, Error> {
        AttentionMemory::new(&self.memory_layer, memory, memory_sequence_length)
    }

    /// Features per step of the memory.
    #[must_use]
    pub fn memory_depth(&self) -> usize {
        self.memory_layer.input_size()
    }

    /// Features per key.
    #[must_use]
    pub fn num_units(&self) -> usize {
        self.memory_layer.units()
    }

    /// Features per query.
    #[must_use]
    pub fn query_depth(&self) -> usize {
        self.query_layer.as_ref().map_or(self.num_units(), Linear::input_size)
    }

    /// Whether attention never moves back in the memory.
    #[must_use]
    pub fn is_monotonic(&self) -> bool {
        self.align.is_monotonic()
    }

    pub(crate) fn align(&self) -> Align {
        self.align
    }

    pub(crate) fn memory_layer(&self) -> &Linear<E> {
        &self.memory_layer
    }

    pub(crate) fn query_layer(&self) -> Option<&Linear<E>> {
        self.query_layer.as_ref()
    }

    /// v and g of Bahdanau scores; g of Luong scores.
    pub(crate) fn scale(&self) -> (Option<&Array1<E>>, Option<E>) {
        (self.attention_v.as_ref(), self.attention_g.as_ref().map(|g| g[[]]))
    }

    /// What Bahdanau scores add to the query.
    pub(super) fn bias(&self) -> Option<&Array1<E>> {
        self.attention_b.as_ref()
    }

    pub(super) fn score_bias(&self) -> Option<E> {
        self.attention_score_bias.as_ref().map(|bias| bias[[]])
    }

    pub(super) fn compress(&mut self, prefix: &str, compression: &mut Compression<'_, E>) -> Result<(), Error> {
        self.memory_layer.compress(&joined(prefix, "memory_layer"), compression)?;
        match &mut self.query_layer {
            Some(layer) => layer.compress(&joined(prefix, "query_layer"), compression),
            None => Ok(()),
        }
    }

    pub(crate) fn zero_gradient(&self) -> AttentionMechanismWeights<E> {
        use crate::Arrays;
        AttentionMechanismWeights {
            memory_layer: self.memory_layer.weights().zeros(),
            query_layer: self.query_layer.as_ref().map(|layer| layer.weights().zeros()),
            attention_v: self.attention_v.zeros(),
            attention_g: self.attention_g.zeros(),
            attention_b: self.attention_b.zeros(),
            attention_score_bias: self.attention_score_bias.zeros(),
        }
    }
}

/// Why slices of rows of buffers are contiguous.
pub(crate) const BUFFERS: &str = "buffers are in standard layout";

impl<E: Float> std::fmt::Debug for AttentionMechanism<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AttentionMechanism")
            .field("num_units", &self.num_units())
            .field("memory_depth", &self.memory_depth())
            .field("query_depth", &self.query_depth())
            .field("align", &self.align)
            .finish_non_exhaustive()
    }
}
