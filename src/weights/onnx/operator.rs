//! The cells that are operators of ONNX: their weights in its layout.

use crate::cells::{BasicRnnWeights, LstmWeights};
use crate::weights::Tensors;
use crate::weights::layout::{IOFC, ZRH, gru_blocks, lstm_blocks, nothing, refused};
use crate::{Activation, BasicRnn, Error, Float, Gru, GruReset, Lstm, RnnCell};
use ndarray::{Array1, Array2, Axis, concatenate, s, stack};

/// A cell that ONNX has an operator for: [`BasicRnn`], [`Lstm`] and [`Gru`]. Sealed.
pub trait Operator: RnnCell + Sealed {}

impl<E: Float> Operator for BasicRnn<E> {}
impl<E: Float> Operator for Lstm<E> {}
impl<E: Float> Operator for Gru<E> {}

/// Converts a cell, and keeps others from implementing [`Operator`].
#[allow(unnameable_types)]
pub trait Sealed: RnnCell {
    #[doc(hidden)]
    fn direction(&self) -> Result<OneDirection<Self::Elem>, Error>;
}

/// One direction of a node.
#[allow(unnameable_types)]
#[derive(Debug)]
pub struct OneDirection<E> {
    pub(super) op: &'static str,
    pub(super) hidden: usize,
    pub(super) linear_before_reset: bool,
    /// f, g, h, as many as the operator has.
    pub(super) activations: Vec<Activation>,
    /// W (gates · hidden, input), R (gates · hidden, hidden), and if there are any B (2 · gates · hidden) and
    /// P (3 · hidden).
    pub(super) weights: [Option<Array2<E>>; 4],
}

impl<E: Float> OneDirection<E> {
    /// W and R of our kernel, whose columns are already ONNX's blocks, and B of the biases of W and R.
    fn new(op: &'static str, kernel: &Array2<E>, hidden: usize, biases: Option<[Array1<E>; 2]>) -> Self {
        let input = kernel.nrows() - hidden;
        let transposed = |rows| Some(kernel.slice(rows).t().as_standard_layout().into_owned());
        let bias = biases.map(|[w, r]| concatenate![Axis(0), w, r].insert_axis(Axis(0)));
        let weights = [transposed(s![..input, ..]), transposed(s![input.., ..]), bias, None];
        Self { op, hidden, linear_before_reset: false, activations: Vec::new(), weights }
    }
}

impl<E: Float> Sealed for BasicRnn<E> {
    fn direction(&self) -> Result<OneDirection<E>, Error> {
        let BasicRnnWeights { kernel, bias } = self.weights();
        let biases = bias.as_ref().map(|bias| [bias.clone(), nothing(bias.len())]);
        let direction = OneDirection::new("RNN", kernel, self.hidden_size(), biases);
        Ok(OneDirection { activations: vec![self.activation()], ..direction })
    }
}

impl<E: Float> Sealed for Lstm<E> {
    fn direction(&self) -> Result<OneDirection<E>, Error> {
        let LstmWeights { peepholes, projection, .. } = self.weights();
        let refused = |found: &str| Err(refused("ONNX's LSTM", "neither a projection nor a clip of c", found));
        if projection.is_some() {
            return refused("a projection");
        }
        if let Some(clip) = self.cell_clip() {
            return refused(&format!("cell_clip {clip}"));
        }
        let (kernel, bias) = lstm_blocks(self, &IOFC, E::zero());
        let biases = bias.map(|bias| {
            let nothing = nothing(bias.len());
            [bias, nothing]
        });
        let mut direction = OneDirection::new("LSTM", &kernel, self.hidden_size(), biases);
        direction.activations = vec![self.gate_activation(), self.activation(), self.activation()];
        direction.weights[3] = peepholes.as_ref().map(|peepholes| {
            concatenate![Axis(0), peepholes.w_i_diag, peepholes.w_o_diag, peepholes.w_f_diag].insert_axis(Axis(0))
        });
        Ok(direction)
    }
}

impl<E: Float> Sealed for Gru<E> {
    fn direction(&self) -> Result<OneDirection<E>, Error> {
        let (kernel, biases) = gru_blocks(self, &ZRH);
        let mut direction = OneDirection::new("GRU", &kernel, self.hidden_size(), biases);
        direction.activations = vec![self.gate_activation(), self.activation()];
        direction.linear_before_reset = self.reset() == GruReset::After;
        Ok(direction)
    }
}

/// Exports a cell, or both directions, as the tensors of an operator: W, R, and if there are any B and P. The importers
/// read them back bit for bit. Activations and `linear_before_reset` are not in them: give the node the cells'.
/// [`Export`](super::Export) writes a model that has them.
///
/// ```
/// # use rand::SeedableRng;
/// # let rng = &mut rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// use rnn_cell::{Lstm, weights::onnx};
///
/// let [fw, bw] = [(); 2].map(|()| Lstm::<f32>::new(3, 4, rng));
/// let mut tensors = onnx::export(&fw, Some(&bw), "lstm/")?;
/// let both = onnx::bidirectional_lstm(&mut tensors, "lstm/", &onnx::Options::default())?;
/// assert_eq!(both.bw.weights().kernel, bw.weights().kernel);
/// # Ok::<(), rnn_cell::Error>(())
/// ```
///
/// # Errors
/// [`Error::NotRepresentable`] if a cell has what its operator lacks (`cell_clip`, `num_proj`), or the directions differ
/// in more than weights and activations.
pub fn export<C: Operator>(
    forward: &C,
    backward: Option<&C>,
    prefix: &str,
) -> Result<Tensors<'static, C::Elem>, Error> {
    let directions: Result<Vec<_>, Error> = [Some(forward), backward].into_iter().flatten().map(C::direction).collect();
    let directions = directions?;
    check_alike(0, &directions)?;
    let mut tensors = Tensors::new();
    for (kind, name) in ["W", "R", "B", "P"].into_iter().enumerate() {
        let arrays: Vec<_> = directions.iter().filter_map(|direction| direction.weights[kind].as_ref()).collect();
        // B and P are rows.
        let Some(first) = arrays.first() else { continue };
        let name = format!("{prefix}{name}");
        if kind < 2 {
            let views: Vec<_> = arrays.iter().map(|array| array.view()).collect();
            tensors.insert(name, stack(Axis(0), &views).expect("the directions are alike"));
        } else {
            let columns = first.ncols();
            let numbers = arrays.iter().flat_map(|array| array.iter().copied()).collect();
            let rows = Array2::from_shape_vec((arrays.len(), columns), numbers);
            tensors.insert(name, rows.expect("the directions are alike"));
        }
    }
    Ok(tensors)
}

/// The directions of a node share its sizes, attributes and kinds of weights.
pub(super) fn check_alike<E: Float>(layer: usize, directions: &[OneDirection<E>]) -> Result<(), Error> {
    let [first, second] = directions else { return Ok(()) };
    let has = |direction: &OneDirection<E>| direction.weights.each_ref().map(Option::is_some);
    let input = |direction: &OneDirection<E>| direction.weights[0].as_ref().map(Array2::ncols);
    let shared = |direction| (has(direction), input(direction), direction.hidden, direction.linear_before_reset);
    if shared(first) == shared(second) {
        return Ok(());
    }
    let expected = "directions with the same sizes, biases, peepholes and reset";
    Err(refused("a node of ONNX", expected, format!("others in layer {layer}")))
}
