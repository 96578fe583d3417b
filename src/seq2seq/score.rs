//! The scores of an attention mechanism: one row's query and memory.

use super::head::{Head, MemorySums};
use super::mechanism::{AttentionMechanism, BUFFERS};
use super::memory::MemoryRow;
use crate::Float;
use crate::fused::Workspace;
use crate::kernel::attend::{Attend, TanhGradients};
use crate::kernel::product::attend;
use crate::wrappers::workspace::Buffer;
use ndarray::{Array1, ArrayRef3, ArrayView3, Axis, s};

/// What a step of one mechanism leaves, each (1, batch, …).
pub(crate) struct HeadBuffers<E> {
    /// Queries as wide as keys.
    pub query: Buffer<E>,
    /// \[query, context\].
    pub joined: Buffer<E>,
    /// Scores, and after the step probabilities of a monotonic mechanism.
    pub scores: Buffer<E>,
    /// The alignments before the step.
    pub previous: Buffer<E>,
    pub aligned: Buffer<E>,
    /// v of Bahdanau scores, normalized.
    pub v: Vec<E>,
    /// Of a backward pass: what it has added to memories, and those of the query and the attention layer.
    pub memories: Vec<MemorySums<E>>,
    pub query_layer: Workspace<E>,
    pub layer: Workspace<E>,
}

impl<E: Float> Default for HeadBuffers<E> {
    fn default() -> Self {
        let buffer = Buffer::default;
        Self {
            query: buffer(),
            joined: buffer(),
            scores: buffer(),
            previous: buffer(),
            aligned: buffer(),
            v: Vec::new(),
            memories: Vec::new(),
            query_layer: Workspace::default(),
            layer: Workspace::default(),
        }
    }
}

impl<E: Float> AttentionMechanism<E> {
    /// Attends for every row of a step: reads the queries, `output` (1, batch, query), and updates the head's
    /// alignments. Returns \[query, context\], (1, batch, query + depth), in the buffers.
    pub(super) fn attend<'b>(
        &self,
        output: &ArrayRef3<E>,
        head: &mut Head<E>,
        buffers: &'b mut HeadBuffers<E>,
        products: &mut Workspace<E>,
    ) -> ArrayView3<'b, E> {
        let (_, batch, width) = output.dim();
        let (time, depth) = (head.alignments.ncols(), self.memory_depth());
        self.prepare(output, buffers, products);
        let mut joined = buffers.joined.array((1, batch, width + depth));
        joined.slice_mut(s![.., .., ..width]).assign(output);
        joined.slice_mut(s![.., .., width..]).fill(E::zero());
        let mut scores = buffers.scores.array((1, batch, time));
        let mut previous = buffers.previous.array((1, batch, time));
        previous.index_axis_mut(Axis(0), 0).assign(&head.alignments);
        let mut aligned = buffers.aligned.array((1, batch, time));
        let query = buffers.query.written((1, batch, self.num_units()));
        for row in 0..batch {
            let memory = head.rows[row].memory();
            let sizes = (memory.time(), memory.widths());
            assert_eq!(sizes, (time, (self.num_units(), depth)), "the memory must be this mechanism's");
            let (length, at) = (memory.length(), s![0, row, ..memory.length()]);
            let (mut scores, mut all) = (scores.slice_mut(at), aligned.slice_mut(s![0, row, ..]));
            let scores = scores.as_slice_mut().expect(BUFFERS);
            self.score(memory, (query.slice(s![0, row, ..]).as_slice().expect(BUFFERS), &buffers.v), scores);
            let all = all.as_slice_mut().expect(BUFFERS);
            all[length..].fill(E::zero());
            let previous = previous.slice(at);
            self.align().forward(scores, previous.as_slice().expect(BUFFERS), &mut all[..length]);
            let mut context = joined.slice_mut(s![0, row, width..]);
            memory.context(&all[..length], context.as_slice_mut().expect(BUFFERS));
        }
        head.alignments.assign(&aligned.index_axis(Axis(0), 0));
        head.remember();
        buffers.joined.written((1, batch, width + depth))
    }

    /// Writes the queries as wide as keys, and v.
    fn prepare(&self, output: &ArrayRef3<E>, buffers: &mut HeadBuffers<E>, products: &mut Workspace<E>) {
        let batch = output.dim().1;
        let mut query = buffers.query.array((1, batch, self.num_units()));
        match self.query_layer() {
            Some(layer) => layer.forward(output, &mut query, products),
            None => query.assign(output),
        }
        if let Some(b) = self.bias() {
            query += b;
        }
        buffers.v.clear();
        buffers.v.extend(self.scaled());
    }

    /// v of Bahdanau scores, normalized if that is an option; else nothing.
    fn scaled(&self) -> impl Iterator<Item = E> {
        let (v, g) = self.scale();
        let factor = v.zip(g).map_or(E::one(), |(v, g)| g / norm(v));
        v.into_iter().flatten().map(move |&v| v * factor)
    }

    pub(crate) fn scaled_v(&self) -> Vec<E> {
        self.scaled().collect()
    }

    /// Writes the scores of the row's steps.
    fn score(&self, memory: &MemoryRow<E>, (query, v): (&[E], &[E]), scores: &mut [E]) {
        let rows = memory.keys();
        if self.query_layer().is_some() {
            attend(Attend::TanhDots { rows, query, v, to: &mut *scores });
        } else {
            attend(Attend::Dots { rows, x: query, to: &mut *scores });
            if let (_, Some(g)) = self.scale() {
                scores.iter_mut().for_each(|score| *score *= g);
            }
        }
        if let Some(bias) = self.score_bias() {
            scores.iter_mut().for_each(|score| *score += bias);
        }
    }
}

impl<E: Float> MemoryRow<E> {
    /// to += Σ alignments · values.
    fn context(&self, alignments: &[E], to: &mut [E]) {
        attend(Attend::Combine { rows: self.values(), weights: alignments, to });
    }

    /// Computes the gradient of the alignments from that of the context, `d`, and adds that of the values.
    pub(crate) fn context_backward(&self, alignments: &[E], d: &[E], d_alignments: &mut [E], d_values: &mut [E]) {
        attend(Attend::Dots { rows: self.values(), x: d, to: d_alignments });
        attend(Attend::Spread { weights: alignments, x: d, rows: d_values });
    }
}

/// Gradients that a row of a step adds to.
pub(crate) struct ScoreGradients<'a, E> {
    pub keys: &'a mut [E],
    pub query: &'a mut [E],
    /// Of v, normalized.
    pub v: &'a mut [E],
    pub g: &'a mut E,
    pub score_bias: &'a mut E,
}

impl<E: Float> AttentionMechanism<E> {
    /// Adds the gradients of a row of a step from `d`, that of its scores. `room` has as many numbers.
    pub(crate) fn score_backward(
        &self,
        memory: &MemoryRow<E>,
        (query, v): (&[E], &[E]),
        d: &mut [E],
        room: &mut [E],
        to: ScoreGradients<'_, E>,
    ) {
        let rows = memory.keys();
        *to.score_bias += d.iter().copied().sum();
        if self.query_layer().is_some() {
            let to = TanhGradients { rows: to.keys, query: to.query, v: to.v };
            attend(Attend::TanhBack { rows, query, v, d, to });
            return;
        }
        if let (_, Some(g)) = self.scale() {
            attend(Attend::Dots { rows, x: query, to: &mut *room });
            *to.g += d.iter().zip(&*room).map(|(&d, &score)| d * score).sum();
            d.iter_mut().for_each(|d| *d *= g);
        }
        attend(Attend::Combine { rows, weights: d, to: to.query });
        attend(Attend::Spread { weights: d, x: query, rows: to.keys });
    }

    /// Turns the gradient of v as scores use it, `d`, into those of v and g.
    pub(crate) fn scale_backward(&self, d: &[E], d_v: &mut Array1<E>, d_g: Option<&mut E>) {
        let ((Some(v), g), Some(d_g)) = (self.scale(), d_g) else {
            d_v.iter_mut().zip(d).for_each(|(to, &d)| *to += d);
            return;
        };
        let (norm, g) = (norm(v), g.unwrap_or(E::one()));
        let along: E = d.iter().zip(v).map(|(&d, &v)| d * v / norm).sum();
        *d_g += along;
        for ((to, &d), &v) in d_v.iter_mut().zip(d).zip(v) {
            *to += g / norm * (d - along * v / norm);
        }
    }
}

/// |v|.
fn norm<E: Float>(v: &Array1<E>) -> E {
    v.iter().map(|&v| v * v).sum::<E>().sqrt()
}
