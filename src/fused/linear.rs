//! [`Linear`]: bias + \[x, h\] · kernel, packed once.

use super::weights::{drawn, gates_from, matrix_shape, packed_parameters};
use super::{Samples, Workspace};
use crate::checks::check_sizes;
use crate::compression::Compression;
use crate::kernel::isa::Isa;
use crate::kernel::layer;
use crate::kernel::pack::PackShape;
use crate::kernel::product::Product;
use crate::{Arrays, Error, Field, Float, ParametersMut, parameters};
use ndarray::{Array1, Array2, ArrayRef3, ArrayViewD, ArrayViewMutD};
use rand::Rng;

/// bias + \[x, h\] · kernel: the product of a cell's gates, TensorFlow 1's `_Linear`. Its weights are packed once, in
/// the layout that the kernels read, and repacked when they change.
///
/// | parameter | shape | initial value |
/// |---|---|---|
/// | `kernel` | (input + recurrent, gates · units) | [`glorot_uniform`](crate::init::glorot_uniform) |
/// | `bias` | (gates · units) | 0 |
///
/// The first `input` rows of `kernel` multiply the inputs. The others multiply what a [`Stage`](super::Stage) names: a
/// leaf of the state or a temporary. The columns are those of the gates, one gate after another.
///
/// With `recurrent_size` 0 it is a layer of its own, with [`forward`](Self::forward) and [`backward`](Self::backward).
#[derive(Clone)]
pub struct Linear<E: Float> {
    options: LinearBuilder,
    weights: LinearWeights<E>,
    product: Product<E>,
}

parameters! {
    /// The parameters of a [`Linear`], or their gradients.
    pub struct LinearWeights {
        /// (input + recurrent, gates · units).
        "kernel" kernel: Array2<E>,
        /// (gates · units); `None` without a bias.
        "bias" bias: Option<Array1<E>>,
    }
}

/// Options of a [`Linear`].
#[derive(Debug, Clone)]
#[must_use]
pub struct LinearBuilder {
    input_size: usize,
    recurrent_size: usize,
    units: usize,
    gates: usize,
    use_bias: bool,
}

impl<E: Float> Linear<E> {
    /// Options for a product with `units` units. Set `input_size`, `recurrent_size` or both. The element type is chosen
    /// when it is built, and may differ from this `E`. For a bias that does not start at 0, change
    /// [`weights`](Self::weights) of a built one and pass them to `build_from`.
    pub fn builder(units: usize) -> LinearBuilder {
        LinearBuilder { input_size: 0, recurrent_size: 0, units, gates: 1, use_bias: true }
    }

    /// The parameters.
    #[must_use]
    pub fn weights(&self) -> &LinearWeights<E> {
        &self.weights
    }

    /// Features per input row.
    #[must_use]
    pub fn input_size(&self) -> usize {
        self.options.input_size
    }

    /// Rows of weights for what the stage multiplies besides the inputs.
    #[must_use]
    pub fn recurrent_size(&self) -> usize {
        self.options.recurrent_size
    }

    /// Units per gate.
    #[must_use]
    pub fn units(&self) -> usize {
        self.options.units
    }

    /// Number of gates.
    #[must_use]
    pub fn gates(&self) -> usize {
        self.options.gates
    }

    /// Whether the product has a bias.
    #[must_use]
    pub fn use_bias(&self) -> bool {
        self.options.use_bias
    }

    pub(super) fn product(&self) -> &Product<E> {
        &self.product
    }

    /// Writes bias + x · kernel to `to`: `x` (seq, batch, input), `to` (seq, batch, gates · units), any strides.
    ///
    /// # Panics
    /// If `recurrent_size` is not 0, or if shapes disagree.
    pub fn forward(&self, x: &ArrayRef3<E>, to: &mut ArrayRef3<E>, workspace: &mut Workspace<E>) {
        assert_eq!(self.options.recurrent_size, 0, "forward and backward need a recurrent_size of 0");
        layer::forward(&self.product, x.view(), to.view_mut(), workspace);
    }

    /// Computes gradients from `d`, the gradient of what [`forward`](Self::forward) wrote, (seq, batch, gates · units).
    /// Overwrites `d_x` with that of `x`, both (seq, batch, input), and adds those of the parameters to `gradient`.
    ///
    /// # Panics
    /// As [`forward`](Self::forward), and after [`compress`](Self::compress).
    pub fn backward(
        &self,
        x: &ArrayRef3<E>,
        d: &ArrayRef3<E>,
        d_x: &mut ArrayRef3<E>,
        gradient: &mut LinearWeights<E>,
        workspace: &mut Workspace<E>,
    ) {
        self.run_back([x, d], d_x, gradient, (false, workspace));
    }

    /// As [`backward`](Self::backward), but the gradients of the parameters may wait in the workspace for
    /// [`finish_backward`](Self::finish_backward).
    pub(crate) fn part_backward(
        &self,
        x: &ArrayRef3<E>,
        d: &ArrayRef3<E>,
        d_x: &mut ArrayRef3<E>,
        gradient: &mut LinearWeights<E>,
        workspace: &mut Workspace<E>,
    ) {
        self.run_back([x, d], d_x, gradient, (true, workspace));
    }

    /// Adds the gradients of the parameters that [`part_backward`](Self::part_backward) left in the workspace.
    pub(crate) fn finish_backward(&self, gradient: &mut LinearWeights<E>, workspace: &mut Workspace<E>) {
        let gradient = (gradient.kernel.view_mut(), gradient.bias.as_mut());
        layer::finish_backward(&self.product, gradient, workspace);
    }

    fn run_back(
        &self,
        [x, d]: [&ArrayRef3<E>; 2],
        d_x: &mut ArrayRef3<E>,
        gradient: &mut LinearWeights<E>,
        (gather, workspace): (bool, &mut Workspace<E>),
    ) {
        assert_eq!(self.options.recurrent_size, 0, "forward and backward need a recurrent_size of 0");
        let (kernel, bias) = (gradient.kernel.view_mut(), gradient.bias.as_mut());
        let arrays = layer::BackArrays { x: x.view(), d: d.view(), d_x: d_x.view_mut(), kernel, bias };
        layer::backward(&self.product, arrays, gather, workspace);
    }

    /// Adds the gradients of kernel and bias over all steps and rows of `stage`, whose product this is.
    ///
    /// # Panics
    /// If the stage has another product, or a gradient has another shape.
    #[track_caller]
    pub fn add_gradients(&self, samples: &mut Samples<'_, E>, stage: usize, gradient: &mut LinearWeights<E>) {
        assert!(
            samples.stages_of(&self.product).any(|of| of == stage),
            "add_gradients of stage {stage}, but this Linear is the product of the stages {:?}",
            samples.stages_of(&self.product).collect::<Vec<_>>()
        );
        let shape = |weights: &LinearWeights<E>| (weights.kernel.dim(), weights.bias.as_ref().map(Array1::len));
        let (found, expected) = (shape(gradient), shape(&self.weights));
        assert!(
            found == expected,
            "add_gradients of stage {stage}: the gradient's kernel and bias are {found:?}, but the weights' {expected:?}"
        );
        let (kernel, bias) = (gradient.kernel.view_mut(), gradient.bias.as_mut());
        samples.add_product((stage, 0..self.options.gates), kernel, bias);
    }

    /// Compresses the kernel, for [`FusedCell::compress`](super::FusedCell::compress). `name` is what the product is
    /// called in [`parameters!`](crate::parameters); `""` if its weights have no prefix.
    ///
    /// From then on the kernel in [`weights`](Self::weights) has no rows, and [`backward`](Self::backward) panics.
    ///
    /// # Errors
    /// [`Error::NotCompressible`] if a weight is not finite or rounds to infinity, or int8 has too many inputs.
    pub fn compress(&mut self, name: &str, compression: &mut Compression<'_, E>) -> Result<(), Error> {
        let kernel = crate::joined(name, "kernel");
        compression.product(&mut self.product, &mut [(&kernel, &mut self.weights.kernel)])
    }

    fn repack(&mut self) {
        let gates = self.options.gates;
        let all: [_; MOST_GATES] = gates_from(&self.weights.kernel, self.weights.bias.as_ref(), gates);
        self.product.refill(&all[..gates], None);
    }
}

/// The most gates that a tile has sums for.
const MOST_GATES: usize = 4;

impl LinearBuilder {
    /// Rows of weights for the inputs. Default: 0, no inputs.
    pub fn input_size(mut self, input_size: usize) -> Self {
        self.input_size = input_size;
        self
    }

    /// Rows of weights for what the stage multiplies besides the inputs. Default: 0.
    pub fn recurrent_size(mut self, recurrent_size: usize) -> Self {
        self.recurrent_size = recurrent_size;
        self
    }

    /// Number of gates, one to four. Default: 1.
    pub fn gates(mut self, gates: usize) -> Self {
        self.gates = gates;
        self
    }

    /// Whether the product has a bias. Default: true.
    pub fn use_bias(mut self, use_bias: bool) -> Self {
        self.use_bias = use_bias;
        self
    }

    fn kernel_shape(&self) -> [usize; 2] {
        matrix_shape([self.input_size, self.recurrent_size], [self.gates, self.units])
    }

    /// Builds the product with TensorFlow's initial weights.
    ///
    /// # Errors
    /// - [`Error::ZeroSize`] if `units` or `gates` is 0, or both `input_size` and `recurrent_size` are.
    /// - [`Error::InvalidNumber`] if there are more than four gates.
    /// - [`Error::TooLarge`] if the weights would not fit in memory.
    pub fn build<E: Float, R: Rng + ?Sized>(self, rng: &mut R) -> Result<Linear<E>, Error> {
        self.check()?;
        let kernel = drawn("kernel", self.kernel_shape(), rng)?;
        let bias = self.use_bias.then(|| Array1::zeros(self.gates * self.units));
        self.build_from(LinearWeights { kernel, bias })
    }

    fn check(&self) -> Result<(), Error> {
        let depth = self.input_size.saturating_add(self.recurrent_size);
        check_sizes(&[("input_size + recurrent_size", depth), ("units", self.units), ("gates", self.gates)])?;
        crate::checks::check_number("gates", self.gates as f64, self.gates <= MOST_GATES, "at most 4")?;
        Ok(())
    }

    /// Builds the product with existing weights.
    ///
    /// # Errors
    /// - [`Error::ZeroSize`] or [`Error::InvalidNumber`] as [`build`](Self::build).
    /// - [`Error::ArrayShape`], [`Error::MissingWeight`] or [`Error::UnexpectedWeight`] if the weights do not match.
    pub fn build_from<E: Float>(self, weights: LinearWeights<E>) -> Result<Linear<E>, Error> {
        self.check()?;
        let weights = weights.checked("", &|name| match name {
            "kernel" => Some(self.kernel_shape().into()),
            "bias" if self.use_bias => Some(vec![self.gates * self.units]),
            _ => None,
        })?;
        let shape = PackShape {
            inputs: self.input_size,
            recurrent: self.recurrent_size,
            units: self.units,
            gates: self.gates,
            split: false,
        };
        let gates: [_; MOST_GATES] = gates_from(&weights.kernel, weights.bias.as_ref(), self.gates);
        let product = Product::new(Isa::get(), shape, &gates[..self.gates], None);
        Ok(Linear { options: self, weights, product })
    }
}

packed_parameters!(Linear);

impl<E: Float> Field<E> for Linear<E> {
    fn visit<'a>(&'a self, name: &str, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        self.weights.visit(name, visit);
    }
    fn visit_mut(&mut self, name: &str, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        self.visit_parameters_mut(&mut |weight, array| visit(&crate::joined(name, weight), array));
    }
}

impl<E: Float> std::fmt::Debug for Linear<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Linear").field("options", &self.options).finish_non_exhaustive()
    }
}
