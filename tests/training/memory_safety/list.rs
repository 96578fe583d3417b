//! `tests/memory_safety.txt` lists every assertion of the kernels.

use std::collections::BTreeMap;
use std::path::Path;

/// The entries of `tests/memory_safety.txt`: file, text, and the test's name, without whitespace and marks.
fn entries() -> Vec<[String; 3]> {
    let plain = |line: &str| line.replace(|c: char| c.is_whitespace() || "«»".contains(c), "");
    let entry = |text: &str| {
        let line = |mark| text.lines().find_map(|line| line.strip_prefix(mark)).unwrap_or_else(|| panic!("{text}"));
        let test = line("> ").rsplit(' ').next().unwrap().into();
        [text.lines().next().unwrap().into(), plain(line("- ")), test]
    };
    include_str!("../../memory_safety.txt").split("\n\n").skip(1).map(entry).collect()
}

/// The files of `src/kernel` that are not tests, without whitespace.
fn kernel() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![String::from("src/kernel")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(&folder)).unwrap() {
            let (entry, is_test) = (entry.unwrap(), |name: &str| name == "tests" || name == "tests.rs");
            let name = entry.file_name().into_string().unwrap();
            if is_test(&name) {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                folders.push(format!("{folder}/{name}"));
            } else {
                files.insert(format!("{folder}/{name}"), std::fs::read_to_string(entry.path()).unwrap());
            }
        }
    }
    files
}

#[test]
fn every_assertion_of_the_kernels_is_listed() {
    let (entries, files) = (entries(), kernel());
    let plain = |text: &str| text.replace(char::is_whitespace, "");
    let mut assertions = 0;
    for (path, source) in &files {
        let lines: Vec<&str> =
            source.lines().map(str::trim).take_while(|line| !line.starts_with("#[cfg(all(test")).collect();
        for (at, line) in lines.iter().enumerate() {
            // What runs in debug builds only is not what a release build stands on.
            let debug = at > 0 && lines[at - 1] == "#[cfg(debug_assertions)]";
            let asserts = line.starts_with("assert!(") || line.starts_with("assert_eq!(");
            // A call of a method that only panics, for the reason in the line before.
            let refuses = line.contains("refuse_") && line.ends_with(';');
            if (asserts || refuses) && !debug {
                let end = (at..).find(|&end| lines[end].ends_with(';')).unwrap();
                let text = plain(&lines[at - usize::from(refuses)..=end].concat());
                let is_of = |entry: &str| entry.contains(&text) || refuses && text.starts_with(entry);
                let listed = entries.iter().any(|[file, entry, _]| file == path && is_of(entry));
                assert!(listed, "{path}: {text} is not in tests/memory_safety.txt");
                assertions += 1;
            }
        }
    }
    assert!(assertions > 40, "{assertions}");
    let tests = [
        include_str!("forward.rs"),
        include_str!("gradients.rs"),
        include_str!("product.rs"),
        include_str!("strides.rs"),
        include_str!("../../../src/kernel/tests/memory_safety.rs"),
        include_str!("../../../src/kernel/tests/compact_safety.rs"),
        include_str!("../../guard_pages/main.rs"),
    ];
    for [file, text, test] in &entries {
        assert!(plain(&files[file]).contains(text), "{file} has no {text}");
        assert!(tests.iter().any(|source| source.contains(&format!("fn {test}()"))), "there is no test {test}");
    }
}
