//! What optimizers remember for each parameter.

use crate::train::Gradients;
use crate::{Error, Float, Parameters};
use ndarray::{ArrayViewD, ArrayViewMutD};

/// An array for each parameter, with its name and shape.
#[derive(Debug, Clone)]
pub(super) struct Slots<E> {
    prefix: &'static str,
    values: Gradients<E>,
}

impl<E: Float> Slots<E> {
    /// Zeros for every parameter of `model`, visited as `<prefix>/<parameter>`.
    pub(super) fn zeros<P: Parameters<E> + ?Sized>(prefix: &'static str, model: &P) -> Self {
        Self { prefix, values: Gradients::zeros(model) }
    }

    /// [`zeros`](Self::zeros), but filled with `value`.
    pub(super) fn filled<P: Parameters<E> + ?Sized>(prefix: &'static str, model: &P, value: E) -> Self {
        let mut slots = Self::zeros(prefix, model);
        slots.arrays_mut().iter_mut().for_each(|array| array.fill(value));
        slots
    }

    pub(super) fn arrays_mut(&mut self) -> &mut [ndarray::ArrayD<E>] {
        self.values.arrays_mut()
    }

    /// `Err` unless `model` and `gradients` have these names and shapes, in this order.
    pub(super) fn check(&self, model: &dyn Parameters<E>, gradients: &Gradients<E>) -> Result<(), Error> {
        let describe = |name: &str, shape: &[usize]| format!("{name} {shape:?}");
        let expected: Vec<String> = self.values.iter().map(|(name, value)| describe(name, value.shape())).collect();
        let mut in_model = Vec::new();
        model.visit_parameters(&mut |name, value| in_model.push(describe(name, value.shape())));
        let in_gradients = gradients.iter().map(|(name, value)| describe(name, value.shape())).collect();
        for (argument, found) in [("model", in_model), ("gradients", in_gradients)] {
            let count = expected.len().max(found.len());
            if let Some(position) = (0..count).find(|&position| expected.get(position) != found.get(position)) {
                let at = |list: &[String]| list.get(position).cloned().unwrap_or_else(|| "nothing".into());
                return Err(Error::OptimizerParameter {
                    argument,
                    position,
                    expected: at(&expected),
                    found: at(&found),
                });
            }
        }
        Ok(())
    }

    pub(super) fn visit<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        for (name, value) in self.values.iter() {
            visit(&format!("{}/{name}", self.prefix), value.view());
        }
    }

    pub(super) fn visit_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        for (name, value) in self.values.iter_mut() {
            visit(&format!("{}/{name}", self.prefix), value.view_mut());
        }
    }
}
