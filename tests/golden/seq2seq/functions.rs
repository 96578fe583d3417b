//! Attention mechanisms called once, and functions.

use super::Found;
use super::cells::mechanism as build_mechanism;
use super::parts::spec;
use crate::case::{Case, Fault};
use ndarray::{Array1, Array2, Array3, ArrayRef2, Axis, Ix1, Ix2, Ix3, array, s};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::seq2seq::{
    AttentionMechanism, AttentionWrapper, LuongMonotonicAttention, MonotonicMode, gather_tree, tile_batch,
};
use rnn_cell::train::{self, Average, StepBack, TrainableCell};
use rnn_cell::{Float, Parameters, ParametersMut, RnnCell, State};

/// A cell whose output is the first part of its input, so that a query is what the test says.
struct Echo<E> {
    input: usize,
    output: usize,
    of: std::marker::PhantomData<fn() -> E>,
}

impl<E: Float> Parameters<E> for Echo<E> {}
impl<E: Float> ParametersMut<E> for Echo<E> {}

impl<E: Float> RnnCell for Echo<E> {
    type Elem = E;
    type State = Array2<E>;
    type Workspace = ();
    fn input_size(&self) -> usize {
        self.input
    }
    fn output_size(&self) -> usize {
        self.output
    }
    fn zero_state(&self, batch: usize) -> Array2<E> {
        Array2::zeros((batch, 1))
    }
    fn step(&self, input: &ArrayRef2<E>, _: &mut Array2<E>, output: &mut ArrayRef2<E>, _: &mut ()) {
        output.assign(&input.slice(s![.., ..self.output]));
    }
}

impl<E: Float> TrainableCell for Echo<E> {
    type Record = ();
    type Gradient = ();
    fn zero_gradient(&self) {}
    fn step_recording(
        &self,
        input: &ArrayRef2<E>,
        state: &mut Array2<E>,
        output: &mut ArrayRef2<E>,
        workspace: &mut (),
    ) {
        self.step(input, state, output, workspace);
    }
    fn step_backward(&self, (): (), back: StepBack<'_, Self>, (): &mut ()) {
        back.d_inputs.fill(E::of(0.0));
        back.d_inputs.slice_mut(s![.., ..self.output]).assign(back.d_outputs);
    }
}

/// One step of a mechanism: its alignments, and the gradients of query, previous alignments, memory and weights.
struct Called<E> {
    alignments: Array2<E>,
    keys: Array3<E>,
    values: Array3<E>,
    d_query: Array2<E>,
    d_previous: Array2<E>,
    d_memory: Array3<E>,
    parameters: train::Gradients<E>,
}

fn call<E: Float>(
    mechanism: AttentionMechanism<E>,
    (query, previous): (&Array2<E>, &Array2<E>),
    (memory, lengths): (&Array3<E>, Option<&[usize]>),
    d_alignments: &Array2<E>,
) -> Result<Called<E>, Fault> {
    let (batch, depth) = query.dim();
    let echo = Echo { input: depth + memory.dim().2, output: depth, of: std::marker::PhantomData };
    let attended = mechanism.memory(memory, lengths)?;
    let (keys, values) = (attended.keys().to_owned(), attended.values().to_owned());
    let any = &mut Xoshiro256PlusPlus::seed_from_u64(1);
    let cell = AttentionWrapper::builder(echo, [mechanism]).output_attention(false).build(any)?;
    let mut state = cell.attend_to(&[attended])?;
    let mut leaf = 0;
    state.visit_mut(&mut |mut array| {
        if leaf == 2 {
            array.assign(previous);
        }
        leaf += 1;
    });
    let x = query.view().insert_axis(Axis(1));
    let (_, last, tape) = train::dynamic_rnn(&cell, &x, None, Some(state))?;
    let mut d_last = cell.zero_state(batch);
    d_last.clone_from(&last);
    leaf = 0;
    d_last.visit_mut(&mut |mut array| {
        if leaf == 2 {
            array.assign(d_alignments);
        } else {
            array.fill(E::of(0.0));
        }
        leaf += 1;
    });
    let d_outputs = Array3::zeros((batch, 1, depth));
    let back = tape.d_final_state(d_last).backward(&d_outputs)?;
    Ok(Called {
        alignments: last.alignments(0).clone(),
        keys,
        values,
        d_query: back.inputs.index_axis_move(Axis(1), 0),
        d_previous: back.initial_state.alignments(0).clone(),
        d_memory: back.initial_state.memory_gradient(0).expect("a step ran backward"),
        parameters: back.parameters,
    })
}

pub fn mechanism<E: Float>(case: &Case) -> Result<Found, Fault> {
    let mechanism_spec = spec(case, "mechanism_spec")?;
    let (query, previous): (Array2<E>, _) = (case.array::<E, Ix2>("query")?, case.array::<E, Ix2>("state")?);
    let memory = case.array::<E, Ix3>("memory")?;
    let mechanism = build_mechanism::<E>(case, &mechanism_spec, ("", query.ncols(), memory.dim().2))?;
    let lengths = match mechanism_spec["memory_sequence_length"].as_str() {
        Some(name) => Some(case.array::<f64, Ix1>(name)?.iter().map(|&length| length as usize).collect::<Vec<_>>()),
        None => None,
    };
    let cotangent = |name: &str| case.array::<E, Ix2>(&format!("cotangent/outputs/{name}"));
    let d_alignments = cotangent("alignments")? + cotangent("next_state")?;
    let called = call(mechanism, (&query, &previous), (&memory, lengths.as_deref()), &d_alignments)?;
    let mut found = Found::default();
    for name in ["alignments", "next_state"] {
        found.put(format!("outputs/{name}"), called.alignments.mapv(E::as_f64).into_dyn());
    }
    found.put("outputs/keys", called.keys.mapv(E::as_f64).into_dyn());
    found.put("outputs/values", called.values.mapv(E::as_f64).into_dyn());
    // The loss also reads keys and values: keys = values · kernel, and values are the memory before its end.
    let d_keys = case.array::<f64, Ix3>("cotangent/outputs/keys")?;
    let d_values = case.array::<f64, Ix3>("cotangent/outputs/values")?;
    let kernel = case.array::<f64, Ix2>("memory_layer/kernel")?;
    let mut d_memory = called.d_memory.mapv(E::as_f64);
    let mut d_kernel = Array2::<f64>::zeros(kernel.raw_dim());
    for row in 0..query.nrows() {
        let length = lengths.as_ref().map_or(memory.dim().1, |lengths| lengths[row]);
        let valid = s![row, ..length, ..];
        let mut to = d_memory.slice_mut(valid);
        to += &d_values.slice(valid);
        to += &d_keys.slice(valid).dot(&kernel.t());
        d_kernel += &called.values.mapv(E::as_f64).slice(valid).t().dot(&d_keys.slice(valid));
    }
    found.put("grad/memory", d_memory.into_dyn());
    found.put("grad/query", called.d_query.mapv(E::as_f64).into_dyn());
    // TensorFlow's gradient through `hard` is NaN, and not in the file.
    if case.tensors.contains_key("grad/state") {
        found.put("grad/state", called.d_previous.mapv(E::as_f64).into_dyn());
    }
    for (name, gradient) in called.parameters.iter() {
        let mut gradient = gradient.mapv(E::as_f64);
        if name == "memory_layer/kernel" {
            gradient += &d_kernel;
        }
        found.put(format!("grad/{name}"), gradient);
    }
    Ok(found)
}

/// `monotonic_attention` takes probabilities: here they are the sigmoids of scores, which are those of a memory of one
/// number a step.
pub fn monotonic<E: Float>(case: &Case) -> Result<Found, Fault> {
    let mode = match case.option("mode") {
        Some("recursive") => MonotonicMode::Recursive,
        Some("hard") => MonotonicMode::Hard,
        _ => MonotonicMode::Parallel,
    };
    let p = case.array::<E, Ix2>("p_choose_i")?;
    let previous = case.array::<E, Ix2>("previous_attention")?;
    // Beyond ±40 a sigmoid is 0 or 1.
    let logit = |p: E| (p / (E::of(1.0) - p)).ln().max(E::of(-800.0)).min(E::of(800.0));
    let memory = p.mapv(logit).insert_axis(Axis(2));
    let any = &mut Xoshiro256PlusPlus::seed_from_u64(1);
    let mut mechanism = LuongMonotonicAttention::builder(1).mode(mode).build::<E, _>(any)?;
    mechanism.visit_parameters_mut(&mut |name, mut weight| {
        weight.fill(E::of(if name == "memory_layer/kernel" { 1.0 } else { 0.0 }));
    });
    let query = Array2::from_elem((p.nrows(), 1), E::of(1.0));
    let has_gradients = case.tensors.contains_key("cotangent/outputs");
    let d = match has_gradients {
        true => case.array::<E, Ix2>("cotangent/outputs")?,
        false => Array2::zeros(p.raw_dim()),
    };
    let called = call(mechanism, (&query, &previous), (&memory, None), &d)?;
    let mut found = Found::default();
    found.put("outputs", called.alignments.mapv(E::as_f64).into_dyn());
    if has_gradients {
        found.put("grad/previous_attention", called.d_previous.mapv(E::as_f64).into_dyn());
        // The alignments' way only: the context has no gradient. A saturated sigmoid passes nothing on.
        let d_scores = called.d_memory.index_axis_move(Axis(2), 0).mapv(E::as_f64);
        let slope = p.mapv(|p| p.as_f64() * (1.0 - p.as_f64()));
        let compared = slope.mapv(|slope| slope > 1e-3).into_dyn();
        found.put_masked("grad/p_choose_i", (d_scores / slope).into_dyn(), compared);
    }
    Ok(found)
}

pub fn loss<E: Float>(case: &Case) -> Result<Found, Fault> {
    let options = spec(case, "options")?;
    let flag = |name: &str| options[name].as_bool().unwrap_or(false);
    let average = match (flag("average_across_timesteps"), flag("average_across_batch")) {
        (true, true) => Average::TimestepsAndBatch,
        (true, false) => Average::Timesteps,
        (false, true) => Average::Batch,
        (false, false) if flag("sum_over_timesteps") || flag("sum_over_batch") => {
            return Err(Fault::NotSupported("sequence_loss with sums".into()));
        }
        (false, false) => Average::Neither,
    };
    let (logits, weights) = (case.array::<E, Ix3>("logits")?, case.array::<E, Ix2>("weights")?);
    let targets = case.array::<f64, Ix2>("targets")?.mapv(|target| target as usize);
    let (losses, d_logits) = train::sequence_losses(&logits, &targets, &weights, average)?;
    let mut found = Found::default();
    let losses = losses.mapv(E::as_f64);
    let losses = if losses.ndim() == 0 { losses.insert_axis(Axis(0)) } else { losses };
    // The crate's gradient is that of the sum of the losses; the file's cotangents may differ from 1.
    let cotangent =
        case.tensors.get("cotangent/outputs").map(|cotangent| cotangent.iter().copied().collect::<Vec<_>>());
    let scaled = Array3::from_shape_fn(d_logits.raw_dim(), |(row, step, class)| {
        let at = match average {
            Average::TimestepsAndBatch => 0,
            Average::Timesteps => row,
            Average::Batch => step,
            Average::Neither => row * d_logits.dim().1 + step,
        };
        d_logits[[row, step, class]].as_f64() * cotangent.as_ref().map_or(1.0, |cotangent| cotangent[at])
    });
    found.put("outputs", losses);
    found.put("grad/logits", scaled.into_dyn());
    found.leave_out("grad/weights", "gradients of a loss's weights");
    Ok(found)
}

pub fn tree(case: &Case) -> Result<Found, Fault> {
    let steps = |name: &str| Ok::<_, Fault>(case.array::<f64, Ix3>(name)?.mapv(|id| id as usize));
    let lengths: Array1<f64> = case.array("max_sequence_lengths")?;
    let lengths: Vec<usize> = lengths.iter().map(|&length| length.max(0.0) as usize).collect();
    let beams = gather_tree(&steps("step_ids")?, &steps("parent_ids")?, &lengths, case.number("end_token")?)?;
    let mut found = Found::default();
    found.put("outputs", beams.mapv(|id| id as f64).into_dyn());
    Ok(found)
}

/// Any array is a state of rows once its other axes are one.
pub fn tile<E: Float>(case: &Case) -> Result<Found, Fault> {
    let mut found = Found::default();
    let multiplier: usize = case.number("multiplier")?;
    for (name, tensor) in case.tensors.iter().filter(|(name, _)| name.starts_with("t/")) {
        let rows = tensor.shape()[0];
        let state: Array2<E> = tensor.mapv(E::of).into_shape_with_order((rows, tensor.len() / rows)).expect("rows");
        let tiled = tile_batch(&state, multiplier).mapv(E::as_f64);
        let mut shape = tensor.shape().to_vec();
        shape[0] *= multiplier;
        found.put(format!("outputs/{name}"), tiled.into_shape_with_order(shape).expect("rows"));
    }
    assert_eq!(tile_batch::<f64, _>(&array![[1.0], [2.0]], 2), array![[1.0], [1.0], [2.0], [2.0]]);
    Ok(found)
}
