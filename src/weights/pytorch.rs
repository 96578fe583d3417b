//! PyTorch: `nn.RNN`, `nn.LSTM` and `nn.GRU`, from a state dict and back; `nn.Embedding` and `nn.Linear`, from one.
//!
//! | name | shape | blocks of rows |
//! |---|---|---|
//! | `weight_ih_l{k}` | (gates · hidden, input) | RNN: one; LSTM: i, f, g, o; GRU: r, z, n |
//! | `weight_hh_l{k}` | (gates · hidden, output) | the same |
//! | `bias_ih_l{k}`, `bias_hh_l{k}` | (gates · hidden) | the same; they are added |
//! | `weight_hr_l{k}` | (output, hidden) | LSTM with `proj_size`, which is then `output`; otherwise `output` is `hidden` |
//! | `weight` of an Embedding | (num_embeddings, embedding_dim) | |
//! | `weight`, `bias` of a Linear | (out_features, in_features), (out_features) | |
//!
//! The backward direction's names end in `_reverse`. Layer k > 0 takes the outputs of layer k − 1, forward and backward
//! side by side. All matrices are ours, transposed. g is our j. PyTorch's GRU resets after the product
//! ([`GruReset::After`](crate::GruReset::After)) and blends h' = (1 − z) ⊙ n + z ⊙ h, so z is our u. There is no
//! `forget_bias`.
//!
//! The number of layers, sizes, biases and `proj_size` are read from the names and shapes. A prefix precedes every
//! name: `encoder.` for the module `self.encoder`, `""` for a bare module. To check the number of layers, pass a
//! [`Stack`] instead: if the last layer is missing, nothing else tells.
//!
//! Our one bias is the sum of PyTorch's two. Exports put all of it in `bias_ih` and set `bias_hh` to −0, which changes no
//! bit of a sum, except for a GRU's recurrent candidate bias, which is inside the reset gate and stays separate.
//!
//! # Files
//!
//! With the feature `pytorch`, [`read_tensors`] and [`read_state_dict`] read the `.pt` and `.pth` files of `torch.save`
//! directly, old and new. [`drop_data_parallel`] and [`fold_weight_norm`] remove what PyTorch's wrappers leave in the
//! names. To write a safetensors file instead:
//!
//! ```python
//! from safetensors.torch import save_file
//!
//! save_file({k: v.contiguous() for k, v in module.state_dict().items()}, "model.safetensors")
//! ```
//!
//! Used in `tools/pytorch_fixture.py`. `tools/pytorch_load.py` loads an export.

use super::{BatchNorm, Stack, Tensors, single};
use crate::{BasicRnn, Bidirectional, Dense, Embedding, Error, Float, Gru, Lstm, MultiRnnCell, RnnCell};
use layer::Layer;

#[cfg(feature = "pytorch")]
mod class;
mod export;
#[cfg(feature = "pytorch")]
mod file;
mod layer;
#[cfg(feature = "pytorch")]
mod machine;
mod names;
mod options;
#[cfg(feature = "pytorch")]
mod pickle;
#[cfg(feature = "pytorch")]
mod value;

pub use export::{export_dense, export_embedding, export_gru, export_lstm, export_rnn};
#[cfg(feature = "pytorch")]
pub use file::{read_state_dict, read_tensors};
pub use names::{drop_data_parallel, fold_weight_norm};
pub use options::Options;

/// Imports an `nn.Embedding`. Its `max_norm` and `padding_idx` are not in the weights and have no effect here.
///
/// # Errors
/// As [`rnn`].
pub fn embedding<E: Float>(tensors: &mut Tensors<'_, E>, prefix: &str) -> Result<Embedding<E>, Error> {
    single::embedding(tensors, &format!("{prefix}weight"))
}

/// Imports an `nn.Linear`, with or without a bias.
///
/// # Errors
/// As [`rnn`].
pub fn dense<E: Float>(tensors: &mut Tensors<'_, E>, prefix: &str) -> Result<Dense<E>, Error> {
    let [weight, bias] = ["weight", "bias"].map(|name| format!("{prefix}{name}"));
    let [output, input] = tensors.axes(&weight, "(out_features, in_features)")?;
    let bias = single::dense_bias(tensors, &bias, output)?;
    Dense::from_weights(tensors.take_matrix(&weight, (output, input))?.reversed_axes(), bias)
}

/// Imports an `nn.BatchNorm1d`, to fold it into the next layer. `eps` is not in the weights: PyTorch's default is 1e-5.
/// `num_batches_tracked` is dropped.
///
/// # Errors
/// As [`rnn`], and [`Error::InvalidNumber`] if `epsilon` is negative or not finite.
pub fn batch_norm<E: Float>(tensors: &mut Tensors<'_, E>, prefix: &str, epsilon: f64) -> Result<BatchNorm<E>, Error> {
    let names = ["weight", "bias", "running_mean", "running_var"].map(|name| format!("{prefix}{name}"));
    let norm = BatchNorm::take(tensors, names, epsilon)?;
    tensors.discard(&format!("{prefix}num_batches_tracked"));
    Ok(norm)
}

/// Imports the layers of an `nn.RNN` as a stack.
///
/// # Errors
/// - [`Error::MissingWeight`] if a tensor is missing.
/// - [`Error::TensorShape`] or [`Error::TensorDtype`] if one does not match the table or cannot be read without loss.
/// - [`Error::UnexpectedWeight`] if one is left over, such as a backward direction's.
/// - [`Error::MissingWeight`], [`Error::UnexpectedWeight`] or [`Error::ZeroSize`] if the [`Stack`] says another number of
///   layers.
pub fn rnn<'p, E: Float>(
    tensors: &mut Tensors<'_, E>,
    stack: impl Into<Stack<'p>>,
    options: &Options,
) -> Result<MultiRnnCell<Vec<BasicRnn<E>>>, Error> {
    layers(tensors, stack.into(), 1, |tensors, layer| layer.rnn(tensors, options))
}

/// Imports the layers of a bidirectional `nn.RNN`, forward and backward.
///
/// # Errors
/// As [`rnn`].
pub fn bidirectional_rnn<'p, E: Float>(
    tensors: &mut Tensors<'_, E>,
    stack: impl Into<Stack<'p>>,
    options: &Options,
) -> Result<Layers<BasicRnn<E>>, Error> {
    both(tensors, stack.into(), 1, |tensors, layer| layer.rnn(tensors, options))
}

/// Imports the layers of an `nn.LSTM` as a stack, with or without `proj_size`.
///
/// # Errors
/// As [`rnn`].
pub fn lstm<'p, E: Float>(
    tensors: &mut Tensors<'_, E>,
    stack: impl Into<Stack<'p>>,
) -> Result<MultiRnnCell<Vec<Lstm<E>>>, Error> {
    layers(tensors, stack.into(), 4, |tensors, layer| layer.lstm(tensors))
}

/// Imports the layers of a bidirectional `nn.LSTM`, forward and backward.
///
/// ```
/// use rnn_cell::{stack_bidirectional_dynamic_rnn, weights::pytorch};
/// # use rnn_cell::Lstm;
/// # use rand::SeedableRng;
/// # let rng = &mut rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// # let layer = |input, rng: &mut _| Lstm::<f32>::new(input, 4, rng);
/// # let [fw, bw] = [(); 2].map(|()| [layer(3, rng), layer(8, rng)]);
/// # let mut tensors = pytorch::export_lstm(&fw, Some(&bw), "encoder.")?;
/// # let x = ndarray::Array3::zeros((2, 5, 3));
/// let encoder = pytorch::bidirectional_lstm(&mut tensors, "encoder.")?;
/// let (outputs, ..) = stack_bidirectional_dynamic_rnn(&encoder.fw, &encoder.bw, &x, None, None, None)?;
/// assert_eq!(outputs.dim(), (2, 5, 2 * 4));
/// # Ok::<(), rnn_cell::Error>(())
/// ```
///
/// # Errors
/// As [`rnn`].
pub fn bidirectional_lstm<'p, E: Float>(
    tensors: &mut Tensors<'_, E>,
    stack: impl Into<Stack<'p>>,
) -> Result<Layers<Lstm<E>>, Error> {
    both(tensors, stack.into(), 4, |tensors, layer| layer.lstm(tensors))
}

/// Imports the layers of an `nn.GRU` as a stack.
///
/// # Errors
/// As [`rnn`].
pub fn gru<'p, E: Float>(
    tensors: &mut Tensors<'_, E>,
    stack: impl Into<Stack<'p>>,
) -> Result<MultiRnnCell<Vec<Gru<E>>>, Error> {
    layers(tensors, stack.into(), 3, |tensors, layer| layer.gru(tensors))
}

/// Imports the layers of a bidirectional `nn.GRU`, forward and backward.
///
/// # Errors
/// As [`rnn`].
pub fn bidirectional_gru<'p, E: Float>(
    tensors: &mut Tensors<'_, E>,
    stack: impl Into<Stack<'p>>,
) -> Result<Layers<Gru<E>>, Error> {
    both(tensors, stack.into(), 3, |tensors, layer| layer.gru(tensors))
}

/// Layers of two directions for [`stack_bidirectional_dynamic_rnn`](crate::stack_bidirectional_dynamic_rnn).
type Layers<C> = Bidirectional<Vec<C>>;

const KINDS: [&str; 5] = ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"];

fn name(prefix: &str, kind: &str, layer: usize, reverse: bool) -> String {
    format!("{prefix}{kind}_l{layer}{}", if reverse { "_reverse" } else { "" })
}

/// The layers of one direction.
fn layers<E: Float, C: RnnCell>(
    tensors: &mut Tensors<'_, E>,
    stack: Stack<'_>,
    gates: usize,
    cell: impl FnMut(&mut Tensors<'_, E>, &Layer) -> Result<C, Error>,
) -> Result<MultiRnnCell<Vec<C>>, Error> {
    // In such a module, layers above the first are twice as wide. Without this check their shapes would be blamed.
    let backward = KINDS.map(|kind| name(stack.prefix, kind, 0, true)).into_iter().find(|name| tensors.contains(name));
    if let Some(name) = backward {
        let kind = match gates {
            1 => "rnn",
            3 => "gru",
            _ => "lstm",
        };
        let reason = format!("`{kind}` reads one direction; `bidirectional_{kind}` reads both");
        return Err(Error::UnexpectedWeight { name, reason });
    }
    let directions = directions(tensors, stack, gates, &[false], cell)?;
    MultiRnnCell::new(directions.into_iter().flatten().collect())
}

/// The layers of both directions.
fn both<E: Float, C>(
    tensors: &mut Tensors<'_, E>,
    stack: Stack<'_>,
    gates: usize,
    cell: impl FnMut(&mut Tensors<'_, E>, &Layer) -> Result<C, Error>,
) -> Result<Layers<C>, Error> {
    let layers = directions(tensors, stack, gates, &[false, true], cell)?;
    let mut both = Bidirectional { fw: Vec::new(), bw: Vec::new() };
    for layer in layers {
        let [forward, backward] = layer.try_into().unwrap_or_else(|_| unreachable!("two directions were asked for"));
        both.fw.push(forward);
        both.bw.push(backward);
    }
    Ok(both)
}

/// The cells of the requested directions, layer by layer. No tensor with such a name may be left over.
fn directions<E: Float, C>(
    tensors: &mut Tensors<'_, E>,
    stack: Stack<'_>,
    gates: usize,
    reverse: &[bool],
    mut cell: impl FnMut(&mut Tensors<'_, E>, &Layer) -> Result<C, Error>,
) -> Result<Vec<Vec<C>>, Error> {
    let prefix = stack.prefix;
    let names = |layer, reverse| KINDS.map(|kind| name(prefix, kind, layer, reverse));
    stack.check(|layer| {
        let all = reverse.iter().flat_map(|&reverse| names(layer, reverse));
        let found = all.into_iter().find(|name| tensors.contains(name));
        found.ok_or_else(|| name(prefix, KINDS[0], layer, false))
    })?;
    // A module has biases in all of its layers or in none.
    let use_bias = find(tensors, prefix, &KINDS[2..4]).is_some();
    let mut layers = Vec::new();
    let mut below = None;
    while layers.is_empty() || names(layers.len(), false).iter().any(|name| tensors.contains(name)) {
        let mut cells = Vec::new();
        let mut output = 0;
        for &reverse in reverse {
            let layer = Layer::new(tensors, names(layers.len(), reverse), gates, use_bias, below)?;
            output += layer.output;
            cells.push(cell(tensors, &layer)?);
        }
        below = Some(output);
        layers.push(cells);
    }
    match find(tensors, prefix, &KINDS) {
        Some(left) => Err(Error::UnexpectedWeight {
            name: left.into(),
            reason: format!("the module under {prefix:?} has {} layers and no use for it", layers.len()),
        }),
        None => Ok(layers),
    }
}

/// The first tensor of one of these kinds, in any layer.
fn find<'t, E: Float>(tensors: &'t Tensors<'_, E>, prefix: &str, kinds: &[&str]) -> Option<&'t str> {
    kinds.iter().filter_map(|kind| tensors.first_with(&format!("{prefix}{kind}_l"))).min()
}
