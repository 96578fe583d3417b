//! Backward runs of a [`TrainableFusedCell`].

use super::cell::{Seen, TrainableFusedCell, leaves};
use super::{Record, Samples, Workspace};
use crate::back::{Back, Part};
use crate::kernel::Driver;
use crate::kernel::recurrence;
use crate::{Float, Parameters};
use ndarray::Ix3;

/// Runs a record backward, as [`TrainableCell::unroll_backward`](crate::train::TrainableCell::unroll_backward) does.
///
/// # Panics
/// If the shapes disagree, or the record is of other sizes.
#[track_caller]
pub fn unroll_backward<C: TrainableFusedCell>(
    cell: &C,
    record: Record<C::Elem>,
    back: Back<'_, C::Elem, Ix3, C::State, C::Gradient>,
    workspace: &mut Workspace<C::Elem>,
) {
    run_back(cell, record, back, workspace, false);
}

/// Like [`unroll_backward`], but the gradients of the parameters may wait in `workspace` for [`finish_backward`], as
/// [`TrainableCell::part_backward`](crate::train::TrainableCell::part_backward) says.
///
/// # Panics
/// As [`unroll_backward`].
#[track_caller]
pub fn part_backward<C: TrainableFusedCell>(
    cell: &C,
    record: Record<C::Elem>,
    back: Back<'_, C::Elem, Ix3, C::State, C::Gradient>,
    workspace: &mut Workspace<C::Elem>,
) {
    run_back(cell, record, back, workspace, true);
}

/// Adds the gradients of the parameters that [`part_backward`] left in `workspace`.
///
/// # Panics
/// If the gradients are of another cell.
#[track_caller]
pub fn finish_backward<C: TrainableFusedCell>(
    cell: &C,
    gradient: &mut C::Gradient,
    workspace: &mut Workspace<C::Elem>,
) {
    check_gradient(cell, gradient);
    let mut finish = |samples: &mut Samples<'_, C::Elem>| cell.gradients(samples, gradient);
    C::Elem::finish_backward(cell.stages().plan(), workspace, &mut finish);
}

#[track_caller]
fn run_back<C: TrainableFusedCell>(
    cell: &C,
    record: Record<C::Elem>,
    back: Back<'_, C::Elem, Ix3, C::State, C::Gradient>,
    workspace: &mut Workspace<C::Elem>,
    gather: bool,
) {
    let Back { inputs, d_outputs, d_state, d_inputs, gradient } = back;
    let part = Part(workspace);
    check_gradient(cell, gradient);
    let back = recurrence::Back {
        inputs: inputs.view(),
        d_outputs: d_outputs.view(),
        d_inputs: d_inputs.view_mut(),
        d_leaves: leaves(cell, d_state),
        gather,
    };
    let mut finish = |samples: &mut Samples<'_, C::Elem>| cell.gradients(samples, gradient);
    C::Elem::unroll_backward(&Seen(cell), cell.stages().plan(), record, back, part.0, &mut finish);
    part.end();
}

/// # Panics
/// Unless there is one gradient per parameter, with its name and shape.
#[track_caller]
fn check_gradient<C: TrainableFusedCell>(cell: &C, gradient: &C::Gradient) {
    const MOST_PARAMETERS: usize = 16;
    let mut keys = [[0; 3]; MOST_PARAMETERS];
    let mut count = 0;
    gradient.visit_parameters(&mut |name, gradient| {
        if let Some(key) = keys.get_mut(count) {
            *key = key_of(name, gradient.shape());
        }
        count += 1;
    });
    let mut at = 0;
    cell.visit_parameters(&mut |name, parameter| {
        let shape = parameter.shape();
        if at >= count || keys.get(at).is_some_and(|key| *key != key_of(name, shape)) {
            let found = described(gradient, at);
            panic!("parameter {at} of the gradient is {found}, but the cell's is {name} {shape:?}");
        }
        at += 1;
    });
    assert_eq!(at, count, "there must be one gradient per parameter");
}

/// What tells a parameter from others, without memory for its name.
fn key_of(name: &str, shape: &[usize]) -> [usize; 3] {
    let name = name.bytes().fold(0, |key: usize, byte| key.wrapping_mul(31).wrapping_add(byte.into()));
    [name, shape.first().copied().unwrap_or(1), shape.iter().skip(1).product()]
}

/// Name and shape of a parameter.
#[cold]
fn described<E: Float>(parameters: &impl Parameters<E>, wanted: usize) -> String {
    let (mut found, mut at) = (String::from("nothing"), 0);
    parameters.visit_parameters(&mut |name, parameter| {
        if at == wanted {
            found = format!("{name} {:?}", parameter.shape());
        }
        at += 1;
    });
    found
}
