//! [`Tensors`]: named arrays from memory or a file, for the importers.

use crate::error::list_to;
use crate::{Error, Float};
use ndarray::{Array1, Array2, ArrayBase, ArrayD, CowArray, CowRepr, Dimension, IxDyn};
use std::collections::BTreeMap;
use std::ops::Bound;

mod integers;
mod join;
mod names;
mod parameters;

#[cfg(feature = "_stored")]
use super::stored::Stored;

/// Named tensors: the weights of a framework, ready to import.
///
/// An importer takes the tensors whose names it knows and leaves the rest, so one file can hold several modules. After
/// the last import, [`finish`](Self::finish) checks that nothing was overlooked. Tensors of a file are not loaded until
/// they are taken: only one at a time is in memory besides the file.
///
/// ```
/// use ndarray::array;
/// use rnn_cell::weights::{Tensors, tensorflow};
///
/// let mut tensors = Tensors::new();
/// tensors.insert("rnn/basic_rnn_cell/kernel", array![[0.1_f32], [0.2], [0.3]]);
/// tensors.insert("rnn/basic_rnn_cell/bias", array![0.0_f32]);
/// let cell = tensorflow::basic_rnn(&mut tensors, "rnn/basic_rnn_cell/", &tensorflow::Options::default())?;
/// tensors.finish()?;
/// # use rnn_cell::RnnCell;
/// assert_eq!((cell.input_size(), cell.output_size()), (2, 1));
/// # Ok::<(), rnn_cell::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Tensors<'a, E: Float> {
    map: BTreeMap<String, Tensor<'a, E>>,
}

#[derive(Debug, Clone)]
pub(super) enum Tensor<'a, E: Float> {
    // A `CowArray`, spelled out to be covariant in 'a, which the alias is not.
    Array(ArrayBase<CowRepr<'a, E>, IxDyn, E>),
    #[cfg(feature = "_stored")]
    Stored(Stored<'a>),
}

impl<E: Float> Tensor<'_, E> {
    fn shape(&self) -> &[usize] {
        match self {
            Self::Array(array) => array.shape(),
            #[cfg(feature = "_stored")]
            Self::Stored(stored) => stored.shape(),
        }
    }

    /// The type of its numbers, by safetensors' name.
    fn dtype(&self) -> &str {
        match self {
            Self::Array(_) if size_of::<E>() == 8 => "F64",
            Self::Array(_) => "F32",
            #[cfg(feature = "_stored")]
            Self::Stored(stored) => &stored.dtype,
        }
    }
}

impl<E: Float> Default for Tensors<'_, E> {
    fn default() -> Self {
        Self { map: BTreeMap::new() }
    }
}

impl<'a, E: Float> Tensors<'a, E> {
    /// Creates an empty map.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an array or a view. It replaces a tensor of the same name.
    pub fn insert<D: Dimension>(&mut self, name: impl Into<String>, array: impl Into<CowArray<'a, E, D>>) {
        self.map.insert(name.into(), Tensor::Array(array.into().into_dyn()));
    }

    /// Moves all tensors of `other` here. One of the same name is replaced.
    pub fn append(&mut self, mut other: Self) {
        self.map.append(&mut other.map);
    }

    #[cfg(feature = "_stored")]
    pub(super) fn insert_stored(&mut self, name: String, stored: Stored<'a>) {
        self.map.insert(name, Tensor::Stored(stored));
    }

    /// The names, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.map.keys().map(String::as_str)
    }

    /// The first name with this beginning. A search, because a file may have as many modules as tensors.
    pub(super) fn first_with(&self, beginning: &str) -> Option<&str> {
        let (name, _) = self.map.range::<str, _>((Bound::Included(beginning), Bound::Unbounded)).next()?;
        Some(&**name).filter(|name| name.starts_with(beginning))
    }

    /// Number of tensors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there are no tensors.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Whether there is a tensor with this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    /// The shape of a tensor.
    ///
    /// # Errors
    /// [`Error::MissingWeight`] if there is no such tensor.
    pub fn shape(&self, name: &str) -> Result<&[usize], Error> {
        self.find_shape(name).ok_or_else(|| self.missing(name))
    }

    /// The shape of a tensor, if there is one of this name. The error of [`shape`](Self::shape) compares all names.
    pub(super) fn find_shape(&self, name: &str) -> Option<&[usize]> {
        self.map.get(name).map(Tensor::shape)
    }

    /// Renames a tensor, for example to what an importer looks for. It replaces a tensor of that name.
    ///
    /// # Errors
    /// [`Error::MissingWeight`] if there is no such tensor.
    pub fn rename(&mut self, from: &str, to: impl Into<String>) -> Result<(), Error> {
        let tensor = self.map.remove(from).ok_or_else(|| self.missing(from))?;
        self.map.insert(to.into(), tensor);
        Ok(())
    }

    /// Keeps only the tensors whose names `keep` returns true for.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.map.retain(|name, _| keep(name));
    }

    /// Removes a tensor unread, if there is one of this name.
    pub(super) fn discard(&mut self, name: &str) {
        self.map.remove(name);
    }

    /// Removes and returns a tensor of any shape. One that cannot be read stays.
    ///
    /// # Errors
    /// - [`Error::MissingWeight`] if there is no such tensor.
    /// - [`Error::TensorDtype`] if it comes from a file and cannot be read without loss.
    /// - [`Error::TensorShape`] if it comes from a file, is empty, and no array can have its shape.
    pub fn take(&mut self, name: &str) -> Result<ArrayD<E>, Error> {
        self.check_dtype(name)?;
        match self.map.remove(name).ok_or_else(|| self.missing(name))? {
            Tensor::Array(array) => Ok(array.into_owned()),
            #[cfg(feature = "_stored")]
            Tensor::Stored(stored) => {
                let read = stored.read(name);
                self.keep_refused(name, stored, read)
            }
        }
    }

    /// Puts a tensor back that could not be read.
    #[cfg(feature = "_stored")]
    fn keep_refused<T>(&mut self, name: &str, stored: Stored<'a>, read: Result<T, Error>) -> Result<T, Error> {
        if read.is_err() {
            self.insert_stored(name.into(), stored);
        }
        read
    }

    /// Removes and returns a matrix of the given shape.
    ///
    /// # Errors
    /// As [`take`](Self::take), and [`Error::TensorShape`] if its shape differs.
    pub fn take_matrix(&mut self, name: &str, (rows, columns): (usize, usize)) -> Result<Array2<E>, Error> {
        self.check(name, &[rows, columns])?;
        Ok(self.take(name)?.into_dimensionality().expect("two axes were checked"))
    }

    /// Removes and returns a vector of the given length.
    ///
    /// # Errors
    /// As [`take`](Self::take), and [`Error::TensorShape`] if its shape differs.
    pub fn take_vector(&mut self, name: &str, len: usize) -> Result<Array1<E>, Error> {
        self.check(name, &[len])?;
        Ok(self.take(name)?.into_dimensionality().expect("one axis was checked"))
    }

    /// Checks that a tensor exists, has this shape and can be read.
    ///
    /// # Errors
    /// - [`Error::MissingWeight`] if there is no such tensor.
    /// - [`Error::TensorShape`] if its shape differs.
    /// - [`Error::TensorDtype`] if it cannot be read without loss.
    pub fn check(&self, name: &str, shape: &[usize]) -> Result<(), Error> {
        let found = self.shape(name)?;
        if found != shape {
            return Err(Error::TensorShape { name: name.into(), expected: format!("{shape:?}"), found: found.into() });
        }
        self.check_dtype(name)
    }

    fn check_dtype(&self, name: &str) -> Result<(), Error> {
        match self.map.get(name) {
            #[cfg(feature = "_stored")]
            Some(Tensor::Stored(stored)) => stored.check_dtype::<E>(name),
            _ => Ok(()),
        }
    }

    /// The lengths of the `N` axes of a readable tensor, none of them 0. The error describes its shape as `expected`.
    pub(super) fn axes<const N: usize>(&self, name: &str, expected: &str) -> Result<[usize; N], Error> {
        let found = self.shape(name)?;
        let axes = found.try_into().ok().filter(|axes: &[usize; N]| axes.iter().all(|&len| len > 0));
        let axes = axes.ok_or_else(|| Error::TensorShape {
            name: name.into(),
            expected: format!("{expected} with no axis of length 0"),
            found: found.into(),
        })?;
        self.check_dtype(name)?;
        Ok(axes)
    }

    /// Checks that every tensor was taken.
    ///
    /// # Errors
    /// [`Error::UnexpectedWeight`] if some are left. It lists them.
    pub fn finish(self) -> Result<(), Error> {
        const MAX_NAMES: usize = 100;
        let mut names = self.map.into_keys();
        let Some(name) = names.next() else { return Ok(()) };
        let rest: Vec<String> = names.collect();
        let mut reason = "nothing took it".to_string();
        if !rest.is_empty() {
            reason += &format!(", nor {}", list_to(rest.iter().map(String::as_str), MAX_NAMES));
        }
        Err(Error::UnexpectedWeight { name, reason })
    }

    /// Converts all tensors of floats to another element type, rounding to nearest, for example to run `f64` weights in
    /// `f32`. Tensors of a file that are not floats stay as they are: [`take_integers`](Self::take_integers) reads them,
    /// and [`take`](Self::take) names their type.
    ///
    /// # Errors
    /// [`Error::TensorDtype`] and [`Error::TensorShape`], as [`take`](Self::take).
    pub fn cast<T: Float>(mut self) -> Result<Tensors<'static, T>, Error> {
        let mut cast = Tensors::new();
        while let Some(name) = self.map.keys().next().cloned() {
            #[cfg(feature = "_stored")]
            if self.map.get(&name).is_some_and(|tensor| matches!(tensor, Tensor::Stored(stored) if !stored.is_float()))
            {
                if let Some(Tensor::Stored(stored)) = self.map.remove(&name) {
                    cast.insert_stored(name, stored.into_owned());
                }
                continue;
            }
            let array = self.take(&name)?;
            cast.insert(name, array.mapv(|value| T::of(value.as_f64())));
        }
        Ok(cast)
    }
}
