//! Runs a case through the driver it names.

use crate::build::{Leaf, build, leaves};
use crate::case::{Case, Fault, Mask, Merge};
use ndarray::{Array3, ArrayD, ArrayView3, Axis, Ix2, Ix3, concatenate, s, stack};
use rnn_cell::{
    BoxedCell, DynState, Float, RnnCell, State, bidirectional_dynamic_rnn, bidirectional_dynamic_rnn_time_major,
    concat_outputs, dynamic_rnn, dynamic_rnn_time_major, raw_rnn, stack_bidirectional_dynamic_rnn,
    static_bidirectional_rnn, static_rnn,
};
use serde_json::Value;
use std::collections::BTreeMap;

/// Outputs and final states under the names of the file.
pub type Results = BTreeMap<String, ArrayD<f64>>;

/// A cell, the names of its state's leaves, and its initial state if the file has one.
struct Direction<E: Float> {
    cell: BoxedCell<E>,
    leaves: Vec<Leaf>,
    initial: Option<DynState<E>>,
}

/// The results of a case, computed in `E`.
pub fn run<E: Float>(case: &Case) -> Result<Results, Fault> {
    let lengths = case.lengths()?;
    match case.api.as_str() {
        "dynamic_rnn" | "static_rnn" | "raw_rnn" => one_way::<E>(case, lengths.as_deref()),
        "bidirectional_dynamic_rnn" | "static_bidirectional_rnn" => both_ways::<E>(case, lengths.as_deref()),
        "stack_bidirectional_dynamic_rnn" => stacked_both_ways::<E>(case, lengths.as_deref()),
        other => Err(Fault::NotSupported(other.into())),
    }
}

fn one_way<E: Float>(case: &Case, lengths: Option<&[usize]>) -> Result<Results, Fault> {
    let x = case.array::<E, Ix3>("x")?;
    let Direction { cell, leaves, initial } = direction(case, &case.spec, "", x.dim().2)?;
    let (outputs, state) = match case.api.as_str() {
        "static_rnn" => {
            let steps: Vec<_> = x.axis_iter(time_axis(case)).collect();
            let (outputs, state) = static_rnn(&cell, &steps, lengths, initial)?;
            (joined(case, &outputs)?, state)
        }
        "raw_rnn" => {
            let lengths = lengths.ok_or_else(|| Fault::NotSupported("raw_rnn without sequence_length".into()))?;
            let (outputs, state) = up_to_lengths(&cell, swapped(&x, !case.time_major), lengths, initial)?;
            (swapped(&outputs, !case.time_major).to_owned(), state)
        }
        _ if case.time_major => dynamic_rnn_time_major(&cell, &x, lengths, initial)?,
        _ => dynamic_rnn(&cell, &x, lengths, initial)?,
    };
    let mut results = Results::new();
    final_state(&mut results, &state, &leaves);
    results.insert("outputs".into(), widen(case, outputs));
    Ok(results)
}

/// What the generator's `loop_fn` does, over time-major `x`: a row reads its inputs and finishes at its length.
fn up_to_lengths<E: Float>(
    cell: &BoxedCell<E>,
    x: ArrayView3<E>,
    lengths: &[usize],
    mut initial: Option<DynState<E>>,
) -> Result<(Array3<E>, DynState<E>), Fault> {
    Ok(raw_rnn(cell, x.dim().1, |step| {
        if let Some(initial) = initial.take() {
            *step.state = initial;
        }
        if step.time < x.dim().0 {
            step.next_input.assign(&x.index_axis(Axis(0), step.time));
        }
        for (finished, &length) in step.finished.iter_mut().zip(lengths) {
            *finished = step.time >= length;
        }
    })?)
}

fn both_ways<E: Float>(case: &Case, lengths: Option<&[usize]>) -> Result<Results, Fault> {
    let x = case.array::<E, Ix3>("x")?;
    let fw = direction(case, &case.spec, "fw/", x.dim().2)?;
    let bw = direction(case, &case.spec_bw, "bw/", x.dim().2)?;
    let mut results = Results::new();
    let (state_fw, state_bw) = if case.api == "static_bidirectional_rnn" {
        let steps: Vec<_> = x.axis_iter(time_axis(case)).collect();
        let (outputs, state_fw, state_bw) =
            static_bidirectional_rnn(&fw.cell, &bw.cell, &steps, lengths, fw.initial, bw.initial)?;
        results.insert("outputs".into(), widen(case, joined(case, &outputs)?));
        (state_fw, state_bw)
    } else {
        let run = match case.time_major {
            true => bidirectional_dynamic_rnn_time_major,
            false => bidirectional_dynamic_rnn,
        };
        let ((outputs_fw, outputs_bw), states) = run(&fw.cell, &bw.cell, &x, lengths, fw.initial, bw.initial)?;
        if case.merge == Merge::Apart {
            results.insert("outputs/fw".into(), widen(case, outputs_fw));
            results.insert("outputs/bw".into(), widen(case, outputs_bw));
        } else {
            let merged = match case.merge {
                Merge::Sum => outputs_fw + outputs_bw,
                _ => concat_outputs(&outputs_fw, &outputs_bw),
            };
            results.insert("outputs".into(), widen(case, merged));
        }
        states
    };
    final_state(&mut results, &state_fw, &fw.leaves);
    final_state(&mut results, &state_bw, &bw.leaves);
    Ok(results)
}

/// Layers of two directions, each fed with both outputs of the layer below.
fn stacked_both_ways<E: Float>(case: &Case, lengths: Option<&[usize]>) -> Result<Results, Fault> {
    let x = case.array::<E, Ix3>("x")?;
    let mut width = x.dim().2;
    let (mut forward, mut backward) = (Vec::new(), Vec::new());
    for (layer, spec) in case.spec["cells"].as_array().into_iter().flatten().enumerate() {
        let fw = direction::<E>(case, spec, &format!("cell_{layer}/fw/"), width)?;
        let bw = direction::<E>(case, spec, &format!("cell_{layer}/bw/"), width)?;
        width = fw.cell.output_size() + bw.cell.output_size();
        forward.push(fw);
        backward.push(bw);
    }
    let parts = |directions: Vec<Direction<E>>| {
        let (mut cells, mut leaves, mut initial) = (Vec::new(), Vec::new(), Vec::new());
        for direction in directions {
            cells.push(direction.cell);
            leaves.push(direction.leaves);
            initial.extend(direction.initial);
        }
        let initial = (!initial.is_empty()).then_some(initial);
        (cells, leaves, initial)
    };
    let (cells_fw, leaves_fw, initial_fw) = parts(forward);
    let (cells_bw, leaves_bw, initial_bw) = parts(backward);
    let x = swapped(&x, case.time_major);
    let (outputs, states_fw, states_bw) =
        stack_bidirectional_dynamic_rnn(&cells_fw, &cells_bw, &x, lengths, initial_fw, initial_bw)?;
    let mut results = Results::new();
    let states = states_fw.iter().chain(&states_bw);
    for (state, leaves) in states.zip(leaves_fw.iter().chain(&leaves_bw)) {
        final_state(&mut results, state, leaves);
    }
    results.insert("outputs".into(), widen(case, swapped(&outputs, case.time_major).to_owned()));
    Ok(results)
}

fn time_axis(case: &Case) -> Axis {
    Axis(if case.time_major { 0 } else { 1 })
}

/// Batch and time exchanged, or not.
fn swapped<E: Float>(array: &Array3<E>, swap: bool) -> ArrayView3<'_, E> {
    if swap { array.view().permuted_axes([1, 0, 2]) } else { array.view() }
}

/// A list of steps as one array.
fn joined<E: Float>(case: &Case, steps: &[ndarray::Array2<E>]) -> Result<Array3<E>, Fault> {
    let views: Vec<_> = steps.iter().map(|step| step.view()).collect();
    stack(time_axis(case), &views).map_err(|error| Fault::Broken(error.to_string()))
}

/// Outputs as they stand in the file.
fn widen<E: Float>(case: &Case, outputs: Array3<E>) -> ArrayD<f64> {
    scatter(outputs.mapv(E::as_f64), case.mask.as_ref()).into_dyn()
}

/// The cell of `spec` and its initial state, if the file has one.
fn direction<E: Float>(case: &Case, spec: &Value, prefix: &str, input: usize) -> Result<Direction<E>, Fault> {
    let cell = build::<E>(case, spec, prefix, input)?;
    let leaves = leaves(spec, prefix);
    let name = |leaf: &Leaf| format!("initial_state/{}", leaf.tensor);
    if !leaves.iter().any(|leaf| case.tensors.contains_key(&name(leaf))) {
        return Ok(Direction { cell, leaves, initial: None });
    }
    let mut state = cell.zero_state(case.sizes()?.0);
    let (mut rest, mut result) = (leaves.iter(), Ok(()));
    state.visit_mut(&mut |mut array| {
        let Some(leaf) = rest.next() else { return };
        match case.array::<E, Ix2>(&name(leaf)) {
            Ok(tensor) => {
                let columns = leaf.column..leaf.column + array.ncols();
                array.assign(&tensor.slice(s![.., columns]));
            }
            Err(fault) => result = Err(fault),
        }
    });
    result.map(|()| Direction { cell, leaves, initial: Some(state) })
}

fn final_state<E: Float>(results: &mut Results, state: &DynState<E>, leaves: &[Leaf]) {
    let mut leaf = leaves.iter();
    state.visit(&mut |array| {
        let array = array.mapv(E::as_f64).into_dyn();
        let name = leaf.next().map_or("a leaf too many", |leaf| &leaf.tensor);
        let name = format!("final_state/{name}");
        let whole = match results.remove(&name) {
            Some(before) => {
                concatenate(Axis(1), &[before.view(), array.view()]).expect("a state's leaves have its rows")
            }
            None => array,
        };
        results.insert(name, whole);
    });
}

/// Outputs at the steps where a mask had them, from outputs with the valid steps first.
fn scatter(outputs: Array3<f64>, mask: Option<&Mask>) -> Array3<f64> {
    let Some(Mask { valid, repeat }) = mask else { return outputs };
    let mut scattered = Array3::zeros(outputs.dim());
    for (row, valid) in valid.iter().enumerate() {
        let mut done = 0;
        for (step, &valid) in valid.iter().enumerate() {
            done += usize::from(valid);
            if valid || (*repeat && done > 0) {
                scattered.slice_mut(s![row, step, ..]).assign(&outputs.slice(s![row, done - 1, ..]));
            }
        }
    }
    scattered
}
