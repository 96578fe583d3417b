//! Cells that users write, beside py/peer_jax_custom.py: this crate's own (peer `rnn-cell`) and the same cells as a user
//! writes them (peer `rnn-cell-user`). Both languages are compared with the numbers of py/gen_custom.py before they are timed.
use common::*;
use ndarray::prelude::*;
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::train::{self, TrainableCell};
use rnn_cell::{DynamicRnn, LayerNormLstm, Lstm, ParametersMut, State, Stream, Ugrnn};
use std::hint::black_box;

#[path = "../../../../../examples/fused/lstm.rs"]
mod lstm;
#[path = "../../../../../examples/fused/ugrnn.rs"]
mod ugrnn;

/// The cell with the case's weights, by name.
fn with_weights<C: ParametersMut<f32>>(mut cell: C, c: &Custom) -> C {
    cell.visit_parameters_mut(&mut |name, mut weight| {
        let shape = weight.raw_dim();
        weight.assign(&ArrayD::from_shape_vec(shape, c.read(name)).unwrap());
    });
    cell
}

fn time_major(c: &Custom, name: &str, features: usize) -> Array3<f32> {
    Array3::from_shape_vec((c.t, c.b, features), c.read(name)).unwrap()
}

/// In logical order, whatever the layout.
fn numbers<D: ndarray::Dimension>(array: ArrayView<f32, D>) -> Vec<f32> {
    array.iter().copied().collect()
}

/// One row: compares with the recorded numbers, then times. The cell's leaves of state and names of parameters are those of
/// TensorFlow's cell.
fn measure<C: TrainableCell<Elem = f32>>(bench: &mut Bench, c: &Custom, mode: &str, cell: C) -> Result<(), String> {
    let cell = with_weights(cell, c);
    match (mode, c.wl) {
        ("train", _) => measure_training(bench, c, &cell),
        (_, "stream") => measure_stream(bench, c, &cell),
        _ => {
            let x = time_major(c, "x", c.i);
            let run = || DynamicRnn::new(&cell).time_major(true).run(black_box(&x)).unwrap();
            check("y", &numbers(run().0.view()), &c.read("y"), 1e-4)?;
            bench.time_row(c.cell, c.wl, mode, || {
                black_box(run());
            })
        }
    }
}

/// Forward and the gradients of all weights and inputs.
fn measure_training<C: TrainableCell<Elem = f32>>(bench: &mut Bench, c: &Custom, cell: &C) -> Result<(), String> {
    let batch_major = |array: Array3<f32>| array.view().permuted_axes([1, 0, 2]).as_standard_layout().into_owned();
    let x = batch_major(time_major(c, "x", c.i));
    let dy = batch_major(time_major(c, "dy", c.h));
    let run = || {
        let (_, _, tape) = train::dynamic_rnn(cell, black_box(&x), None, None).unwrap();
        tape.backward(&dy).unwrap()
    };
    let found = run();
    check_rel("gx", &numbers(found.inputs.view().permuted_axes([1, 0, 2])), &c.read("gx"), 1e-3)?;
    for (name, gradient) in found.parameters.iter() {
        check_rel(name, &numbers(gradient.view()), &c.read(&format!("g_{name}")), 1e-3)?;
    }
    drop(found);
    bench.time_row(c.cell, c.wl, "train", || {
        black_box(run());
    })
}

/// One step, with the state carried over.
fn measure_stream<C: TrainableCell<Elem = f32>>(bench: &mut Bench, c: &Custom, cell: &C) -> Result<(), String> {
    let mut state = cell.zero_state(c.b);
    let mut leaf = 0;
    state.visit_mut(&mut |mut values| {
        values.assign(&Array2::from_shape_vec((c.b, c.h), c.read(&format!("state_{leaf}"))).unwrap());
        leaf += 1;
    });
    let mut stream = Stream::new(cell, c.b);
    stream.set_state(state).unwrap();
    let x = time_major(c, "x", c.i).index_axis_move(Axis(0), 0);
    check("y", &numbers(stream.push(&x).unwrap().view()), &c.read("y"), 1e-4)?;
    bench.time_row(c.cell, c.wl, "forward", || {
        black_box(stream.push(black_box(&x)).unwrap());
    })
}

/// This crate's cells.
fn built_in(bench: &mut Bench, c: &Custom, mode: &str) -> Result<(), String> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    match c.cell {
        "custom/lstm" => measure(bench, c, mode, Lstm::new(c.i, c.h, &mut rng)),
        "custom/layer_norm_lstm" => measure(bench, c, mode, LayerNormLstm::new(c.i, c.h, &mut rng)),
        "custom/ugrnn" => measure(bench, c, mode, Ugrnn::new(c.i, c.h, &mut rng)),
        _ => Err("n/a".into()),
    }
}

/// The cells as a user writes them, those of `examples/fused`.
fn user_written(bench: &mut Bench, c: &Custom, mode: &str) -> Result<(), String> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    match c.cell {
        "custom/lstm" => measure(bench, c, mode, lstm::MyLstm::new(c.i, c.h, &mut rng).unwrap()),
        "custom/ugrnn" => measure(bench, c, mode, ugrnn::MyUgrnn::new(c.i, c.h, &mut rng).unwrap()),
        _ => Err("n/a".into()),
    }
}

fn main() {
    let threads = Bench::threads_arg();
    Bench::new("rnn-cell", threads).run_custom(built_in);
    Bench::new("rnn-cell-user", threads).run_custom(user_written);
}
