//! [`Stored`]: a tensor that is still in its file.

use crate::{Error, Float};
use half::{bf16, f16};
use ndarray::{ArrayD, ArrayViewD, ArrayViewMutD, IxDyn, ShapeBuilder};
use std::any::Any;
use std::borrow::Cow;

/// A tensor that is still in its file.
#[derive(Debug, Clone)]
pub(super) struct Stored<'a> {
    dtype: Cow<'a, str>,
    shape: Vec<usize>,
    /// Little endian, from the first number on.
    bytes: Cow<'a, [u8]>,
    /// How many numbers apart neighbours of each axis are, if the last axis is not the fastest.
    strides: Option<Vec<usize>>,
}

impl<'a> Stored<'a> {
    /// A tensor whose numbers follow one another, the last axis the fastest. If its type is read here, there must be as
    /// many bytes as its shape says.
    pub(super) fn new(dtype: impl Into<Cow<'a, str>>, shape: Vec<usize>, bytes: impl Into<Cow<'a, [u8]>>) -> Self {
        Self { dtype: dtype.into(), shape, bytes: bytes.into(), strides: None }
    }

    /// The same with strides, all of whose numbers must lie in the bytes.
    #[cfg(any(feature = "npz", feature = "pytorch"))]
    pub(super) fn strided(self, strides: Vec<usize>) -> Self {
        Self { strides: Some(strides), ..self }
    }
}

impl Stored<'_> {
    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub(super) fn check_dtype<E: Float>(&self, name: &str) -> Result<(), Error> {
        let double = size_of::<E>() == 8;
        match &*self.dtype {
            "F32" | "F16" | "BF16" => Ok(()),
            "F64" if double => Ok(()),
            found => Err(Error::TensorDtype {
                name: name.into(),
                expected: if double { "F64, F32, F16 or BF16" } else { "F32, F16 or BF16" },
                found: found.into(),
            }),
        }
    }

    pub(super) fn read<E: Float>(&self, name: &str) -> Result<ArrayD<E>, Error> {
        self.check_dtype::<E>(name)?;
        let mut array = self.zeros(name)?;
        self.copy_to(name, array.view_mut())?;
        Ok(array)
    }

    /// Reads integers of 8 bits.
    pub(super) fn read_integers<E: Float>(&self, name: &str) -> Result<ArrayD<E>, Error> {
        let number = match &*self.dtype {
            "I8" => |[byte]: [u8; 1]| E::of(f64::from(byte as i8)),
            "U8" => |[byte]: [u8; 1]| E::of(f64::from(byte)),
            found => {
                return Err(Error::TensorDtype { name: name.into(), expected: "I8 or U8", found: found.into() });
            }
        };
        let mut array = self.zeros(name)?;
        self.decode(array.view_mut(), number);
        Ok(array)
    }

    fn zeros<E: Float>(&self, name: &str) -> Result<ArrayD<E>, Error> {
        // If one axis is 0, the others may claim more than an array can have.
        let product = self.shape.iter().filter(|&&len| len > 0).try_fold(1_usize, |all, &len| all.checked_mul(len));
        if product.is_none_or(|product| product > isize::MAX as usize) {
            let expected = format!("axes whose product is at most {}", isize::MAX);
            return Err(Error::TensorShape { name: name.into(), expected, found: self.shape.clone() });
        }
        Ok(ArrayD::zeros(self.shape.clone()))
    }

    /// Copies the numbers to `to`, which has the tensor's shape.
    pub(super) fn copy_to<E: Float>(&self, name: &str, to: ArrayViewMutD<'_, E>) -> Result<(), Error> {
        self.check_dtype::<E>(name)?;
        match &*self.dtype {
            "F16" => self.decode(to, |bytes| widened(f16::from_le_bytes(bytes).to_f32())),
            "BF16" => self.decode(to, |bytes| widened(bf16::from_le_bytes(bytes).to_f32())),
            "F64" => self.decode(to, |bytes| widened(f64::from_le_bytes(bytes))),
            _ => self.decode(to, |bytes| widened(f32::from_le_bytes(bytes))),
        }
        Ok(())
    }

    fn decode<E: Float, const N: usize>(&self, mut to: ArrayViewMutD<'_, E>, number: impl Fn([u8; N]) -> E) {
        let (numbers, _) = self.bytes.as_chunks();
        let Some(strides) = &self.strides else {
            for (to, from) in to.iter_mut().zip(numbers) {
                *to = number(*from);
            }
            return;
        };
        let shape = IxDyn(&self.shape).strides(IxDyn(strides));
        let from = ArrayViewD::from_shape(shape, numbers).expect("the reader checked that all numbers are there");
        to.zip_mut_with(&from, |to, from| *to = number(*from));
    }
}

/// The same number in a type at least as wide; the same bits if the types are equal.
fn widened<F: Copy + Into<f64> + 'static, E: Float>(number: F) -> E {
    let same: Option<&E> = (&number as &dyn Any).downcast_ref();
    same.copied().unwrap_or_else(|| E::of(number.into()))
}
