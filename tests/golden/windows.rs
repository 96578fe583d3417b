//! Carried windows: a sequence in pieces, each run from the state that the one before ended in, which no gradient
//! passes.

use crate::back::{d_final_state, with};
use crate::case::{Case, Fault};
use crate::drive::{Results, direction, driver, put_state};
use crate::import;
use ndarray::{Array3, ArrayD, Axis, Ix3, Slice, s};
use rnn_cell::train::Tape;
use rnn_cell::{Float, RnnCell};

/// Outputs and final states of a case and, if `backward`, all gradients: those of each window, and their sums.
pub fn run<E: Float>(case: &Case, backward: bool) -> Result<Results, Fault> {
    let (_, seq, input) = case.sizes()?;
    let window: usize = case.number("window")?;
    let (lengths, resets) = (case.lengths()?, case.resets()?);
    let mut x = case.array::<E, Ix3>("x")?;
    for (row, &length) in lengths.iter().flatten().enumerate() {
        x.slice_mut(s![row, length.., ..]).fill(E::of(f64::NAN));
    }
    let cotangent = case.array::<E, Ix3>("cotangent/outputs")?;
    let this = direction(case, &case.spec, "", input)?;
    let (mut outputs, mut d_x) = (Array3::<E>::zeros(cotangent.raw_dim()), Array3::<E>::zeros(x.raw_dim()));
    let (mut state, mut results) = (this.initial.clone(), Results::new());
    for start in (0..seq).step_by(window) {
        let end = seq.min(start + window);
        let part = s![.., start..end, ..];
        let lengths: Option<Vec<usize>> = lengths
            .as_ref()
            .map(|lengths| lengths.iter().map(|length| length.saturating_sub(start).min(end - start)).collect());
        let resets = resets.as_ref().map(|resets| resets.slice_axis(Axis(1), Slice::from(start..end)).to_owned());
        let driver = driver(case, &this.cell, (lengths.as_deref(), resets.as_ref()), state);
        let x = x.slice(part);
        if !backward {
            let (out, last) = driver.run(&x)?;
            outputs.slice_mut(part).assign(&out);
            state = Some(last);
            continue;
        }
        let (out, last, tape) = driver.record(&x)?;
        let d_last = if end == seq { d_final_state(case, &this)? } else { None };
        let back = with(tape, Tape::d_final_state, d_last).backward(&cotangent.slice(part))?;
        outputs.slice_mut(part).assign(&out);
        d_x.slice_mut(part).assign(&back.inputs);
        if start == 0 && this.initial.is_some() {
            put_state(&mut results, "grad/initial_state/", &back.initial_state, &this.leaves);
        }
        let ours = back.parameters.iter().map(|(name, array)| (name.to_owned(), array.mapv(E::as_f64))).collect();
        for (name, gradient) in import::gradients(case, ours)? {
            add(&mut results, format!("grad/{name}"), &gradient);
            results.insert(format!("window_grad/{}/{name}", start / window), gradient);
        }
        state = Some(last);
    }
    results.insert("outputs".into(), outputs.mapv(E::as_f64).into_dyn());
    if backward {
        results.insert("grad/x".into(), d_x.mapv(E::as_f64).into_dyn());
    }
    put_state(&mut results, "final_state/", &state.unwrap_or(this.cell.zero_state(0)), &this.leaves);
    Ok(results)
}

fn add(results: &mut Results, name: String, gradient: &ArrayD<f64>) {
    match results.get_mut(&name) {
        Some(sum) => *sum += gradient,
        None => {
            results.insert(name, gradient.clone());
        }
    }
}
