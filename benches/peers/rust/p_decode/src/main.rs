//! Decoders with attention, beside py/peer_torch_decode.py: greedy, beam search and a teacher-forced training step, compared
//! with the numbers of py/gen_decode.py before they are timed. The largest error goes to the log.
use common::*;
use ndarray::prelude::*;
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::seq2seq::{
    AttentionState, AttentionWrapper, BahdanauAttention, BasicDecoder, BasicDecoderOutput, BeamSearchDecoder,
    BeamSearchDecoderOutput, GreedyEmbeddingHelper, dynamic_decode,
};
use rnn_cell::train::{self, Gradients, sequence_weights};
use rnn_cell::{Dense, Embedding, Error, Lstm, LstmState, ParametersMut};
use std::hint::black_box;

const UNITS: usize = 256;
const STEPS: usize = 50;
const TOKENS: usize = 1000;
const START: usize = 1;
/// A token that the output layer never chooses.
const END: usize = 0;

type AttentionLstmState = AttentionState<LstmState<f32>, f32>;

/// The names of the cell's parameters, and of their files.
const NAMES: [(&str, &str); 6] = [
    ("kernel", "kernel"), ("bias", "bias"), ("memory_layer/kernel", "memory_layer"), ("query_layer/kernel", "query_layer"),
    ("attention_v", "attention_v"), ("attention_layer/kernel", "attention_layer"),
];

struct Model {
    cell: AttentionWrapper<Lstm<f32>>,
    embedding: Embedding<f32>,
    dense: Dense<f32>,
}

impl Model {
    fn new() -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let mechanism = BahdanauAttention::builder(UNITS).build(&mut rng).unwrap();
        let builder = AttentionWrapper::builder(Lstm::new(2 * UNITS, UNITS, &mut rng), [mechanism]);
        let mut cell = builder.attention_layer_size([UNITS]).build(&mut rng).unwrap();
        cell.visit_parameters_mut(&mut |name, mut weight| {
            let (_, file) = NAMES.iter().find(|(known, _)| *known == name).expect("every parameter has a file");
            let shape = weight.raw_dim();
            weight.assign(&ArrayD::from_shape_vec(shape, decode_data(file)).unwrap());
        });
        let matrix = |name, shape| Array2::from_shape_vec(shape, decode_data(name)).unwrap();
        let bias = Some(Array1::from(decode_data("output_bias")));
        let dense = Dense::from_weights(matrix("output", (UNITS, TOKENS)), bias).unwrap();
        Self { cell, embedding: Embedding::from_weights(matrix("embedding", (TOKENS, UNITS))).unwrap(), dense }
    }

    fn greedy(&self, state: AttentionLstmState) -> BasicDecoderOutput<f32, usize, AttentionLstmState> {
        let helper = GreedyEmbeddingHelper::new(&self.embedding, vec![START; 32], END);
        let decoder = BasicDecoder::new(&self.cell, helper, state).output_layer(&self.dense);
        dynamic_decode(decoder).maximum_iterations(STEPS).run().unwrap()
    }

    fn beam(&self, state: AttentionLstmState) -> BeamSearchDecoderOutput<f32, AttentionLstmState> {
        let search = BeamSearchDecoder::new(&self.cell, &self.embedding, (vec![START; 8], END), state, 5);
        let search = search.output_layer(&self.dense).length_penalty_weight(1.0);
        dynamic_decode(search).maximum_iterations(STEPS).run().unwrap()
    }

    /// The loss and all gradients, named as the files are.
    fn train(&self, batch: &Batch) -> Result<(f32, Array3<f32>, Gradients<f32>), Error> {
        let state = self.cell.attend(&batch.memory, Some(&batch.lengths))?;
        let inputs = self.embedding.lookup(&batch.said)?;
        let (outputs, _, tape) = train::dynamic_rnn(&self.cell, &inputs, Some(&batch.lengths), Some(state))?;
        let weights = sequence_weights::<f32>(&batch.lengths, STEPS)?;
        let (loss, d_logits) = train::sequence_loss(&self.dense.forward(&outputs)?, &batch.targets, &weights)?;
        let (d_outputs, d_dense) = self.dense.backward(&outputs, &d_logits)?;
        let back = tape.backward(&d_outputs)?;
        let d_embedding = self.embedding.backward(&batch.said, &back.inputs)?;
        let d_memory = back.initial_state.memory_gradient(0).expect("steps ran");
        Ok((loss, d_memory, Gradients::join([("cell", back.parameters), ("output", d_dense), ("embedding", d_embedding)])))
    }
}

struct Batch {
    memory: Array3<f32>,
    lengths: Vec<usize>,
    said: Array2<usize>,
    targets: Array2<usize>,
}

fn memory(batch: usize) -> (Array3<f32>, Vec<usize>) {
    let memory = Array3::from_shape_vec((batch, STEPS, UNITS), decode_data(&format!("memory_{batch}"))).unwrap();
    (memory, decode_ids(&format!("lengths_{batch}")))
}

/// As `check`, and prints the error.
fn compare(wl: &str, name: &str, found: &[f32], expected: &[f32], tolerance: f32) -> Result<(), String> {
    println!("{wl}: {name}: largest error {:.1e}", max_err(found, expected));
    check(name, found, expected, tolerance)
}

/// As `compare`, relative to the largest gradient.
fn compare_gradient(wl: &str, name: &str, found: &[f32], expected: &[f32]) -> Result<(), String> {
    let largest = expected.iter().fold(0.0, |most: f32, d| most.max(d.abs()));
    let relative = |numbers: &[f32]| -> Vec<f32> { numbers.iter().map(|d| d / largest).collect() };
    compare(wl, name, &relative(found), &relative(expected), 1e-3)
}

fn same(name: &str, found: impl IntoIterator<Item = usize>, expected: &[usize]) -> Result<(), String> {
    if found.into_iter().eq(expected.iter().copied()) { Ok(()) } else { Err(format!("{name} differ")) }
}

fn measure(model: &Model, bench: &mut Bench, wl: &str, mode: &str) -> Result<(), String> {
    match wl {
        "greedy" => {
            let (memory, lengths) = memory(32);
            let run = || model.greedy(model.cell.attend(black_box(&memory), Some(&lengths)).unwrap());
            let found = run();
            same("tokens", found.sample_id, &decode_ids("greedy_ids"))?;
            let live = |logits: &[f32]| -> Vec<f32> { logits.iter().copied().filter(|logit| *logit > -1e29).collect() };
            let logits = live(found.rnn_output.as_slice().expect("outputs are in standard layout"));
            compare(wl, "logits", &logits, &live(&decode_data("greedy_logits")), 1e-3)?;
            bench.time_row("decode", wl, mode, || {
                black_box(run());
            })
        }
        "beam" => {
            let (memory, lengths) = memory(8);
            let run = || model.beam(model.cell.attend(black_box(&memory), Some(&lengths)).unwrap());
            let found = run();
            same("beams", found.predicted_ids, &decode_ids("beam_ids"))?;
            let last: Vec<f32> = found.scores.index_axis(Axis(1), STEPS - 1).iter().copied().collect();
            compare(wl, "scores", &last, &decode_data("beam_scores"), 1e-3)?;
            bench.time_row("decode", wl, mode, || {
                black_box(run());
            })
        }
        _ => {
            let (memory, lengths) = memory(32);
            let ids = |name| Array2::from_shape_vec((32, STEPS), decode_ids(name)).unwrap();
            let batch = Batch { memory, lengths, said: ids("said"), targets: ids("targets") };
            let run = || model.train(black_box(&batch)).unwrap();
            let (loss, d_memory, gradients) = run();
            compare(wl, "loss", &[loss], &decode_data("loss"), 1e-4)?;
            compare_gradient(wl, "d_memory", d_memory.as_slice().unwrap(), &decode_data("d_memory"))?;
            let parts = NAMES.iter().map(|(name, file)| (format!("cell/{name}"), *file)).filter(|(_, file)| *file != "bias" && *file != "kernel");
            for (name, file) in parts.chain([("output/kernel".into(), "output"), ("embedding/embeddings".into(), "embedding")]) {
                let found: Vec<f32> = gradients.get(&name).ok_or("no such gradient")?.iter().copied().collect();
                compare_gradient(wl, file, &found, &decode_data(&format!("d_{file}")))?;
            }
            bench.time_row("decode", wl, mode, || {
                black_box(run());
            })
        }
    }
}

fn main() {
    let model = Model::new();
    Bench::new("rnn-cell", Bench::threads_arg()).run_decode(|bench, wl, mode| measure(&model, bench, wl, mode));
}
