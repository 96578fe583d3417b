//! Cells of Flax and Haiku.

use super::names::{Names, is_times};
use crate::weights::Layer;

/// The kernels and biases of gates, by their names.
fn gates(names: &[&str]) -> Vec<String> {
    names.iter().flat_map(|gate| [format!("{gate}/kernel"), format!("{gate}/bias")]).collect()
}

pub(super) fn lstm(names: &Names<'_>) -> Option<Layer> {
    // `nnx` calls it if_.
    let all = gates(&["ii", "if", "if_", "ig", "io", "hi", "hf", "hg", "ho"]);
    let mut layer = names.layer("Flax", "LSTMCell", names.matrix("ii/kernel")?, &all);
    layer.load = names.load("cell", "flax::lstm", "");
    Some(layer)
}

pub(super) fn gru(names: &Names<'_>) -> Option<Layer> {
    let all = gates(&["ir", "iz", "in", "hr", "hz", "hn"]);
    let mut layer = names.layer("Flax", "GRUCell", names.matrix("ir/kernel")?, &all);
    layer.load = names.load("cell", "flax::gru", "");
    Some(layer)
}

pub(super) fn simple(names: &Names<'_>) -> Option<Layer> {
    let sizes = names.matrix("i/kernel").filter(|_| names.is_module())?;
    let mut layer = names.layer("Flax", "SimpleCell", sizes, &["i/kernel", "i/bias", "h/kernel"]);
    layer.load = names.load("cell", "flax::simple", "");
    Some(layer)
}

/// A cell of `nnx` that has the gates side by side.
pub(super) fn nnx(names: &Names<'_>) -> Option<Layer> {
    let ((input, _), (hidden, columns)) = (names.matrix("dense_i/kernel")?, names.matrix("dense_h/kernel")?);
    let (function, kind) = match columns / hidden {
        1 => ("simple", "SimpleCell"),
        3 => ("gru", "GRUCell"),
        4 => ("lstm", "OptimizedLSTMCell"),
        _ => return None,
    };
    if !columns.is_multiple_of(hidden) {
        return None;
    }
    let mut layer = names.layer("Flax nnx", kind, (input, hidden), &gates(&["dense_i", "dense_h"]));
    layer.load = names.load("cell", &format!("flax::{function}"), "");
    Some(layer)
}

pub(super) fn haiku_gru(names: &Names<'_>) -> Option<Layer> {
    let ((input, columns), (hidden, recurrent)) = (names.matrix("w_i")?, names.matrix("w_h")?);
    if !is_times(columns, 3, hidden) || recurrent != columns || !names.is_module() {
        return None;
    }
    let mut layer = names.layer("Haiku", "GRU", (input, hidden), &["w_i", "w_h", "b"]);
    layer.load = names.load("cell", "haiku::gru", "");
    Some(layer)
}

/// An `LSTM` or a `VanillaRNN`. Other modules have a `Linear` in them, too, so the module's own name decides.
pub(super) fn haiku_linear(names: &Names<'_>) -> Option<Layer> {
    let (rows, columns) = names.matrix("linear/w").filter(|_| names.is_module())?;
    let module = names.prefix.trim_end_matches('/').rsplit('/').next()?;
    let (function, mut layer) = match names.matrix("linear_1/w") {
        Some(recurrent) if recurrent == (columns, columns) && module.contains("rnn") => {
            let all = ["linear/w", "linear/b", "linear_1/w", "linear_1/b"];
            ("haiku::vanilla_rnn", names.layer("Haiku", "VanillaRNN", (rows, columns), &all))
        }
        None if columns.is_multiple_of(4) && rows > columns / 4 && module.contains("lstm") => {
            let sizes = (rows - columns / 4, columns / 4);
            ("haiku::lstm", names.layer("Haiku", "LSTM", sizes, &["linear/w", "linear/b"]))
        }
        _ => return None,
    };
    layer.load = names.load("cell", function, "");
    Some(layer)
}
