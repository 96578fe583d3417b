//! PyTorch's and Keras's cells, by `rnn_cell::weights`.

use crate::case::{Case, Fault};
use rnn_cell::weights::{Tensors, keras, pytorch};
use rnn_cell::{Activation, Bidirectional, BoxedCell, Float};

/// All tensors of a case, numbers of type `E`.
fn tensors<E: Float>(case: &Case) -> Tensors<'static, E> {
    let mut tensors = Tensors::new();
    for (name, tensor) in &case.tensors {
        tensors.insert(name, tensor.mapv(E::from_f64));
    }
    tensors
}

/// The cell of a PyTorch module at `prefix`: `cell_1/bw/` is the backward one of layer 1.
pub fn torch<E: Float>(case: &Case, prefix: &str, activation: Activation) -> Result<BoxedCell<E>, Fault> {
    let layer = prefix.strip_prefix("cell_").and_then(|rest| rest.split('/').next()?.parse().ok()).unwrap_or(0);
    let backward = prefix.ends_with("bw/");
    fn side<C>(layers: Bidirectional<Vec<C>>, layer: usize, backward: bool) -> C {
        (if backward { layers.bw } else { layers.fw }).swap_remove(layer)
    }
    let t = &mut tensors::<E>(case);
    Ok(match (case.option("cell").unwrap_or_default(), case.flag("bidirectional")) {
        ("torch_gru", false) => BoxedCell::new(pytorch::gru(t, "")?.into_cells().swap_remove(layer)),
        ("torch_gru", true) => BoxedCell::new(side(pytorch::bidirectional_gru(t, "")?, layer, backward)),
        ("torch_lstm" | "torch_lstm_proj", false) => {
            BoxedCell::new(pytorch::lstm(t, "")?.into_cells().swap_remove(layer))
        }
        ("torch_lstm" | "torch_lstm_proj", true) => {
            BoxedCell::new(side(pytorch::bidirectional_lstm(t, "")?, layer, backward))
        }
        (_, false) => BoxedCell::new(pytorch::rnn(t, "", activation)?.into_cells().swap_remove(layer)),
        (_, true) => BoxedCell::new(side(pytorch::bidirectional_rnn(t, "", activation)?, layer, backward)),
    })
}

/// The cell of a Keras layer whose weights' names begin with `prefix`.
pub fn keras<E: Float>(case: &Case, prefix: &str, options: &keras::Options) -> Result<BoxedCell<E>, Fault> {
    let t = &mut tensors::<E>(case);
    Ok(match case.option("cell").unwrap_or_default() {
        "keras_gru" => BoxedCell::new(keras::gru(t, prefix, options)?),
        "keras_lstm" => BoxedCell::new(keras::lstm(t, prefix, options)?),
        _ => BoxedCell::new(keras::simple_rnn(t, prefix, options)?),
    })
}
