//! Gates in tensors of their own, made one.

use super::Tensors;
use crate::{Error, Float};
use ndarray::{Axis, concatenate};

impl<E: Float> Tensors<'_, E> {
    /// Joins tensors along an axis to one of another name, such as an importer looks for. Weights that have a matrix for
    /// each gate need no importer of their own:
    ///
    /// ```
    /// use ndarray::{Array1, Array2};
    /// use rnn_cell::weights::{Tensors, keras};
    ///
    /// let mut tensors = Tensors::<f32>::new();
    /// for gate in ["i", "f", "c", "o"] {
    ///     tensors.insert(format!("W_{gate}"), Array2::zeros((3, 4)));
    ///     tensors.insert(format!("U_{gate}"), Array2::zeros((4, 4)));
    ///     tensors.insert(format!("b_{gate}"), Array1::zeros(4));
    /// }
    /// tensors.join(&["W_i", "W_f", "W_c", "W_o"], 1, "kernel")?; // Keras's order
    /// tensors.join(&["U_i", "U_f", "U_c", "U_o"], 1, "recurrent_kernel")?;
    /// tensors.join(&["b_i", "b_f", "b_c", "b_o"], 0, "bias")?;
    /// let cell = keras::lstm(&mut tensors, "", &keras::Options::default())?;
    /// # tensors.finish()?;
    /// # Ok::<(), rnn_cell::Error>(())
    /// ```
    ///
    /// # Errors
    /// An error leaves all tensors.
    /// - [`Error::MissingWeight`] if there is no tensor of one of the names, one is named twice, or there are no names.
    /// - [`Error::TensorShape`] if one differs from the first in another axis, or the first has no such axis.
    /// - [`Error::TensorDtype`] if one comes from a file and cannot be read without loss.
    pub fn join(&mut self, names: &[&str], axis: usize, to: &str) -> Result<(), Error> {
        let Some((first, others)) = names.split_first() else {
            return Err(Error::MissingWeight { name: to.into(), reason: "no tensors were named to join".into() });
        };
        let shape = self.shape(first)?.to_vec();
        if axis >= shape.len() {
            let expected = format!("more than {axis} axes, to be joined along axis {axis}");
            return Err(Error::TensorShape { name: (*first).into(), expected, found: shape });
        }
        self.check(first, &shape)?;
        for name in others {
            let found = self.shape(name)?.to_vec();
            let mut expected = shape.clone();
            if found.len() == shape.len() {
                expected[axis] = found[axis];
            }
            self.check(name, &expected)?;
        }
        if let Some(at) = (1..names.len()).find(|&at| names[..at].contains(&names[at])) {
            return Err(Error::MissingWeight { name: names[at].into(), reason: "it was named before".into() });
        }
        let arrays: Result<Vec<_>, Error> = names.iter().map(|name| self.take(name)).collect();
        let arrays = arrays?;
        let views: Vec<_> = arrays.iter().map(|array| array.view()).collect();
        self.insert(to, concatenate(Axis(axis), &views).expect("the shapes were checked"));
        Ok(())
    }
}
