//! [`bidirectional_dynamic_rnn`]: one cell runs from the first step forward, another from the last step back;
//! [`BidirectionalRnn`]: the same with options.

use super::order::by_step;
use super::rows::{RowOptions, row_options};
use super::run::{Buffers, Run};
use super::schedule::{Direction, Schedule};
use super::walk::Watch;
use crate::checks::{check_directions, checked_state};
use crate::{Error, Float, Parameters, ParametersMut, RnnCell};
use ndarray::{Array3, ArrayD, ArrayRef3, ArrayView3, ArrayViewD, ArrayViewMut3, ArrayViewMutD, Axis, concatenate};

/// The states of two directions, (forward, backward).
type States<C, D> = (<C as RnnCell>::State, <D as RnnCell>::State);
/// What two directions return: (forward, backward) outputs and (forward, backward) final states.
type UnrolledBoth<C, D> = ((Array3<<C as RnnCell>::Elem>, Array3<<C as RnnCell>::Elem>), States<C, D>);

/// Pairs a forward and a backward cell and visits their parameters together, under `fw/` and `bw/`.
///
/// Save, load and train the two as one. To run them, pass `&pair.fw` and `&pair.bw` to [`BidirectionalRnn::new`] or
/// [`bidirectional_dynamic_rnn`].
#[derive(Debug, Clone, PartialEq)]
pub struct Bidirectional<F, B = F> {
    /// Runs from the first step forward.
    pub fw: F,
    /// Runs from the last step back.
    pub bw: B,
}

impl<E: Float, F: Parameters<E>, B: Parameters<E>> Parameters<E> for Bidirectional<F, B> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        self.fw.visit_parameters(&mut |name, weight| visit(&format!("fw/{name}"), weight));
        self.bw.visit_parameters(&mut |name, weight| visit(&format!("bw/{name}"), weight));
    }
    fn take_parameters(self, take: &mut dyn FnMut(&str, ArrayD<E>)) {
        self.fw.take_parameters(&mut |name, weight| take(&format!("fw/{name}"), weight));
        self.bw.take_parameters(&mut |name, weight| take(&format!("bw/{name}"), weight));
    }
}

impl<E: Float, F: ParametersMut<E>, B: ParametersMut<E>> ParametersMut<E> for Bidirectional<F, B> {
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        self.fw.visit_parameters_mut(&mut |name, weight| visit(&format!("fw/{name}"), weight));
        self.bw.visit_parameters_mut(&mut |name, weight| visit(&format!("bw/{name}"), weight));
    }
}

/// Runs one cell forward and one backward over `inputs` (batch, seq, input). Returns ((outputs_fw, outputs_bw),
/// (state_fw, state_bw)). Outputs are (batch, seq, output of the direction), C-contiguous.
///
/// This is TensorFlow 1's `tf.nn.bidirectional_dynamic_rnn`. The backward direction of one row in four lines:
///
/// ```text
/// for t in (0..sequence_length[row]).rev() {
///     cell_bw.step(inputs[t], &mut state_bw, &mut outputs_bw[t]);
/// }
/// outputs_bw[sequence_length[row]..] = 0
/// ```
///
/// So `outputs_bw` at step t has seen step t and all later ones, and `state_bw` is the state after step 0. Concatenate
/// the outputs with [`concat_outputs`]. The cells may differ in type and size. Lengths, padding and initial states work
/// as in [`dynamic_rnn`](crate::dynamic_rnn). [`BidirectionalRnn`] has more options. With the feature `rayon`, a large
/// batch's directions run in parallel.
///
/// ```
/// use rand::SeedableRng;
/// use rnn_cell::{Gru, Lstm, bidirectional_dynamic_rnn, concat_outputs};
///
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let (forward, backward) = (Lstm::<f32>::new(4, 3, &mut rng), Gru::new(4, 2, &mut rng));
/// let x = rnn_cell::one_hot(&["hello", "eolll"], "helo")?;
/// let ((fw, bw), (_, state_bw)) = bidirectional_dynamic_rnn(&forward, &backward, &x, Some(&[5, 3]), None, None)?;
/// assert_eq!(concat_outputs(&fw, &bw).dim(), (2, 5, 3 + 2));
/// assert_eq!(bw[[1, 0, 0]], state_bw[[1, 0]]);
/// # Ok::<(), rnn_cell::Error>(())
/// ```
///
/// # Errors
/// - [`Error::CellInputSize`] if the cells' input sizes differ.
/// - As [`dynamic_rnn`](crate::dynamic_rnn).
pub fn bidirectional_dynamic_rnn<C: RnnCell, D: RnnCell<Elem = C::Elem>>(
    cell_fw: &C,
    cell_bw: &D,
    inputs: &ArrayRef3<C::Elem>,
    sequence_length: Option<&[usize]>,
    initial_state_fw: Option<C::State>,
    initial_state_bw: Option<D::State>,
) -> Result<UnrolledBoth<C, D>, Error> {
    let rows = RowOptions::of(sequence_length);
    BidirectionalRnn { cell_fw, cell_bw, initial_state_fw, initial_state_bw, rows }.run(inputs)
}

/// [`bidirectional_dynamic_rnn`] with more options, in any combination.
///
/// Choose what you get with the last call: [`run`](Self::run), [`run_steps`](Self::run_steps) over a list of steps, or
/// [`record`](Self::record) to train [`TrainableCell`](crate::train::TrainableCell)s.
///
/// ```
/// use rand::SeedableRng;
/// use rnn_cell::{BidirectionalRnn, Gru, Lstm};
///
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let (forward, backward) = (Lstm::<f32>::new(4, 3, &mut rng), Gru::new(4, 2, &mut rng));
/// let x = rnn_cell::one_hot(&["hello", "eolll"], "helo")?;
/// let by_step = x.view().permuted_axes([1, 0, 2]);                  // (seq, batch, input) = (5, 2, 4)
/// let driver = BidirectionalRnn::new(&forward, &backward).sequence_length(&[5, 3]).time_major(true);
/// let ((fw, bw), _) = driver.run(&by_step)?;
/// assert_eq!((fw.dim(), bw.dim()), ((5, 2, 3), (5, 2, 2)));
/// # Ok::<(), rnn_cell::Error>(())
/// ```
///
/// `'c` is the lifetime of the cells, `'o` that of lengths, mask and resets.
#[must_use = "a builder does nothing until it runs"]
pub struct BidirectionalRnn<'c, 'o, C: RnnCell, D: RnnCell<Elem = C::Elem> = C> {
    pub(crate) cell_fw: &'c C,
    pub(crate) cell_bw: &'c D,
    pub(crate) initial_state_fw: Option<C::State>,
    pub(crate) initial_state_bw: Option<D::State>,
    pub(crate) rows: RowOptions<'o>,
}

impl<'c, 'o, C: RnnCell, D: RnnCell<Elem = C::Elem>> BidirectionalRnn<'c, 'o, C, D> {
    /// Starts a run of `cell_fw` forward and `cell_bw` backward. Every option has a default.
    pub fn new(cell_fw: &'c C, cell_bw: &'c D) -> Self {
        Self { cell_fw, cell_bw, initial_state_fw: None, initial_state_bw: None, rows: RowOptions::default() }
    }

    row_options!('o);

    /// The forward cell's state before the first step. Default: [`RnnCell::zero_state`].
    pub fn initial_state_fw(mut self, initial_state: C::State) -> Self {
        self.initial_state_fw = Some(initial_state);
        self
    }

    /// The backward cell's state before the last valid step, which it reads first. Default: [`RnnCell::zero_state`].
    pub fn initial_state_bw(mut self, initial_state: D::State) -> Self {
        self.initial_state_bw = Some(initial_state);
        self
    }

    /// Runs both cells. Returns ((outputs_fw, outputs_bw), (state_fw, state_bw)). Outputs are laid out as `inputs`.
    ///
    /// # Errors
    /// As [`bidirectional_dynamic_rnn`].
    pub fn run(mut self, inputs: &ArrayRef3<C::Elem>) -> Result<UnrolledBoth<C, D>, Error> {
        let (schedules, mut states) = self.check(inputs)?;
        let Self { cell_fw, cell_bw, rows: RowOptions { time_major, .. }, .. } = self;
        let (rows, columns, _) = inputs.dim();
        let mut fw = Array3::zeros((rows, columns, cell_fw.output_size()));
        let mut bw = Array3::zeros((rows, columns, cell_bw.output_size()));
        let outputs = (by_step(fw.view_mut(), time_major), by_step(bw.view_mut(), time_major));
        let inputs = by_step(inputs.view(), time_major);
        let both = Both { cells: (cell_fw, cell_bw), schedules: &schedules, inputs, outputs };
        both.run((&mut states.0, &mut states.1));
        Ok(((fw, bw), states))
    }

    /// Schedules both directions and returns the initial states if all arguments fit.
    pub(crate) fn check(&mut self, inputs: &ArrayRef3<C::Elem>) -> Result<([Schedule; 2], States<C, D>), Error> {
        let Self { cell_fw, cell_bw, rows, .. } = *self;
        check_directions(cell_fw, cell_bw)?;
        let schedules = rows.schedule_both(cell_fw, inputs.dim())?;
        let batch = schedules[0].batch();
        let mut state_fw = checked_state("initial_state_fw", cell_fw, batch, self.initial_state_fw.take())?;
        let mut state_bw = checked_state("initial_state_bw", cell_bw, batch, self.initial_state_bw.take())?;
        rows.seed(Some(0), &mut state_fw);
        rows.seed(Some(1), &mut state_bw);
        Ok((schedules, (state_fw, state_bw)))
    }
}

impl<C: RnnCell, D: RnnCell<Elem = C::Elem>> std::fmt::Debug for BidirectionalRnn<'_, '_, C, D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BidirectionalRnn").field("rows", &self.rows).finish_non_exhaustive()
    }
}

/// Joins the outputs of two directions: \[fw, bw\] along the last axis.
///
/// # Panics
/// If the first two axes differ.
#[must_use]
pub fn concat_outputs<E: Float>(outputs_fw: &ArrayRef3<E>, outputs_bw: &ArrayRef3<E>) -> Array3<E> {
    concatenate(Axis(2), &[outputs_fw.view(), outputs_bw.view()])
        .unwrap_or_else(|_| panic!("outputs_fw are {:?}, but outputs_bw are {:?}", outputs_fw.dim(), outputs_bw.dim()))
}

/// Both directions over checked, time-major arrays. Leaves outputs past a row's length alone.
pub(super) struct Both<'a, C: RnnCell, D: RnnCell<Elem = C::Elem>> {
    pub cells: (&'a C, &'a D),
    /// Forward and backward.
    pub schedules: &'a [Schedule; 2],
    pub inputs: ArrayView3<'a, C::Elem>,
    pub outputs: (ArrayViewMut3<'a, C::Elem>, ArrayViewMut3<'a, C::Elem>),
}

impl<C: RnnCell, D: RnnCell<Elem = C::Elem>> Both<'_, C, D> {
    /// Runs both. Takes the states from initial to final.
    pub(super) fn run(self, (state_fw, state_bw): (&mut C::State, &mut D::State)) {
        let Self {
            cells: (cell_fw, cell_bw),
            schedules: [schedule, schedule_bw],
            inputs,
            outputs: (outputs_fw, outputs_bw),
        } = self;
        let fw = Run { cell: cell_fw, schedule, direction: Direction::Forward, inputs, outputs: outputs_fw };
        let (direction, schedule) = (Direction::Backward, schedule_bw);
        let bw = Run { cell: cell_bw, schedule, direction, inputs, outputs: outputs_bw };
        let fw = || fw.shared(state_fw, Watch(None), &mut Buffers::default());
        let bw = || bw.shared(state_bw, Watch(None), &mut Buffers::default());
        #[cfg(feature = "rayon")]
        {
            use super::parallel::{both, worth_halving};
            if worth_halving(cell_fw, schedule) && worth_halving(cell_bw, schedule) {
                both(fw, bw);
                return;
            }
        }
        fw();
        bw();
    }
}
