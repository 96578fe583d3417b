//! [`bidirectional_dynamic_rnn`]: one cell from the first step on, another from the last step back.

use super::lengths::longest_first;
use super::masked::{by_step, unroll_masked};
use crate::checks::{check_directions, check_inputs, checked_state};
use crate::{Error, Float, Parameters, RnnCell, State};
use ndarray::{Array3, ArrayRef3, ArrayView3, ArrayViewD, ArrayViewMut3, ArrayViewMutD, Axis, concatenate, s};

/// What two directions return: (forward, backward) outputs and (forward, backward) final states.
type UnrolledBoth<C, D> =
    ((Array3<<C as RnnCell>::Elem>, Array3<<C as RnnCell>::Elem>), (<C as RnnCell>::State, <D as RnnCell>::State));

/// A forward and a backward cell whose parameters are visited together, under `fw/` and `bw/`.
///
/// A plain pair to save, load and train as one; [`bidirectional_dynamic_rnn`] runs `&pair.fw` and `&pair.bw`.
#[derive(Debug, Clone, PartialEq)]
pub struct Bidirectional<F, B = F> {
    /// From the first step on.
    pub fw: F,
    /// From the last step back.
    pub bw: B,
}

impl<E: Float, F: Parameters<E>, B: Parameters<E>> Parameters<E> for Bidirectional<F, B> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        self.fw.visit_parameters(&mut |name, weight| visit(&format!("fw/{name}"), weight));
        self.bw.visit_parameters(&mut |name, weight| visit(&format!("bw/{name}"), weight));
    }
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        self.fw.visit_parameters_mut(&mut |name, weight| visit(&format!("fw/{name}"), weight));
        self.bw.visit_parameters_mut(&mut |name, weight| visit(&format!("bw/{name}"), weight));
    }
}

/// Runs one cell forward and one backward over `inputs` (batch, seq, input): returns
/// ((outputs_fw, outputs_bw), (state_fw, state_bw)), outputs (batch, seq, output of the direction), C-contiguous.
///
/// It is TensorFlow 1's `tf.nn.bidirectional_dynamic_rnn`; the backward direction in four lines, for one row:
///
/// ```text
/// for t in (0..sequence_length[row]).rev() {
///     cell_bw.step(inputs[t], &mut state_bw, &mut outputs_bw[t]);
/// }
/// outputs_bw[sequence_length[row]..] = 0
/// ```
///
/// So `outputs_bw` at step t has seen the steps from t to the row's last one, and `state_bw` is the state after step 0.
/// Outputs are not concatenated: [`concat_outputs`] does it. The cells may be of two types and sizes. Lengths, padding and
/// initial states are as for [`dynamic_rnn`](crate::dynamic_rnn). With the feature `rayon` the two directions of a large
/// batch run in parallel.
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
/// [`Error::InputSizesDiffer`] if the cells read inputs of different sizes; as [`dynamic_rnn`](crate::dynamic_rnn).
pub fn bidirectional_dynamic_rnn<C: RnnCell, D: RnnCell<Elem = C::Elem>>(
    cell_fw: &C,
    cell_bw: &D,
    inputs: &ArrayRef3<C::Elem>,
    sequence_length: Option<&[usize]>,
    initial_state_fw: Option<C::State>,
    initial_state_bw: Option<D::State>,
) -> Result<UnrolledBoth<C, D>, Error> {
    run(cell_fw, cell_bw, inputs, sequence_length, (initial_state_fw, initial_state_bw), false)
}

/// [`bidirectional_dynamic_rnn`] over time-major arrays: `inputs` (seq, batch, input), outputs (seq, batch, output).
///
/// # Errors
/// As [`bidirectional_dynamic_rnn`].
pub fn bidirectional_dynamic_rnn_time_major<C: RnnCell, D: RnnCell<Elem = C::Elem>>(
    cell_fw: &C,
    cell_bw: &D,
    inputs: &ArrayRef3<C::Elem>,
    sequence_length: Option<&[usize]>,
    initial_state_fw: Option<C::State>,
    initial_state_bw: Option<D::State>,
) -> Result<UnrolledBoth<C, D>, Error> {
    run(cell_fw, cell_bw, inputs, sequence_length, (initial_state_fw, initial_state_bw), true)
}

/// The outputs of two directions side by side: \[fw, bw\] along the last axis.
///
/// # Panics
/// If the first two axes differ.
#[must_use]
pub fn concat_outputs<E: Float>(outputs_fw: &ArrayRef3<E>, outputs_bw: &ArrayRef3<E>) -> Array3<E> {
    concatenate(Axis(2), &[outputs_fw.view(), outputs_bw.view()])
        .unwrap_or_else(|_| panic!("outputs_fw are {:?}, outputs_bw {:?}", outputs_fw.dim(), outputs_bw.dim()))
}

fn run<C: RnnCell, D: RnnCell<Elem = C::Elem>>(
    cell_fw: &C,
    cell_bw: &D,
    inputs: &ArrayRef3<C::Elem>,
    sequence_length: Option<&[usize]>,
    initial: (Option<C::State>, Option<D::State>),
    time_major: bool,
) -> Result<UnrolledBoth<C, D>, Error> {
    let x = by_step(inputs.view(), time_major);
    let (seq, batch, _) = x.dim();
    check_directions(cell_fw, cell_bw)?;
    check_inputs(cell_fw, inputs.dim(), (batch, seq), sequence_length)?;
    let states = (
        checked_state("initial_state_fw", cell_fw, batch, initial.0)?,
        checked_state("initial_state_bw", cell_bw, batch, initial.1)?,
    );
    let (rows, columns, _) = inputs.dim();
    let mut fw = Array3::zeros((rows, columns, cell_fw.output_size()));
    let mut bw = Array3::zeros((rows, columns, cell_bw.output_size()));
    let outputs = (by_step(fw.view_mut(), time_major), by_step(bw.view_mut(), time_major));
    let states = unroll_both(cell_fw, cell_bw, x, sequence_length, states, outputs);
    Ok(((fw, bw), states))
}

/// Both directions over checked, time-major arrays. `outputs` must be zeros; steps past a length stay so.
pub(super) fn unroll_both<C: RnnCell, D: RnnCell<Elem = C::Elem>>(
    cell_fw: &C,
    cell_bw: &D,
    inputs: ArrayView3<C::Elem>,
    sequence_length: Option<&[usize]>,
    (state_fw, state_bw): (C::State, D::State),
    (outputs_fw, outputs_bw): (ArrayViewMut3<C::Elem>, ArrayViewMut3<C::Elem>),
) -> (C::State, D::State) {
    let fw = || unroll_masked(cell_fw, inputs, sequence_length, state_fw, outputs_fw);
    let bw = || unroll_backward(cell_bw, inputs, sequence_length, state_bw, outputs_bw);
    #[cfg(feature = "rayon")]
    {
        use super::parallel::{both, worth_halving};
        let (seq, batch, _) = inputs.dim();
        let worth_sharing =
            worth_halving(cell_fw, batch, seq, sequence_length) && worth_halving(cell_bw, batch, seq, sequence_length);
        if worth_sharing {
            return both(fw, bw);
        }
    }
    (fw(), bw())
}

/// As [`unroll_masked`], each row from its last valid step back to step 0.
fn unroll_backward<C: RnnCell>(
    cell: &C,
    inputs: ArrayView3<C::Elem>,
    sequence_length: Option<&[usize]>,
    mut state: C::State,
    mut outputs: ArrayViewMut3<C::Elem>,
) -> C::State {
    let (seq, batch, features) = inputs.dim();
    let first = sequence_length.and_then(|lengths| lengths.first().copied()).unwrap_or(seq);
    let Some(lengths) = sequence_length.filter(|lengths| lengths.iter().any(|&length| length != first)) else {
        // One length for all rows: reading and writing backwards is a matter of strides.
        let (x, out) = (inputs.slice(s![..first;-1, .., ..]), outputs.slice_mut(s![..first;-1, .., ..]));
        return unroll_masked(cell, x, None, state, out);
    };

    // Rows are copied anyway to be reversed, each within its length: longest first, as `unroll_masked` likes them.
    let order = longest_first(lengths);
    let sorted_lengths: Vec<usize> = order.iter().map(|&row| lengths[row]).collect();
    let mut reversed = Array3::zeros((sorted_lengths[0], batch, features));
    let mut reversed_outputs = Array3::zeros((sorted_lengths[0], batch, cell.output_size()));
    for (to, (&from, &length)) in order.iter().zip(&sorted_lengths).enumerate() {
        reversed.slice_mut(s![..length, to, ..]).assign(&inputs.slice(s![..length;-1, from, ..]));
    }
    let (x, out) = (reversed.view(), reversed_outputs.view_mut());
    let sorted_state = unroll_masked(cell, x, Some(&sorted_lengths), state.select_rows(&order), out);
    for (from, (&to, &length)) in order.iter().zip(&sorted_lengths).enumerate() {
        outputs.slice_mut(s![..length;-1, to, ..]).assign(&reversed_outputs.slice(s![..length, from, ..]));
        state.copy_row(to, &sorted_state, from);
    }
    state
}
