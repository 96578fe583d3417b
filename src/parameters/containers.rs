//! The parameters of pointers, lists and tuples.

use super::{Parameters, ParametersMut};
use crate::Float;
use ndarray::{ArrayD, ArrayViewD, ArrayViewMutD};
use std::sync::Arc;

/// No weights.
impl<E: Float> Parameters<E> for () {}

/// No weights.
impl<E: Float> ParametersMut<E> for () {}

macro_rules! pointer_parameters {
    ($($pointer:ty),+) => {$(
        impl<E: Float, P: Parameters<E> + ?Sized> Parameters<E> for $pointer {
            fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
                (**self).visit_parameters(visit);
            }
            fn parameter_count(&self) -> usize {
                (**self).parameter_count()
            }
        }
    )+};
}

pointer_parameters!(&P, &mut P, Box<P>, Arc<P>);

macro_rules! pointer_parameters_mut {
    ($($pointer:ty),+) => {$(
        impl<E: Float, P: ParametersMut<E> + ?Sized> ParametersMut<E> for $pointer {
            fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
                (**self).visit_parameters_mut(visit);
            }
        }
    )+};
}

pointer_parameters_mut!(&mut P, Box<P>);

/// Layers, prefixed `cell_0/`, `cell_1/`, … as in a [`MultiRnnCell`](crate::MultiRnnCell).
impl<E: Float, P: Parameters<E>> Parameters<E> for Vec<P> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        for (layer, cell) in self.iter().enumerate() {
            cell.visit_parameters(&mut |name, array| visit(&format!("cell_{layer}/{name}"), array));
        }
    }
    fn take_parameters(self, take: &mut dyn FnMut(&str, ArrayD<E>)) {
        for (layer, cell) in self.into_iter().enumerate() {
            cell.take_parameters(&mut |name, array| take(&format!("cell_{layer}/{name}"), array));
        }
    }
}

/// Under the same names.
impl<E: Float, P: ParametersMut<E>> ParametersMut<E> for Vec<P> {
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        for (layer, cell) in self.iter_mut().enumerate() {
            cell.visit_parameters_mut(&mut |name, array| visit(&format!("cell_{layer}/{name}"), array));
        }
    }
}

macro_rules! tuple_parameters {
    ($($name:ident $index:tt)+) => {
        /// Layers, prefixed `cell_0/`, `cell_1/`, … as in a [`MultiRnnCell`](crate::MultiRnnCell).
        impl<Elem: Float, $($name: Parameters<Elem>),+> Parameters<Elem> for ($($name,)+) {
            fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, Elem>)) {
                $(self.$index.visit_parameters(&mut |name, array| visit(&format!("cell_{}/{name}", $index), array));)+
            }
            fn take_parameters(self, take: &mut dyn FnMut(&str, ArrayD<Elem>)) {
                $(self.$index.take_parameters(&mut |name, array| take(&format!("cell_{}/{name}", $index), array));)+
            }
        }

        /// Under the same names.
        impl<Elem: Float, $($name: ParametersMut<Elem>),+> ParametersMut<Elem> for ($($name,)+) {
            fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, Elem>)) {
                $(self.$index.visit_parameters_mut(&mut |name, array| visit(&format!("cell_{}/{name}", $index), array));)+
            }
        }
    };
}

tuple_parameters!(A 0);
tuple_parameters!(A 0 B 1);
tuple_parameters!(A 0 B 1 C 2);
tuple_parameters!(A 0 B 1 C 2 D 3);
