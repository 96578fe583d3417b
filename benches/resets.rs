//! What resets cost: an actor's rollouts, 128 rows of 128 steps, with and without 3 % of the steps reset.
//!
//! `resets/<cell>/<run or record>/<none, to_initial or to_zero>`, f32 on one thread; `record` also runs backward.
//! Compare the rows of one run: a reset may cost at most 1.3 times a run without.

use criterion::{Criterion, criterion_group, criterion_main};
use ndarray::{Array2, Array3};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::train::TrainableCell;
use rnn_cell::{DynamicRnn, Gru, Lstm};
use std::time::Duration;

const ROWS: usize = 128;
const STEPS: usize = 128;
const UNITS: usize = 256;

fn bench_cell<C: TrainableCell<Elem = f32>>(c: &mut Criterion, name: &str, cell: &C) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut random = || Array3::from_shape_simple_fn((ROWS, STEPS, UNITS), || rng.random_range(-1.0..1.0));
    let (x, d_outputs) = (random(), random());
    let resets = Array2::from_shape_simple_fn((ROWS, STEPS), || rng.random_bool(0.03));
    let driver = |kind| match kind {
        "none" => DynamicRnn::new(cell),
        _ => DynamicRnn::new(cell).resets(&resets).resets_to_zero(kind == "to_zero"),
    };
    let mut group = c.benchmark_group(format!("resets/{name}"));
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    for kind in ["none", "to_initial", "to_zero"] {
        group.bench_function(format!("run/{kind}"), |b| {
            b.iter(|| driver(kind).run(&x).expect("the resets are laid out as the inputs"));
        });
    }
    for kind in ["none", "to_initial", "to_zero"] {
        group.bench_function(format!("record/{kind}"), |b| {
            b.iter(|| {
                let (outputs, _, tape) = driver(kind).record(&x).expect("the resets are laid out as the inputs");
                (outputs, tape.backward(&d_outputs).expect("the gradient has the outputs' shape"))
            });
        });
    }
    group.finish();
}

fn resets(c: &mut Criterion) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(2);
    bench_cell(c, "lstm", &Lstm::<f32>::new(UNITS, UNITS, &mut rng));
    bench_cell(c, "gru", &Gru::<f32>::new(UNITS, UNITS, &mut rng));
}

criterion_group!(benches, resets);
criterion_main!(benches);
