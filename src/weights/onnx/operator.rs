//! The cells that are operators of ONNX: their weights in its layout.

use crate::cells::{BasicRnnWeights, GruWeights, LstmWeights};
use crate::weights::layout::{IOFC, ZRH, pick, put};
use crate::{Activation, BasicRnn, Error, Float, Gru, GruReset, Lstm, RnnCell};
use ndarray::{Array1, Array2, Axis, concatenate, s};

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

/// The recurrent bias where there is one bias: added to any number, −0 leaves its bits alone.
fn nothing<E: Float>(like: &Array1<E>) -> Array1<E> {
    like.mapv(|_| -E::zero())
}

fn blocks<E: Float>(kernel: &Array2<E>, order: &[usize]) -> Array2<E> {
    let mut to = Array2::zeros(kernel.dim());
    put(&mut to, 0, kernel.view(), order);
    to
}

impl<E: Float> Sealed for BasicRnn<E> {
    fn direction(&self) -> Result<OneDirection<E>, Error> {
        let BasicRnnWeights { kernel, bias } = self.weights();
        let biases = bias.as_ref().map(|bias| [bias.clone(), nothing(bias)]);
        let direction = OneDirection::new("RNN", kernel, self.hidden_size(), biases);
        Ok(OneDirection { activations: vec![self.activation()], ..direction })
    }
}

impl<E: Float> Sealed for Lstm<E> {
    fn direction(&self) -> Result<OneDirection<E>, Error> {
        let LstmWeights { kernel, bias, peepholes, projection } = self.weights();
        let refused = |found: &str| {
            let expected = "neither a projection nor a clip of c";
            Err(Error::NotRepresentable { module: "ONNX's LSTM", expected, found: found.into() })
        };
        if projection.is_some() {
            return refused("a projection");
        }
        if let Some(clip) = self.cell_clip() {
            return refused(&format!("cell_clip {clip}"));
        }
        let hidden = self.hidden_size();
        let has_bias = bias.is_some() || self.forget_bias() != E::zero();
        let biases = has_bias.then(|| {
            let mut bias = bias.clone().unwrap_or_else(|| Array1::zeros(4 * hidden));
            let mut forget = bias.slice_mut(s![2 * hidden..3 * hidden]);
            if self.forget_bias() != E::zero() {
                forget.mapv_inplace(|bias| bias + self.forget_bias());
            }
            let bias = pick(bias.view(), hidden, &IOFC);
            let nothing = nothing(&bias);
            [bias, nothing]
        });
        let mut direction = OneDirection::new("LSTM", &blocks(kernel, &IOFC), hidden, biases);
        direction.activations = vec![self.gate_activation(), self.activation(), self.activation()];
        direction.weights[3] = peepholes.as_ref().map(|peepholes| {
            concatenate![Axis(0), peepholes.w_i_diag, peepholes.w_o_diag, peepholes.w_f_diag].insert_axis(Axis(0))
        });
        Ok(direction)
    }
}

impl<E: Float> Sealed for Gru<E> {
    fn direction(&self) -> Result<OneDirection<E>, Error> {
        let GruWeights { gates_kernel, gates_bias, candidate_kernel, candidate_bias, candidate_recurrent_bias } =
            self.weights();
        let hidden = self.hidden_size();
        let biases = gates_bias.as_ref().zip(candidate_bias.as_ref()).map(|(gates, candidate)| {
            let bias = pick(concatenate![Axis(0), *gates, *candidate].view(), hidden, &ZRH);
            let mut recurrent = nothing(&bias);
            if let Some(bias) = candidate_recurrent_bias {
                recurrent.slice_mut(s![2 * hidden..]).assign(bias);
            }
            [bias, recurrent]
        });
        let kernel = concatenate![Axis(1), *gates_kernel, *candidate_kernel];
        let mut direction = OneDirection::new("GRU", &blocks(&kernel, &ZRH), hidden, biases);
        direction.activations = vec![self.gate_activation(), self.activation()];
        direction.linear_before_reset = self.reset() == GruReset::After;
        Ok(direction)
    }
}
