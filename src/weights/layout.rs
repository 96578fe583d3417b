//! Reordering gates: most frameworks store them as blocks side by side, each in its own order.

use crate::cells::GruWeights;
use crate::{Activation, Error, Float, Gru, GruReset};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, s};

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
