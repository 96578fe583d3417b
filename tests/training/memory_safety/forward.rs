//! A run, the slices of its rows, and sizes beyond memory.

use super::{
    BackwardOf, ForwardOf, INPUTS, Lying, ROWS, STEPS, StagesOf, UNITS, honest, linear, refuses, step, there_and_back,
};
use crate::common::rng;
use ndarray::{Array2, Array3};
use rnn_cell::fused::{Forward, Stage, Stages, Workspace};
use rnn_cell::{Lstm, LstmState, RnnCell};

#[test]
fn outputs() {
    let cell = Lstm::<f32>::new(INPUTS, UNITS, &mut rng(2));
    for (steps, rows) in [(STEPS - 1, ROWS), (STEPS + 1, ROWS), (STEPS, ROWS - 1), (STEPS, ROWS + 1), (ROWS, STEPS)] {
        let (x, mut y) = (Array3::zeros((STEPS, ROWS, INPUTS)), Array3::zeros((steps, rows, UNITS)));
        let (mut state, mut workspace) = (cell.zero_state(ROWS), Workspace::default());
        refuses("outputs must be (seq, batch, output)", || cell.unroll(&x, &mut state, &mut y, &mut workspace));
    }
}

#[test]
fn rows_of_a_state() {
    let cell = Lstm::<f32>::new(INPUTS, UNITS, &mut rng(2));
    for (c, h) in [(ROWS - 1, ROWS), (ROWS, ROWS - 1), (ROWS + 1, ROWS), (ROWS, ROWS + 1), (1, 1)] {
        let (x, mut y) = (Array3::zeros((STEPS, ROWS, INPUTS)), Array3::zeros((STEPS, ROWS, UNITS)));
        let mut state = LstmState { c: Array2::zeros((c, UNITS)), h: Array2::zeros((h, UNITS)) };
        let run = || cell.unroll(&x, &mut state, &mut y, &mut Workspace::default());
        refuses("the state's rows must be the inputs' batch", run);
    }
}

#[test]
fn inputs_of_a_product() {
    for input_size in [INPUTS - 1, INPUTS + 1, 0] {
        refuses(&format!("but the cell's inputs have the width {input_size}"), || {
            step(&Lying { input_size, ..honest() })
        });
    }
}

#[test]
fn operand_of_a_product() {
    let expected = "stage 0 has a product with a recurrent_size of 5 and multiplies";
    for leaf in [UNITS - 1, UNITS + 1, 0] {
        refuses(expected, || step(&Lying { leaf, ..honest() }));
    }
    let stages: [StagesOf; 3] = [
        |linear| Stages::new([Stage::new(linear).temporary(0)]).temporary(UNITS - 1),
        |linear| Stages::new([Stage::new(linear).temporary(1)]).temporary(UNITS),
        |linear| Stages::new([Stage::new(linear)]),
    ];
    for stages in stages {
        refuses(expected, || step(&Lying { stages, ..honest() }));
    }
}

#[test]
fn places_for_stages_temporaries_and_accumulators() {
    let five: [(&str, StagesOf); 3] = [
        ("at most 4 stages", |linear| Stages::new([(); 5].map(|()| Stage::new(linear)))),
        ("at most 4 temporaries", |linear| {
            (0..5).fold(Stages::new([Stage::new(linear).state(0)]), |stages, _| stages.temporary(1))
        }),
        ("at most 4 accumulators", |linear| {
            (0..5).fold(Stages::new([Stage::new(linear).state(0)]), |stages, _| stages.accumulator(1))
        }),
    ];
    for (expected, stages) in five {
        refuses(expected, || step(&Lying { stages, ..honest() }));
    }
}

#[test]
fn slices_that_do_not_exist() {
    let missing: [ForwardOf; 3] =
        [|row| row.temporary(0).fill(1.0), |row| row.new_state(1).fill(1.0), |row| drop(row.state(1).to_vec())];
    let stages: StagesOf = |linear| Stages::new([Stage::new(linear).state(0).whole_rows()]);
    for forward in missing {
        refuses("but those of the cell, counted from 0, have the widths ", || {
            step(&Lying { stages, forward, ..honest() })
        });
    }
}

#[test]
fn slices_of_another_width() {
    let stages: StagesOf = |linear| Stages::new([Stage::new(linear).state(0)]).temporary(UNITS + 1);
    let forward: ForwardOf = |row| row.temporary(0).fill(1.0);
    refuses("it must take whole rows", || step(&Lying { stages, forward, ..honest() }));
}

#[test]
fn slices_handed_out_once() {
    let stages: StagesOf = |linear| Stages::new([Stage::new(linear).state(0)]).temporary(UNITS).accumulator(UNITS);
    let forward: [ForwardOf; 4] = [
        |row| row.sums::<1>(0)[0].swap_with_slice(row.sums::<1>(0)[0]),
        |row| row.new_state(0).swap_with_slice(row.new_state(0)),
        |row| row.temporary(0).swap_with_slice(row.temporary(0)),
        |row| row.output().swap_with_slice(row.output()),
    ];
    for forward in forward {
        refuses("handed out once", || step(&Lying { stages, forward, ..honest() }));
    }
    let backward: [BackwardOf; 5] = [
        |row| row.sums::<1>(0)[0].swap_with_slice(row.sums::<1>(0)[0]),
        |row| row.d_state(0).swap_with_slice(row.d_state(0)),
        |row| row.temporary(0).swap_with_slice(row.temporary(0)),
        |row| row.d_temporary(0).swap_with_slice(row.d_temporary(0)),
        |row| row.accumulator(0).swap_with_slice(row.accumulator(0)),
    ];
    for backward in backward {
        refuses("handed out once", || there_and_back(&Lying { stages, backward, ..honest() }));
    }
}

fn overwrite<const N: usize>(row: &mut Forward<'_, f32>, stage: usize) {
    row.sums::<N>(stage).iter_mut().for_each(|sums| sums.fill(1.0));
}

#[test]
fn number_of_sums() {
    let wrong: [ForwardOf; 2] = [|row| overwrite::<0>(row, 0), |row| overwrite::<2>(row, 0)];
    for forward in wrong {
        refuses("gates, but the stages, counted from 0, have [1] gates", || step(&Lying { forward, ..honest() }));
    }
    // Four of these are as wide as no sums, if the width wraps around.
    let stages: StagesOf = |linear| {
        let wide = Stage::without_product(usize::MAX / 4 + 1);
        Stages::new([Stage::new(linear).state(0), wide])
    };
    let forward: ForwardOf = |row| {
        if row.units().len() > UNITS {
            overwrite::<4>(row, 1);
        }
    };
    refuses("sums(1) of 4 gates, but the stages", || step(&Lying { stages, forward, ..honest() }));
}

#[test]
fn sums_of_a_later_stage() {
    let stages: StagesOf = |linear| Stages::new([Stage::new(linear).state(0), Stage::new(linear).state(0)]);
    let forward: ForwardOf = |row| overwrite::<1>(row, 1);
    let expected = "stage 0 asks for sums(1), but that stage's sums are computed later";
    refuses(expected, || there_and_back(&Lying { stages, forward, ..honest() }));
}

#[test]
fn vectors_beyond_a_row() {
    for beyond in [1, 16] {
        refuses("the row ends before these units", || step(&Lying { beyond, ..honest() }));
    }
}

/// Sizes that wrap around to something small. In a release build nothing else would notice.
#[test]
fn sizes_that_wrap_around() {
    let beyond = "larger than memory can be";
    let forward: ForwardOf = |row| row.temporary(0).fill(1.0);
    let wide: StagesOf = |linear| Stages::new([Stage::new(linear).state(0).whole_rows()]).temporary(usize::MAX / 2 + 1);
    refuses(beyond, || step(&Lying { stages: wide, forward, ..honest() }));
    let stages: StagesOf = |linear| Stages::new([Stage::new(linear).state(0).whole_rows()]).temporary(usize::MAX - 255);
    refuses(beyond, || step(&Lying { stages, forward, ..honest() }));
    refuses(beyond, || there_and_back(&Lying { stages: wide, ..honest() }));
    let stages: StagesOf = |linear| Stages::new([Stage::new(linear).state(0)]).accumulator(usize::MAX / 2 + 1);
    let backward: BackwardOf = |row| row.accumulator(0).fill(1.0);
    refuses(beyond, || there_and_back(&Lying { stages, backward, ..honest() }));
}

/// One row of inputs broadcast to more rows than there is memory for their sums. Outputs and state are empty.
#[test]
fn rows_that_wrap_around() {
    let stages: StagesOf = |linear| Stages::new([Stage::new(linear)]);
    let cell = Lying { linear: linear(INPUTS, 0, 4), output_size: 0, leaf: 0, stages, forward: |_| {}, ..honest() };
    let x = Array3::zeros((1, 1, INPUTS));
    for (steps, rows) in [(1, usize::MAX / 16 + 1), (2, usize::MAX / 16 + 1)] {
        let x = x.broadcast((steps, rows, INPUTS)).unwrap();
        let (mut h, mut y) = (Array2::zeros((rows, 0)), Array3::zeros((steps, rows, 0)));
        let mut workspace = Workspace::default();
        refuses("larger than memory can be", || cell.unroll(&x, &mut h, &mut y, &mut workspace));
        let run = || drop(rnn_cell::fused::unroll_recording(&cell, &x, &mut h, &mut y, &mut workspace));
        refuses("larger than memory can be", run);
    }
}
