//! Runs a case through the driver it names.

use crate::build::{Cell, Leaf, build, leaves};
use crate::case::{Case, Fault, Mask};
use ndarray::{Array2, Array3, ArrayD, Axis, Ix2, Ix3, concatenate, s};
use rnn_cell::{Float, RnnCell, State, dynamic_rnn, dynamic_rnn_time_major};
use std::collections::BTreeMap;

/// Outputs and final states under the names of the file.
pub type Results = BTreeMap<String, ArrayD<f64>>;

/// The results of a case, computed in `E`.
pub fn run<E: Float>(case: &Case) -> Result<Results, Fault> {
    let lengths = case.lengths()?;
    let (_, _, input) = case.sizes()?;
    match case.api.as_str() {
        "dynamic_rnn" => {
            let leaves = leaves(&case.spec, "");
            match build::<E>(case, &case.spec, "", input)? {
                Cell::BasicRnn(cell) => dynamic(case, &cell, lengths, &leaves),
                Cell::Lstm(cell) => dynamic(case, &cell, lengths, &leaves),
                Cell::Gru(cell) => dynamic(case, &cell, lengths, &leaves),
            }
        }
        other => Err(Fault::NotSupported(other.into())),
    }
}

fn dynamic<C: RnnCell>(case: &Case, cell: &C, lengths: Option<Vec<usize>>, leaves: &[Leaf]) -> Result<Results, Fault> {
    let x = case.array::<C::Elem, Ix3>("x")?;
    let initial = initial_state(case, cell, leaves)?;
    let (outputs, state) = if case.time_major {
        dynamic_rnn_time_major(cell, &x, lengths.as_deref(), initial)?
    } else {
        dynamic_rnn(cell, &x, lengths.as_deref(), initial)?
    };
    let mut results = Results::new();
    final_state(&mut results, &state, leaves);
    results.insert("outputs".into(), scatter(widen(outputs), case.mask.as_ref()).into_dyn());
    Ok(results)
}

fn widen<E: Float>(array: Array3<E>) -> Array3<f64> {
    array.mapv(E::as_f64)
}

/// The file's initial state, leaf by leaf, if it has one.
fn initial_state<C: RnnCell>(case: &Case, cell: &C, leaves: &[Leaf]) -> Result<Option<C::State>, Fault> {
    let there = leaves.iter().all(|leaf| case.tensors.contains_key(&format!("initial_state/{}", leaf.tensor)));
    if !there {
        return match case.tensors.keys().find(|name| name.starts_with("initial_state/")) {
            Some(name) => Err(Fault::Broken(format!("{name} belongs to no leaf of the state"))),
            None => Ok(None),
        };
    }
    let mut state = cell.zero_state(case.sizes()?.0);
    let (mut leaf, mut result) = (leaves.iter(), Ok(()));
    state.visit_mut(&mut |mut array| {
        let Some(leaf) = leaf.next() else { return };
        match case.array::<C::Elem, Ix2>(&format!("initial_state/{}", leaf.tensor)) {
            Ok(tensor) => {
                let columns = leaf.column..leaf.column + array.ncols();
                array.assign(&tensor.slice(s![.., columns]));
            }
            Err(fault) => result = Err(fault),
        }
    });
    result.map(|()| Some(state))
}

fn final_state<E: Float, S: State<E>>(results: &mut Results, state: &S, leaves: &[Leaf]) {
    let mut leaf = leaves.iter();
    state.visit(&mut |array| {
        let array: Array2<f64> = array.mapv(E::as_f64);
        let name = leaf.next().map_or("a leaf too many", |leaf| &leaf.tensor);
        let name = format!("final_state/{name}");
        let whole = match results.remove(&name) {
            Some(before) => concatenate(Axis(1), &[before.view(), array.into_dyn().view()]).expect("rows agree"),
            None => array.into_dyn(),
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
