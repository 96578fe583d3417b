//! [`RowOptions`]: what drivers of whole sequences are told about the rows of a batch.

use super::schedule::{Direction, Schedule};
use crate::checks::{check_inputs, check_shape};
use crate::seed::child_seed;
use crate::{Error, Float, RnnCell, State};
use ndarray::{ArrayRef2, ArrayView2};

/// How arrays are laid out, and which steps of a row run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RowOptions<'o> {
    pub sequence_length: Option<&'o [usize]>,
    pub time_major: bool,
    pub mask: Option<&'o ArrayRef2<bool>>,
    pub repeat_masked_outputs: bool,
    pub resets: Option<&'o ArrayRef2<bool>>,
    pub resets_to_zero: bool,
    pub dropout_seed: Option<u64>,
}

impl<'o> RowOptions<'o> {
    /// These lengths, and defaults.
    pub fn of(sequence_length: Option<&'o [usize]>) -> Self {
        Self { sequence_length, ..Self::default() }
    }

    /// (seq, batch) of arrays whose first two axes are these.
    pub fn sizes(&self, (rows, columns): (usize, usize)) -> (usize, usize) {
        if self.time_major { (rows, columns) } else { (columns, rows) }
    }

    /// Schedules a run of `cell` over inputs of this shape, if they and all options fit.
    pub fn schedule<C: RnnCell>(
        &self,
        cell: &C,
        inputs: (usize, usize, usize),
        direction: Direction,
        schedule: &mut Schedule,
    ) -> Result<(), Error> {
        let (rows, columns, _) = inputs;
        let (seq, batch) = self.sizes((rows, columns));
        check_inputs(cell, inputs, (batch, seq), self.sequence_length)?;
        for (name, marks) in [("mask", self.mask), ("resets", self.resets)] {
            check_shape(name, &[rows, columns], marks.map_or(&[rows, columns], |marks| marks.shape()))?;
        }
        match self.mask {
            Some(mask) => {
                schedule.set_masked(self.by_step(mask), self.sequence_length);
                schedule.repeat_masked(self.repeat_masked_outputs);
            }
            None => schedule.set(seq, batch, self.sequence_length),
        }
        if let Some(resets) = self.resets {
            schedule.cut_at(self.by_step(resets), direction, self.resets_to_zero);
        }
        Ok(())
    }

    /// The same for both directions, forward and backward. They differ in their resets.
    pub fn schedule_both<C: RnnCell>(&self, cell: &C, inputs: (usize, usize, usize)) -> Result<[Schedule; 2], Error> {
        let mut forward = Schedule::default();
        self.schedule(cell, inputs, Direction::Forward, &mut forward)?;
        let mut backward = forward.clone();
        if self.resets.is_some() {
            self.schedule(cell, inputs, Direction::Backward, &mut backward)?;
        }
        Ok([forward, backward])
    }

    /// Turns dropout on in an initial state, if there is a seed: in the only one, or in that of direction `index`.
    pub fn seed<E: Float>(&self, index: Option<usize>, state: &mut impl State<E>) {
        if let Some(seed) = self.dropout_seed {
            state.seed_dropout(Some(index.map_or(seed, |index| child_seed(seed, index))));
        }
    }

    fn by_step(&self, marks: &'o ArrayRef2<bool>) -> ArrayView2<'o, bool> {
        if self.time_major { marks.view() } else { marks.t() }
    }
}

/// The options that builders over whole sequences share. Their field `rows` keeps them.
macro_rules! row_options {
    ($lifetime:lifetime) => {
        /// Steps of each row, (batch), each at most `seq`. Default: `seq`.
        pub fn sequence_length(mut self, sequence_length: &$lifetime [usize]) -> Self {
            self.rows.sequence_length = Some(sequence_length);
            self
        }

        /// Whether inputs and outputs are (seq, batch, features), and mask and resets (seq, batch), instead of (batch,
        /// seq, features) and (batch, seq). Default: false.
        pub fn time_major(mut self, time_major: bool) -> Self {
            self.rows.time_major = time_major;
            self
        }

        /// Which steps run, laid out as the first two axes of the inputs: Keras's mask, which may have holes. Where it is
        /// false, the row keeps its state, its output is 0, and its input is not read. Default: all within the row's
        /// length.
        ///
        /// Masked steps cost nothing but a copy of the others.
        pub fn mask(mut self, mask: &$lifetime ndarray::ArrayRef2<bool>) -> Self {
            self.rows.mask = Some(mask);
            self
        }

        /// Where rows start a new sequence, laid out as the first two axes of the inputs. Where true, the row's state
        /// goes back to the initial one before the step, or to zeros ([`resets_to_zero`](Self::resets_to_zero)). Read
        /// backward, a row goes back after the step. Resets past a row's length do nothing. A reset at a masked step
        /// happens before the row's next step that runs, if there is one. Default: no resets.
        ///
        /// A step at which rows reset starts a new `unroll`. A batch that resets at nearly every step runs as fast as
        /// single steps do.
        pub fn resets(mut self, resets: &$lifetime ndarray::ArrayRef2<bool>) -> Self {
            self.rows.resets = Some(resets);
            self
        }

        /// Whether a reset sets the state's numbers to 0 instead of going back to the initial state. Default: false.
        ///
        /// Set it when a run continues another, whose final state is the initial state here. A row that resets then
        /// keeps nothing of the sequence before. What a state holds besides numbers (dropout's seed, an attention's
        /// memory) goes back to the initial state's all the same.
        pub fn resets_to_zero(mut self, resets_to_zero: bool) -> Self {
            self.rows.resets_to_zero = resets_to_zero;
            self
        }

        /// Turns dropout on in the initial state, as [`State::seed_dropout`](crate::State::seed_dropout) does. Equal
        /// seeds give equal masks, so pass another in every pass of training. Each layer and each direction has masks of
        /// its own. Default: the initial state decides; a [`RnnCell::zero_state`] has dropout off.
        pub fn dropout_seed(mut self, dropout_seed: u64) -> Self {
            self.rows.dropout_seed = Some(dropout_seed);
            self
        }
    };
}

pub(crate) use row_options;
