//! [`Dense`]: a fully connected layer that turns a cell's outputs into logits or predictions.

use crate::checks::{check_shape, check_sizes};
use crate::fused::{Linear, LinearBuilder, LinearWeights, Workspace};
use crate::kernel::zeros;
use crate::train::Gradients;
use crate::{Arrays, Error, Float, Parameters, ParametersMut};
use ndarray::{
    Array, Array1, Array2, Array3, ArrayRef, ArrayRef2, ArrayViewD, ArrayViewMutD, Axis, CowArray, Dimension, Ix3,
};
use rand::Rng;

/// A fully connected layer without activation: TensorFlow 1's `tf.layers.dense`.
///
/// It computes y = x · kernel + bias over the last axis of an array with any number of axes: (batch, seq, input) gives
/// (batch, seq, output), and (batch, input) gives (batch, output). It is a [`Linear`] whose `recurrent_size` is 0. It
/// keeps a copy of its weights in the kernels' layout.
///
/// | parameter | shape | initial value |
/// |---|---|---|
/// | `kernel` | (input, output) | [`glorot_uniform`](crate::init::glorot_uniform) |
/// | `bias` | (output) | 0 |
///
/// ```
/// use rand::SeedableRng;
/// use rnn_cell::{Lstm, dynamic_rnn, one_hot, Dense};
///
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let (cell, dense) = (Lstm::<f32>::new(4, 8, &mut rng), Dense::new(8, 4, &mut rng));
/// let x = one_hot(&["hello", "eolll"], "helo")?;
/// let (outputs, state) = dynamic_rnn(&cell, &x, None, None)?;
/// assert_eq!(dense.forward(&outputs)?.dim(), (2, 5, 4)); // at every step
/// assert_eq!(dense.forward(&state.h)?.dim(), (2, 4)); // after the last
/// # Ok::<(), rnn_cell::Error>(())
/// ```
#[derive(Clone)]
pub struct Dense<E: Float>(Linear<E>);

impl<E: Float> Dense<E> {
    /// A layer with TensorFlow's initial weights.
    ///
    /// # Panics
    /// If a size is 0, or the weights would not fit in memory.
    #[must_use]
    pub fn new<R: Rng + ?Sized>(input_size: usize, output_size: usize, rng: &mut R) -> Self {
        let layer = Self::builder(input_size, output_size).and_then(|builder| builder.build(rng));
        Self(layer.unwrap_or_else(|error| panic!("{error}")))
    }

    /// # Errors
    /// [`Error::ZeroSize`].
    fn builder(input_size: usize, output_size: usize) -> Result<LinearBuilder, Error> {
        check_sizes(&[("input_size", input_size), ("output_size", output_size)])?;
        Ok(Linear::<E>::builder(output_size).input_size(input_size))
    }

    /// A layer with existing weights: `kernel` (input, output), `bias` (output); `None` without a bias.
    ///
    /// # Errors
    /// - [`Error::ZeroSize`] if `kernel` is empty.
    /// - [`Error::ArrayShape`] if `bias` does not fit it.
    pub fn from_weights(kernel: Array2<E>, bias: Option<Array1<E>>) -> Result<Self, Error> {
        let builder = Self::builder(kernel.nrows(), kernel.ncols())?.use_bias(bias.is_some());
        Ok(Self(builder.build_from(LinearWeights { kernel, bias })?))
    }

    /// The kernel, (input, output).
    #[must_use]
    pub fn kernel(&self) -> &Array2<E> {
        &self.0.weights().kernel
    }

    /// The bias, (output); `None` without one.
    #[must_use]
    pub fn bias(&self) -> Option<&Array1<E>> {
        self.0.weights().bias.as_ref()
    }

    /// Computes x · kernel + bias: `x` is (…, input), the result (…, output).
    ///
    /// # Errors
    /// [`Error::ArrayShape`] if the last axis of `x` is not the layer's input size.
    pub fn forward<D: Dimension>(&self, x: &ArrayRef<E, D>) -> Result<Array<E, D>, Error> {
        check_shape("x", &with_last(x.shape(), self.0.input_size()), x.shape())?;
        let x_rows = rows(x);
        let mut y = zeros((1, x_rows.dim().1, self.0.units()));
        self.0.forward(&x_rows, &mut y, &mut Workspace::default());
        Ok(like(x, y))
    }

    /// [`forward`](Self::forward) of the rows of one step into an array, without allocating after the first call.
    ///
    /// # Panics
    /// If shapes disagree.
    pub(crate) fn forward_rows(&self, x: &ArrayRef2<E>, y: &mut ArrayRef2<E>, workspace: &mut Workspace<E>) {
        let (x, mut y) = (x.view().insert_axis(Axis(0)), y.view_mut().insert_axis(Axis(0)));
        self.0.forward(&x, &mut y, workspace);
    }

    /// The product.
    pub(crate) fn linear(&self) -> &Linear<E> {
        &self.0
    }

    /// `Err` unless a decoder's output layer takes rows of this width.
    pub(crate) fn check_output_layer(&self, width: usize) -> Result<(), Error> {
        check_shape("output_layer's input", &[width], &[self.0.input_size()])
    }

    /// Computes gradients from `d_y` (…, output), the gradient of y. Returns that of `x`, in its shape, and those of
    /// the parameters.
    ///
    /// # Errors
    /// [`Error::ArrayShape`] if `x` does not fit the layer or `d_y` does not fit `x`.
    pub fn backward<D: Dimension>(
        &self,
        x: &ArrayRef<E, D>,
        d_y: &ArrayRef<E, D>,
    ) -> Result<(Array<E, D>, Gradients<E>), Error> {
        check_shape("x", &with_last(x.shape(), self.0.input_size()), x.shape())?;
        check_shape("d_y", &with_last(x.shape(), self.0.units()), d_y.shape())?;
        let (x_rows, d_rows) = (rows(x), rows(d_y));
        let (mut d_x, mut gradient) = (zeros(x_rows.raw_dim()), self.0.weights().zeros());
        self.0.backward(&x_rows, &d_rows, &mut d_x, &mut gradient, &mut Workspace::default());
        Ok((like(x, d_x), Gradients::of(gradient)))
    }
}

/// `shape` with another last axis. An array without axes gets one, so that it never matches.
fn with_last(shape: &[usize], size: usize) -> Vec<usize> {
    let mut shape = shape.to_vec();
    shape.pop();
    shape.push(size);
    shape
}

/// Merges all axes except the last: the rows of one step.
fn rows<E: Float, D: Dimension>(array: &ArrayRef<E, D>) -> CowArray<'_, E, Ix3> {
    let features = array.shape()[array.ndim() - 1];
    let rows: usize = array.shape()[..array.ndim() - 1].iter().product();
    array.to_shape((1, rows, features)).expect("the rows are those of the array")
}

/// Undoes [`rows`]: the leading axes are those of `array`.
fn like<E: Float, D: Dimension>(array: &ArrayRef<E, D>, rows: Array3<E>) -> Array<E, D> {
    let mut shape = array.raw_dim();
    shape[array.ndim() - 1] = rows.dim().2;
    rows.into_shape_with_order(shape).expect("the rows are those of the array")
}

impl<E: Float> Parameters<E> for Dense<E> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        self.0.visit_parameters(visit);
    }
}

impl<E: Float> ParametersMut<E> for Dense<E> {
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        self.0.visit_parameters_mut(visit);
    }
}

impl<E: Float> PartialEq for Dense<E> {
    fn eq(&self, other: &Self) -> bool {
        self.0.weights() == other.0.weights()
    }
}

impl<E: Float> std::fmt::Debug for Dense<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dense").field("kernel", self.kernel()).field("bias", &self.bias()).finish()
    }
}
