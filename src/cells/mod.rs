//! Builders and weights of the built-in cells. The cells themselves are at the crate root.

/// Getters of a cell's options, each named like the builder's method.
macro_rules! option_getters {
    ($cell:ident { $($(#[$attribute:meta])* $option:ident: $type:ty,)+ }) => {
        impl<E: Float> $cell<E> {
            $(
                $(#[$attribute])*
                #[must_use]
                pub fn $option(&self) -> $type {
                    self.options.$option
                }
            )+
        }
    };
}

pub(crate) mod basic_rnn;
mod blend;
pub(crate) mod gru;
pub(crate) mod layer_norm;
pub(crate) mod layer_norm_lstm;
pub(crate) mod lstm;
pub(crate) mod ugrnn;

pub use basic_rnn::{BasicRnnBuilder, BasicRnnWeights};
pub use gru::{GruBuilder, GruWeights};
pub use layer_norm::{LayerNorm, LayerNorms};
pub use layer_norm_lstm::{LayerNormLstmBuilder, LayerNormLstmRecord, LayerNormLstmWeights};
pub use lstm::{LstmBuilder, LstmWeights, Peepholes};
pub use ugrnn::{UgrnnBuilder, UgrnnWeights};
