//! Decoding with attention, and a training step, as TensorFlow 1.15's own decoders were timed.
//!
//! An LSTM of 256 units with Bahdanau attention over 50 steps of a memory of 256 features (lengths 30 to 50), an attention
//! layer of 256, 1000 tokens with embeddings of 256 features, 50 steps, f32 on one thread. `without attention` is the same
//! cell, output layer and loop, with embeddings alone for input. After `--bench decode --`, a name runs what it
//! matches.

use criterion::{Criterion, criterion_group, criterion_main};
use ndarray::{Array1, Array2, Array3};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::seq2seq::{
    AttentionState, AttentionWrapper, BahdanauAttention, BasicDecoder, BeamSearchDecoder, GreedyEmbeddingHelper,
    dynamic_decode,
};
use rnn_cell::train::{self, sequence_weights};
use rnn_cell::{Dense, Embedding, Lstm, LstmState, RnnCell};
use std::time::Duration;

const UNITS: usize = 256;
const STEPS: usize = 50;
const TOKENS: usize = 1000;
/// A token that ends a row, which the output layer never chooses.
const END: usize = 0;

struct Model {
    cell: AttentionWrapper<Lstm<f32>>,
    embedding: Embedding<f32>,
    dense: Dense<f32>,
    rng: Xoshiro256PlusPlus,
}

impl Model {
    fn new() -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let mechanism = BahdanauAttention::builder(UNITS).build(&mut rng).expect("the sizes are not 0");
        let builder = AttentionWrapper::builder(Lstm::new(2 * UNITS, UNITS, &mut rng), [mechanism]);
        let cell = builder.attention_layer_size([UNITS]).build(&mut rng).expect("the sizes fit");
        let bias = Array1::from_shape_fn(TOKENS, |token| if token == END { -1e30 } else { 0.0 });
        let kernel = rnn_cell::init::glorot_uniform((UNITS, TOKENS), &mut rng);
        let dense = Dense::from_weights(kernel, Some(bias)).expect("the bias fits");
        Self { cell, embedding: Embedding::new(TOKENS, UNITS, &mut rng), dense, rng }
    }

    fn state(&mut self, batch: usize) -> AttentionState<LstmState<f32>, f32> {
        let rng = &mut self.rng;
        let memory = Array3::from_shape_simple_fn((batch, STEPS, UNITS), || rng.random_range(-1.0..1.0));
        self.cell.attend(&memory, Some(&lengths(batch))).expect("the memory fits")
    }
}

/// From 30 to 50.
fn lengths(batch: usize) -> Vec<usize> {
    (0..batch).map(|row| 30 + 20 * row / (batch - 1)).collect()
}

fn greedy<C: RnnCell<Elem = f32>>(model: &Model, cell: &C, state: C::State) {
    let helper = GreedyEmbeddingHelper::new(&model.embedding, vec![1; 32], END);
    let decoder = BasicDecoder::new(cell, helper, state).output_layer(&model.dense);
    let decoded = dynamic_decode(decoder).maximum_iterations(STEPS).run().expect("the workload is valid");
    assert_eq!(decoded.sample_id.dim(), (32, STEPS));
}

fn decoding(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    let mut model = Model::new();
    let state = model.state(32);
    group.bench_function("greedy, batch 32", |b| b.iter(|| greedy(&model, &model.cell, state.clone())));
    let plain = Lstm::new(UNITS, UNITS, &mut model.rng);
    group.bench_function("greedy, batch 32, without attention", |b| {
        b.iter(|| greedy(&model, &plain, plain.zero_state(32)));
    });
    let state = model.state(8);
    group.bench_function("beam 5, batch 8", |b| {
        b.iter(|| {
            let tokens = (vec![1; 8], END);
            let search = BeamSearchDecoder::new(&model.cell, &model.embedding, tokens, state.clone(), 5);
            let search = search.output_layer(&model.dense).length_penalty_weight(1.0);
            dynamic_decode(search).maximum_iterations(STEPS).run().expect("the workload is valid")
        });
    });
    let rng = &mut model.rng;
    let memory = Array3::from_shape_simple_fn((32, STEPS, UNITS), || rng.random_range(-1.0_f32..1.0));
    let mut ids = || Array2::from_shape_simple_fn((32, STEPS), || rng.random_range(1..TOKENS));
    let (said, targets, lengths) = (ids(), ids(), lengths(32));
    let weights = sequence_weights::<f32>(&lengths, STEPS).expect("lengths are at most the steps");
    group.bench_function("training step, batch 32", |b| {
        b.iter(|| {
            let state = model.cell.attend(&memory, Some(&lengths))?;
            let inputs = model.embedding.lookup(&said)?;
            let (outputs, _, tape) = train::dynamic_rnn(&model.cell, &inputs, Some(&lengths), Some(state))?;
            let (_, d_logits) = train::sequence_loss(&model.dense.forward(&outputs)?, &targets, &weights)?;
            let (d_outputs, d_dense) = model.dense.backward(&outputs, &d_logits)?;
            let back = tape.backward(&d_outputs)?;
            let d_embedding = model.embedding.backward(&said, &back.inputs)?;
            Ok::<_, rnn_cell::Error>((d_dense, back.initial_state.memory_gradient(0), back.parameters, d_embedding))
        });
    });
    group.finish();
}

criterion_group!(benches, decoding);
criterion_main!(benches);
