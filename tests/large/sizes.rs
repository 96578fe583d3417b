//! Very long and very wide runs.

use crate::common::{Rng, array, by_steps, driver, leaves, randomized, rng, state};
use ndarray::{Array2, Array3, Axis, array, s};
use rnn_cell::train;
use rnn_cell::{BasicRnn, Gru, LayerNormLstm, Lstm, MultiRnnCell, RnnCell, State, dynamic_rnn};

#[test]
fn one_unit_and_4099_units() {
    let rng = &mut rng(2);
    for hidden in [1, 4099] {
        check_lstm(&Lstm::<f32>::new(1, hidden, rng), rng);
        check_rows(&BasicRnn::<f32>::new(3, hidden, rng), rng);
        check_rows(&Gru::<f32>::new(1, hidden, rng), rng);
    }
    for hidden in [1, 1025] {
        // A single normalized unit leaves only beta, which is 0 unless changed.
        check_rows(&randomized(LayerNormLstm::<f32>::new(1, hidden, rng), rng), rng);
    }
    check_rows(&Lstm::<f32>::builder(4099, 1).num_proj(4099).build(rng).unwrap(), rng);

    // Backward through 4099 units to two numbers.
    let mut cell = BasicRnn::<f64>::new(1, 4099, rng);
    for hidden in [4099, 1] {
        if hidden == 1 {
            cell = BasicRnn::new(1, 1, rng);
        }
        let x = array![[[0.3], [-0.7]]];
        let (outputs, _, tape) = train::dynamic_rnn(&cell, &x, None, None).unwrap();
        let gradients = tape.backward(&outputs).unwrap();
        let loss = |x: &Array3<f64>| 0.5 * dynamic_rnn(&cell, x, None, None).unwrap().0.mapv(|y| y * y).sum();
        for step in 0..2 {
            let shifted = |by: f64| {
                let mut x = x.clone();
                x[[0, step, 0]] += by;
                loss(&x)
            };
            let difference = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
            let gradient: f64 = gradients.inputs[[0, step, 0]];
            assert!((gradient - difference).abs() < 1e-8 * gradient.abs().max(1.0), "{gradient} {difference}");
        }
    }
}

/// Rows of a batch are finite and have the bits that they have alone.
fn check_rows<C: RnnCell<Elem = f32>>(cell: &C, rng: &mut Rng) {
    let x = array((7, 3, cell.input_size()), rng);
    let (outputs, last) = dynamic_rnn(cell, &x, None, None).unwrap();
    assert!(outputs.iter().all(|y| y.is_finite()) && outputs.iter().any(|&y| y != 0.0));
    for row in 0..7 {
        let (alone, alone_last) = by_steps(cell, x.slice(s![row..=row, .., ..]), cell.zero_state(1));
        assert_eq!(outputs.slice(s![row..=row, .., ..]), alone);
        assert_eq!(leaves(&last.select_rows(&[row])), leaves(&alone_last));
    }
}

/// The first step of a row follows its equations.
fn check_lstm(cell: &Lstm<f32>, rng: &mut Rng) {
    check_rows(cell, rng);
    let (x, hidden) = (array((1, 1, 1), rng), cell.hidden_size());
    let state = state(cell, 1, rng);
    let (outputs, _) = dynamic_rnn(cell, &x, None, Some(state.clone())).unwrap();
    let wide = |array: &Array2<f32>| array.mapv(f64::from);
    let input: Array2<f64> = ndarray::concatenate![Axis(1), array![[f64::from(x[[0, 0, 0]])]], wide(&state.h)];
    let sums = input.dot(&wide(&cell.weights().kernel));
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    for (unit, &y) in outputs.iter().enumerate() {
        let [i, j, f, o] = [0, 1, 2, 3].map(|gate| sums[[0, gate * hidden + unit]]);
        let c = sigmoid(f + 1.0) * f64::from(state.c[[0, unit]]) + sigmoid(i) * j.tanh();
        assert!((f64::from(y) - sigmoid(o) * c.tanh()).abs() < 2e-6, "unit {unit}");
    }
}

const MILLION: usize = 1_000_000;

#[test]
fn a_million_steps() {
    fn check<C: RnnCell<Elem = f64>>(cell: &C) {
        let x = array((1, MILLION, 1), &mut rng(3));
        let (expected, expected_last) = by_steps(cell, x.view(), cell.zero_state(1));
        let (outputs, last) = dynamic_rnn(cell, &x, None, None).unwrap();
        assert!(outputs == expected && leaves(&last) == leaves(&expected_last));
        assert!(outputs.iter().all(|y| y.is_finite()));
    }
    let rng = &mut rng(4);
    check(&BasicRnn::new(1, 3, rng));
    check(&Lstm::builder(1, 3).use_peepholes(true).num_proj(2).build(rng).unwrap());
    check(&MultiRnnCell::new((Gru::new(1, 2, rng), Gru::new(2, 1, rng))).unwrap());
}

#[test]
fn a_million_steps_of_ragged_rows_and_back() {
    let rng = &mut rng(3);
    let cell = Gru::<f64>::new(1, 2, rng);
    let x = array((1, MILLION, 1), rng);
    let (whole, _) = dynamic_rnn(&cell, &x, None, None).unwrap();
    let lengths = [MILLION - 1, 3, MILLION];
    let (ragged, _) = dynamic_rnn(&cell, &ndarray::concatenate![Axis(0), x, x, x], Some(&lengths), None).unwrap();
    for (row, length) in lengths.into_iter().enumerate() {
        assert!(ragged.slice(s![row, ..length, ..]) == whole.slice(s![0, ..length, ..]));
        assert!(ragged.slice(s![row, length.., ..]).iter().all(|&y| y == 0.0));
    }

    let (outputs, _, tape) = train::dynamic_rnn(&cell, &x, None, None).unwrap();
    assert!(outputs == whole);
    let plain = tape.backward(&outputs).unwrap();
    let (_, _, tape) = driver(&cell, None, None).checkpoint_every(1000).record(&x).unwrap();
    let checkpointed = tape.backward(&outputs).unwrap();
    for (plain, checkpointed) in plain.parameters.arrays().iter().zip(checkpointed.parameters.arrays()) {
        let largest = plain.iter().fold(1.0_f64, |largest, d| largest.max(d.abs()));
        assert!(plain.iter().zip(checkpointed).all(|(p, c)| (p - c).abs() <= 1e-9 * largest));
    }
}
