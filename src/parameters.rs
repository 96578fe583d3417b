//! [`Parameters`]: the one door to a cell's weights; [`parameters!`](crate::parameters), a struct of weights from one list.

use crate::checks::check_shape;
use crate::{Error, Float};
use ndarray::{Array, ArrayD, ArrayViewD, ArrayViewMutD, Dimension};
use std::borrow::Cow;

/// Weights visited by name, in a fixed order: saving, loading, optimizers and clipping all go through here.
///
/// Names are TensorFlow's (`kernel`, `gates/kernel`, …); a wrapper prefixes those of what it wraps (`cell_0/kernel`,
/// `fw/bias`). What a cell derives from its weights (packed copies) is rebuilt when `visit_parameters_mut` returns.
///
/// The provided versions visit nothing, which is right for a cell without weights.
pub trait Parameters<E: Float> {
    /// Visits every weight.
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        let _ = visit;
    }

    /// Visits every weight, mutable, under the same names and in the same order.
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        let _ = visit;
    }

    /// How many numbers the weights have together.
    ///
    /// ```
    /// use rand::SeedableRng;
    /// use rnn_cell::Parameters;
    /// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
    /// let cell = rnn_cell::Lstm::<f32>::new(3, 5, &mut rng);
    /// assert_eq!(cell.parameter_count(), (3 + 5) * 20 + 20);
    /// ```
    fn parameter_count(&self) -> usize {
        let mut count = 0;
        self.visit_parameters(&mut |_, array| count += array.len());
        count
    }

    /// Hands over every array, under the same names and in the same order: what becomes of a gradient. The provided version
    /// copies; a struct that [`parameters!`](crate::parameters) makes of arrays does not.
    fn take_parameters(self, take: &mut dyn FnMut(&str, ArrayD<E>))
    where
        Self: Sized,
    {
        self.visit_parameters(&mut |name, array| take(name, array.to_owned()));
    }
}

/// No weights.
impl<E: Float> Parameters<E> for () {}

impl<E: Float, P: Parameters<E> + ?Sized> Parameters<E> for Box<P> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        (**self).visit_parameters(visit);
    }
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        (**self).visit_parameters_mut(visit);
    }
}

/// Layers, prefixed `cell_0/`, `cell_1/`, … as in a [`MultiRnnCell`](crate::MultiRnnCell).
impl<E: Float, P: Parameters<E>> Parameters<E> for Vec<P> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        for (layer, cell) in self.iter().enumerate() {
            cell.visit_parameters(&mut |name, array| visit(&format!("cell_{layer}/{name}"), array));
        }
    }
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        for (layer, cell) in self.iter_mut().enumerate() {
            cell.visit_parameters_mut(&mut |name, array| visit(&format!("cell_{layer}/{name}"), array));
        }
    }
    fn take_parameters(self, take: &mut dyn FnMut(&str, ArrayD<E>)) {
        for (layer, cell) in self.into_iter().enumerate() {
            cell.take_parameters(&mut |name, array| take(&format!("cell_{layer}/{name}"), array));
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
            fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, Elem>)) {
                $(self.$index.visit_parameters_mut(&mut |name, array| visit(&format!("cell_{}/{name}", $index), array));)+
            }
            fn take_parameters(self, take: &mut dyn FnMut(&str, ArrayD<Elem>)) {
                $(self.$index.take_parameters(&mut |name, array| take(&format!("cell_{}/{name}", $index), array));)+
            }
        }
    };
}

tuple_parameters!(A 0);
tuple_parameters!(A 0 B 1);
tuple_parameters!(A 0 B 1 C 2);
tuple_parameters!(A 0 B 1 C 2 D 3);

/// A weight, or several, as a field of a struct that [`parameters!`](crate::parameters) makes: an array of any number of
/// axes, such a struct again, a [`Linear`](crate::fused::Linear), or an `Option` of one.
pub trait Field<E: Float>: Sized {
    /// Visits the weights; the field's own `name` is theirs, or comes before it.
    fn visit<'a>(&'a self, name: &str, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>));

    /// Visits the weights, mutable.
    fn visit_mut(&mut self, name: &str, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>));
}

/// A [`Field`] that is arrays and nothing else: it can be a gradient, and be checked.
pub trait Arrays<E: Float>: Field<E> {
    /// The same arrays, all 0.
    #[must_use]
    fn zeros(&self) -> Self;

    /// The same arrays in standard layout, if they have the shapes that `expected` names; `None` is a weight that must not
    /// be there.
    ///
    /// # Errors
    /// [`Error::ArrayShape`], [`Error::MissingWeight`] and [`Error::UnexpectedWeight`].
    fn checked(self, name: &str, expected: &dyn Fn(&str) -> Option<Vec<usize>>) -> Result<Self, Error>;

    /// Hands over the arrays.
    fn take(self, name: &str, take: &mut dyn FnMut(&str, ArrayD<E>));

    /// The name of the first weight of such a field.
    fn first_name(name: &str) -> Cow<'_, str>;
}

impl<E: Float, D: Dimension> Field<E> for Array<E, D> {
    fn visit<'a>(&'a self, name: &str, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        visit(name, self.view().into_dyn());
    }
    fn visit_mut(&mut self, name: &str, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        visit(name, self.view_mut().into_dyn());
    }
}

impl<E: Float, D: Dimension> Arrays<E> for Array<E, D> {
    fn zeros(&self) -> Self {
        crate::kernel::zeros(self.raw_dim())
    }
    fn checked(self, name: &str, expected: &dyn Fn(&str) -> Option<Vec<usize>>) -> Result<Self, Error> {
        let Some(shape) = expected(name) else {
            let reason = "the cell's options have no use for it".into();
            return Err(Error::UnexpectedWeight { name: name.into(), reason });
        };
        check_shape(name, &shape, self.shape())?;
        Ok(if self.is_standard_layout() { self } else { self.as_standard_layout().into_owned() })
    }
    fn take(self, name: &str, take: &mut dyn FnMut(&str, ArrayD<E>)) {
        take(name, self.into_dyn());
    }
    fn first_name(name: &str) -> Cow<'_, str> {
        name.into()
    }
}

impl<E: Float, F: Field<E>> Field<E> for Option<F> {
    fn visit<'a>(&'a self, name: &str, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        self.iter().for_each(|field| field.visit(name, visit));
    }
    fn visit_mut(&mut self, name: &str, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        self.iter_mut().for_each(|field| field.visit_mut(name, visit));
    }
}

impl<E: Float, F: Arrays<E>> Arrays<E> for Option<F> {
    fn zeros(&self) -> Self {
        self.as_ref().map(F::zeros)
    }
    fn checked(self, name: &str, expected: &dyn Fn(&str) -> Option<Vec<usize>>) -> Result<Self, Error> {
        let first = F::first_name(name);
        match (self, expected(&first)) {
            (Some(field), _) => field.checked(name, expected).map(Some),
            (None, None) => Ok(None),
            (None, Some(_)) => {
                let reason = "the cell's options ask for it".into();
                Err(Error::MissingWeight { name: first.into_owned(), reason })
            }
        }
    }
    fn take(self, name: &str, take: &mut dyn FnMut(&str, ArrayD<E>)) {
        self.into_iter().for_each(|field| field.take(name, take));
    }
    fn first_name(name: &str) -> Cow<'_, str> {
        F::first_name(name)
    }
}

/// The name of a weight of a field: the field's, then its own; a field without a name adds nothing.
#[doc(hidden)]
#[must_use]
pub fn joined<'a>(field: &str, weight: &'a str) -> Cow<'a, str> {
    if field.is_empty() { weight.into() } else { format!("{field}/{weight}").into() }
}

/// A struct of weights, from one list of names and fields: visited by these names ([`Parameters`](crate::Parameters)),
/// checked, and a gradient as it is. Its type parameter `E` is `f32` or `f64`.
///
/// ```
/// use ndarray::{Array1, Array2};
/// use rnn_cell::{Arrays, Parameters};
///
/// rnn_cell::parameters! {
///     /// A diagonal, and a matrix that may be left out.
///     pub struct Diagonal {
///         "u" u: Array1<E>,
///         "matrix/w" w: Option<Array2<E>>,
///     }
/// }
///
/// let weights = Diagonal::<f32> { u: Array1::ones(3), w: None };
/// weights.visit_parameters(&mut |name, array| assert_eq!((name, array.shape()), ("u", &[3][..])));
/// assert_eq!(weights.zeros().u, ndarray::arr1(&[0.0_f32; 3]));
/// ```
///
/// A field that is such a struct has its name before those of its weights; with the name `""` nothing comes before. A comma
/// ends every field.
///
/// A struct with a field that is more than arrays, as a [`Linear`](crate::fused::Linear) is, is a `cell struct`: it is visited,
/// and no gradient. Fields after a semicolon are not visited.
///
/// ```
/// use rnn_cell::fused::Linear;
///
/// rnn_cell::parameters! {
///     /// Two products and a number that is no weight.
///     cell struct Mgu {
///         "gate" gate: Linear<E>,
///         "candidate" candidate: Linear<E>,
///         ; slope: f32,
///     }
/// }
/// ```
#[macro_export]
macro_rules! parameters {
    ($(#[$attribute:meta])* $visibility:vis struct $name:ident {
        $($(#[$field_attribute:meta])* $weight:literal $field:ident: $type:ty,)+
    }) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, PartialEq)]
        $visibility struct $name<E> {
            $($(#[$field_attribute])* pub $field: $type,)+
        }

        $crate::parameters!(@visit $name {
            fn take_parameters(self, take: &mut dyn FnMut(&str, $crate::ndarray::ArrayD<E>)) {
                $crate::Arrays::take(self, "", take);
            }
        } $($weight $field)+);

        impl<E: $crate::Float> $crate::Arrays<E> for $name<E> {
            fn zeros(&self) -> Self {
                Self { $($field: $crate::Arrays::<E>::zeros(&self.$field),)+ }
            }
            fn checked(
                self,
                name: &str,
                expected: &dyn Fn(&str) -> Option<Vec<usize>>,
            ) -> Result<Self, $crate::Error> {
                Ok(Self { $($field: self.$field.checked(&$crate::joined(name, $weight), expected)?,)+ })
            }
            fn take(self, name: &str, take: &mut dyn FnMut(&str, $crate::ndarray::ArrayD<E>)) {
                $($crate::Arrays::<E>::take(self.$field, &$crate::joined(name, $weight), take);)+
            }
            #[allow(unreachable_code)]
            fn first_name(name: &str) -> std::borrow::Cow<'_, str> {
                $(return <$type as $crate::Arrays<E>>::first_name(&$crate::joined(name, $weight)).into_owned().into();)+
            }
        }
    };
    ($(#[$attribute:meta])* cell $visibility:vis struct $name:ident {
        $($(#[$field_attribute:meta])* $weight:literal $field:ident: $type:ty,)+
        $(; $($(#[$other_attribute:meta])* $other:ident: $other_type:ty,)+)?
    }) => {
        $(#[$attribute])*
        $visibility struct $name<E: $crate::Float> {
            $($(#[$field_attribute])* $field: $type,)+
            $($($(#[$other_attribute])* $other: $other_type,)+)?
        }

        $crate::parameters!(@visit $name {} $($weight $field)+);
    };
    (@visit $name:ident { $($take:item)? } $($weight:literal $field:ident)+) => {
        impl<E: $crate::Float> $crate::Parameters<E> for $name<E> {
            fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, $crate::ndarray::ArrayViewD<'a, E>)) {
                $crate::Field::visit(self, "", visit);
            }
            fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, $crate::ndarray::ArrayViewMutD<'_, E>)) {
                $crate::Field::visit_mut(self, "", visit);
            }
            $($take)?
        }

        impl<E: $crate::Float> $crate::Field<E> for $name<E> {
            fn visit<'a>(&'a self, name: &str, visit: &mut dyn FnMut(&str, $crate::ndarray::ArrayViewD<'a, E>)) {
                $($crate::Field::<E>::visit(&self.$field, &$crate::joined(name, $weight), visit);)+
            }
            fn visit_mut(&mut self, name: &str, visit: &mut dyn FnMut(&str, $crate::ndarray::ArrayViewMutD<'_, E>)) {
                $($crate::Field::<E>::visit_mut(&mut self.$field, &$crate::joined(name, $weight), visit);)+
            }
        }
    };
}
