//! The symptoms that the guide's page on porting promises.

use crate::common::{gru, randomized, rng};
use ndarray::{Array2, Array3, s};
use rnn_cell::weights::{Tensors, pytorch, safetensors};
use rnn_cell::{Gru, GruReset, Lstm, dynamic_rnn, one_hot};

const PAGE: &str = include_str!("../../docs/guide/porting.md");

/// Asserts that the page quotes an error word for word.
fn quoted<T>(result: Result<T, rnn_cell::Error>) {
    let message = result.err().expect("an error").to_string();
    assert!(PAGE.contains(&format!("`{message}`")), "{message}");
}

/// Asserts that the page quotes an error up to a list of names.
fn quoted_up_to_names<T>(result: Result<T, rnn_cell::Error>) {
    let message = result.err().expect("an error").to_string();
    let (beginning, _) = message.split_once("are ").unwrap();
    assert!(PAGE.contains(&format!("`{beginning}are …`")), "{message}");
}

fn differs(a: &Array3<f64>, b: &Array3<f64>, step: usize) -> bool {
    a.slice(s![.., step, ..]) != b.slice(s![.., step, ..])
}

fn lstm(forget_bias: f64) -> Lstm<f64> {
    randomized(Lstm::builder(4, 8).forget_bias(forget_bias).build(&mut rng(1)).unwrap(), &mut rng(1))
}

/// So that `finish`, the page's last line, succeeds.
#[test]
fn the_page_takes_all_that_its_script_records() {
    let (_, recorded) = PAGE.split_once("recorded = {").unwrap();
    let (names, _) = recorded.split_once('}').unwrap();
    let names: Vec<&str> = names.split(", ").map(|entry| entry.split('"').nth(1).unwrap()).collect();
    assert_eq!(names.len(), 5, "{names:?}");
    for name in names {
        assert!(PAGE.contains(&format!("recorded(\"{name}\", &mut tensors)?")), "{name}");
    }
}

#[test]
fn errors_are_those_on_the_page() {
    let after: Gru<f32> = Gru::<f32>::builder(4, 8).reset(GruReset::After).build(&mut rng(1)).unwrap();
    quoted(Gru::from_weights(after.weights().clone()));
    quoted(Lstm::<f32>::builder(4, 8).build_from(rnn_cell::cells::LstmWeights {
        kernel: Array2::zeros((32, 12)),
        bias: None,
        peepholes: None,
        projection: None,
    }));
    let cell = lstm(0.0);
    quoted(dynamic_rnn(&cell, &Array3::zeros((5, 2, 4)), Some(&[5, 3]), None));
    quoted(dynamic_rnn(&cell, &Array3::zeros((2, 5, 5)), None, None));
    let bytes = safetensors::to_bytes(&cell).unwrap();
    quoted(safetensors::read_tensors::<f32>(&bytes).unwrap().take_matrix("kernel", (12, 32)));
    let mut tensors = Tensors::<f64>::new();
    tensors.insert("linear.weight", Array2::zeros((4, 8)));
    quoted_up_to_names(pytorch::lstm(&mut tensors, "encoder."));
    quoted(tensors.finish());
}

#[test]
fn the_first_step_tells_what_touches_only_the_old_state() {
    let x = one_hot::<f64>(&["hello", "eolll"], "helo").unwrap();
    let run = |cell: &Lstm<f64>| dynamic_rnn(cell, &x, None, None).unwrap().0;
    let (once, twice) = (run(&lstm(0.0)), run(&lstm(1.0)));
    assert!(!differs(&once, &twice, 0) && differs(&once, &twice, 1), "the forget bias");

    let before: Gru<f64> = gru(4, 8, &mut rng(1));
    let mut weights = before.weights().clone();
    weights.candidate_recurrent_bias = Some(ndarray::Array1::zeros(8));
    let after = Gru::<f64>::builder(4, 8).reset(GruReset::After).build_from(weights).unwrap();
    let [before, after] = [before, after].map(|cell| dynamic_rnn(&cell, &x, None, None).unwrap().0);
    assert!((&before - &after).slice(s![.., 0, ..]).iter().all(|d| d.abs() < 1e-12), "the reset");
    assert!((&before - &after).slice(s![.., 1, ..]).iter().any(|d| d.abs() > 1e-3), "the reset");

    let mut weights = lstm(0.0).weights().clone();
    let (i, j) = (weights.kernel.slice(s![.., 0..8]).to_owned(), weights.kernel.slice(s![.., 8..16]).to_owned());
    weights.kernel.slice_mut(s![.., 0..8]).assign(&j);
    weights.kernel.slice_mut(s![.., 8..16]).assign(&i);
    let swapped = run(&Lstm::builder(4, 8).forget_bias(0.0).build_from(weights).unwrap());
    assert!(differs(&once, &swapped, 0), "the order of the gates");
}

#[test]
fn of_time_major_inputs_only_the_first_number_is_right() {
    let cell = lstm(0.0);
    let x = one_hot::<f64>(&["helo", "oleh", "hhoo", "leho"], "helo").unwrap();
    let (right, _) = dynamic_rnn(&cell, &x, None, None).unwrap();
    let (wrong, _) = dynamic_rnn(&cell, &x.view().permuted_axes([1, 0, 2]), None, None).unwrap();
    let wrong = wrong.permuted_axes([1, 0, 2]);
    for (row, step) in (0..4).flat_map(|row| (0..4).map(move |step| (row, step))) {
        let same = right.slice(s![row, step, ..]) == wrong.slice(s![row, step, ..]);
        assert_eq!(same, (row, step) == (0, 0), "row {row}, step {step}");
    }
}
