//! Exports cells to a PyTorch state dict.

use super::super::Tensors;
use super::super::layout::{IFCO, pick, put};
use super::{KINDS, name};
use crate::cells::{GruWeights, LstmWeights};
use crate::{Activation, BasicRnn, Error, Float, Gru, GruReset, Lstm, RnnCell};
use ndarray::{Array1, Array2, Axis, concatenate, s};

/// Where our i, j, f, o stand as PyTorch's i, f, g, o. (The order is its own inverse.)
const IFGO: [usize; 4] = IFCO;

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
            return Err(refused("nn.RNN", ALIKE, "one that differs".into()));
        }
        let (kernel, hidden) = (&cell.weights().kernel, cell.output_size());
        let blocks = Blocks { kernel: kernel.clone(), gates: 1, hidden, bias: cell.weights().bias.clone() };
        Ok(blocks.tensors(cell.input_size()))
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
        let LstmWeights { kernel, bias, peepholes, projection } = cell.weights();
        let plain = "tanh, sigmoid, no peepholes and no clip";
        if peepholes.is_some() {
            return Err(refused("nn.LSTM", plain, "peepholes".into()));
        }
        if options.cell_clip.is_some() || (options.proj_clip.is_some() && projection.is_some()) {
            return Err(refused("nn.LSTM", plain, "a clip".into()));
        }
        if (options.activation, options.gate_activation) != (Activation::Tanh, Activation::Sigmoid) {
            let found = format!("{:?} and {:?}", options.activation, options.gate_activation);
            return Err(refused("nn.LSTM", plain, found));
        }
        if first != Some(alike(cell)) {
            return Err(refused("nn.LSTM", ALIKE, "one that differs".into()));
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
        let mut to = Array2::zeros(kernel.dim());
        put(&mut to, 0, kernel.view(), &IFGO);
        let bias = bias.as_ref().map(|bias| {
            let mut bias = bias.clone();
            bias.slice_mut(s![2 * hidden..3 * hidden]).mapv_inplace(|f| f + options.forget_bias);
            pick(bias.view(), hidden, &IFGO)
        });
        let mut tensors = Blocks { kernel: to, gates: 4, hidden, bias }.tensors(cell.input_size());
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
            return Err(refused("nn.GRU", "GruReset::After", "GruReset::Before".into()));
        }
        let (gates, candidate) = cell.activations();
        if (gates, candidate) != (Activation::Sigmoid, Activation::Tanh) {
            return Err(refused("nn.GRU", "tanh and sigmoid", format!("{candidate:?} and {gates:?}")));
        }
        let GruWeights { gates_kernel, gates_bias, candidate_kernel, candidate_bias, candidate_recurrent_bias } =
            cell.weights();
        if first != Some(gates_bias.is_some()) {
            return Err(refused("nn.GRU", ALIKE, "one that differs".into()));
        }
        let hidden = cell.output_size();
        let join = |axis, a, b| concatenate(axis, &[a, b]).expect("the cell's weights fit together");
        let kernel = join(Axis(1), gates_kernel.view(), candidate_kernel.view());
        let bias = gates_bias.as_ref().zip(candidate_bias.as_ref());
        let bias = bias
            .map(|(gates, candidate)| concatenate(Axis(0), &[gates.view(), candidate.view()]).expect("vectors join"));
        let mut tensors = Blocks { kernel, gates: 3, hidden, bias }.tensors(cell.input_size());
        if let (Some([_, recurrent]), Some(bias)) = (&mut tensors.biases, candidate_recurrent_bias) {
            recurrent.slice_mut(s![2 * hidden..]).assign(bias);
        }
        Ok(tensors)
    })
}

const ALIKE: &str = "layers with the same hidden size and options";

fn refused(module: &'static str, expected: &'static str, found: String) -> Error {
    Error::NotRepresentable { module, expected, found }
}

/// Our kernel and bias, gates already in PyTorch's order.
struct Blocks<E> {
    kernel: Array2<E>,
    gates: usize,
    hidden: usize,
    bias: Option<Array1<E>>,
}

/// The tensors of a layer in one direction, in the order of [`KINDS`].
struct LayerTensors<E> {
    weight_ih: Array2<E>,
    weight_hh: Array2<E>,
    biases: Option<[Array1<E>; 2]>,
    projection: Option<Array2<E>>,
}

impl<E: Float> Blocks<E> {
    fn tensors(self, input: usize) -> LayerTensors<E> {
        let transposed = |rows| self.kernel.slice(rows).t().as_standard_layout().into_owned();
        LayerTensors {
            weight_ih: transposed(s![..input, ..]),
            weight_hh: transposed(s![input.., ..]),
            biases: self.bias.map(|bias| [bias, Array1::zeros(self.gates * self.hidden)]),
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
