//! TensorFlow 1: the variables of `BasicRNNCell`, `LSTMCell` (and `BasicLSTMCell`) and `GRUCell`; of
//! `tf.layers.dense`.
//!
//! | name | shape | blocks of columns |
//! |---|---|---|
//! | RNN `kernel` | (input + hidden, hidden) | one |
//! | LSTM `kernel` | (input + output, 4 · hidden) | i, j, f, o |
//! | `bias` | as wide as `kernel` | the same |
//! | LSTM `w_f_diag`, `w_i_diag`, `w_o_diag` | (hidden), with `use_peepholes` | |
//! | LSTM `projection/kernel` | (hidden, output), with `num_proj` | |
//! | GRU `gates/kernel`, `gates/bias` | (input + hidden, 2 · hidden) | r, u |
//! | GRU `candidate/kernel`, `candidate/bias` | (input + hidden, hidden) | one |
//! | dense `kernel`, `bias` | (input, output), (output); no bias with `use_bias=False` | |
//!
//! Names, layout and gate order are the same as here. The GRU resets before the product. `forget_bias` is not in
//! `bias`: it is one of the [`Options`], 1 by default in both. The scopes before each name are the prefix:
//!
//! | graph | prefix |
//! |---|---|
//! | `dynamic_rnn` of an `LSTMCell` | `rnn/lstm_cell/` |
//! | of a `BasicLSTMCell`, a `GRUCell`, a `BasicRNNCell` | `rnn/basic_lstm_cell/`, `rnn/gru_cell/`, `rnn/basic_rnn_cell/` |
//! | of a `MultiRNNCell` | `rnn/multi_rnn_cell/cell_0/lstm_cell/`, …: [`multi`] |
//! | `bidirectional_dynamic_rnn` | `bidirectional_rnn/fw/lstm_cell/` and `…/bw/…`: [`bidirectional`] |
//! | `stack_bidirectional_dynamic_rnn` | `stack_bidirectional_rnn/cell_0/bidirectional_rnn/fw/lstm_cell/`, …: [`stack_bidirectional`] |
//!
//! Other wrappers add no scope. Before TensorFlow 1.2 a `kernel` was called `weights` and a `bias` `biases`: these names
//! are read, too.
//!
//! # Files
//!
//! With the feature `tensorflow`, `Checkpoint::open` reads a checkpoint of TensorFlow 1 or 2. To write a safetensors file
//! instead:
//!
//! ```python
//! import tensorflow as tf
//! from safetensors.numpy import save_file
//!
//! reader = tf.train.load_checkpoint("model.ckpt")
//! save_file({name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}, "model.safetensors")
//! ```
//!
//! For the other direction, [`export_lstm`] and its relatives write these names, which `tools/tensorflow_load.py` loads:
//!
//! ```python
//! from safetensors.numpy import load_file
//!
//! file = load_file("model.safetensors")
//! for variable in tf.compat.v1.global_variables("rnn/"):
//!     variable.load(file[variable.op.name], session)
//! ```
//!
//! A training checkpoint also holds `global_step` and the optimizer's slots: [`drop_training_variables`] drops them.
//! Used in `tools/tensorflow_fixture.py` and `tools/tensorflow_load.py`.

#[cfg(feature = "tensorflow")]
mod checkpoint;
mod export;
mod options;
mod scopes;
#[cfg(feature = "tensorflow")]
mod table;

#[cfg(feature = "tensorflow")]
pub use checkpoint::{Checkpoint, read_checkpoint};
pub use export::{export_basic_rnn, export_dense, export_embedding, export_gru, export_lstm};
pub use options::Options;
pub use scopes::{bidirectional, multi, stack_bidirectional};

use super::{BatchNorm, Tensors, single};
use crate::cells::{BasicRnnWeights, GruWeights, LstmWeights, Peepholes};
use crate::{BasicRnn, Dense, Embedding, Error, Float, Gru, Lstm};

/// Imports a variable that `tf.nn.embedding_lookup` reads, (vocabulary, features). A graph names it as it likes, so
/// `name` is the whole name.
///
/// # Errors
/// As [`basic_rnn`].
pub fn embedding<E: Float>(tensors: &mut Tensors<'_, E>, name: &str) -> Result<Embedding<E>, Error> {
    single::embedding(tensors, name)
}

/// Imports a `tf.layers.dense`, whose prefix is `dense/` if it was given no name. Its activation is not in the variables
/// and has no effect here.
///
/// # Errors
/// As [`basic_rnn`].
pub fn dense<E: Float>(tensors: &mut Tensors<'_, E>, prefix: &str) -> Result<Dense<E>, Error> {
    single::dense(tensors, prefix)
}

/// Imports a `tf.layers.batch_normalization`, to fold it into the next layer. `epsilon` is not in the variables:
/// TensorFlow's default is 0.001.
///
/// # Errors
/// As [`basic_rnn`], and [`Error::InvalidNumber`] if `epsilon` is negative or not finite.
pub fn batch_norm<E: Float>(tensors: &mut Tensors<'_, E>, prefix: &str, epsilon: f64) -> Result<BatchNorm<E>, Error> {
    let names = ["gamma", "beta", "moving_mean", "moving_variance"].map(|name| format!("{prefix}{name}"));
    BatchNorm::take(tensors, names, epsilon)
}

/// Imports a `BasicRNNCell`. Of the options, only `activation` matters.
///
/// # Errors
/// - [`Error::MissingWeight`] if a tensor is missing.
/// - [`Error::TensorShape`] or [`Error::TensorDtype`] if one does not match the table or cannot be read without loss.
/// - [`Error::InvalidNumber`] if an option's number is out of range.
pub fn basic_rnn<E: Float>(
    tensors: &mut Tensors<'_, E>,
    prefix: &str,
    options: &Options,
) -> Result<BasicRnn<E>, Error> {
    let [kernel, bias] = ["kernel", "bias"].map(|name| named(tensors, prefix, name));
    let [rows, hidden] = tensors.axes(&kernel, "(input + hidden, hidden)")?;
    let input = input_size(tensors, &kernel, rows, hidden)?;
    let bias = Some(tensors.take_vector(&bias, hidden)?);
    let kernel = tensors.take_matrix(&kernel, (rows, hidden))?;
    let builder = BasicRnn::<E>::builder(input, hidden).activation(options.activation);
    builder.build_from(BasicRnnWeights { kernel, bias })
}

/// Imports an `LSTMCell` or `BasicLSTMCell`, with peepholes and a projection if there are variables for them.
///
/// ```
/// # use ndarray::{Array1, Array2};
/// # use rnn_cell::weights::{Tensors, tensorflow};
/// # let mut tensors = Tensors::<f32>::new();
/// # tensors.insert("rnn/lstm_cell/kernel", Array2::zeros((5, 8)));
/// # tensors.insert("rnn/lstm_cell/bias", Array1::zeros(8));
/// let cell = tensorflow::lstm(&mut tensors, "rnn/lstm_cell/", &tensorflow::Options::default().cell_clip(3.0))?;
/// # Ok::<(), rnn_cell::Error>(())
/// ```
///
/// # Errors
/// As [`basic_rnn`].
pub fn lstm<E: Float>(tensors: &mut Tensors<'_, E>, prefix: &str, options: &Options) -> Result<Lstm<E>, Error> {
    let names = ["kernel", "bias", "w_f_diag", "w_i_diag", "w_o_diag", "projection/kernel"];
    let [kernel, bias, w_f_diag, w_i_diag, w_o_diag, projection] = names.map(|name| named(tensors, prefix, name));
    let [rows, columns] = tensors.axes(&kernel, "(input + output, 4 · hidden)")?;
    let hidden = columns / 4;
    tensors.check(&kernel, &[rows, 4 * hidden])?;
    tensors.check(&bias, &[4 * hidden])?;
    let mut output = hidden;
    let projects = tensors.contains(&projection);
    if projects {
        [_, output] = tensors.axes(&projection, "(hidden, output)")?;
        tensors.check(&projection, &[hidden, output])?;
    }
    let mut builder = Lstm::builder(input_size(tensors, &kernel, rows, output)?, hidden);
    if projects {
        builder = builder.num_proj(output);
    }
    let peepholes = if [&w_f_diag, &w_i_diag, &w_o_diag].into_iter().any(|name| tensors.contains(name)) {
        builder = builder.use_peepholes(true);
        Some(Peepholes {
            w_f_diag: tensors.take_vector(&w_f_diag, hidden)?,
            w_i_diag: tensors.take_vector(&w_i_diag, hidden)?,
            w_o_diag: tensors.take_vector(&w_o_diag, hidden)?,
        })
    } else {
        None
    };
    options.of_lstm(builder).build_from(LstmWeights {
        bias: Some(tensors.take_vector(&bias, 4 * hidden)?),
        projection: projects.then(|| tensors.take_matrix(&projection, (hidden, output))).transpose()?,
        kernel: tensors.take_matrix(&kernel, (rows, 4 * hidden))?,
        peepholes,
    })
}

/// Imports a `GRUCell`. Of the options, only `activation` matters.
///
/// # Errors
/// As [`basic_rnn`].
pub fn gru<E: Float>(tensors: &mut Tensors<'_, E>, prefix: &str, options: &Options) -> Result<Gru<E>, Error> {
    let names = ["gates/kernel", "gates/bias", "candidate/kernel", "candidate/bias"];
    let [gates_kernel, gates_bias, candidate_kernel, candidate_bias] = names.map(|name| named(tensors, prefix, name));
    let [rows, hidden] = tensors.axes(&candidate_kernel, "(input + hidden, hidden)")?;
    let input = input_size(tensors, &candidate_kernel, rows, hidden)?;
    let weights = GruWeights {
        gates_bias: Some(tensors.take_vector(&gates_bias, 2 * hidden)?),
        candidate_bias: Some(tensors.take_vector(&candidate_bias, hidden)?),
        candidate_recurrent_bias: None,
        gates_kernel: tensors.take_matrix(&gates_kernel, (rows, 2 * hidden))?,
        candidate_kernel: tensors.take_matrix(&candidate_kernel, (rows, hidden))?,
    };
    Gru::<E>::builder(input, hidden).activation(options.activation).build_from(weights)
}

/// Removes what a checkpoint holds only to resume training: `global_step`, `beta1_power` and `beta2_power`, and the
/// slots that TensorFlow's optimizers keep for each variable (`…/Adam`, `…/Adam_1`, `…/Momentum`, `…/RMSProp`, …). Of
/// TensorFlow 2: `save_counter`, the slots `…/.OPTIMIZER_SLOT/…` and Keras's `…optimizer/_variables/…`, `…/_iterations`, ….
///
/// Moving averages (`…/ExponentialMovingAverage`) stay: they are weights that you may want.
pub fn drop_training_variables<E: Float>(tensors: &mut Tensors<'_, E>) {
    const SLOTS: [&str; 8] =
        ["Adam", "Momentum", "RMSProp", "Adagrad", "Adadelta", "Ftrl", "AdaMax", "GradientDescent"];
    tensors.retain(|name| {
        let last = name.rsplit('/').next().unwrap_or(name);
        // A second slot or optimizer is numbered: Adam_1, beta1_power_1.
        let numbered = last.rsplit_once('_').filter(|(_, n)| n.bytes().all(|b| b.is_ascii_digit()));
        let kind = numbered.map_or(last, |(kind, _)| kind);
        let slot = name.contains('/') && SLOTS.contains(&kind);
        let counters = ["global_step", "beta1_power", "beta2_power", "save_counter"];
        !(slot || name.contains("/.OPTIMIZER_SLOT/") || name.contains("optimizer/_") || counters.contains(&kind))
    });
}

/// A variable's name: that before TensorFlow 1.2 if there is none of the later.
fn named<E: Float>(tensors: &Tensors<'_, E>, prefix: &str, name: &str) -> String {
    let new = format!("{prefix}{name}");
    let old = match new.strip_suffix("kernel") {
        Some(start) => format!("{start}weights"),
        None => new.strip_suffix("bias").map_or(new.clone(), |start| format!("{start}biases")),
    };
    if !tensors.contains(&new) && tensors.contains(&old) { old } else { new }
}

/// The rows of a kernel minus those of the state, at least 1.
fn input_size<E: Float>(tensors: &Tensors<'_, E>, kernel: &str, rows: usize, state: usize) -> Result<usize, Error> {
    rows.checked_sub(state).filter(|&input| input > 0).ok_or_else(|| Error::TensorShape {
        name: kernel.into(),
        expected: format!("more than {state} rows (input + {state})"),
        found: tensors.shape(kernel).unwrap_or_default().into(),
    })
}
