//! PyTorch: `nn.RNN`, `nn.LSTM` and `nn.GRU`, from a state dict and back.
//!
//! | name | shape | blocks of rows |
//! |---|---|---|
//! | `weight_ih_l{k}` | (gates · hidden, input) | RNN: one; LSTM: i, f, g, o; GRU: r, z, n |
//! | `weight_hh_l{k}` | (gates · hidden, output) | the same |
//! | `bias_ih_l{k}`, `bias_hh_l{k}` | (gates · hidden) | the same; they are added |
//! | `weight_hr_l{k}` | (output, hidden) | LSTM with `proj_size`, which is then `output`; otherwise `output` is `hidden` |
//!
//! The backward direction's names end in `_reverse`. Layer k > 0 takes the outputs of layer k − 1, forward and backward
//! side by side. All matrices are transposed against ours. g is our j. PyTorch's GRU resets after the product
//! ([`GruReset::After`]) and blends h' = (1 − z) ⊙ n + z ⊙ h, so z is our u. There is no `forget_bias`.
//!
//! The number of layers, sizes, biases and `proj_size` are read from the names and shapes. A prefix precedes every
//! name: `encoder.` for the module `self.encoder`, `""` for a bare module.
//!
//! Our one bias is the sum of PyTorch's two. Exports put all of it in `bias_ih` and set `bias_hh` to 0, except for a
//! GRU's recurrent candidate bias, which is inside the reset gate and stays separate.
//!
//! # Writing the file
//!
//! ```python
//! from safetensors.torch import save_file
//!
//! save_file({k: v.contiguous() for k, v in module.state_dict().items()}, "model.safetensors")
//! ```
//!
//! The script is `tools/pytorch_fixture.py`. `tools/pytorch_load.py` loads an export.

use super::Tensors;
use super::layout::{BlockGru, IFCO, RZN, pick, put};
use crate::cells::{BasicRnnWeights, LstmWeights};
use crate::{Activation, BasicRnn, Bidirectional, Error, Float, Gru, GruReset, Lstm, MultiRnnCell, RnnCell};
use ndarray::{Array1, Array2, ArrayView2};

mod export;

pub use export::{export_gru, export_lstm, export_rnn};

/// Imports the layers of an `nn.RNN` as a stack. `activation` is its `nonlinearity`, which weights do not record.
///
/// # Errors
/// - [`Error::MissingWeight`] if a tensor is missing.
/// - [`Error::TensorShape`] or [`Error::TensorDtype`] if one does not match the table or cannot be read without loss.
/// - [`Error::UnexpectedWeight`] if one has such a name but no place, such as a backward direction's.
pub fn rnn<E: Float>(
    tensors: &mut Tensors<'_, E>,
    prefix: &str,
    activation: Activation,
) -> Result<MultiRnnCell<Vec<BasicRnn<E>>>, Error> {
    layers(tensors, prefix, 1, |tensors, layer| layer.rnn(tensors, activation))
}

/// Imports the layers of a bidirectional `nn.RNN`, forward and backward.
///
/// # Errors
/// As [`rnn`].
pub fn bidirectional_rnn<E: Float>(
    tensors: &mut Tensors<'_, E>,
    prefix: &str,
    activation: Activation,
) -> Result<Layers<BasicRnn<E>>, Error> {
    both(tensors, prefix, 1, |tensors, layer| layer.rnn(tensors, activation))
}

/// Imports the layers of an `nn.LSTM` as a stack, with or without `proj_size`.
///
/// # Errors
/// As [`rnn`].
pub fn lstm<E: Float>(tensors: &mut Tensors<'_, E>, prefix: &str) -> Result<MultiRnnCell<Vec<Lstm<E>>>, Error> {
    layers(tensors, prefix, 4, |tensors, layer| layer.lstm(tensors))
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
pub fn bidirectional_lstm<E: Float>(tensors: &mut Tensors<'_, E>, prefix: &str) -> Result<Layers<Lstm<E>>, Error> {
    both(tensors, prefix, 4, |tensors, layer| layer.lstm(tensors))
}

/// Imports the layers of an `nn.GRU` as a stack.
///
/// # Errors
/// As [`rnn`].
pub fn gru<E: Float>(tensors: &mut Tensors<'_, E>, prefix: &str) -> Result<MultiRnnCell<Vec<Gru<E>>>, Error> {
    layers(tensors, prefix, 3, |tensors, layer| layer.gru(tensors))
}

/// Imports the layers of a bidirectional `nn.GRU`, forward and backward.
///
/// # Errors
/// As [`rnn`].
pub fn bidirectional_gru<E: Float>(tensors: &mut Tensors<'_, E>, prefix: &str) -> Result<Layers<Gru<E>>, Error> {
    both(tensors, prefix, 3, |tensors, layer| layer.gru(tensors))
}

/// Layers of two directions for [`stack_bidirectional_dynamic_rnn`](crate::stack_bidirectional_dynamic_rnn).
type Layers<C> = Bidirectional<Vec<C>>;

const KINDS: [&str; 5] = ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"];

fn name(prefix: &str, kind: &str, layer: usize, reverse: bool) -> String {
    format!("{prefix}{kind}_l{layer}{}", if reverse { "_reverse" } else { "" })
}

/// One layer in one direction: its names, and its sizes as the checked shapes tell them.
struct Layer {
    names: [String; 5],
    input: usize,
    hidden: usize,
    output: usize,
    use_bias: bool,
    projects: bool,
}

impl Layer {
    /// Checks every tensor of the layer before one is taken. `below` is the size that must come in, if that is known.
    fn new<E: Float>(
        tensors: &Tensors<'_, E>,
        names: [String; 5],
        gates: usize,
        use_bias: bool,
        below: Option<usize>,
    ) -> Result<Self, Error> {
        let [weight_ih, weight_hh, bias_ih, bias_hh, weight_hr] = &names;
        let projects = gates == 4 && tensors.contains(weight_hr);
        let rows = if gates == 1 { "hidden".into() } else { format!("{gates} · hidden") };
        let ih_expected = format!("({rows}, input)");
        let [ih_rows, input] = tensors.axes(weight_ih, &ih_expected)?;
        let [hh_rows, columns] = tensors.axes(weight_hh, &format!("({rows}, output)"))?;
        let misfit = |expected| Error::TensorShape { name: weight_ih.clone(), expected, found: vec![ih_rows, input] };
        // The recurrent matrix tells the hidden size twice: where it agrees with itself another tensor is to blame.
        let hidden = if !projects && hh_rows == gates * columns {
            columns
        } else if ih_rows.is_multiple_of(gates) {
            ih_rows / gates
        } else {
            return Err(misfit(ih_expected));
        };
        if ih_rows != gates * hidden || below.is_some_and(|below| input != below) {
            let input = below.map_or("input".into(), |below| below.to_string());
            return Err(misfit(format!("[{}, {input}]", gates * hidden)));
        }
        let output = if projects { columns } else { hidden };
        tensors.check(weight_hh, &[gates * hidden, output])?;
        if use_bias {
            tensors.check(bias_ih, &[gates * hidden])?;
            tensors.check(bias_hh, &[gates * hidden])?;
        }
        if projects {
            tensors.check(weight_hr, &[output, hidden])?;
        }
        Ok(Self { input, hidden, output, use_bias, projects, names })
    }

    fn biases<E: Float>(&self, tensors: &mut Tensors<'_, E>, gates: usize) -> Result<Option<[Array1<E>; 2]>, Error> {
        let [_, _, bias_ih, bias_hh, _] = &self.names;
        let len = gates * self.hidden;
        if !self.use_bias {
            return Ok(None);
        }
        Ok(Some([tensors.take_vector(bias_ih, len)?, tensors.take_vector(bias_hh, len)?]))
    }

    /// `put` is called with both weight matrices, transposed, and the rows of our kernel where they belong.
    fn matrices<E: Float>(
        &self,
        tensors: &mut Tensors<'_, E>,
        gates: usize,
        mut put: impl FnMut(usize, ArrayView2<E>),
    ) -> Result<(), Error> {
        let rows = gates * self.hidden;
        put(0, tensors.take_matrix(&self.names[0], (rows, self.input))?.t());
        put(self.input, tensors.take_matrix(&self.names[1], (rows, self.output))?.t());
        Ok(())
    }

    fn rnn<E: Float>(&self, tensors: &mut Tensors<'_, E>, activation: Activation) -> Result<BasicRnn<E>, Error> {
        let mut kernel = Array2::zeros((self.input + self.hidden, self.hidden));
        self.matrices(tensors, 1, |row, from| put(&mut kernel, row, from, &[0]))?;
        let bias = self.biases(tensors, 1)?.map(|[input, recurrent]| input + recurrent);
        BasicRnn::<E>::builder(self.input, self.hidden)
            .activation(activation)
            .use_bias(self.use_bias)
            .build_from(BasicRnnWeights { kernel, bias })
    }

    fn lstm<E: Float>(&self, tensors: &mut Tensors<'_, E>) -> Result<Lstm<E>, Error> {
        let mut kernel = Array2::zeros((self.input + self.output, 4 * self.hidden));
        self.matrices(tensors, 4, |row, from| put(&mut kernel, row, from, &IFCO))?;
        let bias = self.biases(tensors, 4)?;
        let bias = bias.map(|[input, recurrent]| pick((input + recurrent).view(), self.hidden, &IFCO));
        let mut builder = Lstm::builder(self.input, self.hidden).forget_bias(E::zero()).use_bias(self.use_bias);
        let mut projection = None;
        if self.projects {
            builder = builder.num_proj(self.output);
            projection = Some(tensors.take_matrix(&self.names[4], (self.output, self.hidden))?.reversed_axes());
        }
        builder.build_from(LstmWeights { kernel, bias, peepholes: None, projection })
    }

    fn gru<E: Float>(&self, tensors: &mut Tensors<'_, E>) -> Result<Gru<E>, Error> {
        let mut gru = BlockGru::new(self.input, self.hidden, RZN);
        self.matrices(tensors, 3, |row, from| gru.put(row, from))?;
        let biases = self.biases(tensors, 3)?;
        let biases = biases.as_ref().map(|[input, recurrent]| [input.view(), recurrent.view()]);
        gru.build(biases, GruReset::After, [Activation::Tanh, Activation::Sigmoid])
    }
}

/// The layers of one direction.
fn layers<E: Float, C: RnnCell>(
    tensors: &mut Tensors<'_, E>,
    prefix: &str,
    gates: usize,
    cell: impl FnMut(&mut Tensors<'_, E>, &Layer) -> Result<C, Error>,
) -> Result<MultiRnnCell<Vec<C>>, Error> {
    // In such a module, layers above the first are twice as wide. Without this check their shapes would be blamed.
    let backward = KINDS.map(|kind| name(prefix, kind, 0, true)).into_iter().find(|name| tensors.contains(name));
    if let Some(name) = backward {
        let kind = match gates {
            1 => "rnn",
            3 => "gru",
            _ => "lstm",
        };
        let reason = format!("`{kind}` reads one direction; `bidirectional_{kind}` reads both");
        return Err(Error::UnexpectedWeight { name, reason });
    }
    let directions = directions(tensors, prefix, gates, &[false], cell)?;
    MultiRnnCell::new(directions.into_iter().flatten().collect())
}

/// The layers of both directions.
fn both<E: Float, C>(
    tensors: &mut Tensors<'_, E>,
    prefix: &str,
    gates: usize,
    cell: impl FnMut(&mut Tensors<'_, E>, &Layer) -> Result<C, Error>,
) -> Result<Layers<C>, Error> {
    let layers = directions(tensors, prefix, gates, &[false, true], cell)?;
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
    prefix: &str,
    gates: usize,
    reverse: &[bool],
    mut cell: impl FnMut(&mut Tensors<'_, E>, &Layer) -> Result<C, Error>,
) -> Result<Vec<Vec<C>>, Error> {
    let names = |layer, reverse| KINDS.map(|kind| name(prefix, kind, layer, reverse));
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
