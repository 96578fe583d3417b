//! Cells that a user writes with the public API alone keep the laws of the built-in cells. These are the cells of
//! `examples/fused`, and others with two products, a projection, a product of the inputs only, and whole rows.

use crate::allocator::allocations;
use crate::cells::{Normed, Projected, TwoProducts};
use crate::common::{Rng, array, by_steps, driver, message, numbers, randomized, rng, state};
use crate::ind_rnn::MyIndRnn;
use crate::lstm::MyLstm;
use crate::mgu::MyMgu;
use crate::sru::Sru;
use crate::ugrnn::MyUgrnn;
use ndarray::{Array2, Array3, ArrayD, Axis, s};
use rand::RngExt;
use rnn_cell::fused::{Linear, LinearWeights, Workspace};
use rnn_cell::train::{self, Back, TrainableCell, gradient_error};
use rnn_cell::{Activation, Float, Gru, Lstm, RnnCell, State, Stream, Ugrnn, dynamic_rnn};

/// What a test does with each cell.
trait Check<E: Float> {
    fn check<C: TrainableCell<Elem = E> + Sync>(&mut self, name: &str, make: impl Fn(usize, usize, &mut Rng) -> C);
}

fn each<E: Float>(check: &mut impl Check<E>) {
    check.check("lstm", |i, h, rng| randomized(MyLstm::<E>::new(i, h, rng).unwrap(), rng));
    check.check("ugrnn", |i, h, rng| randomized(MyUgrnn::<E>::new(i, h, rng).unwrap(), rng));
    check.check("ind_rnn", |i, h, rng| randomized(MyIndRnn::<E>::new(i, h, rng).unwrap(), rng));
    check.check("mgu", |i, h, rng| randomized(MyMgu::<E>::new(i, h, rng).unwrap(), rng));
    check.check("two products", |i, h, rng| randomized(TwoProducts::<E>::new(i, h, rng).unwrap(), rng));
    check.check("projection", |i, h, rng| randomized(Projected::<E>::new(i, h, rng).unwrap(), rng));
    check.check("sru", |i, h, rng| randomized(Sru::<E>::new(i, h, Activation::Tanh, rng).unwrap(), rng));
    check.check("whole rows", |i, h, rng| randomized(Normed::<E>::new(i, h, rng).unwrap(), rng));
}

const SIZES: [(usize, usize); 4] = [(1, 1), (5, 7), (19, 33), (3, 130)];

#[track_caller]
fn assert_same_bits<E: Float>(name: &str, expected: &[E], found: &[E]) {
    let bits = |numbers: &[E]| numbers.iter().map(|number| number.as_f64().to_bits()).collect::<Vec<_>>();
    assert!(bits(expected) == bits(found), "{name}: {expected:?} became {found:?}");
}

struct Laws;

impl<E: Float> Check<E> for Laws {
    fn check<C: TrainableCell<Elem = E> + Sync>(&mut self, name: &str, make: impl Fn(usize, usize, &mut Rng) -> C) {
        let rng = &mut rng(1);
        for (input, hidden) in SIZES {
            let cell = make(input, hidden, rng);
            for (batch, seq) in [(0, 3), (3, 0), (1, 1), (1, 33), (3, 5), (7, 30), (13, 9)] {
                let mut x = array((batch, seq, input), rng);
                let initial = state(&cell, batch, rng);
                let lengths: Vec<usize> = (0..batch).map(|_| rng.random_range(0..=seq)).collect();
                laws(name, &cell, &x, &initial, None);
                for (row, &length) in lengths.iter().enumerate() {
                    x.slice_mut(s![row, length.., ..]).fill(E::nan());
                }
                laws(name, &cell, &x, &initial, Some(&lengths));
            }
        }
    }
}

/// Runs each row alone, step by step; in two pieces; time-major; recorded.
fn laws<C: TrainableCell>(name: &str, cell: &C, x: &Array3<C::Elem>, initial: &C::State, lengths: Option<&[usize]>) {
    let (batch, seq, _) = x.dim();
    let (outputs, last) = dynamic_rnn(cell, x, lengths, Some(initial.clone())).unwrap();
    for row in 0..batch {
        let length = lengths.map_or(seq, |lengths| lengths[row]);
        let (alone, alone_last) = by_steps(cell, x.slice(s![row..=row, ..length, ..]), initial.select_rows(&[row]));
        let found = numbers(outputs.slice(s![row..=row, ..length, ..]), &last.select_rows(&[row]));
        assert_same_bits(name, &numbers(alone.view(), &alone_last), &found);
        assert!(outputs.slice(s![row, length.., ..]).iter().all(|y| y.as_f64().to_bits() == 0), "{name}: padding");
    }
    let whole = numbers(outputs.view(), &last);

    let cut = seq / 2;
    let part = |of: &dyn Fn(usize) -> usize| lengths.map(|lengths| lengths.iter().map(|&l| of(l)).collect::<Vec<_>>());
    let (first, rest) = (part(&|length| length.min(cut)), part(&|length| length.saturating_sub(cut)));
    let (left, carried) =
        dynamic_rnn(cell, &x.slice(s![.., ..cut, ..]), first.as_deref(), Some(initial.clone())).unwrap();
    let (right, end) = dynamic_rnn(cell, &x.slice(s![.., cut.., ..]), rest.as_deref(), Some(carried)).unwrap();
    let both = ndarray::concatenate(Axis(1), &[left.view(), right.view()]).unwrap();
    assert_same_bits(name, &whole, &numbers(both.view(), &end));

    let by_time = x.view().permuted_axes([1, 0, 2]);
    let (turned, turned_last) = driver(cell, lengths, Some(initial.clone())).time_major(true).run(&by_time).unwrap();
    assert_same_bits(name, &whole, &numbers(turned.view().permuted_axes([1, 0, 2]), &turned_last));

    let (recorded, recorded_last, _) = train::dynamic_rnn(cell, x, lengths, Some(initial.clone())).unwrap();
    assert_same_bits(name, &whole, &numbers(recorded.view(), &recorded_last));
}

#[test]
fn the_laws_hold() {
    each::<f32>(&mut Laws);
    each::<f64>(&mut Laws);
}

struct Gradients;

impl Check<f64> for Gradients {
    fn check<C: TrainableCell<Elem = f64> + Sync>(&mut self, name: &str, make: impl Fn(usize, usize, &mut Rng) -> C) {
        let rng = &mut rng(2);
        for ((input, hidden), (batch, seq)) in
            [((1, 1), (2, 3)), ((3, 5), (3, 4)), ((5, 9), (2, 4)), ((2, 17), (3, 3)), ((18, 3), (7, 2))]
        {
            let mut cell = make(input, hidden, rng);
            let (x, initial) = (array((batch, seq, input), rng), state(&cell, batch, rng));
            let lengths: Vec<usize> = (0..batch).map(|row| (seq + row) % (seq + 1)).collect();
            for lengths in [None, Some(&lengths[..])] {
                let error = gradient_error(&mut cell, &x, lengths, Some(initial.clone())).unwrap();
                assert!(error < 1e-7, "{name}, ({input}, {hidden}), lengths {lengths:?}: {error:e}");
            }
        }
    }
}

#[test]
fn gradients_agree_with_central_differences() {
    each(&mut Gradients);
}

struct NoAllocation;

impl<E: Float> Check<E> for NoAllocation {
    fn check<C: TrainableCell<Elem = E> + Sync>(&mut self, name: &str, make: impl Fn(usize, usize, &mut Rng) -> C) {
        let rng = &mut rng(3);
        // Too small to be worth a second thread: requesting one allocates.
        for (input, hidden) in [(1, 1), (5, 7), (19, 33)] {
            let cell = make(input, hidden, rng);
            for batch in [1, 3, 8, 13] {
                let x: Array3<E> = array((30, batch, input), rng);
                let (mut h, mut workspace) = (state(&cell, batch, rng), C::Workspace::default());
                let mut outputs = Array3::zeros((30, batch, cell.output_size()));
                let mut steps = || {
                    for (x, mut output) in x.outer_iter().zip(outputs.outer_iter_mut()) {
                        cell.step(&x, &mut h, &mut output, &mut workspace);
                    }
                };
                steps();
                assert_eq!(allocations(steps), 0, "{name}: steps of {batch} rows");
                let mut run = || cell.unroll(&x, &mut h, &mut outputs, &mut workspace);
                run();
                assert_eq!(allocations(run), 0, "{name}: unroll of {batch} rows");
                let mut stream = Stream::new(&cell, batch);
                let input = x.index_axis(Axis(0), 0);
                stream.push(&input).unwrap();
                let pushes = allocations(|| {
                    for _ in 0..9 {
                        stream.push(&input).unwrap();
                    }
                });
                assert_eq!(pushes, 0, "{name}: pushes of {batch} rows");
            }
        }
    }
}

#[test]
fn after_the_first_step_nothing_is_allocated() {
    each::<f32>(&mut NoAllocation);
    each::<f64>(&mut NoAllocation);
}

/// `FusedCell` has this method too.
fn zero_state<C: RnnCell>(cell: &C, batch: usize) -> C::State {
    cell.zero_state(batch)
}

/// All numbers of a forward run, plain and recorded, and of the run backward from its outputs and last state.
fn everything<C: TrainableCell>(
    cell: &C,
    x: &Array3<C::Elem>,
    lengths: Option<&[usize]>,
    initial: C::State,
) -> Vec<C::Elem> {
    let (outputs, last) = dynamic_rnn(cell, x, lengths, Some(initial.clone())).unwrap();
    let mut all = numbers(outputs.view(), &last);
    let (outputs, last, tape) = train::dynamic_rnn(cell, x, lengths, Some(initial)).unwrap();
    let back = tape.d_final_state(last.clone()).backward(&outputs).unwrap();
    all.extend(numbers(outputs.view(), &last));
    all.extend(numbers(back.inputs.view(), &back.initial_state));
    back.parameters.iter().for_each(|(_, gradient)| all.extend(gradient.iter()));
    all
}

#[cfg(feature = "rayon")]
mod threads {
    use super::*;
    use rnn_cell::fused::{Forward, FusedCell, Stage, Stages, Vector};
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct SameBits;

    impl<E: Float> Check<E> for SameBits {
        fn check<C: TrainableCell<Elem = E> + Sync>(&mut self, name: &str, make: impl Fn(usize, usize, &mut Rng) -> C) {
            let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let rng = &mut rng(4);
            for (batch, seq, input, hidden) in [(1, 40, 64, 260), (3, 30, 7, 300), (29, 20, 19, 130)] {
                let cell = make(input, hidden, rng);
                let x: Array3<E> = array((batch, seq, input), rng);
                let ragged: Vec<usize> = (0..batch).map(|_| rng.random_range(0..=seq)).collect();
                for lengths in [None, Some(&ragged[..])] {
                    let run = || everything(&cell, &x, lengths, zero_state(&cell, batch));
                    let expected = pool(1).install(run);
                    for threads in [2, 5] {
                        assert_same_bits(name, &expected, &pool(threads).install(run));
                    }
                }
            }
        }
    }

    /// A cell whose equation panics in the middle of a run. It remembers the last step that it saw.
    struct Panics(Linear<f32>, AtomicUsize);

    impl FusedCell for Panics {
        type Elem = f32;
        type State = Array2<f32>;

        fn input_size(&self) -> usize {
            self.0.input_size()
        }
        fn output_size(&self) -> usize {
            self.0.units()
        }
        fn zero_state(&self, batch: usize) -> Array2<f32> {
            Array2::zeros((batch, self.0.units()))
        }
        fn stages(&self) -> Stages<'_, f32> {
            Stages::new([Stage::new(&self.0).state(0)])
        }
        fn forward<V: Vector<f32>>(&self, _: usize, row: &mut Forward<'_, f32>) {
            self.1.fetch_max(row.step(), Ordering::Relaxed);
            assert!(row.step() < 50 || row.units().start == 0, "the equation's own panic");
        }
    }

    rnn_cell::fused_cell!(Panics);

    /// The panic comes back. Nobody waits for the member that panicked, nor goes on to steps that need what it left out.
    #[test]
    fn a_panic_in_an_equation_comes_back_from_a_team() {
        let linear = Linear::<f32>::builder(512).input_size(8).recurrent_size(512).build(&mut rng(1)).unwrap();
        let (cell, x) = (Panics(linear, AtomicUsize::new(0)), Array3::zeros((200, 1, 8)));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
        for _ in 0..20 {
            let run = || pool.install(|| drop(driver(&cell, None, None).time_major(true).run(&x)));
            // A team gets units in blocks, and only the first block begins at 0.
            assert!(message(run).is_some_and(|message| message.contains("the equation's own panic")));
            assert_eq!(cell.1.load(Ordering::Relaxed), 50);
        }
    }

    #[test]
    fn threads_change_no_bit() {
        each::<f32>(&mut SameBits);
        each::<f64>(&mut SameBits);
    }
}

/// Copies the weights of the same names, and compares outputs, states and gradients.
fn assert_equal<C, D>(name: &str, mut mine: C, theirs: &D)
where
    C: TrainableCell<Elem = f64>,
    D: TrainableCell<Elem = f64, State = C::State>,
{
    let mut weights = std::collections::BTreeMap::<String, ArrayD<f64>>::new();
    theirs.visit_parameters(&mut |name, array| drop(weights.insert(name.into(), array.to_owned())));
    mine.visit_parameters_mut(&mut |name, mut array| array.assign(&weights[name]));
    let rng = &mut rng(5);
    let x = array((7, 20, theirs.input_size()), rng);
    let initial = state(theirs, 7, rng);
    let lengths = [20, 0, 3, 19, 20, 1, 7];
    let found = everything(&mine, &x, Some(&lengths), initial.clone());
    let expected = everything(theirs, &x, Some(&lengths), initial);
    assert_eq!(found.len(), expected.len(), "{name}");
    let error = found.iter().zip(&expected).map(|(a, b)| (a - b).abs() / b.abs().max(1.0)).fold(0.0, f64::max);
    assert!(error < 1e-12, "{name}: {error:e}");
}

#[test]
fn they_are_the_built_in_cells() {
    let rng = &mut rng(6);
    let (i, h) = (9, 21);
    assert_equal("lstm", MyLstm::new(i, h, rng).unwrap(), &randomized(Lstm::new(i, h, rng), rng));
    assert_equal("ugrnn", MyUgrnn::new(i, h, rng).unwrap(), &randomized(Ugrnn::new(i, h, rng), rng));
    assert_equal("gru", TwoProducts::new(i, h, rng).unwrap(), &randomized(Gru::new(i, h, rng), rng));
}

#[test]
fn a_record_of_another_cell_panics() {
    let rng = &mut rng(8);
    let [five, six] = [5, 6].map(|hidden| MyLstm::<f32>::new(3, hidden, rng).unwrap());
    let x = array((4, 2, 3), rng);
    let mut workspace = Workspace::default();
    let mut records = Vec::new();
    let mut outputs = Array3::zeros((4, 2, 5));
    five.unroll_recording(&x, &mut zero_state(&five, 2), &mut outputs, &mut records, &mut workspace);
    let mut back = |cell: &MyLstm<f32>, hidden, gradient: &mut LinearWeights<f32>, records: &mut Vec<_>| {
        let (d_outputs, mut d_x) = (Array3::zeros((4, 2, hidden)), Array3::zeros((4, 2, 3)));
        let (d_state, d_inputs) = (&mut zero_state(cell, 2), &mut d_x);
        let back = Back { inputs: &x, d_outputs: &d_outputs, d_state, d_inputs, gradient };
        message(|| cell.unroll_backward(records, back, &mut workspace))
    };
    assert!(back(&six, 6, &mut six.zero_gradient(), &mut records).is_some());
    five.unroll_recording(&x, &mut zero_state(&five, 2), &mut outputs, &mut records, &mut Workspace::default());
    assert!(back(&five, 5, &mut six.zero_gradient(), &mut records).is_some());
    records.clear();
    five.unroll_recording(&x, &mut zero_state(&five, 2), &mut outputs, &mut records, &mut Workspace::default());
    assert_eq!(back(&five, 5, &mut five.zero_gradient(), &mut records), None);
}
