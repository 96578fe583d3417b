//! [`Compression`]: compresses a cell's products.

use crate::kernel::WeightFormat;
use crate::kernel::compact::{Compact, MOST_INT8_INPUTS, Plain};
use crate::kernel::product::Product;
use crate::{Error, Float};
use ndarray::Array2;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

/// Compresses the products of a cell, for [`RnnCell::compress`](crate::RnnCell::compress).
///
/// Only [`Compressed`](crate::Compressed) makes one, so no other code can compress a cell's weights.
pub struct Compression<'a, E: Float> {
    task: Task<'a>,
    /// What comes before the names of weights.
    prefix: String,
    matrices: Vec<Matrix>,
    element: PhantomData<E>,
}

enum Task<'a> {
    Compress(WeightFormat),
    /// Replaces weights that are compressed already. There is one matrix for each name, of the right shape.
    #[cfg_attr(not(feature = "safetensors"), allow(dead_code))]
    Replace(&'a mut BTreeMap<String, Plain>),
}

/// A compressed matrix: the columns of some gates of a product.
#[derive(Clone)]
#[cfg_attr(not(feature = "safetensors"), allow(dead_code))]
pub(crate) struct Matrix {
    pub name: String,
    pub compact: Arc<Compact>,
    pub gates: Range<usize>,
}

impl<'a, E: Float> Compression<'a, E> {
    pub(crate) fn new(format: WeightFormat) -> Self {
        Self::of(Task::Compress(format))
    }

    /// Puts these matrices in place of the compressed ones.
    #[cfg_attr(not(feature = "safetensors"), allow(dead_code))]
    pub(crate) fn replacing(matrices: &'a mut BTreeMap<String, Plain>) -> Self {
        Self::of(Task::Replace(matrices))
    }

    fn of(task: Task<'a>) -> Self {
        Self { task, prefix: String::new(), matrices: Vec::new(), element: PhantomData }
    }

    /// All compressed matrices so far.
    pub(crate) fn into_matrices(self) -> Vec<Matrix> {
        self.matrices
    }

    /// Calls `compress` with `prefix` and `/` before the names of all weights, as in [`Parameters`](crate::Parameters).
    ///
    /// # Errors
    /// Those of `compress`.
    pub fn within(&mut self, prefix: &str, compress: impl FnOnce(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        let length = self.prefix.len();
        self.prefix.push_str(prefix);
        self.prefix.push('/');
        let result = compress(self);
        self.prefix.truncate(length);
        result
    }

    /// Compresses a product. Its gates are the columns of `matrices`, one matrix after another. Each keeps its columns
    /// and loses its rows.
    ///
    /// # Errors
    /// [`Error::NotCompressible`] if a weight is not finite, or the product has too many inputs.
    pub(crate) fn product(
        &mut self,
        product: &mut Product<E>,
        matrices: &mut [(&str, &mut Array2<E>)],
    ) -> Result<(), Error> {
        let shape = product.shape();
        let mut plain = Vec::new();
        for (name, matrix) in &*matrices {
            let name = format!("{}{name}", self.prefix);
            plain.push(match &mut self.task {
                Task::Compress(format) => compressed(*format, &name, matrix, shape.inputs)?,
                Task::Replace(all) => all.remove(&name).expect("there is a matrix for each name"),
            });
        }
        let compact = Arc::new(Compact::pack(product.isa(), shape, &plain));
        product.compress(Arc::clone(&compact));
        let mut gate = 0;
        for (name, matrix) in matrices {
            let gates = gate..gate + matrix.ncols() / shape.units;
            gate = gates.end;
            **matrix = Array2::zeros((0, matrix.ncols()));
            let name = format!("{}{name}", self.prefix);
            self.matrices.push(Matrix { name, compact: Arc::clone(&compact), gates });
        }
        Ok(())
    }
}

fn compressed<E: Float>(format: WeightFormat, name: &str, matrix: &Array2<E>, inputs: usize) -> Result<Plain, Error> {
    let weight = |reason| Error::NotCompressible { what: format!("weight \"{name}\""), reason };
    if format == WeightFormat::Int8 && inputs.max(matrix.nrows() - inputs) > MOST_INT8_INPUTS {
        let others = matrix.nrows() - inputs;
        let found = format!("it multiplies {inputs} inputs and {others} recurrent values");
        let reason = format!("{found}, but int8 takes at most {MOST_INT8_INPUTS} of each");
        return Err(weight(reason));
    }
    let numbers: Vec<f32> = matrix.iter().map(|number| number.as_f64() as f32).collect();
    Plain::of(format, &numbers, matrix.ncols(), inputs).ok_or_else(|| {
        let found = numbers.iter().find(|number| !number.is_finite());
        let found = found.or(numbers.iter().max_by(|a, b| a.abs().total_cmp(&b.abs()))).copied().unwrap_or_default();
        weight(format!("its numbers must be finite in {}, but one is {found}", format.name()))
    })
}

impl<E: Float> std::fmt::Debug for Compression<'_, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compression").finish_non_exhaustive()
    }
}
