//! Keras: `SimpleRNN`, `LSTM`, `GRU`, `Embedding` and `Dense`.
//!
//! | name | shape | blocks of columns |
//! |---|---|---|
//! | `kernel` | (input, gates · hidden) | SimpleRNN: one; LSTM: i, f, c, o; GRU: z, r, h |
//! | `recurrent_kernel` | (hidden, gates · hidden) | the same |
//! | `bias` | (gates · hidden) | the same; absent with `use_bias=False` |
//! | `bias` of a GRU with `reset_after` | (2, 3 · hidden) | the same; row 0 is the input's, row 1 the recurrent one |
//! | `embeddings` of an Embedding | (input_dim, output_dim) | |
//! | `kernel`, `bias` of a Dense | (input, units), (units); no bias with `use_bias=False` | |
//!
//! c is our j; z is our u, h' = z ⊙ h + (1 − z) ⊙ h̃. Our `forget_bias` is 0: the 1 of `unit_forget_bias` is in `bias`.
//! Activations are not in the weights, nor is `reset_after` without a bias: see [`Options`]. The prefix is the layer's
//! name, which Keras writes before each name (`lstm/lstm_cell/`, or `bidirectional/forward_lstm/lstm_cell/` in a
//! `Bidirectional`). At a masked step Keras repeats the last output; the drivers here return zeros, as with
//! `zero_output_for_mask=True`.
//!
//! # Files
//!
//! With the feature `hdf5`, `read_model` reads the files that Keras 2 and 3 save, `.h5`, `.keras` and `.weights.h5`, with
//! the layers' options from the model's configuration, and `Shards` what `max_shard_size` divides. To write a safetensors file instead:
//!
//! ```python
//! from safetensors.numpy import save_file
//!
//! # Keras 2; in Keras 3 the name is w.path and begins with the model's (sequential/lstm/…)
//! save_file({w.name.removesuffix(":0"): w.numpy() for w in model.weights}, "model.safetensors")
//! ```
//!
//! Used in `tools/keras_fixture.py`. [`export_lstm`] and its relatives write these names, which `tools/keras_load.py`
//! loads:
//!
//! ```python
//! file = load_file("model.safetensors")
//! for w in model.weights:
//!     w.assign(file[w.name.removesuffix(":0")])  # Keras 3: file[w.path]
//! ```

#[cfg(feature = "hdf5")]
mod config;
#[cfg(feature = "hdf5")]
mod cudnn;
mod export;
#[cfg(feature = "hdf5")]
mod file;
#[cfg(feature = "hdf5")]
mod hdf5;
#[cfg(feature = "hdf5")]
mod listed;
#[cfg(feature = "hdf5")]
mod normalization;
#[cfg(feature = "hdf5")]
mod shards;

#[cfg(feature = "hdf5")]
pub use config::Kind;
#[cfg(feature = "hdf5")]
pub use file::{Layer, Model, read_model};
#[cfg(feature = "hdf5")]
pub(super) use shards::check_whole;
#[cfg(feature = "hdf5")]
pub use shards::{Shards, read_shards};

pub use export::{export_dense, export_embedding, export_gru, export_lstm, export_simple_rnn};

use super::layout::{BlockGru, IFCO, ZRH, nothing, pick, put};
use super::{BatchNorm, Tensors, single};
use crate::cells::{BasicRnnWeights, LstmWeights};
use crate::{Activation, BasicRnn, Dense, Embedding, Error, Float, Gru, GruReset, Lstm};
use ndarray::{Array1, Array2};

/// Options of a Keras layer that its weights do not record. The defaults are Keras's.
///
/// ```
/// use rnn_cell::weights::keras::Options;
/// let of_compat_v1 = Options::default().recurrent_activation(rnn_cell::Activation::HardSigmoid);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Options {
    activation: Activation,
    recurrent_activation: Activation,
    reset_after: Option<bool>,
}

impl Default for Options {
    fn default() -> Self {
        Self { activation: Activation::Tanh, recurrent_activation: Activation::Sigmoid, reset_after: None }
    }
}

impl Options {
    /// `activation`. Default: tanh.
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// `recurrent_activation` of LSTM and GRU. Default: sigmoid. (`tf.compat.v1.keras`: hard sigmoid.)
    pub fn recurrent_activation(mut self, recurrent_activation: Activation) -> Self {
        self.recurrent_activation = recurrent_activation;
        self
    }

    /// `reset_after` of GRU. Default: what the bias's shape shows; without a bias true. (`tf.compat.v1.keras`: false.) If
    /// it is set, the bias must have that form.
    pub fn reset_after(mut self, reset_after: bool) -> Self {
        self.reset_after = Some(reset_after);
        self
    }
}

/// Imports a `SimpleRNN`. Of the options, only `activation` matters.
///
/// # Errors
/// - [`Error::MissingWeight`] if a tensor is missing.
/// - [`Error::TensorShape`] or [`Error::TensorDtype`] if one does not match the table or cannot be read without loss.
pub fn simple_rnn<E: Float>(
    tensors: &mut Tensors<'_, E>,
    prefix: &str,
    options: &Options,
) -> Result<BasicRnn<E>, Error> {
    let layer = Weights::new(tensors, prefix, 1)?;
    let bias = layer.bias(tensors, 1)?;
    let mut kernel = Array2::zeros((layer.input + layer.hidden, layer.hidden));
    layer.matrices(tensors, 1, |row, from| put(&mut kernel, row, from.view(), &[0]))?;
    BasicRnn::<E>::builder(layer.input, layer.hidden)
        .activation(options.activation)
        .use_bias(bias.is_some())
        .build_from(BasicRnnWeights { kernel, bias })
}

/// Imports an `LSTM`.
///
/// # Errors
/// As [`simple_rnn`].
pub fn lstm<E: Float>(tensors: &mut Tensors<'_, E>, prefix: &str, options: &Options) -> Result<Lstm<E>, Error> {
    let layer = Weights::new(tensors, prefix, 4)?;
    let bias = layer.bias(tensors, 4)?.map(|bias| pick(bias.view(), layer.hidden, &IFCO));
    let mut kernel = Array2::zeros((layer.input + layer.hidden, 4 * layer.hidden));
    layer.matrices(tensors, 4, |row, from| put(&mut kernel, row, from.view(), &IFCO))?;
    Lstm::builder(layer.input, layer.hidden)
        .forget_bias(E::zero())
        .use_bias(bias.is_some())
        .activation(options.activation)
        .gate_activation(options.recurrent_activation)
        .build_from(LstmWeights { kernel, bias, peepholes: None, projection: None })
}

/// Imports a `GRU`.
///
/// # Errors
/// As [`simple_rnn`].
pub fn gru<E: Float>(tensors: &mut Tensors<'_, E>, prefix: &str, options: &Options) -> Result<Gru<E>, Error> {
    let layer = Weights::new(tensors, prefix, 3)?;
    let reset_after = layer.reset_after(tensors, options.reset_after)?;
    let biases = if reset_after {
        let name = &layer.names[2];
        let both = layer.use_bias.then(|| tensors.take_matrix(name, (2, 3 * layer.hidden))).transpose()?;
        both.map(|both| [both.row(0).to_owned(), both.row(1).to_owned()])
    } else {
        layer.bias(tensors, 3)?.map(|bias| [nothing(bias.len()), bias])
    };
    let mut gru = BlockGru::new(layer.input, layer.hidden, ZRH);
    layer.matrices(tensors, 3, |row, from| gru.put(row, from.view()))?;
    let biases = biases.as_ref().map(|[input, recurrent]| [input.view(), recurrent.view()]);
    let reset = if reset_after { GruReset::After } else { GruReset::Before };
    gru.build(biases, reset, [options.activation, options.recurrent_activation])
}

/// Imports an `Embedding`. A mask of 0 (`mask_zero`) is not in the weights: pass lengths to the driver.
///
/// # Errors
/// As [`simple_rnn`].
pub fn embedding<E: Float>(tensors: &mut Tensors<'_, E>, prefix: &str) -> Result<Embedding<E>, Error> {
    single::embedding(tensors, &format!("{prefix}embeddings"))
}

/// Imports a `Dense`. Its activation is not in the weights and has no effect here.
///
/// # Errors
/// As [`simple_rnn`].
pub fn dense<E: Float>(tensors: &mut Tensors<'_, E>, prefix: &str) -> Result<Dense<E>, Error> {
    single::dense(tensors, prefix)
}

/// Imports a `BatchNormalization`, to fold it into the next layer. `epsilon` is not in the weights: Keras's default is
/// 0.001.
///
/// # Errors
/// As [`simple_rnn`], and [`Error::InvalidNumber`] if `epsilon` is negative or not finite.
pub fn batch_norm<E: Float>(tensors: &mut Tensors<'_, E>, prefix: &str, epsilon: f64) -> Result<BatchNorm<E>, Error> {
    let names = ["gamma", "beta", "moving_mean", "moving_variance"].map(|name| format!("{prefix}{name}"));
    BatchNorm::take(tensors, names, epsilon)
}

/// A layer's names and its sizes, which come from the checked shapes.
struct Weights {
    names: [String; 3],
    input: usize,
    hidden: usize,
    use_bias: bool,
}

impl Weights {
    fn new<E: Float>(tensors: &Tensors<'_, E>, prefix: &str, gates: usize) -> Result<Self, Error> {
        let names = ["kernel", "recurrent_kernel", "bias"].map(|name| format!("{prefix}{name}"));
        let [kernel, recurrent_kernel, bias] = &names;
        let [input, _] = tensors.axes(kernel, &format!("(input, {gates} · hidden)"))?;
        let [hidden, _] = tensors.axes(recurrent_kernel, &format!("(hidden, {gates} · hidden)"))?;
        tensors.check(recurrent_kernel, &[hidden, gates * hidden])?;
        tensors.check(kernel, &[input, gates * hidden])?;
        let use_bias = tensors.contains(bias);
        if use_bias && matches!(tensors.shape(bias)?, &[len] if gates > 1 && len == 2 * gates * hidden) {
            let expected = "one bias: two are a CuDNN layer's, whose kernels have another layout, too".into();
            return Err(Error::TensorShape { name: bias.clone(), expected, found: vec![2 * gates * hidden] });
        }
        Ok(Self { input, hidden, use_bias, names })
    }

    /// Whether a GRU resets after the product, as its bias shows. If `said` is another, an error names both forms.
    fn reset_after<E: Float>(&self, tensors: &Tensors<'_, E>, said: Option<bool>) -> Result<bool, Error> {
        let [_, _, bias] = &self.names;
        let width = 3 * self.hidden;
        let shape = if self.use_bias { tensors.shape(bias)? } else { &[] };
        let shown = match shape {
            [len] if *len == width => Some(false),
            [2, len] if *len == width => Some(true),
            _ => None,
        };
        let expected = match (said, shown) {
            (Some(true), Some(false)) => {
                format!("[2, {width}] with `reset_after(true)`; set it to false for [{width}]")
            }
            (Some(false), Some(true)) => {
                format!("[{width}] with `reset_after(false)`; set it to true for [2, {width}]")
            }
            _ => return Ok(said.or(shown).unwrap_or(true)),
        };
        Err(Error::TensorShape { name: bias.clone(), expected, found: shape.into() })
    }

    /// The bias of a layer that stores it as one vector.
    fn bias<E: Float>(&self, tensors: &mut Tensors<'_, E>, gates: usize) -> Result<Option<Array1<E>>, Error> {
        self.use_bias.then(|| tensors.take_vector(&self.names[2], gates * self.hidden)).transpose()
    }

    /// Calls `put` with both weight matrices and the row of our kernel where each begins.
    fn matrices<E: Float>(
        &self,
        tensors: &mut Tensors<'_, E>,
        gates: usize,
        mut put: impl FnMut(usize, Array2<E>),
    ) -> Result<(), Error> {
        let columns = gates * self.hidden;
        put(0, tensors.take_matrix(&self.names[0], (self.input, columns))?);
        put(self.input, tensors.take_matrix(&self.names[1], (self.hidden, columns))?);
        Ok(())
    }
}
