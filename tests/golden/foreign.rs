//! Translates cases of PyTorch, Keras and the fused ops to TensorFlow 1's terms: other drivers, states and masks.
//! PyTorch's and Keras's weights stay as they are: `import.rs` builds their cells.

use crate::case::{Case, Fault, Mask, Merge};
use ndarray::{ArrayD, Axis, Ix2};
use serde_json::{Value, json};

/// Rewrites a case from another framework. TensorFlow 1's own cases do not change.
pub fn translate(case: &mut Case) -> Result<(), Fault> {
    match case.api.as_str() {
        "torch.nn" => torch(case),
        "resets" | "carried_windows" => stepped(case),
        "keras.layers" => keras(case),
        "raw_op" => fused(case),
        // `FusedRNNCellAdaptor` runs dynamic_rnn.
        "fused_rnn_cell_adaptor" => {
            case.api = "dynamic_rnn".into();
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The indices of whole gates, `units` columns each.
fn columns(gates: &[usize], units: usize) -> Vec<usize> {
    gates.iter().flat_map(|gate| gate * units..(gate + 1) * units).collect()
}

/// Cuts the last axis of an array into gates of `units` and joins them in another order.
pub fn reorder(array: &ArrayD<f64>, gates: &[usize], units: usize) -> ArrayD<f64> {
    array.select(Axis(array.ndim() - 1), &columns(gates, units))
}

fn put(case: &mut Case, prefix: &str, name: &str, tensor: Option<ArrayD<f64>>) {
    let name = format!("{prefix}{name}");
    match tensor {
        Some(tensor) => case.tensors.insert(name, tensor),
        None => case.tensors.remove(&name),
    };
}

/// `torch.nn.{RNN, LSTM, GRU}`: layers and directions in one module.
fn torch(case: &mut Case) -> Result<(), Fault> {
    let (layers, units): (usize, usize) = (case.number("num_layers")?, case.number("num_units")?);
    let directions: &[&str] = if case.flag("bidirectional") { &["fw/", "bw/"] } else { &[""] };
    let spec = torch_cell(case, units)?;
    for layer in 0..layers {
        for (direction, tag) in directions.iter().enumerate() {
            let prefix = if layers > 1 { format!("cell_{layer}/{tag}") } else { (*tag).to_owned() };
            for (from, group) in [("0", "initial_state"), ("n", "final_state")] {
                for (leaf, of) in ["c", "h"].iter().flat_map(|leaf| ["", "cotangent/", "grad/"].map(|of| (leaf, of))) {
                    if let Some(states) = case.tensors.get(&format!("{of}{leaf}_{from}")) {
                        let state = states.index_axis(Axis(0), layer * directions.len() + direction).to_owned();
                        put(case, &format!("{of}{group}/{prefix}"), leaf, Some(state));
                    }
                }
            }
        }
    }
    case.tensors.retain(|name, _| !["c_0", "h_0", "c_n", "h_n"].iter().any(|state| name.ends_with(state)));
    let layers_spec = if layers > 1 { json!({"kind": "multi", "cells": vec![spec.clone(); layers]}) } else { spec };
    (case.spec, case.spec_bw) = (layers_spec.clone(), layers_spec);
    case.api = match (layers, directions.len()) {
        (_, 1) => "dynamic_rnn",
        (1, _) => "bidirectional_dynamic_rnn",
        _ => "stack_bidirectional_dynamic_rnn",
    }
    .into();
    Ok(())
}

/// The cell of a `torch.nn` module.
fn torch_cell(case: &Case, units: usize) -> Result<Value, Fault> {
    Ok(match case.option("cell").unwrap_or_default() {
        "torch_rnn_tanh" | "torch_rnn_relu" => {
            json!({"kind": "basic_rnn", "num_units": units, "from": "torch", "activation": case.option("activation")})
        }
        "torch_lstm" | "torch_lstm_proj" => json!({"kind": "lstm", "num_units": units, "from": "torch"}),
        "torch_gru" => json!({"kind": "gru", "num_units": units, "from": "torch"}),
        other => return Err(Fault::NotSupported(other.into())),
    })
}

/// PyTorch's cells, step by step, with resets between steps, in one run or in windows.
fn stepped(case: &mut Case) -> Result<(), Fault> {
    case.spec = torch_cell(case, case.number("num_units")?)?;
    if case.api == "resets" {
        case.api = "dynamic_rnn".into();
    }
    Ok(())
}

/// `tf.keras.layers`: masks with holes; layers that run backwards.
fn keras(case: &mut Case) -> Result<(), Fault> {
    let units: usize = case.number("num_units")?;
    let options: Value = serde_json::from_str(case.option("layer_kwargs").unwrap_or("{}"))
        .map_err(|error| Fault::Broken(error.to_string()))?;
    for option in options.as_object().into_iter().flat_map(|options| options.keys()) {
        let known =
            ["reset_after", "use_bias", "recurrent_activation", "activation", "zero_output_for_mask", "go_backwards"];
        if !known.contains(&option.as_str()) {
            return Err(Fault::NotSupported(format!("keras option {option}")));
        }
    }
    let option = |name: &str, default: bool| options[name].as_bool().unwrap_or(default);
    let kind = match case.option("cell").unwrap_or_default() {
        "keras_simple_rnn" => "basic_rnn",
        "keras_lstm" => "lstm",
        "keras_gru" => "gru",
        other => return Err(Fault::NotSupported(other.into())),
    };
    let spec = json!({"kind": kind, "num_units": units, "from": "keras", "activation": options["activation"],
        "gate_activation": options["recurrent_activation"], "reset_after": option("reset_after", true)});
    let merge = case.option("bidirectional").map(str::to_owned);
    (case.spec, case.spec_bw) = (spec.clone(), spec);
    case.api = if merge.is_some() { "bidirectional_dynamic_rnn" } else { "dynamic_rnn" }.into();
    case.merge = match merge.as_deref() {
        None | Some("concat") => Merge::Concat,
        Some("sum") => Merge::Sum,
        Some(other) => return Err(Fault::NotSupported(format!("keras merge {other}"))),
    };
    if option("go_backwards", false) {
        for name in ["x", "mask", "grad/x"] {
            if let Some(tensor) = case.tensors.get_mut(name) {
                tensor.invert_axis(Axis(1));
            }
        }
    }
    keras_mask(case, merge.is_none() && !option("zero_output_for_mask", false))
}

/// Keras knows masks alone: the lengths that some files also have are where theirs came from.
fn keras_mask(case: &mut Case, repeat: bool) -> Result<(), Fault> {
    if case.tensors.contains_key("mask") {
        let valid = case.array::<f64, Ix2>("mask")?.mapv(|valid| valid != 0.0);
        case.mask = Some(Mask { valid, repeat });
        case.tensors.remove("sequence_length");
    }
    Ok(())
}

/// TensorFlow's fused ops: the same cells, written differently.
fn fused(case: &mut Case) -> Result<(), Fault> {
    let units: usize = case.number("num_units")?;
    let activation = case.option("activation").unwrap_or("tanh").to_owned();
    let kind = case.option("cell").unwrap_or_default().to_owned();
    // The op's own gradient passes straight through its clip; the cell's does not.
    let names = case.tensors.keys().filter_map(|name| name.strip_prefix("plain_"));
    let plain: Vec<String> = names.map(str::to_owned).collect();
    if !plain.is_empty() {
        case.tensors.retain(|name, _| !name.starts_with("grad/"));
    }
    for name in plain {
        let gradient = case.tensors.remove(&format!("plain_{name}"));
        put(case, "", &name, gradient);
    }
    case.spec = match kind.as_str() {
        "GRUBlockCell" => json!({"kind": "gru", "num_units": units, "activation": activation}),
        "BlockLSTM" | "LSTMBlockCell" | "BlockLSTMV2" => {
            let v2 = kind == "BlockLSTMV2";
            if v2 {
                // i, f, j, o
                for name in ["kernel", "bias", "grad/kernel", "grad/bias"] {
                    let tensor = case.tensors.get(name).map(|tensor| reorder(tensor, &[0, 2, 1, 3], units));
                    put(case, "", name, tensor);
                }
            }
            // The op's own rule: a clip of 0 or below is off.
            let clip = case.option("cell_clip").map(|_| case.number::<f64>("cell_clip")).transpose()?;
            let forget_bias = if v2 { 0.0 } else { case.number("forget_bias")? };
            json!({"kind": "lstm", "num_units": units, "activation": activation, "forget_bias": forget_bias,
                "use_peepholes": case.flag("use_peepholes"), "cell_clip": clip.filter(|&clip| clip > 0.0)})
        }
        other => return Err(Fault::NotSupported(other.into())),
    };
    if case.option("seq_len_max").is_some() {
        let (batch, _, _) = case.sizes()?;
        let lengths = ndarray::Array1::from_elem(batch, case.number::<f64>("seq_len_max")?);
        case.tensors.insert("sequence_length".into(), lengths.into_dyn());
    }
    case.api = "dynamic_rnn".into();
    Ok(())
}
