//! [`Parameters`] and [`ParametersMut`] visit a cell's weights by name; [`parameters!`](crate::parameters) declares a
//! struct of weights.

mod containers;

use crate::checks::check_shape;
use crate::{Error, Float};
use ndarray::{Array, ArrayD, ArrayViewD, ArrayViewMutD, Dimension};
use std::borrow::Cow;

/// Visits weights by name, in a fixed order. Saving needs no more; [`ParametersMut`] is for loading and training.
///
/// Names are TensorFlow's (`kernel`, `gates/kernel`, …). Stacks and pairs of cells prefix them (`cell_0/kernel`,
/// `fw/bias`). A reference or an `Arc` visits what it points to, so a model of shared cells can be saved. By default
/// `visit_parameters` visits nothing: right for a cell without weights.
///
/// ```
/// use rand::SeedableRng;
/// use rnn_cell::{Gru, MultiRnnCell, Parameters};
/// use std::sync::Arc;
///
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let below = Arc::new(Gru::<f32>::new(4, 8, &mut rng)); // other models use it too
/// let model = MultiRnnCell::new((below, Gru::new(8, 2, &mut rng)))?;
/// let mut names = Vec::new();
/// model.visit_parameters(&mut |name, _| names.push(name.to_owned()));
/// assert_eq!(names[0], "cell_0/gates/kernel");
/// # Ok::<(), rnn_cell::Error>(())
/// ```
pub trait Parameters<E: Float> {
    /// Visits every weight.
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        let _ = visit;
    }

    /// Counts the numbers in all weights. An override must give the same.
    fn parameter_count(&self) -> usize {
        let mut count = 0;
        self.visit_parameters(&mut |_, array| count += array.len());
        count
    }

    /// Moves every array out, under the same names and in the same order, to collect a gradient. The provided version
    /// copies the arrays. A struct of arrays declared with [`parameters!`](crate::parameters) moves them.
    fn take_parameters(self, take: &mut dyn FnMut(&str, ArrayD<E>))
    where
        Self: Sized,
    {
        self.visit_parameters(&mut |name, array| take(name, array.to_owned()));
    }
}

/// [`Parameters`] that can change: for loading, optimizers and gradients.
///
/// Not implemented behind `&` or `Arc`, where weights are shared and cannot change. The provided version visits
/// nothing, which is right for a cell without weights.
pub trait ParametersMut<E: Float>: Parameters<E> {
    /// Visits every weight mutably, under the names and in the order of
    /// [`visit_parameters`](Parameters::visit_parameters). Before it returns, a cell rebuilds what it derives from its
    /// weights (packed copies).
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        let _ = visit;
    }
}

/// A field of a struct declared with [`parameters!`](crate::parameters): an array with any number of axes, another such
/// struct, a [`Linear`](crate::fused::Linear), or an `Option` of one of these.
pub trait Field<E: Float>: Sized {
    /// Visits the weights. The field's `name` is the weight's name, or the prefix of several weights' names.
    fn visit<'a>(&'a self, name: &str, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>));

    /// Visits the weights mutably.
    fn visit_mut(&mut self, name: &str, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>));
}

/// A [`Field`] made only of arrays: it can be checked, and it can be a gradient.
pub trait Arrays<E: Float>: Field<E> {
    /// Arrays of the same shapes, all 0.
    #[must_use]
    fn zeros(&self) -> Self;

    /// Checks the arrays against the shapes that `expected` gives for their names (`None`: the weight must be absent)
    /// and returns them in standard layout.
    ///
    /// # Errors
    /// [`Error::ArrayShape`], [`Error::MissingWeight`] or [`Error::UnexpectedWeight`] if they do not fit.
    fn checked(self, name: &str, expected: &dyn Fn(&str) -> Option<Vec<usize>>) -> Result<Self, Error>;

    /// Moves the arrays out.
    fn take(self, name: &str, take: &mut dyn FnMut(&str, ArrayD<E>));

    /// The name of the first weight in field `name`.
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

/// Joins a field's name and a weight's name with `/`. An empty field name adds nothing.
#[doc(hidden)]
#[must_use]
pub fn joined<'a>(field: &str, weight: &'a str) -> Cow<'a, str> {
    if field.is_empty() { weight.into() } else { format!("{field}/{weight}").into() }
}

/// Declares a struct of weights from a list of names and fields. It is visited by name
/// ([`Parameters`](crate::Parameters), [`ParametersMut`](crate::ParametersMut)), can be checked, and its gradient has
/// this type. Its type parameter `E` is `f32` or `f64`. Fields are `pub`, and `Debug`, `Clone` and `PartialEq` are
/// derived.
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
/// A field that is such a struct puts its name before its weights' names; `""` adds no name. End fields with a comma.
///
/// Write `cell struct` (public: `cell pub struct`) if a field is more than arrays, as a
/// [`Linear`](crate::fused::Linear) is. Such a struct can be visited, but cannot be a gradient. Its fields are private,
/// and nothing is derived. Fields after a semicolon are not visited.
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
            $($take)?
        }

        impl<E: $crate::Float> $crate::ParametersMut<E> for $name<E> {
            fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, $crate::ndarray::ArrayViewMutD<'_, E>)) {
                $crate::Field::visit_mut(self, "", visit);
            }
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
