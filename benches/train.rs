//! Training: a recorded forward pass and backward with all gradients, of weights, inputs and initial state.
//!
//! `train/<cell>/<workload>`, f32 on one thread; `ragged` is batch32 with random lengths 1 to 100.
//! `cargo bench --manifest-path benches/Cargo.toml --bench train -- train/lstm` runs what its name matches.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ndarray::Array3;
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::GruReset;
use rnn_cell::train::{self, TrainableCell};
use rnn_cell::{BasicRnn, Gru, Lstm};
use std::time::Duration;

/// Name, batch, seq, input and hidden size.
const WORKLOADS: [(&str, usize, usize, usize, usize); 5] = [
    ("hello", 3, 5, 4, 2),
    ("small", 1, 100, 64, 128),
    ("batch32", 32, 100, 128, 256),
    ("ragged", 32, 100, 128, 256),
    ("batch64", 64, 100, 512, 512),
];

fn bench_cell<C: TrainableCell<Elem = f32>>(
    c: &mut Criterion,
    name: &str,
    new: impl Fn(usize, usize, &mut Xoshiro256PlusPlus) -> C,
) {
    let mut group = c.benchmark_group(format!("train/{name}"));
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    for (workload, batch, seq, input, hidden) in WORKLOADS {
        let cell = new(input, hidden, &mut rng);
        let x = Array3::from_shape_simple_fn((batch, seq, input), || rng.random_range(-1.0..1.0));
        let d_outputs = Array3::from_shape_simple_fn((batch, seq, hidden), || rng.random_range(-1.0..1.0));
        let lengths: Vec<usize> = (0..batch).map(|_| rng.random_range(1..=seq)).collect();
        let lengths = (workload == "ragged").then_some(&lengths[..]);
        group.throughput(Throughput::Elements((batch * seq) as u64));
        group.bench_function(workload, |b| {
            b.iter(|| {
                let (outputs, _, tape) = train::dynamic_rnn(&cell, &x, lengths, None).expect("the workload is valid");
                (outputs, tape.backward(&d_outputs).expect("the gradient has the outputs' shape"))
            });
        });
    }
    group.finish();
}

fn training(c: &mut Criterion) {
    bench_cell(c, "lstm", Lstm::new);
    bench_cell(c, "gru", |input, hidden, rng| {
        Gru::<f32>::builder(input, hidden).reset(GruReset::After).build(rng).expect("the sizes are not 0")
    });
    bench_cell(c, "rnn", BasicRnn::new);
}

criterion_group!(benches, training);
criterion_main!(benches);
