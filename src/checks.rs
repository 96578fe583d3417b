//! Checks what users pass in and turns each mistake into its [`Error`].

use crate::{Activation, Error, Float, RnnCell, State};
use std::fmt::Display;

/// `Err` if a size is 0.
pub(crate) fn check_sizes(sizes: &[(&'static str, usize)]) -> Result<(), Error> {
    match sizes.iter().find(|(_, size)| *size == 0) {
        Some(&(argument, _)) => Err(Error::ZeroSize { argument }),
        None => Ok(()),
    }
}

/// Returns the number if it is `right`. Otherwise the error says what was `expected`.
pub(crate) fn check_number<E: Float>(
    argument: &'static str,
    number: E,
    right: bool,
    expected: &'static str,
) -> Result<E, Error> {
    if right { Ok(number) } else { Err(Error::InvalidNumber { argument, expected, found: number.as_f64() }) }
}

/// `Err` unless `number` is finite.
pub(crate) fn check_finite<E: Float>(argument: &'static str, number: E) -> Result<E, Error> {
    check_number(argument, number, number.is_finite(), "finite")
}

/// `Err` unless `number` is finite and above 0. (TensorFlow accepts clips of 0 and below, and computes nonsense.)
pub(crate) fn check_positive<E: Float>(argument: &'static str, number: E) -> Result<E, Error> {
    check_number(argument, number, number.is_finite() && number > E::zero(), "finite and above 0")
}

/// `Err` unless an activation's numbers are in the ranges that [`Activation`] gives.
pub(crate) fn check_activation(activation: Activation) -> Result<(), Error> {
    let finite = |argument, number: f64| check_finite(argument, number).map(drop);
    match activation {
        Activation::HardSigmoidWith { slope, offset } => {
            finite("the activation's slope", slope)?;
            finite("the activation's offset", offset)
        }
        Activation::LeakyRelu { alpha } | Activation::EluWith { alpha } => {
            check_positive("the activation's alpha", alpha).map(drop)
        }
        Activation::ThresholdedRelu { alpha } => finite("the activation's alpha", alpha),
        Activation::ScaledTanh { alpha, beta } => {
            check_number("the activation's alpha", alpha, alpha.is_finite() && alpha != 0.0, "finite and not 0")?;
            finite("the activation's beta", beta)
        }
        Activation::Affine { alpha, beta } => {
            finite("the activation's alpha", alpha)?;
            finite("the activation's beta", beta)
        }
        _ => Ok(()),
    }
}

/// `Err` unless an array has the expected shape.
pub(crate) fn check_shape(argument: impl Display, expected: &[usize], found: &[usize]) -> Result<(), Error> {
    if found == expected {
        return Ok(());
    }
    Err(Error::ArrayShape { argument: argument.to_string(), expected: expected.into(), found: found.into() })
}

/// `Err` unless `inputs` are as wide as the cell's input and each of `batch` rows has a length of at most `seq`.
pub(crate) fn check_inputs<C: RnnCell>(
    cell: &C,
    inputs: (usize, usize, usize),
    (batch, seq): (usize, usize),
    sequence_length: Option<&[usize]>,
) -> Result<(), Error> {
    let expected = cell.input_size();
    if inputs.2 != expected {
        return Err(Error::InputSize { expected, inputs });
    }
    let Some(lengths) = sequence_length else { return Ok(()) };
    if lengths.len() != batch {
        return Err(Error::SequenceLengthBatch { found: lengths.len(), batch, inputs });
    }
    check_lengths(lengths, seq, Some(inputs))
}

/// `Err` unless each length is at most `seq`. `inputs` is only for the message.
pub(crate) fn check_lengths(lengths: &[usize], seq: usize, inputs: Option<(usize, usize, usize)>) -> Result<(), Error> {
    match lengths.iter().position(|&length| length > seq) {
        Some(row) => Err(Error::SequenceLengthTooLong { row, length: lengths[row], seq, inputs }),
        None => Ok(()),
    }
}

/// `Err` unless both cells have the same input size.
pub(crate) fn check_directions<C: RnnCell, D: RnnCell>(cell_fw: &C, cell_bw: &D) -> Result<(), Error> {
    let (fw, bw) = (cell_fw.input_size(), cell_bw.input_size());
    if fw == bw { Ok(()) } else { Err(Error::CellInputSize { cell: "cell_bw".into(), expected: fw, found: bw }) }
}

/// Returns the initial state, checked against the cell's, or zeros if there is none.
pub(crate) fn checked_state<C: RnnCell>(
    argument: impl Display,
    cell: &C,
    batch: usize,
    initial_state: Option<C::State>,
) -> Result<C::State, Error> {
    let state = match initial_state {
        None => cell.zero_state(batch),
        Some(state) => {
            let zero = cell.zero_state(0);
            if !fits(&zero, batch, &state) {
                check_state(argument, &leaf_shapes(&zero), batch, &state)?;
            }
            state
        }
    };
    cell.check_state(&state)?;
    Ok(state)
}

/// Whether [`check_state`] will succeed. Does not allocate.
pub(crate) fn fits<E: Float, S: State<E>>(expected: &S, batch: usize, state: &S) -> bool {
    let shape = |wanted: usize| {
        let (mut leaf, mut shape) = (0, None);
        state.visit(&mut |found| {
            if leaf == wanted {
                shape = Some(found.dim());
            }
            leaf += 1;
        });
        shape
    };
    let (mut leaf, mut fits) = (0, true);
    expected.visit(&mut |expected| {
        fits &= shape(leaf).is_some_and(|found| found == (batch, any_width(expected.ncols(), found)));
        leaf += 1;
    });
    fits && shape(leaf).is_none()
}

/// The width a leaf must have: a leaf that is 0 wide in the zero state may have any.
fn any_width(expected: usize, found: (usize, usize)) -> usize {
    if expected == 0 { found.1 } else { expected }
}

/// `Err` unless `state` has `batch` rows, and leaves as many and as wide as the cell's state.
pub(crate) fn check_state<E: Float, S: State<E>>(
    argument: impl Display,
    expected: &[(usize, usize)],
    batch: usize,
    state: &S,
) -> Result<(), Error> {
    let found = leaf_shapes(state);
    if found.len() != expected.len() {
        return Err(Error::StateLeaves {
            argument: argument.to_string(),
            expected: expected.len(),
            found: found.len(),
        });
    }
    for (leaf, (&(_, features), &found)) in expected.iter().zip(&found).enumerate() {
        let expected = (batch, any_width(features, found));
        if found != expected {
            return Err(Error::StateShape { argument: argument.to_string(), leaf, expected, found });
        }
    }
    Ok(())
}

/// The shapes of a state's leaves, in their fixed order.
pub(crate) fn leaf_shapes<E: Float, S: State<E>>(state: &S) -> Vec<(usize, usize)> {
    let mut shapes = Vec::new();
    state.visit(&mut |leaf| shapes.push(leaf.dim()));
    shapes
}
