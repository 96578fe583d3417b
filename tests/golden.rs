//! Every golden vector in a folder against the crate: numbers of TensorFlow 1, its fused ops, Keras and PyTorch.
//!
//! `GOLDEN_DIR` names another folder of such files. `tests/golden/README.md` describes them.

#[path = "golden/build.rs"]
mod build;
#[path = "golden/case.rs"]
mod case;
#[path = "golden/drive.rs"]
mod drive;
#[path = "golden/foreign.rs"]
mod foreign;
#[path = "golden/import.rs"]
mod import;

use case::{Case, Fault, Refusal};
use drive::Results;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

#[test]
fn all_cases() {
    let folder = std::env::var_os("GOLDEN_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/cases"), PathBuf::from);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a folder's entries can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "safetensors"))
        .collect();
    files.sort();
    let (mut checked, mut failed, mut not_supported) = (0, 0, BTreeMap::<String, usize>::new());
    // Written past the test's capture, so that a plain `cargo test` shows what was checked.
    let mut report = std::io::stdout().lock();
    let mut say = |line: String| writeln!(report, "{line}").expect("stdout takes a line");
    say(String::new());
    for file in &files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        match check(file) {
            Ok(passed) => {
                checked += 1;
                say(format!("{name}: checked, {passed}"));
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
    say(format!("golden: {checked} checked, {failed} failed, {missing} not supported (kinds: {kinds})"));
    assert!(!files.is_empty(), "{} holds no .safetensors file", folder.display());
    assert_eq!(failed, 0, "golden cases failed");
}

/// What was found right about a file.
fn check(file: &Path) -> Result<String, Fault> {
    let mut case = Case::read(file)?;
    foreign::translate(&mut case)?;
    let refusals = expected_refusals(&case)?;
    let (tolerance, results) = match case.f64 {
        true => (1e-12, drive::run::<f64>(&case)),
        false => (2e-6, drive::run::<f32>(&case)),
    };
    match results {
        Err(Fault::Refused(refusal, message)) if refusals.contains(&refusal) => {
            Ok(format!("refused as it should be ({message})"))
        }
        Err(fault) => Err(fault),
        Ok(_) if !refusals.is_empty() => Err(Fault::Broken(format!("not refused, but should be: {refusals:?}"))),
        Ok(results) => compare(&case, &results, tolerance),
    }
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

/// The largest error of outputs and of states, if all are there and within `tolerance`.
fn compare(case: &Case, results: &Results, tolerance: f64) -> Result<String, Fault> {
    let forward =
        |name: &&String| name.split('/').next().is_some_and(|group| matches!(group, "outputs" | "final_state"));
    let expected: Vec<&String> = case.tensors.keys().filter(forward).collect();
    let found: Vec<&String> = results.keys().collect();
    if expected != found {
        return Err(Fault::Broken(format!("results are {found:?}, but the file has {expected:?}")));
    }
    // An initial state that belongs to no leaf was not used.
    let initial = case.tensors.keys().filter_map(|name| name.strip_prefix("initial_state/"));
    if let Some(name) = initial.into_iter().find(|name| !results.contains_key(&format!("final_state/{name}"))) {
        return Err(Fault::Broken(format!("initial_state/{name} belongs to no leaf of the state")));
    }
    let (mut outputs, mut states) = (0.0_f64, 0.0_f64);
    for (name, result) in results {
        let tensor = &case.tensors[name];
        if tensor.shape() != result.shape() {
            let (expected, found) = (tensor.shape(), result.shape());
            return Err(Fault::Broken(format!("{name} has shape {found:?}, but the file has {expected:?}")));
        }
        let worst = if name.starts_with("outputs") { &mut outputs } else { &mut states };
        for (a, b) in tensor.iter().zip(result) {
            let error = (a - b).abs();
            // Not `max`, which passes over NaN.
            if error.is_nan() || error > *worst {
                *worst = error;
            }
        }
    }
    let errors = format!("largest errors: outputs {outputs:.1e}, states {states:.1e}");
    // Written so that NaN fails.
    if outputs <= tolerance && states <= tolerance {
        Ok(errors)
    } else {
        Err(Fault::Broken(format!("{errors}, but {tolerance:.0e} is allowed")))
    }
}
