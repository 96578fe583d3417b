//! [`DynamicRnn::run_with_layers`]: the outputs of every layer of a stack.

use super::dynamic::DynamicRnn;
use super::order::by_step;
use super::run::{Buffers, Run};
use super::schedule::{Direction, Schedule};
use super::walk::Watch;
use crate::wrappers::Layers;
use crate::wrappers::multi::LayerVisitor;
use crate::{Error, Float, MultiRnnCell, RnnCell};
use ndarray::{Array3, ArrayRef3};

/// Outputs of every layer, and the final state.
type UnrolledLayers<Cells> = (Vec<Array3<<Cells as Layers>::Elem>>, <Cells as Layers>::State);

impl<Cells: Layers> DynamicRnn<'_, '_, MultiRnnCell<Cells>> {
    /// Runs the stack. Returns the outputs of every layer, the lowest first, each laid out as `inputs` and as wide as
    /// the layer's output, and the final state. In built-in cells the last have the bits of [`run`](Self::run). Past a
    /// row's length every layer's outputs are exactly 0.
    ///
    /// ```
    /// use rand::SeedableRng;
    /// use rnn_cell::{DynamicRnn, Gru, Lstm, MultiRnnCell, one_hot};
    ///
    /// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
    /// let cell = MultiRnnCell::new((Lstm::<f32>::new(4, 8, &mut rng), Gru::new(8, 2, &mut rng)))?;
    /// let x = one_hot(&["hello", "eolll"], "helo")?;
    /// let (outputs, _) = DynamicRnn::new(&cell).sequence_length(&[5, 3]).run_with_layers(&x)?;
    /// assert_eq!((outputs[0].dim(), outputs[1].dim()), ((2, 5, 8), (2, 5, 2)));
    /// # Ok::<(), rnn_cell::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_with_layers(mut self, inputs: &ArrayRef3<Cells::Elem>) -> Result<UnrolledLayers<Cells>, Error> {
        let mut schedule = Schedule::default();
        let mut state = self.check(inputs, &mut schedule)?;
        let mut runs = Runs { schedule, time_major: self.rows.time_major, inputs, outputs: Vec::new() };
        self.cell.cells().visit_layers(&mut runs, &mut state, &mut Cells::Workspace::default());
        Ok((runs.outputs, state))
    }
}

/// Runs of one layer after the other, each over the whole batch.
struct Runs<'a, E> {
    schedule: Schedule,
    time_major: bool,
    /// The first layer's.
    inputs: &'a ArrayRef3<E>,
    outputs: Vec<Array3<E>>,
}

impl<E: Float> LayerVisitor<E> for Runs<'_, E> {
    fn layer<C: RnnCell<Elem = E>>(&mut self, _: (usize, usize), cell: &C, state: &mut C::State, _: &mut C::Workspace) {
        let Self { schedule, time_major, .. } = self;
        let (rows, columns, _) = self.inputs.dim();
        let mut outputs = Array3::zeros((rows, columns, cell.output_size()));
        let inputs = by_step(self.outputs.last().map_or(self.inputs.view(), |below| below.view()), *time_major);
        let run_outputs = by_step(outputs.view_mut(), *time_major);
        let run = Run { cell, schedule, direction: Direction::Forward, inputs, outputs: run_outputs };
        run.shared(state, Watch(None), &mut Buffers::default());
        schedule.repeat_outputs(&mut by_step(outputs.view_mut(), *time_major));
        self.outputs.push(outputs);
    }
}
