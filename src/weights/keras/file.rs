//! Keras's own files: `.h5`, `.keras` and `.weights.h5`.

use super::config::{self, Configured, Kind, Listed};
use super::hdf5::{Path, Reader};
use super::{Options, cudnn, normalization};
use crate::error::{list, quoted};
use crate::weights::Tensors;
use crate::weights::archive::Archive;
use crate::weights::stored::Stored;
use crate::{Error, Float};
use hdf5_pure::Group;
use serde::Deserialize;
use std::borrow::Cow;

/// What a file of Keras holds.
#[derive(Debug, Clone)]
pub struct Model<'a, E: Float> {
    /// All weights, but not the optimizer's.
    pub tensors: Tensors<'a, E>,
    /// The recurrent layers that have weights, in the model's order; none if the file has weights only.
    pub layers: Vec<Layer>,
    /// The names of recurrent layers that the configuration lists, but the file has no weights of; none in a whole model.
    pub missing: Vec<String>,
    /// The version of the Keras that wrote the file, empty if it does not say.
    pub version: String,
}

/// A recurrent layer of a [`Model`], or one direction of it, or one of its cells.
#[derive(Debug, Clone)]
pub struct Layer {
    name: String,
    prefix: String,
    listed: Listed,
}

impl<E: Float> Model<'_, E> {
    /// The layer with this name. A layer's name is that in Keras, with the names of the models, wrappers and `RNN`s around
    /// it before it: `lstm`, `encoder/lstm`, `bidirectional/forward_lstm`, `rnn/lstm_cell`.
    ///
    /// # Errors
    /// [`Error::MissingWeight`] if there is none, or the file lacks its weights.
    pub fn layer(&self, name: &str) -> Result<Layer, Error> {
        let found = self.layers.iter().find(|layer| layer.name == name).cloned();
        found.ok_or_else(|| {
            if self.missing.iter().any(|missing| missing == name) {
                let reason = "the configuration lists this layer, but the file has no weights of it".into();
                return Error::MissingWeight { name: name.into(), reason };
            }
            let names = self.layers.iter().map(|layer| &*layer.name);
            Error::MissingWeight { name: name.into(), reason: format!("the recurrent layers are {}", list(names)) }
        })
    }
}

impl Layer {
    /// The name, as [`Model::layer`] takes it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which importer takes the layer.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.listed.kind
    }

    /// What precedes the names of its weights among the tensors.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The options that its weights do not record, for the importer.
    ///
    /// # Errors
    /// [`Error::NotImportable`] if an activation is none of [`Activation`](crate::Activation)'s.
    pub fn options(&self) -> Result<Options, Error> {
        self.listed.options.clone().map_err(|reason| Error::NotImportable { name: self.name.clone(), reason })
    }

    /// Whether the layer reads its inputs from the last step to the first. True for the backward direction of a
    /// `Bidirectional`, whose outputs Keras then reverses again.
    #[must_use]
    pub fn go_backwards(&self) -> bool {
        self.listed.go_backwards
    }

    /// Whether the layer returns the outputs of all steps, not only of the last.
    #[must_use]
    pub fn return_sequences(&self) -> bool {
        self.listed.return_sequences
    }

    /// How a `Bidirectional` joins the outputs of its directions: `concat`, `sum`, `mul`, `ave`; `None` outside one, and
    /// if it does not join them.
    #[must_use]
    pub fn merge_mode(&self) -> Option<&str> {
        self.listed.merge_mode
    }
}

/// Reads a model from the bytes of a file that Keras 2 or 3 saved: `model.h5`, `model.keras`, or weights alone.
///
/// The tensors have Keras's names, which the importers take after a [`Layer`]'s prefix. In `.h5` files these are
/// the weights' own, `lstm/lstm_cell/kernel`, with the name of the model's layer in front if they lack it. `.keras` and
/// `.weights.h5` files have places instead of names, `layers/lstm/cell/vars/0`; that becomes `layers/lstm/cell/kernel`.
/// The same goes for `Dense` and `Embedding`, and for `BatchNormalization` and `LayerNormalization` if the configuration
/// lists them or they have all weights: without a configuration, those of a layer with `scale=False` or `center=False`
/// stay numbered.
///
/// One shard of several is read as a whole file, without what is in the others: [`Shards`](super::Shards) reads them all.
///
/// A layer's options come from the model's configuration, with the defaults of the Keras that wrote it. The weights of
/// `CuDNNLSTM` and `CuDNNGRU` are converted to those of an `LSTM` and of a `GRU` with `reset_after`.
///
/// ```no_run
/// use rnn_cell::weights::keras;
///
/// let bytes = std::fs::read("model.keras").expect("the file can be read");
/// let mut model = keras::read_model::<f32>(&bytes)?;
/// let layer = model.layer("lstm")?;
/// let cell = keras::lstm(&mut model.tensors, layer.prefix(), &layer.options()?)?;
/// # Ok::<(), rnn_cell::Error>(())
/// ```
///
/// # Errors
/// - [`Error::InvalidFile`] if the bytes are not such a file, or damaged; if compressed weights would take 1 MiB and more
///   than 32 times the memory of the file; if the configuration is not one that Keras writes; or if a layer's weights
///   cannot be told from another's.
/// - [`Error::TensorDtype`] if the weights of a CuDNN layer cannot be read without loss.
pub fn read_model<E: Float>(bytes: &[u8]) -> Result<Model<'_, E>, Error> {
    if !bytes.starts_with(b"PK") {
        return model(Reader::open(bytes.into(), bytes.len()), None, String::new());
    }
    let archive = Archive::read(bytes, FORMAT)?;
    ["metadata.json", "config.json"].iter().try_for_each(|name| archive.check_text(name))?;
    let Metadata { keras_version } = json(&archive.get("metadata.json")?)?;
    let config = archive.get("config.json")?;
    let weights = archive.get("model.weights.h5")?;
    model(Reader::open(weights, bytes.len()), Some(config), keras_version)
}

/// What is read of `metadata.json`.
#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    keras_version: String,
}

const FORMAT: &str = "Keras";

pub(super) fn invalid(reason: impl Into<String>) -> Error {
    Error::InvalidFile { format: FORMAT, reason: reason.into() }
}

pub(super) fn json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Error> {
    // An object takes hundreds of bytes, but its text may be two. Keras writes a name and a value of several letters.
    if bytes.iter().filter(|&&byte| byte == b'{').count() > bytes.len() / 16 + 16 {
        return Err(invalid("its configuration has more objects than Keras would write"));
    }
    serde_json::from_slice(bytes).map_err(|error| invalid(format!("its configuration cannot be read: {error}")))
}

/// A model whose weights are in an HDF5 file, and whose configuration is there too if it is not given.
fn model<'a, E: Float>(
    reader: Result<Reader<'a>, String>,
    config: Option<Cow<'_, [u8]>>,
    version: String,
) -> Result<Model<'a, E>, Error> {
    let mut reader = reader.map_err(invalid)?;
    let root = reader.root();
    let old = root.group("model_weights").ok();
    let is_old = old.is_some() || attribute(&root, "layer_names").is_some();
    let version = attribute(&root, "keras_version").unwrap_or(version);
    let written = attribute(&root, "model_config");
    let numbers = numbers(&version);
    if is_old && numbers < (2, 0) && written.is_some() {
        return Err(invalid(format!("it is of Keras {}, but 2 and 3 are read", quoted(&version))));
    }
    let config = config.or(written.map(|text| text.into_bytes().into()));
    let configured = config.map(|config| configured(&config, numbers)).transpose()?.unwrap_or_default();
    let group = old.unwrap_or(root);
    let skipped = if is_old { "optimizer_weights" } else { "optimizer" };
    let mut tensors = Tensors::new();
    let mut prefixes = Vec::new();
    for (path, stored) in reader.datasets(&group, skipped).map_err(invalid)? {
        let name = if is_old { old_name(&path) } else { new_name(&path, &stored) };
        if let Some(prefix) = name.strip_suffix("recurrent_kernel") {
            prefixes.push((path[0].clone(), prefix.to_owned()));
        }
        if tensors.contains(&name) {
            return Err(invalid(format!("two weights are named {}", quoted(&name))));
        }
        tensors.insert_stored(name, stored);
    }
    if !is_old {
        normalization::rename(&mut tensors, &configured.normalizations).map_err(invalid)?;
    }
    let (mut layers, mut missing) = (Vec::new(), Vec::new());
    for listed in configured.layers {
        let prefix = if is_old { old_prefix(&listed, &prefixes)? } else { new_prefix(&listed, &prefixes) };
        let Some(prefix) = prefix else {
            missing.push(listed.names.join("/"));
            continue;
        };
        if listed.is_cudnn {
            cudnn::convert(&mut tensors, &prefix, listed.kind)?;
        }
        layers.push(Layer { name: listed.names.join("/"), prefix, listed });
    }
    Ok(Model { tensors, layers, missing, version })
}

/// What a configuration lists.
fn configured(config: &[u8], version: (u32, u32)) -> Result<Configured, Error> {
    let configured = config::layers(&json(config)?, config.len(), version);
    configured.map_err(|reason| invalid(format!("its configuration is not Keras's: {reason}")))
}

fn attribute(group: &Group, name: &str) -> Option<String> {
    group.attrs().ok()?.get(name)?.as_strings()?.first().cloned()
}

/// The major and the minor version; 2.0 if it is not said, as in weights alone.
fn numbers(version: &str) -> (u32, u32) {
    let mut parts = version.split(['.', '-']).map_while(|part| part.parse().ok());
    (parts.next().unwrap_or(2), parts.next().unwrap_or(0))
}

/// A weight's name in the old format, whose path is the name of the model's layer and its own, which may begin with the
/// names of the model and of the layer, and ends in `:0` in Keras 2.
fn old_name(path: &Path) -> String {
    let (layer, own) = path.split_first().expect("a dataset has a name");
    let own = match own.iter().take(2).position(|part| part == layer) {
        Some(at) => own[at..].join("/"),
        None => path.join("/"),
    };
    own.strip_suffix(":0").map_or(own.clone(), String::from)
}

/// The name of a weight that is numbered in the new format.
pub(super) fn new_name(path: &Path, stored: &Stored<'_>) -> String {
    let [before @ .., vars, number] = &path[..] else { return path.join("/") };
    let kind = before.last().map_or("", String::as_str);
    let is_cell = kind == "cell" || before.iter().rev().nth(1).is_some_and(|part| part == "cells");
    let kind = kind.trim_end_matches(|letter: char| letter.is_ascii_digit()).trim_end_matches('_');
    let names: &[&str] = match kind {
        _ if is_cell => &["kernel", "recurrent_kernel", "bias"],
        "cu_dnnlstm" | "cu_dnngru" => &["kernel", "recurrent_kernel", "bias"],
        "dense" => &["kernel", "bias"],
        "embedding" if stored.shape().len() == 2 => &["embeddings"],
        _ => &[],
    };
    match number.parse().ok().and_then(|number: usize| names.get(number)).filter(|_| vars == "vars") {
        Some(name) => format!("{}/{name}", before.join("/")),
        None => path.join("/"),
    }
}

/// Where the weights of a layer are in the new format, if anywhere: those of a layer that models share are in one place.
fn new_prefix(listed: &Listed, prefixes: &[(String, String)]) -> Option<String> {
    prefixes.iter().find(|(_, prefix)| *prefix == listed.saved).map(|(_, prefix)| prefix.clone())
}

/// Where they are in the old format: among those of the model's layer, under its own name.
fn old_prefix(listed: &Listed, prefixes: &[(String, String)]) -> Result<Option<String>, Error> {
    let (Some(first), Some(last)) = (listed.names.first(), listed.names.last()) else { return Ok(None) };
    let within: Vec<&str> = prefixes.iter().filter(|(layer, _)| layer == first).map(|(_, prefix)| &**prefix).collect();
    let named: Vec<&&str> = within.iter().filter(|prefix| prefix.split('/').any(|part| part == last)).collect();
    match (&within[..], &named[..]) {
        ([], _) => Ok(None),
        ([only], _) => Ok(Some((*only).into())),
        (_, [only]) => Ok(Some((**only).into())),
        _ => Err(invalid(format!(
            "the weights of layer {} cannot be told apart: they may be {}",
            quoted(&listed.names.join("/")),
            list(within.into_iter())
        ))),
    }
}
