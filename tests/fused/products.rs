//! Mistakes around products: what a stage multiplies, and whose gradients a sum is.

use super::*;

#[test]
fn what_a_stage_multiplies() {
    let widths = "but the state's leaves, counted from 0, have the widths [3], and the temporaries [3]";
    let cases: [(&str, StagesOf); 5] = [
        ("leaf 1 of the state", |cell| Stages::new([Stage::new(&cell.gate).state(1)]).temporary(UNITS)),
        ("leaf 7 of the state", |cell| Stages::new([Stage::new(&cell.gate).state(7)]).temporary(UNITS)),
        ("temporary 1", |cell| Stages::new([Stage::new(&cell.gate).temporary(1)]).temporary(UNITS)),
        ("temporary 4", |cell| Stages::new([Stage::new(&cell.gate).temporary(4)]).temporary(UNITS)),
        ("nothing but inputs", |cell| Stages::new([Stage::new(&cell.gate)]).temporary(UNITS)),
    ];
    for (operand, stages) in cases {
        let product = format!("stage 0 has a product with a recurrent_size of 3 and multiplies {operand}");
        tells(&format!("{product}, {widths}"), Wants { stages, ..RIGHT });
    }
    let expected = "stage 0 has a product with an input_size of 2, but the cell's inputs have the width 4";
    tells(expected, Wants { input_size: 4, ..RIGHT });
}

/// A product without a recurrent half may not name one: there is nothing to multiply.
#[test]
fn a_leaf_that_is_not_there_for_a_product_of_inputs() {
    let mut cell = author(RIGHT);
    cell.gate = Linear::<f64>::builder(UNITS)
        .input_size(INPUTS)
        .gates(2)
        .build(&mut Xoshiro256PlusPlus::seed_from_u64(2))
        .unwrap();
    cell.wants.stages = |cell| Stages::new([Stage::new(&cell.gate).state(7)]);
    let run = || {
        let (x, mut h, mut y) = (Array2::zeros((1, 2)), Array2::zeros((1, 3)), Array2::zeros((1, 3)));
        cell.step(&x, &mut h, &mut y, &mut Workspace::default());
    };
    let payload = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
    assert!(
        payload.downcast_ref::<String>().unwrap().contains("recurrent_size of 0 and multiplies leaf 7 of the state")
    );
}

#[test]
fn a_state_of_another_width() {
    for width in [0, 2, 4] {
        let run = || {
            let (x, mut h, mut y) = (Array2::zeros((1, 2)), Array2::zeros((1, width)), Array2::zeros((1, 3)));
            author(RIGHT).step(&x, &mut h, &mut y, &mut Workspace::default());
        };
        let payload = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
        let found = payload.downcast_ref::<String>().unwrap();
        assert!(found.ends_with(&format!("leaf 0 has the width {width}, but those of zero_state [3]")), "{found}");
    }
}

/// Two products of one shape are told apart.
#[test]
fn gradients_of_another_stage() {
    let cases: [(&str, GradientsOf); 4] = [
        ("stage 1, but this Linear is the product of the stages [0]", |cell, samples, to| {
            cell.gate.add_gradients(samples, 1, &mut to.gate);
        }),
        ("stage 0, but this Linear is the product of the stages [1]", |cell, samples, to| {
            cell.candidate.add_gradients(samples, 0, &mut to.candidate);
        }),
        ("stage 9, but this Linear is the product of the stages [0]", |cell, samples, to| {
            cell.gate.add_gradients(samples, 9, &mut to.gate);
        }),
        ("stage 0, but this Linear is the product of the stages []", |cell, samples, to| {
            cell.gate.clone().add_gradients(samples, 0, &mut to.gate);
        }),
    ];
    for (expected, gradients) in cases {
        tells(&format!("add_gradients of {expected}"), Wants { gradients, ..RIGHT });
    }
}

#[test]
fn gradients_of_another_shape() {
    let expected = "the gradient's kernel and bias are ((5, 3), Some(3)), but the weights' ((5, 6), Some(6))";
    tells(
        &format!("add_gradients of stage 0: {expected}"),
        Wants { gradients: |cell, samples, to| cell.gate.add_gradients(samples, 0, &mut to.candidate), ..RIGHT },
    );
    let expected = "the gradient's kernel and bias are ((5, 3), None), but the weights' ((5, 3), Some(3))";
    tells(
        &format!("add_gradients of stage 1: {expected}"),
        Wants {
            gradients: |cell, samples, to| {
                to.candidate.bias = None;
                cell.candidate.add_gradients(samples, 1, &mut to.candidate);
            },
            ..RIGHT
        },
    );
}

#[test]
fn accumulators() {
    let cases: [(&str, GradientsOf); 3] = [
        ("accumulator 0 for the numbers 0 to 4", |_, samples, _| samples.add_accumulated(0, 0, &mut Array1::zeros(4))),
        ("accumulator 1 for the numbers 1 to 3", |_, samples, _| samples.add_accumulated(1, 1, &mut Array1::zeros(2))),
        ("accumulator 9 for the numbers 0 to 1", |_, samples, _| samples.add_accumulated(9, 0, &mut Array1::zeros(1))),
    ];
    for (asked, gradients) in cases {
        let those = "those of the cell, counted from 0, have the widths [3, 2]";
        let stages: StagesOf = |cell| (RIGHT.stages)(cell).accumulator(UNITS).accumulator(2);
        tells(&format!("add_accumulated asks {asked}, but {those}"), Wants { stages, gradients, ..RIGHT });
    }
}
