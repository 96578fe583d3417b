//! Weights in several files, as `model.save_weights("model.weights.json", max_shard_size=…)` of Keras 3 writes them: a list
//! that says in which shards the weights of each layer are, and the shards beside it, `model_00000.weights.h5` and so on.

use super::file::{invalid, json, new_name};
use super::hdf5::Reader;
use super::normalization;
use crate::error::{list, quoted};
use crate::weights::{Tensors, file};
use crate::{Error, Float};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Keras 3's weights in several files, in memory.
#[derive(Debug, Clone)]
pub struct Shards {
    list: Vec<u8>,
    files: Vec<(String, Vec<u8>)>,
}

impl Shards {
    /// Reads the files of `model.weights.json`: the list, and all shards that it names, which are in the same folder.
    ///
    /// ```no_run
    /// use rnn_cell::weights::keras::{self, Options, Shards};
    ///
    /// let shards = Shards::open("model.weights.json")?;
    /// let mut tensors = shards.tensors::<f32>()?;
    /// let cell = keras::lstm(&mut tensors, "layers/lstm/cell/", &Options::default())?;
    /// # Ok::<(), rnn_cell::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::NotRegularFile`] if a path leads to something other than a file.
    /// - [`Error::Io`] if a file cannot be read, or does not fit in memory.
    /// - [`Error::InvalidFile`] if the list is not one of Keras, or names a file that is not a shard in its folder.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref().to_path_buf();
        let list = file::read(&path)?;
        Self::of_list(path, list)
    }

    /// Reads the shards beside a list that was read.
    pub(in crate::weights) fn of_list(path: PathBuf, list: Vec<u8>) -> Result<Self, Error> {
        let names: Vec<String> = List::read(&list)?.shards()?.into_iter().map(String::from).collect();
        let read = |name: String| file::read(&path.with_file_name(&name)).map(|bytes| (name, bytes));
        Ok(Self { files: names.into_iter().map(read).collect::<Result<_, _>>()?, list })
    }

    /// Lists the weights, as [`read_shards`].
    ///
    /// # Errors
    /// [`Error::InvalidFile`], as [`read_shards`].
    pub fn tensors<E: Float>(&self) -> Result<Tensors<'_, E>, Error> {
        let shards: Vec<(&str, &[u8])> = self.files.iter().map(|(name, bytes)| (&**name, &**bytes)).collect();
        read_shards(&self.list, &shards)
    }
}

/// `Err` if a file's name is a shard's and its list is beside it: alone, a layer whose bias is in another shard would be
/// read as one without.
pub(in crate::weights) fn check_whole(path: &Path) -> Result<(), Error> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let Some((model, number)) = name.strip_suffix(".weights.h5").and_then(|stem| stem.rsplit_once('_')) else {
        return Ok(());
    };
    let list = format!("{model}.weights.json");
    if number.len() < 5 || !number.bytes().all(|byte| byte.is_ascii_digit()) || !path.with_file_name(&list).is_file() {
        return Ok(());
    }
    Err(invalid(format!("{} is one shard of several: open their list, {}", quoted(&name), quoted(&list))))
}

/// Lists the weights from the bytes of a `.weights.json` file and of its shards, by their names. Weights are named as those
/// of a `.weights.h5` file are by [`read_model`](super::read_model); those of an optimizer are left out. There is no
/// configuration, so the layers' options are yours to say.
///
/// # Errors
/// [`Error::InvalidFile`] if
/// - the list is not one of Keras, or names a file that is not a shard beside it;
/// - a shard is missing or is not an HDF5 file, or damaged;
/// - a shard lacks a layer that the list says is there, or has one that it does not say: the files are of two models;
/// - compressed weights would take 1 MiB and more than 32 times the memory of their shard.
pub fn read_shards<'a, E: Float>(list: &[u8], shards: &[(&str, &'a [u8])]) -> Result<Tensors<'a, E>, Error> {
    let list = List::read(list)?;
    let mut tensors = Tensors::new();
    for name in list.shards()? {
        let in_shard = |reason: String| invalid(format!("shard {}: {reason}", quoted(name)));
        let shard = shards.iter().find(|(given, _)| *given == name);
        let (_, bytes) = shard.ok_or_else(|| in_shard("it is missing".into()))?;
        let mut expected = list.layers(name);
        let mut reader = Reader::open((*bytes).into(), bytes.len()).map_err(in_shard)?;
        let root = reader.root();
        let mut found = BTreeSet::new();
        for (path, stored) in reader.datasets(&root, OPTIMIZER).map_err(in_shard)? {
            let layer = format!("/{}", path[..path.len() - 1].join("/"));
            if !expected.contains(&*layer) {
                return Err(in_shard(format!("it has {}, which the list does not say", quoted(&layer))));
            }
            found.insert(layer);
            let weight = new_name(&path, &stored);
            if tensors.contains(&weight) {
                return Err(in_shard(format!("{} is in another shard, too", quoted(&weight))));
            }
            tensors.insert_stored(weight, stored);
        }
        expected.retain(|layer| !found.contains(*layer));
        if !expected.is_empty() {
            return Err(in_shard(format!("it lacks {}", self::list(expected.into_iter()))));
        }
    }
    normalization::rename(&mut tensors, &normalization::Names::new()).map_err(invalid)?;
    Ok(tensors)
}

/// The group of an optimizer's variables.
const OPTIMIZER: &str = "optimizer";

/// What is read of `model.weights.json`.
#[derive(Deserialize)]
struct List {
    /// The groups of weights, each with the shards where it is.
    weight_map: BTreeMap<String, Files>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Files {
    One(String),
    Several(Vec<String>),
}

impl Files {
    fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }
}

impl List {
    fn read(bytes: &[u8]) -> Result<Self, Error> {
        json(bytes)
    }

    /// The shards' names. None leads out of the list's folder.
    fn shards(&self) -> Result<BTreeSet<&str>, Error> {
        let names: BTreeSet<&str> = self.weight_map.values().flat_map(Files::names).map(String::as_str).collect();
        if names.is_empty() {
            return Err(invalid("its list names no shards"));
        }
        match names.iter().find(|name| !name.ends_with(".weights.h5") || name.contains(['/', '\\', ':'])) {
            Some(name) => Err(invalid(format!(
                "its list must name shards beside it, such as \"model_00000.weights.h5\", but names {}",
                quoted(name)
            ))),
            None => Ok(names),
        }
    }

    /// The groups that have weights in a shard, without an optimizer's.
    fn layers(&self, shard: &str) -> BTreeSet<&str> {
        let groups = self.weight_map.iter().filter(|(_, files)| files.names().iter().any(|name| name == shard));
        groups.map(|(group, _)| &**group).filter(|group| group.split('/').nth(1) != Some(OPTIMIZER)).collect()
    }
}
