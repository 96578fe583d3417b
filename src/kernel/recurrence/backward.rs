//! A backward run of steps.

use super::equation::{BackwardRows, EquationBack};
use super::forward::widths_of;
use super::gather::{finish_backward, gather};
use super::places::{Places, Record, Ways};
use super::plan::{MOST, Operand, Plan, Stage, Widths};
use super::samples::{Left, Samples};
use crate::kernel::Element;
use crate::kernel::gathered::Gathered;
use crate::kernel::isa::Isa;
use crate::kernel::memory::{self, Arena};
use crate::kernel::multiply::Add;
use crate::kernel::product::{Product, Workspace, multiply_grid, multiply_panels};
use crate::kernel::registry::Kernels;
use crate::kernel::rows::{Grid, Rows};
use crate::kernel::team::{Team, Work, with_team};
use ndarray::{ArrayView3, ArrayViewMut2, ArrayViewMut3};

/// The arrays of a backward run.
pub struct Back<'a, E> {
    /// (seq, batch, input), those of the forward run.
    pub inputs: ArrayView3<'a, E>,
    /// (seq, batch, output).
    pub d_outputs: ArrayView3<'a, E>,
    /// (seq, batch, input), overwritten.
    pub d_inputs: ArrayViewMut3<'a, E>,
    /// The gradients of the state's leaves, updated from those of the final state to those of the initial one.
    pub d_leaves: [Option<ArrayViewMut2<'a, E>>; MOST],
    /// Whether the gradients of weights may wait in the workspace for [`finish_backward`].
    pub gather: bool,
}

impl<E: Kernels> Back<'_, E> {
    /// # Panics
    /// If the record is of another run, or of another cell.
    fn check(&self, plan: &Plan<'_, E>, record: &Record<E>) {
        let (steps, rows) = (record.steps, record.rows);
        let (_, _, inputs) = self.inputs.dim();
        let output = self.d_outputs.dim().2;
        assert_eq!(self.inputs.dim(), (steps, rows, record.widths.inputs), "inputs must be those of the record");
        assert_eq!(self.d_inputs.dim(), self.inputs.dim(), "d_inputs must be (seq, batch, input)");
        assert_eq!(self.d_outputs.dim(), (steps, rows, record.widths.output), "d_outputs must be (seq, batch, output)");
        for leaf in self.d_leaves.iter().flatten() {
            assert_eq!(leaf.nrows(), rows, "d_state must be the state's shape");
        }
        assert_eq!(widths_of(&self.d_leaves), record.widths.leaves, "d_state must be the state's shape");
        let widths = Widths::new(plan, inputs, output, record.widths.leaves);
        assert_eq!(widths, record.widths, "the record must be this cell's");
    }
}

/// Runs a record backward. Then `finish` adds the gradients of the weights, now or later with those of other runs.
///
/// # Panics
/// If shapes disagree, or the record is of another cell.
pub(super) fn unroll_backward<E: Kernels>(
    equation: &dyn EquationBack<E>,
    plan: &Plan<'_, E>,
    mut record: Record<E>,
    mut back: Back<'_, E>,
    workspace: &mut Workspace<E>,
    finish: &mut dyn FnMut(&mut Samples<'_, E>),
) {
    back.check(plan, &record);
    let (steps, rows, widths) = (record.steps, record.rows, record.widths);
    if steps == 0 || rows == 0 {
        return;
    }
    let isa = plan.isa();
    let long = steps > STRETCH;
    let gather_now = back.gather && !long && Gathered::<E>::takes(steps * rows);
    if gather_now && !workspace.gathered.has_room(steps * rows) {
        finish_backward(plan, workspace, finish);
    }
    let Workspace { numbers, accumulated, gradients, gathered } = workspace;
    numbers.grow([scratch_numbers(plan, &back, &widths, rows)]);
    if long {
        accumulated.grow([memory::total(plan.accumulators.map(|width| memory::room([rows, width])))]);
    }
    let mut accumulated = Arena::new(accumulated.as_mut_slice());
    let mut arena = Arena::new(numbers.as_mut_slice());
    let mut places = Places::empty(true, &widths);
    places.record(&mut record);
    places.x = memory::readable(back.inputs, &mut arena).grid();
    let ways = ways(plan, &mut back, (rows, &widths), &mut arena, long.then_some(&mut accumulated));
    let d_inputs = memory::writable(&mut back.d_inputs, &mut arena);
    let run = Run { equation, plan, isa, places: &places, ways: &ways, d_inputs };
    // SAFETY: members read weights, the equation's own data, inputs and states, which nobody writes. A pass writes rows
    // of its own or units of its panels. Of what is written, it reads only these or what earlier passes wrote.
    unsafe { with_team(work(plan, steps, rows), |team| run.steps(team)) };
    // SAFETY: the run has ended. What it left is only read from here on.
    let (left, d_leaves, d_inputs) = unsafe {
        let left = Left {
            units: places.units,
            x: places.x.frozen(),
            sums: places.sums.map(|sums| sums.frozen()),
            leaves: places.leaves.map(|leaf| leaf.all().frozen()),
            temporaries: places.temporaries.map(|temporary| temporary.frozen()),
            accumulators: ways.accumulators.map(|accumulator| accumulator.grid().frozen()),
            accumulated: ways.accumulated.map(|accumulated| accumulated.grid().frozen()),
        };
        (left, ways.leaves.map(|leaf| leaf.grid().frozen()), d_inputs.frozen())
    };
    if gather_now {
        gather(gathered, &left);
    } else {
        finish(&mut Samples::new(isa, plan, &left, gradients));
    }
    for (leaf, way) in back.d_leaves.iter_mut().zip(d_leaves) {
        if let Some(leaf) = leaf.as_mut().filter(|leaf| !memory::is_contiguous(leaf.ncols(), leaf.strides()[1])) {
            memory::store_leaf(leaf, way, 0);
        }
    }
    memory::copied_back(d_inputs, &mut back.d_inputs);
}

/// Adds what an accumulator holds to what it summed before, and sets it to 0.
fn move_up<E: Element>(numbers: &mut [E], before: &mut [f64]) {
    for (number, before) in numbers.iter_mut().zip(before) {
        *before += E::value(*number);
        *number = E::default();
    }
}

/// Places for the gradients that the equation sees. Accumulators start at 0, and have a second level if `accumulated`
/// has room for it.
fn ways<'r, 'a: 'r, E: Kernels>(
    plan: &Plan<'_, E>,
    back: &mut Back<'a, E>,
    (rows, widths): (usize, &Widths),
    arena: &mut Arena<'r, E>,
    mut accumulated: Option<&mut Arena<'r, f64>>,
) -> Ways<'r, E> {
    let mut leaves = [Rows::NONE; MOST];
    for (place, leaf) in leaves.iter_mut().zip(back.d_leaves.iter_mut().flatten()) {
        *place = memory::leaf_in_place(leaf, 1).unwrap_or_else(|| memory::leaf_copied(leaf, arena)).step(0);
    }
    let temporaries =
        widths.temporaries.map(|width| Grid::of(arena.take_lines(rows * width), (1, rows, width)).step(0));
    let accumulators = plan.accumulators.map(|width| zeros(arena, rows, width));
    let accumulated = plan.accumulators.map(|width| match &mut accumulated {
        Some(arena) => zeros(arena, rows, width),
        None => Rows::NONE,
    });
    let output = memory::readable(back.d_outputs, arena).grid();
    Ways { leaves, temporaries, accumulators, accumulated, output }
}

fn zeros<'a, E: Element>(arena: &mut Arena<'a, E>, rows: usize, width: usize) -> Rows<'a, E> {
    let numbers = arena.take_lines(rows * width);
    numbers.fill(E::default());
    Grid::of(numbers, (1, rows, width)).step(0)
}

/// Steps that an accumulator sums in its own type before moving to f64. One sum over many steps would be far off.
const STRETCH: usize = 64;

/// Numbers that a backward run takes from a workspace.
fn scratch_numbers<E: Kernels>(plan: &Plan<'_, E>, back: &Back<'_, E>, widths: &Widths, rows: usize) -> usize {
    let copies = [
        (back.inputs.dim(), back.inputs.strides()[2]),
        (back.d_outputs.dim(), back.d_outputs.strides()[2]),
        (back.d_inputs.dim(), back.d_inputs.strides()[2]),
    ];
    let copies = copies.map(|(dim, stride)| memory::copy_numbers(dim, stride));
    let widths = widths.leaves.iter().chain(&widths.temporaries).chain(&plan.accumulators);
    memory::total(copies.into_iter().chain(widths.map(|&width| memory::room([rows, width]))))
}

/// The work of the largest product of a step backward. A step is two passes: the equation's, then the product's.
fn work<E: Kernels>(plan: &Plan<'_, E>, steps: usize, rows: usize) -> Work {
    let products = plan.stages().iter().filter_map(|stage| stage.product);
    let work = products.map(|product| {
        let back = match product.shape().recurrent {
            0 => product.back_to_inputs(),
            _ => product.back_to_recurrent(),
        };
        Work { passes: 2 * steps, rows, panels: back.panels(), products: back.numbers() }
    });
    work.max_by_key(|work| work.products).unwrap_or(Work { passes: 0, rows, panels: 0, products: 0 })
}

/// A backward run, as all members of its team see it.
struct Run<'a, E> {
    equation: &'a dyn EquationBack<E>,
    plan: &'a Plan<'a, E>,
    isa: Isa,
    places: &'a Places<'a, E>,
    ways: &'a Ways<'a, E>,
    d_inputs: Grid<'a, E>,
}

impl<E: Kernels> Run<'_, E> {
    fn steps(&self, mut team: Team<'_>) {
        let (steps, rows, _) = self.places.x.dim();
        let mut step = self.places.no_step();
        for t in (0..steps).rev() {
            self.places.go(&mut step, t);
            for (k, stage) in self.plan.stages().iter().enumerate().rev() {
                let mut turn = team.turn(rows);
                while let Some(rows) = turn.next() {
                    let (isa, step, ways, width) = (self.isa, &step, self.ways, stage.units);
                    let back = BackwardRows { isa, step, ways, stage: k, rows, width };
                    self.equation.backward_rows(&back);
                    if k == 0 && t.is_multiple_of(STRETCH) {
                        for (numbers, before) in ways.stretches() {
                            for row in back.rows.clone() {
                                // SAFETY: this pass, the step's last over rows, has given these rows to this member.
                                // Both have the same rows.
                                let (numbers, before) = unsafe {
                                    let before = before.slice_mut(row, 0, before.width());
                                    (numbers.slice_mut(row, 0, numbers.width()), before)
                                };
                                move_up(numbers, before);
                            }
                        }
                    }
                }
                if let Some(product) = stage.product {
                    self.product_back(stage, product, step.sums[k], &mut team);
                }
            }
        }
        self.inputs_back(&mut team);
    }

    /// Computes the gradient of what a stage's product multiplied besides the inputs.
    fn product_back(&self, stage: &Stage<'_, E>, product: &Product<E>, sums: Rows<'_, E>, team: &mut Team<'_>) {
        let (to, add) = match stage.operand {
            Operand::Nothing => return,
            Operand::State(leaf) => (self.ways.leaves[leaf], Add::Yes),
            Operand::Temporary(temporary) => (self.ways.temporaries[temporary], Add::No),
        };
        let shape = product.shape();
        // With a split gate, the first slot belongs to the inputs.
        let from = sums.from(0, (shape.slots() - shape.gates) * shape.units);
        let weights = product.back_to_recurrent();
        let mut turn = team.turn(weights.panels());
        while let Some(panels) = turn.next() {
            multiply_panels(weights, panels, from, (to, add));
        }
    }

    /// Computes the gradients of the inputs, over all steps.
    fn inputs_back(&self, team: &mut Team<'_>) {
        let mut add = Add::No;
        for (k, stage) in self.plan.stages().iter().enumerate() {
            let Some(product) = stage.product.filter(|product| product.shape().inputs > 0) else { continue };
            let shape = product.shape();
            let from = self.places.sums[k].columns(0, shape.gates * shape.units);
            multiply_grid(product.back_to_inputs(), from, (self.d_inputs, add), team);
            add = Add::Yes;
        }
    }
}
