//! The laws of training, over every trainable cell, option and wrapper of `common`'s list, in f32 and f64.

use crate::common::{MakeBoxed, array, driver, driver_both, each_boxed_cell, leaves, number, rng, state};
use ndarray::{Array3, ArrayRef2, ArrayView3, ArrayViewD, Axis, concatenate, s};
use rnn_cell::train::{
    self, BoxedTrainableCell, Gradients, Optimizer, Parts, RunGradients, Sgd, StepBack, TrainableCell,
};
use rnn_cell::{DynState, Float, MultiRnnCell, Parameters, ParametersMut, RnnCell, State};

type Cell<E> = BoxedTrainableCell<E>;

/// A cell, its inputs, and the gradients of its results.
struct Problem<E: Float> {
    cell: Cell<E>,
    x: Array3<E>,
    initial: DynState<E>,
    /// `None` if no row is shorter than the sequence.
    lengths: Option<Vec<usize>>,
    d_outputs: Array3<E>,
    d_final: DynState<E>,
}

/// (batch, seq, input, hidden, lengths)
type Shape = (usize, usize, usize, usize, Option<&'static [usize]>);

const SHAPES: [Shape; 7] = [
    (1, 1, 1, 1, None),
    (0, 3, 2, 3, None),
    (2, 0, 2, 3, None),
    (3, 11, 3, 5, None),
    (4, 9, 5, 17, Some(&[9, 7, 2, 0])),
    (3, 8, 2, 33, Some(&[3, 8, 5])),
    (2, 6, 7, 4, Some(&[0, 0])),
];

impl<E: Float> Problem<E> {
    fn new((batch, seq, input, hidden, lengths): Shape, make: MakeBoxed<E>) -> Self {
        let rng = &mut rng(7);
        let cell = make(input, hidden, rng);
        let initial = state(&cell, batch, rng);
        let mut d_final = initial.clone();
        d_final.visit_mut(&mut |mut leaf| leaf.mapv_inplace(|_| number(rng, 1.0)));
        Self {
            x: array((batch, seq, cell.input_size()), rng),
            d_outputs: array((batch, seq, cell.output_size()), rng),
            lengths: lengths.map(<[usize]>::to_vec),
            initial,
            d_final,
            cell,
        }
    }

    /// All numbers of a forward and backward run.
    fn run(&self) -> Vec<E> {
        let lengths = self.lengths.as_deref();
        let (outputs, finals, tape) =
            train::dynamic_rnn(&self.cell, &self.x, lengths, Some(self.initial.clone())).unwrap();
        let back = tape.d_final_state(self.d_final.clone()).backward(&self.d_outputs).unwrap();
        numbers(outputs.view(), &finals, &back)
    }
}

/// Outputs, final state and every gradient in one row.
fn numbers<E: Float, S: State<E>>(outputs: ArrayView3<E>, finals: &S, back: &RunGradients<E, S>) -> Vec<E> {
    let mut numbers = crate::common::numbers(outputs, finals);
    numbers.extend(crate::common::numbers(back.inputs.view(), &back.initial_state));
    numbers.extend(back.parameters.arrays().iter().flatten());
    numbers
}

/// What must hold for the problem of this name.
type Law<E> = fn(&str, &mut Problem<E>);

/// Runs a law over all cells, shapes and both types.
fn each_problem(in_f32: Law<f32>, in_f64: Law<f64>) {
    fn of_type<E: Float>(law: Law<E>) {
        each_boxed_cell(&mut |name, make| {
            for shape in SHAPES {
                law(&format!("{name}, {shape:?}"), &mut Problem::new(shape, make));
            }
        });
    }
    of_type(in_f32);
    of_type(in_f64);
}

#[track_caller]
fn assert_close<E: Float>(name: &str, expected: &[E], found: &[E]) {
    assert_eq!(expected.len(), found.len(), "{name}");
    let tolerance = if size_of::<E>() == 8 { 1e-12 } else { 1e-5 };
    let largest = expected.iter().fold(1.0_f64, |largest, e| largest.max(e.as_f64().abs()));
    for (e, f) in expected.iter().zip(found) {
        // Written so that NaN fails.
        assert!((e.as_f64() - f.as_f64()).abs() <= tolerance * largest, "{name}: {e} became {f}");
    }
}

#[test]
fn recording_changes_no_bit() {
    fn law<E: Float>(name: &str, p: &mut Problem<E>) {
        let (outputs, finals) =
            rnn_cell::dynamic_rnn(&p.cell, &p.x, p.lengths.as_deref(), Some(p.initial.clone())).unwrap();
        let expected = crate::common::numbers(outputs.view(), &finals);
        assert_eq!(p.run()[..expected.len()], expected, "{name}");
    }
    each_problem(law, law);
}

/// Every number of every parameter.
fn weights<E: Float>(cell: &impl Parameters<E>) -> Vec<E> {
    let mut weights = Vec::new();
    cell.visit_parameters(&mut |_, array| weights.extend(array.iter()));
    weights
}

fn set_weights<E: Float>(cell: &mut (impl ParametersMut<E> + ?Sized), from: &Cell<E>) {
    let mut weights = weights(from).into_iter();
    cell.visit_parameters_mut(&mut |_, mut array| array.iter_mut().for_each(|to| *to = weights.next().unwrap()));
}

/// A way to give a cell another one's weights.
type Door<E> = fn(Cell<E>, &Cell<E>) -> Cell<E>;

/// All ways, by name. Stack and wrapper surround the cell only while its weights change.
fn doors<E: Float>() -> Vec<(&'static str, Door<E>)> {
    vec![
        ("visitor", |mut cell, from| {
            set_weights(&mut cell, from);
            cell
        }),
        ("optimizer", |mut cell, from| {
            let (mut old, mut new) = (weights(&cell).into_iter(), weights(from).into_iter());
            let mut gradients = Gradients::zeros(&cell);
            for gradient in gradients.arrays_mut().iter_mut().flatten() {
                *gradient = old.next().unwrap() - new.next().unwrap();
            }
            Sgd::builder(1.0).build(&cell).unwrap().apply_gradients(&mut cell, &gradients).unwrap();
            cell
        }),
        #[cfg(feature = "safetensors")]
        ("file", |mut cell, from| {
            use rnn_cell::weights::safetensors;
            safetensors::from_bytes(&mut cell, &safetensors::to_bytes(from).unwrap()).unwrap();
            cell
        }),
        ("box", |cell, from| {
            let mut boxed = Box::new(cell);
            set_weights(&mut boxed, from);
            *boxed
        }),
        ("trait object", |mut cell, from| {
            set_weights(&mut cell as &mut dyn ParametersMut<E>, from);
            cell
        }),
        ("stack", |cell, from| {
            let mut stack = MultiRnnCell::new(vec![cell]).unwrap();
            set_weights(&mut stack, from);
            stack.into_cells().pop().unwrap()
        }),
        ("parts", |mut cell, from| {
            set_weights(&mut Parts::new([("cell", &mut cell)]), from);
            cell
        }),
    ]
}

/// Packed weights, forward and transposed, follow the parameters, however these are changed.
#[test]
fn changed_weights_count_forward_and_back() {
    fn law<E: Float>() {
        each_boxed_cell(&mut |name, make: MakeBoxed<E>| {
            for shape in [SHAPES[3], SHAPES[4]] {
                let other = Problem::new(shape, &|input, hidden, rng| {
                    let mut cell = make(input, hidden, rng);
                    cell.visit_parameters_mut(&mut |_, mut array| array.mapv_inplace(|w| w * E::of(-0.75)));
                    cell
                });
                for (door, change) in doors() {
                    let mut p = Problem::new(shape, make);
                    // The first backward run packs the transposed weights.
                    let before = p.run();
                    p.cell = change(p.cell, &other.cell);
                    let mut afresh = Problem::new(shape, make);
                    set_weights(&mut afresh.cell, &p.cell);
                    let after = p.run();
                    assert!(after != before, "{name}, {shape:?}, {door}");
                    assert_eq!(after, afresh.run(), "{name}, {shape:?}, {door}");
                }
            }
        });
    }
    law::<f32>();
    law::<f64>();
}

/// A cell that runs step by step, with the provided versions of [`TrainableCell`].
struct Stepped<'a, C>(&'a C);

impl<C: RnnCell> RnnCell for Stepped<'_, C> {
    type Elem = C::Elem;
    type State = C::State;
    type Workspace = C::Workspace;

    fn input_size(&self) -> usize {
        self.0.input_size()
    }
    fn output_size(&self) -> usize {
        self.0.output_size()
    }
    fn zero_state(&self, batch: usize) -> C::State {
        self.0.zero_state(batch)
    }
    fn step(
        &self,
        input: &ArrayRef2<C::Elem>,
        state: &mut C::State,
        output: &mut ArrayRef2<C::Elem>,
        workspace: &mut C::Workspace,
    ) {
        self.0.step(input, state, output, workspace);
    }
}

impl<C: TrainableCell> Parameters<C::Elem> for Stepped<'_, C> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, C::Elem>)) {
        self.0.visit_parameters(visit);
    }
}

// It only borrows the weights, and no test changes them through it.
impl<C: TrainableCell> ParametersMut<C::Elem> for Stepped<'_, C> {}

impl<C: TrainableCell> TrainableCell for Stepped<'_, C> {
    type Record = C::Record;
    type Gradient = C::Gradient;

    fn zero_gradient(&self) -> C::Gradient {
        self.0.zero_gradient()
    }

    fn step_recording(
        &self,
        input: &ArrayRef2<C::Elem>,
        state: &mut C::State,
        output: &mut ArrayRef2<C::Elem>,
        workspace: &mut C::Workspace,
    ) -> C::Record {
        self.0.step_recording(input, state, output, workspace)
    }
    fn step_backward(&self, record: C::Record, back: StepBack<'_, Self>, workspace: &mut C::Workspace) {
        self.0.step_backward(record, back, workspace);
    }
}

#[test]
fn a_run_back_is_steps_back() {
    fn law<E: Float>(name: &str, p: &mut Problem<E>) {
        let (stepped, lengths) = (Stepped(&p.cell), p.lengths.as_deref());
        let (outputs, finals, tape) = train::dynamic_rnn(&stepped, &p.x, lengths, Some(p.initial.clone())).unwrap();
        let back = tape.d_final_state(p.d_final.clone()).backward(&p.d_outputs).unwrap();
        assert_close(name, &numbers(outputs.view(), &finals, &back), &p.run());
    }
    each_problem(law, law);
}

#[test]
fn checkpointed_gradients_are_the_plain_ones() {
    fn law<E: Float>(name: &str, p: &mut Problem<E>) {
        let plain = p.run();
        for every in [1, 2, 3, 10, 11, 100, usize::MAX - 1, usize::MAX] {
            let driver = driver(&p.cell, p.lengths.as_deref(), Some(p.initial.clone()));
            let (outputs, finals, tape) = driver.checkpoint_every(every).record(&p.x).unwrap();
            let back = tape.d_final_state(p.d_final.clone()).backward(&p.d_outputs).unwrap();
            assert_close(&format!("{name}, every {every}"), &plain, &numbers(outputs.view(), &finals, &back));
        }
    }
    each_problem(law, law);
}

/// Runs both directions forward and backward, with the same cell in each.
fn both_ways<E: Float>(p: &Problem<E>, every: Option<usize>) -> Vec<E> {
    let initial = || Some(p.initial.clone());
    let driver = driver_both(&p.cell, p.lengths.as_deref(), [initial(), initial()]);
    let ((fw, bw), finals, tape) = match every {
        None => driver.record(&p.x),
        Some(every) => driver.checkpoint_every(every).record(&p.x),
    }
    .unwrap();
    let (d, d_final) = (&p.d_outputs, || p.d_final.clone());
    let back = tape.d_final_state_fw(d_final()).d_final_state_bw(d_final()).backward(d, d).unwrap();
    let mut numbers = crate::common::numbers(fw.view(), &finals.0);
    numbers.extend(crate::common::numbers(bw.view(), &finals.1));
    numbers.extend(crate::common::numbers(back.inputs.view(), &back.initial_states.0));
    numbers.extend(leaves(&back.initial_states.1).iter().flatten());
    numbers.extend(back.parameters.arrays().iter().flatten());
    numbers
}

#[test]
fn checkpoints_of_both_directions_change_nothing() {
    fn law<E: Float>(name: &str, p: &mut Problem<E>) {
        for every in [1, 4, usize::MAX - 1, usize::MAX] {
            assert_close(&format!("{name}, every {every}"), &both_ways(p, None), &both_ways(p, Some(every)));
        }
    }
    each_problem(law, law);
}

#[test]
fn nothing_in_the_padding_reaches_a_result() {
    fn law<E: Float>(name: &str, p: &mut Problem<E>) {
        let Some(lengths) = p.lengths.clone() else { return };
        let run = |p: &Problem<E>| [p.run(), both_ways(p, None), both_ways(p, Some(2))].concat();
        let clean = run(p);
        assert!(clean.iter().all(|number| number.as_f64().is_finite()), "{name}");
        for (row, &length) in lengths.iter().enumerate() {
            p.x.slice_mut(s![row, length.., ..]).fill(E::of(f64::NAN));
            p.d_outputs.slice_mut(s![row, length.., ..]).fill(E::of(f64::NAN));
        }
        assert_eq!(run(p), clean, "{name}");
    }
    each_problem(law, law);
}

/// Adds up the gradients of parameters.
fn add<E: Float>(sum: &mut Option<Gradients<E>>, part: Gradients<E>) {
    match sum {
        None => *sum = Some(part),
        Some(sum) => sum.arrays_mut().iter_mut().zip(part.arrays()).for_each(|(sum, part)| *sum += part),
    }
}

#[test]
fn a_batch_is_a_loop_over_its_rows() {
    fn law<E: Float>(name: &str, p: &mut Problem<E>) {
        let rows = p.x.dim().0;
        if rows == 0 {
            return;
        }
        let (mut outputs, mut d_inputs, mut parameters) = (Vec::new(), Vec::new(), None);
        let (mut finals, mut d_initial) = (p.initial.clone(), p.initial.clone());
        for row in 0..rows {
            let only = |array: &Array3<E>| array.slice(s![row..row + 1, .., ..]).to_owned();
            let (x, length) = (only(&p.x), p.lengths.as_ref().map(|lengths| &lengths[row..row + 1]));
            let (y, last, tape) = train::dynamic_rnn(&p.cell, &x, length, Some(p.initial.select_rows(&[row]))).unwrap();
            let back = tape.d_final_state(p.d_final.select_rows(&[row])).backward(&only(&p.d_outputs)).unwrap();
            outputs.push(y);
            d_inputs.push(back.inputs);
            finals.copy_row(row, &last, 0);
            d_initial.copy_row(row, &back.initial_state, 0);
            add(&mut parameters, back.parameters);
        }
        let joined =
            |rows: &[Array3<E>]| concatenate(Axis(0), &rows.iter().map(|row| row.view()).collect::<Vec<_>>()).unwrap();
        let back =
            RunGradients { parameters: parameters.unwrap(), inputs: joined(&d_inputs), initial_state: d_initial };
        assert_close(name, &numbers(joined(&outputs).view(), &finals, &back), &p.run());
    }
    each_problem(law, law);
}

/// Windows carry the state over and hand its gradient back. Without that, each is truncated backpropagation.
#[test]
fn windows_are_the_whole_sequence() {
    fn law<E: Float>(name: &str, p: &mut Problem<E>) {
        let seq = p.x.dim().1;
        if p.lengths.is_some() || seq < 2 {
            return;
        }
        let cuts = [0..seq / 2, seq / 2..seq / 2 + 1, seq / 2 + 1..seq];
        let windows = cuts.map(|steps| [&p.x, &p.d_outputs].map(|array| array.slice(s![.., steps.clone(), ..])));
        let (mut tapes, mut outputs, mut state) = (Vec::new(), Vec::new(), p.initial.clone());
        for [x, _] in &windows {
            let (y, next, tape) = train::dynamic_rnn(&p.cell, x, None, Some(state)).unwrap();
            state = next;
            outputs.push(y);
            tapes.push(tape);
        }
        let (mut d_inputs, mut d_state, mut parameters) = (Vec::new(), p.d_final.clone(), None);
        for (tape, [_, d_outputs]) in tapes.into_iter().zip(&windows).rev() {
            let back = tape.d_final_state(d_state).backward(d_outputs).unwrap();
            d_inputs.insert(0, back.inputs);
            d_state = back.initial_state;
            add(&mut parameters, back.parameters);
        }
        let joined = |windows: &[Array3<E>]| {
            concatenate(Axis(1), &windows.iter().map(|window| window.view()).collect::<Vec<_>>()).unwrap()
        };
        let back = RunGradients { parameters: parameters.unwrap(), inputs: joined(&d_inputs), initial_state: d_state };
        assert_close(name, &numbers(joined(&outputs).view(), &state, &back), &p.run());
    }
    each_problem(law, law);
}
