//! [`HighwayWrapper`]: a cell that its input may bypass.

use super::workspace::WrapperWorkspace;
use crate::cell::step_as_run;
use crate::cells::weights::{checked, checked_option, drawn, gate, visit_then_repack};
use crate::checks::{check_finite, check_sizes};
use crate::kernel::isa::Isa;
use crate::kernel::pack::{PackShape, Packed};
use crate::kernel::{self, Workspace};
use crate::{Activation, Error, Float, Parameters, RnnCell};
use ndarray::{Array1, Array2, ArrayRef3, ArrayViewD, ArrayViewMutD, Zip, s};
use rand::Rng;

/// Lets a learned gate choose between a cell's input and its output: tf.contrib.rnn's `HighwayWrapper`, after Srivastava,
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
    weights: HighwayWeights<C::Elem>,
    carry: Packed<C::Elem>,
    transform: Option<Packed<C::Elem>>,
}

/// The gates' parameters of a [`HighwayWrapper`].
#[derive(Debug, Clone, PartialEq)]
pub struct HighwayWeights<E> {
    /// (input, input).
    pub carry_w: Array2<E>,
    /// (input).
    pub carry_b: Array1<E>,
    /// (input, input); there if the gates are not coupled.
    pub transform_w: Option<Array2<E>>,
    /// (input); there if the gates are not coupled.
    pub transform_b: Option<Array1<E>>,
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
    /// `cell` with options: coupled gates and `carry_bias_init` 1 unless set otherwise.
    pub fn builder(cell: C) -> HighwayWrapperBuilder<C> {
        HighwayWrapperBuilder { cell, couple_carry_transform_gates: true, carry_bias_init: C::Elem::from_f64(1.0) }
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

    /// The gates' parameters.
    #[must_use]
    pub fn weights(&self) -> &HighwayWeights<C::Elem> {
        &self.weights
    }

    /// Turns the cell's `outputs` into the wrapper's. `keep(gate, t, row, values)` sees every gate's values.
    pub(crate) fn join(
        &self,
        inputs: &ArrayRef3<C::Elem>,
        outputs: &mut ArrayRef3<C::Elem>,
        workspace: &mut Workspace<C::Elem>,
        mut keep: impl FnMut(HighwayGate, usize, usize, &[C::Elem]),
    ) {
        if let Some(transform) = &self.transform {
            kernel::linear::project(transform, inputs.view(), workspace, |t, row, gate| {
                kernel::linear::activate_all(Activation::Sigmoid, gate);
                keep(HighwayGate::Transform, t, row, gate);
                for (y, &mut transform) in outputs.slice_mut(s![t, row, ..]).iter_mut().zip(gate) {
                    *y *= transform;
                }
            });
        }
        let coupled = self.transform.is_none();
        kernel::linear::project(&self.carry, inputs.view(), workspace, |t, row, gate| {
            kernel::linear::activate_all(Activation::Sigmoid, gate);
            keep(HighwayGate::Carry, t, row, gate);
            let (x, y) = (inputs.slice(s![t, row, ..]), outputs.slice_mut(s![t, row, ..]));
            let gate = ndarray::ArrayView1::from(&*gate);
            Zip::from(y).and(x).and(gate).for_each(|y, &x, &carry| {
                let transformed = if coupled { *y * (C::Elem::from_f64(1.0) - carry) } else { *y };
                *y = x * carry + transformed;
            });
        });
    }

    fn repack(&mut self) {
        let HighwayWeights { carry_w, carry_b, transform_w, transform_b } = &self.weights;
        self.carry.refill(&[gate(carry_w, Some(carry_b))], None);
        if let (Some(packed), Some(matrix), Some(bias)) = (&mut self.transform, transform_w, transform_b) {
            packed.refill(&[gate(matrix, Some(bias))], None);
        }
    }
}

/// The gates of a [`HighwayWrapper`]; without `Transform` if they are coupled.
pub(crate) enum HighwayGate {
    Carry,
    Transform,
}

fn pack<E: Float>(matrix: &Array2<E>, bias: &Array1<E>) -> Packed<E> {
    let (inputs, units) = matrix.dim();
    Packed::new(Isa::get(), PackShape::product(inputs, units), &[gate(matrix, Some(bias))], None)
}

impl<C: RnnCell + Parameters<C::Elem>> HighwayWrapperBuilder<C> {
    /// Whether the transform gate is 1 − carry; it is if not set.
    pub fn couple_carry_transform_gates(mut self, couple_carry_transform_gates: bool) -> Self {
        self.couple_carry_transform_gates = couple_carry_transform_gates;
        self
    }

    /// Initial value of `carry_b`, and negated of `transform_b`; 1 if not set. Finite.
    pub fn carry_bias_init(mut self, carry_bias_init: C::Elem) -> Self {
        self.carry_bias_init = carry_bias_init;
        self
    }

    /// The wrapped cell, its gates with tf.contrib's initial weights.
    ///
    /// # Errors
    /// [`Error::UnequalSizes`] if the cell's input and output are not equally wide, [`Error::ZeroSize`] if they are 0,
    /// [`Error::RepeatedParameter`] if the cell has a weight of one of these names (a highway around a highway),
    /// [`Error::InvalidNumber`] for a `carry_bias_init` that is not finite, [`Error::TooLarge`] if the gates' weights would be
    /// larger than memory.
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

    /// The wrapped cell, its gates with existing weights.
    ///
    /// # Errors
    /// [`Error::UnequalSizes`], [`Error::ZeroSize`] and [`Error::RepeatedParameter`] as [`build`](Self::build);
    /// [`Error::ArrayShape`], [`Error::MissingWeight`] and [`Error::UnexpectedWeight`] if the weights are not those of
    /// this size and option.
    pub fn build_from(self, weights: HighwayWeights<C::Elem>) -> Result<HighwayWrapper<C>, Error> {
        let Self { cell, couple_carry_transform_gates, .. } = self;
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
        let (matrix, uncoupled) = ([input_size, input_size], !couple_carry_transform_gates);
        let weights = HighwayWeights {
            carry_w: checked("carry_w", weights.carry_w, &matrix)?,
            carry_b: checked("carry_b", weights.carry_b, &matrix[..1])?,
            transform_w: checked_option("transform_w", weights.transform_w, uncoupled, &matrix)?,
            transform_b: checked_option("transform_b", weights.transform_b, uncoupled, &matrix[..1])?,
        };
        let transform = weights.transform_w.as_ref().zip(weights.transform_b.as_ref());
        let (carry, transform) = (pack(&weights.carry_w, &weights.carry_b), transform.map(|(w, b)| pack(w, b)));
        Ok(HighwayWrapper { cell, weights, carry, transform })
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

    step_as_run!();

    fn unroll(
        &self,
        inputs: &ArrayRef3<C::Elem>,
        state: &mut C::State,
        outputs: &mut ArrayRef3<C::Elem>,
        workspace: &mut Self::Workspace,
    ) {
        let (cell_workspace, workspace) = &mut workspace.inner;
        self.cell.unroll(inputs, state, outputs, cell_workspace);
        self.join(inputs, outputs, workspace, |_, _, _, _| {});
    }
}

impl<E: Float, C: RnnCell<Elem = E> + Parameters<E>> Parameters<E> for HighwayWrapper<C> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        self.cell.visit_parameters(visit);
        let HighwayWeights { carry_w, carry_b, transform_w, transform_b } = &self.weights;
        visit("carry_w", carry_w.view().into_dyn());
        visit("carry_b", carry_b.view().into_dyn());
        if let (Some(matrix), Some(bias)) = (transform_w, transform_b) {
            visit("transform_w", matrix.view().into_dyn());
            visit("transform_b", bias.view().into_dyn());
        }
    }
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        self.cell.visit_parameters_mut(visit);
        let visit = |wrapper: &mut Self| {
            let HighwayWeights { carry_w, carry_b, transform_w, transform_b } = &mut wrapper.weights;
            visit("carry_w", carry_w.view_mut().into_dyn());
            visit("carry_b", carry_b.view_mut().into_dyn());
            if let (Some(matrix), Some(bias)) = (transform_w, transform_b) {
                visit("transform_w", matrix.view_mut().into_dyn());
                visit("transform_b", bias.view_mut().into_dyn());
            }
        };
        visit_then_repack(self, visit, Self::repack);
    }
}

impl<C: RnnCell + std::fmt::Debug> std::fmt::Debug for HighwayWrapper<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HighwayWrapper").field("cell", &self.cell).finish_non_exhaustive()
    }
}
