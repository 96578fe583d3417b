//! A random cell and its inputs, with any shape, lengths, numbers and layout.

use crate::common::description::{Around, Description, description};
use crate::common::{Rng, array, by_steps, numbers, rng, state};
use ndarray::{Array3, Axis, s};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use rand::RngExt;
use rnn_cell::{BoxedCell, DynState, Float, ParametersMut, RnnCell, State};

/// A cell and its inputs, as proptest draws them.
#[derive(Debug, Clone)]
pub struct Problem {
    pub cell: Description,
    pub around: Around,
    pub input: usize,
    /// One for each row.
    pub lengths: Vec<usize>,
    /// Steps after the longest row.
    pub extra: usize,
    pub dropout: bool,
    /// Largest weight, and largest input.
    pub limits: (f64, f64),
    /// Whether one input in ten is NaN, infinite, subnormal or the like.
    pub special: bool,
    pub layout: Layout,
    pub seed: u64,
}

#[derive(Debug, Clone, Copy)]
pub enum Layout {
    Standard,
    FeaturesFirst,
    Backwards,
    EverySecond,
}

pub fn problem() -> impl Strategy<Value = Problem> {
    // Kernels cut units into vectors, steps by 24 and rows by 6. They treat sixteen or more inputs differently.
    let size = prop_oneof![3 => 1..=9_usize, 1 => select(&[15, 16, 17, 31, 32, 33, 65][..])];
    let length = prop_oneof![3 => 0..=7_usize, 1 => 0..=60_usize];
    let limit = |usual| prop_oneof![8 => Just(usual), 1 => select(&[0.0, 1e-30, 20.0, 1e10][..])];
    let around = select(&[Around::Nothing, Around::ResidualFunction, Around::StackOfBoxedCells][..]);
    let layout = select(&[Layout::Standard, Layout::FeaturesFirst, Layout::Backwards, Layout::EverySecond][..]);
    (
        (description(size.clone()), around, size),
        (prop_oneof![vec(length.clone(), 0..=5), vec(length, 0..=13)], 0..3_usize),
        (any::<bool>(), (limit(0.5), limit(2.0)), prop_oneof![4 => Just(false), 1 => Just(true)]),
        (layout, any::<u64>()),
    )
        .prop_map(|((cell, around, input), (lengths, extra), (dropout, limits, special), (layout, seed))| {
            Problem { cell, around, input, lengths, extra, dropout, limits, special, layout, seed }
        })
}

/// The same as arrays.
pub struct Run<E: Float> {
    pub cell: BoxedCell<E>,
    /// (batch, seq, input), in the problem's layout.
    pub x: Array3<E>,
    pub initial: DynState<E>,
    pub rng: Rng,
}

impl Problem {
    pub fn run<E: Float>(&self) -> Run<E> {
        let mut rng = rng(self.seed);
        let mut cell = self.cell.build_around::<E>(self.around, self.input, &mut rng);
        let scale = |by: f64| move |value: E| E::of(value.as_f64() * by);
        cell.visit_parameters_mut(&mut |_, mut weight| weight.mapv_inplace(scale(self.limits.0 / 0.5)));
        let (batch, seq) = (self.lengths.len(), self.lengths.iter().max().unwrap_or(&0) + self.extra);
        let mut x = array((batch, seq, self.input), &mut rng).mapv(scale(self.limits.1 / 2.0));
        if self.special {
            x.mapv_inplace(|x| if rng.random_range(0..10) == 0 { special(&mut rng) } else { x });
        }
        let mut initial = state(&cell, batch, &mut rng);
        if !self.dropout {
            initial.seed_dropout(None);
        }
        Run { cell, x: laid_out(x, self.layout), initial, rng }
    }

    /// The same, with bad numbers in the padding.
    pub fn run_with_poison<E: Float>(&self) -> Run<E> {
        let mut run = self.run();
        for (row, &length) in self.lengths.iter().enumerate() {
            run.x.slice_mut(s![row, length.., ..]).mapv_inplace(|_| special(&mut run.rng));
        }
        run
    }
}

pub fn special<E: Float>(rng: &mut Rng) -> E {
    let largest = E::max_value();
    let specials = [E::zero(), E::neg_zero(), E::of(1e-40), largest, -largest, E::infinity(), E::neg_infinity()];
    *specials.get(rng.random_range(0..8_usize)).unwrap_or(&E::nan())
}

pub fn laid_out<E: Float>(x: Array3<E>, layout: Layout) -> Array3<E> {
    let (batch, seq, features) = x.dim();
    let mut other = match layout {
        Layout::Standard => return x,
        Layout::FeaturesFirst => Array3::zeros((features, seq, batch)).reversed_axes(),
        Layout::Backwards => {
            let mut other = Array3::zeros(x.dim());
            (0..3).for_each(|axis| other.invert_axis(Axis(axis)));
            other
        }
        Layout::EverySecond => {
            let mut other = Array3::from_elem((2 * batch, 2 * seq, 2 * features), E::nan());
            other.slice_collapse(s![..;2, ..;2, ..;2]);
            other
        }
    };
    other.assign(&x);
    other
}

/// Compares bits, but any NaN equals any other: machines differ in whose payload a sum of two keeps.
#[track_caller]
pub fn assert_same<E: Float>(expected: &[E], found: &[E]) {
    let bits = |numbers: &[E]| -> Vec<u64> {
        numbers.iter().map(|number| if number.is_nan() { u64::MAX } else { number.as_f64().to_bits() }).collect()
    };
    assert!(bits(expected) == bits(found), "{expected:?}\nbecame\n{found:?}");
}

/// Asserts that two states have the same leaves, and the same next step, as they carry more than leaves (dropout's row
/// keys and steps).
#[track_caller]
pub fn assert_same_state<E: Float>(cell: &BoxedCell<E>, expected: &DynState<E>, found: &DynState<E>) {
    let x = Array3::from_elem((expected.batch_size(), 1, cell.input_size()), E::of(0.25));
    let next = |state: &DynState<E>| {
        let none = Array3::zeros((0, 0, 0));
        let (outputs, last) = by_steps(cell, x.view(), state.clone());
        [numbers(none.view(), state), numbers(outputs.view(), &last)].concat()
    };
    assert_same(&next(expected), &next(found));
}
