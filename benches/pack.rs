//! Packing a cell's weights against copying them into a buffer that is there: at most three times as long.
//!
//! An optimizer's step changes every weight; what it then pays is the packing.
//! `cargo bench --manifest-path benches/Cargo.toml --bench pack`

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ndarray::ArrayD;
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use rnn_cell::{BasicRnn, Gru, Lstm, ParametersMut};
use std::hint::black_box;

fn pack(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pack");
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    for (input, hidden) in [(64, 128), (128, 256), (512, 512), (1024, 1024)] {
        let mut measure = |name: &str, cell: &mut dyn ParametersMut<f32>| {
            let mut buffers: Vec<ArrayD<f32>> = Vec::new();
            cell.visit_parameters(&mut |_, weights| buffers.push(weights.to_owned()));
            let size = format!("{input}x{hidden}");
            group.bench_function(BenchmarkId::new(format!("{name} copy"), &size), |bencher| {
                bencher.iter(|| {
                    let mut buffers = buffers.iter_mut();
                    cell.visit_parameters(&mut |_, weights| buffers.next().unwrap().assign(&weights));
                    black_box(&mut buffers);
                });
            });
            // The visitor repacks when it returns.
            group.bench_function(BenchmarkId::new(format!("{name} pack"), &size), |bencher| {
                bencher.iter(|| cell.visit_parameters_mut(&mut |_, weights| _ = black_box(weights)));
            });
        };
        measure("lstm", &mut Lstm::<f32>::new(input, hidden, &mut rng));
        measure("gru", &mut Gru::<f32>::new(input, hidden, &mut rng));
        measure("rnn", &mut BasicRnn::<f32>::new(input, hidden, &mut rng));
    }
    group.finish();
}

criterion_group!(benches, pack);
criterion_main!(benches);
