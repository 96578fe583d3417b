//! Every instruction set gives the same numbers up to rounding. This program runs itself under each, and compares.

use crate::common::{instruction_sets, run_child};
use ndarray::Array3;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rnn_cell::{BasicRnn, Float, Gru, GruReset, Lstm, RnnCell, State, dynamic_rnn, instruction_set};
use std::ffi::OsStr;
use std::fmt::Write;

/// Lines of numbers, each after a name.
fn report<C: RnnCell>(name: &str, cell: &C, rng: &mut Xoshiro256PlusPlus, to: &mut String) {
    for (batch, seq) in [(1, 26), (3, 4), (13, 3)] {
        let mut number = || C::Elem::of(rng.random_range(-1.0..1.0));
        let x = Array3::from_shape_simple_fn((batch, seq, cell.input_size()), &mut number);
        let (outputs, state) = dynamic_rnn(cell, &x, None, None).unwrap();
        let mut numbers: Vec<f64> = outputs.iter().map(|x| x.as_f64()).collect();
        state.visit(&mut |leaf| numbers.extend(leaf.iter().map(|x| x.as_f64())));
        writeln!(to, "\n{name} {batch}: {}", numbers.iter().map(f64::to_string).collect::<Vec<_>>().join(" ")).unwrap();
    }
}

fn reports<E: Float>(to: &mut String) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let name = std::any::type_name::<E>();
    report(&format!("{name} rnn"), &BasicRnn::<E>::new(5, 37, &mut rng), &mut rng.clone(), to);
    report(&format!("{name} lstm"), &Lstm::<E>::new(5, 37, &mut rng), &mut rng.clone(), to);
    let options = Lstm::<E>::builder(5, 19).use_peepholes(true).cell_clip(E::of(0.5)).num_proj(7);
    report(&format!("{name} lstm options"), &options.build(&mut rng).unwrap(), &mut rng.clone(), to);
    for reset in [GruReset::Before, GruReset::After] {
        let gru: Gru<E> = Gru::<E>::builder(5, 37).reset(reset).build(&mut rng).unwrap();
        report(&format!("{name} gru {reset:?}"), &gru, &mut rng.clone(), to);
    }
}

/// Runs in its own process, with a variable that its parent sets.
#[test]
#[ignore = "run by the others, with RNN_CELL_ISA set"]
fn child() {
    let mut all = format!("\nruns on {}", instruction_set());
    reports::<f32>(&mut all);
    reports::<f64>(&mut all);
    println!("{all}");
}

/// The child's output. Asserts that the child used the requested instruction set.
fn lines(isa: &str) -> Vec<(String, Vec<f64>)> {
    let output = run_child("instruction_sets::child", isa);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = String::from_utf8(output.stdout).unwrap();
    assert!(output.contains(&format!("\nruns on {isa}\n")), "{output}");
    let numbers = |line: &str| {
        let (name, numbers) = line.split_once(": ")?;
        let numbers: Result<_, _> = numbers.split(' ').map(str::parse).collect();
        Some((name.to_owned(), numbers.ok()?))
    };
    output.lines().filter_map(numbers).collect()
}

#[test]
fn every_path_gives_the_same_numbers() {
    let scalar = lines("scalar");
    assert_eq!(scalar.len(), 2 * 5 * 3);
    for isa in instruction_sets().into_iter().filter(|isa| *isa != "scalar") {
        for ((name, expected), (_, found)) in scalar.iter().zip(lines(isa)) {
            let tolerance = if name.starts_with("f32") { 2e-6 } else { 1e-13 };
            assert_eq!(expected.len(), found.len(), "{isa} {name}");
            for (expected, found) in expected.iter().zip(found) {
                assert!((expected - found).abs() <= tolerance, "{isa} {name}: {found} {expected}");
            }
        }
    }
}

#[test]
fn a_path_that_is_not_there_is_no_other_path() {
    let refused = |isa: &OsStr, shown: &str| {
        let output = run_child("instruction_sets::child", isa);
        assert!(!output.status.success());
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains(&format!("RNN_CELL_ISA is {shown}")), "{told}");
    };
    refused("mmx".as_ref(), "\"mmx\"");
    #[cfg(unix)]
    refused(std::os::unix::ffi::OsStrExt::from_bytes(b"avx\xff"), r#""avx\xFF""#);
}

#[test]
fn an_empty_variable_is_as_none() {
    let output = run_child("instruction_sets::child", "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let widest = instruction_sets().pop().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains(&format!("\nruns on {widest}\n")));
}
