//! BeamSearchDecoder.

use super::parts::{ids1, parts};
use super::{ENDED_BEAM, Found, REORDERED, SLOTS};
use crate::case::{Case, Fault};
use ndarray::{Array, ArrayD, Dimension, Ix3, IxDyn};
use rnn_cell::seq2seq::{BeamSearchDecoder, BeamSearchDecoderOutput, dynamic_decode};
use rnn_cell::{DynState, Float, State};

pub fn beam<E: Float>(case: &Case) -> Result<Found, Fault> {
    let starts = ids1(case, "start_tokens")?;
    let (batch, input) = (starts.len(), case.array::<E, ndarray::Ix2>("embedding")?.ncols());
    let parts = parts::<E>(case, batch, input)?;
    let number = |key: &str| parts.decoder[key].as_f64().unwrap_or(0.0);
    let width = number("beam_width") as usize;
    let table = parts.embedding.as_ref().ok_or_else(|| Fault::Broken("no embedding".into()))?;
    let tokens = (starts, number("end_token") as usize);
    let mut search = BeamSearchDecoder::new(&parts.cell.cell, table, tokens, parts.initial.clone(), width)
        .length_penalty_weight(number("length_penalty_weight"))
        .coverage_penalty_weight(number("coverage_penalty_weight"));
    if let Some(dense) = &parts.dense {
        search = search.output_layer(dense);
    }
    let time_major = parts.options["output_time_major"].as_bool().unwrap_or(false);
    let most = parts.options["maximum_iterations"].as_u64().unwrap_or(1000) as usize;
    let run = dynamic_decode(search).maximum_iterations(most).output_time_major(time_major).run()?;

    let mut found = Found { f32_scores: number("length_penalty_weight") != 0.0, ..Found::default() };
    let finished: Vec<bool> = run.finished.iter().copied().collect();
    let ends: Vec<usize> = run.lengths.iter().copied().collect();
    put_outputs(&mut found, &run);
    found.leave_out("final_sequence_lengths", SLOTS);
    // The cell's state: leaves (batch, beam, …), compared where the beam has not finished.
    let mut flat = Found::default();
    let group = "final_state/cell_state/";
    parts.cell.put(case, &mut flat, group, &run.state);
    for (name, leaf) in flat.results {
        let mut shape = vec![batch, width];
        shape.extend(&leaf.numbers.shape()[1..]);
        let numbers = leaf.numbers.into_shape_with_order(IxDyn(&shape)).expect("a row per beam");
        let compared = ArrayD::from_shape_fn(numbers.raw_dim(), |index| !finished[index[0] * width + index[1]]);
        if finished.contains(&true) {
            found.leave_out(name.clone(), ENDED_BEAM);
        }
        found.put_masked(name, numbers, compared);
    }
    flat.left_out.into_iter().for_each(|(name, reason)| found.leave_out(name, reason));
    let histories = case.tensors.keys().filter(|name| name.starts_with(group) && name.ends_with("alignment_history"));
    for name in histories {
        if parts.decoder["reorder_tensor_arrays"] == true {
            found.leave_out(name.clone(), REORDERED);
            continue;
        }
        // As TensorFlow kept it: at each step that of the beams before the choice. A beam's own is its parent's there.
        let tensor = case.array::<f64, Ix3>(name)?;
        let (steps, rows, time) = tensor.dim();
        let mut ours = None;
        parts.cell.attentions(&mut run.state.clone(), &mut |state, _| ours = Some(state.alignment_history(0)));
        let ours = ours.ok_or_else(|| Fault::Broken("nothing attends".into()))?.mapv(E::as_f64);
        let (mut numbers, mut compared) =
            (ArrayD::zeros(tensor.raw_dim().into_dyn()), ArrayD::from_elem(IxDyn(&[steps, rows, time]), false));
        for beam in 0..rows {
            let (row, mut slot) = (beam / width, beam % width);
            for step in (0..steps).rev() {
                slot = run.parent_ids[[row, step, slot]];
                for at in 0..time {
                    // A finished beam goes on in TensorFlow.
                    if step < ends[beam] {
                        numbers[[step, row * width + slot, at]] = ours[[step, beam, at]];
                        compared[[step, row * width + slot, at]] = true;
                    }
                }
            }
        }
        assert!(compared.iter().any(|&compared| compared), "{name}");
        found.put_masked(name.clone(), numbers, compared);
    }
    Ok(found)
}

fn put_outputs<E: Float>(found: &mut Found, run: &BeamSearchDecoderOutput<E, DynState<E>>) {
    fn numbers<D: Dimension>(ids: &Array<usize, D>) -> ArrayD<f64> {
        ids.mapv(|id| id as f64).into_dyn()
    }
    assert_eq!(run.state.batch_size(), run.lengths.len());
    found.put("outputs/predicted_ids", numbers(&run.predicted_ids));
    found.put("outputs/step_ids", numbers(&run.step_ids));
    found.put("outputs/parent_ids", numbers(&run.parent_ids));
    found.put("outputs/scores", run.scores.mapv(E::as_f64).into_dyn());
    found.put("final_state/log_probs", run.log_probs.mapv(E::as_f64).into_dyn());
    found.put("final_state/lengths", numbers(&run.lengths));
    found.put("final_state/finished", run.finished.mapv(|finished| f64::from(u8::from(finished))).into_dyn());
    if let Some(accumulated) = &run.accumulated_attention_probs {
        found.put("final_state/accumulated_attention_probs", accumulated.mapv(E::as_f64).into_dyn());
    }
}
