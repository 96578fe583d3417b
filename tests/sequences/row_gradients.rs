//! Gradients of lengths, masks and resets, combined at random, against central differences.

use crate::differences::*;
use crate::rows::{laid_out, problem, recorded, with_rows};
use ndarray::{Array2, Array3};
use rnn_cell::{BidirectionalRnn, DynamicRnn, Gru, Lstm, LstmState, RnnCell};

#[test]
fn one_way_gradients_are_differences() {
    let rng = &mut rng(3);
    for _ in 0..40 {
        let (cell, problem) = (Lstm::<f64>::new(3, 2, rng), problem(rng));
        let initial = random_state(cell.zero_state(problem.x.dim().0), rng);
        let marks = problem.marks();
        fn driver<'a>(cell: &'a Lstm<f64>, initial: &LstmState<f64>, repeat: bool) -> DynamicRnn<'a, 'a, Lstm<f64>> {
            DynamicRnn::new(cell).repeat_masked_outputs(repeat).initial_state(initial.clone())
        }
        let x = laid_out(&problem.given(), problem.time_major);
        let d = random((x.dim().0, x.dim().1, 2), rng);
        let d_last = random_state(initial.clone(), rng);
        let loss = |cell: &_, x: &Array3<f64>, initial: &_| {
            let driver = with_rows!(driver(cell, initial, problem.repeat), problem, marks);
            let (outputs, last) = driver.run(x).unwrap();
            dot(&outputs, &d) + dot(&numbers(&last), &numbers(&d_last))
        };
        let driver = with_rows!(driver(&cell, &initial, problem.repeat), problem, marks);
        let (_, _, tape) = recorded!(driver, problem, &x);
        let back = tape.d_final_state(d_last.clone()).backward(&d).unwrap();
        let weights = of_model(&cell, &back.parameters);
        assert_differences("weight", &weights, |at, by| loss(&moved_weight(&cell, at, by), &x, &initial));
        assert_differences("x", &back.inputs, |at, by| loss(&cell, &moved(&x, at, by), &initial));
        let d_initial = numbers(&back.initial_state);
        assert_differences("initial", &d_initial, |at, by| loss(&cell, &x, &moved_state(&initial, at, by)));
    }
}

#[test]
fn both_ways_gradients_are_differences() {
    let rng = &mut rng(4);
    for _ in 0..40 {
        let (fw, bw, problem) = (Gru::<f64>::new(3, 2, rng), Gru::<f64>::new(3, 1, rng), problem(rng));
        let model = rnn_cell::Bidirectional { fw, bw };
        let batch = problem.x.dim().0;
        let initial = (random_state(model.fw.zero_state(batch), rng), random_state(model.bw.zero_state(batch), rng));
        let marks = problem.marks();
        let x = laid_out(&problem.given(), problem.time_major);
        let (d_fw, d_bw) = (random((x.dim().0, x.dim().1, 2), rng), random((x.dim().0, x.dim().1, 1), rng));
        let d_last = (random_state(initial.0.clone(), rng), random_state(initial.1.clone(), rng));
        type Model = rnn_cell::Bidirectional<Gru<f64>>;
        fn driver<'a>(model: &'a Model, initial: &(Array2<f64>, Array2<f64>)) -> BidirectionalRnn<'a, 'a, Gru<f64>> {
            let driver = BidirectionalRnn::new(&model.fw, &model.bw);
            driver.initial_state_fw(initial.0.clone()).initial_state_bw(initial.1.clone())
        }
        let loss = |model: &Model, x: &Array3<f64>, initial: &_| {
            let (outputs, last) = with_rows!(driver(model, initial), problem, marks).run(x).unwrap();
            let states = dot(&last.0, &d_last.0) + dot(&last.1, &d_last.1);
            dot(&outputs.0, &d_fw) + dot(&outputs.1, &d_bw) + states
        };
        let (_, _, tape) = recorded!(with_rows!(driver(&model, &initial), problem, marks), problem, &x);
        let back =
            tape.d_final_state_fw(d_last.0.clone()).d_final_state_bw(d_last.1.clone()).backward(&d_fw, &d_bw).unwrap();
        let weights = of_model(&model, &back.parameters);
        assert_differences("weight", &weights, |at, by| loss(&moved_weight(&model, at, by), &x, &initial));
        assert_differences("x", &back.inputs, |at, by| loss(&model, &moved(&x, at, by), &initial));
        let d_initial = numbers(&back.initial_states);
        assert_differences("initial", &d_initial, |at, by| loss(&model, &x, &moved_state(&initial, at, by)));
    }
}
