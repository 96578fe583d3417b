//! A cell allocates nothing after its first step; nor does a stream of it, or a driver that reuses its buffers.
//!
//! `RNN_CELL_SOAK_STEPS=20000000 cargo test --features slow --test memory soak` runs streams for that many steps.

use crate::allocator::{allocations, measured};
use crate::common::description::{Description, config, description};
use crate::common::{Check, Rng, array, each_cell, each_compressed_cell, rng, state};
use crate::one_thread;
use ndarray::{Array2, Array3, Axis, ShapeBuilder, s};
use proptest::prelude::*;
use rnn_cell::{
    BoxedCell, DropoutWrapper, DynamicRnn, DynamicRnnWorkspace, Float, Gru, LayerNormLstm, Lstm, MultiRnnCell,
    Parameters, ResidualWrapper, RnnCell, State, Stream,
};

#[test]
fn the_allocator_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![0_u8; 100]))), 1);
    let (kept, bytes, most) = measured(|| {
        drop(std::hint::black_box(vec![0_u8; 1000]));
        std::hint::black_box(vec![0_u8; 100])
    });
    assert_eq!((kept.len(), bytes, most), (100, 100, 1000));
}

/// Steps, runs and pushes with `batch` rows, with and without dropout.
fn check<C: RnnCell>(name: &str, cell: &C, batch: usize, rng: &mut Rng) {
    let on = state(cell, batch, rng);
    let mut off = on.clone();
    off.seed_dropout(None);
    for hidden in [on, off] {
        check_steps(name, cell, hidden.clone(), rng);
        check_stream(name, cell, hidden.clone(), rng);
        check_runs(name, cell, hidden, rng);
    }
}

fn check_steps<C: RnnCell>(name: &str, cell: &C, mut hidden: C::State, rng: &mut Rng) {
    let batch = hidden.batch_size();
    // As many steps as kernels take at once, and a few more.
    let seq = if batch < 6 { 30 } else { 3 };
    let x: Array3<C::Elem> = array((seq, batch, cell.input_size()), rng);
    let mut workspace = C::Workspace::default();
    let mut output = Array2::zeros((batch, cell.output_size()));
    cell.step(&x.index_axis(Axis(0), 0), &mut hidden, &mut output, &mut workspace);
    let stepping = allocations(|| {
        for input in x.outer_iter() {
            cell.step(&input, &mut hidden, &mut output, &mut workspace);
        }
    });
    assert_eq!(stepping, 0, "{name}: {seq} steps of {batch} rows");

    let mut workspace = C::Workspace::default();
    let mut outputs = Array3::zeros((seq, batch, cell.output_size()));
    cell.unroll(&x, &mut hidden, &mut outputs, &mut workspace);
    let again = allocations(|| cell.unroll(&x, &mut hidden, &mut outputs, &mut workspace));
    assert_eq!(again, 0, "{name}: unroll again over {seq} steps of {batch} rows");
    let smaller = allocations(|| {
        cell.step(&x.index_axis(Axis(0), 0), &mut hidden, &mut output, &mut workspace);
    });
    assert_eq!(smaller, 0, "{name}: a step after unroll");

    // Features that are not contiguous go through the workspace's buffers.
    let strided = Array3::from_shape_fn((cell.input_size(), batch, seq), |(i, b, t)| x[[t, b, i]]);
    let mut outputs = Array3::zeros((cell.output_size(), batch, seq));
    let mut run = || {
        let mut outputs = outputs.view_mut().reversed_axes();
        cell.unroll(&strided.view().reversed_axes(), &mut hidden, &mut outputs, &mut workspace);
    };
    run();
    assert_eq!(allocations(run), 0, "{name}: unroll again over strided arrays");
}

fn check_stream<C: RnnCell>(name: &str, cell: &C, initial: C::State, rng: &mut Rng) {
    let batch = initial.batch_size();
    let rows = array((batch, 1, cell.input_size()), rng).remove_axis(Axis(1));
    let mut columns = Array2::zeros((batch, cell.input_size()).f());
    columns.assign(&rows);
    for input in [rows, columns] {
        let mut stream = Stream::with_initial_state(cell, batch, initial.clone()).unwrap();
        stream.push(&input).unwrap();
        let count = allocations(|| {
            for _ in 0..30 {
                stream.push(&input).unwrap();
            }
            stream.reset_row(batch - 1).unwrap();
            stream.reset();
            stream.push(&input).unwrap();
        });
        assert_eq!(count, 0, "{name}: pushes of {batch} rows, strides {:?}", input.strides());
    }

    let chunk: Array3<C::Elem> = array((26, batch, cell.input_size()), rng);
    let mut stream = Stream::with_initial_state(cell, batch, initial).unwrap();
    stream.push_steps(&chunk).unwrap();
    let count = allocations(|| {
        for steps in [26, 1, 0, 7, 26] {
            stream.push_steps(&chunk.slice(s![..steps, .., ..])).unwrap();
        }
        stream.push(&chunk.index_axis(Axis(0), 0)).unwrap();
    });
    assert_eq!(count, 0, "{name}: chunks of steps of {batch} rows");
}

/// Runs into the same outputs, with and without lengths, with resets, by rows and by steps.
fn check_runs<C: RnnCell>(name: &str, cell: &C, initial: C::State, rng: &mut Rng) {
    let (batch, seq) = (initial.batch_size(), 9);
    let x: Array3<C::Elem> = array((batch, seq, cell.input_size()), rng);
    let resets = Array2::from_shape_fn((batch, seq), |(row, step)| (row + step) % 4 == 3);
    let rising: Vec<usize> = (0..batch).map(|row| row % (seq + 1)).collect();
    let falling: Vec<usize> = (0..batch).map(|row| seq - (row * seq) / batch.max(1)).collect();
    let mixed: Vec<usize> = (0..batch).map(|row| (row * 5 + 2) % (seq + 1)).collect();
    let mut outputs = Array3::zeros((batch, seq, cell.output_size()));
    let mut workspace = DynamicRnnWorkspace::default();
    // The initial state is checked against this: a stack's is a list of its layers'.
    let for_the_check = allocations(|| drop(cell.zero_state(0)));
    let mut state = Some(initial);
    let mut run = |lengths: Option<&[usize]>, resets: Option<&Array2<bool>>| {
        let before = state.take().unwrap();
        allocations(|| {
            let mut driver = DynamicRnn::new(cell).initial_state(before);
            if let Some(lengths) = lengths {
                driver = driver.sequence_length(lengths);
            }
            if let Some(resets) = resets {
                driver = driver.resets(resets);
            }
            state = Some(driver.run_into(&x, &mut outputs, &mut workspace).unwrap());
        })
    };
    let runs = [None, Some(&rising[..]), Some(&falling), Some(&mixed)];
    let runs = || runs.into_iter().flat_map(|lengths| [(lengths, None), (lengths, Some(&resets))]);
    for (lengths, resets) in runs() {
        run(lengths, resets);
    }
    for (lengths, resets) in runs() {
        let found = run(lengths, resets);
        // Copying a state whose type is known only at run time makes a new box.
        if !std::any::type_name::<C::State>().contains("DynState") || (lengths.is_none() && resets.is_none()) {
            assert_eq!(found, for_the_check, "{name}: {batch} rows, lengths {lengths:?}, resets {}", resets.is_some());
        }
    }
}

struct NoAllocation;

impl<E: Float> Check<E> for NoAllocation {
    fn check<C: RnnCell<Elem = E> + Parameters<E>>(&mut self, name: &str, make: impl Fn(usize, usize, &mut Rng) -> C) {
        for (input, hidden) in [(7, 17), (19, 3), (19, 16), (19, 37)] {
            let rng = &mut rng(9);
            let cell = make(input, hidden, rng);
            for batch in [1, 2, 3, 5, 7, 8, 16, 33] {
                check(name, &cell, batch, rng);
            }
        }
    }
}

#[test]
fn after_the_first_step_nothing_is_allocated() {
    one_thread(|| each_cell::<f32>(&mut NoAllocation));
    one_thread(|| each_cell::<f64>(&mut NoAllocation));
    one_thread(|| each_compressed_cell(&mut NoAllocation));
}

proptest! {
    #![proptest_config(config(128))]
    #[test]
    fn however_cells_nest(
        cell in description(prop_oneof![4 => 1..=9_usize, 1 => 15..=40_usize]),
        (input, batch) in (1..=20_usize, 1..=14_usize),
        seed in any::<u64>(),
    ) {
        let rng = &mut rng(seed);
        check(&format!("{cell:?}"), &Description::build::<f32>(&cell, input, rng), batch, rng);
    }
}

/// Millions of pushes take what the first took, even if rows end and restart. `RNN_CELL_SOAK_STEPS` says how many.
#[test]
fn soak() {
    let steps = std::env::var("RNN_CELL_SOAK_STEPS").map_or(100_000, |steps| steps.parse().unwrap());
    fn run<C: RnnCell<Elem = f32>>(name: &str, cell: &C, steps: usize) {
        const BATCH: usize = 3;
        let rng = &mut rng(10);
        let x = array((64, BATCH, cell.input_size()), rng);
        let mut stream = Stream::with_initial_state(cell, BATCH, cell.training_state(BATCH, 1)).unwrap();
        stream.push(&x.index_axis(Axis(0), 0)).unwrap();
        let mut largest = 0.0_f32;
        let mut rest = || {
            for step in 1..steps {
                let output = stream.push(&x.index_axis(Axis(0), step % 64)).unwrap();
                largest = output.iter().fold(largest, |largest, y| if y.abs() <= largest { largest } else { y.abs() });
                if step % 1000 == 0 {
                    stream.reset_row(step / 1000 % BATCH).unwrap();
                }
            }
        };
        let (count, kept, most) = measured(|| allocations(&mut rest));
        assert_eq!((count, kept, most), (0, 0, 0), "{name}");
        assert!(largest.is_finite(), "{name}: {largest}");
        // As good as new.
        stream.reset();
        let mut fresh = Stream::with_initial_state(cell, BATCH, cell.training_state(BATCH, 1)).unwrap();
        for x in x.slice(s![..9, .., ..]).outer_iter() {
            assert_eq!(stream.push(&x).unwrap(), fresh.push(&x).unwrap(), "{name}");
        }
    }
    let rng = &mut rng(11);
    run("lstm", &Lstm::<f32>::builder(4, 16).use_peepholes(true).num_proj(8).build(rng).unwrap(), steps);
    run("gru", &Gru::<f32>::new(4, 16, rng), steps);
    run("layer_norm_lstm", &LayerNormLstm::<f32>::builder(4, 8).dropout_keep_prob(0.9).build(rng).unwrap(), steps);
    let mut layer = || {
        let cell = DropoutWrapper::builder(Lstm::new(4, 4, rng)).input_keep_prob(0.8).state_keep_prob(0.9);
        BoxedCell::new(ResidualWrapper::new(cell.build().unwrap()).unwrap())
    };
    run("stack", &MultiRnnCell::new(vec![layer(), layer()]).unwrap(), steps);
}
