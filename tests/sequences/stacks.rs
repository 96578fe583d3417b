//! Recorded stacks of bidirectional layers, of a depth known at run time.

use crate::differences::*;
use crate::rows::{laid_out, problem, recorded, with_rows};
use ndarray::{Array2, Array3};
use rand::RngExt;
use rnn_cell::train::StackBidirectionalTape;
use rnn_cell::{Bidirectional, Error, Gru, RnnCell, StackBidirectionalRnn};

type Model = Bidirectional<Vec<Gru<f64>>>;

fn model(depth: usize, rng: &mut Rng) -> Model {
    let mut model = Bidirectional { fw: Vec::new(), bw: Vec::new() };
    let mut width = 3;
    for layer in 0..depth {
        model.fw.push(Gru::new(width, 2 - layer % 2, rng));
        model.bw.push(Gru::new(width, 1, rng));
        width = model.fw[layer].output_size() + 1;
    }
    model
}

type States = (Vec<Array2<f64>>, Vec<Array2<f64>>);

fn states(model: &Model, batch: usize, rng: &mut Rng) -> States {
    let mut random =
        |cells: &[Gru<f64>]| -> Vec<_> { cells.iter().map(|cell| random_state(cell.zero_state(batch), rng)).collect() };
    (random(&model.fw), random(&model.bw))
}

#[test]
fn gradients_are_differences() {
    let rng = &mut rng(21);
    for round in 0..24 {
        let (model, problem) = (model(round % 3 + 1, rng), problem(rng));
        let initial = states(&model, problem.x.dim().0, rng);
        let (x, marks) = (laid_out(&problem.given(), problem.time_major), problem.marks());
        fn driver<'a>(model: &'a Model, initial: &States) -> StackBidirectionalRnn<'a, 'a, Gru<f64>> {
            let driver = StackBidirectionalRnn::new(&model.fw, &model.bw);
            driver.initial_states_fw(initial.0.clone()).initial_states_bw(initial.1.clone())
        }
        let run = |model: &_, x: &Array3<f64>, initial: &_| {
            with_rows!(driver(model, initial), problem, marks).run(x).unwrap()
        };
        let (expected, expected_fw, expected_bw) = run(&model, &x, &initial);
        let (outputs, last, tape) = recorded!(with_rows!(driver(&model, &initial), problem, marks), problem, &x);
        assert_eq!((&outputs, &last), (&expected, &(expected_fw, expected_bw)));

        let d = random(outputs.dim(), rng);
        let with_states: bool = rng.random();
        let d_last = states(&model, problem.x.dim().0, rng);
        let loss = |model: &Model, x: &Array3<f64>, initial: &States| {
            let (outputs, fw, bw) = run(model, x, initial);
            let states = dot(&numbers(&(fw, bw)), &numbers(&d_last));
            dot(&outputs, &d) + if with_states { states } else { 0.0 }
        };
        let tape = match with_states {
            true => tape.d_final_states_fw(d_last.0.clone()).d_final_states_bw(d_last.1.clone()),
            false => tape,
        };
        let back = tape.backward(&d).unwrap();
        let weights = of_model(&model, &back.parameters);
        assert_differences("weight", &weights, |at, by| loss(&moved_weight(&model, at, by), &x, &initial));
        assert_differences("x", &back.inputs, |at, by| loss(&model, &moved(&x, at, by), &initial));
        let d_initial = numbers(&back.initial_states);
        assert_differences("initial", &d_initial, |at, by| loss(&model, &x, &moved_state(&initial, at, by)));
    }
}

#[test]
fn a_tape_outlives_the_lengths_and_refuses_what_does_not_fit() {
    let model = model(2, &mut rng(22));
    let x = Array3::zeros((2, 3, 3));
    let record = || -> StackBidirectionalTape<'_, _> {
        let lengths = vec![3, 1];
        StackBidirectionalRnn::new(&model.fw, &model.bw).sequence_length(&lengths).record(&x).unwrap().2
    };
    let state = |width| Array2::zeros((2, width));
    let d = Array3::zeros((2, 3, 2));
    assert!(record().d_final_states_fw(vec![state(2), state(1)]).backward(&d).is_ok());
    let error =
        |result: Result<_, Error>| result.map(|_: rnn_cell::train::BidirectionalGradients<_, _>| ()).unwrap_err();
    let found = error(record().backward(&Array3::zeros((2, 3, 3))));
    assert_eq!(found.to_string(), "d_outputs has shape [2, 3, 3], but must have [2, 3, 2]");
    let found = error(record().d_final_states_bw(vec![state(1)]).backward(&d));
    assert!(matches!(found, Error::LayerCount { argument: "d_final_states_bw", expected: 2, found: 1 }));
    let found = error(record().d_final_states_fw(vec![state(2), state(2)]).backward(&d));
    assert!(matches!(&found, Error::StateShape { argument, .. } if argument == "d_final_states_fw[1]"), "{found}");
    let driver = StackBidirectionalRnn::new(&model.fw, &model.bw).checkpoint_every(0);
    assert!(matches!(driver.record(&x).map(|_| ()), Err(Error::ZeroSize { argument: "checkpoint_every" })));
}
