//! ONNX: the tensors of the operators `RNN`, `LSTM` and `GRU`.
//!
//! | name | shape | blocks of the second axis |
//! |---|---|---|
//! | `W` | (directions, gates · hidden, input) | RNN: one; LSTM: i, o, f, c; GRU: z, r, h |
//! | `R` | (directions, gates · hidden, hidden) | the same |
//! | `B` | (directions, 2 · gates · hidden), optional | W's bias, then R's; they are added |
//! | `P` | (directions, 3 · hidden), optional, LSTM | peepholes i, o, f |
//!
//! Direction 0 is forward (or the only one), direction 1 backward. Matrices are the transpose of ours. c is our j; z is
//! our u, h' = (1 − z) ⊙ h̃ + z ⊙ h. There is no `forget_bias`. [`Options`] holds what the operator keeps in
//! attributes. `clip`, which clips the sums before the activations, and `input_forget` = 1 have no counterpart here.
//!
//! In a graph these tensors are initializers with arbitrary names. The script below names them `{node}/W` and so on.
//!
//! # Writing the file
//!
//! ```python
//! import onnx
//! from safetensors.numpy import save_file
//!
//! graph = onnx.load("model.onnx").graph
//! arrays = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer}
//! inputs = {"W": 1, "R": 2, "B": 3, "P": 7}  # position among the operator's inputs
//! save_file({f"{node.name}/{name}": arrays[node.input[at]] for node in graph.node if node.op_type in ("RNN", "LSTM", "GRU")
//!            for name, at in inputs.items() if at < len(node.input) and node.input[at]}, "model.safetensors")
//! ```
//!
//! Used in `tools/onnx_fixture.py`.
//!
//! The tensors of ONNX Runtime's `DynamicQuantizeLSTM` are imported by [`dynamic_quantize_lstm`].

mod quantized;

pub use quantized::{bidirectional_dynamic_quantize_lstm, dynamic_quantize_lstm};

use super::Tensors;
use super::layout::{BlockGru, IOFC, ZRH, pick, put};
use crate::cells::{BasicRnnWeights, LstmWeights, Peepholes};
use crate::{Activation, BasicRnn, Bidirectional, Error, Float, Gru, GruReset, Lstm};
use ndarray::{Array2, ArrayD, ArrayView1, ArrayView2, Axis};

/// Options that an operator keeps in its attributes. The defaults are ONNX's.
///
/// ```
/// use rnn_cell::weights::onnx::Options;
/// let of_pytorch = Options::default().linear_before_reset(true);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Options {
    activation: Activation,
    gate_activation: Activation,
    linear_before_reset: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { activation: Activation::Tanh, gate_activation: Activation::Sigmoid, linear_before_reset: false }
    }
}

impl Options {
    /// The activation of the candidate and of c (`g` and `h` in `activations`, which must be equal). Default: tanh.
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// The activation of the gates (`f` in `activations`). Default: sigmoid. An `RNN` has none.
    pub fn gate_activation(mut self, gate_activation: Activation) -> Self {
        self.gate_activation = gate_activation;
        self
    }

    /// `linear_before_reset` of `GRU`: the reset gate comes after the product. Default: false. (PyTorch writes true.)
    pub fn linear_before_reset(mut self, linear_before_reset: bool) -> Self {
        self.linear_before_reset = linear_before_reset;
        self
    }
}

/// Imports an `RNN` with one direction. Of the options, only `activation` matters.
///
/// # Errors
/// - [`Error::MissingWeight`] if a tensor is missing.
/// - [`Error::TensorShape`] or [`Error::TensorDtype`] if one does not match the table or cannot be read without loss.
pub fn rnn<E: Float>(tensors: &mut Tensors<'_, E>, prefix: &str, options: &Options) -> Result<BasicRnn<E>, Error> {
    rnn_directions(tensors, prefix, options).map(|[cell]| cell)
}

/// Imports an `RNN` with both directions, forward and backward.
///
/// # Errors
/// As [`rnn`].
pub fn bidirectional_rnn<E: Float>(
    tensors: &mut Tensors<'_, E>,
    prefix: &str,
    options: &Options,
) -> Result<Bidirectional<BasicRnn<E>>, Error> {
    rnn_directions(tensors, prefix, options).map(|[fw, bw]| Bidirectional { fw, bw })
}

/// Imports an `LSTM` with one direction, and with peepholes if there is a `P`.
///
/// # Errors
/// As [`rnn`].
pub fn lstm<E: Float>(tensors: &mut Tensors<'_, E>, prefix: &str, options: &Options) -> Result<Lstm<E>, Error> {
    lstm_directions(tensors, prefix, options).map(|[cell]| cell)
}

/// Imports an `LSTM` with both directions, forward and backward.
///
/// # Errors
/// As [`rnn`].
pub fn bidirectional_lstm<E: Float>(
    tensors: &mut Tensors<'_, E>,
    prefix: &str,
    options: &Options,
) -> Result<Bidirectional<Lstm<E>>, Error> {
    lstm_directions(tensors, prefix, options).map(|[fw, bw]| Bidirectional { fw, bw })
}

/// Imports a `GRU` with one direction.
///
/// # Errors
/// As [`rnn`].
pub fn gru<E: Float>(tensors: &mut Tensors<'_, E>, prefix: &str, options: &Options) -> Result<Gru<E>, Error> {
    gru_directions(tensors, prefix, options).map(|[cell]| cell)
}

/// Imports a `GRU` with both directions, forward and backward.
///
/// # Errors
/// As [`rnn`].
pub fn bidirectional_gru<E: Float>(
    tensors: &mut Tensors<'_, E>,
    prefix: &str,
    options: &Options,
) -> Result<Bidirectional<Gru<E>>, Error> {
    gru_directions(tensors, prefix, options).map(|[fw, bw]| Bidirectional { fw, bw })
}

fn rnn_directions<E: Float, const N: usize>(
    tensors: &mut Tensors<'_, E>,
    prefix: &str,
    options: &Options,
) -> Result<[BasicRnn<E>; N], Error> {
    let node = Node::<N>::new(tensors, prefix, 1)?;
    let mut kernels: [_; N] = std::array::from_fn(|_| Array2::zeros((node.input + node.hidden, node.hidden)));
    node.matrices(tensors, |direction, row, from| put(&mut kernels[direction], row, from, &[0]))?;
    let biases = node.biases(tensors)?;
    each(kernels, |direction, kernel| {
        let bias = biases.as_ref().map(|biases| biases.direction(direction)).map(|[w, r]| &w + &r);
        BasicRnn::<E>::builder(node.input, node.hidden)
            .activation(options.activation)
            .use_bias(bias.is_some())
            .build_from(BasicRnnWeights { kernel, bias })
    })
}

fn lstm_directions<E: Float, const N: usize>(
    tensors: &mut Tensors<'_, E>,
    prefix: &str,
    options: &Options,
) -> Result<[Lstm<E>; N], Error> {
    let node = Node::<N>::new(tensors, prefix, 4)?;
    let hidden = node.hidden;
    let p = format!("{prefix}P");
    if tensors.contains(&p) {
        tensors.check(&p, &[N, 3 * hidden])?;
    }
    let mut kernels: [_; N] = std::array::from_fn(|_| Array2::zeros((node.input + hidden, 4 * hidden)));
    node.matrices(tensors, |direction, row, from| put(&mut kernels[direction], row, from, &IOFC))?;
    let biases = node.biases(tensors)?;
    let peepholes = tensors.contains(&p).then(|| tensors.take_matrix(&p, (N, 3 * hidden))).transpose()?;
    each(kernels, |direction, kernel| {
        let bias = biases.as_ref().map(|biases| biases.direction(direction)).map(|[w, r]| &w + &r);
        let bias = bias.map(|bias| pick(bias.view(), hidden, &IOFC));
        let peepholes = peepholes.as_ref().map(|peepholes| {
            let [w_i_diag, w_o_diag, w_f_diag] =
                [0, 1, 2].map(|block| pick(peepholes.row(direction), hidden, &[block]));
            Peepholes { w_f_diag, w_i_diag, w_o_diag }
        });
        Lstm::builder(node.input, hidden)
            .forget_bias(E::zero())
            .use_bias(bias.is_some())
            .use_peepholes(peepholes.is_some())
            .activation(options.activation)
            .gate_activation(options.gate_activation)
            .build_from(LstmWeights { kernel, bias, peepholes, projection: None })
    })
}

fn gru_directions<E: Float, const N: usize>(
    tensors: &mut Tensors<'_, E>,
    prefix: &str,
    options: &Options,
) -> Result<[Gru<E>; N], Error> {
    let node = Node::<N>::new(tensors, prefix, 3)?;
    let mut grus: [_; N] = std::array::from_fn(|_| BlockGru::new(node.input, node.hidden, ZRH));
    node.matrices(tensors, |direction, row, from| grus[direction].put(row, from))?;
    let biases = node.biases(tensors)?;
    let reset = if options.linear_before_reset { GruReset::After } else { GruReset::Before };
    each(grus, |direction, gru| {
        let biases = biases.as_ref().map(|biases| biases.direction(direction));
        gru.build(biases, reset, [options.activation, options.gate_activation])
    })
}

/// The cells of all directions, or the first error.
fn each<T, C, const N: usize>(
    parts: [T; N],
    mut cell: impl FnMut(usize, T) -> Result<C, Error>,
) -> Result<[C; N], Error> {
    let cells: Result<Vec<C>, Error> = parts.into_iter().enumerate().map(|(i, part)| cell(i, part)).collect();
    Ok(cells?.try_into().unwrap_or_else(|_| unreachable!("one cell per direction")))
}

/// An operator with `N` directions: its prefix and its sizes, which come from the checked shapes.
struct Node<'p, const N: usize> {
    prefix: &'p str,
    gates: usize,
    input: usize,
    hidden: usize,
    use_bias: bool,
}

/// `B`, (directions, 2 · gates · hidden).
struct Biases<E>(Array2<E>);

impl<E: Float> Biases<E> {
    /// The biases of W and R for one direction.
    fn direction(&self, direction: usize) -> [ArrayView1<'_, E>; 2] {
        let (w, r) = self.0.index_axis(Axis(0), direction).split_at(Axis(0), self.0.ncols() / 2);
        [w, r]
    }
}

impl<'p, const N: usize> Node<'p, N> {
    fn new<E: Float>(tensors: &Tensors<'_, E>, prefix: &'p str, gates: usize) -> Result<Self, Error> {
        let [w, r, b] = ["W", "R", "B"].map(|name| format!("{prefix}{name}"));
        let [_, _, input] = tensors.axes(&w, &format!("({N}, {gates} · hidden, input)"))?;
        let [_, _, hidden] = tensors.axes(&r, &format!("({N}, {gates} · hidden, hidden)"))?;
        tensors.check(&r, &[N, gates * hidden, hidden])?;
        tensors.check(&w, &[N, gates * hidden, input])?;
        let use_bias = tensors.contains(&b);
        if use_bias {
            tensors.check(&b, &[N, 2 * gates * hidden])?;
        }
        Ok(Self { prefix, gates, input, hidden, use_bias })
    }

    /// Calls `put` with each direction's weight matrices, transposed, and the row of our kernel where each begins.
    fn matrices<E: Float>(
        &self,
        tensors: &mut Tensors<'_, E>,
        mut put: impl FnMut(usize, usize, ArrayView2<E>),
    ) -> Result<(), Error> {
        for (name, row) in [("W", 0), ("R", self.input)] {
            let matrices: ArrayD<E> = tensors.take(&format!("{}{name}", self.prefix))?;
            for (direction, matrix) in matrices.outer_iter().enumerate() {
                put(direction, row, matrix.into_dimensionality().expect("three axes were checked").reversed_axes());
            }
        }
        Ok(())
    }

    fn biases<E: Float>(&self, tensors: &mut Tensors<'_, E>) -> Result<Option<Biases<E>>, Error> {
        let shape = (N, 2 * self.gates * self.hidden);
        let name = format!("{}B", self.prefix);
        self.use_bias.then(|| tensors.take_matrix(&name, shape).map(Biases)).transpose()
    }
}
