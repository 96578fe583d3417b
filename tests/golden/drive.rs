//! Runs a case through the driver it names.

use crate::build::{Leaf, build, leaves};
use crate::case::{Case, Fault, Merge};
use crate::stack::Stack;
use crate::windows;
use ndarray::{Array2, Array3, ArrayD, ArrayView3, Axis, Ix2, Ix3, concatenate, s, stack};
use rnn_cell::train::BoxedTrainableCell;
use rnn_cell::{
    BidirectionalRnn, DynState, DynamicRnn, Float, RnnCell, State, concat_outputs, raw_rnn, static_bidirectional_rnn,
    static_rnn,
};
use serde_json::Value;
use std::collections::BTreeMap;

/// The results of a run, under the file's names.
pub type Results = BTreeMap<String, ArrayD<f64>>;

/// A cell, the names of its state's leaves, and its initial state if the file has one.
pub struct Direction<E: Float> {
    pub cell: BoxedTrainableCell<E>,
    pub leaves: Vec<Leaf>,
    pub initial: Option<DynState<E>>,
}

/// A layer with both directions.
pub struct Layer<E: Float> {
    pub fw: Direction<E>,
    pub bw: Direction<E>,
}

/// The outputs and final states of a case, computed in `E`.
pub fn run<E: Float>(case: &Case) -> Result<Results, Fault> {
    let lengths = case.lengths()?;
    match case.api.as_str() {
        "dynamic_rnn" | "static_rnn" | "raw_rnn" => one_way::<E>(case, lengths.as_deref()),
        "bidirectional_dynamic_rnn" | "static_bidirectional_rnn" => both_ways::<E>(case, lengths.as_deref()),
        "carried_windows" => windows::run::<E>(case, false),
        "stack_bidirectional_dynamic_rnn" => stacked_both_ways::<E>(case, lengths.as_deref()),
        other => Err(Fault::NotSupported(other.into())),
    }
}

/// A run of one cell over arrays in the file's layout, with what the case has of options.
pub fn driver<'c, 'o, E: Float>(
    case: &'o Case,
    cell: &'c BoxedTrainableCell<E>,
    (lengths, resets): (Option<&'o [usize]>, Option<&'o Array2<bool>>),
    initial: Option<DynState<E>>,
) -> DynamicRnn<'c, 'o, BoxedTrainableCell<E>> {
    let mut driver = DynamicRnn::new(cell).time_major(case.time_major);
    if let Some(lengths) = lengths {
        driver = driver.sequence_length(lengths);
    }
    if let Some(resets) = resets {
        driver = driver.resets(resets).resets_to_zero(case.option("reset_to") == Some("zero"));
    }
    if let Some(mask) = &case.mask {
        driver = driver.mask(&mask.valid).repeat_masked_outputs(mask.repeat);
    }
    if let Some(initial) = initial {
        driver = driver.initial_state(initial);
    }
    driver
}

/// The same for two directions. No case of theirs has resets.
pub fn driver_both<'a, E: Float>(
    case: &'a Case,
    cells: (&'a BoxedTrainableCell<E>, &'a BoxedTrainableCell<E>),
    lengths: Option<&'a [usize]>,
    initial: (Option<DynState<E>>, Option<DynState<E>>),
) -> BidirectionalRnn<'a, 'a, BoxedTrainableCell<E>> {
    let mut driver = BidirectionalRnn::new(cells.0, cells.1).time_major(case.time_major);
    if let Some(lengths) = lengths {
        driver = driver.sequence_length(lengths);
    }
    if let Some(mask) = &case.mask {
        driver = driver.mask(&mask.valid);
    }
    if let Some(initial) = initial.0 {
        driver = driver.initial_state_fw(initial);
    }
    if let Some(initial) = initial.1 {
        driver = driver.initial_state_bw(initial);
    }
    driver
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
        _ => driver(case, &cell, (lengths, case.resets()?.as_ref()), initial).run(&x)?,
    };
    let mut results = Results::new();
    put_state(&mut results, "final_state/", &state, &leaves);
    results.insert("outputs".into(), widen(outputs));
    Ok(results)
}

/// Does what the generator's `loop_fn` does, over time-major `x`: a row reads its inputs and finishes at its length.
fn up_to_lengths<E: Float>(
    cell: &BoxedTrainableCell<E>,
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
    let mut results = Results::new();
    let Some(Layer { fw, bw }) = layers(case)?.pop() else { return Ok(results) };
    let (state_fw, state_bw) = if case.api == "static_bidirectional_rnn" {
        let steps: Vec<_> = x.axis_iter(time_axis(case)).collect();
        let (outputs, state_fw, state_bw) =
            static_bidirectional_rnn(&fw.cell, &bw.cell, &steps, lengths, fw.initial, bw.initial)?;
        results.insert("outputs".into(), widen(joined(case, &outputs)?));
        (state_fw, state_bw)
    } else {
        let driver = driver_both(case, (&fw.cell, &bw.cell), lengths, (fw.initial, bw.initial));
        let ((outputs_fw, outputs_bw), states) = driver.run(&x)?;
        put_merged(&mut results, case, outputs_fw, outputs_bw);
        states
    };
    put_state(&mut results, "final_state/", &state_fw, &fw.leaves);
    put_state(&mut results, "final_state/", &state_bw, &bw.leaves);
    Ok(results)
}

fn stacked_both_ways<E: Float>(case: &Case, lengths: Option<&[usize]>) -> Result<Results, Fault> {
    let stack = Stack::<E>::new(case)?;
    let (outputs, states_fw, states_bw) = stack.driver(case, lengths).run(&case.array::<E, Ix3>("x")?)?;
    let mut results = Results::new();
    for (states, leaves) in [states_fw, states_bw].iter().zip(&stack.leaves) {
        states.iter().zip(leaves).for_each(|(state, leaves)| put_state(&mut results, "final_state/", state, leaves));
    }
    results.insert("outputs".into(), widen(outputs));
    Ok(results)
}

/// The layers of a bidirectional case, from the lowest up.
pub fn layers<E: Float>(case: &Case) -> Result<Vec<Layer<E>>, Fault> {
    let (_, _, mut width) = case.sizes()?;
    let mut layers = Vec::new();
    let mut add = |spec: &Value, spec_bw: &Value, prefix: String| {
        let fw = direction::<E>(case, spec, &format!("{prefix}fw/"), width)?;
        let bw = direction::<E>(case, spec_bw, &format!("{prefix}bw/"), width)?;
        width = fw.cell.output_size() + bw.cell.output_size();
        layers.push(Layer { fw, bw });
        Ok::<_, Fault>(())
    };
    if case.api == "stack_bidirectional_dynamic_rnn" {
        // One cell for both directions, or a list of layers for each.
        let layers = |spec: &Value| spec["cells"].as_array().or(spec.as_array()).cloned().unwrap_or_default();
        for (layer, (fw, bw)) in layers(&case.spec).iter().zip(&layers(&case.spec_bw)).enumerate() {
            add(fw, bw, format!("cell_{layer}/"))?;
        }
    } else {
        add(&case.spec, &case.spec_bw, String::new())?;
    }
    Ok(layers)
}

pub fn time_axis(case: &Case) -> Axis {
    Axis(if case.time_major { 0 } else { 1 })
}

/// Swaps batch and time, or does not.
pub fn swapped<E: Float>(array: &Array3<E>, swap: bool) -> ArrayView3<'_, E> {
    if swap { array.view().permuted_axes([1, 0, 2]) } else { array.view() }
}

/// Joins a list of steps to one array.
pub fn joined<E: Float>(case: &Case, steps: &[ndarray::Array2<E>]) -> Result<Array3<E>, Fault> {
    let views: Vec<_> = steps.iter().map(|step| step.view()).collect();
    stack(time_axis(case), &views).map_err(|error| Fault::Broken(error.to_string()))
}

pub fn widen<E: Float>(array: Array3<E>) -> ArrayD<f64> {
    array.mapv(E::as_f64).into_dyn()
}

/// The outputs of both directions as the file has them.
pub fn put_merged<E: Float>(results: &mut Results, case: &Case, outputs_fw: Array3<E>, outputs_bw: Array3<E>) {
    let mut put = |name: &str, outputs| results.insert(name.into(), widen(outputs));
    match case.merge {
        Merge::Apart => {
            put("outputs/fw", outputs_fw);
            put("outputs/bw", outputs_bw);
        }
        Merge::Concat => {
            put("outputs", concat_outputs(&outputs_fw, &outputs_bw));
        }
        Merge::Sum => {
            put("outputs", outputs_fw + outputs_bw);
        }
    }
}

/// The cell of `spec` and its initial state, if the file has one.
pub fn direction<E: Float>(case: &Case, spec: &Value, prefix: &str, input: usize) -> Result<Direction<E>, Fault> {
    let (cell, leaves) = (build::<E>(case, spec, prefix, input)?, leaves(spec, prefix));
    let initial = state(case, "initial_state/", &cell, &leaves)?;
    Ok(Direction { cell, leaves, initial })
}

/// The state of `cell` with the file's tensors in `group` as leaves, if there are any.
pub fn state<E: Float>(
    case: &Case,
    group: &str,
    cell: &BoxedTrainableCell<E>,
    leaves: &[Leaf],
) -> Result<Option<DynState<E>>, Fault> {
    let name = |leaf: &Leaf| format!("{group}{}", leaf.tensor);
    if !leaves.iter().any(|leaf| case.tensors.contains_key(&name(leaf))) {
        return Ok(None);
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
    result.map(|()| Some(state))
}

/// Puts the leaves of a state under their names in `group`.
pub fn put_state<E: Float>(results: &mut Results, group: &str, state: &DynState<E>, leaves: &[Leaf]) {
    let mut leaf = leaves.iter();
    state.visit(&mut |array| {
        let array = array.mapv(E::as_f64).into_dyn();
        let name = leaf.next().map_or("a leaf too many", |leaf| &leaf.tensor);
        let name = format!("{group}{name}");
        let whole = match results.remove(&name) {
            Some(before) => {
                concatenate(Axis(1), &[before.view(), array.view()]).expect("a state's leaves have its rows")
            }
            None => array,
        };
        results.insert(name, whole);
    });
}
