//! A forward run of steps.

use super::codes::Codes;
use super::equation::{Equation, ForwardRows};
use super::hoists::{HOISTED_STEPS, Hoists};
use super::places::{Leaf, Places, Record, Step};
use super::plan::{MOST, Operand, Plan, Stage, Widths};
use crate::kernel::isa::Isa;
use crate::kernel::memory::{self, Arena};
use crate::kernel::multiply::{Add, Input, Multiply, To};
use crate::kernel::pack::Packed;
use crate::kernel::product::{Product, Workspace};
use crate::kernel::registry::Kernels;
use crate::kernel::rows::{Grid, Rows};
use crate::kernel::team::{Team, Turn, Work, with_team};
use ndarray::{ArrayView3, ArrayViewMut2, ArrayViewMut3};
use std::ops::Range;

/// Sums that the equation takes at once, while in a near cache. With fewer, the cost of reaching each row shows.
const CHUNK: usize = 16384;

/// The arrays of a run.
pub struct Io<'a, E> {
    /// (seq, batch, input).
    pub inputs: ArrayView3<'a, E>,
    /// (seq, batch, output), overwritten.
    pub outputs: ArrayViewMut3<'a, E>,
    /// The state's leaves, (batch, features) each, updated from old to new.
    pub leaves: [Option<ArrayViewMut2<'a, E>>; MOST],
}

impl<E> Io<'_, E> {
    /// # Panics
    /// If steps or rows disagree.
    fn check(&self) {
        let (steps, rows, _) = self.inputs.dim();
        let (seq, batch, _) = self.outputs.dim();
        assert_eq!((seq, batch), (steps, rows), "outputs must be (seq, batch, output)");
        for leaf in self.leaves.iter().flatten() {
            assert_eq!(leaf.nrows(), rows, "the state's rows must be the inputs' batch");
        }
    }
}

/// The widths of the leaves, 0 for those that do not exist.
pub(super) fn widths_of<E>(leaves: &[Option<ArrayViewMut2<'_, E>>; MOST]) -> [usize; MOST] {
    leaves.each_ref().map(|leaf| leaf.as_ref().map_or(0, |leaf| leaf.ncols()))
}

/// Runs the steps, and records them if backward is to follow.
///
/// # Panics
/// If shapes disagree.
pub(super) fn unroll<'a, E: Kernels>(
    equation: &dyn Equation<E>,
    plan: &Plan<'_, E>,
    io: &mut Io<'a, E>,
    record: Option<&'a mut Option<Record<E>>>,
    workspace: &'a mut Workspace<E>,
) {
    io.check();
    let (steps, rows, inputs) = io.inputs.dim();
    let widths = Widths::new(plan, inputs, io.outputs.dim().2, widths_of(&io.leaves));
    let recording = record.is_some();
    let compressed = plan.stages().iter().any(|stage| stage.product.is_some_and(Product::is_compressed));
    assert!(!recording || !compressed, "a cell with compressed weights cannot be trained");
    let record = record.map(|record| record.insert(Record::new(steps, rows, widths)));
    if steps == 0 || rows == 0 {
        return;
    }
    let isa = plan.isa();
    let hoists = Hoists::new(plan, steps, rows);
    let coded_steps = compressed.then(|| hoists.code_steps());
    let codes = coded_steps.map_or(0, |steps| Codes::numbers(plan, steps, rows));
    workspace.numbers.grow([memory::total([scratch_numbers(io, &widths, &hoists, recording), codes])]);
    let mut arena = Arena::new(workspace.numbers.as_mut_slice());
    let mut places = Places::empty(recording, &widths);
    match record {
        Some(record) => places.record(record),
        None => places.scratch((steps, rows), &widths, &mut arena),
    }
    let hoisted = hoists.grids(rows, &mut arena);
    let codes = coded_steps.map(|steps| Codes::new(plan, steps, rows, &mut arena));
    places.x = memory::readable(io.inputs, &mut arena).grid();
    places.output = memory::writable(&mut io.outputs, &mut arena);
    begin(&mut places, &mut io.leaves, steps);
    let (hoists, hoisted, codes, chunks) = (&hoists, &hoisted, codes.as_ref(), &chunks(plan, rows));
    let run = Run { equation, plan, isa, places: &places, hoists, hoisted, codes, chunks };
    // SAFETY: members read weights, the equation's own data and inputs, which nobody writes. In all these places, a
    // pass writes units of its panels or rows of its own, and reads only these or what earlier passes wrote.
    unsafe { with_team(work(plan, steps, rows), |team| run.steps(team)) };
    // SAFETY: the run has ended.
    unsafe {
        for (leaf, places) in io.leaves.iter_mut().flatten().zip(&places.leaves) {
            let last = places.before(steps);
            if recording || !steps.is_multiple_of(2) || memory::leaf_in_place(leaf, steps + 1).is_none() {
                memory::store_leaf(leaf, last.frozen(), steps);
            }
        }
        memory::copied_back(places.output.frozen(), &mut io.outputs);
    }
}

/// Numbers that a run takes from a workspace.
fn scratch_numbers<E: Kernels>(io: &Io<'_, E>, widths: &Widths, hoists: &Hoists, recording: bool) -> usize {
    let (inputs, outputs) = (io.inputs.strides()[2], io.outputs.strides()[2]);
    let copies = [memory::copy_numbers(io.inputs.dim(), inputs), memory::copy_numbers(io.outputs.dim(), outputs)];
    let rows = io.inputs.dim().1;
    let scratch = if recording { 0 } else { Places::<E>::scratch_numbers(rows, widths) };
    memory::total([memory::total(copies), scratch, hoists.numbers(rows)])
}

/// Brings the old state to its place. If possible, that place is the state's own memory.
fn begin<'r, 'a: 'r, E: Kernels>(
    places: &mut Places<'r, E>,
    leaves: &mut [Option<ArrayViewMut2<'a, E>>; MOST],
    steps: usize,
) {
    for (leaf, place) in leaves.iter_mut().flatten().zip(&mut places.leaves) {
        match memory::leaf_in_place(leaf, steps + 1) {
            Some(own) if !places.recording => *place = Leaf::in_turn(own, place.before(1)),
            // SAFETY: the place is as wide as the leaf, and nobody else has it yet.
            _ => unsafe { memory::load_leaf(leaf, place.before(0), 0) },
        }
    }
}

/// The work of the largest product, which decides how many threads share a run.
fn work<E: Kernels>(plan: &Plan<'_, E>, steps: usize, rows: usize) -> Work {
    let products = plan.stages().iter().filter_map(|stage| stage.product);
    let largest = products.map(|product| product.work(steps, rows)).max_by_key(|work| work.products);
    largest.unwrap_or(Work { passes: 0, rows, panels: 0, products: 0 })
}

/// For each stage, the panels whose sums the equation takes at once.
fn chunks<E: Kernels>(plan: &Plan<'_, E>, rows: usize) -> [usize; MOST] {
    let mut chunks = [usize::MAX; MOST];
    for (chunk, stage) in chunks.iter_mut().zip(plan.stages()).filter(|(_, stage)| !stage.whole_rows) {
        if let Some(product) = stage.product {
            *chunk = (CHUNK / (product.forward().one_panel_sums() * rows)).max(1);
        }
    }
    chunks
}

/// A run, as all members of its team see it.
pub(super) struct Run<'a, E> {
    equation: &'a dyn Equation<E>,
    plan: &'a Plan<'a, E>,
    pub(super) isa: Isa,
    pub(super) places: &'a Places<'a, E>,
    pub(super) hoists: &'a Hoists,
    pub(super) hoisted: &'a [Grid<'a, E>; MOST],
    /// Only if weights are compressed.
    pub(super) codes: Option<&'a Codes<'a, E>>,
    chunks: &'a [usize; MOST],
}

impl<'a, E: Kernels> Run<'a, E> {
    fn steps(&self, mut team: Team<'_>) {
        let (steps, rows, _) = self.places.x.dim();
        let (mut step, mut products) = (self.places.no_step(), [const { None }; MOST]);
        // Not as a constant, which would be copied.
        let mut compact = std::array::from_fn::<_, MOST, _>(|_| None);
        if self.places.recording {
            self.clear(&mut team);
        }
        for t in 0..steps {
            self.places.go(&mut step, t);
            for (k, stage) in self.plan.stages().iter().enumerate() {
                if let Some(weights) = stage.product.map(Product::forward) {
                    match weights.compact() {
                        None => self.product((k, stage, weights), &step, &mut products[k], &mut team),
                        Some(_) => self.compact_product((k, stage, weights), &step, &mut compact[k], &mut team),
                    }
                }
                if stage.whole_rows {
                    let mut turn = team.turn(rows);
                    while let Some(rows) = turn.next() {
                        self.equation_of((k, stage), &step, rows, 0..stage.units);
                    }
                }
            }
        }
    }

    /// Sets a record's temporaries and new states to 0, as an equation may leave some unwritten.
    fn clear(&self, team: &mut Team<'_>) {
        let (_, rows, _) = self.places.x.dim();
        let mut turn = team.turn(rows);
        while let Some(rows) = turn.next() {
            for (grid, first) in self.places.to_clear().filter(|_| !rows.is_empty()) {
                let numbers = (rows.len() - 1) * memory::spaced(grid.width()) + grid.width();
                for step in first..grid.dim().0 {
                    // SAFETY: this pass has given these rows to this member; between a record's rows nobody has
                    // anything. Numbers whose bits are all 0 are 0.
                    unsafe { grid.at(step, rows.start).write_bytes(0, numbers) };
                }
            }
        }
    }

    /// Runs a stage's product and, unless the stage wants whole rows, the equation on it, a few panels at a time.
    fn product(
        &self,
        (k, stage, weights): (usize, &Stage<'a, E>, &'a Packed<E>),
        step: &Step<'a, E>,
        multiply: &mut Option<Multiply<'a, E>>,
        team: &mut Team<'_>,
    ) {
        let (_, rows, _) = self.places.x.dim();
        let input = self.input(weights, k, step, team);
        let recurrent = self.operand(stage, step.t);
        let sums = self.places.sums[k].step(step.t);
        if let Some(multiply) = multiply {
            multiply.step(input.rows(), recurrent.unwrap_or(Rows::NONE), sums);
        }
        let to = To::Slots(sums, step.slots[k], Add::No);
        let multiply = multiply.get_or_insert_with(|| Multiply::new(weights, rows, input, recurrent, to));
        self.panels((k, stage), step, team.turn(multiply.panels()), |panels| {
            let units = multiply.units(&panels);
            E::multiply(multiply.some(panels));
            units
        });
    }

    /// What a stage's product multiplies besides the inputs.
    #[inline(always)]
    pub(super) fn operand(&self, stage: &Stage<'a, E>, t: usize) -> Option<Rows<'a, E>> {
        // From the run's places: the step's were written a moment ago, and copying them would wait for those writes.
        let places = self.places;
        match stage.operand {
            Operand::Nothing => None,
            Operand::State(leaf) => Some(places.leaves[leaf].before(t).step(t)),
            Operand::Temporary(temporary) => Some(places.temporaries[temporary].step(t)),
        }
    }

    /// Calls `multiply` for a few panels at a time and, unless the stage wants whole rows, runs the equation on the units
    /// that it returns.
    #[inline(always)]
    pub(super) fn panels(
        &self,
        (k, stage): (usize, &Stage<'a, E>),
        step: &Step<'a, E>,
        mut turn: Turn<'_>,
        multiply: impl Fn(Range<usize>) -> Range<usize>,
    ) {
        let (_, rows, _) = self.places.x.dim();
        while let Some(block) = turn.next() {
            let mut first = block.start;
            while first < block.end {
                let panels = first..block.end.min(first.saturating_add(self.chunks[k]));
                first = panels.end;
                let units = multiply(panels);
                if !stage.whole_rows {
                    self.equation_of((k, stage), step, 0..rows, units);
                }
            }
        }
    }

    fn equation_of(
        &self,
        (k, stage): (usize, &Stage<'a, E>),
        step: &Step<'a, E>,
        rows: Range<usize>,
        units: Range<usize>,
    ) {
        let &Stage { units: width, whole_rows: whole, .. } = stage;
        self.equation.forward_rows(&ForwardRows { isa: self.isa, step, stage: k, rows, units, width, whole });
    }

    /// The input half of a step. Callers must ask for steps in order, from 0.
    fn input(&self, weights: &'a Packed<E>, k: usize, step: &Step<'a, E>, team: &mut Team<'_>) -> Input<'a, E> {
        if !self.hoists.has(k) {
            return Input::Rows(self.places.x.step(step.t));
        }
        let (x, t) = (self.places.x, step.t);
        let (steps, rows, _) = x.dim();
        if t.is_multiple_of(HOISTED_STEPS) {
            for row in 0..rows {
                let (input, to) = (x.steps_of(row, t), self.hoisted[k].steps_of(row, 0));
                let count = HOISTED_STEPS.min(steps - t);
                let multiply = Multiply::new(weights, count, Input::Rows(input), None, To::Panels(to));
                let mut turn = team.turn(weights.panels());
                while let Some(panels) = turn.next() {
                    E::multiply(multiply.some(panels));
                }
            }
        }
        Input::Hoisted(self.hoisted[k].step(t % HOISTED_STEPS))
    }
}
