//! Integers among [`Tensors`].

use super::{Tensor, Tensors};
use crate::{Error, Float};
use ndarray::{ArrayD, ArrayViewD};

impl<E: Float> Tensors<'_, E> {
    /// Removes and returns a tensor of integers, such as lengths or tokens, of any shape. One that cannot be read stays.
    ///
    /// # Errors
    /// - [`Error::MissingWeight`] if there is no such tensor.
    /// - [`Error::TensorDtype`] if its numbers are not integers of at most 64 bits or booleans, or one does not fit an
    ///   `i64`. Floats must be whole and are taken from arrays only.
    /// - [`Error::TensorShape`] as [`take`](Self::take).
    pub fn take_integers(&mut self, name: &str) -> Result<ArrayD<i64>, Error> {
        let integers = match self.map.get(name).ok_or_else(|| self.missing(name))? {
            Tensor::Array(array) => whole(name, array.view())?,
            #[cfg(feature = "_stored")]
            Tensor::Stored(stored) => stored.read_integers(name)?,
        };
        self.map.remove(name);
        Ok(integers)
    }

    /// Removes and returns a tensor of 8-bit integers, which may be an array of whole numbers.
    pub(in crate::weights) fn take_codes(&mut self, name: &str) -> Result<ArrayD<E>, Error> {
        match self.map.remove(name).ok_or_else(|| self.missing(name))? {
            Tensor::Array(array) => Ok(array.into_owned()),
            #[cfg(feature = "_stored")]
            Tensor::Stored(stored) => {
                let read = stored.read_codes(name);
                self.keep_refused(name, stored, read)
            }
        }
    }
}

/// Whole numbers as integers.
fn whole<E: Float>(name: &str, numbers: ArrayViewD<'_, E>) -> Result<ArrayD<i64>, Error> {
    // From here on an f64 may be rounded to an i64 that it is not.
    const LIMIT: f64 = (1_u64 << 53) as f64;
    match numbers.iter().map(|number| number.as_f64()).find(|number| number.fract() != 0.0 || number.abs() > LIMIT) {
        Some(number) => {
            let (expected, found) = ("whole numbers up to 2⁵³", format!("an array with {number}"));
            Err(Error::TensorDtype { name: name.into(), expected, found })
        }
        None => Ok(numbers.mapv(|number| number.as_f64() as i64)),
    }
}
