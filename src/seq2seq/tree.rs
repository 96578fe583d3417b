//! [`gather_tree`]: whole beams from each step's tokens and parents.

use crate::Error;
use crate::checks::check_shape;
use ndarray::{Array3, ArrayRef3};

/// Follows the parents of a beam search from the last step back: TensorFlow's `gather_tree`. Returns the beams' tokens,
/// (steps, batch, beam).
///
/// `step_ids` and `parent_ids` are (steps, batch, beam): the tokens of each step, and the beam of the step before that
/// each came from. Past the row's longest length, and after a beam's first end token, every token is `end_token`. A
/// length beyond the steps counts as all steps.
///
/// # Errors
/// - [`Error::ArrayShape`] if `parent_ids` or the lengths (batch) do not have the shape of `step_ids`.
/// - [`Error::OutOfBounds`] if a parent that is looked at is no beam. (TensorFlow reads beyond it if it equals the
///   number of beams.)
pub fn gather_tree(
    step_ids: &ArrayRef3<usize>,
    parent_ids: &ArrayRef3<usize>,
    max_sequence_lengths: &[usize],
    end_token: usize,
) -> Result<Array3<usize>, Error> {
    let (steps, batch, width) = step_ids.dim();
    check_shape("parent_ids", &[steps, batch, width], parent_ids.shape())?;
    check_shape("max_sequence_lengths", &[batch], &[max_sequence_lengths.len()])?;
    let mut beams = Array3::from_elem((steps, batch, width), end_token);
    for (row, &length) in max_sequence_lengths.iter().enumerate() {
        for beam in 0..width {
            let mut from = beam;
            for step in (0..length.min(steps)).rev() {
                beams[[step, row, beam]] = step_ids[[step, row, from]];
                let parent = parent_ids[[step, row, from]];
                if step > 0 && parent >= width {
                    let argument = format!("parent_ids[{step}, {row}, {from}]");
                    return Err(Error::OutOfBounds { argument, found: parent, count: width, of: "beams" });
                }
                from = parent;
            }
            let mut ended = false;
            for step in 0..steps {
                if ended {
                    beams[[step, row, beam]] = end_token;
                }
                ended |= beams[[step, row, beam]] == end_token;
            }
        }
    }
    Ok(beams)
}
