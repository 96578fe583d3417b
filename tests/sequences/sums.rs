//! Gradients that are added, scaled and joined; learned initial states.

use crate::differences::*;
use ndarray::{Array2, Array3, ArrayD, arr1, array};
use rnn_cell::train::{Gradients, LearnedState, Parts};
use rnn_cell::{
    DynamicRnn, Error, Gru, Lstm, LstmState, MultiRnnCell, Parameters, ParametersMut, RnnCell, State, dynamic_rnn,
};

rnn_cell::parameters! {
    struct Weights {
        "a" a: ndarray::Array1<E>,
        "b" b: Array2<E>,
    }
}

fn gradients(first: f64) -> Gradients<f64> {
    Gradients::of(Weights { a: arr1(&[first, 2.0]), b: array![[3.0]] })
}

fn numbers_of(gradients: &Gradients<f64>) -> Vec<f64> {
    gradients.arrays().iter().flatten().copied().collect()
}

#[test]
fn sums_and_multiples() {
    let mut sum = gradients(1.0);
    sum.add(&gradients(-5.0)).unwrap();
    assert_eq!(numbers_of(&sum), [-4.0, 4.0, 6.0]);
    sum.scale(0.5);
    assert_eq!(numbers_of(&sum), [-2.0, 2.0, 3.0]);
}

/// Half a batch twice, averaged, is the whole batch.
#[test]
fn gradients_of_parts_of_a_batch_add_up() {
    let rng = &mut rng(51);
    let (cell, x) = (Lstm::<f64>::new(3, 2, rng), random((4, 5, 3), rng));
    let of = |x: &Array3<f64>| {
        let (outputs, _, tape) = DynamicRnn::new(&cell).record(x).unwrap();
        tape.backward(&outputs).unwrap().parameters
    };
    let mut sum = of(&x.slice(ndarray::s![..3, .., ..]).to_owned());
    sum.add(&of(&x.slice(ndarray::s![3.., .., ..]).to_owned())).unwrap();
    let whole = of(&x);
    numbers_of(&sum).iter().zip(numbers_of(&whole)).for_each(|(a, b)| assert!((a - b).abs() < 1e-13));
}

#[test]
fn gradients_of_other_models_are_not_added() {
    let refused = |other: &Gradients<f64>, message: &str| {
        let mut sum = gradients(1.0);
        assert_eq!(sum.add(other).unwrap_err().to_string(), message);
        assert_eq!(sum, gradients(1.0));
    };
    let other = |names: &[(&str, usize)]| {
        Gradients::join(names.iter().map(|&(name, len)| {
            struct One(ArrayD<f64>);
            impl Parameters<f64> for One {
                fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ndarray::ArrayViewD<'a, f64>)) {
                    visit("w", self.0.view());
                }
            }
            (name, Gradients::of(One(ArrayD::zeros(vec![len]))))
        }))
    };
    refused(&other(&[("x", 2)]), "weight \"x/w\" is unexpected: expected a there");
    refused(
        &Gradients::of(Weights { a: arr1(&[1.0]), b: array![[3.0]] }),
        "a of other has shape [1], but must have [2]",
    );
    let mut longer = other(&[("m", 2), ("n", 2)]);
    assert_eq!(
        longer.add(&other(&[("m", 2)])).unwrap_err().to_string(),
        "weight \"n/w\" is missing: other has too few gradients"
    );
    let error = other(&[("m", 2)]).add(&longer).unwrap_err();
    assert_eq!(error.to_string(), "weight \"n/w\" is unexpected: expected no more gradients there");
}

/// Layers in a list are named as a list of cells is.
#[test]
fn layers_are_joined_from_a_list() {
    let rng = &mut rng(52);
    let cells = vec![Gru::<f64>::new(3, 2, rng), Gru::new(2, 2, rng)];
    let gradients = Gradients::from(cells.iter().map(Gradients::zeros).collect::<Vec<_>>());
    assert_eq!(of_model(&cells, &gradients).len(), cells.parameter_count());
    let named = cells.iter().enumerate().map(|(layer, cell)| (format!("cell_{layer}"), cell)).collect::<Vec<_>>();
    let (mut expected, mut found) = (Vec::new(), Vec::new());
    cells.visit_parameters(&mut |name, array| expected.push((name.to_owned(), array.to_owned())));
    Parts::from(named).visit_parameters(&mut |name, array| found.push((name.to_owned(), array.to_owned())));
    assert_eq!(found, expected);
}

#[test]
fn a_learned_state_agrees_with_differences() {
    let rng = &mut rng(53);
    let cell = MultiRnnCell::new((Lstm::<f64>::new(3, 2, rng), Gru::new(2, 2, rng))).unwrap();
    let (x, d) = (random((5, 4, 3), rng), random((5, 4, 2), rng));
    let start = LearnedState::from_row(&cell, random_state(cell.zero_state(1), rng)).unwrap();
    let lengths = [4, 0, 2, 4, 3];
    let resets = Array2::from_shape_fn((5, 4), |(row, step)| (row + step) % 3 == 1);
    type Start = LearnedState<f64, (LstmState<f64>, Array2<f64>)>;
    let driver =
        |start: &Start| DynamicRnn::new(&cell).sequence_length(&lengths).resets(&resets).initial_state(start.repeat(5));
    let (_, last, tape) = driver(&start).record(&x).unwrap();
    let back = tape.d_final_state(last.clone()).backward(&d).unwrap();
    let gradients = of_model(&start, &start.gradient(&back.initial_state).unwrap());
    assert_eq!(gradients.len(), 6);
    let loss = |start: &Start| {
        let (outputs, last) = driver(start).run(&x).unwrap();
        dot(&outputs, &d) + dot(&numbers(&last), &numbers(&last)) / 2.0
    };
    assert_differences("start", &gradients, |at, by| loss(&moved_weight(&start, at, by)));
}

/// A million rows of 0.1: a sum in `f32` would be off by hundreds.
#[test]
fn a_learned_state_sums_long_batches() {
    let cell = Gru::<f32>::new(1, 1, &mut rng(54));
    let sum = LearnedState::new(&cell).gradient(&Array2::from_elem((1_000_000, 1), 0.1)).unwrap();
    assert!((sum.get("state_0").unwrap()[[0, 0]] - 100_000.0).abs() < 0.1);
}

#[test]
fn a_learned_state_checks_its_states() {
    let cell = Lstm::<f64>::new(3, 2, &mut rng(55));
    let error = LearnedState::from_row(&cell, cell.zero_state(2)).unwrap_err();
    assert!(matches!(&error, Error::StateShape { argument, .. } if argument == "row"), "{error}");
    let mut start = LearnedState::new(&cell);
    start.visit_parameters_mut(&mut |_, mut leaf| leaf.fill(0.5));
    assert!(dynamic_rnn(&cell, &Array3::zeros((0, 2, 3)), None, Some(start.repeat(0))).is_ok());
    assert_eq!(numbers(&start.repeat(2)), [0.5; 8]);
    let other = Lstm::<f64>::new(3, 4, &mut rng(56)).zero_state(1);
    let error = start.gradient(&other).unwrap_err();
    assert!(matches!(&error, Error::StateShape { argument, .. } if argument == "d_initial_state"), "{error}");
    assert_eq!(other.batch_size(), 1);
}
