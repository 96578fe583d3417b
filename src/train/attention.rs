//! The attention's backward pass. The memory's gradient adds up in the gradient of the state, row by row.

use super::cell::{RunBack, TrainableCell};
use super::long_sum::LongSum;
use super::runs::{backward_in_parts, steps_as_runs};
use crate::back::{Back, Part};
use crate::fused::Workspace;
use crate::kernel::zeros;
use crate::seq2seq::{
    Aligned, AttentionMechanism, AttentionMechanismWeights, AttentionState, AttentionWrapper,
    AttentionWrapperWorkspace, BUFFERS, Head, HeadBuffers, MemoryRow, MemorySums, ScoreGradients,
};
use crate::wrappers::workspace::Buffer;
use crate::{Arrays, Float};
use ndarray::{Array2, Array3, ArrayRef2, ArrayRef3, Axis, s};

mod gradient;
mod memory;

pub use gradient::AttentionGradient;

/// What a recorded step of an [`AttentionWrapper`] keeps.
pub struct AttentionRecord<R, E> {
    cell: Vec<R>,
    /// \[x, attention\], (1, batch, cell's input).
    inputs: Array3<E>,
    heads: Vec<HeadRecord<E>>,
}

/// What one mechanism keeps of a step.
struct HeadRecord<E> {
    /// As wide as keys, (batch, units).
    query: Array2<E>,
    /// \[cell's output, context\].
    joined: Array2<E>,
    /// (batch, time).
    alignments: Array2<E>,
    /// The probabilities and the alignments before the step, if the mechanism is monotonic.
    monotonic: Option<(Array2<E>, Array2<E>)>,
    memory: Vec<MemoryRow<E>>,
}

impl<E: Float> HeadRecord<E> {
    fn new(mechanism: &AttentionMechanism<E>, buffers: &HeadBuffers<E>, head: &Head<E>, queries: usize) -> Self {
        let (batch, time) = head.alignments.dim();
        let copy = |buffer: &Buffer<E>, width| buffer.written((1, batch, width)).index_axis_move(Axis(0), 0).to_owned();
        let monotonic = mechanism.is_monotonic().then(|| (copy(&buffers.scores, time), copy(&buffers.previous, time)));
        Self {
            query: copy(&buffers.query, mechanism.num_units()),
            joined: copy(&buffers.joined, queries + mechanism.memory_depth()),
            alignments: copy(&buffers.aligned, time),
            monotonic,
            memory: head.rows.iter().map(|row| row.memory().clone()).collect(),
        }
    }
}

impl<C: TrainableCell> TrainableCell for AttentionWrapper<C> {
    type Record = AttentionRecord<C::Record, C::Elem>;
    type Gradient = AttentionGradient<C::Gradient, C::Elem>;

    fn zero_gradient(&self) -> Self::Gradient {
        AttentionGradient {
            cell: self.cell().zero_gradient(),
            mechanisms: self.mechanisms().iter().map(AttentionMechanism::zero_gradient).collect(),
            layers: self.layers().iter().map(|layer| layer.weights().zeros()).collect(),
        }
    }

    steps_as_runs!();

    fn unroll_recording(
        &self,
        inputs: &ArrayRef3<C::Elem>,
        state: &mut AttentionState<C::State, C::Elem>,
        outputs: &mut ArrayRef3<C::Elem>,
        records: &mut Vec<Self::Record>,
        workspace: &mut AttentionWrapperWorkspace<C::Elem, C::Workspace>,
    ) {
        for (input, mut output) in inputs.outer_iter().zip(outputs.outer_iter_mut()) {
            let mut cell = Vec::with_capacity(1);
            self.forward(&input, state, &mut output, workspace, |input, state, output, workspace| {
                let (input, mut output) = (input.view().insert_axis(Axis(0)), output.view_mut().insert_axis(Axis(0)));
                self.cell().unroll_recording(&input, state, &mut output, &mut cell, workspace);
            });
            let inputs = workspace.inputs.written((1, input.nrows(), self.cell().input_size()));
            let heads = self.mechanisms().iter().zip(&workspace.heads).zip(&state.heads);
            let queries = self.cell().output_size();
            records.push(AttentionRecord {
                cell,
                inputs: inputs.to_owned(),
                heads: heads
                    .map(|((mechanism, buffers), head)| HeadRecord::new(mechanism, buffers, head, queries))
                    .collect(),
            });
        }
    }

    backward_in_parts!();

    fn part_backward(
        &self,
        records: &mut Vec<Self::Record>,
        back: RunBack<'_, Self>,
        workspace: &mut AttentionWrapperWorkspace<C::Elem, C::Workspace>,
    ) {
        let part = Part(workspace);
        let Back { inputs, d_outputs, d_state, d_inputs, gradient } = back;
        let mut sum = LongSum::<C::Elem, _>::new(gradient);
        part.0.heads.resize_with(self.mechanisms().len(), HeadBuffers::default);
        for step in (0..inputs.dim().0).rev() {
            let record = records.pop().expect("each step forward left a record");
            let step = StepArrays {
                d_output: &d_outputs.index_axis(Axis(0), step),
                d_input: &mut d_inputs.index_axis_mut(Axis(0), step),
                d_state,
                gradient: sum.next_gradient(),
            };
            self.step_back(record, step, part.0);
        }
        sum.finish();
        part.end();
    }

    fn finish_backward(
        &self,
        d_state: &mut AttentionState<C::State, C::Elem>,
        gradient: &mut Self::Gradient,
        workspace: &mut AttentionWrapperWorkspace<C::Elem, C::Workspace>,
    ) {
        let AttentionWrapperWorkspace { cell, products, heads, .. } = workspace;
        self.cell().finish_backward(&mut d_state.cell_state, &mut gradient.cell, cell);
        for (at, (mechanism, head)) in self.mechanisms().iter().zip(heads).enumerate() {
            let HeadBuffers { memories, query_layer, layer, .. } = head;
            let to = &mut gradient.mechanisms[at];
            if let Some((of_queries, to)) = mechanism.query_layer().zip(to.query_layer.as_mut()) {
                of_queries.finish_backward(to, query_layer);
            }
            if let Some((of_head, to)) = self.layers().get(at).zip(gradient.layers.get_mut(at)) {
                of_head.finish_backward(to, layer);
            }
            memory::finish(mechanism, &mut to.memory_layer, &mut d_state.heads[at].rows, (memories, products));
        }
    }
}

/// What a step backward of a wrapper around `C` reads and writes.
struct StepArrays<'a, C: TrainableCell> {
    d_output: &'a ArrayRef2<C::Elem>,
    d_input: &'a mut ArrayRef2<C::Elem>,
    d_state: &'a mut AttentionState<C::State, C::Elem>,
    gradient: &'a mut AttentionGradient<C::Gradient, C::Elem>,
}

impl<C: TrainableCell> AttentionWrapper<C> {
    fn step_back(
        &self,
        record: AttentionRecord<C::Record, C::Elem>,
        arrays: StepArrays<'_, C>,
        workspace: &mut AttentionWrapperWorkspace<C::Elem, C::Workspace>,
    ) {
        let StepArrays { d_output, d_input, d_state, gradient } = arrays;
        let AttentionWrapperWorkspace { cell, heads: buffers, .. } = workspace;
        let (batch, queries) = (d_output.nrows(), self.cell().output_size());
        let mut d_cell_output = zeros((1, batch, queries));
        if self.outputs_attention() {
            d_state.attention += &d_output.view();
        } else {
            d_cell_output.index_axis_mut(Axis(0), 0).assign(d_output);
        }
        let mut first = 0;
        for (at, (mechanism, head)) in self.mechanisms().iter().zip(record.heads).enumerate() {
            let columns = s![.., first..first + self.size_of(at)];
            first += self.size_of(at);
            let d_attention = d_state.attention.slice(columns).insert_axis(Axis(0));
            let mut d_joined = zeros((1, batch, queries + mechanism.memory_depth()));
            match self.layers().get(at) {
                Some(layer) => {
                    let x = head.joined.view().insert_axis(Axis(0));
                    let to = &mut gradient.layers[at];
                    layer.part_backward(&x, &d_attention, &mut d_joined, to, &mut buffers[at].layer);
                }
                None => d_joined.slice_mut(s![.., .., queries..]).assign(&d_attention),
            }
            d_cell_output += &d_joined.slice(s![.., .., ..queries]);
            let d_context = d_joined.slice(s![0, .., queries..]).as_standard_layout().into_owned();
            let HeadBuffers { memories, query_layer, .. } = &mut buffers[at];
            let mut back = HeadBack { mechanism, head, d_head: &mut d_state.heads[at], memories };
            back.run(&d_context, &mut d_cell_output, &mut gradient.mechanisms[at], query_layer);
        }
        let (mut records, mut d_inputs) = (record.cell, Array3::zeros(record.inputs.raw_dim()));
        let back = Back {
            inputs: &record.inputs,
            d_outputs: &d_cell_output,
            d_state: &mut d_state.cell_state,
            d_inputs: &mut d_inputs,
            gradient: &mut gradient.cell,
        };
        self.cell().part_backward(&mut records, back, cell);
        let (of_input, of_attention) = d_inputs.index_axis(Axis(0), 0).split_at(Axis(1), d_input.ncols());
        d_input.assign(&of_input);
        d_state.attention.assign(&of_attention);
    }
}

/// A step backward of one mechanism.
struct HeadBack<'a, E: Float> {
    mechanism: &'a AttentionMechanism<E>,
    head: HeadRecord<E>,
    d_head: &'a mut Head<E>,
    memories: &'a mut Vec<MemorySums<E>>,
}

impl<E: Float> HeadBack<'_, E> {
    fn run(
        &mut self,
        d_context: &Array2<E>,
        d_output: &mut Array3<E>,
        gradient: &mut AttentionMechanismWeights<E>,
        query_layer: &mut Workspace<E>,
    ) {
        let Self { mechanism, head, .. } = self;
        let (mechanism, batch) = (*mechanism, d_context.nrows());
        self.d_head.widen(head.alignments.ncols());
        let found = self.d_head.alignments.ncols();
        let time = head.alignments.ncols();
        assert_eq!(found, time, "the state's gradient must have alignments as wide as the memory");
        let v = mechanism.scaled_v();
        let mut d_query = zeros((1, batch, mechanism.num_units()));
        let (mut d_v, mut d_g, mut d_bias) = (vec![E::zero(); v.len()], E::zero(), E::zero());
        let queries = std::mem::take(&mut head.query);
        for row in 0..batch {
            let mut d_query = d_query.slice_mut(s![0, row, ..]);
            let to = RowGradients {
                query: d_query.as_slice_mut().expect(BUFFERS),
                v: &mut d_v,
                g: &mut d_g,
                score_bias: &mut d_bias,
            };
            let query = queries.row(row);
            self.row(row, (query.as_slice().expect(BUFFERS), &v), &d_context.row(row).to_vec(), to);
        }
        if let Some(to) = &mut gradient.attention_score_bias {
            *to += d_bias;
        }
        if let Some(to) = &mut gradient.attention_b {
            *to += &d_query.index_axis(Axis(0), 0).sum_axis(Axis(0));
        }
        let g = gradient.attention_g.as_mut().map(|g| &mut g[[]]);
        match (&mut gradient.attention_v, g) {
            (Some(to), g) => mechanism.scale_backward(&d_v, to, g),
            (None, Some(g)) => *g += d_g,
            (None, None) => {}
        }
        let Some((layer, to)) = mechanism.query_layer().zip(gradient.query_layer.as_mut()) else {
            *d_output += &d_query;
            return;
        };
        let x = self.head.joined.slice(s![.., ..d_output.dim().2]).insert_axis(Axis(0));
        let mut d_x = zeros(d_output.raw_dim());
        layer.part_backward(&x, &d_query, &mut d_x, to, query_layer);
        *d_output += &d_x;
    }

    fn row(&mut self, row: usize, (query, v): (&[E], &[E]), d_context: &[E], to: RowGradients<'_, E>) {
        let Self { mechanism, head, d_head, memories } = self;
        let (memory_row, time) = (&head.memory[row], head.alignments.ncols());
        let length = memory_row.length();
        let alignments = head.alignments.row(row);
        let alignments = &alignments.as_slice().expect(BUFFERS)[..length];
        let mut d = vec![E::zero(); time];
        let room = &mut vec![E::zero(); length][..];
        let MemorySums { keys: d_keys, values: d_values, .. } =
            memory::sums_of(&mut d_head.rows[row], memory_row, memories);
        memory_row.context_backward(alignments, d_context, &mut d[..length], d_values);
        d_head.rows[row].take_d_history(time, &mut d);
        d.iter_mut().zip(d_head.alignments.row(row)).for_each(|(d, &more)| *d += more);
        let d = &mut d[..length];
        let mut d_previous = vec![E::zero(); time];
        let whole = |array: &'_ Array2<E>| array.row(row).iter().take(length).copied().collect::<Vec<_>>();
        let (probabilities, previous) = match &head.monotonic {
            Some((probabilities, previous)) => (whole(probabilities), whole(previous)),
            None => (Vec::new(), Vec::new()),
        };
        let aligned = Aligned { probabilities: &probabilities, previous: &previous, alignments };
        mechanism.align().backward(aligned, d, &mut d_previous[..length], room);
        d_head.alignments.row_mut(row).iter_mut().zip(&d_previous).for_each(|(to, &d)| *to = d);
        let RowGradients { query: d_query, v: d_v, g, score_bias } = to;
        let to = ScoreGradients { keys: d_keys, query: d_query, v: d_v, g, score_bias };
        mechanism.score_backward(memory_row, (query, v), d, room, to);
    }
}

/// What a row adds to, beside the memory's.
struct RowGradients<'a, E> {
    query: &'a mut [E],
    v: &'a mut [E],
    g: &'a mut E,
    score_bias: &'a mut E,
}
