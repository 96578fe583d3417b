//! How far `f32` is from `f64`: the tables of `docs/guide/accuracy.md`. To print them:
//! `cargo test --all-features --test golden accuracy -- --nocapture`.

use crate::case::{Case, Fault};
use crate::{ALL, Errors, FORWARD, back, drive, expected_refusals, files, foreign, own_cases};
use ndarray::{Array2, Array3};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::cells::BasicRnnWeights;
use rnn_cell::weights::{Tensors, pytorch, safetensors};
use rnn_cell::{
    Activation, BasicRnn, Float, Gru, GruReset, LayerNormLstm, Lstm, Parameters, ParametersMut, RnnCell, State, Ugrnn,
    dynamic_rnn,
};
use std::collections::BTreeMap;

/// The rows of a table, and those that the page does not have.
#[derive(Default)]
struct Table(Vec<String>);

impl Table {
    /// Prints a row. The page must have it, with numbers at least half as large: the last bits differ between
    /// instruction sets.
    fn row(&mut self, name: &str, found: &[f64]) {
        let shown: Vec<String> = found.iter().map(|number| format!("{number:.1e}")).collect();
        let row = format!("| {name} | {} |", shown.join(" | "));
        println!("{row}");
        // Read here, so that new numbers need no new build.
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guide/accuracy.md");
        let page = std::fs::read_to_string(page).expect("the guide has the page");
        let stated = page.lines().find_map(|line| line.strip_prefix(&format!("| {name} | "))?.strip_suffix(" |"));
        let stated: Vec<f64> =
            stated.into_iter().flat_map(|row| row.split(" | ")).map(|n| n.parse().unwrap()).collect();
        if stated.len() != found.len() || found.iter().zip(&stated).any(|(found, stated)| *found > 2.0 * stated) {
            self.0.push(row);
        }
    }

    fn check(self) {
        assert!(self.0.is_empty(), "docs/guide/accuracy.md says otherwise of {:#?}", self.0);
    }
}

/// The largest differences of a case of `f64` numbers, computed in `f32`.
fn in_f32(mut case: Case) -> Result<Option<Errors>, Fault> {
    foreign::translate(&mut case)?;
    if !case.f64 || !expected_refusals(&case)?.is_empty() {
        return Ok(None);
    }
    // Gradients are compared as those of an `f32` file.
    case.f64 = false;
    let mut errors = Errors::default();
    errors.compare(&case, FORWARD, &drive::run::<f32>(&case)?)?;
    if case.tensors.keys().any(|name| name.starts_with("grad/")) {
        errors.compare(&case, ALL, &back::run::<f32>(&case)?)?;
    }
    Ok(Some(errors))
}

#[test]
fn golden_cases() {
    let mut kinds = BTreeMap::<String, [f64; 3]>::new();
    for file in files(own_cases()) {
        let case = Case::read(&file).unwrap();
        let kind = case.meta["cell"].clone();
        match in_f32(case) {
            Ok(None) | Err(Fault::NotSupported(_)) => {}
            Ok(Some(errors)) => {
                let worst = kinds.entry(kind).or_default();
                let found = [errors.outputs, errors.states, errors.gradients.unwrap_or(0.0)];
                worst.iter_mut().zip(found).for_each(|(worst, found)| *worst = worst.max(found));
            }
            Err(fault) => panic!("{}: {fault}", file.display()),
        }
    }
    assert!(kinds.len() >= 15, "{kinds:?}");
    let mut table = Table::default();
    kinds.iter().for_each(|(kind, worst)| table.row(&format!("`{kind}`"), worst));
    table.check();
}

fn largest<E: Float>(narrow: &[E], wide: &[f64]) -> f64 {
    assert_eq!(narrow.len(), wide.len());
    narrow.iter().zip(wide).fold(0.0, |largest, (a, b)| (a.as_f64() - b).abs().max(largest))
}

/// The GRUs of g2p, whose embeddings are folded in.
fn g2p<E: Float>(bytes: &[u8], side: &str) -> Gru<E> {
    let mut tensors: Tensors<'_, E> = safetensors::read_tensors(bytes).unwrap();
    let symbols = tensors.shape(&format!("{side}_emb")).unwrap()[0];
    let embedding = tensors.take_matrix(&format!("{side}_emb"), (symbols, 256)).unwrap();
    let input = tensors.take_matrix(&format!("{side}_w_ih"), (768, 256)).unwrap().dot(&embedding.t());
    tensors.insert(format!("{side}.weight_ih_l0"), input);
    for (theirs, name) in [("w_hh", "weight_hh"), ("b_ih", "bias_ih"), ("b_hh", "bias_hh")] {
        tensors.rename(&format!("{side}_{theirs}"), format!("{side}.{name}_l0")).unwrap();
    }
    pytorch::gru(&mut tensors, &format!("{side}.")).unwrap().into_cells().remove(0)
}

#[test]
fn trained_weights() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/g2p_en/weights.safetensors");
    let (bytes, mut table) = (std::fs::read(path).unwrap(), Table::default());
    for (name, side) in [("g2p, encoder", "enc"), ("g2p, decoder", "dec")] {
        let (narrow, wide) = (g2p::<f32>(&bytes, side), g2p::<f64>(&bytes, side));
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let symbols = narrow.input_size();
        let mut x = Array3::<f64>::zeros((64, 20, symbols));
        for row in 0..64 {
            (0..20).for_each(|step| x[[row, step, rng.random_range(0..symbols)]] = 1.0);
        }
        let (wide, _) = dynamic_rnn(&wide, &x, None, None).unwrap();
        let (narrow, _) = dynamic_rnn(&narrow, &x.mapv(|x| x as f32), None, None).unwrap();
        table.row(name, &[largest(narrow.as_slice().unwrap(), wide.as_slice().unwrap())]);
    }
    table.check();
}

/// Random inputs, (1, 1000, 8), 20 times.
fn long_inputs() -> impl Iterator<Item = Array3<f32>> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
    (0..20).map(move |_| Array3::from_shape_simple_fn((1, 1000, 8), || rng.random_range(-1.0..1.0)))
}

fn numbers<E: Float, S: State<E>>(state: &S) -> Vec<E> {
    let mut numbers = Vec::new();
    state.visit(&mut |leaf| numbers.extend(leaf.iter().copied()));
    numbers
}

/// Runs both cells, with the same weights, over 20,000 steps. Returns the largest differences of outputs, at any step,
/// and of states, after every 1,000.
fn long_run<C, D>(narrow: C, mut wide: D) -> [f64; 2]
where
    C: RnnCell<Elem = f32> + Parameters<f32>,
    D: RnnCell<Elem = f64> + ParametersMut<f64>,
{
    let mut weights = Vec::new();
    narrow.visit_parameters(&mut |_, weight| weights.push(weight.mapv(f64::from)));
    let mut weights = weights.iter();
    wide.visit_parameters_mut(&mut |_, mut weight| weight.assign(weights.next().unwrap()));
    let (mut states, mut worst) = ((narrow.zero_state(1), wide.zero_state(1)), [0.0_f64; 2]);
    for x in long_inputs() {
        let (y, state) = dynamic_rnn(&narrow, &x, None, Some(states.0)).unwrap();
        let (expected, expected_state) = dynamic_rnn(&wide, &x.mapv(f64::from), None, Some(states.1)).unwrap();
        states = (state, expected_state);
        let found = [
            largest(y.as_slice().unwrap(), expected.as_slice().unwrap()),
            largest(&numbers(&states.0), &numbers(&states.1)),
        ];
        worst.iter_mut().zip(found).for_each(|(worst, found)| *worst = worst.max(found));
    }
    worst
}

/// A linear cell that adds up its inputs.
fn adds<E: Float>() -> BasicRnn<E> {
    let options = BasicRnn::builder(8, 1).activation(Activation::Linear).use_bias(false);
    options.build_from(BasicRnnWeights { kernel: Array2::ones((9, 1)), bias: None }).unwrap()
}

#[test]
fn long_runs() {
    fn each<E: Float>() -> (BasicRnn<E>, Lstm<E>, [Gru<E>; 2], Ugrnn<E>) {
        let rng = &mut Xoshiro256PlusPlus::seed_from_u64(3);
        let gru = [GruReset::Before, GruReset::After].map(|reset| Gru::builder(8, 64).reset(reset).build(rng).unwrap());
        (BasicRnn::new(8, 64, rng), Lstm::new(8, 64, rng), gru, Ugrnn::new(8, 64, rng))
    }
    let (rnn, lstm, [before, after], ugrnn) = each::<f32>();
    let (rnn64, lstm64, [before64, after64], ugrnn64) = each::<f64>();
    let mut table = Table::default();
    table.row("`BasicRnn`", &long_run(rnn, rnn64));
    table.row("`Lstm`", &long_run(lstm, lstm64));
    table.row("`Gru`", &long_run(before, before64));
    table.row("`Gru`, reset after", &long_run(after, after64));
    table.row("`Ugrnn`", &long_run(ugrnn, ugrnn64));
    table.row("a linear `BasicRnn` that adds up its inputs", &long_run(adds(), adds()));
    table.check();
}

/// The cell that the page calls chaotic: in `f64` too, a change of 1e-12 in one input grows to an output's size.
#[test]
fn chaos() {
    let cell = LayerNormLstm::<f64>::new(8, 64, &mut Xoshiro256PlusPlus::seed_from_u64(3));
    let (mut states, mut grown, mut change) = ([cell.zero_state(1), cell.zero_state(1)], 0.0_f64, 1e-12);
    for x in long_inputs() {
        let (x, mut other) = (x.mapv(f64::from), x.mapv(f64::from));
        other[[0, 0, 0]] += std::mem::take(&mut change);
        let [a, b] = states;
        let (y, a) = dynamic_rnn(&cell, &x, None, Some(a)).unwrap();
        let (z, b) = dynamic_rnn(&cell, &other, None, Some(b)).unwrap();
        states = [a, b];
        grown = grown.max(largest(y.as_slice().unwrap(), z.as_slice().unwrap()));
    }
    assert!(grown > 1.0, "{grown}");
}
