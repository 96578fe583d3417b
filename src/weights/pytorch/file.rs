//! Files that `torch.save` wrote: a pickle that says what the tensors are, and records of numbers.

use super::pickle::Pickle;
use super::value::{Node, Storage, Value, View};
use crate::error::quoted;
use crate::weights::Tensors;
use crate::weights::archive::{Archive, most_inflated};
use crate::weights::stored::Stored;
use crate::{Error, Float};
use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;

/// How deep dictionaries may be nested.
const MAX_DEPTH: usize = 64;
/// Bytes of names and of tensors' sizes, for one of the pickle. Only values that appear in many places can have more.
const NAMES: usize = 16;
const NAMES_ANYWAY: usize = 1 << 16;

/// The pickles of an old file begin so: 0x1950a86a20f9469cfc6c in protocol 2, and in a frame from protocol 4 on.
const MAGIC: [u8; 12] = [0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// Lists the tensors in the bytes of a `.pt` or `.pth` file, read or mapped, in the zip form of PyTorch 1.6 and later or
/// the form before it. A tensor is read, and its type checked, when it is taken.
///
/// A file may hold a state dict, or dictionaries and lists of anything around it. A tensor's name is its keys, joined by
/// dots: `torch.save({"model": model.state_dict()}, …)` makes `model.encoder.weight_ih_l0`. List items are counted from
/// 0. A tensor alone is named `tensor`. Tensors may be views (transposed, sliced) and share memory.
/// [`read_state_dict`] reads one of several.
///
/// The file's pickle is not executed. It is read as data: an operation or a class that tensors do not need is refused
/// by name. That goes for whole modules, `torch.save(model, …)`: save `model.state_dict()`.
///
/// ```no_run
/// use rnn_cell::weights::pytorch;
///
/// let bytes = std::fs::read("checkpoint.pt").expect("the file can be read");
/// let mut tensors = pytorch::read_tensors::<f32>(&bytes)?;
/// let encoder = pytorch::lstm(&mut tensors, "model.encoder.")?;
/// # Ok::<(), rnn_cell::Error>(())
/// ```
///
/// # Errors
/// [`Error::InvalidFile`] if
/// - the bytes are not such a file, or damaged;
/// - it was compressed, which PyTorch never does, and would take 1 MiB and more than 32 times the memory of the file, or
///   its pickle 64 KiB and more than the file;
/// - the pickle has an operation or a class that is not allowed, is nested deeper than 64 values, or has the same values in
///   very many places;
/// - the numbers are big-endian;
/// - a tensor claims numbers that are not there, or more than its storage has (`expand`), or has more than 64 axes;
/// - the file is older than PyTorch 0.4 and a storage is part of another.
pub fn read_tensors<E: Float>(bytes: &[u8]) -> Result<Tensors<'_, E>, Error> {
    read_state_dict(bytes, "")
}

/// Lists the tensors under `path`, the keys of a dictionary in the file joined by dots: `model` for
/// `torch.save({"model": model.state_dict(), …}, …)`. Names are without it.
///
/// # Errors
/// As [`read_tensors`], and [`Error::MissingWeight`] if there is no tensor under `path`.
pub fn read_state_dict<'a, E: Float>(bytes: &'a [u8], path: &str) -> Result<Tensors<'a, E>, Error> {
    let file = File::open(bytes)?;
    let mut tensors = Tensors::new();
    let mut all = Vec::new();
    for (name, view) in file.views().map_err(invalid)? {
        let below =
            if path.is_empty() { Some(&*name) } else { name.strip_prefix(path).and_then(|n| n.strip_prefix('.')) };
        match below {
            Some(below) => {
                let stored =
                    file.stored(view).map_err(|reason| invalid(format!("tensor {}: {reason}", quoted(&name))))?;
                tensors.insert_stored(below.into(), stored);
            }
            None => all.push(name),
        }
    }
    if tensors.is_empty() && !path.is_empty() {
        let reason = format!("the file's tensors are {}", crate::error::list(all.iter().map(String::as_str)));
        return Err(Error::MissingWeight { name: format!("{path}.…"), reason });
    }
    Ok(tensors)
}

fn invalid(reason: impl Into<String>) -> Error {
    Error::InvalidFile { format: "PyTorch", reason: reason.into() }
}

struct File<'a> {
    pickle: Pickle<'a>,
    /// By key.
    records: BTreeMap<String, Cow<'a, [u8]>>,
    /// How many bytes tensors may still copy of records that were compressed. Many may share one.
    budget: Cell<usize>,
}

impl<'a> File<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, Error> {
        if bytes.starts_with(b"PK") {
            return Self::open_zip(bytes);
        }
        let is_old = bytes.get(..64.min(bytes.len())).is_some_and(|start| start.windows(12).any(|part| part == MAGIC));
        if bytes.first() == Some(&0x80) && is_old {
            return Self::open_old(bytes).map_err(invalid);
        }
        let tar = bytes.get(257..262) == Some(b"ustar");
        Err(invalid(if tar {
            "tar files, from before PyTorch 0.2, are not read"
        } else {
            "it is not one of torch.save"
        }))
    }

    /// A zip archive of `<name>/data.pkl` and the records `<name>/data/<key>`.
    fn open_zip(bytes: &'a [u8]) -> Result<Self, Error> {
        let archive = Archive::read(bytes, "PyTorch")?;
        let root = archive.names().find_map(|name| name.strip_suffix("/data.pkl").filter(|root| !root.contains('/')));
        let root = root.ok_or_else(|| invalid("the archive has no data.pkl"))?;
        let get = |name: &str| {
            // What `set_crc32_options(False)` writes.
            let is_unchecked = archive.crc32(name) == Some(0);
            if is_unchecked { archive.get_unchecked(name) } else { archive.get(name) }
        };
        let order = format!("{root}/byteorder");
        if archive.crc32(&order).is_some() && *get(&order)? != *b"little" {
            return Err(invalid("its numbers are big-endian"));
        }
        let pickle = format!("{root}/data.pkl");
        archive.check_text(&pickle)?;
        let pickle = Pickle::read(get(&pickle)?).map_err(invalid)?;
        let mut records = BTreeMap::new();
        for storage in storages(&pickle) {
            let key = pickle.letters(storage.key);
            if !records.contains_key(key) {
                records.insert(key.to_owned(), get(&format!("{root}/data/{key}"))?);
            }
        }
        Ok(Self { pickle, records, budget: Cell::new(most_inflated(bytes.len())) })
    }

    /// Pickles one after another: a magic number, a version, facts about the machine, the contents, the records' keys.
    /// Then the records, each with its length before it.
    fn open_old(bytes: &'a [u8]) -> Result<Self, String> {
        let mut rest = bytes;
        let mut next = || {
            let pickle = Pickle::read(rest)?;
            rest = &rest[pickle.len..];
            Ok::<_, String>(pickle)
        };
        let [_magic, version, machine, pickle, keys] = [next()?, next()?, next()?, next()?, next()?];
        if version.root != Value::Int(1001) {
            return Err(format!("its version must be 1001, but is {:?}", version.root));
        }
        let Some(Node::Dict(facts)) = machine.node(machine.root) else {
            return Err("it lacks facts on its machine".into());
        };
        if !facts.iter().any(|(key, value)| *value == Value::True && machine.is_text(*key, "little_endian")) {
            return Err("its numbers are big-endian".into());
        }
        let Some(Node::List(list)) = keys.node(keys.root) else {
            return Err("it lacks the list of its records".into());
        };
        let widths: BTreeMap<&str, usize> = storages(&pickle)
            .filter_map(|storage| Some((pickle.letters(storage.key), storage.class.dtype()?.1)))
            .collect();
        let mut records = BTreeMap::new();
        for key in list {
            let key = keys.key(*key).ok_or("a record has no name")?;
            let width = *widths.get(&*key).ok_or_else(|| format!("no tensor has record {}", quoted(&key)))?;
            let (len, numbers) = rest.split_first_chunk().ok_or("it ends before the last record")?;
            let len = usize::try_from(u64::from_le_bytes(*len)).ok().and_then(|len| len.checked_mul(width));
            let split = len.and_then(|len| numbers.split_at_checked(len));
            let (numbers, after) = split.ok_or_else(|| format!("record {} is cut off", quoted(&key)))?;
            rest = after;
            records.insert(key, Cow::Borrowed(numbers));
        }
        if rest.is_empty() {
            Ok(Self { pickle, records, budget: Cell::new(0) })
        } else {
            Err(format!("{} bytes follow its end", rest.len()))
        }
    }

    /// The tensors by name.
    fn views(&self) -> Result<BTreeMap<String, &View>, String> {
        let mut views = Views { pickle: &self.pickle, found: BTreeMap::new(), steps: 0, bytes: 0 };
        views.visit(&mut Vec::new(), self.pickle.root)?;
        Ok(views.found)
    }

    /// The tensor's numbers, checked to be there.
    fn stored(&self, view: &View) -> Result<Stored<'a>, String> {
        let Some(Node::Storage(storage)) = self.pickle.nodes().get(view.storage as usize) else {
            return Err("it has no storage".into());
        };
        let class = view.dtype.unwrap_or(storage.class);
        let (dtype, width) = class.dtype().ok_or_else(|| format!("{class:?} is not a type of numbers"))?;
        let (_, storage_width) = storage.class.dtype().ok_or("its storage has no type")?;
        let record = self.records.get(self.pickle.letters(storage.key)).ok_or("its storage is not in the file")?;
        if storage.len.checked_mul(storage_width) != Some(record.len()) {
            return Err(format!("its storage must have {} numbers, but has {} bytes", storage.len, record.len()));
        }
        let View { offset, shape, strides, .. } = view;
        let all = record.len() / width;
        let range = view.range().filter(|&(end, len)| end <= all && len <= all);
        let (end, len) = range.ok_or_else(|| {
            format!(
                "shape {shape:?} with strides {strides:?} from {offset} on does not fit in a storage of {all} numbers"
            )
        })?;
        let (start, end) = if len == 0 { (0, 0) } else { (offset * width, end * width) };
        let numbers = match record {
            Cow::Borrowed(record) => Cow::Borrowed(&record[start..end]),
            Cow::Owned(record) => {
                let left = self.budget.get().checked_sub(end - start);
                self.budget.set(left.ok_or("too many tensors share a compressed storage")?);
                Cow::Owned(record[start..end].to_vec())
            }
        };
        let stored = Stored::new(dtype, shape.clone(), numbers);
        Ok(if len == 0 || view.is_contiguous() { stored } else { stored.strided(view.used_strides()) })
    }
}

fn storages<'p>(pickle: &'p Pickle<'_>) -> impl Iterator<Item = &'p Storage> {
    pickle.nodes().iter().filter_map(|node| match node {
        Node::Storage(storage) => Some(storage),
        _ => None,
    })
}

/// Collects tensors by name.
struct Views<'p, 'a> {
    pickle: &'p Pickle<'a>,
    found: BTreeMap<String, &'p View>,
    steps: usize,
    bytes: usize,
}

impl<'p> Views<'p, '_> {
    fn visit(&mut self, keys: &mut Vec<Option<String>>, value: Value) -> Result<(), String> {
        if keys.len() > MAX_DEPTH {
            return Err(format!("it is nested deeper than {MAX_DEPTH} values, or contains itself"));
        }
        self.steps += 1;
        if self.steps > self.pickle.len + MAX_DEPTH {
            return Err("its parts appear again and again".into());
        }
        match self.pickle.node(value) {
            Some(Node::Dict(items)) => {
                for (key, value) in items {
                    if matches!(value, Value::Node(_)) {
                        self.spend(if let Value::Text(text) = key { text.len as usize } else { 0 })?;
                        self.visit_item(keys, self.pickle.key(*key), *value)?;
                    }
                }
            }
            Some(Node::List(items)) => {
                for (index, value) in items.iter().enumerate() {
                    if matches!(value, Value::Node(_)) {
                        self.visit_item(keys, Some(index.to_string()), *value)?;
                    }
                }
            }
            Some(Node::Tensor(view)) => self.add(keys, view)?,
            _ => {}
        }
        Ok(())
    }

    fn visit_item(&mut self, keys: &mut Vec<Option<String>>, key: Option<String>, value: Value) -> Result<(), String> {
        keys.push(key);
        self.visit(keys, value)?;
        keys.pop();
        Ok(())
    }

    /// Counts bytes of names, of keys on the way to them, and of tensors' sizes.
    fn spend(&mut self, bytes: usize) -> Result<(), String> {
        self.bytes += bytes;
        if self.bytes > NAMES * self.pickle.len + NAMES_ANYWAY {
            Err("its names are too long, or its tensors in too many places".into())
        } else {
            Ok(())
        }
    }

    fn add(&mut self, keys: &[Option<String>], view: &'p View) -> Result<(), String> {
        let keys: Option<Vec<&str>> = keys.iter().map(Option::as_deref).collect();
        let keys = keys.ok_or("a tensor's key is neither a text nor a whole number")?;
        let sizes = size_of::<View>() + size_of_val(&*view.shape) + size_of_val(&*view.strides);
        self.spend(sizes + keys.iter().map(|key| key.len() + 1).sum::<usize>())?;
        let name = if keys.is_empty() { "tensor".into() } else { keys.join(".") };
        let shown = quoted(&name);
        if self.found.insert(name, view).is_some() { Err(format!("two tensors are named {shown}")) } else { Ok(()) }
    }
}
