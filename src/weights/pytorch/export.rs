//! Exports cells to a PyTorch state dict.

use super::super::layout::{IFCO, RZN, gru_blocks, lstm_blocks, nothing, refused};
use super::super::{Tensors, single};
use super::{KINDS, name};
use crate::cells::{BasicRnnWeights, LstmWeights};
use crate::{Activation, BasicRnn, Dense, Embedding, Error, Float, Gru, GruReset, Lstm, RnnCell};
use ndarray::{Array1, Array2, s};

/// Exports layers to the state dict of an `nn.RNN` that computes the same. `backward` makes it bidirectional.
///
/// # Errors
/// [`Error::NotRepresentable`] if there are no layers, or not as many backward as forward, or they differ in hidden size
/// or options, do not fit together, or have an activation other than tanh and relu.
pub fn export_rnn<E: Float>(
    forward: &[BasicRnn<E>],
    backward: Option<&[BasicRnn<E>]>,
    prefix: &str,
) -> Result<Tensors<'static, E>, Error> {
    let first = forward.first().map(|cell| (cell.activation(), cell.weights().bias.is_some()));
    export("nn.RNN", forward, backward, prefix, |cell| {
        if !matches!(cell.activation(), Activation::Tanh | Activation::Relu) {
            return Err(refused("nn.RNN", "tanh or relu", format!("{:?}", cell.activation())));
        }
        if first != Some((cell.activation(), cell.weights().bias.is_some())) {
            return Err(refused("nn.RNN", ALIKE, "one that differs"));
        }
        let BasicRnnWeights { kernel, bias } = cell.weights().clone();
        Ok(LayerTensors::new(kernel, cell.input_size(), bias.map(with_nothing)))
    })
}

/// Exports layers to the state dict of an `nn.LSTM` that computes the same. `backward` makes it bidirectional.
/// `forget_bias` goes into `bias_ih`.
///
/// # Errors
/// [`Error::NotRepresentable`] if there are no layers, or not as many backward as forward, or they differ in hidden
/// size, projection or bias, do not fit together, have peepholes, clips, or activations other than tanh and sigmoid,
/// have a projection that is not smaller than the hidden size, or have a forget_bias but no bias.
pub fn export_lstm<E: Float>(
    forward: &[Lstm<E>],
    backward: Option<&[Lstm<E>]>,
    prefix: &str,
) -> Result<Tensors<'static, E>, Error> {
    let alike =
        |cell: &Lstm<E>| (cell.hidden_size(), cell.weights().bias.is_some(), cell.weights().projection.is_some());
    let first = forward.first().map(alike);
    export("nn.LSTM", forward, backward, prefix, |cell| {
        let options = cell.options();
        let LstmWeights { bias, peepholes, projection, .. } = cell.weights();
        let plain = "tanh, sigmoid, no peepholes and no clip";
        if peepholes.is_some() {
            return Err(refused("nn.LSTM", plain, "peepholes"));
        }
        if options.cell_clip.is_some() || (options.proj_clip.is_some() && projection.is_some()) {
            return Err(refused("nn.LSTM", plain, "a clip"));
        }
        if (options.activation, options.gate_activation) != (Activation::Tanh, Activation::Sigmoid) {
            let found = format!("{:?} and {:?}", options.activation, options.gate_activation);
            return Err(refused("nn.LSTM", plain, found));
        }
        if first != Some(alike(cell)) {
            return Err(refused("nn.LSTM", ALIKE, "one that differs"));
        }
        let hidden = cell.hidden_size();
        if projection.is_some() && cell.output_size() >= hidden {
            let found = format!("num_proj {}", cell.output_size());
            return Err(refused("nn.LSTM", "a proj_size smaller than hidden_size", found));
        }
        if bias.is_none() && options.forget_bias != E::zero() {
            let found = format!("forget_bias {} and no bias", options.forget_bias);
            return Err(refused("nn.LSTM", "no forget_bias without a bias", found));
        }
        let (kernel, bias) = lstm_blocks(cell, &IFCO, E::zero());
        let mut tensors = LayerTensors::new(kernel, cell.input_size(), bias.map(with_nothing));
        tensors.projection = projection.as_ref().map(|kernel| kernel.t().as_standard_layout().into_owned());
        Ok(tensors)
    })
}

/// Exports layers to the state dict of an `nn.GRU` that computes the same. `backward` makes it bidirectional.
///
/// # Errors
/// [`Error::NotRepresentable`] if there are no layers, or not as many backward as forward, or they differ in hidden
/// size or bias, do not fit together, reset before the product, or have activations other than tanh and sigmoid.
pub fn export_gru<E: Float>(
    forward: &[Gru<E>],
    backward: Option<&[Gru<E>]>,
    prefix: &str,
) -> Result<Tensors<'static, E>, Error> {
    let first = forward.first().map(|cell| cell.weights().gates_bias.is_some());
    export("nn.GRU", forward, backward, prefix, |cell| {
        if cell.reset() != GruReset::After {
            return Err(refused("nn.GRU", "GruReset::After", "GruReset::Before"));
        }
        let (gates, candidate) = cell.activations();
        if (gates, candidate) != (Activation::Sigmoid, Activation::Tanh) {
            return Err(refused("nn.GRU", "tanh and sigmoid", format!("{candidate:?} and {gates:?}")));
        }
        if first != Some(cell.weights().gates_bias.is_some()) {
            return Err(refused("nn.GRU", ALIKE, "one that differs"));
        }
        let (kernel, biases) = gru_blocks(cell, &RZN);
        Ok(LayerTensors::new(kernel, cell.input_size(), biases))
    })
}

/// Exports a [`Dense`] to the state dict of an `nn.Linear`.
#[must_use]
pub fn export_dense<E: Float>(dense: &Dense<E>, prefix: &str) -> Tensors<'static, E> {
    let mut tensors = Tensors::new();
    tensors.insert(format!("{prefix}weight"), dense.kernel().t().as_standard_layout().into_owned());
    if let Some(bias) = dense.bias() {
        tensors.insert(format!("{prefix}bias"), bias.clone());
    }
    tensors
}

/// Exports an [`Embedding`] to the state dict of an `nn.Embedding`.
#[must_use]
pub fn export_embedding<E: Float>(embedding: &Embedding<E>, prefix: &str) -> Tensors<'static, E> {
    single::export_embedding(embedding, &format!("{prefix}weight"))
}

const ALIKE: &str = "layers with the same hidden size and options";

/// Our one bias, and nothing as the second.
fn with_nothing<E: Float>(bias: Array1<E>) -> [Array1<E>; 2] {
    let nothing = nothing(bias.len());
    [bias, nothing]
}

/// The tensors of a layer in one direction, in the order of [`KINDS`].
struct LayerTensors<E> {
    weight_ih: Array2<E>,
    weight_hh: Array2<E>,
    biases: Option<[Array1<E>; 2]>,
    projection: Option<Array2<E>>,
}

impl<E: Float> LayerTensors<E> {
    /// Of our kernel, gates already in PyTorch's order.
    fn new(kernel: Array2<E>, input: usize, biases: Option<[Array1<E>; 2]>) -> Self {
        let transposed = |rows| kernel.slice(rows).t().as_standard_layout().into_owned();
        Self {
            weight_ih: transposed(s![..input, ..]),
            weight_hh: transposed(s![input.., ..]),
            biases,
            projection: None,
        }
    }
}

fn export<C: RnnCell<Elem = E>, E: Float>(
    module: &'static str,
    forward: &[C],
    backward: Option<&[C]>,
    prefix: &str,
    convert: impl Fn(&C) -> Result<LayerTensors<E>, Error>,
) -> Result<Tensors<'static, E>, Error> {
    let mut tensors = Tensors::new();
    let directions: Vec<(&[C], bool)> = [(forward, false)].into_iter().chain(backward.map(|b| (b, true))).collect();
    if forward.is_empty() || backward.is_some_and(|backward| backward.len() != forward.len()) {
        let found = format!("{} forward and {} backward layers", forward.len(), backward.map_or(0, <[C]>::len));
        return Err(refused(module, "at least one layer, and as many backward as forward", found));
    }
    for layer in 0..forward.len() {
        for &(cells, reverse) in &directions {
            let cell = &cells[layer];
            let below = match layer {
                0 => forward[0].input_size(),
                _ => directions.iter().map(|(cells, _)| cells[layer - 1].output_size()).sum(),
            };
            if cell.input_size() != below || cell.output_size() != forward[0].output_size() {
                let found = format!("layer {layer} from {} to {} features", cell.input_size(), cell.output_size());
                return Err(refused(module, "layers that fit together and have the same output size", found));
            }
            let LayerTensors { weight_ih, weight_hh, biases, projection } = convert(cell)?;
            let [ih, hh, bias_ih, bias_hh, hr] = KINDS.map(|kind| name(prefix, kind, layer, reverse));
            tensors.insert(ih, weight_ih);
            tensors.insert(hh, weight_hh);
            if let Some([input, recurrent]) = biases {
                tensors.insert(bias_ih, input);
                tensors.insert(bias_hh, recurrent);
            }
            if let Some(projection) = projection {
                tensors.insert(hr, projection);
            }
        }
    }
    Ok(tensors)
}
