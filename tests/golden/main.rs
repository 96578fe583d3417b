//! Compares every golden vector in a folder with the crate, forward and backward. They come from TensorFlow 1, its
//! fused ops, Keras and PyTorch.
//!
//! `GOLDEN_DIR` names another folder of such files. `tests/golden/README.md` describes them.

#[cfg(feature = "safetensors")]
mod accuracy;
mod back;
mod build;
mod case;
mod drive;
mod foreign;
mod import;
mod seq2seq;
#[path = "../fused/sru.rs"]
mod sru;
mod stack;
mod windows;

use case::{Case, Fault, Refusal};
use drive::Results;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

#[test]
fn all_cases() {
    let files = files(std::env::var_os("GOLDEN_DIR").map_or_else(own_cases, PathBuf::from));
    let (mut checked, mut gradients, mut failed) = (0, 0, 0);
    let mut not_supported = BTreeMap::<String, usize>::new();
    // Written around the test's capture, so that a plain `cargo test` shows what was checked.
    let mut report = std::io::stdout().lock();
    let mut say = |line: String| writeln!(report, "{line}").expect("stdout takes a line");
    say(String::new());
    for file in &files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        match Case::read(file).and_then(check) {
            Ok(passed) => {
                checked += 1;
                gradients += usize::from(passed.gradients);
                say(format!("{name}: checked, {}", passed.how));
            }
            Err(Fault::NotSupported(kind)) => {
                say(format!("{name}: not supported yet ({kind})"));
                *not_supported.entry(kind).or_default() += 1;
            }
            Err(fault) => {
                failed += 1;
                say(format!("{name}: FAILED, {fault}"));
            }
        }
    }
    let kinds: Vec<String> = not_supported.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    let kinds = if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") };
    let missing: usize = not_supported.values().sum();
    say(format!(
        "golden: {checked} checked, {failed} failed, {missing} not supported (kinds: {kinds}), {gradients} with gradients"
    ));
    assert_eq!(failed, 0, "golden cases failed");
}

/// No gradient is skipped: a case fails if one number in it is wrong, or if there is one too few or too many.
#[test]
fn each_gradient_counts() {
    for file in files(own_cases()) {
        let case = Case::read(&file).unwrap();
        if !check(case.clone()).is_ok_and(|passed| passed.gradients) {
            continue;
        }
        let clipped = case.tensors.keys().any(|name| name.starts_with("plain_grad/"));
        let group = if clipped { "plain_grad/" } else { "grad/" };
        let fails = |tensors| assert!(check(Case { tensors, ..case.clone() }).is_err(), "{}", file.display());
        for name in case.tensors.keys().filter(|name| name.starts_with(group) || name.starts_with("window_grad/")) {
            let (mut wrong, mut fewer) = (case.tensors.clone(), case.tensors.clone());
            let largest = case.tensors[name].iter().fold(1.0_f64, |largest, g| largest.max(g.abs()));
            if let Some(number) = wrong.get_mut(name).and_then(|tensor| tensor.last_mut()) {
                *number += largest * if case.f64 { 3e-10 } else { 3e-5 };
                fails(wrong);
            }
            fewer.remove(name);
            fails(fewer);
        }
        let mut more = case.tensors.clone();
        more.insert(format!("{group}y"), ndarray::arr0(0.0).into_dyn());
        fails(more);
    }
}

fn own_cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/cases")
}

/// The files of the folder, in the order of their names.
fn files(folder: PathBuf) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a folder's entries can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "safetensors"))
        .collect();
    assert!(!files.is_empty(), "{} holds no .safetensors file", folder.display());
    files.sort();
    files
}

/// What passed in a case.
struct Passed {
    how: String,
    /// Its gradients too.
    gradients: bool,
}

/// Checks a case as its file describes it.
fn check(mut case: Case) -> Result<Passed, Fault> {
    foreign::translate(&mut case)?;
    let refusals = expected_refusals(&case)?;
    match run(&case) {
        Err(Fault::Refused(refusal, message)) if refusals.contains(&refusal) => {
            let refused = format!("refused as it should be ({message})");
            if refusals.iter().any(|refusal| !matches!(refusal, Refusal::NegativeLength | Refusal::LengthOverSeq)) {
                return Ok(Passed { how: refused, gradients: false });
            }
            case.clamp_lengths()?;
            let Passed { how, gradients } = run(&case)?;
            Ok(Passed { how: format!("{refused}; with lengths from 0 to seq, {how}"), gradients })
        }
        Ok(_) if !refusals.is_empty() => Err(Fault::Broken(format!("not refused, but should be: {refusals:?}"))),
        result => result,
    }
}

/// Runs a case forward and, if the file has gradients, also backward.
fn run(case: &Case) -> Result<Passed, Fault> {
    let mut errors = Errors::default();
    errors.compare(case, FORWARD, &if case.f64 { drive::run::<f64>(case)? } else { drive::run::<f32>(case)? })?;
    if case.tensors.keys().any(|name| name.starts_with("grad/")) {
        errors.compare(case, ALL, &if case.f64 { back::run::<f64>(case)? } else { back::run::<f32>(case)? })?;
    }
    errors.check(case.f64)
}

/// Where TensorFlow is silently odd, the crate refuses.
fn expected_refusals(case: &Case) -> Result<Vec<Refusal>, Fault> {
    let (_, seq, input) = case.sizes()?;
    let lengths = case.raw_lengths().unwrap_or_default();
    let mut refusals = Vec::new();
    if lengths.iter().any(|&length| length < 0) {
        refusals.push(Refusal::NegativeLength);
    }
    if lengths.iter().any(|&length| length > seq as i64) {
        refusals.push(Refusal::LengthOverSeq);
    }
    let mut specs = vec![&case.spec, &case.spec_bw];
    let mut no_size = input == 0;
    while let Some(spec) = specs.pop() {
        specs.extend(spec["cells"].as_array().into_iter().flatten());
        specs.extend(spec.get("cell"));
        no_size |= spec["num_units"] == 0;
        if ["cell_clip", "proj_clip"].iter().any(|clip| spec[clip].as_f64().is_some_and(|clip| clip <= 0.0)) {
            refusals.push(Refusal::Clip);
        }
    }
    if no_size {
        refusals.push(Refusal::ZeroSize);
    }
    Ok(refusals)
}

/// The results of a run, forward, and forward and backward: the names of the tensors, up to the first slash.
const FORWARD: &[&str] = &["outputs", "final_state"];
const ALL: &[&str] = &["outputs", "final_state", "grad", "window_grad"];

/// The largest errors so far. Those of gradients are relative to max(1, |g|). In `f32`, g is the largest number of the
/// tensor, because a gradient is a sum whose terms may cancel.
#[derive(Default)]
struct Errors {
    outputs: f64,
    states: f64,
    gradients: Option<f64>,
}

impl Errors {
    /// Compares all tensors of `groups`: the file must have exactly the results.
    fn compare(&mut self, case: &Case, groups: &[&str], results: &Results) -> Result<(), Fault> {
        let group = |name: &str| name.split('/').next().unwrap_or_default().to_owned();
        let expected: Vec<&String> = case.tensors.keys().filter(|name| groups.contains(&&*group(name))).collect();
        let found: Vec<&String> = results.keys().collect();
        if expected != found {
            return Err(Fault::Broken(format!("results are {found:?}, but the file has {expected:?}")));
        }
        // An initial state or a cotangent that belongs to no leaf was not used.
        for unused in ["initial_state/", "cotangent/final_state/"] {
            let leaves = case.tensors.keys().filter_map(|name| name.strip_prefix(unused));
            if let Some(name) = leaves.into_iter().find(|name| !results.contains_key(&format!("final_state/{name}"))) {
                return Err(Fault::Broken(format!("{unused}{name} belongs to no leaf of the state")));
            }
        }
        for (name, result) in results {
            let tensor = &case.tensors[name];
            if tensor.shape() != result.shape() {
                let (expected, found) = (tensor.shape(), result.shape());
                return Err(Fault::Broken(format!("{name} has shape {found:?}, but the file has {expected:?}")));
            }
            let (worst, is_gradient) = match &*group(name) {
                "outputs" => (&mut self.outputs, false),
                "final_state" => (&mut self.states, false),
                _ => (self.gradients.get_or_insert(0.0), true),
            };
            let largest = tensor.iter().fold(1.0_f64, |largest, a| largest.max(a.abs()));
            for (a, b) in tensor.iter().zip(result) {
                let scale = match (is_gradient, case.f64) {
                    (false, _) => 1.0,
                    (true, true) => a.abs().max(1.0),
                    (true, false) => largest,
                };
                let error = (a - b).abs() / scale;
                // Not `max`, which ignores NaN.
                if error.is_nan() || error > *worst {
                    *worst = error;
                }
            }
        }
        Ok(())
    }

    /// The errors, if all are tolerable.
    fn check(&self, f64: bool) -> Result<Passed, Fault> {
        let Self { outputs, states, gradients } = *self;
        let (forward, backward) = if f64 { (1e-12, 1e-10) } else { (2e-6, 1e-5) };
        let mut errors = format!("largest errors: outputs {outputs:.1e}, states {states:.1e}");
        if let Some(gradients) = gradients {
            errors += &format!(", gradients {gradients:.1e}");
        }
        // Written so that NaN fails.
        if outputs <= forward && states <= forward && gradients.is_none_or(|gradients| gradients <= backward) {
            Ok(Passed { how: errors, gradients: gradients.is_some() })
        } else {
            Err(Fault::Broken(format!("{errors}, but {forward:.0e} and for gradients {backward:.0e} are allowed")))
        }
    }
}
