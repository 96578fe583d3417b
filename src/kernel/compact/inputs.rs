//! A product of inputs alone, over all steps and rows.

use super::codes::{self, Encode};
use super::{Compact, Factors, Multiply, WeightFormat};
use crate::kernel::memory::{Arena, room, total};
use crate::kernel::pack::Packed;
use crate::kernel::registry::Kernels;
use crate::kernel::rows::{Frozen, Grid, Rows};
use crate::kernel::team::{Team, Work};

/// Rows multiplied at once.
const BLOCK: usize = 48;

/// Numbers that [`Inputs`] takes from an arena; 0 if the weights are not compressed.
pub(in crate::kernel) fn scratch_numbers<E: Kernels>(weights: &Packed<E>) -> usize {
    let Some(compact) = weights.compact() else { return 0 };
    total([room([BLOCK, code_width(compact)]), room([BLOCK, sums_width(weights)])])
}

fn code_width(compact: &Compact) -> usize {
    if compact.format() == WeightFormat::Int8 { codes::width(compact.shape().inputs) } else { 0 }
}

fn sums_width<E: Kernels>(weights: &Packed<E>) -> usize {
    weights.shape.gates * weights.padded_units()
}

/// A product of all steps and rows of inputs, for compressed weights.
pub(in crate::kernel) struct Inputs<'a, E> {
    weights: &'a Packed<E>,
    compact: &'a Compact,
    x: Grid<'a, E>,
    to: Grid<'a, E>,
    codes: Rows<'a, E>,
    /// Of one block, with room for whole panels.
    sums: Rows<'a, E>,
}

impl<'a, E: Kernels> Inputs<'a, E> {
    /// `None` if the weights are not compressed.
    pub(in crate::kernel) fn new<'b: 'a>(
        weights: &'a Packed<E>,
        x: Frozen<'a, E>,
        to: Grid<'a, E>,
        arena: &mut Arena<'b, E>,
    ) -> Option<Self> {
        let compact = weights.compact()?;
        let width = code_width(compact);
        let codes = Grid::of(arena.take_lines(BLOCK * width), (1, BLOCK, width));
        let sums = Grid::of(arena.take_lines(BLOCK * sums_width(weights)), (1, BLOCK, sums_width(weights)));
        Some(Self { weights, compact, x: x.grid(), to, codes: codes.step(0), sums: sums.step(0) })
    }

    pub(in crate::kernel) fn work(&self) -> Work {
        let ((steps, rows, _), weights) = (self.x.dim(), self.weights);
        Work { passes: 2 * steps, rows, panels: weights.panels(), products: weights.numbers() / 4 }
    }

    /// Computes a team member's share. A pass writes codes of its rows, or sums and results of its panels' units. It
    /// reads only these, inputs, and codes that the pass before wrote.
    pub(in crate::kernel) fn run(&self, mut team: Team<'_>) {
        let (steps, rows, _) = self.x.dim();
        // Blocks run along the longer axis: steps of one row, or rows of one step.
        for product in 0..steps.min(rows) {
            let (x, to) = match steps > rows {
                true => (self.x.steps_of(product, 0), self.to.steps_of(product, 0)),
                false => (self.x.step(product), self.to.step(product)),
            };
            for first in (0..x.rows()).step_by(BLOCK) {
                self.block((x.from(first, 0), to.from(first, 0)), BLOCK.min(x.rows() - first), &mut team);
            }
        }
    }

    fn block(&self, (x, to): (Rows<'_, E>, Rows<'_, E>), rows: usize, team: &mut Team<'_>) {
        let (shape, isa) = (self.weights.shape, self.weights.isa);
        let is_int8 = self.compact.format() == WeightFormat::Int8;
        if is_int8 {
            let mut turn = team.turn(rows);
            while let Some(rows) = turn.next() {
                // SAFETY: inputs are never written, and this pass has given these codes to this member.
                E::encode(isa, unsafe { Encode::new(x, self.codes, rows, shape.inputs) });
            }
        }
        let stride = self.weights.padded_units();
        let inputs = Some(if is_int8 { self.codes } else { x });
        let factors = Factors { inputs, hoisted: None, recurrent: None };
        let multiply = Multiply::new(self.weights, rows, &factors, (self.sums, stride));
        let mut turn = team.turn(multiply.panels());
        while let Some(panels) = turn.next() {
            let units = multiply.units(&panels);
            E::multiply_compact(multiply.some(panels));
            for row in 0..rows {
                for gate in 0..shape.gates {
                    let (from, at) = (gate * stride, gate * shape.units);
                    // SAFETY: this member has just written these sums, and this pass has given it these units.
                    unsafe {
                        let sums = self.sums.slice(row, from + units.start, from + units.end);
                        to.slice_mut(row, at + units.start, at + units.end).copy_from_slice(sums);
                    }
                }
            }
        }
    }
}
