//! Dropout's backward pass: gradients go through the same masks as the values, drawn again.

use super::cell::{RunBack, TrainableCell};
use super::long_sum::LongSum;
use super::runs::{backward_in_parts, steps_as_runs};
use crate::back::{Back, Part};
use crate::dropout::{Masks, Site};
use crate::wrappers::workspace::WrapperWorkspace;
use crate::{DropoutState, DropoutWrapper, State};
use ndarray::{ArrayRef2, ArrayRef3, Axis, s};

/// What a recorded run of a [`DropoutWrapper`] keeps: the cell's records, and two numbers per row that give its masks.
pub struct DropoutRecord<R> {
    inner: Vec<R>,
    /// The state of the masks before the first step.
    masks: Option<Masks>,
}

impl<C: TrainableCell> TrainableCell for DropoutWrapper<C> {
    type Record = DropoutRecord<C::Record>;
    type Gradient = C::Gradient;

    fn zero_gradient(&self) -> C::Gradient {
        self.cell().zero_gradient()
    }

    steps_as_runs!();

    fn unroll_recording(
        &self,
        inputs: &ArrayRef3<C::Elem>,
        state: &mut DropoutState<C::State>,
        outputs: &mut ArrayRef3<C::Elem>,
        records: &mut Vec<Self::Record>,
        workspace: &mut WrapperWorkspace<C::Elem, C::Workspace>,
    ) {
        let (masks, mut inner) = (state.masks.clone(), Vec::new());
        self.run(inputs, state, outputs, workspace, |inputs: &_, state: &mut _, outputs: &mut _, workspace: &mut _| {
            self.cell().unroll_recording(inputs, state, outputs, &mut inner, workspace);
        });
        records.push(DropoutRecord { inner, masks });
    }

    backward_in_parts!();

    fn part_backward(
        &self,
        records: &mut Vec<Self::Record>,
        back: RunBack<'_, Self>,
        workspace: &mut WrapperWorkspace<C::Elem, C::Workspace>,
    ) {
        let part = Part(workspace);
        let DropoutRecord { inner: mut records, masks } = records.pop().expect("each run forward left a record");
        let Back { inputs, d_outputs, d_state, d_inputs, gradient } = back;
        let (cell, d_state) = (self.cell(), &mut d_state.inner);
        let WrapperWorkspace { buffers: [x, d_y], inner: workspace } = &mut *part.0;
        let Some(masks) = masks else {
            let back = Back { inputs, d_outputs, d_state, d_inputs, gradient };
            cell.part_backward(&mut records, back, workspace);
            return part.end();
        };
        let (mut x, mut d_y) = (x.array(inputs.dim()), d_y.array(d_outputs.dim()));
        x.assign(inputs);
        d_y.assign(d_outputs);
        for (t, (mut x, mut d_y)) in x.outer_iter_mut().zip(d_y.outer_iter_mut()).enumerate() {
            masks.drop_rows(self.input, Site::Input, t, &mut x);
            masks.drop_rows(self.output, Site::Output, t, &mut d_y);
        }
        if self.state.all() {
            let back = Back { inputs: &x, d_outputs: &d_y, d_state, d_inputs, gradient };
            cell.part_backward(&mut records, back, workspace);
        } else {
            // The forward pass went step by step and dropped from the state after each step.
            let mut gradient = LongSum::<C::Elem, _>::new(gradient);
            for t in (0..inputs.dim().0).rev() {
                let mut leaf = 0;
                d_state.visit_droppable_mut(&mut |mut values| {
                    masks.drop_rows(self.state, Site::Leaf(leaf), t, &mut values);
                    leaf += 1;
                });
                let (x, d_y) = (x.slice(s![t..t + 1, .., ..]), d_y.slice(s![t..t + 1, .., ..]));
                let mut d_x = d_inputs.slice_mut(s![t..t + 1, .., ..]);
                let gradient = gradient.next_gradient();
                let back = Back { inputs: &x, d_outputs: &d_y, d_state, d_inputs: &mut d_x, gradient };
                cell.part_backward(&mut records, back, workspace);
            }
            gradient.finish();
        }
        for (t, mut d_x) in d_inputs.outer_iter_mut().enumerate() {
            masks.drop_rows(self.input, Site::Input, t, &mut d_x);
        }
        part.end();
    }

    fn finish_backward(
        &self,
        d_state: &mut DropoutState<C::State>,
        gradient: &mut C::Gradient,
        workspace: &mut WrapperWorkspace<C::Elem, C::Workspace>,
    ) {
        self.cell().finish_backward(&mut d_state.inner, gradient, &mut workspace.inner);
    }
}
