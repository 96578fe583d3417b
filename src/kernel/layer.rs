//! A product as a layer of its own: over all steps and rows at once, forward and backward.

use super::compact;
use super::gathered::{Gathered, PIECES};
use super::isa::Isa;
use super::memory::{self, Arena};
use super::multiply::Add;
use super::pack::Packed;
use super::product::{Product, Workspace, add_weight_gradients, multiply_grid, work_of_grid};
use super::registry::Kernels;
use super::rows::Frozen;
use super::team::with_team;
use super::weight_gradients::{GradientWorkspace, Sums};
use ndarray::{Array1, ArrayView3, ArrayViewMut2, ArrayViewMut3};

/// Multiplies all steps and rows of `x` (seq, batch, input) into `to` (seq, batch, units).
///
/// # Panics
/// If shapes disagree.
pub(crate) fn forward<E: Kernels>(
    product: &Product<E>,
    x: ArrayView3<'_, E>,
    mut to: ArrayViewMut3<'_, E>,
    workspace: &mut Workspace<E>,
) {
    let numbers = &mut workspace.numbers;
    let shape = product.shape();
    let (steps, rows, _) = x.dim();
    assert_eq!(x.dim().2, shape.inputs, "x must be (seq, batch, input)");
    assert_eq!(to.dim(), (steps, rows, shape.gates * shape.units), "what is multiplied must be (seq, batch, units)");
    let copies = [(x.dim(), x.strides()[2]), (to.dim(), to.strides()[2])];
    let copies = copies.map(|(dim, stride)| memory::copy_numbers(dim, stride));
    numbers.grow([memory::total(copies.into_iter().chain([compact::scratch_numbers(product.forward())]))]);
    let mut arena = Arena::new(numbers.as_mut_slice());
    let x = memory::readable(x, &mut arena);
    multiply(product.forward(), x, &mut to, &mut arena);
}

/// Multiplies all steps and rows into an array, with a team of its own.
fn multiply<'r, 'a: 'r, 'b: 'r, E: Kernels>(
    weights: &'r Packed<E>,
    from: Frozen<'r, E>,
    to: &mut ArrayViewMut3<'a, E>,
    arena: &mut Arena<'b, E>,
) {
    let grid = memory::writable(to, arena);
    let (steps, rows, _) = from.dim();
    let compressed = compact::Inputs::new(weights, from, grid, arena);
    // SAFETY: the array is borrowed mutably, as is what the arena handed out. Members write different rows of it, or
    // different units. Afterwards nobody writes it.
    let written = unsafe {
        match &compressed {
            Some(inputs) => with_team(inputs.work(), |team| inputs.run(team)),
            None => with_team(work_of_grid(weights, steps, rows), |mut team| {
                multiply_grid(weights, from.grid(), (grid, Add::No), &mut team);
            }),
        }
        grid.frozen()
    };
    memory::copied_back(written, to);
}

/// The arrays of [`backward`].
pub(crate) struct BackArrays<'a, E> {
    /// (seq, batch, input).
    pub x: ArrayView3<'a, E>,
    /// (seq, batch, units).
    pub d: ArrayView3<'a, E>,
    /// (seq, batch, input), overwritten.
    pub d_x: ArrayViewMut3<'a, E>,
    /// Added to.
    pub kernel: ArrayViewMut2<'a, E>,
    pub bias: Option<&'a mut Array1<E>>,
}

/// Computes the gradients of a product of all steps and rows. Those of the weights may wait in the workspace for
/// [`finish_backward`] if the caller says `gather`.
///
/// # Panics
/// If shapes disagree.
pub(crate) fn backward<E: Kernels>(
    product: &Product<E>,
    arrays: BackArrays<'_, E>,
    gather: bool,
    workspace: &mut Workspace<E>,
) {
    let Workspace { numbers, gradients, gathered, .. } = workspace;
    let BackArrays { x, d, mut d_x, mut kernel, bias } = arrays;
    let shape = product.shape();
    let (steps, rows, _) = x.dim();
    assert_eq!(x.dim().2, shape.inputs, "x must be (seq, batch, input)");
    assert_eq!(d.dim(), (steps, rows, shape.gates * shape.units), "d must be (seq, batch, units)");
    assert_eq!(d_x.dim(), x.dim(), "d_x must be (seq, batch, input)");
    let copies = [(x.dim(), x.strides()[2]), (d.dim(), d.strides()[2]), (d_x.dim(), d_x.strides()[2])];
    numbers.grow([memory::total(copies.map(|(dim, stride)| memory::copy_numbers(dim, stride)))]);
    let mut arena = Arena::new(numbers.as_mut_slice());
    let (x, d) = (memory::readable(x, &mut arena), memory::readable(d, &mut arena));
    multiply(product.back_to_inputs(), d, &mut d_x, &mut arena);
    let (samples, weights) = (steps * rows, (&mut kernel, bias));
    if gather && Gathered::<E>::takes(samples) {
        if !gathered.has_room(samples) {
            add_gathered(product.isa(), weights, (gathered, gradients));
        }
        let mut pieces = [Frozen::NONE; PIECES];
        [pieces[0], pieces[1]] = [x, d];
        gathered.add(&pieces, std::iter::empty());
    } else {
        add_weights(product.isa(), (x, d), weights, gradients);
    }
}

/// Adds the gradients of weights that [`backward`] left in the workspace.
///
/// # Panics
/// If they are of other shapes.
pub(crate) fn finish_backward<E: Kernels>(
    product: &Product<E>,
    (mut kernel, bias): (ArrayViewMut2<'_, E>, Option<&mut Array1<E>>),
    workspace: &mut Workspace<E>,
) {
    let Workspace { gradients, gathered, .. } = workspace;
    add_gathered(product.isa(), (&mut kernel, bias), (gathered, gradients));
}

/// The gradients of a kernel and a bias.
type Weights<'a, 'b, E> = (&'a mut ArrayViewMut2<'b, E>, Option<&'a mut Array1<E>>);

fn add_gathered<E: Kernels>(
    isa: Isa,
    weights: Weights<'_, '_, E>,
    (gathered, gradients): (&mut Gathered<E>, &mut GradientWorkspace<E>),
) {
    if !gathered.is_empty() {
        let ([x, d, ..], _) = gathered.take();
        add_weights(isa, (x, d), weights, gradients);
    }
}

fn add_weights<E: Kernels>(
    isa: Isa,
    (x, d): (Frozen<'_, E>, Frozen<'_, E>),
    (kernel, bias): Weights<'_, '_, E>,
    gradients: &mut GradientWorkspace<E>,
) {
    let bias = bias.map(|bias| bias.as_slice_mut().expect("gradients are contiguous"));
    add_weight_gradients(isa, Sums { sources: &[x], d, kernel: kernel.view_mut(), bias }, gradients);
}
