//! Puts a fence of inaccessible pages around every allocation: arrays, states, packed weights, buffers, records. In one
//! run each ends at a fence, in another it begins at one. A vector that is read or written one number too far ends the
//! process, and so does a read after free. Each instruction set of this machine runs in its own process. Between the
//! rows of larger arrays, numbers that must not change are the fence.

#![cfg(all(target_os = "linux", target_pointer_width = "64", not(miri)))]

#[path = "../common/mod.rs"]
mod common;
mod fence;

use common::{
    FORMATS, Rng, basic_rnn_options, each_boxed_cell, gru_options, highway, instruction_sets, layer_norm_lstm_options,
    lstm_options, numbers, randomized, rng, run_child, state,
};
use fence::{Fenced, Side, fenced};
use ndarray::{Array3, ArrayViewMut3, s};
use rnn_cell::train::{Back, TrainableCell};
use rnn_cell::{BasicRnn, Compressed, Float, Gru, LayerNormLstm, Lstm, Parameters, RnnCell, instruction_set};
use std::hint::black_box;

#[global_allocator]
static ALLOCATOR: Fenced = Fenced;

/// (seq, batch, features).
type Shape = (usize, usize, usize);

/// How a sequence is laid out in memory.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Layout {
    Standard,
    BatchMajor,
    FeaturesFirst,
    Reversed,
    EverySecondFeature,
    LastFeatures,
}

const LAYOUTS: [Layout; 6] = [
    Layout::Standard,
    Layout::BatchMajor,
    Layout::FeaturesFirst,
    Layout::Reversed,
    Layout::EverySecondFeature,
    Layout::LastFeatures,
];

/// The number between the rows.
const MUST_STAY: f64 = 77.0;

impl Layout {
    /// The array whose `view` has this shape.
    fn array<E: Float>(self, (seq, batch, features): Shape) -> Array3<E> {
        let shape = match self {
            Self::Standard | Self::Reversed => (seq, batch, features),
            Self::BatchMajor => (batch, seq, features),
            Self::FeaturesFirst => (features, batch, seq),
            Self::EverySecondFeature => (seq, batch, 2 * features - 1),
            Self::LastFeatures => (seq, batch, features + 3),
        };
        Array3::from_elem(shape, E::of(MUST_STAY))
    }

    fn view<E>(self, array: &mut Array3<E>) -> ArrayViewMut3<'_, E> {
        match self {
            Self::Standard => array.view_mut(),
            Self::BatchMajor => array.view_mut().permuted_axes([1, 0, 2]),
            Self::FeaturesFirst => array.view_mut().permuted_axes([2, 1, 0]),
            Self::Reversed => array.slice_mut(s![..;-1, ..;-1, ..;-1]),
            Self::EverySecondFeature => array.slice_mut(s![.., .., ..;2]),
            Self::LastFeatures => array.slice_mut(s![.., .., 3..]),
        }
    }

    /// An array that holds these numbers.
    fn of<E: Float>(self, numbers: &Array3<E>) -> Array3<E> {
        let mut array = self.array(numbers.dim());
        self.view(&mut array).assign(numbers);
        array
    }

    /// The numbers that an array holds. All others must be unchanged.
    fn numbers<E: Float>(self, mut array: Array3<E>) -> Array3<E> {
        let numbers = self.view(&mut array).to_owned();
        let others = array.len() - numbers.len();
        self.view(&mut array).fill(E::zero());
        let stayed = array.iter().filter(|&&number| number == E::of(MUST_STAY)).count();
        assert_eq!(stayed, others, "{self:?}: a number beside a row was written");
        numbers
    }
}

/// All numbers of runs forward at once and by steps. Layouts of arrays differ, from `first` on.
fn run_forward<C: RnnCell>(
    cell: &C,
    x: &Array3<C::Elem>,
    first: usize,
    initial: &C::State,
    workspace: &mut C::Workspace,
) -> Vec<C::Elem> {
    let layout = |at: usize| LAYOUTS[(first + at) % LAYOUTS.len()];
    let out = (x.dim().0, x.dim().1, cell.output_size());
    let (mut inputs, mut outputs) = (layout(0).of(x), layout(1).array(out));
    let (inputs, mut state) = (layout(0).view(&mut inputs), initial.clone());
    cell.unroll(&inputs, &mut state, &mut layout(1).view(&mut outputs), workspace);
    let mut all = numbers(layout(1).numbers(outputs).view(), &state);

    let (mut outputs, mut state) = (layout(2).array(out), initial.clone());
    for (x, mut y) in inputs.outer_iter().zip(layout(2).view(&mut outputs).outer_iter_mut()) {
        cell.step(&x, &mut state, &mut y, workspace);
    }
    all.extend(numbers(layout(2).numbers(outputs).view(), &state));
    all
}

/// All numbers of runs forward at once, by steps, recorded, and backward. Layouts of arrays differ, from `first` on.
fn run<C: TrainableCell>(cell: &C, x: &Array3<C::Elem>, first: usize, rng: &mut Rng) -> Vec<C::Elem> {
    let layout = |at: usize| LAYOUTS[(first + at) % LAYOUTS.len()];
    let (seq, batch, _) = x.dim();
    let out = (seq, batch, cell.output_size());
    let initial = state(cell, batch, rng);
    let mut workspace = C::Workspace::default();
    let mut all = run_forward(cell, x, first, &initial, &mut workspace);
    let mut inputs = layout(0).of(x);
    let inputs = layout(0).view(&mut inputs);

    let (mut outputs, mut state, mut records) = (layout(3).array(out), initial.clone(), Vec::new());
    cell.unroll_recording(&inputs, &mut state, &mut layout(3).view(&mut outputs), &mut records, &mut workspace);
    let outputs = layout(3).numbers(outputs);
    all.extend(numbers(outputs.view(), &state));

    let mut gradient = cell.zero_gradient();
    let (mut d_outputs, mut d_inputs) = (layout(4).of(&outputs), layout(5).array(x.dim()));
    let (d_outputs, mut d_view) = (layout(4).view(&mut d_outputs), layout(5).view(&mut d_inputs));
    let back = Back {
        inputs: &inputs,
        d_outputs: &d_outputs,
        d_state: &mut state,
        d_inputs: &mut d_view,
        gradient: &mut gradient,
    };
    cell.unroll_backward(&mut records, back, &mut workspace);
    all.extend(numbers(layout(5).numbers(d_inputs).view(), &state));
    gradient.visit_parameters(&mut |_, gradient| all.extend(gradient));
    all
}

/// All layouts give the same bits, and nothing outside the arrays is touched.
fn check<C: TrainableCell>(name: &str, cell: C, (seq, batch): (usize, usize)) {
    println!("{name}: {seq} steps of {batch} rows, {} to {} features", cell.input_size(), cell.output_size());
    let x = common::array((seq, batch, cell.input_size()), &mut rng(2));
    let expected = run(&cell, &x, 0, &mut rng(3));
    for (first, layout) in LAYOUTS.iter().enumerate().skip(1) {
        assert!(run(&cell, &x, first, &mut rng(3)) == expected, "{name}: layouts from {layout:?} on");
    }
    // One step and row broadcast to all, and none at all.
    let (first, shape) = (x.slice(s![..1, ..1, ..]), x.raw_dim());
    let mut outputs = Array3::zeros((seq, batch, cell.output_size()));
    let mut state = cell.zero_state(batch);
    cell.unroll(&first.broadcast(shape).unwrap(), &mut state, &mut outputs, &mut C::Workspace::default());
    for (seq, batch) in [(0, batch), (seq, 0)] {
        let x = Array3::zeros((seq, batch, cell.input_size()));
        run(&cell, &x, 0, &mut rng(3));
    }
}

/// Sizes around whole vectors and panels, rows around whole tiles, and steps with and without a hoisted input half.
fn check_all<E: Float>() {
    for (at, (i, h)) in [(1, 1), (5, 7), (19, 33), (17, 16), (2, 65)].into_iter().enumerate() {
        for batch in (1..=13).filter(|rows| rows % 5 == at || *rows == 1) {
            let shape = (if batch == 1 { 26 } else { 3 }, batch);
            let rng = &mut rng(1);
            for (name, options) in basic_rnn_options() {
                check(name, randomized(options(BasicRnn::<E>::builder(i, h)).build(rng).unwrap(), rng), shape);
            }
            for (name, options) in lstm_options() {
                check(name, randomized(options(Lstm::<E>::builder(i, h)).build(rng).unwrap(), rng), shape);
            }
            for (name, options) in gru_options() {
                check(name, randomized(options(Gru::<E>::builder(i, h)).build(rng).unwrap(), rng), shape);
            }
            for (name, options) in layer_norm_lstm_options() {
                check(name, randomized(options(LayerNormLstm::<E>::builder(i, h)).build(rng).unwrap(), rng), shape);
            }
            for coupled in [true, false] {
                check("highway", highway(Gru::<E>::new(h, h, rng), coupled, rng), shape);
            }
        }
    }
}

/// As [`check_all`], for weights of 16 and 8 bits.
fn check_compressed() {
    for (at, (i, h)) in [(1, 1), (5, 7), (19, 33), (17, 16), (2, 65)].into_iter().enumerate() {
        for batch in (1..=13).filter(|rows| rows % 5 == at || *rows == 1) {
            let seq = if batch == 1 { 26 } else { 3 };
            let formats = if batch == 1 { &FORMATS[..] } else { &FORMATS[batch % 2..][..1] };
            each_boxed_cell::<f32>(&mut |name, make| {
                for &format in formats {
                    println!("{name}, {format:?}: {seq} steps of {batch} rows, {i} to {h} features");
                    let cell = Compressed::new(make(i, h, &mut rng(1)), format).unwrap();
                    let x = common::array((seq, batch, cell.input_size()), &mut rng(2));
                    let initial = state(&cell, batch, &mut rng(3));
                    let run = |first| run_forward(&cell, &x, first, &initial, &mut Default::default());
                    let expected = run(0);
                    for (first, layout) in LAYOUTS.iter().enumerate().skip(1) {
                        assert!(run(first) == expected, "{name}: layouts from {layout:?} on");
                    }
                }
            });
        }
    }
}

#[test]
#[ignore = "run by the others, with RNN_CELL_ISA set"]
fn all_cells() {
    for side in [Side::Behind, Side::Before] {
        println!("a fence {side:?}");
        fenced(side, || {
            check_all::<f32>();
            check_all::<f64>();
            check_compressed();
        });
    }
    println!("all on {}", instruction_set());
}

#[test]
fn nothing_beyond_an_array_is_touched() {
    // Only the requested one, if there is one.
    let asked = std::env::var("RNN_CELL_ISA").ok();
    for isa in instruction_sets().into_iter().filter(|isa| asked.as_ref().is_none_or(|asked| asked == isa)) {
        let output = run_child("all_cells", isa);
        let said = String::from_utf8_lossy(&output.stdout);
        let last: Vec<&str> = said.lines().rev().take(3).collect();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{isa}: {:?}, last {last:?}\n{errors}", output.status);
        assert!(said.contains(&format!("all on {isa}\n")), "{said}");
    }
}

/// Reads the number at `offset` from the first of 33; with `freed`, after they were freed.
fn read(side: Side, offset: isize, freed: bool) {
    fenced(side, || {
        let mut numbers = black_box(vec![1.0_f32; 33]);
        let at = numbers.as_ptr().wrapping_offset(offset);
        if freed {
            numbers = Vec::new();
        }
        // SAFETY: none, unless the number is one of the 33. The process must end here.
        println!("read {}", unsafe { at.read_volatile() });
        drop(black_box(numbers));
    });
}

#[test]
#[ignore = "run by the others"]
fn reads_the_first_and_the_last() {
    for side in [Side::Before, Side::Behind] {
        read(side, 0, false);
        read(side, 32, false);
    }
}

#[test]
#[ignore = "run by the others"]
fn reads_behind() {
    read(Side::Behind, 33, false);
}

#[test]
#[ignore = "run by the others"]
fn reads_before() {
    read(Side::Before, -1, false);
}

#[test]
#[ignore = "run by the others"]
fn reads_what_was_freed() {
    read(Side::Behind, 0, true);
}

#[test]
fn the_fence_holds() {
    let reads = |test: &str| {
        let output = run_child(test, "scalar");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).matches("read 1\n").count())
    };
    assert_eq!(reads("reads_the_first_and_the_last"), (true, 4));
    for test in ["reads_behind", "reads_before", "reads_what_was_freed"] {
        assert_eq!(reads(test), (false, 0), "{test}");
    }
}
