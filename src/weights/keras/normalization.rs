//! The names of normalizations' weights, which the new format only numbers.

use crate::Float;
use crate::error::quoted;
use crate::weights::Tensors;
use serde_json::Value;
use std::collections::BTreeMap;

/// The names of each layer's weights, in their order, by what precedes them: `layers/batch_normalization/`.
pub(super) type Names = BTreeMap<String, Vec<&'static str>>;

/// All weights that a normalization may have, in the order in which it makes and saves them.
const BATCH: &[&str] = &["gamma", "beta", "moving_mean", "moving_variance"];
const LAYER: &[&str] = &["gamma", "beta"];

/// The names of the weights that a layer of this class and configuration has, if it is a normalization.
pub(super) fn names(class: &str, config: &Value) -> Option<Vec<&'static str>> {
    let all = match class {
        "BatchNormalization" => BATCH,
        "LayerNormalization" => LAYER,
        _ => return None,
    };
    let (scales, only_scales) = (config["scale"] != false, config["rms_scaling"] == true);
    let has = |name: &&str| match *name {
        "gamma" => scales || only_scales,
        "beta" => config["center"] != false && !only_scales,
        _ => true,
    };
    Some(all.iter().copied().filter(has).collect())
}

/// Names the weights of normalizations that are in the configuration, and of others if they have all that there may be:
/// of three, one cannot tell gamma from beta. The error says what is wrong.
pub(super) fn rename<E: Float>(tensors: &mut Tensors<'_, E>, listed: &Names) -> Result<(), String> {
    let prefixes = tensors.names().filter_map(|name| name.strip_suffix("vars/0")).map(String::from);
    for prefix in prefixes.collect::<Vec<_>>() {
        let names = listed.get(&prefix).map_or_else(|| all(&prefix), Vec::as_slice);
        let count = (0..=names.len()).take_while(|number| tensors.contains(&format!("{prefix}vars/{number}"))).count();
        if count != names.len() {
            continue;
        }
        for (number, name) in names.iter().enumerate() {
            let name = format!("{prefix}{name}");
            if tensors.contains(&name) {
                return Err(format!("two weights are named {}", quoted(&name)));
            }
            tensors.rename(&format!("{prefix}vars/{number}"), name).expect("it was counted");
        }
    }
    Ok(())
}

/// The names of all weights that the layer at this place may have: none if it is not a normalization.
fn all(prefix: &str) -> &'static [&'static str] {
    let layer = prefix.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    match layer.trim_end_matches(|letter: char| letter.is_ascii_digit()).trim_end_matches('_') {
        "batch_normalization" => BATCH,
        "layer_normalization" => LAYER,
        _ => &[],
    }
}
