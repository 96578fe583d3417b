//! Recorded loops: gradients of everything that a closure sets and reads, against recorded runs and differences.

use crate::differences::*;
use ndarray::{Array2, Array3, s};
use rnn_cell::train::{Gradients, RawStepBack, RawTape};
use rnn_cell::{Dense, DynamicRnn, Error, Gru, Lstm, LstmState, RawRnn, RawStep, RnnCell};

/// Rows of these lengths.
const LENGTHS: [usize; 4] = [3, 0, 5, 2];

fn finish<C: RnnCell>(step: &mut RawStep<'_, C>) {
    for (finished, length) in step.finished.iter_mut().zip(LENGTHS) {
        *finished = step.time >= length;
    }
}

/// A loop over inputs that are known is a run over them.
#[test]
fn a_loop_over_given_inputs_is_a_run() {
    let rng = &mut rng(31);
    let cell = Lstm::<f64>::new(3, 2, rng);
    let (x, initial) = (random((5, 4, 3), rng), random_state(cell.zero_state(4), rng));
    let (d, d_last) = (random((5, 4, 2), rng), random_state(cell.zero_state(4), rng));
    let driver = DynamicRnn::new(&cell).time_major(true).sequence_length(&LENGTHS).initial_state(initial.clone());
    let (expected, expected_last, tape) = driver.record(&x).unwrap();
    let expected_back = tape.d_final_state(d_last.clone()).backward(&d).unwrap();

    let driver = RawRnn::new(&cell, 4).initial_state(initial);
    let (outputs, last, tape) = driver
        .record(|step| {
            finish(step);
            if step.time < 5 {
                step.next_input.assign(&x.slice(s![step.time, .., ..]));
            }
        })
        .unwrap();
    assert_eq!((outputs, last), (expected, expected_last));
    let mut times = Vec::new();
    let back = tape.d_final_state(d_last).backward(&d, |step| times.push(step.time)).unwrap();
    assert_eq!(times, [5, 4, 3, 2, 1, 0]);
    let close = |found: &[f64], expected: &[f64]| {
        assert_eq!(found.len(), expected.len());
        found.iter().zip(expected).for_each(|(a, b)| assert!((a - b).abs() < 1e-13, "{a}, but {b}"));
    };
    close(back.inputs.as_slice().unwrap(), expected_back.inputs.as_slice().unwrap());
    close(&numbers(&back.initial_state), &numbers(&expected_back.initial_state));
    close(&of_model(&cell, &back.parameters), &of_model(&cell, &expected_back.parameters));
}

/// A model whose loop does all that a loop can: it reads its own outputs through a layer and the states, emits what it
/// made, changes the state, keeps an input for two steps, and finishes rows at different times.
#[derive(Clone)]
struct Model {
    cell: Lstm<f64>,
    dense: Dense<f64>,
}

const HALVED: usize = 2;

impl Model {
    fn new(rng: &mut Rng) -> Self {
        let mut model = Self { cell: Lstm::new(3, 2, rng), dense: Dense::new(2, 3, rng) };
        rnn_cell::ParametersMut::visit_parameters_mut(&mut model.dense, &mut |_, mut array| {
            array.mapv_inplace(|x| x + 0.1);
        });
        model
    }

    /// Emits y = dense(output), and reads y + 0.3 · c in the next step, where it is known. `seen` keeps the outputs.
    fn step(&self, step: &mut RawStep<'_, Lstm<f64>>, seen: &mut Vec<Array2<f64>>) -> Result<(), Error> {
        finish(step);
        let mut fed = Array2::<f64>::from_elem((4, 3), 0.5);
        if let Some(output) = step.output {
            let y = self.dense.forward(&output)?;
            fed.assign(&y);
            step.emit = Some(y);
            seen.push(output.to_owned());
        }
        fed.slice_mut(s![.., ..2]).scaled_add(0.3, &step.state.c);
        // Step 3 reads what step 2 read.
        if step.time != 3 {
            step.next_input.assign(&fed);
        }
        if step.time == HALVED {
            step.state.h *= 0.5;
        }
        Ok(())
    }

    fn back(&self, step: &mut RawStepBack<'_, Lstm<f64>>, kept: &mut Back) -> Result<(), Error> {
        if step.time == HALVED {
            step.d_state.h *= 0.5;
        }
        let mut d_fed = step.d_next_input.to_owned();
        if step.time == 3 {
            kept.later = std::mem::replace(&mut d_fed, Array2::zeros((4, 3)));
        } else if step.time == 2 {
            d_fed += &kept.later;
        }
        step.d_state.c.scaled_add(0.3, &d_fed.slice(s![.., ..2]));
        let (Some(d_emit), Some(d_output)) = (&step.d_emit, &mut step.d_output) else { return Ok(()) };
        assert!(d_output.iter().all(|&d| d == 0.0), "the call has emitted something else");
        let (d, d_dense) = self.dense.backward(&kept.seen.pop().unwrap(), &(d_emit + &d_fed))?;
        *d_output += &d;
        kept.dense.add(&d_dense)
    }
}

struct Back {
    seen: Vec<Array2<f64>>,
    later: Array2<f64>,
    dense: Gradients<f64>,
}

#[test]
fn a_loop_that_feeds_back_agrees_with_differences() {
    let rng = &mut rng(32);
    let model = Model::new(rng);
    let initial = random_state(model.cell.zero_state(4), rng);
    let (d, d_last) = (random((5, 4, 3), rng), random_state(model.cell.zero_state(4), rng));
    let loss = |model: &Model, initial: &LstmState<f64>| {
        let driver = RawRnn::new(&model.cell, 4).initial_state(initial.clone());
        let mut seen = Vec::new();
        let (outputs, last) = driver.try_run::<Error>(|step| model.step(step, &mut seen)).unwrap();
        dot(&outputs, &d) + dot(&numbers(&last), &numbers(&d_last))
    };
    let mut seen = Vec::new();
    let driver = RawRnn::new(&model.cell, 4).initial_state(initial.clone());
    let (outputs, last, tape) = driver.try_record::<Error>(|step| model.step(step, &mut seen)).unwrap();
    assert_eq!(dot(&outputs, &d) + dot(&numbers(&last), &numbers(&d_last)), loss(&model, &initial));

    let mut kept = Back { seen, later: Array2::zeros((4, 3)), dense: Gradients::zeros(&model.dense) };
    let back =
        tape.d_final_state(d_last.clone()).try_backward::<Error>(&d, |step| model.back(step, &mut kept)).unwrap();
    let weights = of_model(&model.cell, &back.parameters);
    assert_differences("weight of the cell", &weights, |at, by| {
        loss(&Model { cell: moved_weight(&model.cell, at, by), ..model.clone() }, &initial)
    });
    let weights = of_model(&model.dense, &kept.dense);
    assert_differences("weight of the layer", &weights, |at, by| {
        loss(&Model { dense: moved_weight(&model.dense, at, by), ..model.clone() }, &initial)
    });
    let d_initial = numbers(&back.initial_state);
    assert_differences("initial", &d_initial, |at, by| loss(&model, &moved_state(&initial, at, by)));
}

/// Without an emission of its own, a call's gradient starts with that of the output.
#[test]
fn an_output_fed_back_and_emitted_agrees_with_differences() {
    let rng = &mut rng(33);
    let cell = Gru::<f64>::new(2, 2, rng);
    let (initial, d) = (random((4, 2), rng), random((5, 4, 2), rng));
    fn feed(step: &mut RawStep<'_, Gru<f64>>) {
        finish(step);
        if let Some(output) = step.output {
            step.next_input.assign(&output);
        }
    }
    let loss = |cell: &Gru<f64>, initial: &Array2<f64>| {
        dot(&RawRnn::new(cell, 4).initial_state(initial.clone()).run(feed).unwrap().0, &d)
    };
    let (_, _, tape) = RawRnn::new(&cell, 4).initial_state(initial.clone()).record(feed).unwrap();
    let back = tape
        .backward(&d, |step| {
            if let Some(d_output) = &mut step.d_output {
                *d_output += &step.d_next_input;
            }
        })
        .unwrap();
    let weights = of_model(&cell, &back.parameters);
    assert_differences("weight", &weights, |at, by| loss(&moved_weight(&cell, at, by), &initial));
    assert_differences("initial", &back.initial_state, |at, by| loss(&cell, &moved(&initial, at, by)));
}

#[test]
fn a_loop_without_steps_hands_the_gradient_of_its_state_back() {
    let cell = Gru::<f64>::new(2, 2, &mut rng(34));
    let (outputs, _, tape) = RawRnn::new(&cell, 3).record(|step| step.finished.fill(true)).unwrap();
    let d_last = random((3, 2), &mut rng(35));
    let back = tape.d_final_state(d_last.clone()).backward(&outputs, |step| assert!(step.d_output.is_none())).unwrap();
    assert_eq!(back.initial_state, d_last);
    assert!(back.parameters.arrays().iter().flatten().all(|&d| d == 0.0));
}

#[test]
fn gradients_that_do_not_fit_are_errors() {
    let cell = Gru::<f64>::new(2, 2, &mut rng(36));
    let tape = || -> RawTape<'_, _> { RawRnn::new(&cell, 4).record(finish).unwrap().2 };
    let d = Array3::zeros((5, 4, 2));
    let error = tape().backward(&Array3::zeros((4, 4, 2)), |_| ()).unwrap_err();
    assert_eq!(error.to_string(), "d_outputs has shape [4, 4, 2], but must have [5, 4, 2]");
    let error = tape().d_final_state(Array2::zeros((3, 2))).backward(&d, |_| ()).unwrap_err();
    assert!(matches!(&error, Error::StateShape { argument, .. } if argument == "d_final_state"), "{error}");
    let error = tape().backward(&d, |step| *step.d_state = Array2::zeros((4, 3))).unwrap_err();
    assert!(matches!(&error, Error::StateShape { argument, .. } if argument == "d_state at time 5"), "{error}");
    let failing = tape().try_backward(&d, |step| match step.time {
        2 => Err(Error::ZeroSize { argument: "mine" }),
        _ => Ok(()),
    });
    assert_eq!(failing.unwrap_err(), Error::ZeroSize { argument: "mine" });
}
