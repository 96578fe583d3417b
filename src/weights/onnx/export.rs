//! Writes layers as a model.

mod writer;

use super::graph::{GRAPH_INPUT, GRAPH_OUTPUT};
use super::operator::{Operator, check_alike};
use crate::Error;
use crate::weights::replace::replace;
use std::io::Write;
use std::path::Path;
use writer::{INT32, Writer, element};

/// Exports layers of [`BasicRnn`](crate::BasicRnn), [`Lstm`](crate::Lstm) or [`Gru`](crate::Gru) as a model that ONNX
/// Runtime and others run: one node for each layer, with both directions if there are two.
///
/// | input | shape | |
/// |---|---|---|
/// | `x` | (seq, batch, input) | |
/// | `sequence_lens` | (batch), `int32` | with [`sequence_lens`](Self::sequence_lens) |
/// | `initial_h_0`, `initial_c_0`, … | (directions, batch, hidden) | with [`states`](Self::states), for each layer |
///
/// | output | shape | |
/// |---|---|---|
/// | `y` | (seq, batch, directions · hidden) | of the last layer, as [`concat_outputs`](crate::concat_outputs) joins them |
/// | `final_h_0`, `final_c_0`, … | (directions, batch, hidden) | with `states` |
///
/// Inputs and outputs are in this order in the file. The layers' nodes are `layer_0`, `layer_1` and so on. A layer reads the outputs of the one below, in both directions
/// side by side. An LSTM's `forget_bias` becomes a part of its bias. Weights are of the cells' element type: ONNX
/// Runtime runs `f32` on a CPU. [`Model`](super::Model) reads them back bit for bit.
///
/// ```
/// use rand::SeedableRng;
/// use rnn_cell::{Lstm, MultiRnnCell, weights::onnx};
///
/// let rng = &mut rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let stack = MultiRnnCell::new(vec![Lstm::<f32>::new(4, 8, rng), Lstm::new(8, 8, rng)])?;
/// let bytes = onnx::Export::new(stack.cells()).sequence_lens(true).to_bytes()?; // or save("stack.onnx")?
/// let model = onnx::Model::from_bytes(&bytes)?;
/// assert_eq!(model.node("layer_1")?.sizes()?, (8, 8));
/// # Ok::<(), rnn_cell::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is saved"]
pub struct Export<'c, C> {
    forward: &'c [C],
    backward: Option<&'c [C]>,
    sequence_lens: bool,
    states: bool,
}

impl<'c, C: Operator> Export<'c, C> {
    /// A model of these layers, the first one reading the inputs.
    pub fn new(forward: &'c [C]) -> Self {
        Self { forward, backward: None, sequence_lens: false, states: false }
    }

    /// The backward cells of the same layers. Default: none, so that the model runs forward.
    pub fn backward(mut self, backward: &'c [C]) -> Self {
        self.backward = Some(backward);
        self
    }

    /// Whether the model takes the rows' lengths. Outputs beyond a row's length are 0. Default: false.
    pub fn sequence_lens(mut self, sequence_lens: bool) -> Self {
        self.sequence_lens = sequence_lens;
        self
    }

    /// Whether the model takes the layers' initial states and returns the final ones. Default: false, so that it starts
    /// from 0.
    pub fn states(mut self, states: bool) -> Self {
        self.states = states;
        self
    }

    /// Writes the model to a file. The old file is replaced in one step, once the new one is complete and on disk.
    ///
    /// # Errors
    /// - Those of [`to_bytes`](Self::to_bytes).
    /// - [`Error::NotRegularFile`] if the path leads to something other than a file: a folder, a pipe, a device.
    /// - [`Error::Io`] if the file cannot be written.
    pub fn save(self, path: impl AsRef<Path>) -> Result<(), Error> {
        let bytes = self.to_bytes()?;
        replace(path.as_ref(), |to| to.write_all(&bytes))
    }

    /// Returns the bytes that [`save`](Self::save) writes.
    ///
    /// # Errors
    /// - [`Error::ZeroSize`] if there are no layers.
    /// - [`Error::CellInputSize`] if a layer does not read what the one below gives.
    /// - [`Error::NotRepresentable`] if there are not as many backward as forward, a cell has what its operator lacks
    ///   (`cell_clip`, `num_proj`), the directions of a layer differ in more than weights and activations, or the file
    ///   would have more than 2³¹ − 1 bytes.
    pub fn to_bytes(self) -> Result<Vec<u8>, Error> {
        if self.forward.is_empty() {
            return Err(Error::ZeroSize { argument: "the number of layers" });
        }
        if let Some(found) = self.backward.map(<[C]>::len).filter(|&len| len != self.forward.len()) {
            let found = format!("{} forward and {found} backward layers", self.forward.len());
            let expected = "as many backward layers as forward ones";
            return Err(Error::NotRepresentable { module: "ONNX", expected, found });
        }
        let mut writer = Writer::new(self.sequence_lens, self.states);
        let input = self.forward[0].input_size();
        writer.value(GRAPH_INPUT, "x", element::<C::Elem>(), &[Err("seq"), Err("batch"), Ok(input)]);
        if self.sequence_lens {
            writer.value(GRAPH_INPUT, "sequence_lens", INT32, &[Err("batch")]);
        }
        let last = self.forward[self.forward.len() - 1].output_size();
        let width = last.saturating_mul(1 + usize::from(self.backward.is_some()));
        writer.value(GRAPH_OUTPUT, "y", element::<C::Elem>(), &[Err("seq"), Err("batch"), Ok(width)]);
        let mut below = input;
        for layer in 0..self.forward.len() {
            let cells = [Some(("forward", self.forward)), self.backward.map(|cells| ("backward", cells))];
            let mut directions = Vec::new();
            for (argument, cells) in cells.into_iter().flatten() {
                let cell = &cells[layer];
                if cell.input_size() != below {
                    let (cell, found) = (format!("{argument}[{layer}]"), cell.input_size());
                    return Err(Error::CellInputSize { cell, expected: below, found });
                }
                directions.push(cell.direction()?);
            }
            check_alike(layer, &directions)?;
            below = directions.len() * directions[0].hidden;
            writer.layer(layer, self.forward.len(), &directions);
        }
        writer.model()
    }
}
