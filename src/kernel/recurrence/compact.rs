//! The stages of a forward run whose weights are compressed.

use super::codes::Codes;
use super::forward::Run;
use super::hoists::HOISTED_STEPS;
use super::places::Step;
use super::plan::Stage;
use crate::kernel::compact::codes::Encode;
use crate::kernel::compact::{Compact, Factors, Multiply, WeightFormat};
use crate::kernel::pack::Packed;
use crate::kernel::registry::Kernels;
use crate::kernel::rows::{Grid, Rows};
use crate::kernel::team::Team;

impl<'a, E: Kernels> Run<'a, E> {
    /// As [`product`](Self::product), for compressed weights. Out of line, to keep the steps of others small.
    #[inline(never)]
    pub(super) fn compact_product(
        &self,
        (k, stage, weights): (usize, &Stage<'a, E>, &'a Packed<E>),
        step: &Step<'a, E>,
        multiply: &mut Option<Multiply<'a, E>>,
        team: &mut Team<'_>,
    ) {
        let compact: &Compact = weights.compact().expect("the weights are compressed");
        let codes = self.codes.expect("a run with compressed weights has room for codes");
        let ((_, rows, _), t) = (self.places.x.dim(), step.t);
        let (is_int8, is_hoisted) = (compact.format() == WeightFormat::Int8, self.hoists.has(k));
        let mut recurrent = self.operand(stage, t);
        if is_int8 {
            self.encode(codes, (k, t), recurrent, team);
            recurrent = recurrent.map(|_| codes.operands[k].step(0));
        }
        let inputs = if is_int8 { codes.x } else { self.places.x };
        let hoisted = is_hoisted.then(|| self.compact_inputs((k, weights), (t, inputs, is_int8), team));
        let at = if is_int8 { codes.place(t) } else { t };
        let inputs = (!is_hoisted && compact.shape().inputs > 0).then(|| inputs.step(at));
        let (factors, sums) = (Factors { inputs, hoisted, recurrent }, self.places.sums[k].step(t));
        if let Some(multiply) = multiply {
            multiply.step(&factors, sums);
        }
        let multiply = multiply.get_or_insert_with(|| Multiply::new(weights, rows, &factors, (sums, step.slots[k])));
        multiply.backwards = t % 2 == 1;
        self.panels((k, stage), step, team.turn(multiply.panels()), |panels| {
            let units = multiply.units(&panels);
            E::multiply_compact(multiply.some(panels));
            units
        });
    }

    /// Computes the codes of a stage's operand and, once for all stages, those of the inputs.
    fn encode(&self, codes: &Codes<'a, E>, (k, t): (usize, usize), operand: Option<Rows<'a, E>>, team: &mut Team<'_>) {
        let (steps, rows, inputs) = self.places.x.dim();
        let Codes { x, first, operands } = codes;
        let kept = x.dim().0;
        let encodes_inputs = k == *first && codes.place(t) == 0;
        if encodes_inputs && kept > 1 {
            let count = kept.min(steps - t);
            for row in 0..rows {
                let (from, to) = (self.places.x.steps_of(row, t), x.steps_of(row, 0));
                let mut turn = team.turn(count);
                while let Some(later) = turn.next() {
                    self.encode_rows(from, to, later, inputs);
                }
            }
        }
        if operand.is_none() && (kept > 1 || !encodes_inputs) {
            return;
        }
        let mut turn = team.turn(rows);
        while let Some(rows) = turn.next() {
            if encodes_inputs && kept == 1 {
                self.encode_rows(self.places.x.step(t), x.step(0), rows.clone(), inputs);
            }
            if let Some(operand) = operand {
                self.encode_rows(operand, operands[k].step(0), rows, operand.width());
            }
        }
    }

    fn encode_rows(&self, from: Rows<'a, E>, to: Rows<'a, E>, rows: std::ops::Range<usize>, depth: usize) {
        // SAFETY: inputs are never written, and operands were by earlier passes. This pass has given these rows of codes
        // to this member.
        E::encode(self.isa, unsafe { Encode::new(from, to, rows, depth) });
    }

    /// The input half of a step. Callers must ask for steps in order, from 0.
    fn compact_inputs(
        &self,
        (k, weights): (usize, &'a Packed<E>),
        (t, inputs, is_int8): (usize, Grid<'a, E>, bool),
        team: &mut Team<'_>,
    ) -> Rows<'a, E> {
        let (steps, rows, _) = self.places.x.dim();
        if t.is_multiple_of(HOISTED_STEPS) {
            for row in 0..rows {
                let count = HOISTED_STEPS.min(steps - t);
                let inputs = inputs.steps_of(row, if is_int8 { 0 } else { t });
                let multiply = Multiply::of_inputs(weights, count, inputs, self.hoisted[k].steps_of(row, 0));
                let mut turn = team.turn(multiply.panels());
                while let Some(panels) = turn.next() {
                    E::multiply_compact(multiply.some(panels));
                }
            }
        }
        self.hoisted[k].step(t % HOISTED_STEPS)
    }
}
