//! The forward pass of every cell, through the driver and through a plain loop over `step`.
//!
//! - `forward/<cell>/<workload>`: `dynamic_rnn` over the whole sequence, from the zero state to all outputs; `stream`
//!   pushes one step into a `Stream`
//! - `step_loop/<cell>/<workload>`: the same with `step` called by hand; a ragged batch steps its padding too
//! - `custom/driver`, `custom/loop`: a cell written with ndarray alone, through the driver and by hand
//!
//! Everything is f32, and on one thread without the feature `rayon`. `make bench` runs all of it. After
//! `--bench forward --`, a name such as `forward/lstm` runs what it matches.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, Array3, ArrayRef2, Axis, s};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::GruReset;
use rnn_cell::{BasicRnn, Gru, Lstm, RnnCell, State, Stream, dynamic_rnn, init};
use std::time::Duration;

struct Workload {
    name: &'static str,
    batch: usize,
    seq: usize,
    input: usize,
    hidden: usize,
    /// Random lengths from 1 to seq, instead of seq for every row.
    ragged: bool,
}

const fn workload(name: &'static str, batch: usize, seq: usize, input: usize, hidden: usize) -> Workload {
    Workload { name, batch, seq, input, hidden, ragged: false }
}

const STREAM: Workload = workload("stream", 1, 1, 64, 64);
const BATCH32: Workload = workload("batch32", 32, 100, 128, 256);
const SEQUENCES: [Workload; 10] = [
    workload("hello", 3, 5, 4, 2),
    workload("tiny", 1, 100, 32, 64),
    workload("small", 1, 100, 64, 128),
    workload("speech", 1, 100, 128, 256),
    workload("lstm512_b1", 1, 100, 512, 512),
    workload("long", 1, 5000, 64, 128),
    Workload { name: "ragged", ragged: true, ..BATCH32 },
    BATCH32,
    workload("batch64", 64, 100, 512, 512),
    workload("wide", 128, 25, 1024, 1024),
];

impl Workload {
    fn inputs(&self, rng: &mut Xoshiro256PlusPlus) -> Array3<f32> {
        Array3::from_shape_simple_fn((self.batch, self.seq, self.input), || rng.random_range(-1.0..1.0))
    }
    fn lengths(&self) -> Option<Vec<usize>> {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(2); // of its own: every cell gets the same lengths
        self.ragged.then(|| (0..self.batch).map(|_| rng.random_range(1..=self.seq)).collect())
    }
}

/// What a user writes who has the cell but no driver: outputs and the final state, masked.
fn step_loop<C: RnnCell<Elem = f32>>(
    cell: &C,
    inputs: &Array3<f32>,
    lengths: Option<&[usize]>,
) -> (Array3<f32>, C::State) {
    let (batch, seq, _) = inputs.dim();
    let mut outputs = Array3::zeros((batch, seq, cell.output_size()));
    let mut state = cell.zero_state(batch);
    let mut finals = state.clone();
    let mut workspace = C::Workspace::default();
    for (t, input) in inputs.axis_iter(Axis(1)).enumerate() {
        cell.step(&input, &mut state, &mut outputs.index_axis_mut(Axis(1), t), &mut workspace);
        for (row, _) in lengths.unwrap_or(&[]).iter().enumerate().filter(|&(_, &length)| length == t + 1) {
            finals.copy_row(row, &state, row);
        }
    }
    let Some(lengths) = lengths else { return (outputs, state) };
    for (row, &length) in lengths.iter().enumerate() {
        outputs.slice_mut(s![row, length.., ..]).fill(0.0);
    }
    (outputs, finals)
}

fn group<'a>(c: &'a mut Criterion, name: String) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(name);
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    group
}

fn bench_cell<C: RnnCell<Elem = f32>>(
    c: &mut Criterion,
    name: &str,
    new: impl Fn(usize, usize, &mut Xoshiro256PlusPlus) -> C,
) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    bench_stream(c, name, &new(STREAM.input, STREAM.hidden, &mut rng), &STREAM.inputs(&mut rng));
    for workload in &SEQUENCES {
        let cell = new(workload.input, workload.hidden, &mut rng);
        let x = workload.inputs(&mut rng);
        let lengths = workload.lengths();
        let steps = lengths.as_ref().map_or(workload.batch * workload.seq, |lengths| lengths.iter().sum());

        let mut forward = group(c, format!("forward/{name}"));
        forward.throughput(Throughput::Elements(steps as u64));
        forward.bench_function(workload.name, |b| {
            b.iter(|| dynamic_rnn(&cell, &x, lengths.as_deref(), None).expect("the workload is valid"));
        });
        forward.finish();

        let mut by_step = group(c, format!("step_loop/{name}"));
        by_step.throughput(Throughput::Elements(steps as u64));
        by_step.bench_function(workload.name, |b| b.iter(|| step_loop(&cell, &x, lengths.as_deref())));
        by_step.finish();
    }
}

/// One step with the state carried over: pushed into a `Stream`, and `step` with everything kept by hand.
fn bench_stream<C: RnnCell<Elem = f32>>(c: &mut Criterion, name: &str, cell: &C, x: &Array3<f32>) {
    let input = x.index_axis(Axis(1), 0);
    let mut stream = Stream::new(cell, 1);
    group(c, format!("forward/{name}")).bench_function(STREAM.name, |b| {
        b.iter(|| stream.push(&input).expect("the workload is valid")[[0, 0]]);
    });

    let mut state = cell.zero_state(1);
    let mut output = Array2::zeros((1, cell.output_size()));
    let mut workspace = C::Workspace::default();
    group(c, format!("step_loop/{name}")).bench_function(STREAM.name, |b| {
        b.iter(|| cell.step(&input, &mut state, &mut output, &mut workspace));
    });
}

/// A cell without a kernel of its own: h' = tanh(x · w + h · u + b) with ndarray's product.
struct NdarrayRnn {
    w: Array2<f32>,
    u: Array2<f32>,
    b: Array1<f32>,
}

impl RnnCell for NdarrayRnn {
    type Elem = f32;
    type State = Array2<f32>;
    type Workspace = Array2<f32>;

    fn input_size(&self) -> usize {
        self.w.nrows()
    }
    fn output_size(&self) -> usize {
        self.w.ncols()
    }
    fn zero_state(&self, batch: usize) -> Array2<f32> {
        Array2::zeros((batch, self.w.ncols()))
    }
    fn step(&self, x: &ArrayRef2<f32>, h: &mut Array2<f32>, output: &mut ArrayRef2<f32>, sums: &mut Array2<f32>) {
        if sums.dim() != h.dim() {
            *sums = Array2::zeros(h.dim());
        }
        sums.assign(&self.b);
        general_mat_mul(1.0, x, &self.w, 1.0, sums);
        general_mat_mul(1.0, h, &self.u, 1.0, sums);
        h.zip_mut_with(sums, |h, sum| *h = sum.tanh());
        output.assign(h);
    }
}

fn custom(c: &mut Criterion) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let x = BATCH32.inputs(&mut rng);
    let cell = NdarrayRnn {
        w: init::glorot_uniform((BATCH32.input, BATCH32.hidden), &mut rng),
        u: init::glorot_uniform((BATCH32.hidden, BATCH32.hidden), &mut rng),
        b: Array1::zeros(BATCH32.hidden),
    };
    let mut group = group(c, "custom".into());
    group.measurement_time(Duration::from_secs(3));
    group.bench_function("driver", |b| b.iter(|| dynamic_rnn(&cell, &x, None, None).expect("the workload is valid")));
    group.bench_function("loop", |b| b.iter(|| step_loop(&cell, &x, None)));
    group.finish();
}

fn forward(c: &mut Criterion) {
    bench_cell(c, "lstm", Lstm::new);
    bench_cell(c, "gru", |input, hidden, rng| {
        Gru::<f32>::builder(input, hidden).reset(GruReset::After).build(rng).expect("the sizes are not 0")
    });
    bench_cell(c, "gru_before", Gru::new);
    bench_cell(c, "rnn", BasicRnn::new);
}

criterion_group!(benches, forward, custom);
criterion_main!(benches);
