//! [`Gradients`]: one array per parameter, by name.

use crate::kernel::zeros;
use crate::{Float, Parameters};
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
