//! Gradients of attention agree with central differences: weights, inputs, memory and initial state.

use crate::models::{DEPTH, INPUT, array, each_model, memory, rng, two_mechanisms};
use ndarray::{Array3, s};
use rnn_cell::seq2seq::{AttentionState, AttentionWrapper};
use rnn_cell::train::{self, TrainableCell};
use rnn_cell::{DynamicRnn, Parameters, ParametersMut, State, dynamic_rnn};

const STEP: f64 = 1e-5;

/// A weight between −1 and 1 that depends on the index.
fn weight(index: usize) -> f64 {
    (index as f64 * 1.3 + 0.7).sin()
}

/// What a run starts from: inputs, memory, and the leaves of the initial state one after another.
#[derive(Clone)]
struct Start {
    x: Array3<f64>,
    lengths: Vec<usize>,
    memory: Array3<f64>,
    memory_lengths: Vec<usize>,
    leaves: Vec<f64>,
}

impl Start {
    fn state<C: TrainableCell<Elem = f64>>(&self, cell: &AttentionWrapper<C>) -> AttentionState<C::State, f64> {
        let mut state = cell.attend(&self.memory, Some(&self.memory_lengths)).unwrap();
        let mut leaves = self.leaves.iter();
        state.visit_mut(&mut |mut leaf| leaf.iter_mut().zip(&mut leaves).for_each(|(to, &from)| *to += from));
        state
    }
}

/// Σ weight · every output, final state and entry of the history.
fn loss<C: TrainableCell<Elem = f64>>(cell: &AttentionWrapper<C>, start: &Start) -> f64 {
    let state = start.state(cell);
    let (outputs, last) = dynamic_rnn(cell, &start.x, Some(&start.lengths), Some(state)).unwrap();
    let mut sum: f64 = outputs.iter().enumerate().map(|(at, y)| y * weight(at)).sum();
    let mut at = 0;
    last.visit(&mut |leaf| {
        for &y in leaf {
            sum += y * weight(3 * at);
            at += 1;
        }
    });
    for mechanism in 0..cell.mechanisms().len() {
        let history = last.alignment_history(mechanism);
        sum += history.iter().enumerate().map(|(at, y)| y * weight(5 * at + mechanism)).sum::<f64>();
    }
    sum
}

/// The largest error of any gradient, relative to max(1, |gradient|).
fn worst<C: TrainableCell<Elem = f64>>(cell: &mut AttentionWrapper<C>, start: &Start, every: Option<usize>) -> f64 {
    let initial = start.state(cell);
    let driver = DynamicRnn::new(cell).sequence_length(&start.lengths).initial_state(initial);
    let (outputs, last, tape) = match every {
        None => driver.record(&start.x).unwrap(),
        Some(every) => driver.checkpoint_every(every).record(&start.x).unwrap(),
    };
    let d_outputs = Array3::from_shape_vec(outputs.raw_dim(), (0..outputs.len()).map(weight).collect()).unwrap();
    let mut d_last = last.clone();
    let mut at = 0;
    d_last.visit_mut(&mut |leaf| {
        for d in leaf {
            *d = weight(3 * at);
            at += 1;
        }
    });
    for mechanism in 0..cell.mechanisms().len() {
        let mut history = last.alignment_history(mechanism);
        history.iter_mut().enumerate().for_each(|(at, d)| *d = weight(5 * at + mechanism));
        if !history.is_empty() {
            d_last.set_alignment_history_gradient(mechanism, &history, &start.lengths).unwrap();
        }
    }
    let back = tape.d_final_state(d_last).backward(&d_outputs).unwrap();
    let mut worst = 0.0;
    let mut compare = |gradient: f64, more: f64, less: f64| {
        let error = (gradient - (more - less) / (2.0 * STEP)).abs() / gradient.abs().max(1.0);
        assert!(error.is_finite());
        worst = f64::max(worst, error);
    };
    let mut number = 0;
    for (name, gradient) in back.parameters.iter() {
        for (at, &gradient) in gradient.iter().enumerate() {
            let mut shifted = |by: f64| {
                cell.visit_parameters_mut(&mut |other, mut array| {
                    if other == name {
                        *array.iter_mut().nth(at).unwrap() += by;
                    }
                });
                loss(cell, start)
            };
            let (more, less) = (shifted(STEP), shifted(-2.0 * STEP));
            shifted(STEP);
            compare(gradient, more, less);
            number += 1;
        }
    }
    assert_eq!(number, cell.parameter_count());
    let mut shift = |gradient: f64, at: usize, of: fn(&mut Start) -> Vec<&mut f64>| {
        let moved = |by: f64| {
            let mut start = start.clone();
            *of(&mut start)[at] += by;
            loss(cell, &start)
        };
        compare(gradient, moved(STEP), moved(-STEP));
    };
    for (at, &gradient) in back.inputs.iter().enumerate() {
        shift(gradient, at, |start| start.x.iter_mut().collect());
    }
    let mut leaves = Vec::new();
    back.initial_state.visit(&mut |leaf| leaves.extend(leaf.iter().copied()));
    assert_eq!(leaves.len(), start.leaves.len());
    for (at, &gradient) in leaves.iter().enumerate() {
        shift(gradient, at, |start| start.leaves.iter_mut().collect());
    }
    let mut d_memory = Array3::<f64>::zeros(start.memory.raw_dim());
    for mechanism in 0..cell.mechanisms().len() {
        d_memory += &back.initial_state.memory_gradient(mechanism).unwrap();
    }
    for (at, &gradient) in d_memory.iter().enumerate() {
        shift(gradient, at, |start| start.memory.iter_mut().collect());
    }
    worst
}

fn start<C: TrainableCell<Elem = f64>>(cell: &AttentionWrapper<C>, seed: u64) -> Start {
    let mut rng = rng(seed);
    let (memory, memory_lengths) = memory::<f64>(&mut rng);
    let mut leaves = Vec::new();
    let state = cell.attend(&memory, Some(&memory_lengths)).unwrap();
    state.visit(&mut |leaf| leaves.extend(array::<f64, _>(leaf.raw_dim(), &mut rng).mapv(|x| 0.5 * x)));
    let x = array((3, 4, INPUT), &mut rng);
    Start { x, lengths: vec![4, 2, 3], memory, memory_lengths: memory_lengths.to_vec(), leaves }
}

fn every_mechanism_agrees(every: Option<usize>) {
    each_model(&mut |name, cell| {
        let mut cell = cell.clone();
        let start = start(&cell, 11);
        let error = worst(&mut cell, &start, every);
        assert!(error < 1e-8, "{name}: {error:e}");
    });
}

#[test]
fn every_mechanism_agrees_with_central_differences() {
    every_mechanism_agrees(None);
}

#[test]
fn every_mechanism_agrees_with_central_differences_checkpointed() {
    every_mechanism_agrees(Some(2));
}

#[test]
fn two_mechanisms_and_their_histories_agree_with_central_differences() {
    let mut cell = two_mechanisms::<f64>(&mut rng(12));
    let start = start(&cell, 13);
    let error = worst(&mut cell, &start, None);
    assert!(error < 1e-8, "{error:e}");
}

/// Nothing in the padding of inputs or memory reaches a gradient, and the gradient of padding is 0.
#[test]
fn padding_reaches_no_gradient() {
    each_model(&mut |name, cell| {
        let clean = start(cell, 14);
        let mut dirty = clean.clone();
        for row in 0..3 {
            dirty.x.slice_mut(s![row, clean.lengths[row].., ..]).fill(f64::NAN);
            dirty.memory.slice_mut(s![row, clean.memory_lengths[row].., ..]).fill(f64::NAN);
        }
        let gradients = |start: &Start| {
            let (outputs, _, tape) =
                train::dynamic_rnn(cell, &start.x, Some(&start.lengths), Some(start.state(cell))).unwrap();
            tape.backward(&outputs).unwrap()
        };
        let (clean, dirty) = (gradients(&clean), gradients(&dirty));
        assert_eq!(clean, dirty, "{name}");
        let d_memory = dirty.initial_state.memory_gradient(0).unwrap();
        assert_eq!(d_memory.dim(), (3, 5, DEPTH));
        assert!(d_memory.slice(s![1, 1.., ..]).iter().all(|&d| d == 0.0), "{name}");
        assert!(d_memory.slice(s![1, 0, ..]).iter().any(|&d| d != 0.0) || name.contains("Hard"), "{name}");
    });
}
