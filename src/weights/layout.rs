//! Reordering gates: most frameworks store them as blocks side by side, each in its own order.

use crate::cells::GruWeights;
use crate::{Activation, Error, Float, Gru, GruReset, Lstm};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, concatenate, s};

/// Which blocks of a framework's matrix are our i, j, f, o, from left to right.
pub(super) type LstmOrder = [usize; 4];

/// For blocks input gate, forget gate, candidate, output gate: PyTorch, Keras.
pub(super) const IFCO: LstmOrder = [0, 2, 1, 3];
/// For blocks input gate, output gate, forget gate, candidate: ONNX.
pub(super) const IOFC: LstmOrder = [0, 3, 2, 1];

/// Which blocks of a framework's matrix are our r, u and candidate.
pub(super) type GruOrder = [usize; 3];

/// For blocks reset gate, update gate, candidate: PyTorch.
pub(super) const RZN: GruOrder = [0, 1, 2];
/// For blocks update gate, reset gate, candidate: Keras, ONNX.
pub(super) const ZRH: GruOrder = [1, 0, 2];

/// Copies the column blocks `order` of `from` side by side to `to`, from its row `row` on.
pub(super) fn put<E: Float>(to: &mut Array2<E>, row: usize, from: ArrayView2<E>, order: &[usize]) {
    let (rows, width) = (from.nrows(), to.ncols() / order.len());
    for (gate, &block) in order.iter().enumerate() {
        let from = from.slice(s![.., block * width..(block + 1) * width]);
        to.slice_mut(s![row..row + rows, gate * width..(gate + 1) * width]).assign(&from);
    }
}

/// The blocks `order` of a vector of blocks of `width`, one after another.
pub(super) fn pick<E: Float>(from: ArrayView1<E>, width: usize, order: &[usize]) -> Array1<E> {
    let mut to = Array2::zeros((1, width * order.len()));
    put(&mut to, 0, from.insert_axis(Axis(0)), order);
    to.remove_axis(Axis(0))
}

/// A bias of a framework with more of them than the cell: added to any number, −0 leaves its bits alone.
pub(super) fn nothing<E: Float>(len: usize) -> Array1<E> {
    Array1::from_elem(len, -E::zero())
}

/// The columns of a matrix in blocks, in this order.
fn blocks<E: Float>(kernel: ArrayView2<E>, order: &[usize]) -> Array2<E> {
    let mut to = Array2::zeros(kernel.dim());
    put(&mut to, 0, kernel, order);
    to
}

/// An LSTM's kernel and bias in blocks of another order, its own inverse. The bias includes forget_bias, less what the
/// framework adds itself.
pub(super) fn lstm_blocks<E: Float>(cell: &Lstm<E>, order: &LstmOrder, added: E) -> (Array2<E>, Option<Array1<E>>) {
    let (weights, hidden) = (cell.weights(), cell.hidden_size());
    let forget_bias = cell.forget_bias() - added;
    let has_bias = weights.bias.is_some() || forget_bias != E::zero();
    let bias = has_bias.then(|| {
        let mut bias = weights.bias.clone().unwrap_or_else(|| nothing(4 * hidden));
        if forget_bias != E::zero() {
            bias.slice_mut(s![2 * hidden..3 * hidden]).mapv_inplace(|bias| bias + forget_bias);
        }
        pick(bias.view(), hidden, order)
    });
    (blocks(weights.kernel.view(), order), bias)
}

/// A kernel, and its biases if there are any.
pub(super) type GruBlocks<E> = (Array2<E>, Option<[Array1<E>; 2]>);

/// A GRU's kernel and its biases, the input's and the recurrent one, in blocks of another order, its own inverse.
pub(super) fn gru_blocks<E: Float>(cell: &Gru<E>, order: &GruOrder) -> GruBlocks<E> {
    let GruWeights { gates_kernel, gates_bias, candidate_kernel, candidate_bias, candidate_recurrent_bias } =
        cell.weights();
    let hidden = cell.hidden_size();
    let biases = gates_bias.as_ref().zip(candidate_bias.as_ref()).map(|(gates, candidate)| {
        let bias = pick(concatenate![Axis(0), *gates, *candidate].view(), hidden, order);
        let mut recurrent = nothing(bias.len());
        if let Some(bias) = candidate_recurrent_bias {
            recurrent.slice_mut(s![2 * hidden..]).assign(bias);
        }
        [bias, recurrent]
    });
    (blocks(concatenate![Axis(1), *gates_kernel, *candidate_kernel].view(), order), biases)
}

/// The error of a cell that a framework's module cannot be.
pub(super) fn refused(module: &'static str, expected: &'static str, found: impl Into<String>) -> Error {
    Error::NotRepresentable { module, expected, found: found.into() }
}

/// An error if an LSTM has more than the four gates: peepholes, a projection or a clip.
pub(super) fn check_plain<E: Float>(module: &'static str, cell: &Lstm<E>) -> Result<(), Error> {
    let found = match cell.weights() {
        weights if weights.peepholes.is_some() => "peepholes",
        weights if weights.projection.is_some() => "a projection",
        _ if cell.cell_clip().is_some() => "a clip",
        _ => return Ok(()),
    };
    Err(refused(module, "no peepholes, no projection and no clip", found))
}

/// An error if a cell has other activations than tanh and sigmoid.
pub(super) fn check_default(module: &'static str, found: [Activation; 2]) -> Result<(), Error> {
    let [activation, gate_activation] = found;
    if found == [Activation::Tanh, Activation::Sigmoid] {
        return Ok(());
    }
    Err(refused(module, "tanh and sigmoid", format!("{activation:?} and {gate_activation:?}")))
}

/// A GRU whose framework keeps the three gates as blocks of one matrix.
pub(super) struct BlockGru<E> {
    order: GruOrder,
    gates_kernel: Array2<E>,
    candidate_kernel: Array2<E>,
}

impl<E: Float> BlockGru<E> {
    pub(super) fn new(input: usize, hidden: usize, order: GruOrder) -> Self {
        let (gates, candidate) = ((input + hidden, 2 * hidden), (input + hidden, hidden));
        Self { order, gates_kernel: Array2::zeros(gates), candidate_kernel: Array2::zeros(candidate) }
    }

    /// Copies `from` (rows, 3 · hidden) to rows `row..` of our kernels.
    pub(super) fn put(&mut self, row: usize, from: ArrayView2<E>) {
        put(&mut self.gates_kernel, row, from, &self.order[..2]);
        put(&mut self.candidate_kernel, row, from, &self.order[2..]);
    }

    /// Builds the cell. `biases` are the input's and the recurrent one, (3 · hidden) each. The distinction matters only
    /// if the reset comes after the product: for the candidate, the reset gate lies between them.
    pub(super) fn build(
        self,
        biases: Option<[ArrayView1<E>; 2]>,
        reset: GruReset,
        [activation, gate_activation]: [Activation; 2],
    ) -> Result<Gru<E>, Error> {
        let (rows, hidden) = self.candidate_kernel.dim();
        let (gates, candidate) = self.order.split_at(2);
        let after = reset == GruReset::After;
        let sum = biases.map(|[input, recurrent]| &input + &recurrent);
        let outside = if after { biases.map(|[input, _]| input) } else { sum.as_ref().map(|sum| sum.view()) };
        let inside = biases.filter(|_| after).map(|[_, recurrent]| recurrent);
        Gru::<E>::builder(rows - hidden, hidden)
            .reset(reset)
            .use_bias(biases.is_some())
            .activation(activation)
            .gate_activation(gate_activation)
            .build_from(GruWeights {
                gates_kernel: self.gates_kernel,
                gates_bias: sum.as_ref().map(|sum| pick(sum.view(), hidden, gates)),
                candidate_kernel: self.candidate_kernel,
                candidate_bias: outside.map(|bias| pick(bias, hidden, candidate)),
                candidate_recurrent_bias: inside.map(|bias| pick(bias, hidden, candidate)),
            })
    }
}
