//! Files: the parameters of anything to and from [safetensors](https://github.com/huggingface/safetensors), and a file's
//! tensors to the importers.
//!
//! [`save`] and [`load`] go by parameter name, through [`Parameters`]: a cell, a stack, a pair of directions, an optimizer.
//! The round trip is bit-exact. [`read_tensors`] opens a file of another framework for the importers.
//!
//! Types: what fits without loss is converted. An `f32` cell reads F32, F16 and BF16, an `f64` cell F64 too; F64 into `f32`
//! would round and is refused ([`Tensors::cast`] rounds where that is wanted), and so are integers.
//!
//! Files are not trusted. A wrong shape or type, a missing or an extra tensor, a truncated or hostile file is an error that
//! names the tensor, what was expected and what came. All of it is checked before the first parameter is written: after an
//! error a cell is what it was. No claim of a file is believed before its bytes are there: opening a file sets aside a list
//! of its tensors, and nothing that is larger than the file.
//!
//! ```
//! use rand::SeedableRng;
//! use rnn_cell::{Lstm, weights::safetensors};
//!
//! let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
//! let trained = Lstm::<f32>::new(4, 8, &mut rng);
//! let bytes = safetensors::to_bytes(&trained)?;          // or save(&trained, "lstm.safetensors")?
//!
//! let mut cell = Lstm::<f32>::new(4, 8, &mut rng);
//! safetensors::from_bytes(&mut cell, &bytes)?;           // or load(&mut cell, "lstm.safetensors")?
//! assert_eq!(cell.weights(), trained.weights());
//! # Ok::<(), rnn_cell::Error>(())
//! ```

use super::Tensors;
use super::stored::Stored;
use crate::{Error, Float, Parameters};
use ::safetensors::tensor::{Dtype, View};
use header::{Header, Info, Shape};
use ndarray::ArrayViewD;
use std::any::Any;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

mod header;

/// Writes the parameters to a file, each under its name. A file that is there is replaced at once, when the new one is
/// complete.
///
/// # Errors
/// [`Error::RepeatedParameter`] if two parameters have one name, [`Error::Io`] if the file cannot be written.
pub fn save<E: Float, P: Parameters<E> + ?Sized>(parameters: &P, path: impl AsRef<Path>) -> Result<(), Error> {
    write(named(parameters)?, path.as_ref())
}

/// The bytes that [`save`] writes.
///
/// # Errors
/// [`Error::RepeatedParameter`] if two parameters have one name.
pub fn to_bytes<E: Float, P: Parameters<E> + ?Sized>(parameters: &P) -> Result<Vec<u8>, Error> {
    let written = ::safetensors::serialize(named(parameters)?, None);
    written.map_err(|error| Error::InvalidFile { reason: error.to_string() })
}

/// Reads the parameters from a file: exactly those, by name.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read, and those of [`from_bytes`].
pub fn load<E: Float, P: Parameters<E> + ?Sized>(parameters: &mut P, path: impl AsRef<Path>) -> Result<(), Error> {
    let path = path.as_ref();
    from_bytes(parameters, &std::fs::read(path).map_err(|error| io(path, &error))?)
}

/// Reads the parameters from the bytes of a file, read or mapped; nothing is allocated but the list of its tensors.
///
/// # Errors
/// [`Error::InvalidFile`] for bytes that are no safetensors file, [`Error::MissingTensor`], [`Error::ExtraTensor`],
/// [`Error::TensorShape`], [`Error::TensorDtype`], [`Error::RepeatedParameter`]. The parameters then are what they were.
pub fn from_bytes<E: Float, P: Parameters<E> + ?Sized>(parameters: &mut P, bytes: &[u8]) -> Result<(), Error> {
    let tensors = read_tensors::<E>(bytes)?;
    check(parameters, &tensors)?;
    let mut result = Ok(());
    parameters.visit_parameters_mut(&mut |name, to| {
        if result.is_ok() {
            result = tensors.copy_to(name, to);
        }
    });
    result
}

/// `Ok` if each parameter has its tensor and each tensor its parameter.
fn check<E: Float, P: Parameters<E> + ?Sized>(parameters: &P, tensors: &Tensors<'_, E>) -> Result<(), Error> {
    let mut names = BTreeSet::new();
    let mut result = Ok(());
    parameters.visit_parameters(&mut |name, array| {
        if result.is_ok() {
            result = tensors.expect(name, array.shape());
        }
        if !names.insert(name.to_string()) && result.is_ok() {
            result = Err(Error::RepeatedParameter { name: name.into() });
        }
    });
    result?;
    match tensors.names().find(|&name| !names.contains(name)) {
        Some(extra) => Err(Error::ExtraTensor {
            name: extra.into(),
            expected: format!("the parameters are {}", names.into_iter().collect::<Vec<_>>().join(", ")),
        }),
        None => Ok(()),
    }
}

/// The tensors in the bytes of a file, read or mapped. Each stays there until it is taken; types are checked then.
///
/// # Errors
/// [`Error::InvalidFile`].
pub fn read_tensors<E: Float>(bytes: &[u8]) -> Result<Tensors<'_, E>, Error> {
    let header = Header::read(bytes)?;
    let mut tensors = Tensors::new();
    for (name, Info { dtype, shape: Shape(shape), offsets: [start, end] }) in header.tensors {
        tensors.insert_stored(name, Stored { dtype, shape, bytes: &header.data[start..end] });
    }
    Ok(tensors)
}

/// Writes tensors to a file, each under its name: what the exporters made.
///
/// # Errors
/// [`Error::Io`] if the file cannot be written, [`Error::TensorDtype`] if a tensor of another file cannot be read.
pub fn save_tensors<E: Float>(mut tensors: Tensors<'_, E>, path: impl AsRef<Path>) -> Result<(), Error> {
    let names: Vec<String> = tensors.names().map(String::from).collect();
    let arrays: Result<Vec<_>, _> = names.iter().map(|name| tensors.take(name)).collect();
    let arrays = arrays?;
    write(names.into_iter().zip(arrays.iter().map(|array| Numbers(array.view()))), path.as_ref())
}

fn write<'a, E: Float>(views: impl IntoIterator<Item = (String, Numbers<'a, E>)>, path: &Path) -> Result<(), Error> {
    // The library makes its temporary file beside `path`, and a bare file name has an empty parent.
    let full = std::path::absolute(path).map_err(|error| io(path, &error))?;
    ::safetensors::serialize_to_file(views, None, &full).map_err(|error| io(path, &error))
}

/// The metadata of a file: strings by name, none if there are none.
///
/// # Errors
/// [`Error::InvalidFile`].
pub fn read_metadata(bytes: &[u8]) -> Result<BTreeMap<String, String>, Error> {
    Ok(Header::read(bytes)?.metadata)
}

fn io(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::Io { path: path.display().to_string(), reason: error.to_string() }
}

/// The parameters under their names.
fn named<E: Float, P: Parameters<E> + ?Sized>(parameters: &P) -> Result<Vec<(String, Numbers<'_, E>)>, Error> {
    let mut views: Vec<(String, Numbers<'_, E>)> = Vec::new();
    parameters.visit_parameters(&mut |name, array| views.push((name.into(), Numbers(array))));
    let mut names = BTreeSet::new();
    match views.iter().find(|(name, _)| !names.insert(name)) {
        Some((name, _)) => Err(Error::RepeatedParameter { name: name.clone() }),
        None => Ok(views),
    }
}

/// An array as the library writes it: its bytes are made when its turn comes.
struct Numbers<'a, E>(ArrayViewD<'a, E>);

impl<E: Float> View for Numbers<'_, E> {
    fn dtype(&self) -> Dtype {
        if size_of::<E>() == 8 { Dtype::F64 } else { Dtype::F32 }
    }
    fn shape(&self) -> &[usize] {
        self.0.shape()
    }
    fn data_len(&self) -> usize {
        size_of::<E>() * self.0.len()
    }
    fn data(&self) -> Cow<'_, [u8]> {
        let mut bytes = Vec::with_capacity(self.data_len());
        for number in &self.0 {
            let number = number as &dyn Any;
            match number.downcast_ref::<f32>() {
                Some(number) => bytes.extend(number.to_le_bytes()),
                None => bytes.extend(number.downcast_ref::<f64>().expect("Float is f32 or f64").to_le_bytes()),
            }
        }
        bytes.into()
    }
}
