//! Numbers of tf.contrib.seq2seq of TensorFlow 1.15.5: `tests/golden/seq2seq/cases`, described by the README beside them.
//!
//! `SEQ2SEQ_GOLDEN_DIR` names another folder of such files.

mod basic;
mod beam;
mod cells;
mod functions;
mod parts;

use crate::case::{Case, Fault};
use ndarray::ArrayD;
use rnn_cell::Float;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What a case computed, under the file's names.
#[derive(Default)]
pub struct Found {
    results: BTreeMap<String, Found1>,
    /// Tensors of the file that are left out, with the reason.
    left_out: BTreeMap<String, &'static str>,
    /// Scores are only as exact as TensorFlow's f32.
    f32_scores: bool,
}

/// A tensor, and where it is compared: everywhere without a mask.
struct Found1 {
    numbers: ArrayD<f64>,
    compared: Option<ArrayD<bool>>,
}

/// The reasons why a tensor of a file is left out, wholly or past a row's end.
pub const TIME: &str = "time: the state counts no steps";
pub const HISTORY: &str = "alignment history past a row's end, which TensorFlow goes on with";
pub const HISTORY_GRADIENT: &str = "gradients through TensorFlow's alignment history past a row's end";
pub const ENDED_BEAM: &str = "the cell's state of finished beams, which TensorFlow goes on with";
pub const SLOTS: &str = "final_sequence_lengths of beams: those of slots, not of beams";
pub const REORDERED: &str =
    "alignment histories of beams, which TensorFlow reads where a beam moved to, not where it was";

impl Found {
    pub fn put(&mut self, name: impl Into<String>, numbers: impl Into<ArrayD<f64>>) {
        self.results.insert(name.into(), Found1 { numbers: numbers.into(), compared: None });
    }

    pub fn put_masked(&mut self, name: impl Into<String>, numbers: ArrayD<f64>, compared: ArrayD<bool>) {
        self.results.insert(name.into(), Found1 { numbers, compared: Some(compared) });
    }

    pub fn leave_out(&mut self, name: impl Into<String>, reason: &'static str) {
        self.left_out.insert(name.into(), reason);
    }

    /// Leaves out every gradient of the file.
    pub fn leave_out_gradients(&mut self, case: &Case, reason: &'static str) {
        for name in case.tensors.keys().filter(|name| name.starts_with("grad/")) {
            self.leave_out(name.clone(), reason);
        }
    }
}

#[test]
fn all_seq2seq_cases() {
    let folder = std::env::var_os("SEQ2SEQ_GOLDEN_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/seq2seq/cases"), PathBuf::from);
    let (mut checked, mut gradients, mut failed) = (0, 0, 0);
    let (mut not_supported, mut left_out) = (BTreeMap::<String, usize>::new(), BTreeMap::<&str, usize>::new());
    // Written around the test's capture, so that a plain `cargo test` shows what was checked.
    let mut report = std::io::stdout().lock();
    let mut say = |line: String| writeln!(report, "{line}").expect("stdout takes a line");
    for file in crate::files(folder) {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let passed = Case::read(&file).and_then(|case| {
            let found = if case.f64 { run::<f64>(&case)? } else { run::<f32>(&case)? };
            compare(&case, &found)
        });
        match passed {
            Ok(passed) => {
                checked += 1;
                gradients += usize::from(passed.gradients);
                passed.left_out.iter().for_each(|&reason| *left_out.entry(reason).or_default() += 1);
                say(format!(
                    "{name}: checked, largest errors {:.1e}, gradients {:.1e}",
                    passed.worst.0, passed.worst.1
                ));
            }
            Err(Fault::NotSupported(kind)) => {
                say(format!("{name}: not supported ({kind})"));
                *not_supported.entry(kind).or_default() += 1;
            }
            Err(fault) => {
                failed += 1;
                say(format!("{name}: FAILED, {fault}"));
            }
        }
    }
    for (reason, files) in &left_out {
        say(format!("left out in {files} files: {reason}"));
    }
    let missing: usize = not_supported.values().sum();
    let kinds: Vec<String> = not_supported.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    say(format!(
        "golden seq2seq: {checked} checked, {failed} failed, {missing} not supported (kinds: {}), {gradients} with gradients",
        kinds.join(", ")
    ));
    assert_eq!(failed, 0, "golden cases failed");
    if std::env::var_os("SEQ2SEQ_GOLDEN_DIR").is_none() {
        // A case that is no longer checked is noticed.
        assert_eq!((checked, missing, gradients), COUNTS);
    }
}

/// Cases checked, cases not supported, cases with gradients.
const COUNTS: (usize, usize, usize) = (107, 10, 67);

fn run<E: Float>(case: &Case) -> Result<Found, Fault> {
    match case.api.as_str() {
        "dynamic_rnn" => basic::rnn::<E>(case),
        "dynamic_decode" if case.option("decoder") == Some("BeamSearchDecoder") => beam::beam::<E>(case),
        "dynamic_decode" => basic::decode::<E>(case),
        "attention_mechanism" => functions::mechanism::<E>(case),
        "monotonic_attention" => functions::monotonic::<E>(case),
        "sequence_loss" => functions::loss::<E>(case),
        "gather_tree" => functions::tree(case),
        "tile_batch" => functions::tile::<E>(case),
        other => Err(Fault::NotSupported(other.into())),
    }
}

/// What passed in a case.
struct Passed {
    gradients: bool,
    left_out: Vec<&'static str>,
    /// The largest errors, of results relative to max(1, size), of gradients to max(1, largest gradient).
    worst: (f64, f64),
}

/// Compares every tensor of the file's results: each is computed, or left out by name.
fn compare(case: &Case, found: &Found) -> Result<Passed, Fault> {
    let groups = ["outputs", "final_state", "final_sequence_lengths", "grad", "next_state", "keys", "values"];
    let expected: Vec<&String> =
        case.tensors.keys().filter(|name| groups.contains(&name.split('/').next().unwrap_or_default())).collect();
    if let Some(name) = found.results.keys().chain(found.left_out.keys()).find(|name| !expected.contains(name)) {
        return Err(Fault::Broken(format!("{name} is a result, but the file has {expected:?}")));
    }
    let mut passed = Passed { gradients: false, left_out: Vec::new(), worst: (0.0, 0.0) };
    for name in expected {
        let Some(Found1 { numbers, compared }) = found.results.get(name) else {
            let reason = found.left_out.get(name).ok_or_else(|| Fault::Broken(format!("{name} was not computed")))?;
            passed.left_out.push(reason);
            continue;
        };
        passed.left_out.extend(found.left_out.get(name));
        let tensor = &case.tensors[name];
        if tensor.shape() != numbers.shape() {
            let shapes = format!("{name} has shape {:?}, but the file has {:?}", numbers.shape(), tensor.shape());
            return Err(Fault::Broken(shapes));
        }
        let is_gradient = name.starts_with("grad/");
        passed.gradients |= is_gradient;
        let size = tensor.iter().filter(|a| a.abs() < 1e30).fold(1.0_f64, |size, a| size.max(a.abs()));
        let tolerance = match (is_gradient, case.f64) {
            (false, true) if name == "outputs/scores" && found.f32_scores => 2e-6,
            (false, true) => 1e-12,
            (true, true) => 1e-10,
            (false, false) => 2e-6,
            (true, false) => 1e-5,
        };
        let worst = if is_gradient { &mut passed.worst.1 } else { &mut passed.worst.0 };
        let mask = compared.as_ref().map(|mask| mask.iter().copied().collect::<Vec<_>>());
        for (at, (a, b)) in tensor.iter().zip(numbers).enumerate() {
            if mask.as_ref().is_some_and(|mask| !mask[at]) {
                continue;
            }
            // Near the lowest number, and at infinity, only the sign counts.
            let error =
                if a.abs() > 1e30 && b.abs() > 1e30 && a.signum() == b.signum() { 0.0 } else { (a - b).abs() / size };
            if error.is_nan() || error > tolerance {
                return Err(Fault::Broken(format!("{name}, number {at}: {b}, but the file has {a}")));
            }
            *worst = worst.max(error);
        }
    }
    passed.left_out.sort_unstable();
    passed.left_out.dedup();
    Ok(passed)
}
