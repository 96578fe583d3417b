//! [`BatchNorm`]: a trained batch normalization, to be folded into the layer that reads it.

use super::Tensors;
use crate::{BasicRnn, Dense, Error, Float, Gru, Lstm, ParametersMut, RnnCell};
use ndarray::{Array1, Ix2, s};
use std::collections::BTreeMap;

/// A batch normalization with the statistics of its training: y = scale ⊙ x + shift, where
/// scale = γ / √(variance + ε) and shift = β − mean ⊙ scale.
///
/// No cell here normalizes. The next layer's kernel and bias take the two numbers of a feature up:
/// [`fold_into`](Self::fold_into). [`keras::batch_norm`](super::keras::batch_norm) and its relatives read one.
///
/// ```
/// use ndarray::array;
/// use rnn_cell::weights::{Tensors, keras};
/// use rnn_cell::Dense;
///
/// let mut tensors = Tensors::<f64>::new();
/// for (name, numbers) in [("gamma", [2.0, 1.0]), ("beta", [1.0, 0.0]), ("moving_mean", [3.0, 0.0])] {
///     tensors.insert(format!("norm/{name}"), ndarray::arr1(&numbers));
/// }
/// tensors.insert("norm/moving_variance", array![4.0, 1.0]);
/// let mut dense = Dense::from_weights(array![[1.0], [10.0]], Some(array![0.5]))?;
/// keras::batch_norm(&mut tensors, "norm/", 0.0)?.fold_into(&mut dense)?;
/// // (2 / √4 · (5 − 3) + 1) · 1 + 7 · 10 + 0.5
/// assert_eq!(dense.forward(&array![[5.0, 7.0]])?, array![[73.5]]);
/// # Ok::<(), rnn_cell::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct BatchNorm<E> {
    scale: Array1<E>,
    shift: Array1<E>,
}

impl<E: Float> BatchNorm<E> {
    /// Takes γ, β, mean and variance under these names. Without γ it is 1, without β it is 0.
    pub(super) fn take(tensors: &mut Tensors<'_, E>, names: [String; 4], epsilon: f64) -> Result<Self, Error> {
        let [gamma, beta, mean, variance] = names;
        if !(epsilon.is_finite() && epsilon >= 0.0) {
            let expected = "finite and at least 0";
            return Err(Error::InvalidNumber { argument: "epsilon", expected, found: epsilon });
        }
        let [len] = tensors.axes(&variance, "(features)")?;
        for name in [&gamma, &beta, &mean] {
            if name == &mean || tensors.contains(name) {
                tensors.check(name, &[len])?;
            }
        }
        let mut optional = |name: &str, default: E| match tensors.contains(name) {
            true => tensors.take_vector(name, len),
            false => Ok(Array1::from_elem(len, default)),
        };
        let (gamma, beta) = (optional(&gamma, E::one())?, optional(&beta, E::zero())?);
        let (mean, variance) = (tensors.take_vector(&mean, len)?, tensors.take_vector(&variance, len)?);
        let number = |array: &Array1<E>, at: usize| array[at].as_f64();
        let scale = |at| number(&gamma, at) / (number(&variance, at) + epsilon).sqrt();
        let shift = |at| number(&beta, at) - number(&mean, at) * scale(at);
        Ok(Self {
            scale: Array1::from_shape_fn(len, |at| E::of(scale(at))),
            shift: Array1::from_shape_fn(len, |at| E::of(shift(at))),
        })
    }

    /// Changes a layer that reads normalized inputs so that it reads the inputs as they are: the rows of its kernels for
    /// inputs are multiplied by scale, and its biases get shift · kernel.
    ///
    /// Layers are [`Dense`], [`BasicRnn`], [`Lstm`] and [`Gru`]. Of a stack, fold into the first layer, in both
    /// directions if there are two.
    ///
    /// # Errors
    /// An error leaves the layer as it was.
    /// - [`Error::ArrayShape`] if the layer reads another number of features.
    /// - [`Error::NotRepresentable`] if the layer has no bias, and a shift is not 0.
    pub fn fold_into<L: Normalizable<E>>(&self, layer: &mut L) -> Result<(), Error> {
        let features = self.scale.len();
        if layer.features() != features {
            let (expected, found) = (vec![layer.features()], vec![features]);
            return Err(Error::ArrayShape { argument: "the normalization".into(), expected, found });
        }
        let mut added = BTreeMap::new();
        let mut biases = Vec::new();
        layer.visit_parameters(&mut |name, array| {
            if is_kernel(name) {
                let kernel = array.into_dimensionality::<Ix2>().expect("a kernel has two axes");
                added.insert(bias_of(name), self.shift.dot(&kernel.slice(s![..features, ..])));
            } else {
                biases.push(name.to_owned());
            }
        });
        for (bias, added) in &added {
            if !biases.contains(bias) && added.iter().any(|&number| number != E::zero()) {
                let (module, expected) = ("a batch normalization", "a layer with a bias");
                return Err(Error::NotRepresentable { module, expected, found: "none".into() });
            }
        }
        layer.visit_parameters_mut(&mut |name, mut array| {
            if is_kernel(name) {
                let mut kernel = array.into_dimensionality::<Ix2>().expect("a kernel has two axes");
                for (mut row, &scale) in kernel.rows_mut().into_iter().zip(&self.scale) {
                    row.mapv_inplace(|number| number * scale);
                }
            } else if let Some(added) = added.get(name) {
                array += added;
            }
        });
        Ok(())
    }
}

/// Whether this is the kernel of a product of the inputs.
fn is_kernel(name: &str) -> bool {
    ["kernel", "gates/kernel", "candidate/kernel"].contains(&name)
}

fn bias_of(kernel: &str) -> String {
    kernel.replace("kernel", "bias")
}

/// A layer that a [`BatchNorm`] can be folded into: [`Dense`], [`BasicRnn`], [`Lstm`] and [`Gru`]. Sealed.
pub trait Normalizable<E: Float>: ParametersMut<E> + Sealed {}

/// Keeps others from implementing [`Normalizable`].
#[allow(unnameable_types)]
pub trait Sealed {
    #[doc(hidden)]
    fn features(&self) -> usize;
}

macro_rules! normalizable {
    ($($layer:ident => $features:expr),+ $(,)?) => {$(
        impl<E: Float> Normalizable<E> for $layer<E> {}

        impl<E: Float> Sealed for $layer<E> {
            fn features(&self) -> usize {
                $features(self)
            }
        }
    )+};
}

normalizable! {
    Dense => |dense: &Dense<E>| dense.kernel().nrows(),
    BasicRnn => RnnCell::input_size,
    Lstm => RnnCell::input_size,
    Gru => RnnCell::input_size,
}
