//! This crate as one of the peers. GRU=before measures `Gru` with TF1's reset gate, which no other peer here has.
//! FORMAT=bf16 or int8 compresses the weights.
use common::*;
use ndarray::prelude::*;
use rnn_cell::cells::{GruWeights, LstmWeights};
use rnn_cell::{
    BasicRnn, Compressed, DynamicRnn, Gru, GruReset, Lstm, RnnCell, State, Stream, WeightFormat, train,
};
use std::hint::black_box;

/// Torch's gates, rows of (gates · hidden, depth), as columns of a kernel (inputs + hidden, gates · hidden).
fn kernel(c: &Case, gates: &[usize]) -> Array2<f32> {
    let h = c.h;
    Array2::from_shape_fn((c.i + h, gates.len() * h), |(row, column)| {
        let unit = gates[column / h] * h + column % h;
        if row < c.i { c.wih[unit * c.i + row] } else { c.whh[unit * h + row - c.i] }
    })
}

fn bias(c: &Case, gates: &[usize], input: bool, recurrent: bool) -> Array1<f32> {
    let part = |on: bool, bias: &[f32], at: usize| if on { bias[at] } else { 0.0 };
    Array1::from_shape_fn(gates.len() * c.h, |k| {
        let at = gates[k / c.h] * c.h + k % c.h;
        part(input, &c.bih, at) + part(recurrent, &c.bhh, at)
    })
}

fn measure<C: train::TrainableCell<Elem = f32>>(bench: &mut Bench, c: &Case, mode: &str, cell: C, known: bool) -> Result<(), String> {
    let x = Array3::from_shape_vec((c.t, c.b, c.i), c.x.clone()).unwrap();
    if let Some(format) = format() {
        if mode == "train" {
            return Err("n/a".into());
        }
        return measure_forward(bench, c, mode, Compressed::new(cell, format).unwrap(), (known, ERROR));
    }
    if mode == "train" {
        let x = x.view().permuted_axes([1, 0, 2]).as_standard_layout().into_owned();
        let dy = Array3::from_shape_vec((c.t, c.b, c.h), c.dy.clone()).unwrap();
        let dy = dy.view().permuted_axes([1, 0, 2]).as_standard_layout().into_owned();
        let run = || {
            let (_, _, tape) = train::dynamic_rnn(&cell, &x, None, None).unwrap();
            tape.backward(&dy).unwrap()
        };
        if known {
            let d_inputs = run().inputs.permuted_axes([1, 0, 2]).iter().copied().collect::<Vec<_>>();
            let largest = c.gx.iter().fold(1.0, |m: f32, v| m.max(v.abs()));
            check("gx", &d_inputs, &c.gx, 1e-3 * largest)?;
        }
        return bench.time(c, mode, || {
            black_box(run());
        });
    }
    measure_forward(bench, c, mode, cell, (known, 1e-4))
}

/// What bounds the errors of compressed weights; the errors themselves are printed.
const ERROR: f32 = 0.2;

fn format() -> Option<WeightFormat> {
    match std::env::var("FORMAT").as_deref() {
        Ok("bf16") => Some(WeightFormat::Bf16),
        Ok("int8") => Some(WeightFormat::Int8),
        Ok("f32") | Err(_) => None,
        Ok(other) => panic!("FORMAT is {other}, but must be f32, bf16 or int8"),
    }
}

/// As `check`, and keeps the largest error of compressed weights for the next row.
fn compare(bench: &mut Bench, name: &str, found: &[f32], expected: &[f32], tolerance: f32) -> Result<(), String> {
    if tolerance == ERROR {
        bench.error = Some(found.iter().zip(expected).fold(0.0, |most: f32, (a, b)| most.max((a - b).abs())));
    }
    check(name, found, expected, tolerance)
}

fn measure_forward<C: RnnCell<Elem = f32>>(
    bench: &mut Bench,
    c: &Case,
    mode: &str,
    cell: C,
    (known, tolerance): (bool, f32),
) -> Result<(), String> {
    let x = Array3::from_shape_vec((c.t, c.b, c.i), c.x.clone()).unwrap();
    if c.wl == "stream" {
        let mut state = cell.zero_state(1);
        let mut starts = if c.cell == "lstm" { vec![&c.c0, &c.h0] } else { vec![&c.h0] }.into_iter();
        state.visit_mut(&mut |mut leaf| leaf.as_slice_mut().unwrap().copy_from_slice(starts.next().unwrap()));
        let mut stream = Stream::new(&cell, 1);
        stream.set_state(state).unwrap();
        let x = x.index_axis(Axis(0), 0);
        let first = stream.push(&x).unwrap().iter().copied().collect::<Vec<_>>();
        if known {
            compare(bench, "h1", &first, &c.y, tolerance)?;
        }
        return bench.time(c, mode, || {
            black_box(stream.push(black_box(&x)).unwrap());
        });
    }
    let lengths: Vec<usize> = c.lens.iter().map(|&n| n as usize).collect();
    let lengths = (c.wl == "ragged").then_some(&lengths[..]);
    let run = || {
        let driver = DynamicRnn::new(&cell).time_major(true);
        let driver = if let Some(lengths) = lengths { driver.sequence_length(lengths) } else { driver };
        driver.run(black_box(&x)).unwrap()
    };
    if known {
        let (mut outputs, _) = run();
        if let Some(lengths) = lengths {
            // What the others leave in the padding does not matter.
            let expected = Array3::from_shape_vec((c.t, c.b, c.h), c.y.clone()).unwrap();
            for (row, &n) in lengths.iter().enumerate() {
                outputs.slice_mut(s![n.., row, ..]).assign(&expected.slice(s![n.., row, ..]));
            }
        }
        compare(bench, "y", outputs.as_slice().unwrap(), &c.y, tolerance)?;
    }
    bench.time(c, mode, || {
        black_box(run());
    })
}

fn main() {
    let before = std::env::var("GRU").is_ok_and(|form| form == "before");
    let threads = Bench::threads_arg();
    let name = match format() {
        Some(WeightFormat::Bf16) => "rnn-cell/bf16",
        Some(_) => "rnn-cell/int8",
        None if before => "rnn-cell/gru-before",
        None => "rnn-cell",
    };
    Bench::new(name, threads).run(|bench, c, mode| match c.cell.as_str() {
        _ if before && c.cell != "gru" => Err("n/a".into()),
        "rnn" => measure(bench, c, mode, BasicRnn::from_weights(kernel(c, &[0]), bias(c, &[0], true, true)).unwrap(), true),
        "lstm" => {
            let gates = [0, 2, 1, 3];
            let weights =
                LstmWeights { kernel: kernel(c, &gates), bias: Some(bias(c, &gates, true, true)), peepholes: None, projection: None };
            measure(bench, c, mode, Lstm::builder(c.i, c.h).forget_bias(0.0).build_from(weights).unwrap(), true)
        }
        _ => {
            let reset = if before { GruReset::Before } else { GruReset::After };
            let weights = GruWeights {
                gates_kernel: kernel(c, &[0, 1]),
                gates_bias: Some(bias(c, &[0, 1], true, true)),
                candidate_kernel: kernel(c, &[2]),
                candidate_bias: Some(bias(c, &[2], true, before)),
                candidate_recurrent_bias: (!before).then(|| bias(c, &[2], false, true)),
            };
            measure(bench, c, mode, Gru::<f32>::builder(c.i, c.h).reset(reset).build_from(weights).unwrap(), !before)
        }
    });
}
