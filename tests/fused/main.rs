//! What the author of a cell is told: each mistake panics in terms of the cell, at the line that made it.

mod after_a_panic;
mod products;
mod two_products;

use ndarray::{Array1, Array2, Array3};
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use rnn_cell::fused::{
    Backward, Forward, FusedCell, Linear, LinearWeights, Samples, Stage, Stages, TrainableFusedCell, Vector, Workspace,
};
use rnn_cell::train::{Back, TrainableCell, gradient_error};
use rnn_cell::{Arrays, RnnCell};
use std::panic::{AssertUnwindSafe, catch_unwind};

const INPUTS: usize = 2;
const UNITS: usize = 3;
const ROWS: usize = 4;
const STEPS: usize = 5;

rnn_cell::parameters! {
    pub struct Weights {
        "gate" gate: LinearWeights<E>,
        "candidate" candidate: LinearWeights<E>,
    }
}

rnn_cell::parameters! {
    /// f and g = \[x, h\] · W,  h' = g + \[x, f ⊙ h\] · U. It does what a test wants; unchanged, it makes no mistake.
    cell pub struct Author {
        "gate" gate: Linear<E>,
        "candidate" candidate: Linear<E>,
        ; wants: Wants,
    }
}

type StagesOf = fn(&Author<f64>) -> Stages<'_, f64>;
type GradientsOf = fn(&Author<f64>, &mut Samples<'_, f64>, &mut Weights<f64>);
type ForwardOf = fn(usize, &mut Forward<'_, f64>);
type BackwardOf = fn(usize, &mut Backward<'_, f64>);

#[derive(Clone, Copy)]
pub struct Wants {
    input_size: usize,
    state: usize,
    stages: StagesOf,
    forward: ForwardOf,
    backward: BackwardOf,
    gradients: GradientsOf,
    /// How many numbers beyond a slice the equation loads.
    beyond: usize,
}

const RIGHT: Wants = Wants {
    input_size: INPUTS,
    state: UNITS,
    stages: |cell| {
        Stages::new([Stage::new(&cell.gate).state(0), Stage::new(&cell.candidate).temporary(0)]).temporary(UNITS)
    },
    forward: |stage, row| {
        let ([f, g], h) = (row.sums(0), row.state(0));
        if stage == 0 {
            row.temporary(0).iter_mut().zip(f.iter().zip(h)).for_each(|(to, (f, h))| *to = f * h);
            return;
        }
        let ([c], new_h) = (row.sums(1), row.new_state(0));
        new_h.iter_mut().zip(c.iter().zip(g)).for_each(|(to, (c, g))| *to = *c + *g);
        row.output().copy_from_slice(new_h);
    },
    backward: |stage, row| {
        let ([f, g], d_h) = (row.sums(0), row.d_state(0));
        if stage == 1 {
            let [c] = row.sums(1);
            for at in 0..UNITS {
                c[at] = d_h[at] + row.d_output()[at];
                g[at] = c[at];
                d_h[at] = 0.0;
            }
            return;
        }
        let (d, h) = (row.d_temporary(0), row.state(0));
        for at in 0..UNITS {
            d_h[at] += d[at] * f[at];
            f[at] = d[at] * h[at];
        }
    },
    gradients: |cell, samples, gradient| {
        cell.gate.add_gradients(samples, 0, &mut gradient.gate);
        cell.candidate.add_gradients(samples, 1, &mut gradient.candidate);
    },
    beyond: 0,
};

impl FusedCell for Author<f64> {
    type Elem = f64;
    type State = Array2<f64>;

    fn input_size(&self) -> usize {
        self.wants.input_size
    }
    fn output_size(&self) -> usize {
        UNITS
    }
    fn zero_state(&self, batch: usize) -> Array2<f64> {
        Array2::zeros((batch, self.wants.state))
    }
    fn stages(&self) -> Stages<'_, f64> {
        (self.wants.stages)(self)
    }
    fn forward<V: Vector<f64>>(&self, stage: usize, row: &mut Forward<'_, f64>) {
        if self.wants.beyond > 0 {
            V::units(UNITS + self.wants.beyond).for_each(|at| V::load(row.state(0), at).store(&mut [0.0; 64], at));
        }
        (self.wants.forward)(stage, row);
    }
}

impl TrainableFusedCell for Author<f64> {
    type Gradient = Weights<f64>;

    fn zero_gradient(&self) -> Weights<f64> {
        Weights { gate: self.gate.weights().zeros(), candidate: self.candidate.weights().zeros() }
    }
    fn backward<V: Vector<f64>>(&self, stage: usize, row: &mut Backward<'_, f64>) {
        (self.wants.backward)(stage, row);
    }
    fn gradients(&self, samples: &mut Samples<'_, f64>, gradient: &mut Weights<f64>) {
        (self.wants.gradients)(self, samples, gradient);
    }
}

rnn_cell::trainable_fused_cell!(Author<f64>);

/// Takes what an accessor hands out.
fn asks<T>(_: T) {}

fn author(wants: Wants) -> Author<f64> {
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(1);
    let linear = || Linear::<f64>::builder(UNITS).input_size(INPUTS).recurrent_size(UNITS);
    Author { gate: linear().gates(2).build(rng).unwrap(), candidate: linear().build(rng).unwrap(), wants }
}

/// What a run forward and back panics with.
fn told(wants: Wants) -> Option<String> {
    let (cell, mut workspace, mut records) = (author(wants), Workspace::default(), Vec::new());
    let x = Array3::zeros((STEPS, ROWS, wants.input_size));
    let (mut h, mut y) = (RnnCell::zero_state(&cell, ROWS), Array3::zeros((STEPS, ROWS, UNITS)));
    let run = || {
        cell.unroll_recording(&x, &mut h, &mut y, &mut records, &mut workspace);
        let (d_inputs, gradient) = (&mut x.clone(), &mut TrainableCell::zero_gradient(&cell));
        let back = Back { inputs: &x, d_outputs: &y, d_state: &mut h, d_inputs, gradient };
        cell.unroll_backward(&mut records, back, &mut workspace);
    };
    let payload = catch_unwind(AssertUnwindSafe(run)).err()?;
    let text = payload.downcast_ref::<String>().cloned();
    Some(text.or_else(|| payload.downcast_ref::<&str>().map(|&text| text.into())).unwrap_or_default())
}

#[track_caller]
fn tells(expected: &str, wants: Wants) {
    assert_eq!(told(wants).as_deref(), Some(expected));
}

#[test]
fn what_is_right_is_accepted() {
    let x = Array3::from_shape_fn((ROWS, STEPS, INPUTS), |(b, t, i)| 0.1 * (1 + b + 2 * t) as f64 - 0.3 * i as f64);
    assert!(gradient_error(&mut author(RIGHT), &x, None, None).unwrap() < 1e-8);
    assert_eq!(told(RIGHT), None);
}

#[test]
fn sums() {
    let cases: [(&str, ForwardOf); 6] = [
        ("sums(0) of 1 gates, but the stages, counted from 0, have [2, 1] gates", |_, row| asks(row.sums::<1>(0))),
        ("sums(0) of 3 gates, but the stages, counted from 0, have [2, 1] gates", |_, row| asks(row.sums::<3>(0))),
        ("sums(0) of 0 gates, but the stages, counted from 0, have [2, 1] gates", |_, row| asks(row.sums::<0>(0))),
        ("sums(1), but that stage's sums are computed later", |_, row| asks(row.sums::<1>(1))),
        ("sums(9), but that stage's sums are computed later", |_, row| asks(row.sums::<1>(9))),
        ("sums(0) twice, but what may be written is handed out once", |_, row| {
            asks((row.sums::<2>(0), row.sums::<2>(0)));
        }),
    ];
    for (expected, forward) in cases {
        tells(&format!("stage 0 asks for {expected}"), Wants { forward, ..RIGHT });
    }
    let backward: [(&str, BackwardOf); 3] = [
        ("sums(1) of 2 gates, but the stages, counted from 0, have [2, 1] gates", |_, row| asks(row.sums::<2>(1))),
        ("sums(2) of 1 gates, but the stages, counted from 0, have [2, 1] gates", |_, row| asks(row.sums::<1>(2))),
        ("sums(9) of 1 gates, but the stages, counted from 0, have [2, 1] gates", |_, row| asks(row.sums::<1>(9))),
    ];
    for (expected, backward) in backward {
        tells(&format!("stage 1 asks for {expected}"), Wants { backward, ..RIGHT });
    }
}

#[test]
fn slices_that_the_cell_does_not_have() {
    let forward: [(&str, ForwardOf); 5] = [
        ("state(1)", |_, row| asks(row.state(1).to_vec())),
        ("state(9)", |_, row| asks(row.state(9).to_vec())),
        ("new_state(4)", |_, row| row.new_state(4).fill(0.0)),
        ("temporary(1)", |_, row| row.temporary(1).fill(0.0)),
        ("temporary(4)", |_, row| row.temporary(4).fill(0.0)),
    ];
    for (asked, forward) in forward {
        let expected = format!("stage 0 asks for {asked}, but those of the cell, counted from 0, have the widths [3]");
        tells(&expected, Wants { forward, ..RIGHT });
    }
    let backward: [(&str, &str, BackwardOf); 6] = [
        ("state(1)", "[3]", |_, row| asks(row.state(1).to_vec())),
        ("new_state(2)", "[3]", |_, row| asks(row.new_state(2).to_vec())),
        ("d_state(1)", "[3]", |_, row| row.d_state(1).fill(0.0)),
        ("temporary(1)", "[3]", |_, row| row.temporary(1).fill(0.0)),
        ("d_temporary(1)", "[3]", |_, row| row.d_temporary(1).fill(0.0)),
        ("accumulator(0)", "[]", |_, row| row.accumulator(0).fill(0.0)),
    ];
    for (asked, widths, backward) in backward {
        let those = format!("those of the cell, counted from 0, have the widths {widths}");
        tells(&format!("stage 1 asks for {asked}, but {those}"), Wants { backward, ..RIGHT });
    }
}

#[test]
fn slices_of_another_width() {
    let expected = "stage 0 asks for temporary(1) of width 5, but gets some of its 3 units at a time: it must take \
                    whole rows, unless the width is wrong";
    tells(
        expected,
        Wants {
            stages: |cell| (RIGHT.stages)(cell).temporary(UNITS + 2),
            forward: |_, row| row.temporary(1).fill(0.0),
            ..RIGHT
        },
    );
}

#[test]
fn slices_handed_out_before() {
    let forward: [(&str, ForwardOf); 3] = [
        ("new_state(0)", |_, row| asks((row.new_state(0), row.new_state(0)))),
        ("temporary(0)", |_, row| asks((row.temporary(0), row.temporary(0)))),
        ("output()", |_, row| asks((row.output(), row.output()))),
    ];
    for (asked, forward) in forward {
        let expected = format!("stage 0 asks for {asked} twice, but what may be written is handed out once");
        tells(&expected, Wants { forward, ..RIGHT });
    }
    let backward: [(&str, BackwardOf); 4] = [
        ("d_state(0)", |_, row| asks((row.d_state(0), row.d_state(0)))),
        ("temporary(0)", |_, row| asks((row.temporary(0), row.temporary(0)))),
        ("d_temporary(0)", |_, row| asks((row.d_temporary(0), row.d_temporary(0)))),
        ("accumulator(0)", |_, row| asks((row.accumulator(0), row.accumulator(0)))),
    ];
    for (asked, backward) in backward {
        let expected = format!("stage 1 asks for {asked} twice, but what may be written is handed out once");
        tells(&expected, Wants { stages: |cell| (RIGHT.stages)(cell).accumulator(UNITS), backward, ..RIGHT });
    }
}

#[test]
fn units_beyond_a_slice() {
    for beyond in [1, 20] {
        let found = told(Wants { beyond, ..RIGHT }).unwrap();
        assert!(found.starts_with("units ") && found.contains(" of a slice of 3: the row ends before"), "{found}");
    }
}

/// A panic names the line of the equation, not one of this crate.
#[test]
fn where_it_was_asked() {
    use std::cell::RefCell;
    thread_local!(static PLACE: RefCell<Option<(String, u32)>> = const { RefCell::new(None) });
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(|info| {
        PLACE.set(info.location().map(|place| (place.file().into(), place.line())));
    }));
    let (here, forward): (u32, ForwardOf) = (line!(), |_, row| row.temporary(4).fill(0.0));
    let (load, gradients) = (told(Wants { beyond: 1, ..RIGHT }).and(PLACE.take()), RIGHT.gradients);
    let slice = told(Wants { forward, gradients, ..RIGHT }).and(PLACE.take());
    std::panic::set_hook(before);
    assert_eq!(slice, Some((file!().into(), here)));
    assert_eq!(load.map(|(file, _)| file).as_deref(), Some(file!()));
}
