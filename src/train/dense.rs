//! [`Dense`]: a fully connected layer, which turns outputs of a cell into logits or predictions.

use super::Gradients;
use crate::checks::{check_shape, check_sizes};
use crate::fused::weights::drawn;
use crate::{Error, Float, Parameters};
use ndarray::{Array, Array1, Array2, ArrayRef, ArrayViewD, ArrayViewMutD, Axis, CowArray, Dimension, Ix2};
use rand::Rng;

/// A fully connected layer without activation: TensorFlow 1's `tf.layers.dense`.
///
/// y = x · kernel + bias, over the last axis of an array of any number of axes: (batch, seq, input) gives (batch, seq,
/// output), and (batch, input) gives (batch, output).
///
/// | parameter | shape | initial value |
/// |---|---|---|
/// | `kernel` | (input, output) | [`glorot_uniform`](crate::init::glorot_uniform) |
/// | `bias` | (output) | 0 |
///
/// ```
/// use rand::SeedableRng;
/// use rnn_cell::{Lstm, dynamic_rnn, one_hot, train::Dense};
///
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let (cell, dense) = (Lstm::<f32>::new(4, 8, &mut rng), Dense::new(8, 4, &mut rng));
/// let x = one_hot(&["hello", "eolll"], "helo")?;
/// let (outputs, state) = dynamic_rnn(&cell, &x, None, None)?;
/// assert_eq!(dense.forward(&outputs)?.dim(), (2, 5, 4)); // at every step
/// assert_eq!(dense.forward(&state.h)?.dim(), (2, 4)); // after the last
/// # Ok::<(), rnn_cell::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Dense<E> {
    kernel: Array2<E>,
    bias: Option<Array1<E>>,
}

impl<E: Float> Dense<E> {
    /// A layer with TensorFlow's initial weights.
    ///
    /// # Panics
    /// If a size is 0, or the weights would be larger than memory.
    #[must_use]
    pub fn new<R: Rng + ?Sized>(input_size: usize, output_size: usize, rng: &mut R) -> Self {
        let kernel = drawn("kernel", [input_size, output_size], rng);
        let layer = kernel.and_then(|kernel| Self::from_weights(kernel, Some(Array1::zeros(output_size))));
        layer.unwrap_or_else(|error| panic!("{error}"))
    }

    /// A layer of existing weights: `kernel` (input, output), `bias` (output); `None` is no bias at all.
    ///
    /// # Errors
    /// [`Error::ZeroSize`] if `kernel` is empty, [`Error::ArrayShape`] if `bias` does not fit it.
    pub fn from_weights(kernel: Array2<E>, bias: Option<Array1<E>>) -> Result<Self, Error> {
        check_sizes(&[("input_size", kernel.nrows()), ("output_size", kernel.ncols())])?;
        if let Some(bias) = &bias {
            check_shape("bias", &[kernel.ncols()], bias.shape())?;
        }
        Ok(Self { kernel, bias })
    }

    /// (input, output).
    #[must_use]
    pub fn kernel(&self) -> &Array2<E> {
        &self.kernel
    }

    /// (output); `None` is no bias at all.
    #[must_use]
    pub fn bias(&self) -> Option<&Array1<E>> {
        self.bias.as_ref()
    }

    /// x · kernel + bias: `x` (…, input) to (…, output).
    ///
    /// # Errors
    /// [`Error::ArrayShape`] if the last axis of `x` is not the layer's input size.
    pub fn forward<D: Dimension>(&self, x: &ArrayRef<E, D>) -> Result<Array<E, D>, Error> {
        check_shape("x", &with_last(x.shape(), self.kernel.nrows()), x.shape())?;
        let mut y = rows(x).dot(&self.kernel);
        if let Some(bias) = &self.bias {
            y += bias;
        }
        Ok(like(x, y))
    }

    /// The gradients of `x` and of the parameters, from `d_y`, the gradient of y.
    ///
    /// # Errors
    /// [`Error::ArrayShape`] if `x` does not fit the layer or `d_y` does not fit `x`.
    pub fn backward<D: Dimension>(
        &self,
        x: &ArrayRef<E, D>,
        d_y: &ArrayRef<E, D>,
    ) -> Result<(Array<E, D>, Gradients<E>), Error> {
        check_shape("x", &with_last(x.shape(), self.kernel.nrows()), x.shape())?;
        check_shape("d_y", &with_last(x.shape(), self.kernel.ncols()), d_y.shape())?;
        let (x_rows, d_rows) = (rows(x), rows(d_y));
        let mut gradients = Gradients::zeros(self);
        let mut arrays = gradients.arrays_mut().iter_mut();
        let mut add = |gradient: ArrayViewD<E>| *arrays.next().expect("one array a parameter") += &gradient;
        add(x_rows.t().dot(&d_rows).view().into_dyn());
        if self.bias.is_some() {
            add(d_rows.sum_axis(Axis(0)).view().into_dyn());
        }
        Ok((like(x, d_rows.dot(&self.kernel.t())), gradients))
    }
}

/// `shape` with another last axis; an array without axes has none to be right.
fn with_last(shape: &[usize], size: usize) -> Vec<usize> {
    let mut shape = shape.to_vec();
    shape.pop();
    shape.push(size);
    shape
}

/// All axes but the last as one.
fn rows<E: Float, D: Dimension>(array: &ArrayRef<E, D>) -> CowArray<'_, E, Ix2> {
    let features = array.shape()[array.ndim() - 1];
    let rows: usize = array.shape()[..array.ndim() - 1].iter().product();
    array.to_shape((rows, features)).expect("the rows are those of the array")
}

/// Undoes [`rows`]: the leading axes are those of `array`.
fn like<E: Float, D: Dimension>(array: &ArrayRef<E, D>, rows: Array2<E>) -> Array<E, D> {
    let mut shape = array.raw_dim();
    shape[array.ndim() - 1] = rows.ncols();
    let numbers = rows.as_standard_layout().into_owned().into_raw_vec_and_offset().0;
    Array::from_shape_vec(shape, numbers).expect("the rows are those of the array")
}

impl<E: Float> Parameters<E> for Dense<E> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        visit("kernel", self.kernel.view().into_dyn());
        if let Some(bias) = &self.bias {
            visit("bias", bias.view().into_dyn());
        }
    }
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        visit("kernel", self.kernel.view_mut().into_dyn());
        if let Some(bias) = &mut self.bias {
            visit("bias", bias.view_mut().into_dyn());
        }
    }
}
