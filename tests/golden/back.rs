//! Runs a case through the recorded form of its driver, and backward from the cotangents in the file.

use crate::case::{Case, Fault, Merge};
use crate::drive::{
    Direction, Layer, Results, direction, driver, driver_both, joined, layers, put_merged, put_state, state, swapped,
    time_axis, widen,
};
use crate::import;
use crate::stack::Stack;
use crate::windows;
use ndarray::{Array3, Axis, Ix3, s};
use rnn_cell::train::{BidirectionalTape, Gradients, RawTape, StackBidirectionalTape, Tape};
use rnn_cell::{DynState, Float, RawRnn, RnnCell};

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
    let (x, mut results) = (swapped(&x, case.time_major).to_owned(), Results::new());
    let d_x = match case.api.as_str() {
        "dynamic_rnn" => one_way(case, &x, lengths, &mut results)?,
        "static_rnn" => list(case, &x, lengths, &mut results)?,
        "raw_rnn" => closure(case, &x, lengths, &mut results)?,
        "static_bidirectional_rnn" => lists(case, &x, lengths, &mut results)?,
        "stack_bidirectional_dynamic_rnn" => stacked(case, &x, lengths, &mut results)?,
        _ => both_ways(case, &x, lengths, &mut results)?,
    };
    results.insert("grad/x".into(), widen(d_x));
    Ok(results)
}

// Each of these adds to the results and returns the gradient of `x`. All arrays are in the file's layout.

fn one_way<E: Float>(
    case: &Case,
    x: &Array3<E>,
    lengths: Option<&[usize]>,
    results: &mut Results,
) -> Result<Array3<E>, Fault> {
    let this = direction(case, &case.spec, "", x.dim().2)?;
    let resets = case.resets()?;
    let driver = driver(case, &this.cell, (lengths, resets.as_ref()), this.initial.clone());
    let (outputs, state, tape) = driver.record(x)?;
    let tape = with(tape, Tape::d_final_state, d_final_state(case, &this)?);
    let back = tape.backward(&case.array("cotangent/outputs")?)?;
    results.insert("outputs".into(), widen(outputs));
    put_states(results, &this, &state, &back.initial_state);
    put_parameters(results, case, &back.parameters)?;
    Ok(back.inputs)
}

fn list<E: Float>(
    case: &Case,
    x: &Array3<E>,
    lengths: Option<&[usize]>,
    results: &mut Results,
) -> Result<Array3<E>, Fault> {
    let this = direction(case, &case.spec, "", x.dim().2)?;
    let steps: Vec<_> = x.axis_iter(time_axis(case)).collect();
    let driver = driver(case, &this.cell, (lengths, None), this.initial.clone());
    let (outputs, state, tape) = driver.record_steps(&steps)?;
    let d_outputs = case.array::<E, Ix3>("cotangent/outputs")?;
    let d_steps: Vec<_> = d_outputs.axis_iter(time_axis(case)).collect();
    let back = with(tape, Tape::d_final_state, d_final_state(case, &this)?).backward_steps(&d_steps)?;
    results.insert("outputs".into(), widen(joined(case, &outputs)?));
    put_states(results, &this, &state, &back.initial_state);
    put_parameters(results, case, &back.parameters)?;
    Ok(swapped(&back.inputs, !case.time_major).to_owned())
}

/// Does what the generator's `loop_fn` does: a row reads its inputs and finishes at its length.
fn closure<E: Float>(
    case: &Case,
    x: &Array3<E>,
    lengths: Option<&[usize]>,
    results: &mut Results,
) -> Result<Array3<E>, Fault> {
    let lengths = lengths.ok_or_else(|| Fault::NotSupported("raw_rnn without sequence_length".into()))?;
    let this = direction(case, &case.spec, "", x.dim().2)?;
    let by_step = swapped(x, !case.time_major);
    let driver = RawRnn::new(&this.cell, by_step.dim().1);
    let driver = match &this.initial {
        Some(initial) => driver.initial_state(initial.clone()),
        None => driver,
    };
    let (outputs, state, tape) = driver.record(|step| {
        if step.time < by_step.dim().0 {
            step.next_input.assign(&by_step.index_axis(Axis(0), step.time));
        }
        for (finished, &length) in step.finished.iter_mut().zip(lengths) {
            *finished = step.time >= length;
        }
    })?;
    let d_outputs = case.array::<E, Ix3>("cotangent/outputs")?;
    let d_outputs = swapped(&d_outputs, !case.time_major);
    let back = with(tape, RawTape::d_final_state, d_final_state(case, &this)?).backward(&d_outputs, |_| ())?;
    results.insert("outputs".into(), widen(swapped(&outputs, !case.time_major).to_owned()));
    put_states(results, &this, &state, &back.initial_state);
    put_parameters(results, case, &back.parameters)?;
    // The loop ends with the longest row.
    let mut d_x = Array3::zeros(by_step.raw_dim());
    d_x.slice_mut(s![..outputs.dim().0, .., ..]).assign(&back.inputs);
    Ok(swapped(&d_x, !case.time_major).to_owned())
}

fn both_ways<E: Float>(
    case: &Case,
    x: &Array3<E>,
    lengths: Option<&[usize]>,
    results: &mut Results,
) -> Result<Array3<E>, Fault> {
    let Layer { fw, bw } = only_layer(case)?;
    let driver = driver_both(case, (&fw.cell, &bw.cell), lengths, (fw.initial.clone(), bw.initial.clone()));
    let ((outputs_fw, outputs_bw), states, tape) = driver.record(x)?;
    put_merged(results, case, outputs_fw, outputs_bw);
    let cotangent = |name: &str| case.array::<E, Ix3>(&format!("cotangent/{name}"));
    let (d_fw, d_bw) = match case.merge {
        Merge::Apart => (cotangent("outputs/fw")?, cotangent("outputs/bw")?),
        Merge::Sum => (cotangent("outputs")?, cotangent("outputs")?),
        Merge::Concat => {
            let d = cotangent("outputs")?;
            let (fw, bw) = d.view().split_at(Axis(2), fw.cell.output_size());
            (fw.to_owned(), bw.to_owned())
        }
    };
    let tape = with(tape, BidirectionalTape::d_final_state_fw, d_final_state(case, &fw)?);
    let tape = with(tape, BidirectionalTape::d_final_state_bw, d_final_state(case, &bw)?);
    let back = tape.backward(&d_fw, &d_bw)?;
    put_states(results, &fw, &states.0, &back.initial_states.0);
    put_states(results, &bw, &states.1, &back.initial_states.1);
    put_parameters(results, case, &back.parameters)?;
    Ok(back.inputs)
}

fn lists<E: Float>(
    case: &Case,
    x: &Array3<E>,
    lengths: Option<&[usize]>,
    results: &mut Results,
) -> Result<Array3<E>, Fault> {
    let Layer { fw, bw } = only_layer(case)?;
    let steps: Vec<_> = x.axis_iter(time_axis(case)).collect();
    let driver = driver_both(case, (&fw.cell, &bw.cell), lengths, (fw.initial.clone(), bw.initial.clone()));
    let (outputs, states, tape) = driver.record_steps(&steps)?;
    let d_outputs = case.array::<E, Ix3>("cotangent/outputs")?;
    let d_steps: Vec<_> = d_outputs.axis_iter(time_axis(case)).collect();
    let tape = with(tape, BidirectionalTape::d_final_state_fw, d_final_state(case, &fw)?);
    let tape = with(tape, BidirectionalTape::d_final_state_bw, d_final_state(case, &bw)?);
    let back = tape.backward_steps(&d_steps)?;
    results.insert("outputs".into(), widen(joined(case, &outputs)?));
    put_states(results, &fw, &states.0, &back.initial_states.0);
    put_states(results, &bw, &states.1, &back.initial_states.1);
    put_parameters(results, case, &back.parameters)?;
    Ok(swapped(&back.inputs, !case.time_major).to_owned())
}

fn stacked<E: Float>(
    case: &Case,
    x: &Array3<E>,
    lengths: Option<&[usize]>,
    results: &mut Results,
) -> Result<Array3<E>, Fault> {
    let stack = Stack::<E>::new(case)?;
    let d_finals = |side: usize| -> Result<Option<Vec<DynState<E>>>, Fault> {
        let cells = stack.cells[side].iter().zip(&stack.leaves[side]);
        cells.map(|(cell, leaves)| state(case, "cotangent/final_state/", cell, leaves)).collect()
    };
    let (outputs, (states_fw, states_bw), tape) = stack.driver(case, lengths).record(x)?;
    let tape = with(tape, StackBidirectionalTape::d_final_states_fw, d_finals(0)?);
    let tape = with(tape, StackBidirectionalTape::d_final_states_bw, d_finals(1)?);
    let back = tape.backward(&case.array("cotangent/outputs")?)?;
    results.insert("outputs".into(), widen(outputs));
    let states = [(states_fw, back.initial_states.0), (states_bw, back.initial_states.1)];
    for ((states, leaves), initial) in states.iter().zip(&stack.leaves).zip(&stack.initial) {
        for ((last, d_first), leaves) in states.0.iter().zip(&states.1).zip(leaves) {
            put_state(results, "final_state/", last, leaves);
            if initial.is_some() {
                put_state(results, "grad/initial_state/", d_first, leaves);
            }
        }
    }
    put_parameters(results, case, &back.parameters)?;
    Ok(back.inputs)
}

/// The cells of a case with one layer.
fn only_layer<E: Float>(case: &Case) -> Result<Layer<E>, Fault> {
    layers(case)?.pop().ok_or_else(|| Fault::Broken("no layers".into()))
}

/// Sets an option of a tape, if the case has it.
pub fn with<T, S>(tape: T, set: impl FnOnce(T, S) -> T, option: Option<S>) -> T {
    match option {
        Some(option) => set(tape, option),
        None => tape,
    }
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

/// The gradients of the parameters of a cell, of two directions, or of their layers: `fw/cell_0/kernel` is called
/// `cell_0/fw/kernel` in a file.
fn put_parameters<E: Float>(results: &mut Results, case: &Case, gradients: &Gradients<E>) -> Result<(), Fault> {
    let named = gradients.iter().map(|(name, gradient)| {
        let name = match name.split('/').collect::<Vec<_>>()[..] {
            [side @ ("fw" | "bw"), layer, ref rest @ ..] if case.api == "stack_bidirectional_dynamic_rnn" => {
                format!("{layer}/{side}/{}", rest.join("/"))
            }
            _ => name.to_owned(),
        };
        (name, gradient.mapv(E::as_f64))
    });
    let theirs = import::gradients(case, named.collect())?;
    results.extend(theirs.into_iter().map(|(name, gradient)| (format!("grad/{name}"), gradient)));
    Ok(())
}
