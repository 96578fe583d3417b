//! Parameters of this crate's own among [`Tensors`].

use super::{Tensor, Tensors};
use crate::{Error, Float, Parameters, ParametersMut};
use ndarray::ArrayViewMutD;
use std::collections::BTreeSet;

impl<E: Float> Tensors<'_, E> {
    /// Loads parameters that were saved by this crate under a prefix, and removes their tensors. Others stay, so a part
    /// can be loaded from a file that holds more: a model without its optimizer, one cell of a model.
    ///
    /// ```
    /// # #[cfg(feature = "safetensors")] {
    /// # use rand::SeedableRng;
    /// # let rng = &mut rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
    /// use rnn_cell::train::{Adam, Parts};
    /// use rnn_cell::{Dense, Lstm, weights::safetensors};
    ///
    /// # let (trained, trained_dense) = (Lstm::<f32>::new(4, 8, rng), Dense::<f32>::new(8, 4, rng));
    /// # let adam = Adam::builder().build(&Parts::shared([("cell", &trained), ("dense", &trained_dense)]))?;
    /// let saved = Parts::shared([("cell", &trained), ("dense", &trained_dense), ("adam", &adam)]);
    /// let bytes = safetensors::to_bytes(&saved)?;
    ///
    /// let (mut cell, mut dense) = (Lstm::<f32>::new(4, 8, rng), Dense::<f32>::new(8, 4, rng));
    /// let mut tensors = safetensors::read_tensors::<f32>(&bytes)?;
    /// tensors.load("", &mut Parts::new([("cell", &mut cell), ("dense", &mut dense)]))?;
    /// assert_eq!(cell.weights(), trained.weights());
    /// // What is left is the optimizer's.
    /// assert!(tensors.names().all(|name| name.starts_with("adam/")));
    /// # }
    /// # Ok::<(), rnn_cell::Error>(())
    /// ```
    ///
    /// # Errors
    /// An error leaves the parameters and the tensors as they were.
    /// - [`Error::MissingWeight`] if a parameter has no tensor.
    /// - [`Error::TensorShape`] or [`Error::TensorDtype`] if a tensor has another shape or cannot be read without loss.
    /// - [`Error::RepeatedParameter`] if two parameters have the same name.
    pub fn load<P: ParametersMut<E> + ?Sized>(&mut self, prefix: &str, parameters: &mut P) -> Result<(), Error> {
        let names = self.check_parameters(prefix, parameters)?;
        self.copy_to_parameters(prefix, parameters)?;
        names.iter().for_each(|name| self.discard(name));
        Ok(())
    }

    /// Checks that each parameter has its tensor. Returns their names.
    pub(in crate::weights) fn check_parameters<P: Parameters<E> + ?Sized>(
        &self,
        prefix: &str,
        parameters: &P,
    ) -> Result<BTreeSet<String>, Error> {
        let mut names = BTreeSet::new();
        let mut result = Ok(());
        parameters.visit_parameters(&mut |name, array| {
            let name = format!("{prefix}{name}");
            if result.is_ok() {
                result = self.check(&name, array.shape());
            }
            if names.contains(&name) && result.is_ok() {
                result = Err(Error::RepeatedParameter { name: name.clone() });
            }
            names.insert(name);
        });
        result.map(|()| names)
    }

    /// Copies their tensors, which were checked, to parameters.
    pub(in crate::weights) fn copy_to_parameters<P: ParametersMut<E> + ?Sized>(
        &self,
        prefix: &str,
        parameters: &mut P,
    ) -> Result<(), Error> {
        let mut result = Ok(());
        parameters.visit_parameters_mut(&mut |name, to| {
            if result.is_ok() {
                result = self.copy_to(&format!("{prefix}{name}"), to);
            }
        });
        result
    }

    /// Copies a tensor, whose shape was checked, to `to`.
    pub(in crate::weights) fn copy_to(&self, name: &str, mut to: ArrayViewMutD<'_, E>) -> Result<(), Error> {
        match self.map.get(name).ok_or_else(|| self.missing(name))? {
            Tensor::Array(array) => to.assign(array),
            #[cfg(feature = "_stored")]
            Tensor::Stored(stored) => stored.copy_to(name, to.view_mut())?,
        }
        Ok(())
    }
}
