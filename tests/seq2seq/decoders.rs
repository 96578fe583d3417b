//! Decoders against what they stand for: drivers, loops, and enumeration of all sequences.

use crate::models::{DEPTH, INPUT, Rng, array, memory, rng, scatter};
use ndarray::{Array1, Array2, Array3, Axis, array, s};
use rand::RngExt;
use rnn_cell::seq2seq::{
    AttentionWrapper, BasicDecoder, BeamSearchDecoder, BeamSearchDecoderOutput, GreedyEmbeddingHelper, Helper,
    HelperStep, InferenceHelper, LuongAttention, SampleEmbeddingHelper, ScheduledEmbeddingTrainingHelper,
    ScheduledOutputTrainingHelper, TrainingHelper, dynamic_decode, gather_tree,
};
use rnn_cell::{Dense, Embedding, Error, Gru, RnnCell, State, dynamic_rnn, softmax};

/// A decoder's parts, over a vocabulary of `classes`, with weights large enough for choices to differ.
struct Model {
    cell: AttentionWrapper<Gru<f64>>,
    embedding: Embedding<f64>,
    dense: Dense<f64>,
}

const BATCH: usize = 3;

impl Model {
    fn new(classes: usize, rng: &mut Rng) -> Self {
        let mechanism = LuongAttention::builder(4).memory_depth(DEPTH).build(rng).unwrap();
        let builder = AttentionWrapper::builder(Gru::new(INPUT + 3, 4, rng), [mechanism]);
        let mut cell = builder.attention_layer_size([3]).build(rng).unwrap();
        scatter(&mut cell, rng);
        let embedding = Embedding::from_weights(array::<f64, _>((classes, INPUT), rng) * 3.0).unwrap();
        let dense = Dense::from_weights(array::<f64, _>((3, classes), rng) * 6.0, Some(array(classes, rng))).unwrap();
        Self { cell, embedding, dense }
    }

    fn state(&self, rng: &mut Rng) -> <AttentionWrapper<Gru<f64>> as RnnCell>::State {
        let (memory, lengths) = memory(rng);
        let state = self.cell.attend(&memory, Some(&lengths)).unwrap();
        state.with_cell_state(array((BATCH, 4), rng)).unwrap()
    }

    fn greedy(&self, end: usize) -> GreedyEmbeddingHelper<'_, f64> {
        GreedyEmbeddingHelper::new(&self.embedding, vec![0, 1, 0], end)
    }

    fn beam(
        &self,
        end: usize,
        state: &<AttentionWrapper<Gru<f64>> as RnnCell>::State,
        width: usize,
    ) -> BeamSearchDecoder<'_, AttentionWrapper<Gru<f64>>> {
        let tokens = (vec![0, 1, 0], end);
        BeamSearchDecoder::new(&self.cell, &self.embedding, tokens, state.clone(), width).output_layer(&self.dense)
    }
}

/// Teacher forcing is a driver and a layer.
#[test]
fn training_helpers_are_dynamic_rnn() {
    let mut rng = rng(1);
    let model = Model::new(5, &mut rng);
    let state = model.state(&mut rng);
    let (x, lengths): (Array3<f64>, _) = (array((BATCH, 6, INPUT), &mut rng), [3, 5, 0]);
    let (outputs, last) = dynamic_rnn(&model.cell, &x, Some(&lengths), Some(state.clone())).unwrap();
    let helper = TrainingHelper::new(&x, &lengths);
    let decoder = BasicDecoder::new(&model.cell, helper, state.clone()).output_layer(&model.dense);
    let decoded = dynamic_decode(decoder).run().unwrap();
    assert_eq!(decoded.state, last);
    assert_eq!(decoded.sequence_lengths, lengths);
    assert_eq!(decoded.rnn_output.dim(), (BATCH, 5, 5));
    let logits = model.dense.forward(&outputs).unwrap();
    for (row, &length) in lengths.iter().enumerate() {
        assert_eq!(decoded.rnn_output.slice(s![row, ..length, ..]), logits.slice(s![row, ..length, ..]));
        assert!(decoded.rnn_output.slice(s![row, length.., ..]).iter().all(|&y| y == 0.0));
    }
    // Never sampling is teacher forcing; time-major arrays are the same numbers.
    let helper = ScheduledEmbeddingTrainingHelper::new(&x, &lengths, &model.embedding, 0.0);
    let decoder = BasicDecoder::new(&model.cell, helper, state.clone()).output_layer(&model.dense);
    let scheduled = dynamic_decode(decoder).run().unwrap();
    assert_eq!(scheduled.rnn_output, decoded.rnn_output);
    assert!(scheduled.sample_id.iter().all(Option::is_none));
    let turned = x.view().permuted_axes([1, 0, 2]).as_standard_layout().into_owned();
    let helper = TrainingHelper::new(&turned, &lengths).time_major(true);
    let decoder = BasicDecoder::new(&model.cell, helper, state).output_layer(&model.dense);
    let decoded_again = dynamic_decode(decoder).output_time_major(true).run().unwrap();
    assert_eq!(decoded_again.rnn_output.permuted_axes([1, 0, 2]), decoded.rnn_output);
}

/// One row at a time, by hand.
#[test]
fn greedy_decoding_is_a_loop() {
    let mut rng = rng(2);
    let mut ended = 0;
    for _ in 0..30 {
        let model = Model::new(5, &mut rng);
        let state = model.state(&mut rng);
        let decoder = BasicDecoder::new(&model.cell, model.greedy(2), state.clone()).output_layer(&model.dense);
        let decoded = dynamic_decode(decoder).maximum_iterations(7).run().unwrap();
        for row in 0..BATCH {
            let (mut state, mut token) = (state.select_rows(&[row]), [0, 1, 0][row]);
            let mut output = Array2::zeros((1, 3));
            for step in 0..decoded.sequence_lengths[row] {
                let x = model.embedding.lookup(&array![token]).unwrap();
                model.cell.step(&x, &mut state, &mut output, &mut Default::default());
                let logits = model.dense.forward(&output).unwrap();
                assert_eq!(decoded.rnn_output.slice(s![row, step, ..]), logits.row(0));
                token = rnn_cell::argmax(&logits).unwrap()[0];
                assert_eq!(decoded.sample_id[[row, step]], token);
            }
            ended += usize::from(token == 2);
            assert!(token == 2 || decoded.sequence_lengths[row] == 7);
            assert_eq!(decoded.state.select_rows(&[row]), state);
        }
        // A row that goes on past its end has the same steps before it.
        let decoder = BasicDecoder::new(&model.cell, model.greedy(2), state).output_layer(&model.dense);
        let going = dynamic_decode(decoder).maximum_iterations(7).impute_finished(false).run().unwrap();
        assert_eq!(going.sequence_lengths, decoded.sequence_lengths);
        for (row, &length) in going.sequence_lengths.iter().enumerate() {
            assert_eq!(going.sample_id.slice(s![row, ..length]), decoded.sample_id.slice(s![row, ..length]));
        }
    }
    assert!(ended > 10, "few rows ended: {ended}");
}

/// A beam as wide as there are sequences finds all of them, the best first.
#[test]
fn a_wide_beam_is_brute_force() {
    for (seed, weight) in [(0_u64, 0.0), (3, 0.6), (6, 1.0), (9, -0.5)] {
        let model = Model::new(3, &mut rng(100 + seed));
        let (end, steps) = (2, 4);
        let state = model.state(&mut rng(seed));
        let width = all_sequences(&model, &state, end, (0, 0), (steps, weight)).len();
        let search = model.beam(end, &state, width).length_penalty_weight(weight);
        let found = dynamic_decode(search).maximum_iterations(steps).run().unwrap();
        for row in 0..BATCH {
            let expected = all_sequences(&model, &state, end, (row, [0, 1, 0][row]), (steps, weight));
            for (beam, (score, tokens)) in expected.iter().enumerate() {
                let found_score = found.scores[[row, steps - 1, beam]];
                assert!((found_score - score).abs() < 1e-9, "row {row}, beam {beam}: {found_score}, but {score}");
                let mut padded = tokens.clone();
                padded.resize(steps, end);
                let gap = |other: usize| expected.get(other).map_or(1.0, |other| (other.0 - score).abs());
                if gap(beam + 1) > 1e-9 && (beam == 0 || gap(beam - 1) > 1e-9) {
                    assert_eq!(found.predicted_ids.slice(s![row, .., beam]).to_vec(), padded, "row {row}, beam {beam}");
                    assert_eq!(found.lengths[[row, beam]], tokens.len(), "row {row}, beam {beam}");
                }
            }
        }
    }
}

/// The score of every sequence of a row, and the sequence: all that end, and all of `most` steps. The best first.
fn all_sequences(
    model: &Model,
    state: &<AttentionWrapper<Gru<f64>> as RnnCell>::State,
    end: usize,
    (row, start): (usize, usize),
    (most, weight): (usize, f64),
) -> Vec<(f64, Vec<usize>)> {
    let mut open = vec![(0.0, Vec::new(), state.select_rows(&[row]))];
    let mut all = Vec::new();
    let penalty = |length: usize| ((5.0 + length as f64) / 6.0_f64).powf(weight);
    for step in 0..most {
        let mut longer = Vec::new();
        for (log_prob, tokens, mut state) in open {
            let token = tokens.last().copied().unwrap_or(start);
            let mut output = Array2::zeros((1, 3));
            let x = model.embedding.lookup(&array![token]).unwrap();
            model.cell.step(&x, &mut state, &mut output, &mut Default::default());
            let probabilities = softmax(&model.dense.forward(&output).unwrap());
            for next in 0..model.embedding.vocabulary() {
                let log_prob: f64 = log_prob + probabilities[[0, next]].ln();
                let tokens: Vec<usize> = [&tokens[..], &[next]].concat();
                if next == end {
                    // The end token of the very last step does not count in its length yet, as in TensorFlow.
                    let length = if step + 1 < most { step + 1 } else { step };
                    all.push((log_prob / penalty(length), tokens));
                } else {
                    longer.push((log_prob, tokens, state.clone()));
                }
            }
        }
        open = longer;
    }
    all.extend(open.into_iter().map(|(log_prob, tokens, _)| (log_prob / penalty(most), tokens)));
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    all
}

#[test]
fn a_beam_of_one_is_greedy() {
    let mut rng = rng(4);
    for _ in 0..20 {
        let model = Model::new(6, &mut rng);
        let state = model.state(&mut rng);
        let decoder = BasicDecoder::new(&model.cell, model.greedy(2), state.clone()).output_layer(&model.dense);
        let greedy = dynamic_decode(decoder).maximum_iterations(8).run().unwrap();
        let beam = dynamic_decode(model.beam(2, &state, 1)).maximum_iterations(8).run().unwrap();
        let lengths: Vec<usize> = beam.lengths.iter().copied().collect();
        assert_eq!(lengths, greedy.sequence_lengths);
        for (row, &length) in lengths.iter().enumerate() {
            assert_eq!(beam.predicted_ids.slice(s![row, ..length, 0]), greedy.sample_id.slice(s![row, ..length]));
        }
        assert_eq!(beam.state, greedy.state);
    }
}

/// The rows of a search do not influence each other, and each beam attends to the memory of its row.
#[test]
fn a_search_over_a_batch_is_a_loop() {
    let mut rng = rng(5);
    let model = Model::new(6, &mut rng);
    let state = model.state(&mut rng);
    let run = |rows: &[usize]| -> BeamSearchDecoderOutput<f64, _> {
        let starts = rows.iter().map(|&row| [0, 1, 0][row]).collect();
        let tokens = (starts, 2);
        let search = BeamSearchDecoder::new(&model.cell, &model.embedding, tokens, state.select_rows(rows), 4);
        let search = search.output_layer(&model.dense).length_penalty_weight(0.8).coverage_penalty_weight(0.3);
        dynamic_decode(search).maximum_iterations(9).run().unwrap()
    };
    let all = run(&[0, 1, 2]);
    for row in 0..BATCH {
        let alone = run(&[row]);
        let steps = alone.scores.dim().1;
        assert_eq!(alone.scores.slice(s![0, .., ..]), all.scores.slice(s![row, ..steps, ..]));
        let same = alone.predicted_ids.slice(s![0, .., ..]) == all.predicted_ids.slice(s![row, ..steps, ..]);
        assert!(same, "row {row}");
        assert_eq!(alone.lengths.row(0), all.lengths.row(row));
        let beams: Vec<usize> = (4 * row..4 * row + 4).collect();
        assert_eq!(alone.state, all.state.select_rows(&beams));
        let accumulated = all.accumulated_attention_probs.as_ref().unwrap();
        assert_eq!(
            alone.accumulated_attention_probs.unwrap().index_axis(Axis(0), 0),
            accumulated.index_axis(Axis(0), row)
        );
    }
}

#[test]
fn draws_follow_the_probabilities_and_no_batch() {
    let mut rng = rng(6);
    let cell = Gru::<f64>::new(INPUT, 3, &mut rng);
    let embedding = Embedding::from_weights(array((4, INPUT), &mut rng)).unwrap();
    let dense = Dense::from_weights(Array2::zeros((3, 4)), Some(array![0.0, 1.0, -1.0, f64::NEG_INFINITY])).unwrap();
    let run = |first: usize, rows: usize, temperature: f64| {
        let helper = SampleEmbeddingHelper::new(&embedding, vec![0; rows], 3).seed(7).first_row(first);
        let helper = helper.softmax_temperature(temperature);
        let decoder = BasicDecoder::new(&cell, helper, cell.zero_state(rows)).output_layer(&dense);
        dynamic_decode(decoder).maximum_iterations(50).run().unwrap().sample_id
    };
    let all = run(0, 400, 2.0);
    for (first, rows) in [(0, 1), (1, 7), (395, 5)] {
        assert_eq!(run(first, rows, 2.0), all.slice(s![first..first + rows, ..]));
    }
    let expected = softmax(&array![0.0, 0.5, -0.5, f64::NEG_INFINITY]);
    for token in 0..4 {
        let share = all.iter().filter(|&&drawn| drawn == token).count() as f64 / all.len() as f64;
        // 20,000 draws: three standard deviations are about 0.011.
        assert!((share - expected[token]).abs() < 0.015, "{token}: {share}, but {}", expected[token]);
    }
    assert!(run(0, 5, 1e-3).iter().all(|&token| token == 1));
}

/// A helper of one's own: counts down.
struct Countdown(Vec<usize>);

impl Helper for Countdown {
    type Elem = f64;
    type Sample = usize;
    fn batch_size(&self) -> usize {
        self.0.len()
    }
    fn is_endless(&self) -> bool {
        false
    }
    fn initialize(
        &mut self,
        _: usize,
        inputs: &mut ndarray::ArrayRef2<f64>,
        finished: &mut [bool],
    ) -> Result<(), Error> {
        inputs.fill(1.0);
        finished.iter_mut().zip(&self.0).for_each(|(finished, &left)| *finished = left == 0);
        Ok(())
    }
    fn next(&mut self, step: HelperStep<'_, f64, usize>) -> Result<(), Error> {
        for (at, &row) in step.rows.iter().enumerate() {
            self.0[row] -= 1;
            step.samples[at] = self.0[row];
            step.finished[at] = self.0[row] == 0;
        }
        Ok(())
    }
}

#[test]
fn a_helper_of_ones_own_and_inference() {
    let mut rng = rng(7);
    let cell = Gru::<f64>::new(2, 2, &mut rng);
    let decoder = BasicDecoder::new(&cell, Countdown(vec![2, 0, 3]), cell.zero_state(3));
    let decoded = dynamic_decode(decoder).run().unwrap();
    assert_eq!(decoded.sequence_lengths, [2, 0, 3]);
    assert_eq!(decoded.sample_id, array![[1, 0, 0], [0, 0, 0], [2, 1, 0]]);

    // Feeding its own output back is raw_rnn.
    let start = array::<f64, _>((3, 2), &mut rng);
    let helper = InferenceHelper::new(&start, |output| output.to_vec(), |_| false);
    let decoder = BasicDecoder::new(&cell, helper, cell.zero_state(3));
    let decoded = dynamic_decode(decoder).maximum_iterations(4).run().unwrap();
    let (outputs, state) = rnn_cell::raw_rnn(&cell, 3, |step| {
        match step.output {
            Some(output) => step.next_input.assign(&output),
            None => step.next_input.assign(&start),
        }
        step.finished.fill(step.time == 4);
    })
    .unwrap();
    assert_eq!(decoded.rnn_output.permuted_axes([1, 0, 2]), outputs);
    assert_eq!(decoded.state, state);
    // Always reading the output is the same from the given first input on.
    let x = Array3::from_shape_fn((3, 4, 2), |(b, t, f)| if t == 0 { start[[b, f]] } else { f64::NAN });
    let helper = ScheduledOutputTrainingHelper::new(&x, &[4, 4, 4], 1.0);
    let scheduled = dynamic_decode(BasicDecoder::new(&cell, helper, cell.zero_state(3))).run().unwrap();
    assert_eq!(scheduled.state, state);
    assert!(scheduled.sample_id.iter().all(|&sampled| sampled));
}

#[test]
fn what_cannot_be_decoded_is_an_error() {
    let mut rng = rng(8);
    let model = Model::new(5, &mut rng);
    let state = model.state(&mut rng);
    let (cell, table) = (&model.cell, &model.embedding);
    let message = |helper: SampleEmbeddingHelper<'_, f64>| {
        let decoder = BasicDecoder::new(cell, helper, state.clone()).output_layer(&model.dense);
        dynamic_decode(decoder).maximum_iterations(3).run().unwrap_err().to_string()
    };
    let sample = |tokens: [usize; 3], end| SampleEmbeddingHelper::new(table, tokens.into(), end);
    assert_eq!(message(sample([0, 9, 0], 2)), "start_tokens[1] is 9, but there are only 5 tokens");
    assert_eq!(message(sample([0, 1, 0], 5)), "end_token is 5, but there are only 5 classes");
    for temperature in [0.0, -1.0, f64::NAN] {
        let error = message(sample([0, 1, 0], 2).softmax_temperature(temperature));
        assert_eq!(error, format!("softmax_temperature is {temperature}, but must be finite and above 0"));
    }
    let endless = BasicDecoder::new(cell, model.greedy(2), state.clone()).output_layer(&model.dense);
    let error = dynamic_decode(endless).run().unwrap_err();
    assert_eq!(error.to_string(), "the decoder may never end, but maximum_iterations is not set");
    assert!(matches!(dynamic_decode(model.beam(2, &state, 3)).run(), Err(Error::Endless)));

    let wide = Dense::<f64>::new(9, 5, &mut rng);
    let decoder = BasicDecoder::new(cell, model.greedy(2), state.clone()).output_layer(&wide);
    let error = dynamic_decode(decoder).maximum_iterations(3).run().unwrap_err();
    assert_eq!(error.to_string(), "output_layer's input has shape [9], but must have [3]");
    let wide = Embedding::<f64>::new(5, 7, &mut rng);
    let helper = GreedyEmbeddingHelper::new(&wide, vec![0; 3], 2);
    let error = dynamic_decode(BasicDecoder::new(cell, helper, state.clone())).maximum_iterations(3).run().unwrap_err();
    assert_eq!(error.to_string(), "a row of the embedding has shape [7], but must have [2]");

    let nan = Dense::from_weights(Array2::zeros((3, 5)), Some(Array1::from_elem(5, f64::NAN))).unwrap();
    let decoder = BasicDecoder::new(cell, model.greedy(2), state.clone()).output_layer(&nan);
    let error = dynamic_decode(decoder).maximum_iterations(3).run().unwrap_err();
    assert_eq!(error.to_string(), "the logits of row 0 at step 0 are all NaN");
    let search = model.beam(2, &state, 3).output_layer(&nan);
    assert!(matches!(dynamic_decode(search).maximum_iterations(3).run(), Err(Error::AllNan { row: 0, time: 0 })));

    let beams =
        |search: BeamSearchDecoder<'_, _>| dynamic_decode(search).maximum_iterations(3).run().unwrap_err().to_string();
    assert_eq!(beams(model.beam(2, &state, 0)), "beam_width is 0, but must be at least 1");
    assert_eq!(beams(model.beam(7, &state, 2)), "end_token is 7, but there are only 5 classes");
    // A state that is tiled, or of another batch.
    let tiled = rnn_cell::seq2seq::tile_batch(&state, 2);
    assert_eq!(
        beams(model.beam(2, &tiled, 2)),
        "leaf 0 of initial_state is (6, 4), but must be (3, 4) (batch, features)"
    );
    assert!(beams(model.beam(2, &cell.zero_state(3), 2)).contains("has no memory"));
    let gru = Gru::<f64>::new(INPUT, 5, &mut rng);
    let search =
        BeamSearchDecoder::new(&gru, table, (vec![0; 3], 2), gru.zero_state(3), 2).coverage_penalty_weight(0.5);
    let error = dynamic_decode(search).maximum_iterations(3).run().unwrap_err();
    assert_eq!(error.to_string(), "coverage_penalty_weight is 0.5, but must be 0 if no cell attends");
    let x = Array3::<f64>::zeros((3, 4, INPUT));
    let helper = ScheduledOutputTrainingHelper::new(&x, &[4; 3], 1.5);
    let error = dynamic_decode(BasicDecoder::new(cell, helper, state.clone())).run().unwrap_err();
    assert_eq!(error.to_string(), "sampling_probability is 1.5, but must be from 0 to 1");
    let helper = TrainingHelper::new(&x, &[4, 5, 4]);
    let error = dynamic_decode(BasicDecoder::new(cell, helper, state)).run().unwrap_err();
    assert_eq!(error.to_string(), "sequence_length[1] is 5, but inputs have only 4 steps (inputs are (3, 4, 2))");
}

#[test]
fn trees_have_their_parents() {
    let mut rng = rng(9);
    let ids = Array3::from_shape_simple_fn((4, 2, 3), || rng.random_range(0..3_usize));
    let parents = Array3::from_elem((4, 2, 3), 3);
    let error = gather_tree(&ids, &parents, &[4, 4], 9).unwrap_err();
    assert_eq!(error.to_string(), "parent_ids[3, 0, 0] is 3, but there are only 3 beams");
    assert!(gather_tree(&ids, &parents, &[0, 0], 9).unwrap().iter().all(|&id| id == 9));
    assert!(matches!(gather_tree(&ids, &parents, &[0], 9), Err(Error::ArrayShape { .. })));
}
