//! The recurrent layers and the normalizations that a model's configuration lists.

use super::{Options, normalization};
use crate::Activation;
use crate::error::quoted;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// Bytes of the layers' names, for one of the configuration. What Keras writes of a layer is much longer than all names
/// around it.
const NAMES: usize = 4;

/// Which layer it is, and so which importer takes it.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `SimpleRNN`, `SimpleRNNCell`: [`simple_rnn`](super::simple_rnn).
    SimpleRnn,
    /// `LSTM`, `LSTMCell`, `CuDNNLSTM`: [`lstm`](super::lstm).
    Lstm,
    /// `GRU`, `GRUCell`, `CuDNNGRU`: [`gru`](super::gru).
    Gru,
}

impl Kind {
    fn of(class: &str) -> Option<Self> {
        Some(match class.strip_suffix("Cell").unwrap_or(class) {
            "SimpleRNN" => Self::SimpleRnn,
            "LSTM" | "CuDNNLSTM" => Self::Lstm,
            "GRU" | "CuDNNGRU" => Self::Gru,
            _ => return None,
        })
    }
}

/// A recurrent layer of the configuration.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub kind: Kind,
    /// The names of the models, wrappers and layers around it, and its own.
    pub names: Vec<String>,
    /// Where its cell is in a file of Keras's new format.
    pub saved: String,
    /// Options, or what no cell has.
    pub options: Result<Options, String>,
    pub go_backwards: bool,
    pub return_sequences: bool,
    pub merge_mode: Option<&'static str>,
    pub is_cudnn: bool,
}

/// What a configuration lists.
#[derive(Default)]
pub(super) struct Configured {
    /// The recurrent layers, in the model's order.
    pub layers: Vec<Listed>,
    pub normalizations: normalization::Names,
}

/// The recurrent layers and normalizations of a model. Its configuration has `len` bytes, and its Keras this major and
/// minor version. The error says what Keras would not write.
pub(super) fn layers(model: &Value, len: usize, version: (u32, u32)) -> Result<Configured, String> {
    let mut walk = Walk {
        version,
        left: NAMES.saturating_mul(len),
        is_in_bidirectional: false,
        listed: Vec::new(),
        normalizations: BTreeMap::new(),
    };
    walk.model(model, &[], String::new())?;
    Ok(Configured { layers: walk.listed, normalizations: walk.normalizations })
}

struct Walk {
    version: (u32, u32),
    /// How many bytes the names of the layers to come may take.
    left: usize,
    is_in_bidirectional: bool,
    listed: Vec<Listed>,
    normalizations: normalization::Names,
}

impl Walk {
    fn model(&mut self, model: &Value, names: &[&str], saved: String) -> Result<(), String> {
        let config = &model["config"];
        // Before Keras 2.2.3 a `Sequential` was a list.
        let layers = config["layers"].as_array().or(config.as_array());
        let mut used = HashMap::new();
        for layer in layers.into_iter().flatten() {
            let part = unique(snake_case(text(&layer["class_name"])), &mut used);
            self.layer(layer, names, format!("{saved}layers/{part}/"))?;
        }
        Ok(())
    }

    fn layer(&mut self, layer: &Value, names: &[&str], saved: String) -> Result<(), String> {
        let config = &layer["config"];
        let names = [names, &[text(&config["name"])]].concat();
        match class(layer) {
            "Sequential" | "Functional" | "Model" => self.model(layer, &names, saved)?,
            "TimeDistributed" => self.layer(&config["layer"], &names, format!("{saved}layer/"))?,
            "Bidirectional" => self.directions(config, &names, &saved)?,
            "RNN" => self.cells(config, &names, saved)?,
            class => {
                if let Some(kind) = Kind::of(class) {
                    let is_cudnn = class.starts_with("CuDNN");
                    let cell = if is_cudnn { saved } else { format!("{saved}cell/") };
                    self.add(kind, config, config, &names, cell)?;
                    self.listed.last_mut().expect("one was added").is_cudnn = is_cudnn;
                } else if let Some(weights) = normalization::names(class, config) {
                    self.spend(saved.len() + size_of_val(&*weights))?;
                    self.normalizations.insert(saved, weights);
                }
            }
        }
        Ok(())
    }

    /// The layer of a `Bidirectional`, once for each direction.
    fn directions(&mut self, config: &Value, names: &[&str], saved: &str) -> Result<(), String> {
        // Each would double what is in it.
        if std::mem::replace(&mut self.is_in_bidirectional, true) {
            return Err("a Bidirectional is in another".into());
        }
        let merge_mode = merge_mode(config)?;
        let start = self.listed.len();
        let backward = Some(&config["backward_layer"]).filter(|layer| layer.is_object());
        for (side, layer) in [("forward", Some(&config["layer"])), ("backward", backward)] {
            let before = self.listed.len();
            self.layer(layer.unwrap_or(&config["layer"]), names, format!("{saved}{side}_layer/"))?;
            for found in &mut self.listed[before..] {
                let name = found.names.last_mut().expect("a layer has a name");
                // Keras 3 stores the new names.
                if !name.starts_with(side) {
                    *name = format!("{side}_{name}");
                }
                found.go_backwards ^= side == "backward" && backward.is_none();
            }
        }
        self.listed[start..].iter_mut().for_each(|found| found.merge_mode = merge_mode);
        self.is_in_bidirectional = false;
        Ok(())
    }

    /// The cells of an `RNN`: one or several.
    fn cells(&mut self, rnn: &Value, names: &[&str], saved: String) -> Result<(), String> {
        let cell = &rnn["cell"];
        let Some(cells) = cell["config"]["cells"].as_array() else {
            if let Some(kind) = Kind::of(class(cell)) {
                self.add(kind, &cell["config"], rnn, names, format!("{saved}cell/"))?;
            }
            return Ok(());
        };
        let mut used = HashMap::new();
        for cell in cells {
            let part = unique(snake_case(text(&cell["class_name"])), &mut used);
            if let Some(kind) = Kind::of(class(cell)) {
                let names = [names, &[text(&cell["config"]["name"])]].concat();
                self.add(kind, &cell["config"], rnn, &names, format!("{saved}cell/cells/{part}/"))?;
            }
        }
        Ok(())
    }

    /// Lists a layer, which has names of its own.
    fn add(&mut self, kind: Kind, cell: &Value, layer: &Value, names: &[&str], saved: String) -> Result<(), String> {
        self.spend(saved.len() + names.iter().map(|name| size_of::<String>() + name.len()).sum::<usize>())?;
        self.listed.push(Listed {
            kind,
            names: names.iter().map(|&name| name.into()).collect(),
            saved,
            options: options(cell, self.version),
            go_backwards: layer["go_backwards"] == true,
            return_sequences: layer["return_sequences"] == true,
            merge_mode: None,
            is_cudnn: false,
        });
        Ok(())
    }

    /// Counts bytes of names.
    fn spend(&mut self, bytes: usize) -> Result<(), String> {
        self.left = self.left.checked_sub(bytes).ok_or("the names around its layers are too long")?;
        Ok(())
    }
}

/// How a `Bidirectional` joins its directions, if it does.
fn merge_mode(config: &Value) -> Result<Option<&'static str>, String> {
    let Some(said) = config["merge_mode"].as_str() else { return Ok(None) };
    let known = ["concat", "sum", "mul", "ave"].into_iter().find(|&mode| mode == said);
    known.map(Some).ok_or_else(|| format!("a Bidirectional's merge_mode is {}", quoted(said)))
}

/// What the cell's configuration says, with the defaults of its version for what it does not say.
fn options(cell: &Value, version: (u32, u32)) -> Result<Options, String> {
    let default = Options::default();
    let hard = if version < (2, 3) { Activation::HardSigmoid } else { Activation::Sigmoid };
    // A CuDNN layer has no options, and resets after the product.
    let is_cudnn = cell.get("activation").is_none() && cell.get("recurrent_activation").is_none();
    let gates = if is_cudnn { Activation::Sigmoid } else { hard };
    let reset_after = cell["reset_after"].as_bool().unwrap_or(is_cudnn || version.0 > 2);
    Ok(default
        .activation(activation(cell, "activation", Activation::Tanh, version)?)
        .recurrent_activation(activation(cell, "recurrent_activation", gates, version)?)
        .reset_after(reset_after))
}

fn activation(cell: &Value, key: &str, default: Activation, version: (u32, u32)) -> Result<Activation, String> {
    let Some(value) = cell.get(key) else { return Ok(default) };
    Ok(match value.as_str() {
        None if value.is_null() => Activation::Linear,
        Some("tanh") => Activation::Tanh,
        Some("sigmoid") => Activation::Sigmoid,
        Some("relu") => Activation::Relu,
        Some("elu") => Activation::Elu,
        Some("softsign") => Activation::Softsign,
        Some("linear") => Activation::Linear,
        Some("hard_sigmoid") if version.0 < 3 => Activation::HardSigmoid,
        Some("hard_sigmoid") => Activation::HardSigmoidWith { slope: 1.0 / 6.0, offset: 0.5 },
        _ => return Err(format!("{key} is {value}, which no cell has")),
    })
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The class of a layer or a cell, if it is Keras's own.
fn class(layer: &Value) -> &str {
    let class = text(&layer["class_name"]);
    let registered = layer["registered_name"].as_str().unwrap_or(class);
    if registered == class { class } else { "" }
}

/// The first use of a name is bare, the others are counted.
fn unique(name: String, used: &mut HashMap<String, usize>) -> String {
    let count = used.entry(name.clone()).and_modify(|count| *count += 1).or_insert(0);
    if *count == 0 { name } else { format!("{name}_{count}") }
}

/// Keras's: `SimpleRNN` becomes `simple_rnn`.
fn snake_case(class: &str) -> String {
    let letters: Vec<char> = class.chars().filter(|letter| letter.is_alphanumeric() || *letter == '_').collect();
    let mut name = String::new();
    for (at, &letter) in letters.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| letters[before]);
        let starts_word = letter.is_ascii_uppercase()
            && before.is_some_and(|before| {
                before.is_ascii_lowercase() || letters.get(at + 1).is_some_and(char::is_ascii_lowercase)
            });
        if starts_word {
            name.push('_');
        }
        name.extend(letter.to_lowercase());
    }
    name
}
