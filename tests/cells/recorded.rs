//! Compares forward outputs of every cell with recorded ones, bit for bit: internal changes must not change numbers.
//!
//! `recorded.txt` has one line per case and instruction set: the case, the instruction set, and the hash of its outputs
//! and last state. Weights and inputs depend only on the name of the case, not on the lists of `common`. Only a change
//! that is meant to change numbers may record a case anew. Copy in the lines that this prints:
//!
//! ```sh
//! for isa in avx512 avx2 scalar; do
//!     RECORD=1 RNN_CELL_ISA=$isa cargo test --test cells recorded -- --nocapture | grep " | $isa | "
//! done
//! ```

use crate::common::{MakeBoxed, Rng, each_boxed_cell, rng};
use ndarray::Array3;
use rand::Rng as _;
use rnn_cell::{DynState, Float, ParametersMut, RnnCell, State, dynamic_rnn, instruction_set};
use std::collections::{BTreeMap, BTreeSet};

/// Batch, steps, input, hidden, and whether the rows have lengths of their own: every cell's.
const SHAPES: [(usize, usize, usize, usize, bool); 2] = [(13, 5, 19, 130, false), (7, 27, 5, 33, true)];

/// More shapes for [`WIDELY`]: small and large, on both sides of what kernels take at once.
const MORE_SHAPES: [(usize, usize, usize, usize, bool); 13] = [
    (1, 1, 1, 1, false),
    (1, 5, 64, 64, false),
    (1, 27, 19, 130, true),
    (1, 60, 64, 130, false),
    (3, 5, 1, 33, true),
    (3, 60, 5, 17, false),
    (7, 1, 5, 130, false),
    (7, 60, 64, 2, true),
    (13, 5, 5, 64, true),
    (13, 60, 1, 1, false),
    (32, 1, 64, 130, false),
    (32, 5, 19, 17, true),
    (32, 27, 5, 33, false),
];

/// The cells that are recorded on all shapes.
const WIDELY: [&str; 4] = ["basic_rnn", "lstm", "gru", "gru, reset after"];

/// The list's other ways to hold a `gru`, with the same numbers.
const LEFT_OUT: [&str; 2] = ["box", "boxed trainable cell"];

/// Instruction sets for which every case has a line. Others may have none yet.
const RECORDED: [&str; 3] = ["avx512", "avx2", "scalar"];

/// 64-bit FNV-1a.
fn fnv1a(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// Numbers that depend only on the generator's bits, not on how a version of `rand` converts them.
fn numbers<E: Float>(seed: &str, limit: f64) -> impl FnMut() -> E + use<E> {
    let mut rng: Rng = rng(fnv1a(seed.bytes()));
    move || E::of(((rng.next_u64() >> 11) as f64 / (1_u64 << 52) as f64 - 1.0) * limit)
}

/// The hash of one case's outputs and last state.
fn hash<E: Float>(
    name: &str,
    (batch, steps, input, hidden, ragged): (usize, usize, usize, usize, bool),
    make: MakeBoxed<E>,
) -> u64 {
    let mut cell = make(input, hidden, &mut rng(1));
    cell.visit_parameters_mut(&mut |weight, mut array| {
        let mut number = numbers(&format!("{name} {weight}"), 0.5);
        array.iter_mut().for_each(|value| *value = number());
    });
    let x = Array3::from_shape_simple_fn((batch, steps, cell.input_size()), numbers(&format!("{name} x"), 2.0));
    let mut lengths = None;
    let mut initial: Option<DynState<E>> = None;
    if ragged {
        let mut length = numbers::<f64>(&format!("{name} lengths"), 1.0);
        lengths = Some((0..batch).map(|_| ((length() + 1.0) / 2.0 * (steps + 1) as f64) as usize).collect::<Vec<_>>());
        // If the cell has dropout, half of the cases turn it on.
        let mut state = cell.training_state(batch, 5);
        let mut number = numbers(&format!("{name} state"), 1.0);
        state.visit_mut(&mut |mut leaf| leaf.iter_mut().for_each(|value| *value = number()));
        initial = Some(state);
    }
    let (outputs, state) = dynamic_rnn(&cell, &x, lengths.as_deref(), initial).unwrap();
    let numbers = crate::common::numbers(outputs.view(), &state);
    assert!(numbers.iter().all(|number| number.is_finite()), "{name}: not a case that shows anything");
    fnv1a(numbers.iter().flat_map(|number| number.as_f64().to_bits().to_le_bytes()))
}

/// Every case of one type with its hash, by name.
fn record<E: Float>(to: &mut Vec<(String, u64)>) {
    each_boxed_cell::<E>(&mut |cell, make| {
        if LEFT_OUT.contains(&cell) {
            return;
        }
        let more = if WIDELY.contains(&cell) { &MORE_SHAPES[..] } else { &[] };
        for &shape in SHAPES.iter().chain(more) {
            let (batch, steps, input, hidden, ragged) = shape;
            let lengths = if ragged { " ragged" } else { "" };
            let elem = std::any::type_name::<E>();
            let name = format!("{cell}: {elem} ({batch}, {steps}, {input}, {hidden}){lengths}");
            to.push((name.clone(), hash(&name, shape, make)));
        }
    });
}

#[test]
fn every_bit_is_as_recorded() {
    // Additions, as in "avx512+vnni", are for compressed weights.
    let isa = instruction_set().split('+').next().unwrap();
    let mut found = Vec::new();
    record::<f32>(&mut found);
    record::<f64>(&mut found);
    if std::env::var("RECORD").is_ok_and(|on| on == "1") {
        println!();
        found.iter().for_each(|(name, hash)| println!("{name} | {isa} | {hash:016x}"));
        return;
    }

    let mut recorded: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for line in include_str!("../recorded.txt").lines() {
        let fields: Vec<&str> = line.split(" | ").collect();
        let [name, isa, hash] = fields[..] else { panic!("recorded.txt: not a case: {line}") };
        assert!(recorded.insert((name, isa), hash).is_none(), "recorded.txt: there twice: {name} on {isa}");
    }
    let names: BTreeSet<&str> = found.iter().map(|(name, _)| &name[..]).collect();
    let mut wrong = Vec::new();
    for (name, isa) in recorded.keys() {
        if !names.contains(name) {
            wrong.push(format!("{name}: recorded on {isa}, but there is no such case"));
        }
    }
    let mut skipped = 0;
    for (name, hash) in &found {
        for isa in RECORDED.iter().filter(|isa| !recorded.contains_key(&(&name[..], **isa))) {
            wrong.push(format!("{name}: not recorded on {isa}"));
        }
        match recorded.get(&(&name[..], isa)) {
            Some(expected) if **expected == format!("{hash:016x}") => {}
            Some(expected) => wrong.push(format!("{name}: on {isa} recorded {expected}, found {hash:016x}")),
            None => skipped += 1,
        }
    }
    if skipped > 0 {
        println!("{skipped} of {} cases are not recorded on {isa}", found.len());
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), found.len(), wrong.join("\n"));
}
