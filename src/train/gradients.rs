//! [`Gradients`]: one array per parameter, by name.

use crate::checks::check_shape;
use crate::kernel::zeros;
use crate::{Error, Float, Parameters};
use ndarray::{ArrayD, ArrayViewD};
use std::fmt::Display;

/// Gradients of the parameters of a cell, a layer or a whole model, with the same names, order and shapes.
#[derive(Debug, Clone, PartialEq)]
pub struct Gradients<E> {
    names: Vec<String>,
    arrays: Vec<ArrayD<E>>,
}

impl<E: Float> Gradients<E> {
    /// Zeros for every parameter of `model`.
    #[must_use]
    pub fn zeros<P: Parameters<E> + ?Sized>(model: &P) -> Self {
        let (mut names, mut arrays) = (Vec::new(), Vec::new());
        model.visit_parameters(&mut |name, value| {
            names.push(name.to_owned());
            arrays.push(zeros(value.raw_dim()));
        });
        Self { names, arrays }
    }

    /// Collects the arrays of a cell's gradient by name.
    #[must_use]
    pub fn of<P: Parameters<E>>(gradient: P) -> Self {
        let (mut names, mut arrays) = (Vec::new(), Vec::new());
        gradient.take_parameters(&mut |name, array| {
            names.push(name.to_owned());
            arrays.push(array);
        });
        Self { names, arrays }
    }

    /// Joins the gradients of several parts, named `<part>/<parameter>` as [`Parts`](super::Parts) names parameters.
    #[must_use]
    pub fn join<S: Display>(parts: impl IntoIterator<Item = (S, Self)>) -> Self {
        let (mut names, mut arrays) = (Vec::new(), Vec::new());
        for (part, gradients) in parts {
            names.extend(gradients.names.iter().map(|name| format!("{part}/{name}")));
            arrays.extend(gradients.arrays);
        }
        Self { names, arrays }
    }

    /// Adds `other` to these gradients, weight by weight, as for a second batch of the same model.
    ///
    /// # Errors
    /// These gradients are then as before.
    /// - [`Error::MissingWeight`] or [`Error::UnexpectedWeight`] if `other` has other names, or another order.
    /// - [`Error::ArrayShape`] if a gradient has another shape.
    pub fn add(&mut self, other: &Self) -> Result<(), Error> {
        for at in 0..self.names.len().max(other.names.len()) {
            match (self.names.get(at), other.names.get(at)) {
                (Some(name), Some(found)) if name == found => {
                    check_shape(format_args!("{name} of other"), self.arrays[at].shape(), other.arrays[at].shape())?;
                }
                (Some(name), None) => {
                    let reason = "other has too few gradients".into();
                    return Err(Error::MissingWeight { name: name.clone(), reason });
                }
                (expected, found) => {
                    let expected = expected.map_or("no more gradients", String::as_str);
                    let name = found.cloned().unwrap_or_default();
                    return Err(Error::UnexpectedWeight { name, reason: format!("expected {expected} there") });
                }
            }
        }
        self.arrays.iter_mut().zip(&other.arrays).for_each(|(sum, array)| *sum += array);
        Ok(())
    }

    /// Multiplies every number by `factor`.
    pub fn scale(&mut self, factor: E) {
        self.arrays.iter_mut().for_each(|array| array.mapv_inplace(|number| number * factor));
    }

    /// The arrays, in the order of the parameters.
    #[must_use]
    pub fn arrays(&self) -> &[ArrayD<E>] {
        &self.arrays
    }

    /// The arrays, mutable, in the order of the parameters.
    #[must_use]
    pub fn arrays_mut(&mut self) -> &mut [ArrayD<E>] {
        &mut self.arrays
    }

    /// The gradient of the parameter with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<ArrayViewD<'_, E>> {
        self.iter().find(|(other, _)| *other == name).map(|(_, array)| array.view())
    }

    /// Names and gradients, in the order of the parameters.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ArrayD<E>)> {
        self.names.iter().map(String::as_str).zip(&self.arrays)
    }

    /// Like [`iter`](Self::iter), but mutable.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut ArrayD<E>)> {
        self.names.iter().map(String::as_str).zip(&mut self.arrays)
    }
}

/// Of layers: named `cell_0/<parameter>`, `cell_1/<parameter>`, … as a `Vec` of cells names its parameters.
impl<E: Float> From<Vec<Gradients<E>>> for Gradients<E> {
    fn from(layers: Vec<Self>) -> Self {
        Self::join(layers.into_iter().enumerate().map(|(layer, gradients)| (format!("cell_{layer}"), gradients)))
    }
}
