//! [`AttentionWrapper`]: a cell that attends to a memory.

use super::head::Head;
use super::heads::{compress_heads, visit_heads, visit_heads_mut};
use super::mechanism::AttentionMechanism;
use super::memory::AttentionMemory;
use super::score::HeadBuffers;
use super::state::AttentionState;
use crate::checks::check_shape;
use crate::compression::Compression;
use crate::fused::{Linear, Workspace};
use crate::kernel::zeros;
use crate::wrappers::workspace::Buffer;
use crate::{Error, Float, Parameters, ParametersMut, RnnCell};
use ndarray::{ArrayRef2, ArrayRef3, ArrayViewD, ArrayViewMutD, Axis, s};

/// Lets a cell attend to a memory at every step: TensorFlow 1's `AttentionWrapper`.
///
/// ```text
/// output, cell_state' = cell([x, attention], cell_state)
/// context = Σ alignments(output, memory) · memory             of each mechanism
/// attention' = [output, context] · attention_layer,  or context without a layer
/// the output is attention', or the cell's output
/// ```
///
/// It is an ordinary cell: it runs under every driver, in stacks and boxes, in a [`Stream`](crate::Stream) and in
/// decoders, and it can be trained. A batch's memory is in the state: [`attend`](Self::attend) makes the state to start
/// from. Drivers report a state without a memory as [`Error::NoMemory`].
///
/// The cell's input is as wide as the wrapper's and the attention together. Parameters are the cell's, then those of
/// each [`AttentionMechanism`] followed by its attention layer, (query + depth, size) without a bias:
/// `memory_layer/kernel`, …, `attention_layer/kernel`. With several mechanisms, `attention_0/` and so on precede them.
/// A custom `cell_input_fn` or `attention_layer` is left out.
///
/// ```
/// use ndarray::Array3;
/// use rand::SeedableRng;
/// use rnn_cell::seq2seq::{AttentionWrapper, LuongAttention};
/// use rnn_cell::{Gru, Lstm, dynamic_rnn, one_hot};
///
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let encoder = Gru::<f32>::new(4, 6, &mut rng);
/// let mechanism = LuongAttention::builder(8).memory_depth(6).build(&mut rng)?;
/// let cell = Lstm::new(4 + 5, 8, &mut rng); // inputs and attention
/// let cell = AttentionWrapper::builder(cell, [mechanism]).attention_layer_size([5]).build(&mut rng)?;
///
/// let x = one_hot(&["hello", "eolll"], "helo")?;
/// let (memory, _) = dynamic_rnn(&encoder, &x, Some(&[5, 3]), None)?;
/// let state = cell.attend(&memory, Some(&[5, 3]))?;
/// let (outputs, state) = dynamic_rnn(&cell, &x, None, Some(state))?;
/// assert_eq!((outputs.dim(), state.alignments(0).dim()), ((2, 5, 5), (2, 5)));
/// assert_eq!(state.alignments(0)[[1, 4]], 0.0); // past the end of the memory
/// # Ok::<(), rnn_cell::Error>(())
/// ```
#[derive(Clone)]
pub struct AttentionWrapper<C: RnnCell> {
    pub(super) cell: C,
    pub(super) mechanisms: Vec<AttentionMechanism<C::Elem>>,
    /// One per mechanism, or none at all.
    pub(super) layers: Vec<Linear<C::Elem>>,
    pub(super) output_attention: bool,
    pub(super) alignment_history: bool,
}

impl<C: RnnCell> AttentionWrapper<C> {
    /// The wrapped cell.
    #[must_use]
    pub fn cell(&self) -> &C {
        &self.cell
    }

    /// The wrapped cell.
    #[must_use]
    pub fn into_cell(self) -> C {
        self.cell
    }

    /// The mechanisms.
    #[must_use]
    pub fn mechanisms(&self) -> &[AttentionMechanism<C::Elem>] {
        &self.mechanisms
    }

    /// Features of an attention: of all layers or, without any, of all contexts.
    #[must_use]
    pub fn attention_size(&self) -> usize {
        (0..self.mechanisms.len()).map(|mechanism| self.size_of(mechanism)).sum()
    }

    /// Features of one mechanism's attention.
    pub(crate) fn size_of(&self, mechanism: usize) -> usize {
        self.layers.get(mechanism).map_or_else(|| self.mechanisms[mechanism].memory_depth(), Linear::units)
    }

    pub(crate) fn layers(&self) -> &[Linear<C::Elem>] {
        &self.layers
    }

    pub(crate) fn outputs_attention(&self) -> bool {
        self.output_attention
    }

    /// The state to start from: every mechanism attends to `memory` (batch, time, depth), whose rows have the given
    /// lengths, 1 to time. The cell's state and the attention are 0. To start the cell from another state, see
    /// [`AttentionState::with_cell_state`].
    ///
    /// # Errors
    /// As [`AttentionMechanism::memory`].
    pub fn attend(
        &self,
        memory: &ArrayRef3<C::Elem>,
        memory_sequence_length: Option<&[usize]>,
    ) -> Result<AttentionState<C::State, C::Elem>, Error> {
        let memories: Result<Vec<_>, Error> =
            self.mechanisms.iter().map(|mechanism| mechanism.memory(memory, memory_sequence_length)).collect();
        self.attend_to(&memories?)
    }

    /// [`attend`](Self::attend) with a memory for each mechanism, made by its [`AttentionMechanism::memory`].
    ///
    /// # Errors
    /// - [`Error::ArrayShape`] if there is not one memory per mechanism, or one is from a mechanism of other sizes.
    /// - [`Error::ArrayShape`] if the memories differ in batch.
    pub fn attend_to(&self, memories: &[AttentionMemory<C::Elem>]) -> Result<AttentionState<C::State, C::Elem>, Error> {
        check_shape("memories", &[self.mechanisms.len()], &[memories.len()])?;
        let batch = memories[0].batch_size();
        let mut heads = Vec::new();
        for (at, (mechanism, memory)) in self.mechanisms.iter().zip(memories).enumerate() {
            let expected = [batch, memory.time(), mechanism.memory_depth()];
            check_shape(format_args!("memories[{at}]"), &expected, memory.values().shape())?;
            let expected = [batch, memory.time(), mechanism.num_units()];
            check_shape(format_args!("the keys of memories[{at}]"), &expected, memory.keys().shape())?;
            heads.push(Head::new(memory, mechanism.is_monotonic(), self.alignment_history));
        }
        let attention = zeros((batch, self.attention_size()));
        Ok(AttentionState { cell_state: self.cell.zero_state(batch), attention, heads })
    }

    /// A step, in which `step` is the cell's. Leaves in the workspace what a backward step needs.
    pub(crate) fn forward(
        &self,
        input: &ArrayRef2<C::Elem>,
        state: &mut AttentionState<C::State, C::Elem>,
        output: &mut ArrayRef2<C::Elem>,
        workspace: &mut AttentionWrapperWorkspace<C::Elem, C::Workspace>,
        step: impl FnOnce(&ArrayRef2<C::Elem>, &mut C::State, &mut ArrayRef2<C::Elem>, &mut C::Workspace),
    ) {
        let (batch, width) = input.dim();
        assert_eq!(width, self.input_size(), "the input must be (batch, input)");
        assert_eq!(state.attention.dim(), (batch, self.attention_size()), "the state must have the batch of the input");
        assert_eq!(state.heads.len(), self.mechanisms.len(), "the state must have as many mechanisms as the wrapper");
        let AttentionWrapperWorkspace { cell, products, inputs, output: room, heads } = workspace;
        let mut joined = inputs.array((1, batch, self.cell.input_size()));
        joined.slice_mut(s![0, .., ..width]).assign(input);
        joined.slice_mut(s![0, .., width..]).assign(&state.attention);
        let mut out = room.array((1, batch, self.cell.output_size()));
        step(&joined.index_axis(Axis(0), 0), &mut state.cell_state, &mut out.index_axis_mut(Axis(0), 0), cell);
        heads.resize_with(self.mechanisms.len(), HeadBuffers::default);
        let mut first = 0;
        for (at, mechanism) in self.mechanisms.iter().enumerate() {
            let columns = s![.., first..first + self.size_of(at)];
            first += self.size_of(at);
            let joined = mechanism.attend(&out, &mut state.heads[at], &mut heads[at], products);
            let mut attention = state.attention.slice_mut(columns).insert_axis(Axis(0));
            match self.layers.get(at) {
                Some(layer) => layer.forward(&joined, &mut attention, products),
                None => attention.assign(&joined.slice(s![.., .., self.cell.output_size()..])),
            }
        }
        if self.output_attention {
            output.assign(&state.attention);
        } else {
            output.assign(&out.index_axis(Axis(0), 0));
        }
    }
}

/// Buffers of an [`AttentionWrapper`], empty at first.
#[derive(Default)]
pub struct AttentionWrapperWorkspace<E, W> {
    pub(crate) cell: W,
    pub(crate) products: Workspace<E>,
    /// \[x, attention\].
    pub(crate) inputs: Buffer<E>,
    /// The cell's output.
    pub(crate) output: Buffer<E>,
    pub(crate) heads: Vec<HeadBuffers<E>>,
}

impl<E, W> std::fmt::Debug for AttentionWrapperWorkspace<E, W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AttentionWrapperWorkspace").finish_non_exhaustive()
    }
}

impl<C: RnnCell> RnnCell for AttentionWrapper<C> {
    type Elem = C::Elem;
    type State = AttentionState<C::State, C::Elem>;
    type Workspace = AttentionWrapperWorkspace<C::Elem, C::Workspace>;

    fn input_size(&self) -> usize {
        self.cell.input_size() - self.attention_size()
    }
    fn output_size(&self) -> usize {
        if self.output_attention { self.attention_size() } else { self.cell.output_size() }
    }
    /// A state without a memory, in which no step can run. See [`AttentionWrapper::attend`].
    fn zero_state(&self, batch: usize) -> Self::State {
        let empty =
            |mechanism: &AttentionMechanism<_>| Head::empty(batch, mechanism.is_monotonic(), self.alignment_history);
        AttentionState {
            cell_state: self.cell.zero_state(batch),
            attention: zeros((batch, self.attention_size())),
            heads: self.mechanisms.iter().map(empty).collect(),
        }
    }
    fn check_state(&self, state: &Self::State) -> Result<(), Error> {
        for (at, (head, mechanism)) in state.heads.iter().zip(&self.mechanisms).enumerate() {
            let expected = (mechanism.num_units(), mechanism.memory_depth());
            for (row, memory) in head.rows.iter().map(|row| row.memory.as_ref()).enumerate() {
                let Some(memory) = memory else { return Err(Error::NoMemory { mechanism: at, row }) };
                let (units, depth) = memory.widths();
                let name = || format!("the memory of mechanism {at}, row {row} (time, units, depth)");
                let expected = [head.alignments.ncols(), expected.0, expected.1];
                if [memory.time(), units, depth] != expected {
                    check_shape(name(), &expected, &[memory.time(), units, depth])?;
                }
            }
        }
        self.cell.check_state(&state.cell_state)
    }
    fn step(
        &self,
        input: &ArrayRef2<C::Elem>,
        state: &mut Self::State,
        output: &mut ArrayRef2<C::Elem>,
        workspace: &mut Self::Workspace,
    ) {
        self.forward(input, state, output, workspace, |input, state, output, workspace| {
            self.cell.step(input, state, output, workspace);
        });
    }
    fn compress(&mut self, compression: &mut Compression<'_, C::Elem>) -> Result<(), Error> {
        self.cell.compress(compression)?;
        compress_heads(&mut self.mechanisms, &mut self.layers, compression)
    }
}

impl<E: Float, C: RnnCell<Elem = E> + Parameters<E>> Parameters<E> for AttentionWrapper<C> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        self.cell.visit_parameters(visit);
        visit_heads(&self.mechanisms, &self.layers, visit);
    }
}

impl<E: Float, C: RnnCell<Elem = E> + ParametersMut<E>> ParametersMut<E> for AttentionWrapper<C> {
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        self.cell.visit_parameters_mut(visit);
        visit_heads_mut(&mut self.mechanisms, &mut self.layers, visit);
    }
}

impl<C: RnnCell + std::fmt::Debug> std::fmt::Debug for AttentionWrapper<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AttentionWrapper")
            .field("cell", &self.cell)
            .field("mechanisms", &self.mechanisms)
            .field("attention_size", &self.attention_size())
            .finish_non_exhaustive()
    }
}
