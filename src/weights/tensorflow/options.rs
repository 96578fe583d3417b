//! What TensorFlow's variables do not record.

use crate::cells::LstmBuilder;
use crate::{Activation, Float};

/// Options of a cell that its variables do not record. The defaults are TensorFlow's. Numbers are rounded to the cell's
/// element type.
///
/// ```
/// use rnn_cell::weights::tensorflow::Options;
/// let clipped = Options::default().cell_clip(3.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[must_use]
pub struct Options {
    pub(super) activation: Activation,
    forget_bias: f64,
    cell_clip: Option<f64>,
    proj_clip: Option<f64>,
}

impl Default for Options {
    fn default() -> Self {
        Self { activation: Activation::Tanh, forget_bias: 1.0, cell_clip: None, proj_clip: None }
    }
}

impl Options {
    /// `activation`. Default: tanh.
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// `forget_bias` of an LSTM. Finite. Default: 1.0.
    pub fn forget_bias(mut self, forget_bias: f64) -> Self {
        self.forget_bias = forget_bias;
        self
    }

    /// `cell_clip` of an `LSTMCell`. Finite and above 0. Default: no clip.
    pub fn cell_clip(mut self, cell_clip: f64) -> Self {
        self.cell_clip = Some(cell_clip);
        self
    }

    /// `proj_clip` of an `LSTMCell`. Finite and above 0. No effect without a projection. Default: no clip.
    pub fn proj_clip(mut self, proj_clip: f64) -> Self {
        self.proj_clip = Some(proj_clip);
        self
    }

    pub(super) fn of_lstm<E: Float>(&self, builder: LstmBuilder<E>) -> LstmBuilder<E> {
        let mut builder = builder.activation(self.activation).forget_bias(E::of(self.forget_bias));
        if let Some(cell_clip) = self.cell_clip {
            builder = builder.cell_clip(E::of(cell_clip));
        }
        if let Some(proj_clip) = self.proj_clip {
            builder = builder.proj_clip(E::of(proj_clip));
        }
        builder
    }
}
