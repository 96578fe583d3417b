//! Runs a case through the recorded drivers, and backward from the cotangents in the file.
//!
//! Some drivers have no recorded twin (static_rnn, raw_rnn, a stack of both directions). By law they give the numbers of
//! one that has, so that one runs.

use crate::case::{Case, Fault, Merge};
use crate::drive::{
    Direction, Layer, Results, direction, driver, driver_both, layers, put_merged, put_state, state, swapped,
    time_axis, widen,
};
use crate::import;
use crate::windows;
use ndarray::{Array3, Axis, Ix3, s};
use rnn_cell::train::Gradients;
use rnn_cell::{DynState, Float, RnnCell, concat_outputs};

/// Outputs, final states and the gradients of all arguments, computed in `E`.
pub fn run<E: Float>(case: &Case) -> Result<Results, Fault> {
    if case.api == "carried_windows" {
        return windows::run::<E>(case, true);
    }
    let lengths = case.lengths()?;
    let lengths = lengths.as_deref();
    let mut x = swapped(&case.array::<E, Ix3>("x")?, case.time_major).to_owned();
    // The padding would turn TensorFlow's gradients into NaN. Here it must not affect any number.
    for (row, &length) in lengths.into_iter().flatten().enumerate() {
        x.slice_mut(s![row, length.., ..]).fill(E::of(f64::NAN));
    }
    for (at, &valid) in case.mask.iter().flat_map(|mask| mask.valid.indexed_iter()) {
        x.slice_mut(s![at.0, at.1, ..]).mapv_inplace(|x| if valid { x } else { E::of(f64::NAN) });
    }
    let mut results = Results::new();
    let d_x = match case.api.as_str() {
        "dynamic_rnn" | "static_rnn" | "raw_rnn" => one_way(case, &x, lengths, &mut results)?,
        _ => both_ways(case, &layers(case)?, &x, lengths, &mut results)?,
    };
    results.insert("grad/x".into(), widen(swapped(&d_x, case.time_major).to_owned()));
    Ok(results)
}

/// Adds to the results and returns the gradient of `x`.
fn one_way<E: Float>(
    case: &Case,
    x: &Array3<E>,
    lengths: Option<&[usize]>,
    results: &mut Results,
) -> Result<Array3<E>, Fault> {
    let this = direction(case, &case.spec, "", x.dim().2)?;
    let (given, resets) = (swapped(x, case.time_major), case.resets()?);
    let driver = driver(case, &this.cell, (lengths, resets.as_ref()), this.initial.clone());
    let (mut outputs, state, tape) = driver.record(&given)?;
    let d_outputs = cotangent(case, "outputs", x.dim().1)?;
    let back = tape.backward(&swapped(&d_outputs, case.time_major), d_final_state(case, &this)?)?;

    if case.api == "raw_rnn" {
        // It ends with the longest row.
        let steps = lengths.into_iter().flatten().max().copied().unwrap_or(0);
        outputs.slice_axis_inplace(time_axis(case), (..steps).into());
    }
    results.insert("outputs".into(), widen(outputs));
    put_states(results, &this, &state, &back.initial_state);
    put_parameters(results, case, "", &back.parameters)?;
    Ok(swapped(&back.inputs, case.time_major).to_owned())
}

/// Runs the lowest of `layers` and those above on its outputs. Adds to the results and returns the gradient of `x`.
fn both_ways<E: Float>(
    case: &Case,
    layers: &[Layer<E>],
    x: &Array3<E>,
    lengths: Option<&[usize]>,
    results: &mut Results,
) -> Result<Array3<E>, Fault> {
    let [Layer { prefix, fw, bw }, above @ ..] = layers else { return Err(Fault::Broken("no layers".into())) };
    let driver = driver_both(case, (&fw.cell, &bw.cell), lengths, (fw.initial.clone(), bw.initial.clone()));
    let ((outputs_fw, outputs_bw), states, tape) = driver.time_major(false).record(x)?;
    let split = |d: Array3<E>| {
        let (fw, bw) = d.view().split_at(Axis(2), fw.cell.output_size());
        (fw.to_owned(), bw.to_owned())
    };
    let seq = x.dim().1;
    let (d_fw, d_bw) = if !above.is_empty() {
        split(both_ways(case, above, &concat_outputs(&outputs_fw, &outputs_bw), lengths, results)?)
    } else {
        put_merged(results, case, by_file(case, &outputs_fw), by_file(case, &outputs_bw));
        match case.merge {
            Merge::Apart => (cotangent(case, "outputs/fw", seq)?, cotangent(case, "outputs/bw", seq)?),
            Merge::Concat => split(cotangent(case, "outputs", seq)?),
            Merge::Sum => (cotangent(case, "outputs", seq)?, cotangent(case, "outputs", seq)?),
        }
    };
    let back = tape.backward(&d_fw, &d_bw, d_final_state(case, fw)?, d_final_state(case, bw)?)?;

    put_states(results, fw, &states.0, &back.initial_states.0);
    put_states(results, bw, &states.1, &back.initial_states.1);
    put_parameters(results, case, prefix, &back.parameters)?;
    Ok(back.inputs)
}

/// Batch-major outputs with the file's axis first.
fn by_file<E: Float>(case: &Case, outputs: &Array3<E>) -> Array3<E> {
    swapped(outputs, case.time_major).to_owned()
}

/// The cotangent of outputs, batch-major, of all `seq` steps.
fn cotangent<E: Float>(case: &Case, outputs: &str, seq: usize) -> Result<Array3<E>, Fault> {
    let cotangent = case.array::<E, Ix3>(&format!("cotangent/{outputs}"))?;
    let cotangent = swapped(&cotangent, case.time_major);
    let (batch, steps, features) = cotangent.dim();
    let mut whole = Array3::zeros((batch, seq.max(steps), features));
    whole.slice_mut(s![.., ..steps, ..]).assign(&cotangent);
    Ok(whole)
}

/// The cotangent of the final state.
pub fn d_final_state<E: Float>(case: &Case, this: &Direction<E>) -> Result<Option<DynState<E>>, Fault> {
    state(case, "cotangent/final_state/", &this.cell, &this.leaves)
}

fn put_states<E: Float>(results: &mut Results, this: &Direction<E>, finals: &DynState<E>, d_initial: &DynState<E>) {
    put_state(results, "final_state/", finals, &this.leaves);
    if this.initial.is_some() {
        put_state(results, "grad/initial_state/", d_initial, &this.leaves);
    }
}

/// The gradients of the parameters of a cell, or of both, with names under `prefix`.
fn put_parameters<E: Float>(
    results: &mut Results,
    case: &Case,
    prefix: &str,
    gradients: &Gradients<E>,
) -> Result<(), Fault> {
    let ours = gradients.iter().map(|(name, gradient)| (format!("{prefix}{name}"), gradient.mapv(E::as_f64)));
    let theirs = import::gradients(case, ours.collect())?;
    results.extend(theirs.into_iter().map(|(name, gradient)| (format!("grad/{name}"), gradient)));
    Ok(())
}
