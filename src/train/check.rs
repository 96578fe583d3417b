//! [`gradient_error`]: compares gradients with central differences.

use super::{TrainableCell, dynamic_rnn};
use crate::{Error, Float, RnnCell, State};
use ndarray::{Array3, ArrayRef3};

/// Measures how far a cell's gradients are from central differences: the largest |error| / max(1, |gradient|) over
/// every number of the parameters, the inputs and the initial state.
///
/// The loss is a fixed weighted sum of all outputs and final states. A correct gradient of a smooth cell gives about
/// 1e-9 in `f64`. The cell runs twice per number, so keep sizes small. Avoid points without a derivative. The cell's
/// parameters come back up to rounding.
///
/// # Errors
/// As [`dynamic_rnn`](crate::dynamic_rnn).
///
/// # Panics
/// If [`visit_parameters`](crate::Parameters::visit_parameters) and
/// [`visit_parameters_mut`](crate::ParametersMut::visit_parameters_mut) differ in names, order or shapes.
pub fn gradient_error<C: TrainableCell>(
    cell: &mut C,
    inputs: &ArrayRef3<C::Elem>,
    sequence_length: Option<&[usize]>,
    initial_state: Option<C::State>,
) -> Result<f64, Error> {
    check_visits(cell);
    let state = initial_state.unwrap_or_else(|| cell.zero_state(inputs.dim().0));
    let (outputs, final_state, tape) = dynamic_rnn(&*cell, inputs, sequence_length, Some(state.clone()))?;
    let loss = Loss::<C>::new(sequence_length, outputs.dim(), final_state);
    let gradients = tape.d_final_state(loss.d_state.clone()).backward(&loss.d_outputs)?;
    let mut worst = Worst(0.0);

    for (parameter, array) in gradients.parameters.arrays().iter().enumerate() {
        for (at, &gradient) in array.iter().enumerate() {
            let mut shifted = |by: f64| {
                shift_parameter(cell, parameter, at, by);
                loss.of(cell, inputs, state.clone())
            };
            let (more, less) = (shifted(STEP)?, shifted(-2.0 * STEP)?);
            shifted(STEP)?;
            worst.compare::<C>(gradient, more, less);
        }
    }
    let mut x = inputs.to_owned();
    for (index, &gradient) in gradients.inputs.indexed_iter() {
        let kept = x[index];
        let mut shifted = |by: f64| {
            x[index] = kept + C::Elem::of(by);
            loss.of(cell, &x, state.clone())
        };
        worst.compare::<C>(gradient, shifted(STEP)?, shifted(-STEP)?);
        x[index] = kept;
    }
    let mut d_initial = Vec::new();
    gradients.initial_state.visit(&mut |leaf| d_initial.extend(leaf.iter().copied()));
    for (at, gradient) in d_initial.into_iter().enumerate() {
        let shifted = |by: f64| {
            let mut state = state.clone();
            let mut index = 0;
            state.visit_mut(&mut |mut leaf| {
                for value in &mut leaf {
                    if next(&mut index) == at {
                        *value += C::Elem::of(by);
                    }
                }
            });
            loss.of(cell, inputs, state)
        };
        worst.compare::<C>(gradient, shifted(STEP)?, shifted(-STEP)?);
    }
    Ok(worst.0)
}

/// # Panics
/// If the two visits of parameters differ.
fn check_visits<C: TrainableCell>(cell: &mut C) {
    let (mut seen, mut changed) = (Vec::new(), Vec::new());
    cell.visit_parameters(&mut |name, array| seen.push((name.to_owned(), array.shape().to_owned())));
    cell.visit_parameters_mut(&mut |name, array| changed.push((name.to_owned(), array.shape().to_owned())));
    assert_eq!(seen, changed, "visit_parameters and visit_parameters_mut must visit the same");
}

/// Adds `by` to the number at position `at` of the parameter at position `parameter`.
fn shift_parameter<C: TrainableCell>(cell: &mut C, parameter: usize, at: usize, by: f64) {
    let mut index = 0;
    cell.visit_parameters_mut(&mut |_, mut value| {
        if next(&mut index) == parameter {
            *value.iter_mut().nth(at).expect("a gradient has its parameter's shape") += C::Elem::of(by);
        }
    });
}

/// A fixed weighted sum of all outputs and final states. The weights are its gradients.
struct Loss<'a, C: RnnCell> {
    sequence_length: Option<&'a [usize]>,
    d_outputs: Array3<C::Elem>,
    d_state: C::State,
}

impl<'a, C: RnnCell> Loss<'a, C> {
    /// `state` may be any state with the shape of the final one.
    fn new(sequence_length: Option<&'a [usize]>, outputs: (usize, usize, usize), state: C::State) -> Self {
        let d_outputs = Array3::from_shape_fn(outputs, |(b, t, o)| weight(b * 31 + t * 7 + o));
        let mut d_state = state;
        let mut at = 0;
        d_state.visit_mut(&mut |mut leaf| leaf.iter_mut().for_each(|d| *d = weight(next(&mut at))));
        Self { sequence_length, d_outputs, d_state }
    }

    fn of(&self, cell: &C, inputs: &ArrayRef3<C::Elem>, state: C::State) -> Result<f64, Error> {
        let (outputs, state) = crate::dynamic_rnn(cell, inputs, self.sequence_length, Some(state))?;
        let mut loss: f64 = outputs.iter().zip(&self.d_outputs).map(|(y, d)| y.as_f64() * d.as_f64()).sum();
        let mut weights = Vec::new();
        self.d_state.visit(&mut |leaf| weights.extend(leaf.iter().map(|d| d.as_f64())));
        let mut weights = weights.into_iter();
        state.visit(&mut |leaf| loss += leaf.iter().zip(&mut weights).map(|(y, d)| y.as_f64() * d).sum::<f64>());
        Ok(loss)
    }
}

/// The step of the differences. Their error is of order `STEP`², plus rounding errors divided by `STEP`.
const STEP: f64 = 1e-5;

struct Worst(f64);

impl Worst {
    fn compare<C: RnnCell>(&mut self, gradient: C::Elem, more: f64, less: f64) {
        let (gradient, difference) = (gradient.as_f64(), (more - less) / (2.0 * STEP));
        let error = (gradient - difference).abs() / gradient.abs().max(1.0);
        // A NaN is the worst of all, and stays.
        if error.is_nan() || error > self.0 {
            self.0 = error;
        }
    }
}

/// A weight between −1 and 1 that depends only on `index`.
fn weight<E: Float>(index: usize) -> E {
    E::of((index as f64 * 1.7 + 0.3).sin())
}

fn next(counter: &mut usize) -> usize {
    *counter += 1;
    *counter - 1
}

#[cfg(test)]
mod tests {
    use super::Worst;

    #[test]
    fn a_nan_is_the_worst_and_stays() {
        let mut worst = Worst(0.0);
        for gradient in [0.5, f64::NAN, 0.25] {
            worst.compare::<crate::BasicRnn<f64>>(gradient, 0.0, 0.0);
        }
        assert!(worst.0.is_nan());
    }
}
