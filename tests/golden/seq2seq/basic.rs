//! dynamic_rnn over cells that attend, and BasicDecoder with every helper.

use super::cells::{Built, Memories, built, memories};
use super::parts::{Encoder, Parts, ids, ids1, parts};
use super::{Found, HISTORY_GRADIENT};
use crate::back::with;
use crate::case::{Case, Fault};
use ndarray::{Array1, Array2, Array3, ArrayD, Axis, Ix2, Ix3, s};
use rnn_cell::seq2seq::{
    BasicDecoderOutput, GreedyEmbeddingHelper, InferenceHelper, SampleEmbeddingHelper,
    ScheduledEmbeddingTrainingHelper, ScheduledOutputTrainingHelper, TrainableHelper, TrainingHelper,
};
use rnn_cell::train::{self, Gradients, Tape};
use rnn_cell::{DynState, Embedding, Error, Float, RnnCell, dynamic_rnn};

fn turned<E: Float>(x: Array3<E>, time_major: bool) -> Array3<E> {
    if time_major { x.permuted_axes([1, 0, 2]).as_standard_layout().into_owned() } else { x }
}

fn put_gradients<E: Float>(found: &mut Found, prefix: &str, gradients: &Gradients<E>) {
    for (name, gradient) in gradients.iter() {
        found.put(format!("grad/{prefix}{name}"), gradient.mapv(E::as_f64));
    }
}

fn put_d_state<E: Float>(found: &mut Found, case: &Case, cell: &Built<E>, d_initial: &DynState<E>) {
    cell.put(case, found, "grad/initial_state/", d_initial);
    // Only `attention_state` is read by a step.
    let unread =
        case.tensors.keys().filter(|name| name.starts_with("grad/initial_state/") && name.ends_with("alignments"));
    for name in unread {
        found.put(name.clone(), ArrayD::zeros(case.tensors[name].raw_dim()));
    }
    for (name, d) in cell.d_memories(d_initial) {
        found.put(format!("grad/{name}"), d.mapv(E::as_f64).into_dyn());
    }
}

pub fn rnn<E: Float>(case: &Case) -> Result<Found, Fault> {
    let mut found = Found::default();
    let x = turned(case.array::<E, Ix3>("x")?, case.time_major);
    let (batch, seq, input) = x.dim();
    let lengths = case.lengths()?.unwrap_or_else(|| vec![seq; batch]);
    let cell = built::<E>(case, &case.spec, ("", ""), (input, batch), &memories(case)?)?;
    let mut dirty = x.clone();
    for (row, &length) in lengths.iter().enumerate() {
        dirty.slice_mut(s![row, length.., ..]).fill(E::of(f64::NAN));
    }
    let (outputs, last, tape) = train::dynamic_rnn(&cell.cell, &dirty, Some(&lengths), Some(cell.initial(case)?))?;
    let again = dynamic_rnn(&cell.cell, &dirty, Some(&lengths), Some(cell.initial(case)?))?;
    if again.0 != outputs {
        return Err(Fault::Broken("a recorded run differs from one that is not".into()));
    }
    found.put("outputs", turned(outputs, case.time_major).mapv(E::as_f64).into_dyn());
    cell.put(case, &mut found, "final_state/", &last);
    let cut = cell.put_histories(&mut found, case, "final_state/", &last, &lengths);
    if cut {
        found.leave_out_gradients(case, HISTORY_GRADIENT);
        return Ok(found);
    }
    let d_outputs = turned(case.array::<E, Ix3>("cotangent/outputs")?, case.time_major);
    let back = tape.d_final_state(cell.d_final(case, &last, &lengths)?).backward(&d_outputs)?;
    found.put("grad/x", turned(back.inputs, case.time_major).mapv(E::as_f64).into_dyn());
    put_gradients(&mut found, "", &back.parameters);
    put_d_state(&mut found, case, &cell, &back.initial_state);
    Ok(found)
}

/// A run of a decoder, its samples as numbers (batch, steps, width).
struct Decoded<E: Float> {
    outputs: Array3<E>,
    samples: Array3<f64>,
    /// 1 where samples are numbers of tokens, which then have no last axis.
    tokens: bool,
    state: DynState<E>,
    lengths: Vec<usize>,
}

fn decoded<E: Float, S: Clone>(
    output: BasicDecoderOutput<E, S, DynState<E>>,
    tokens: bool,
    width: usize,
    number: impl Fn(&S, bool) -> Vec<f64>,
) -> Decoded<E> {
    let BasicDecoderOutput { rnn_output, sample_id, state, sequence_lengths } = output;
    let mut samples = Array3::zeros((sample_id.dim().0, sample_id.dim().1, width));
    for ((row, step), sample) in sample_id.indexed_iter() {
        let numbers = number(sample, step < sequence_lengths[row]);
        numbers.iter().enumerate().for_each(|(at, &number)| samples[[row, step, at]] = number);
    }
    Decoded { outputs: rnn_output, samples, tokens, state, lengths: sequence_lengths }
}

/// What a step of a row read: the file's input, or a token.
#[derive(Clone, Copy, PartialEq)]
enum Read {
    Given,
    Token(usize),
}

pub fn decode<E: Float>(case: &Case) -> Result<Found, Fault> {
    let decoder_ids = case.tensors.contains_key("decoder_ids").then(|| ids(case, "decoder_ids")).transpose()?;
    let x = match &decoder_ids {
        Some(ids) => Some(Embedding::from_weights(case.array::<E, Ix2>("embedding")?)?.lookup(ids)?),
        None if case.tensors.contains_key("x") => Some(turned(case.array::<E, Ix3>("x")?, case.time_major)),
        None => None,
    };
    let start_tokens = case.tensors.contains_key("start_tokens").then(|| ids1(case, "start_tokens")).transpose()?;
    let start_inputs =
        case.tensors.contains_key("start_inputs").then(|| case.array::<E, Ix2>("start_inputs")).transpose()?;
    let auxiliary = case.tensors.contains_key("auxiliary_inputs").then(|| case.array::<E, Ix3>("auxiliary_inputs"));
    let auxiliary = auxiliary.transpose()?.map(|auxiliary| turned(auxiliary, case.time_major));
    let (batch, input) = match (&x, &start_tokens, &start_inputs) {
        (Some(x), ..) => (x.dim().0, x.dim().2 + auxiliary.as_ref().map_or(0, |auxiliary| auxiliary.dim().2)),
        (_, Some(tokens), _) => (tokens.len(), case.array::<E, Ix2>("embedding")?.ncols()),
        (.., Some(inputs)) => inputs.dim(),
        _ => return Err(Fault::Broken("no inputs".into())),
    };
    let parts = parts::<E>(case, batch, input)?;
    let x_lengths = case.lengths()?.unwrap_or_default();
    let helper = &parts.decoder["helper"];
    let probability = helper["sampling_probability"].as_f64().unwrap_or(0.0);
    let token = |&token: &usize, _: bool| vec![token as f64];
    let given = || x.as_ref().ok_or_else(|| Fault::Broken("no x".into()));
    let table = || parts.embedding.as_ref().ok_or_else(|| Fault::Broken("no embedding".into()));
    let starts = || start_tokens.clone().ok_or_else(|| Fault::Broken("no start_tokens".into()));
    let end = helper["end_token"].as_u64().unwrap_or(0) as usize;
    let mut found = Found::default();
    let run: Decoded<E> = match parts.helper_kind() {
        "TrainingHelper" => decoded(parts.run(TrainingHelper::new(given()?, &x_lengths))?, true, 1, token),
        "GreedyEmbeddingHelper" => {
            decoded(parts.run(GreedyEmbeddingHelper::new(table()?, starts()?, end))?, true, 1, token)
        }
        "SampleEmbeddingHelper" => {
            let temperature = helper["softmax_temperature"].as_f64().unwrap_or(1.0);
            let sample = SampleEmbeddingHelper::new(table()?, starts()?, end).softmax_temperature(temperature);
            decoded(parts.run(sample)?, true, 1, token)
        }
        "ScheduledEmbeddingTrainingHelper" => {
            let scheduled = ScheduledEmbeddingTrainingHelper::new(given()?, &x_lengths, table()?, probability);
            let impute = parts.impute();
            decoded(parts.run(scheduled)?, true, 1, |token, runs| {
                vec![token.map_or(if runs || !impute { -1.0 } else { 0.0 }, |token| token as f64)]
            })
        }
        "ScheduledOutputTrainingHelper" => {
            let x = given()?;
            let scheduled = || {
                let mut scheduled = ScheduledOutputTrainingHelper::new(x, &x_lengths, probability);
                if helper["next_inputs_fn"] == "-outputs" {
                    let negated = |row: &[E]| row.iter().map(|&y| -y).collect::<Vec<_>>();
                    scheduled = scheduled.next_inputs_fn(negated).backward_fn(move |_, d| negated(d));
                }
                match &auxiliary {
                    Some(auxiliary) => scheduled.auxiliary_inputs(auxiliary),
                    None => scheduled,
                }
            };
            let output = fed_back(case, &parts, scheduled, &mut found)?;
            decoded(output, true, 1, |&sampled, _| vec![f64::from(u8::from(sampled))])
        }
        "InferenceHelper" => {
            let above = E::of(helper["end_above"].as_f64().unwrap_or(0.0));
            let start = start_inputs.as_ref().ok_or_else(|| Fault::Broken("no start_inputs".into()))?;
            let inference = || {
                let inference = InferenceHelper::new(start, |output| output.to_vec(), move |sample| sample[0] > above);
                if helper["next_inputs_fn"] == "0.5*sample_ids" {
                    let half = |row: &[E]| row.iter().map(|&y| y * E::of(0.5)).collect::<Vec<_>>();
                    return inference.next_inputs_fn(half).backward_fn(move |_, d| half(d));
                }
                inference.backward_fn(|_, d| d.to_vec())
            };
            let output = fed_back(case, &parts, inference, &mut found)?;
            let width = output.rnn_output.dim().2;
            decoded(output, false, width, |sample, _| sample.iter().map(|y| y.as_f64()).collect())
        }
        other => return Err(Fault::NotSupported(other.to_owned())),
    };
    put_run(case, &parts, &run, &mut found);
    let steps = run.outputs.dim().1;
    let ends = if parts.impute() { run.lengths.clone() } else { vec![steps; batch] };
    let cut = parts.cell.put_histories(&mut found, case, "final_state/", &run.state, &ends);
    let fed = matches!(parts.helper_kind(), "ScheduledOutputTrainingHelper" | "InferenceHelper");
    if fed || !case.tensors.keys().any(|name| name.starts_with("grad/")) {
        return Ok(found);
    }
    let reads = reads(case, &run, probability, start_tokens.as_deref());
    if cut {
        found.leave_out_gradients(case, HISTORY_GRADIENT);
        return Ok(found);
    }
    backward(case, &parts, (&run, &reads), (x.as_ref(), decoder_ids.as_ref()), &ends, &mut found)?;
    Ok(found)
}

/// Runs a decoder whose outputs may be fed back, recorded, and puts its gradients.
fn fed_back<E: Float, H: TrainableHelper<Elem = E>>(
    case: &Case,
    parts: &Parts<E>,
    helper: impl Fn() -> H,
    found: &mut Found,
) -> Result<BasicDecoderOutput<E, H::Sample, DynState<E>>, Fault> {
    let plain = parts.run(helper())?;
    let (output, tape) = parts.decoder(helper()).record()?;
    if (&output.rnn_output, &output.sequence_lengths) != (&plain.rnn_output, &plain.sequence_lengths) {
        return Err(Fault::Broken("a recorded decoder differs from one that is not".into()));
    }
    let steps = output.rnn_output.dim().1;
    let ends =
        if parts.impute() { output.sequence_lengths.clone() } else { vec![steps; output.sequence_lengths.len()] };
    let mut d_outputs = case.array::<E, Ix3>("cotangent/outputs/rnn_output")?;
    if case.tensors.contains_key("cotangent/outputs/sample_id") {
        d_outputs += &case.array::<E, Ix3>("cotangent/outputs/sample_id")?; // samples are the outputs
    }
    for (row, &end) in ends.iter().enumerate() {
        d_outputs.slice_mut(s![row, end.., ..]).fill(E::of(0.0));
    }
    let back = tape.d_final_state(parts.cell.d_final(case, &output.state, &ends)?).backward(&d_outputs)?;
    put_gradients(found, "", &back.cell);
    if let Some(of_layer) = &back.output_layer {
        put_gradients(found, "output_layer/", of_layer);
    }
    let mut d_inputs = back.inputs.mapv(E::as_f64);
    if case.tensors.contains_key("start_inputs") {
        found.put("grad/start_inputs", d_inputs.index_axis(Axis(1), 0).to_owned().into_dyn());
    } else {
        let width = case.array::<E, Ix3>("x")?.dim().2;
        if d_inputs.dim().2 > width {
            found.put("grad/auxiliary_inputs", d_inputs.slice(s![.., .., width..]).to_owned().into_dyn());
        }
        d_inputs = d_inputs.slice(s![.., .., ..width]).to_owned();
        found.put("grad/x", turned(d_inputs, case.time_major).into_dyn());
    }
    put_d_state(found, case, &parts.cell, &back.initial_state);
    Ok(output)
}

fn put_run<E: Float>(case: &Case, parts: &Parts<E>, run: &Decoded<E>, found: &mut Found) {
    let time_major = parts.options["output_time_major"].as_bool().unwrap_or(false);
    let by = |array: Array3<f64>| turned(array, time_major);
    found.put("outputs/rnn_output", by(run.outputs.mapv(E::as_f64)).into_dyn());
    let samples = by(run.samples.clone());
    found.put(
        "outputs/sample_id",
        if run.tokens { samples.index_axis_move(Axis(2), 0).into_dyn() } else { samples.into_dyn() },
    );
    found.put(
        "final_sequence_lengths",
        run.lengths.iter().map(|&length| length as f64).collect::<Array1<_>>().into_dyn(),
    );
    parts.cell.put(case, found, "final_state/", &run.state);
}

/// What each step of each row read, (batch, steps).
fn reads<E: Float>(case: &Case, run: &Decoded<E>, probability: f64, starts: Option<&[usize]>) -> Array2<Read> {
    let kind = case.option("helper").unwrap_or_default();
    let (batch, steps, _) = run.outputs.dim();
    Array2::from_shape_fn((batch, steps), |(row, step)| {
        let before = step.checked_sub(1).map(|step| run.samples[[row, step, 0]]);
        match (kind, before) {
            ("GreedyEmbeddingHelper" | "SampleEmbeddingHelper", None) => {
                Read::Token(starts.map_or(0, |starts| starts[row]))
            }
            ("GreedyEmbeddingHelper" | "SampleEmbeddingHelper", Some(token)) => Read::Token(token as usize),
            ("ScheduledEmbeddingTrainingHelper", Some(token)) if probability > 0.0 => Read::Token(token as usize),
            _ => Read::Given,
        }
    })
}

/// The gradients of a run that fed no output back: those of a recorded run over what it read.
fn backward<E: Float>(
    case: &Case,
    parts: &Parts<E>,
    (run, reads): (&Decoded<E>, &Array2<Read>),
    (x, decoder_ids): (Option<&Array3<E>>, Option<&Array2<usize>>),
    ends: &[usize],
    found: &mut Found,
) -> Result<(), Fault> {
    let (batch, steps, _) = run.outputs.dim();
    let table = parts.embedding.as_ref();
    let mut inputs = Array3::zeros((batch, steps, parts.cell.cell.input_size()));
    for ((row, step), read) in reads.indexed_iter() {
        let mut to = inputs.slice_mut(s![row, step, ..]);
        match (read, table, x) {
            (Read::Token(token), Some(table), _) => to.assign(&table.embeddings().row(*token)),
            (_, _, Some(x)) => to.assign(&x.slice(s![row, step, ..])),
            _ => {}
        }
    }
    let cell = &parts.cell.cell;
    let (outputs, last, tape) = train::dynamic_rnn(cell, &inputs, Some(ends), Some(parts.initial.clone()))?;
    let logits = match &parts.dense {
        Some(dense) => dense.forward(&outputs)?,
        None => outputs.clone(),
    };
    let time_major = parts.options["output_time_major"].as_bool().unwrap_or(false);
    let mut d_logits = match case.option("sequence_loss") {
        Some(_) => {
            let (targets, weights) = (ids(case, "targets")?, case.array::<E, Ix2>("weights")?);
            train::sequence_loss(&logits, &targets, &weights)?.1
        }
        None => turned(case.array::<E, Ix3>("cotangent/outputs/rnn_output")?, time_major),
    };
    for (row, &end) in ends.iter().enumerate() {
        d_logits.slice_mut(s![row, end.., ..]).fill(E::of(0.0));
    }
    let d_outputs = match &parts.dense {
        Some(dense) => {
            let (d_outputs, gradients) = dense.backward(&outputs, &d_logits)?;
            put_gradients(found, "output_layer/", &gradients);
            d_outputs
        }
        None => d_logits,
    };
    let d_last = parts.cell.d_final(case, &last, ends)?;
    let back = tape.d_final_state(d_last).backward(&d_outputs)?;
    put_gradients(found, "", &back.parameters);
    if let Some(table) = table.filter(|_| case.tensors.contains_key("grad/embedding")) {
        // Only rows that were looked up.
        let (mut tokens, mut d_rows) = (Vec::new(), Vec::new());
        for ((row, step), read) in reads.indexed_iter() {
            let token = match (read, decoder_ids) {
                (Read::Token(token), _) => *token,
                (Read::Given, Some(ids)) => ids[[row, step]],
                _ => continue,
            };
            tokens.push(token);
            d_rows.extend(back.inputs.slice(s![row, step, ..]));
        }
        let d_rows = Array2::from_shape_vec((tokens.len(), table.features()), d_rows).expect("a row per token");
        let gradients = table.backward(&Array1::from(tokens), &d_rows)?;
        found.put("grad/embedding", gradients.get("embeddings").expect("its name").mapv(E::as_f64));
    }
    if let (Some(x), true) = (x, case.tensors.contains_key("grad/x")) {
        let mut d_x = Array3::<f64>::zeros(x.raw_dim());
        for ((row, step), _) in reads.indexed_iter().filter(|(_, read)| **read == Read::Given) {
            d_x.slice_mut(s![row, step, ..]).assign(&back.inputs.slice(s![row, step, ..]).mapv(E::as_f64));
        }
        found.put("grad/x", turned(d_x, case.time_major).into_dyn());
    }
    match &parts.encoder {
        None => put_d_state(found, case, &parts.cell, &back.initial_state),
        Some(encoder) => encoder_backward(parts, encoder, &back.initial_state, found)?,
    }
    Ok(())
}

fn encoder_backward<E: Float>(
    parts: &Parts<E>,
    encoder: &Encoder<E>,
    d_initial: &DynState<E>,
    found: &mut Found,
) -> Result<(), Error> {
    let Encoder { cell, embedding, ids, x, lengths } = encoder;
    let (_, _, tape) = train::dynamic_rnn(cell, x, Some(lengths), None)?;
    let d_memories: Memories<E> = parts.cell.d_memories(d_initial);
    let mut d_last = None;
    parts.cell.attentions(&mut d_initial.clone(), &mut |state, _| d_last = Some(state.cell_state().clone()));
    let back = with(tape, Tape::d_final_state, d_last).backward(&d_memories["memory"])?;
    put_gradients(found, "encoder/", &back.parameters);
    let gradients = embedding.backward(ids, &back.inputs)?;
    found.put("grad/source_embedding", gradients.get("embeddings").expect("its name").mapv(E::as_f64));
    Ok(())
}
