//! Allowed but unusual: memories of other lengths, infinite and missing logits, resets of a position in a memory.

use crate::models::{DEPTH, INPUT, Rng, array, memory, rng, scatter, two_mechanisms};
use ndarray::{Array2, Array3, Axis, array, s};
use rnn_cell::seq2seq::{
    AttentionState, AttentionWrapper, BasicDecoder, BeamSearchDecoder, GreedyEmbeddingHelper, LuongAttention,
    LuongMonotonicAttention, MonotonicMode, Probability, ScheduledEmbeddingTrainingHelper, TrainingHelper,
    dynamic_decode, gather_tree,
};
use rnn_cell::{Dense, DynamicRnn, Embedding, Error, Gru, Lstm, LstmState, RawRnn, RnnCell, State, dynamic_rnn};

type TwoStates = AttentionState<LstmState<f64>, f64>;

/// A state of two mechanisms whose memories have 5 and `time` steps.
fn two_memories(cell: &AttentionWrapper<Lstm<f64>>, time: usize, rng: &mut Rng) -> TwoStates {
    let mechanisms = cell.mechanisms();
    let (first, lengths) = memory(rng);
    let second: Array3<f64> = array((3, time, DEPTH), rng);
    let memories =
        [mechanisms[0].memory(&first, Some(&lengths)).unwrap(), mechanisms[1].memory(&second, None).unwrap()];
    cell.attend_to(&memories).unwrap()
}

#[test]
fn beams_attend_to_memories_of_different_lengths() {
    let mut rng = rng(31);
    let cell = two_mechanisms::<f64>(&mut rng);
    let (embedding, dense) = (Embedding::new(4, INPUT, &mut rng), Dense::new(cell.output_size(), 4, &mut rng));
    for time in [1, 2] {
        let state = two_memories(&cell, time, &mut rng);
        let decoder = |coverage: f64| {
            BeamSearchDecoder::new(&cell, &embedding, (vec![1; 3], 0), state.clone(), 2)
                .output_layer(&dense)
                .coverage_penalty_weight(coverage)
        };
        let found = dynamic_decode(decoder(0.0)).maximum_iterations(3).run().unwrap();
        assert!(found.scores.iter().all(|score| score.is_finite()));
        let refused = dynamic_decode(decoder(0.3)).maximum_iterations(3).run().unwrap_err();
        assert!(matches!(&refused, Error::ArrayShape { expected, found, .. } if expected != found), "{refused}");
        assert!(refused.to_string().contains("mechanism 1"), "{refused}");
    }
}

/// Whatever the state, the logits are these.
fn constant_logits(logits: &[f64], rng: &mut Rng) -> (Gru<f64>, Embedding<f64>, Dense<f64>) {
    let dense = Dense::from_weights(Array2::zeros((3, logits.len())), Some(logits.to_vec().into())).unwrap();
    (Gru::new(2, 3, rng), Embedding::new(logits.len(), 2, rng), dense)
}

#[test]
fn infinite_logits_are_certain_and_equal_ones_share() {
    let mut rng = rng(32);
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    let half = (0.5_f64).ln();
    for (logits, best, log_prob) in [
        ([0.0, inf, 0.0, 1.0], 1, 0.0),
        ([0.0, inf, inf, nan], 1, half),
        ([-inf, -inf, nan, nan], 0, half),
        ([-inf, 3.0, -inf, -inf], 1, 0.0),
    ] {
        let (cell, embedding, dense) = constant_logits(&logits, &mut rng);
        let state = cell.zero_state(1);
        let helper = GreedyEmbeddingHelper::new(&embedding, vec![0], 3);
        let greedy = BasicDecoder::new(&cell, helper, state.clone()).output_layer(&dense);
        let greedy = dynamic_decode(greedy).maximum_iterations(3).run().unwrap();
        assert_eq!(greedy.sample_id.row(0).to_vec(), [best; 3], "{logits:?}");
        for width in [1, 2] {
            let beams =
                BeamSearchDecoder::new(&cell, &embedding, (vec![0], 3), state.clone(), width).output_layer(&dense);
            let found = dynamic_decode(beams).maximum_iterations(3).run().unwrap();
            assert_eq!(found.predicted_ids.slice(s![0, .., 0]).to_vec(), [best; 3], "{logits:?}, {width}");
            assert!((found.log_probs[[0, 0]] - 3.0 * log_prob).abs() < 1e-12, "{logits:?}: {}", found.log_probs);
            assert!(!found.scores.iter().any(|score| score.is_nan()), "{logits:?}: {}", found.scores);
        }
    }
}

/// After a reset to zero a row is what it is at the start, wherever it was in its memory.
#[test]
fn a_reset_to_zero_goes_back_to_the_memorys_beginning() {
    let mut rng = rng(33);
    for mode in [MonotonicMode::Recursive, MonotonicMode::Parallel, MonotonicMode::Hard] {
        let mechanism = LuongMonotonicAttention::builder(4).memory_depth(DEPTH).mode(mode);
        let builder = AttentionWrapper::builder(Gru::new(INPUT + 3, 4, &mut rng), [mechanism.build(&mut rng).unwrap()]);
        let mut cell = builder.attention_layer_size([3]).build(&mut rng).unwrap();
        scatter(&mut cell, &mut rng);
        let start = cell.attend(&memory(&mut rng).0, None).unwrap();
        let x: Array3<f64> = array((3, 6, INPUT), &mut rng);
        let (_, later) = dynamic_rnn(&cell, &x, None, Some(start.clone())).unwrap();
        let resets = Array2::from_shape_fn((3, 6), |(_, time)| time == 2);
        let run = DynamicRnn::new(&cell).initial_state(later).resets(&resets).resets_to_zero(true);
        let (found, state) = run.run(&x).unwrap();
        let (expected, expected_state) = dynamic_rnn(&cell, &x.slice(s![.., 2.., ..]), None, Some(start)).unwrap();
        assert_eq!(found.slice(s![.., 2.., ..]), expected, "{mode:?}");
        assert_eq!(state, expected_state, "{mode:?}");
    }
}

#[test]
fn state_dropout_leaves_alignments_alone() {
    let mut rng = rng(34);
    let cell = two_mechanisms::<f64>(&mut rng);
    let mut state = two_memories(&cell, 7, &mut rng);
    let mut widths = Vec::new();
    state.visit_droppable_mut(&mut |leaf| widths.push(leaf.ncols()));
    assert_eq!(widths, [cell.output_size(), 5]); // the LSTM's h, and the attention
}

#[test]
fn a_memory_of_another_length_in_mid_run_is_an_error() {
    let mut rng = rng(35);
    let cell = two_mechanisms::<f64>(&mut rng);
    let (before, after) = (two_memories(&cell, 5, &mut rng), two_memories(&cell, 7, &mut rng));
    let run = RawRnn::new(&cell, 3).initial_state(before).run(|step| {
        if step.time == 1 {
            *step.state = after.clone();
        }
        step.finished.fill(step.time == 3);
    });
    let refused = run.unwrap_err();
    assert!(matches!(refused, Error::StateShape { .. }), "{refused}");
    assert!(refused.to_string().contains("time 1"), "{refused}");
}

#[test]
fn parents_of_the_first_step_are_not_looked_at() {
    let ids = array![[[1, 2]], [[3, 4]]];
    let parents = array![[[usize::MAX, 7]], [[1, 0]]];
    assert_eq!(gather_tree(&ids, &parents, &[2], 9).unwrap(), array![[[2, 1]], [[3, 4]]]);
}

/// One row's padding of NaN costs the other row nothing.
#[test]
fn nan_past_a_rows_length_is_no_error() {
    let mut rng = rng(36);
    let (cell, embedding) = (Gru::<f64>::new(2, 3, &mut rng), Embedding::new(3, 2, &mut rng));
    let mut x: Array3<f64> = array((2, 3, 2), &mut rng);
    let helper = |x: &Array3<f64>, lengths: &[usize]| {
        let plain = BasicDecoder::new(&cell, TrainingHelper::new(x, lengths), cell.zero_state(lengths.len()));
        let plain = dynamic_decode(plain).impute_finished(false).run().unwrap();
        let drawn = ScheduledEmbeddingTrainingHelper::new(x, lengths, &embedding, 1.0).seed(3);
        let drawn = BasicDecoder::new(&cell, drawn, cell.zero_state(lengths.len()));
        let drawn = dynamic_decode(drawn).impute_finished(false).run().unwrap();
        (plain.rnn_output, plain.sample_id, drawn.sample_id)
    };
    let expected = helper(&x, &[1, 3]);
    x.slice_mut(s![0, 1.., ..]).fill(f64::NAN);
    let found = helper(&x, &[1, 3]);
    assert_eq!(found.0.index_axis(Axis(0), 1), expected.0.index_axis(Axis(0), 1));
    assert_eq!(found.1.row(1), expected.1.row(1));
    assert_eq!(found.2.row(1), expected.2.row(1));
    assert_eq!(found.1[[0, 1]], 0);
}

#[test]
fn a_hard_alignment_skips_nan() {
    let mut rng = rng(37);
    let mechanism = LuongAttention::builder(4).memory_depth(DEPTH).probability_fn(Probability::Hardmax);
    let builder = AttentionWrapper::builder(Gru::new(INPUT + DEPTH, 4, &mut rng), [mechanism.build(&mut rng).unwrap()]);
    let cell = builder.build(&mut rng).unwrap();
    let mut values: Array3<f64> = array((1, 3, DEPTH), &mut rng);
    values.slice_mut(s![0, 0, ..]).fill(f64::NAN);
    let mut state = cell.attend(&values, None).unwrap();
    let mut output = Array2::zeros((1, cell.output_size()));
    cell.step(&array((1, INPUT), &mut rng), &mut state, &mut output, &mut Default::default());
    let alignments = state.alignments(0).row(0).to_vec();
    assert_eq!(alignments[0], 0.0);
    assert_eq!(alignments.iter().sum::<f64>(), 1.0, "{alignments:?}");
}
