//! Dropout turned on by a driver.

use crate::differences::*;
use ndarray::Array3;
use rnn_cell::{BidirectionalRnn, DropoutWrapper, DynamicRnn, Gru, RnnCell, StackBidirectionalRnn};

type Cell = DropoutWrapper<Gru<f64>>;

fn cell(input: usize, seed: u64) -> Cell {
    DropoutWrapper::builder(Gru::new(input, 4, &mut rng(seed))).input_keep_prob(0.5).build().unwrap()
}

fn inputs() -> Array3<f64> {
    random((3, 6, 8), &mut rng(1))
}

#[test]
fn a_seed_is_that_of_a_training_state() {
    let (cell, x) = (cell(8, 2), inputs());
    let seeded = || DynamicRnn::new(&cell).dropout_seed(7);
    let expected = DynamicRnn::new(&cell).initial_state(cell.training_state(3, 7)).run(&x).unwrap();
    assert_eq!(seeded().run(&x).unwrap(), expected);
    let (outputs, last, tape) = seeded().record(&x).unwrap();
    assert_eq!((&outputs, last), (&expected.0, expected.1));
    let (_, _, of_state) = DynamicRnn::new(&cell).initial_state(cell.training_state(3, 7)).record(&x).unwrap();
    assert_eq!(tape.backward(&outputs).unwrap().inputs, of_state.backward(&outputs).unwrap().inputs);
    assert_ne!(seeded().dropout_seed(8).run(&x).unwrap().0, outputs);
    assert_ne!(DynamicRnn::new(&cell).run(&x).unwrap().0, outputs);
}

#[test]
fn an_initial_state_keeps_its_numbers() {
    let (cell, x) = (cell(8, 2), inputs());
    let (_, carried) = DynamicRnn::new(&cell).run(&x).unwrap();
    let (outputs, _) = DynamicRnn::new(&cell).dropout_seed(7).run(&x).unwrap();
    let (later, _) = DynamicRnn::new(&cell).initial_state(carried).dropout_seed(7).run(&x).unwrap();
    assert_ne!(later, outputs);
}

/// With one step, both directions read the same. Only their masks differ.
#[test]
fn directions_have_masks_of_their_own() {
    let (cell, x) = (cell(8, 2), random((3, 1, 8), &mut rng(1)));
    let driver = || BidirectionalRnn::new(&cell, &cell);
    let ((fw, bw), _) = driver().run(&x).unwrap();
    assert_eq!(fw, bw);
    let ((fw, bw), _) = driver().dropout_seed(7).run(&x).unwrap();
    assert_ne!(fw, bw);
    assert_eq!(driver().dropout_seed(7).run(&x).unwrap().0, (fw.clone(), bw));
    let ((recorded, _), _, _) = driver().dropout_seed(7).record(&x).unwrap();
    assert_eq!(recorded, fw);
}

/// The second layer is run alone on what the first one gives, with the masks that the first one has.
#[test]
fn layers_have_masks_of_their_own() {
    let (cells, x) = ([cell(8, 2), cell(8, 2)], inputs());
    let seeded = |layers| StackBidirectionalRnn::new(&cells[..layers], &cells[..layers]).dropout_seed(7);
    let (outputs, fw, bw) = seeded(2).run(&x).unwrap();
    let (recorded, recorded_last, _) = seeded(2).record(&x).unwrap();
    assert_eq!((&recorded, recorded_last), (&outputs, (fw, bw)));
    let (below, _, _) = seeded(1).run(&x).unwrap();
    assert_ne!(seeded(1).run(&below).unwrap().0, outputs);
    assert_ne!(StackBidirectionalRnn::new(&cells, &cells).run(&x).unwrap().0, outputs);
}
