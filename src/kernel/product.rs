//! [`Product`]: packed weights, and the same transposed for backward.

use super::attend::Attend;
use super::buffer::Buffer;
use super::compact::{Compact, WeightFormat};
use super::gathered::Gathered;
use super::isa::Isa;
use super::multiply::{Add, Input, Multiply, To};
use super::pack::{Fill, Gate, PackShape, Packed};
use super::registry::Kernels;
use super::rows::{Grid, Rows};
use super::slices::{Apply, Function};
use super::team::{Team, Work, with_team};
use super::weight_gradients::{GradientWorkspace, Sums, WeightGradients};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// Opaque buffers that steps reuse: empty at first, grown by the first step.
#[derive(Default)]
pub struct Workspace<E> {
    pub(super) numbers: Buffer<E>,
    /// What accumulators summed before the current stretch of steps.
    pub(super) accumulated: Buffer<f64>,
    pub(super) gradients: GradientWorkspace<E>,
    /// What short backward runs left for the gradients of weights.
    pub(super) gathered: Gathered<E>,
}

impl<E> std::fmt::Debug for Workspace<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workspace").finish_non_exhaustive()
    }
}

/// The packed weights of a product. The first backward run packs them transposed too, and the product keeps those.
#[derive(Clone)]
pub struct Product<E> {
    forward: Packed<E>,
    back: OnceLock<Back<E>>,
}

/// The weights transposed, as backward multiplies by them.
#[derive(Clone)]
struct Back<E> {
    /// From the sums' gradients to the inputs'.
    inputs: Packed<E>,
    /// From the sums' gradients to the recurrent values'.
    recurrent: Packed<E>,
}

impl<E: Kernels> Product<E> {
    /// # Panics
    /// If a gate does not have as many weights as the shape says.
    pub(crate) fn new(isa: Isa, shape: PackShape, gates: &[Gate<E>], split_bias: Option<&[E]>) -> Self {
        let mut product = Self { forward: Packed::empty(isa, shape), back: OnceLock::new() };
        product.refill(gates, split_bias);
        product
    }

    /// Packs other weights of the same shape, into the same memory.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub(crate) fn refill(&mut self, gates: &[Gate<E>], split_bias: Option<&[E]>) {
        let isa = self.forward.isa;
        E::fill(isa, Fill { packed: &mut self.forward, gates, split_bias });
        if let Some(back) = self.back.get_mut() {
            back.refill(&self.forward);
        }
    }

    /// Compresses the weights. Biases stay, and can still be [refilled](Self::refill).
    ///
    /// # Panics
    /// If the compressed weights are of another shape.
    pub(crate) fn compress(&mut self, compact: Arc<Compact>) {
        self.forward.compress(compact);
        self.back = OnceLock::new();
    }

    pub(crate) fn is_compressed(&self) -> bool {
        self.forward.compact().is_some()
    }

    pub(crate) fn shape(&self) -> PackShape {
        self.forward.shape
    }

    pub(crate) fn isa(&self) -> Isa {
        self.forward.isa
    }

    pub(super) fn forward(&self) -> &Packed<E> {
        &self.forward
    }

    /// The weights that take the sums' gradients to the inputs'.
    pub(super) fn back_to_inputs(&self) -> &Packed<E> {
        &self.back().inputs
    }

    /// The weights that take the sums' gradients to the recurrent values'.
    pub(super) fn back_to_recurrent(&self) -> &Packed<E> {
        &self.back().recurrent
    }

    fn back(&self) -> &Back<E> {
        self.back.get_or_init(|| Back::new(&self.forward))
    }

    /// The work of so many passes, of so many rows each, for a team to share.
    pub(super) fn work(&self, passes: usize, rows: usize) -> Work {
        // Four products of bytes take the time of one.
        let int8 = self.forward.compact().is_some_and(|compact| compact.format() == WeightFormat::Int8);
        let products = self.forward.numbers() / if int8 { 4 } else { 1 };
        Work { passes, rows, panels: self.forward.panels(), products }
    }
}

impl<E: Kernels> Back<E> {
    fn new(forward: &Packed<E>) -> Self {
        let depth = forward.shape.gates * forward.shape.units;
        let shape = |units| PackShape { inputs: depth, recurrent: 0, units, gates: 1, split: false };
        let (isa, forward_shape) = (forward.isa, forward.shape);
        let mut back = Self {
            inputs: Packed::empty(isa, shape(forward_shape.inputs)),
            recurrent: Packed::empty(isa, shape(forward_shape.recurrent)),
        };
        back.refill(forward);
        back
    }

    fn refill(&mut self, forward: &Packed<E>) {
        let shape = forward.shape;
        self.inputs.fill_transposed(forward, 0..shape.inputs, shape.input_gates());
        self.recurrent.fill_transposed(forward, shape.inputs..shape.inputs + shape.recurrent, 0..shape.gates);
    }
}

/// Computes `from` · `weights` for some panels, into slots or added to them.
pub(super) fn multiply_panels<E: Kernels>(
    weights: &Packed<E>,
    panels: Range<usize>,
    from: Rows<'_, E>,
    (to, add): (Rows<'_, E>, Add),
) {
    let rows = from.rows();
    let (input, to) = (Input::Rows(from), To::Slots(to, weights.shape.units, add));
    E::multiply(Multiply::new(weights, rows, input, None, to).some(panels));
}

/// From this many products on, one thread runs each. With fewer, threads share the panels of each.
const SHARED_PRODUCTS: usize = 8;

/// Computes a team member's share of `from` · `weights` for all steps and rows, into `to` or added to it.
pub(super) fn multiply_grid<E: Kernels>(
    weights: &Packed<E>,
    from: Grid<'_, E>,
    (to, add): (Grid<'_, E>, Add),
    team: &mut Team<'_>,
) {
    // A product's rows run along the longer axis: steps of one row, or rows of one step.
    let (steps, rows, _) = from.dim();
    let products = steps.min(rows);
    let views = |product: usize| {
        if steps > rows {
            (from.steps_of(product, 0), to.steps_of(product, 0))
        } else {
            (from.step(product), to.step(product))
        }
    };
    assert_eq!((to.dim().0, to.dim().1), (steps, rows), "a product has a place for every sample");
    if products < SHARED_PRODUCTS {
        for product in 0..products {
            let (from, to) = views(product);
            let mut turn = team.turn(weights.panels());
            while let Some(panels) = turn.next() {
                multiply_panels(weights, panels, from, (to, add));
            }
        }
        return;
    }
    let mut turn = team.turn(products);
    while let Some(products) = turn.next() {
        for product in products {
            let (from, to) = views(product);
            multiply_panels(weights, 0..weights.panels(), from, (to, add));
        }
    }
}

/// The work of [`multiply_grid`] for so many steps and rows.
pub(super) fn work_of_grid<E: Kernels>(weights: &Packed<E>, steps: usize, rows: usize) -> Work {
    Work { passes: steps.min(rows), rows: steps.max(rows), panels: weights.panels(), products: weights.numbers() }
}

/// Adds the gradients of weights and bias, with a team of its own.
///
/// # Panics
/// If shapes disagree.
pub(super) fn add_weight_gradients<E: Kernels>(
    isa: Isa,
    mut sums: Sums<'_, '_, E>,
    workspace: &mut GradientWorkspace<E>,
) {
    let lanes = isa.lanes::<E>();
    let ((rows, products), (passes, panels)) = (sums.work(), sums.passes(lanes));
    let shared = sums.job(lanes, workspace);
    let work = Work { passes, rows, panels, products };
    // SAFETY: in a block's first pass, members pack samples of their own; in its second, they read all of these.
    // Everything else they write is behind locks.
    unsafe { with_team(work, |team| E::weight_gradients(isa, WeightGradients { shared: &shared, team })) };
}

/// Applies a function to every number.
pub(crate) fn apply<E: Kernels>(function: Function, values: &mut [E]) {
    E::apply(Isa::get(), Apply { function, values });
}

/// Works on the rows of a memory.
///
/// # Panics
/// If a slice is too short.
pub(crate) fn attend<E: Kernels>(attend: Attend<'_, E>) {
    E::attend(Isa::get(), attend);
}
