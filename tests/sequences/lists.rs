//! Recorded runs over lists of steps give what recorded runs over arrays give, bit for bit.

use crate::differences::*;
use crate::rows::{Problem, laid_out, problem, recorded, with_rows};
use ndarray::{Array2, Array3, Axis, concatenate, stack};
use rnn_cell::{BidirectionalRnn, DynamicRnn, Gru, Lstm};

/// A problem of at least one step, and its steps.
fn listed(rng: &mut Rng) -> (Problem, Vec<Array2<f64>>) {
    let problem = std::iter::repeat_with(|| problem(rng)).find(|problem| problem.x.dim().1 > 0).unwrap();
    let steps = problem.given().axis_iter(Axis(1)).map(|step| step.to_owned()).collect();
    (problem, steps)
}

fn by_step(array: &Array3<f64>, time_major: bool) -> Array3<f64> {
    laid_out(array, !time_major)
}

#[test]
fn one_way_is_a_run_over_an_array() {
    let rng = &mut rng(11);
    for _ in 0..100 {
        let (cell, (problem, steps)) = (Lstm::<f64>::new(3, 2, rng), listed(rng));
        let (x, marks) = (laid_out(&problem.given(), problem.time_major), problem.marks());
        let driver = || with_rows!(DynamicRnn::new(&cell), problem, marks).repeat_masked_outputs(problem.repeat);
        let (expected, expected_last, expected_tape) = recorded!(driver(), problem, &x);
        let (outputs, last, tape) = recorded!(driver(), problem, &steps, record_steps);
        let views: Vec<_> = outputs.iter().map(|output| output.view()).collect();
        assert_eq!(stack(Axis(0), &views).unwrap(), by_step(&expected, problem.time_major));
        assert_eq!(last, expected_last);

        let d = random(expected.dim(), rng);
        let d_steps: Vec<_> = by_step(&d, problem.time_major).outer_iter().map(|step| step.to_owned()).collect();
        let expected = expected_tape.d_final_state(last.clone()).backward(&d).unwrap();
        let found = tape.d_final_state(last).backward_steps(&d_steps).unwrap();
        assert_eq!(found.inputs, by_step(&expected.inputs, problem.time_major));
        assert_eq!((found.parameters, found.initial_state), (expected.parameters, expected.initial_state));
    }
}

#[test]
fn both_ways_are_a_run_over_an_array() {
    let rng = &mut rng(12);
    for _ in 0..100 {
        let (fw, bw, (problem, steps)) = (Gru::<f64>::new(3, 2, rng), Gru::<f64>::new(3, 1, rng), listed(rng));
        let (x, marks) = (laid_out(&problem.given(), problem.time_major), problem.marks());
        let driver = || with_rows!(BidirectionalRnn::new(&fw, &bw), problem, marks);
        let ((out_fw, out_bw), expected_states, expected_tape) = recorded!(driver(), problem, &x);
        let (outputs, states, tape) = recorded!(driver(), problem, &steps, record_steps);
        let views: Vec<_> = outputs.iter().map(|output| output.view()).collect();
        let expected = by_step(&concatenate![Axis(2), out_fw, out_bw], problem.time_major);
        assert_eq!(stack(Axis(0), &views).unwrap(), expected);
        assert_eq!(states, expected_states);

        let (d_fw, d_bw) = (random(out_fw.dim(), rng), random(out_bw.dim(), rng));
        let d = by_step(&concatenate![Axis(2), d_fw, d_bw], problem.time_major);
        let d_steps: Vec<_> = d.outer_iter().collect();
        let (last_fw, last_bw) = states;
        let expected = expected_tape
            .d_final_state_fw(last_fw.clone())
            .d_final_state_bw(last_bw.clone())
            .backward(&d_fw, &d_bw)
            .unwrap();
        let found = tape.d_final_state_fw(last_fw).d_final_state_bw(last_bw).backward_steps(&d_steps).unwrap();
        assert_eq!(found.inputs, by_step(&expected.inputs, problem.time_major));
        assert_eq!((found.parameters, found.initial_states), (expected.parameters, expected.initial_states));
    }
}

#[test]
fn lists_that_do_not_fit_are_errors() {
    let cell = Gru::<f64>::new(3, 2, &mut rng(13));
    let (steps, none) = (vec![Array2::zeros((4, 3)); 2], Vec::<Array2<f64>>::new());
    let driver = || DynamicRnn::new(&cell);
    let error = driver().record_steps(&none).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "inputs.len() is 0, but must be at least 1");
    let tape = || driver().record_steps(&steps).unwrap().2;
    let error = tape().backward_steps(&none).unwrap_err();
    assert_eq!(error.to_string(), "d_outputs has shape [0], but must have [2]");
    let error = tape().backward_steps(&[Array2::zeros((4, 2)), Array2::zeros((1, 2))]).unwrap_err();
    assert_eq!(error.to_string(), "d_outputs[1] has shape [1, 2], but must have [4, 2]");
    let (_, _, tape) = BidirectionalRnn::new(&cell, &cell).record_steps(&steps).unwrap();
    let error = tape.backward_steps(&vec![Array2::zeros((4, 3)); 2]).unwrap_err();
    assert_eq!(error.to_string(), "d_outputs[0] has shape [4, 3], but must have [4, 4]");
}
