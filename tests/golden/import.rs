//! Builds PyTorch's and Keras's cells with `rnn_cell::weights`, and converts the gradients of their parameters back.

use crate::case::{Case, Fault};
use crate::drive::Results;
use crate::foreign::reorder;
use ndarray::{Array2, ArrayD, Axis, Ix2, concatenate, stack};
use rnn_cell::train::BoxedTrainableCell;
use rnn_cell::weights::{Tensors, keras, pytorch};
use rnn_cell::{Activation, Bidirectional, Float};
use std::collections::BTreeMap;

/// All tensors of a case, with numbers of type `E`.
fn tensors<E: Float>(case: &Case) -> Tensors<'static, E> {
    let mut tensors = Tensors::new();
    for (name, tensor) in &case.tensors {
        tensors.insert(name, tensor.mapv(E::of));
    }
    tensors
}

/// Layer and direction of the cell at `prefix`: `cell_1/bw/` is the backward one of layer 1.
fn place(prefix: &str) -> (usize, bool) {
    let layer = prefix.strip_prefix("cell_").and_then(|rest| rest.split('/').next()?.parse().ok()).unwrap_or(0);
    (layer, prefix.ends_with("bw/"))
}

/// The cell of a PyTorch module at `prefix`.
pub fn torch<E: Float>(case: &Case, prefix: &str, activation: Activation) -> Result<BoxedTrainableCell<E>, Fault> {
    let (layer, backward) = place(prefix);
    let options = pytorch::Options::default().nonlinearity(activation);
    fn side<C>(layers: Bidirectional<Vec<C>>, layer: usize, backward: bool) -> C {
        (if backward { layers.bw } else { layers.fw }).swap_remove(layer)
    }
    let t = &mut tensors::<E>(case);
    Ok(match (case.option("cell").unwrap_or_default(), case.flag("bidirectional")) {
        ("torch_gru", false) => BoxedTrainableCell::new(pytorch::gru(t, "")?.into_cells().swap_remove(layer)),
        ("torch_gru", true) => BoxedTrainableCell::new(side(pytorch::bidirectional_gru(t, "")?, layer, backward)),
        ("torch_lstm" | "torch_lstm_proj", false) => {
            BoxedTrainableCell::new(pytorch::lstm(t, "")?.into_cells().swap_remove(layer))
        }
        ("torch_lstm" | "torch_lstm_proj", true) => {
            BoxedTrainableCell::new(side(pytorch::bidirectional_lstm(t, "")?, layer, backward))
        }
        (_, false) => BoxedTrainableCell::new(pytorch::rnn(t, "", &options)?.into_cells().swap_remove(layer)),
        (_, true) => BoxedTrainableCell::new(side(pytorch::bidirectional_rnn(t, "", &options)?, layer, backward)),
    })
}

/// The cell of a Keras layer at the prefix of its weights' names.
pub fn keras<E: Float>(case: &Case, prefix: &str, options: &keras::Options) -> Result<BoxedTrainableCell<E>, Fault> {
    let t = &mut tensors::<E>(case);
    Ok(match case.option("cell").unwrap_or_default() {
        "keras_gru" => BoxedTrainableCell::new(keras::gru(t, prefix, options)?),
        "keras_lstm" => BoxedTrainableCell::new(keras::lstm(t, prefix, options)?),
        _ => BoxedTrainableCell::new(keras::simple_rnn(t, prefix, options)?),
    })
}

/// Converts gradients of the crate's parameters to those of the weights in the file.
pub fn gradients(case: &Case, ours: Results) -> Result<Results, Fault> {
    let torch = matches!(case.option("api"), Some("torch.nn" | "resets" | "carried_windows"));
    if !torch && case.option("api") != Some("keras.layers") {
        return Ok(ours);
    }
    let mut cells = BTreeMap::<String, Results>::new();
    for (name, gradient) in ours {
        let parts =
            name.split_inclusive('/').take_while(|part| part.starts_with("cell_") || matches!(*part, "fw/" | "bw/"));
        let (prefix, own) = name.split_at(parts.map(str::len).sum());
        cells.entry(prefix.to_owned()).or_default().insert(own.to_owned(), gradient);
    }
    let mut theirs = Results::new();
    for (prefix, cell) in cells {
        let ours = Blocks::new(case, torch, &cell)?;
        if torch { ours.torch(case, &prefix, &mut theirs)? } else { ours.keras(case, &prefix, &mut theirs)? }
    }
    Ok(theirs)
}

/// The gradients of one cell, gates side by side in the framework's order.
struct Blocks {
    kernel: Array2<f64>,
    bias: Option<ArrayD<f64>>,
    /// The gradient of the bias inside a GRU's reset gate. For all other gates it is the same as `bias`.
    recurrent_bias: Option<ArrayD<f64>>,
    projection: Option<ArrayD<f64>>,
}

impl Blocks {
    fn new(case: &Case, torch: bool, cell: &Results) -> Result<Self, Fault> {
        let kind = case.option("cell").unwrap_or_default();
        let order: &[usize] = match (kind.contains("lstm"), kind.contains("gru"), torch) {
            (true, ..) => &[0, 2, 1, 3],    // i, j, f, o to i, f, j, o
            (_, true, true) => &[0, 1, 2],  // r, u, candidate: r, z, n
            (_, true, false) => &[1, 0, 2], // to z, r, h
            _ => &[0],
        };
        let units = case.number("num_units")?;
        let known = ["kernel", "bias", "projection/kernel", "gates/kernel", "gates/bias"];
        let candidate = ["candidate/kernel", "candidate/bias", "candidate/recurrent_bias"];
        if let Some(name) = cell.keys().find(|name| ![&known[..], &candidate[..]].concat().contains(&name.as_str())) {
            return Err(Fault::Broken(format!("no weight has the gradient {name}")));
        }
        // Joins those that exist.
        let joined = |names: &[&str]| {
            let parts: Vec<_> = names.iter().filter_map(|name| cell.get(*name)).map(|part| part.view()).collect();
            let axis = Axis(parts.first()?.ndim() - 1);
            Some(reorder(&concatenate(axis, &parts).expect("a cell's gates have the same rows"), order, units))
        };
        let kernel = joined(&["kernel", "gates/kernel", "candidate/kernel"]);
        let bias = joined(&["bias", "gates/bias", "candidate/bias"]);
        let inside = cell.contains_key("candidate/recurrent_bias");
        let recurrent_bias = inside.then(|| joined(&["gates/bias", "candidate/recurrent_bias"])).flatten();
        let kernel = kernel.and_then(|kernel| kernel.into_dimensionality::<Ix2>().ok());
        Ok(Self {
            kernel: kernel.ok_or_else(|| Fault::Broken("no gradient of a kernel".into()))?,
            recurrent_bias: recurrent_bias.or_else(|| bias.clone()),
            bias,
            projection: cell.get("projection/kernel").cloned(),
        })
    }

    fn torch(self, case: &Case, prefix: &str, theirs: &mut Results) -> Result<(), Fault> {
        let (layer, backward) = place(prefix);
        let name = |kind: &str| format!("{kind}_l{layer}{}", if backward { "_reverse" } else { "" });
        let input = case.array::<f64, Ix2>(&name("weight_ih"))?.ncols();
        let mut put = |kind, gradient: Option<ArrayD<f64>>| {
            theirs.extend(gradient.map(|gradient| (name(kind), gradient.reversed_axes())));
        };
        let (weight_ih, weight_hh) = self.kernel.view().split_at(Axis(0), input);
        put("weight_ih", Some(weight_ih.to_owned().into_dyn()));
        put("weight_hh", Some(weight_hh.to_owned().into_dyn()));
        put("weight_hr", self.projection);
        put("bias_ih", self.bias);
        put("bias_hh", self.recurrent_bias);
        Ok(())
    }

    fn keras(self, case: &Case, prefix: &str, theirs: &mut Results) -> Result<(), Fault> {
        let input = case.array::<f64, Ix2>(&format!("{prefix}kernel"))?.nrows();
        let (kernel, recurrent) = self.kernel.view().split_at(Axis(0), input);
        theirs.insert(format!("{prefix}kernel"), kernel.to_owned().into_dyn());
        theirs.insert(format!("{prefix}recurrent_kernel"), recurrent.to_owned().into_dyn());
        // `reset_after` keeps both biases in one array.
        let rows = case.tensors.get(&format!("{prefix}bias")).map_or(1, |bias| bias.ndim());
        let bias = match (self.bias, self.recurrent_bias) {
            (Some(bias), Some(recurrent)) if rows == 2 => {
                Some(stack(Axis(0), &[bias.view(), recurrent.view()]).expect("the biases are alike"))
            }
            (bias, _) => bias,
        };
        theirs.extend(bias.map(|bias| (format!("{prefix}bias"), bias)));
        Ok(())
    }
}
