//! Cases of bidirectional layers, one above the other.

use crate::build::Leaf;
use crate::case::{Case, Fault};
use crate::drive::{Layer, layers};
use rnn_cell::train::BoxedTrainableCell;
use rnn_cell::{DynState, Float, StackBidirectionalRnn};

/// Layers of both directions, forward and backward.
pub struct Stack<E: Float> {
    pub cells: [Vec<BoxedTrainableCell<E>>; 2],
    pub leaves: [Vec<Vec<Leaf>>; 2],
    pub initial: [Option<Vec<DynState<E>>>; 2],
}

impl<E: Float> Stack<E> {
    pub fn new(case: &Case) -> Result<Self, Fault> {
        let mut stack = Self { cells: Default::default(), leaves: Default::default(), initial: [None, None] };
        for Layer { fw, bw } in layers(case)? {
            for (side, direction) in [fw, bw].into_iter().enumerate() {
                stack.cells[side].push(direction.cell);
                stack.leaves[side].push(direction.leaves);
                if let Some(initial) = direction.initial {
                    stack.initial[side].get_or_insert_default().push(initial);
                }
            }
        }
        Ok(stack)
    }

    /// A run over arrays in the file's layout.
    pub fn driver<'a>(
        &'a self,
        case: &Case,
        lengths: Option<&'a [usize]>,
    ) -> StackBidirectionalRnn<'a, 'a, BoxedTrainableCell<E>> {
        let mut driver = StackBidirectionalRnn::new(&self.cells[0], &self.cells[1]).time_major(case.time_major);
        if let Some(lengths) = lengths {
            driver = driver.sequence_length(lengths);
        }
        if let [Some(fw), Some(bw)] = &self.initial {
            driver = driver.initial_states_fw(fw.clone()).initial_states_bw(bw.clone());
        }
        driver
    }
}
