//! Layers of Keras, cells of TensorFlow 1, operators of ONNX.

use super::names::{Names, by_gates, is_times};
use crate::weights::Layer;

pub(super) fn keras(names: &Names<'_>) -> Option<Layer> {
    let ((hidden, columns), (input, _)) = (names.matrix("recurrent_kernel")?, names.matrix("kernel")?);
    let (function, kind) = by_gates(columns / hidden).filter(|_| columns.is_multiple_of(hidden))?;
    let (function, kind) = if kind == "RNN" { ("simple_rnn", "SimpleRNN") } else { (function, kind) };
    let mut layer = names.layer("Keras", kind, (input, hidden), &["kernel", "recurrent_kernel", "bias"]);
    layer.options = match (names.shape("bias"), kind) {
        (None, "GRU") => "no bias, so that reset_after is not in the file".into(),
        (None, _) => "no bias".into(),
        (Some(bias), "GRU") if bias.len() == 1 => "reset_after=False".into(),
        (Some(_), "GRU") => "reset_after=True".into(),
        _ => String::new(),
    };
    layer.load = names.load("cell", &format!("keras::{function}"), ", &Default::default()");
    Some(layer)
}

const DEFAULT: &str = ", &Default::default()";

pub(super) fn tensorflow_lstm(names: &Names<'_>) -> Option<Layer> {
    let (rows, columns) = names.matrix("kernel")?;
    // Keras calls a cell so, too.
    if names.has("recurrent_kernel") || !columns.is_multiple_of(4) {
        return None;
    }
    let hidden = columns / 4;
    let projection = names.matrix("projection/kernel").map(|(_, output)| output);
    let input = rows.checked_sub(projection.unwrap_or(hidden)).filter(|&input| input > 0)?;
    let all = ["kernel", "bias", "w_f_diag", "w_i_diag", "w_o_diag", "projection/kernel"];
    let mut layer = names.layer("TensorFlow", "LSTMCell", (input, hidden), &all);
    let mut options = Vec::new();
    if names.has("w_f_diag") {
        options.push("peepholes".into());
    }
    options.extend(projection.map(|output| format!("projected to {output}")));
    layer.options = options.join(", ");
    layer.load = names.load("cell", "tensorflow::lstm", DEFAULT);
    Some(layer)
}

pub(super) fn tensorflow_rnn(names: &Names<'_>) -> Option<Layer> {
    let (rows, hidden) = names.matrix("kernel")?;
    let input = rows.checked_sub(hidden).filter(|&input| input > 0)?;
    let mut layer = names.layer("TensorFlow", "BasicRNNCell", (input, hidden), &["kernel", "bias"]);
    layer.load = names.load("cell", "tensorflow::basic_rnn", DEFAULT);
    Some(layer)
}

pub(super) fn tensorflow_gru(names: &Names<'_>) -> Option<Layer> {
    let ((rows, columns), (_, hidden)) = (names.matrix("gates/kernel")?, names.matrix("candidate/kernel")?);
    let input = rows.checked_sub(hidden).filter(|&input| input > 0 && is_times(columns, 2, hidden))?;
    let all = ["gates/kernel", "gates/bias", "candidate/kernel", "candidate/bias"];
    let mut layer = names.layer("TensorFlow", "GRUCell", (input, hidden), &all);
    layer.load = names.load("cell", "tensorflow::gru", DEFAULT);
    Some(layer)
}

/// Tensors of ONNX under the operator's names.
pub(super) fn onnx(names: &Names<'_>) -> Option<Layer> {
    let ([directions, r_1, r_2], [_, w_1, w_2]) = (axes(names, "R")?, axes(names, "W")?);
    let quantized = names.has("R_scale");
    // Quantized matrices are not transposed.
    let (hidden, columns, input) = if quantized { (r_1, r_2, w_1) } else { (r_2, r_1, w_2) };
    let (function, kind) = by_gates(columns / hidden)
        .filter(|_| columns.is_multiple_of(hidden) && directions <= 2 && names.is_module())?;
    let (function, kind) = if quantized { ("dynamic_quantize_lstm", "DynamicQuantizeLSTM") } else { (function, kind) };
    let all = ["W", "R", "B", "P", "W_scale", "W_zero_point", "R_scale", "R_zero_point"];
    let mut layer = names.layer("ONNX", kind, (input, hidden), &all);
    layer.bidirectional = directions == 2;
    let options = [(names.has("P"), "peepholes"), (!names.has("B"), "no bias")];
    layer.options = options.iter().filter(|(is, _)| *is).map(|&(_, option)| option).collect::<Vec<_>>().join(", ");
    let direction = if layer.bidirectional { "bidirectional_" } else { "" };
    layer.load = names.load("cell", &format!("onnx::{direction}{function}"), ", &Default::default()");
    Some(layer)
}

fn axes(names: &Names<'_>, name: &str) -> Option<[usize; 3]> {
    names.shape(name)?.try_into().ok().filter(|axes: &[usize; 3]| !axes.contains(&0))
}
