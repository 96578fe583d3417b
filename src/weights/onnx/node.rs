//! A recurrent node of a model, and the cells that it becomes.

use super::attributes::Attributes;
use super::directions::{gru_directions, lstm_directions, rnn_directions};
use super::follow::Follow;
use super::graph::{NODE_INPUT, Scope};
use super::kind::{Direction, Kind};
use super::options::Options;
use super::quantized;
use super::tensor::Externals;
use super::wire::Message;
use crate::weights::Tensors;
use crate::{BasicRnn, Bidirectional, Error, Float, Gru, Lstm};
use std::fmt;
use std::sync::Arc;

/// Imports the cells of `N` directions under a prefix.
type Import<E, C, const N: usize> = fn(&mut Tensors<'_, E>, &str, &[Options; N]) -> Result<[C; N], Error>;

/// A node `RNN`, `LSTM`, `GRU` or `DynamicQuantizeLSTM` of a [`Model`](super::Model).
///
/// The functions that end in a cell's name read it. They apply every attribute, and refuse a node that no cell computes:
/// [`refused`](Self::refused) says why. The cell's inputs are (batch, seq, input) to `dynamic_rnn`, whatever the
/// node's `layout`. A node starts from `initial_h` and `initial_c`: pass these to the driver.
///
/// | direction | functions | to run it |
/// |---|---|---|
/// | forward | [`lstm`](Self::lstm), [`gru`](Self::gru), [`rnn`](Self::rnn) | `dynamic_rnn` |
/// | bidirectional | [`bidirectional_lstm`](Self::bidirectional_lstm) and so on | `bidirectional_dynamic_rnn` |
/// | reverse | [`reverse_lstm`](Self::reverse_lstm) and so on | `bidirectional_dynamic_rnn`, as `cell_bw` |
#[derive(Clone)]
pub struct Node<'a> {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) message: Message<'a>,
    pub(super) scope: Arc<Scope<'a>>,
    pub(super) attributes: Attributes,
    pub(super) externals: &'a Externals,
    /// Bytes of the model and the files beside it.
    pub(super) size: usize,
}

impl<'a> Node<'a> {
    /// The node's name. A node without one is called after its operator and its position among the model's recurrent
    /// nodes, `LSTM_0`. Of several nodes of one name, the later ones have `_1`, `_2` and so on at the end.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the node is, in words: a subgraph, such as `"then_branch" of If "choose"`, or a function. Empty in the
    /// model's own graph.
    ///
    /// # Errors
    /// [`Error::InvalidFile`] if the file is broken there.
    pub fn place(&self) -> Result<String, Error> {
        self.scope.place()
    }

    /// The operator.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Which way it runs.
    #[must_use]
    pub fn direction(&self) -> Direction {
        self.attributes.direction
    }

    /// Whether its inputs in the model are (batch, seq, input), with `layout` = 1. Otherwise they are
    /// (seq, batch, input).
    #[must_use]
    pub fn batch_major(&self) -> bool {
        self.attributes.batch_major
    }

    /// The options of each direction that the attributes give: one, or two if it is bidirectional.
    pub fn options(&self) -> &[Options] {
        match self.direction() {
            Direction::Bidirectional => &self.attributes.options,
            Direction::Forward | Direction::Reverse => &self.attributes.options[..1],
        }
    }

    /// Why no cell computes what this node does, for example that it has a `clip`. `None` if one does.
    #[must_use]
    pub fn refused(&self) -> Option<&str> {
        self.attributes.refused.as_deref()
    }

    /// (input size, hidden size), from the weights.
    ///
    /// # Errors
    /// As [`tensors`](Self::tensors), and [`Error::TensorShape`] if `W` or `R` does not have three axes.
    pub fn sizes(&self) -> Result<(usize, usize), Error> {
        let tensors = self.tensors::<f64>()?;
        let of = |name: &str| {
            let name = format!("{}/{name}", self.name);
            let found = tensors.shape(&name)?;
            // The axis of depth: the second in `DynamicQuantizeLSTM`, the last elsewhere.
            let at = if self.kind == Kind::DynamicQuantizeLstm { 1 } else { 2 };
            let misfit =
                || Error::TensorShape { name: name.clone(), expected: "three axes".into(), found: found.into() };
            if found.len() == 3 { Ok(found[at]) } else { Err(misfit()) }
        };
        Ok((of("W")?, of("R")?))
    }

    /// The node's weights, each under the node's name, a slash and the operator's name of the input: `encoder/W`.
    ///
    /// # Errors
    /// - [`Error::NotImportable`] if the model computes one as it runs, or by an operator that is not followed.
    /// - [`Error::InvalidFile`] if the file is broken.
    /// - [`Error::TensorDtype`] if a constant on the way is of a type that is not read.
    pub fn tensors<E: Float>(&self) -> Result<Tensors<'a, E>, Error> {
        let mut tensors = Tensors::new();
        for &(name, position) in self.kind.inputs() {
            if let Some(input) = self.input(position)? {
                let stored = Follow::new(&self.name, self.externals, self.size).constant(&self.scope, input)?;
                tensors.insert_stored(format!("{}/{name}", self.name), stored);
            }
        }
        Ok(tensors)
    }

    /// The input at this position, if it has a name.
    pub(super) fn input(&self, position: usize) -> Result<Option<&'a str>, Error> {
        Ok(self.message.texts(NODE_INPUT).nth(position).transpose()?.filter(|name| !name.is_empty()))
    }

    /// The cells of `N` directions.
    fn cells<E: Float, C, const N: usize>(
        &self,
        (function, direction): (&str, Direction),
        import: Import<E, C, N>,
    ) -> Result<[C; N], Error> {
        let refused = |reason| Err(Error::NotImportable { name: self.name.clone(), reason });
        if let Some(reason) = self.refused() {
            return refused(reason.into());
        }
        let found = self.direction();
        if (self.kind.function(), found) != (function, direction) {
            let right = self.function();
            return refused(format!("it is a {} with direction {found}, which `{right}` reads", self.kind));
        }
        let mut tensors = self.tensors()?;
        if let Some(hidden_size) = self.attributes.hidden_size {
            let (_, hidden) = self.sizes()?;
            if usize::try_from(hidden_size) != Ok(hidden) {
                return refused(format!("its hidden_size is {hidden_size}, but R has {hidden}"));
            }
        }
        let options = std::array::from_fn(|direction| self.attributes.options[direction]);
        import(&mut tensors, &format!("{}/", self.name), &options)
    }

    /// The name of the function that reads this kind and direction.
    pub(super) fn function(&self) -> String {
        format!("{}{}", self.direction().prefix(), self.kind.function())
    }

    fn lstms<E: Float, const N: usize>(&self, direction: Direction) -> Result<[Lstm<E>; N], Error> {
        let import = match self.kind {
            Kind::DynamicQuantizeLstm => quantized::directions,
            _ => lstm_directions,
        };
        self.cells(("lstm", direction), import)
    }

    /// The cell of an `LSTM` or `DynamicQuantizeLSTM` that runs forward, with all its attributes.
    ///
    /// ```no_run
    /// use rnn_cell::{Compressed, WeightFormat, weights::onnx};
    ///
    /// let model = onnx::Model::open("quantized.onnx")?;
    /// let cell = model.node("encoder")?.lstm::<f32>()?;
    /// let in_8_bits = Compressed::new(cell, WeightFormat::Int8)?;
    /// # Ok::<(), rnn_cell::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::NotImportable`] if the node is of another kind or direction, or no cell computes what it does.
    /// - [`Error::MissingWeight`] if it has no `W` or no `R`.
    /// - [`Error::TensorShape`] or [`Error::TensorDtype`] if a weight does not fit or cannot be read without loss.
    /// - Those of [`tensors`](Self::tensors).
    pub fn lstm<E: Float>(&self) -> Result<Lstm<E>, Error> {
        self.lstms(Direction::Forward).map(|[cell]| cell)
    }

    /// The cell of an `LSTM` that runs from the last step to the first.
    ///
    /// # Errors
    /// As [`lstm`](Self::lstm).
    pub fn reverse_lstm<E: Float>(&self) -> Result<Lstm<E>, Error> {
        self.lstms(Direction::Reverse).map(|[cell]| cell)
    }

    /// The cells of an `LSTM` with both directions.
    ///
    /// # Errors
    /// As [`lstm`](Self::lstm).
    pub fn bidirectional_lstm<E: Float>(&self) -> Result<Bidirectional<Lstm<E>>, Error> {
        self.lstms(Direction::Bidirectional).map(|[fw, bw]| Bidirectional { fw, bw })
    }

    /// The cell of a `GRU` that runs forward, with all its attributes.
    ///
    /// # Errors
    /// As [`lstm`](Self::lstm).
    pub fn gru<E: Float>(&self) -> Result<Gru<E>, Error> {
        self.cells(("gru", Direction::Forward), gru_directions).map(|[cell]| cell)
    }

    /// The cell of a `GRU` that runs from the last step to the first.
    ///
    /// # Errors
    /// As [`lstm`](Self::lstm).
    pub fn reverse_gru<E: Float>(&self) -> Result<Gru<E>, Error> {
        self.cells(("gru", Direction::Reverse), gru_directions).map(|[cell]| cell)
    }

    /// The cells of a `GRU` with both directions.
    ///
    /// # Errors
    /// As [`lstm`](Self::lstm).
    pub fn bidirectional_gru<E: Float>(&self) -> Result<Bidirectional<Gru<E>>, Error> {
        self.cells(("gru", Direction::Bidirectional), gru_directions).map(|[fw, bw]| Bidirectional { fw, bw })
    }

    /// The cell of an `RNN` that runs forward, with all its attributes.
    ///
    /// # Errors
    /// As [`lstm`](Self::lstm).
    pub fn rnn<E: Float>(&self) -> Result<BasicRnn<E>, Error> {
        self.cells(("rnn", Direction::Forward), rnn_directions).map(|[cell]| cell)
    }

    /// The cell of an `RNN` that runs from the last step to the first.
    ///
    /// # Errors
    /// As [`lstm`](Self::lstm).
    pub fn reverse_rnn<E: Float>(&self) -> Result<BasicRnn<E>, Error> {
        self.cells(("rnn", Direction::Reverse), rnn_directions).map(|[cell]| cell)
    }

    /// The cells of an `RNN` with both directions.
    ///
    /// # Errors
    /// As [`lstm`](Self::lstm).
    pub fn bidirectional_rnn<E: Float>(&self) -> Result<Bidirectional<BasicRnn<E>>, Error> {
        self.cells(("rnn", Direction::Bidirectional), rnn_directions).map(|[fw, bw]| Bidirectional { fw, bw })
    }
}

impl fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, kind, attributes, .. } = self;
        let mut shown = f.debug_struct("Node");
        shown.field("name", name).field("kind", kind).field("attributes", attributes).finish_non_exhaustive()
    }
}
