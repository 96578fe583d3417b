//! [`HighwayWrapper`]: lets a cell's input bypass the cell.

use super::workspace::WrapperWorkspace;
use crate::cell::step_as_run;
use crate::checks::{check_finite, check_sizes};
use crate::compression::Compression;
use crate::fused::Workspace;
use crate::fused::weights::{drawn, gates_of, visit_then_repack};
use crate::kernel::isa::Isa;
use crate::kernel::layer;
use crate::kernel::pack::PackShape;
use crate::kernel::product::Product;
use crate::{Activation, Arrays, Error, Float, Parameters, ParametersMut, RnnCell, parameters};
use ndarray::{Array1, Array2, ArrayD, ArrayRef3, ArrayViewD, ArrayViewMut3, ArrayViewMutD, Zip};
use rand::Rng;

/// Lets a learned gate choose between a cell's input and output: tf.contrib.rnn's `HighwayWrapper`, after Srivastava,
/// Greff and Schmidhuber (2015).
///
/// ```text
/// y, state' = cell(x, state)
/// carry = σ(x · carry_w + carry_b)
/// transform = 1 − carry,  or uncoupled  σ(x · transform_w + transform_b)
/// the output is carry ⊙ x + transform ⊙ y
/// ```
///
/// | parameter | shape | initial value |
/// |---|---|---|
/// | `carry_w` | (input, input) | [`glorot_uniform`](crate::init::glorot_uniform) |
/// | `carry_b` | (input) | `carry_bias_init` |
/// | `transform_w` | (input, input), if not coupled | `glorot_uniform` |
/// | `transform_b` | (input), if not coupled | −`carry_bias_init` |
///
/// The cell's own parameters come first, under their own names. The state is the cell's.
///
/// ```
/// use rand::SeedableRng;
/// use rnn_cell::{Gru, HighwayWrapper, dynamic_rnn, one_hot};
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let cell = HighwayWrapper::builder(Gru::<f32>::new(4, 4, &mut rng)).build(&mut rng)?;
/// let (outputs, _) = dynamic_rnn(&cell, &one_hot(&["hello"], "helo")?, None, None)?;
/// assert_eq!(outputs.dim(), (1, 5, 4));
/// # Ok::<(), rnn_cell::Error>(())
/// ```
#[derive(Clone)]
pub struct HighwayWrapper<C: RnnCell> {
    cell: C,
    carry_bias_init: C::Elem,
    weights: HighwayWeights<C::Elem>,
    carry: Product<C::Elem>,
    transform: Option<Product<C::Elem>>,
}

parameters! {
    /// The gates' parameters of a [`HighwayWrapper`].
    pub struct HighwayWeights {
        /// (input, input).
        "carry_w" carry_w: Array2<E>,
        /// (input).
        "carry_b" carry_b: Array1<E>,
        /// (input, input), if the gates are not coupled.
        "transform_w" transform_w: Option<Array2<E>>,
        /// (input), if the gates are not coupled.
        "transform_b" transform_b: Option<Array1<E>>,
    }
}

/// Options of a [`HighwayWrapper`].
#[derive(Debug, Clone)]
#[must_use]
pub struct HighwayWrapperBuilder<C: RnnCell> {
    cell: C,
    couple_carry_transform_gates: bool,
    carry_bias_init: C::Elem,
}

impl<C: RnnCell + Parameters<C::Elem>> HighwayWrapper<C> {
    /// Returns a builder to wrap `cell` with options.
    pub fn builder(cell: C) -> HighwayWrapperBuilder<C> {
        HighwayWrapperBuilder { cell, couple_carry_transform_gates: true, carry_bias_init: C::Elem::of(1.0) }
    }
}

impl<C: RnnCell> HighwayWrapper<C> {
    /// The wrapped cell.
    #[must_use]
    pub fn cell(&self) -> &C {
        &self.cell
    }

    /// The wrapped cell.
    #[must_use]
    pub fn into_cell(self) -> C {
        self.cell
    }

    /// Whether the transform gate is 1 − carry.
    #[must_use]
    pub fn couple_carry_transform_gates(&self) -> bool {
        self.transform.is_none()
    }

    /// The initial value of `carry_b`.
    #[must_use]
    pub fn carry_bias_init(&self) -> C::Elem {
        self.carry_bias_init
    }

    /// The gates' parameters.
    #[must_use]
    pub fn weights(&self) -> &HighwayWeights<C::Elem> {
        &self.weights
    }

    /// The products of the gates: carry, and transform if they are not coupled.
    pub(crate) fn products(&self) -> (&Product<C::Elem>, Option<&Product<C::Elem>>) {
        (&self.carry, self.transform.as_ref())
    }

    /// Computes the gates' values and makes the cell's `outputs` the wrapper's. Uncoupled gates need `transform`.
    pub(crate) fn join(
        &self,
        inputs: &ArrayRef3<C::Elem>,
        outputs: &mut ArrayRef3<C::Elem>,
        (mut carry, transform): (ArrayViewMut3<C::Elem>, Option<ArrayViewMut3<C::Elem>>),
        workspace: &mut Workspace<C::Elem>,
    ) {
        let coupled = self.transform.is_none();
        if let (Some(product), Some(mut transform)) = (&self.transform, transform) {
            gate(product, inputs, &mut transform, workspace);
            Zip::from(&mut *outputs).and(&transform).for_each(|y, &transform| *y *= transform);
        }
        gate(&self.carry, inputs, &mut carry, workspace);
        Zip::from(outputs).and(inputs).and(&carry).for_each(|y, &x, &carry| {
            let transformed = if coupled { *y * (C::Elem::of(1.0) - carry) } else { *y };
            *y = x * carry + transformed;
        });
    }

    fn repack(&mut self) {
        let HighwayWeights { carry_w, carry_b, transform_w, transform_b } = &self.weights;
        self.carry.refill(&gates_of::<_, 1>(carry_w, Some(carry_b)), None);
        if let (Some(product), Some(matrix)) = (&mut self.transform, transform_w) {
            product.refill(&gates_of::<_, 1>(matrix, transform_b.as_ref()), None);
        }
    }
}

/// σ(bias + x · matrix), written to an array in standard layout.
fn gate<E: Float>(product: &Product<E>, x: &ArrayRef3<E>, to: &mut ArrayViewMut3<E>, workspace: &mut Workspace<E>) {
    layer::forward(product, x.view(), to.view_mut(), workspace);
    Activation::Sigmoid.apply(to.as_slice_mut().expect("a gate's values are stored in order"));
}

fn pack<E: Float>(matrix: &Array2<E>, bias: Option<&Array1<E>>) -> Product<E> {
    let (inputs, units) = matrix.dim();
    let shape = PackShape { inputs, recurrent: 0, units, gates: 1, split: false };
    Product::new(Isa::get(), shape, &gates_of::<_, 1>(matrix, bias), None)
}

impl<C: RnnCell + Parameters<C::Elem>> HighwayWrapperBuilder<C> {
    /// Whether the transform gate is 1 − carry. Default: true.
    pub fn couple_carry_transform_gates(mut self, couple_carry_transform_gates: bool) -> Self {
        self.couple_carry_transform_gates = couple_carry_transform_gates;
        self
    }

    /// Initial value of `carry_b`; that of `transform_b` is its negative. Must be finite. Default: 1.
    pub fn carry_bias_init(mut self, carry_bias_init: C::Elem) -> Self {
        self.carry_bias_init = carry_bias_init;
        self
    }

    /// Wraps the cell, with tf.contrib's initial weights for the gates.
    ///
    /// # Errors
    /// - [`Error::UnequalSizes`] if the cell's input and output differ in width.
    /// - [`Error::ZeroSize`] if they are 0 wide.
    /// - [`Error::RepeatedParameter`] if the cell has a `carry_w` and so on (a highway around a highway).
    /// - [`Error::InvalidNumber`] if `carry_bias_init` is not finite.
    /// - [`Error::TooLarge`] if the gates' weights do not fit in memory.
    pub fn build<R: Rng + ?Sized>(self, rng: &mut R) -> Result<HighwayWrapper<C>, Error> {
        check_finite("carry_bias_init", self.carry_bias_init)?;
        let (size, bias) = (self.cell.input_size(), self.carry_bias_init);
        let uncoupled = !self.couple_carry_transform_gates;
        let weights = HighwayWeights {
            carry_w: drawn("carry_w", [size, size], rng)?,
            carry_b: Array1::from_elem(size, bias),
            transform_w: match uncoupled {
                true => Some(drawn("transform_w", [size, size], rng)?),
                false => None,
            },
            transform_b: uncoupled.then(|| Array1::from_elem(size, -bias)),
        };
        self.build_from(weights)
    }

    /// Wraps the cell, with existing weights for the gates.
    ///
    /// # Errors
    /// - [`Error::UnequalSizes`], [`Error::ZeroSize`] and [`Error::RepeatedParameter`] as in [`build`](Self::build).
    /// - [`Error::ArrayShape`], [`Error::MissingWeight`] or [`Error::UnexpectedWeight`] if the weights do not fit.
    pub fn build_from(self, weights: HighwayWeights<C::Elem>) -> Result<HighwayWrapper<C>, Error> {
        let Self { cell, couple_carry_transform_gates, carry_bias_init } = self;
        let (input_size, output_size) = (cell.input_size(), cell.output_size());
        if input_size != output_size {
            return Err(Error::UnequalSizes { wrapper: "HighwayWrapper", input_size, output_size });
        }
        check_sizes(&[("input_size", input_size)])?;
        let mut repeated = None;
        cell.visit_parameters(&mut |name, _| {
            if ["carry_w", "carry_b", "transform_w", "transform_b"].contains(&name) {
                repeated.get_or_insert_with(|| name.to_owned());
            }
        });
        if let Some(name) = repeated {
            return Err(Error::RepeatedParameter { name });
        }
        let weights = weights.checked("", &|name| match name {
            "carry_w" => Some(vec![input_size; 2]),
            "carry_b" => Some(vec![input_size]),
            "transform_w" if !couple_carry_transform_gates => Some(vec![input_size; 2]),
            "transform_b" if !couple_carry_transform_gates => Some(vec![input_size]),
            _ => None,
        })?;
        let carry = pack(&weights.carry_w, Some(&weights.carry_b));
        let transform = weights.transform_w.as_ref().map(|matrix| pack(matrix, weights.transform_b.as_ref()));
        Ok(HighwayWrapper { cell, carry_bias_init, weights, carry, transform })
    }
}

impl<C: RnnCell> RnnCell for HighwayWrapper<C> {
    type Elem = C::Elem;
    type State = C::State;
    type Workspace = WrapperWorkspace<C::Elem, (C::Workspace, Workspace<C::Elem>)>;

    fn input_size(&self) -> usize {
        self.cell.input_size()
    }
    fn output_size(&self) -> usize {
        self.cell.output_size()
    }
    fn zero_state(&self, batch: usize) -> C::State {
        self.cell.zero_state(batch)
    }
    fn training_state(&self, batch: usize, seed: u64) -> C::State {
        self.cell.training_state(batch, seed)
    }
    fn check_state(&self, state: &C::State) -> Result<(), Error> {
        self.cell.check_state(state)
    }

    step_as_run!();

    fn unroll(
        &self,
        inputs: &ArrayRef3<C::Elem>,
        state: &mut C::State,
        outputs: &mut ArrayRef3<C::Elem>,
        workspace: &mut Self::Workspace,
    ) {
        let WrapperWorkspace { buffers: [carry, transform], inner: (cell_workspace, workspace) } = workspace;
        self.cell.unroll(inputs, state, outputs, cell_workspace);
        let transform = self.transform.as_ref().map(|_| transform.array(inputs.dim()));
        self.join(inputs, outputs, (carry.array(inputs.dim()), transform), workspace);
    }

    fn compress(&mut self, compression: &mut Compression<'_, C::Elem>) -> Result<(), Error> {
        self.cell.compress(compression)?;
        compression.product(&mut self.carry, &mut [("carry_w", &mut self.weights.carry_w)])?;
        match (&mut self.transform, &mut self.weights.transform_w) {
            (Some(product), Some(matrix)) => compression.product(product, &mut [("transform_w", matrix)]),
            _ => Ok(()),
        }
    }
}

impl<E: Float, C: RnnCell<Elem = E> + Parameters<E>> Parameters<E> for HighwayWrapper<C> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        self.cell.visit_parameters(visit);
        self.weights.visit_parameters(visit);
    }
    fn take_parameters(self, take: &mut dyn FnMut(&str, ArrayD<E>)) {
        self.cell.take_parameters(take);
        self.weights.take_parameters(take);
    }
}

impl<E: Float, C: RnnCell<Elem = E> + ParametersMut<E>> ParametersMut<E> for HighwayWrapper<C> {
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        self.cell.visit_parameters_mut(visit);
        visit_then_repack(self, |wrapper| wrapper.weights.visit_parameters_mut(visit), Self::repack);
    }
}

impl<C: RnnCell + std::fmt::Debug> std::fmt::Debug for HighwayWrapper<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HighwayWrapper").field("cell", &self.cell).finish_non_exhaustive()
    }
}
