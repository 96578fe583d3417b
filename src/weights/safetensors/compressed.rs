//! Files of compressed cells.

use super::header::{self, Described, Header, Info, Shape};
use crate::compression::Matrix;
use crate::error::{list, quoted};
use crate::kernel::compact::Plain;
use crate::weights::replace::replace;
use crate::weights::stored::Stored;
use crate::weights::{Tensors, file};
use crate::{Compressed, Error, Parameters, ParametersMut, RnnCell, WeightFormat};
use ndarray::ArrayViewD;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

/// Writes a compressed cell to a file: about half the size of its `f32` weights, or a quarter.
///
/// Each compressed matrix is a tensor under its parameter's name, (inputs, columns): BF16, or I8 with codes from −127 to
/// 127. In 8 bits there is also `<name>/scales`, F32, (2, columns): the scales of the rows that multiply inputs, and of
/// those that multiply recurrent values. A weight is its code times its scale. All other parameters are F32.
///
/// The file replaces an old one as [`save`](super::save) does. A file in 16 bits can also be [loaded](super::load) into
/// the `f32` cell.
///
/// # Errors
/// - Those of [`save`](super::save).
/// - [`Error::MissingWeight`] if a product was [compressed](crate::fused::Linear::compress) under a name that is no
///   parameter's.
pub fn save_compressed<C>(cell: &Compressed<C>, path: impl AsRef<Path>) -> Result<(), Error>
where
    C: RnnCell<Elem = f32> + Parameters<f32>,
{
    let bytes = compressed_to_bytes(cell)?;
    replace(path.as_ref(), |to| to.write_all(&bytes))
}

/// Returns the bytes that [`save_compressed`] writes.
///
/// # Errors
/// [`Error::RepeatedParameter`], [`Error::InvalidFile`] and [`Error::MissingWeight`], as [`save_compressed`].
pub fn compressed_to_bytes<C>(cell: &Compressed<C>) -> Result<Vec<u8>, Error>
where
    C: RnnCell<Elem = f32> + Parameters<f32>,
{
    let contents = contents(cell)?;
    let mut bytes = header::beginning(contents.iter().map(|(name, content)| content.described(name)))?;
    contents.values().for_each(|content| content.write(&mut bytes));
    Ok(bytes)
}

/// Reads a compressed cell from a file. The cell must have the same options and the same format; its weights are
/// replaced.
///
/// # Errors
/// - [`Error::NotRegularFile`] and [`Error::Io`], as [`load`](super::load).
/// - Those of [`compressed_from_bytes`].
pub fn load_compressed<C>(cell: &mut Compressed<C>, path: impl AsRef<Path>) -> Result<(), Error>
where
    C: RnnCell<Elem = f32> + ParametersMut<f32>,
{
    compressed_from_bytes(cell, &file::read(path.as_ref())?)
}

/// Reads a compressed cell from the bytes of a file, read or mapped.
///
/// ```
/// use rand::SeedableRng;
/// use rnn_cell::{Compressed, Lstm, WeightFormat, weights::safetensors};
///
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let trained = Compressed::new(Lstm::<f32>::new(4, 8, &mut rng), WeightFormat::Int8)?;
/// let bytes = safetensors::compressed_to_bytes(&trained)?;
///
/// let mut cell = Compressed::new(Lstm::<f32>::new(4, 8, &mut rng), WeightFormat::Int8)?;
/// safetensors::compressed_from_bytes(&mut cell, &bytes)?;
/// assert_eq!(safetensors::compressed_to_bytes(&cell)?, bytes);
/// # Ok::<(), rnn_cell::Error>(())
/// ```
///
/// # Errors
/// An error leaves the cell as it was.
/// - [`Error::InvalidFile`] if the bytes are not a safetensors file, or a code, a scale or a weight is out of range.
/// - [`Error::MissingWeight`] or [`Error::UnexpectedWeight`] if the names are not those of the cell.
/// - [`Error::TensorShape`] or [`Error::TensorDtype`] if a tensor has another shape or type.
/// - [`Error::RepeatedParameter`] if two parameters have the same name.
pub fn compressed_from_bytes<C>(cell: &mut Compressed<C>, bytes: &[u8]) -> Result<(), Error>
where
    C: RnnCell<Elem = f32> + ParametersMut<f32>,
{
    let mut header = Header::read(bytes)?;
    let (inside, matrices) = cell.parts();
    let mut plain = BTreeMap::new();
    for matrix in matrices {
        let read = Reader { matrix, header: &mut header }.read()?;
        if plain.insert(matrix.name.clone(), read).is_some() {
            return Err(Error::RepeatedParameter { name: matrix.name.clone() });
        }
    }
    let (mut numbers, data) = (Tensors::<f32>::new(), header.data);
    for (name, Info { dtype, shape: Shape(shape), offsets: [start, end] }) in header.tensors {
        numbers.insert_stored(name, Stored::new(dtype, shape, &data[start..end]));
    }
    let names: Vec<String> = plain.keys().cloned().collect();
    let is_compressed = |name: &str| names.binary_search_by(|own| (**own).cmp(name)).is_ok();
    check_numbers(inside, &is_compressed, &numbers)?;
    let mut result = Ok(());
    cell.replace(&mut plain).visit_parameters_mut(&mut |name, to| {
        if result.is_ok() && !is_compressed(name) {
            result = numbers.copy_to(name, to);
        }
    });
    result
}

/// The name of the scales of a matrix of 8 bits.
fn scales_of(name: &str) -> String {
    format!("{name}/scales")
}

/// A tensor of a compressed cell.
enum Content<'a> {
    Numbers(ArrayViewD<'a, f32>),
    Bf16(Vec<u16>, usize),
    Codes(Vec<i8>, usize),
    Scales(Vec<f32>, usize),
}

impl Content<'_> {
    fn described<'a>(&self, name: &'a str) -> Described<'a> {
        let (dtype, shape) = match self {
            Self::Numbers(array) => ("F32", array.shape().to_vec()),
            Self::Bf16(bits, columns) => ("BF16", vec![bits.len() / columns, *columns]),
            Self::Codes(codes, columns) => ("I8", vec![codes.len() / columns, *columns]),
            Self::Scales(scales, columns) => ("F32", vec![scales.len() / columns, *columns]),
        };
        Described { name, dtype, shape }
    }

    fn write(&self, to: &mut Vec<u8>) {
        match self {
            Self::Numbers(array) => array.iter().for_each(|number| to.extend(number.to_le_bytes())),
            Self::Bf16(bits, _) => bits.iter().for_each(|bits| to.extend(bits.to_le_bytes())),
            Self::Codes(codes, _) => to.extend(codes.iter().map(|&code| code as u8)),
            Self::Scales(scales, _) => scales.iter().for_each(|scale| to.extend(scale.to_le_bytes())),
        }
    }
}

/// All tensors of a cell by name.
fn contents<C>(cell: &Compressed<C>) -> Result<BTreeMap<String, Content<'_>>, Error>
where
    C: RnnCell<Elem = f32> + Parameters<f32>,
{
    let (inside, matrices) = cell.parts();
    let mut contents = BTreeMap::new();
    let mut repeated = None;
    let mut insert = |name: String, content| {
        if contents.insert(name.clone(), content).is_some() {
            repeated.get_or_insert(name);
        }
    };
    for Matrix { name, compact, gates } in matrices {
        match compact.plain(gates.clone()) {
            Plain::Bf16 { bits, columns } => insert(name.clone(), Content::Bf16(bits, columns)),
            Plain::Int8 { codes, scales, columns } => {
                insert(name.clone(), Content::Codes(codes, columns));
                insert(scales_of(name), Content::Scales(scales, columns));
            }
        }
    }
    let mut nameless: Vec<&str> = matrices.iter().map(|matrix| &*matrix.name).collect();
    inside.visit_parameters(&mut |name, array| {
        nameless.retain(|matrix| *matrix != name);
        if !matrices.iter().any(|matrix| matrix.name == name) {
            insert(name.into(), Content::Numbers(array));
        }
    });
    match (repeated, nameless.first()) {
        (Some(name), _) => Err(Error::RepeatedParameter { name }),
        (None, Some(&name)) => {
            let reason = "the cell compresses a product of this name, but has no such parameter".into();
            Err(Error::MissingWeight { name: name.into(), reason })
        }
        (None, None) => Ok(contents),
    }
}

/// Checks that each parameter that is not compressed has its tensor, and each tensor its parameter.
fn check_numbers<P: Parameters<f32>>(
    parameters: &P,
    is_compressed: &dyn Fn(&str) -> bool,
    tensors: &Tensors<'_, f32>,
) -> Result<(), Error> {
    let mut names = Vec::new();
    let mut result = Ok(());
    parameters.visit_parameters(&mut |name, array| {
        if !is_compressed(name) && result.is_ok() {
            result = tensors.check(name, array.shape());
            names.push(name.to_string());
        }
    });
    result?;
    match tensors.names().find(|&name| !names.iter().any(|own| own == name)) {
        Some(extra) => {
            let reason = format!("besides compressed ones, the parameters are {}", list(names.iter().map(|n| &**n)));
            Err(Error::UnexpectedWeight { name: extra.into(), reason })
        }
        None => Ok(()),
    }
}

/// Takes a matrix from a file.
struct Reader<'r, 'a> {
    matrix: &'r Matrix,
    header: &'r mut Header<'a>,
}

impl<'a> Reader<'_, 'a> {
    fn read(&mut self) -> Result<Plain, Error> {
        let Matrix { name, compact, gates } = self.matrix;
        let (rows, columns) = (compact.shape().depth(), gates.len() * compact.shape().units);
        match compact.format() {
            WeightFormat::Bf16 => {
                let (numbers, _) = self.take(name, "BF16", [rows, columns])?.as_chunks();
                let bits: Vec<u16> = numbers.iter().map(|bytes| u16::from_le_bytes(*bytes)).collect();
                let finite = |bits: u16| f32::from_bits(u32::from(bits) << 16).is_finite();
                self.check(name, bits.iter().all(|&bits| finite(bits)), "its numbers must be finite")?;
                Ok(Plain::Bf16 { bits, columns })
            }
            WeightFormat::Int8 => {
                let codes = self.take(name, "I8", [rows, columns])?;
                let codes: Vec<i8> = codes.iter().map(|&byte| byte as i8).collect();
                self.check(name, !codes.contains(&i8::MIN), "its codes must be from -127 to 127")?;
                let name = &scales_of(name);
                let (numbers, _) = self.take(name, "F32", [2, columns])?.as_chunks();
                let scales: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
                let in_range = scales.iter().all(|scale| scale.is_finite() && scale.is_sign_positive());
                self.check(name, in_range, "its scales must be finite and not below 0")?;
                Ok(Plain::Int8 { codes, scales, columns })
            }
        }
    }

    /// The bytes of a tensor of this type and shape.
    fn take(&mut self, name: &str, dtype: &'static str, shape: [usize; 2]) -> Result<&'a [u8], Error> {
        let Some(info) = self.header.tensors.remove(name) else {
            let reason = format!("the tensors left are {}", list(self.header.tensors.keys().map(String::as_str)));
            return Err(Error::MissingWeight { name: name.into(), reason });
        };
        let Info { dtype: found, shape: Shape(found_shape), offsets: [start, end] } = info;
        if found_shape != shape {
            return Err(Error::TensorShape { name: name.into(), expected: format!("{shape:?}"), found: found_shape });
        }
        if found != dtype {
            return Err(Error::TensorDtype { name: name.into(), expected: dtype, found: found.into_owned() });
        }
        Ok(&self.header.data[start..end])
    }

    fn check(&self, name: &str, right: bool, expected: &str) -> Result<(), Error> {
        if right { Ok(()) } else { Err(header::invalid(format!("tensor {}: {expected}", quoted(name)))) }
    }
}
