//! Saves and loads parameters as [safetensors](https://github.com/huggingface/safetensors), and reads the tensors of a
//! file for the importers.
//!
//! [`save`] and [`load`] go by parameter name and take any [`Parameters`]: a cell, a stack, a pair of directions, an
//! optimizer. The round trip is bit-exact. [`read_tensors`] opens a file of another framework for the importers.
//!
//! Types are converted if nothing is lost. An `f32` cell reads F32, F16 and BF16; an `f64` cell reads F64 too. F64 for
//! an `f32` cell would be rounded and is refused ([`Tensors::cast`] rounds on request), as are integers.
//!
//! Files are not trusted. A wrong shape or type, a missing or extra tensor, a truncated or hostile file is an error
//! that names the tensor, what was expected and what was found. Everything is checked before the first parameter is
//! written, so an error leaves the cell as it was. Nothing a file claims is believed before its bytes are there:
//! opening a file allocates a list of its tensors, and nothing larger than the file.
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
//!
//! A [`Compressed`](crate::Compressed) cell has functions of its own: [`save_compressed`] and [`load_compressed`].

use super::replace::replace;
use super::stored::Stored;
use super::{Tensors, file};
use crate::error::list;
use crate::{Error, Float, Parameters, ParametersMut};
use header::{Described, Header, Info, Shape};
use ndarray::ArrayViewD;
use std::any::Any;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

mod compressed;
mod header;

pub use compressed::{compressed_from_bytes, compressed_to_bytes, load_compressed, save_compressed};

/// Writes the parameters to a file, each under its name.
///
/// The old file is replaced in one step, once the new one is complete and on disk. A full disk, a killed process or a
/// power cut before that leaves the old file as it was. Symbolic links are followed: the target is replaced. The new
/// file keeps the old one's permissions, but not its owner; without an old file it gets the defaults. Other hard links
/// keep the old contents. If several processes save to one path at the same time, all succeed and the last one wins.
///
/// The new file is first written beside the old one, as `.rnn-cell-<16 hex digits>.tmp`. An error
/// removes it. A killed process leaves it behind, no longer locked, and the next save to that folder removes it. (On a
/// file system without locks it stays.)
///
/// # Errors
/// - [`Error::RepeatedParameter`] if two parameters have the same name.
/// - [`Error::InvalidFile`] if the file's header (names, shapes and offsets) would have more than 100 MB, or a
///   parameter is named `__metadata__`.
/// - [`Error::NotRegularFile`] if the path leads to something other than a file: a folder, a pipe, a device.
/// - [`Error::Io`] if the file cannot be written. A read-only file is not replaced.
pub fn save<E: Float, P: Parameters<E> + ?Sized>(parameters: &P, path: impl AsRef<Path>) -> Result<(), Error> {
    save_arrays(&named(parameters)?, path.as_ref())
}

/// Returns the bytes that [`save`] writes.
///
/// # Errors
/// [`Error::RepeatedParameter`] and [`Error::InvalidFile`], as [`save`].
pub fn to_bytes<E: Float, P: Parameters<E> + ?Sized>(parameters: &P) -> Result<Vec<u8>, Error> {
    let arrays = named(parameters)?;
    let mut bytes = beginning(&arrays)?;
    write_numbers(&arrays, &mut bytes).expect("memory takes every byte");
    Ok(bytes)
}

/// Reads the parameters from a file, by name. It must hold exactly these: [`Tensors::load`] loads a part of a file, such
/// as a model without its optimizer.
///
/// # Errors
/// - [`Error::NotRegularFile`] if the path leads to something other than a file: a folder, a pipe, a device.
/// - [`Error::Io`] if the file cannot be read, or does not fit in memory.
/// - Those of [`from_bytes`].
pub fn load<E: Float, P: ParametersMut<E> + ?Sized>(parameters: &mut P, path: impl AsRef<Path>) -> Result<(), Error> {
    from_bytes(parameters, &file::read(path.as_ref())?)
}

/// Reads the parameters from the bytes of a file, read or mapped. Allocates lists of the file's tensors, of its
/// metadata and of the parameters' names, but no copy of the numbers.
///
/// # Errors
/// An error leaves the parameters as they were.
/// - [`Error::InvalidFile`] if the bytes are not a safetensors file.
/// - [`Error::MissingWeight`] or [`Error::UnexpectedWeight`] if the names are not those of the parameters.
/// - [`Error::TensorShape`] or [`Error::TensorDtype`] if a tensor has another shape or cannot be read without loss.
/// - [`Error::RepeatedParameter`] if two parameters have the same name.
pub fn from_bytes<E: Float, P: ParametersMut<E> + ?Sized>(parameters: &mut P, bytes: &[u8]) -> Result<(), Error> {
    let tensors = read_tensors::<E>(bytes)?;
    let names = tensors.check_parameters("", parameters)?;
    if let Some(extra) = tensors.names().find(|&name| !names.contains(name)) {
        let list = list(names.iter().map(String::as_str));
        let reason = format!("the parameters are {list} (`Tensors::load` loads a part of a file)");
        return Err(Error::UnexpectedWeight { name: extra.into(), reason });
    }
    tensors.copy_to_parameters("", parameters)
}

/// Lists the tensors in the bytes of a file, read or mapped. A tensor is read, and its type checked, when it is taken.
///
/// # Errors
/// [`Error::InvalidFile`] if the bytes are not a safetensors file.
pub fn read_tensors<E: Float>(bytes: &[u8]) -> Result<Tensors<'_, E>, Error> {
    let header = Header::read(bytes)?;
    let mut tensors = Tensors::new();
    for (name, Info { dtype, shape: Shape(shape), offsets: [start, end] }) in header.tensors {
        tensors.insert_stored(name, Stored::new(dtype, shape, &header.data[start..end]));
    }
    Ok(tensors)
}

/// Writes tensors, such as an exporter returned, to a file, each under its name.
///
/// # Errors
/// Those of [`save`], and of [`Tensors::take`] for tensors of another file.
pub fn save_tensors<E: Float>(mut tensors: Tensors<'_, E>, path: impl AsRef<Path>) -> Result<(), Error> {
    let names: Vec<String> = tensors.names().map(String::from).collect();
    let arrays: Result<Vec<_>, _> = names.iter().map(|name| tensors.take(name)).collect();
    let arrays = arrays?;
    save_arrays(&names.into_iter().zip(arrays.iter().map(|array| array.view())).collect(), path.as_ref())
}

fn save_arrays<E: Float>(arrays: &Named<'_, E>, path: &Path) -> Result<(), Error> {
    let beginning = beginning(arrays)?;
    replace(path, |to| {
        to.write_all(&beginning)?;
        write_numbers(arrays, to)
    })
}

/// Reads the metadata of a file: strings by name, empty if absent.
///
/// # Errors
/// [`Error::InvalidFile`] if the bytes are not a safetensors file.
pub fn read_metadata(bytes: &[u8]) -> Result<BTreeMap<String, String>, Error> {
    Ok(Header::read(bytes)?.metadata)
}

/// Arrays by name, in the order they are written.
type Named<'a, E> = BTreeMap<String, ArrayViewD<'a, E>>;

/// The parameters by name.
fn named<E: Float, P: Parameters<E> + ?Sized>(parameters: &P) -> Result<Named<'_, E>, Error> {
    let mut arrays = BTreeMap::new();
    let mut result = Ok(());
    parameters.visit_parameters(&mut |name, array| {
        if arrays.insert(name.to_string(), array).is_some() && result.is_ok() {
            result = Err(Error::RepeatedParameter { name: name.into() });
        }
    });
    result.map(|()| arrays)
}

fn beginning<E: Float>(arrays: &Named<'_, E>) -> Result<Vec<u8>, Error> {
    let dtype = if size_of::<E>() == 8 { "F64" } else { "F32" };
    header::beginning(arrays.iter().map(|(name, array)| Described { name, dtype, shape: array.shape().into() }))
}

fn write_numbers<E: Float>(arrays: &Named<'_, E>, to: &mut impl Write) -> io::Result<()> {
    for number in arrays.values().flatten() {
        let number = number as &dyn Any;
        match number.downcast_ref::<f32>() {
            Some(number) => to.write_all(&number.to_le_bytes())?,
            None => to.write_all(&number.downcast_ref::<f64>().expect("Float is f32 or f64").to_le_bytes())?,
        }
    }
    Ok(())
}
