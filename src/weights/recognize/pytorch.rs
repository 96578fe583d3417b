//! PyTorch's modules.

use super::names::{Names, by_gates};
use crate::weights::Layer;

pub(super) fn module(names: &Names<'_>) -> Option<Layer> {
    let kinds = ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"];
    let ((rows, input), (_, output)) = (names.matrix("weight_ih_l0")?, names.matrix("weight_hh_l0")?);
    let projection = names.matrix("weight_hr_l0").map(|(_, hidden)| hidden);
    let hidden = projection.unwrap_or(output);
    let (function, kind) = by_gates(rows / hidden).filter(|_| rows.is_multiple_of(hidden))?;
    let count = (0..).take_while(|layer| names.has(&format!("weight_ih_l{layer}"))).count();
    let all: Vec<String> = (0..count)
        .flat_map(|layer| ["", "_reverse"].map(|end| kinds.map(|kind| format!("{kind}_l{layer}{end}"))))
        .flatten()
        .collect();
    let mut layer = names.layer("PyTorch", kind, (input, hidden), &all);
    layer.layers = count;
    layer.bidirectional = names.has("weight_ih_l0_reverse");
    let mut options = Vec::new();
    if projection.is_some() {
        options.push(format!("projected to {output}"));
    }
    if !names.has("bias_ih_l0") {
        options.push("no bias".into());
    }
    if function == "rnn" {
        options.push("its nonlinearity is not in the file".into());
    }
    layer.options = options.join(", ");
    let direction = if layer.bidirectional { "bidirectional_" } else { "" };
    let activation = if function == "rnn" { ", &Default::default()" } else { "" };
    layer.load = names.load("cells", &format!("pytorch::{direction}{function}"), activation);
    if ["weight_ih_l0", "weight_hh_l0"].into_iter().any(|name| names.find(name).is_some_and(|parts| parts.len() > 1)) {
        layer.load = format!("pytorch::fold_weight_norm(&mut tensors)?; {}", layer.load);
    }
    Some(layer)
}
