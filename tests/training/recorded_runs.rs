//! What training as a whole promises: a resumed run, checkpoints, both directions.

use ndarray::{Array2, Array3, ArrayD, Dimension, s};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rnn_cell::train::{
    self, Adam, AdamW, BoxedTrainableCell, Gradients, Optimizer, Parts, RmsProp, Schedule, Sgd, clip_by_global_norm,
    sequence_loss, sequence_weights,
};
use rnn_cell::{
    BasicRnn, BidirectionalRnn, Dense, DynState, DynamicRnn, Error, Float, Gru, Lstm, LstmState, Parameters,
    ParametersMut,
};

pub fn rng(seed: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(seed)
}

pub fn random(shape: (usize, usize, usize), seed: u64) -> Array3<f64> {
    let mut rng = rng(seed);
    Array3::from_shape_simple_fn(shape, || rng.random_range(-1.0..1.0))
}

/// Every parameter by name.
pub fn values<E: Float, P: Parameters<E> + ?Sized>(parameters: &P) -> Vec<(String, ArrayD<E>)> {
    let mut values = Vec::new();
    parameters.visit_parameters(&mut |name, value| values.push((name.to_owned(), value.to_owned())));
    values
}

/// Loads what [`values`] saved, with the visitor.
pub fn set_values<E: Float, P: ParametersMut<E> + ?Sized>(parameters: &mut P, values: &[(String, ArrayD<E>)]) {
    let mut values = values.iter();
    parameters.visit_parameters_mut(&mut |name, mut to| {
        let (saved, value) = values.next().unwrap();
        assert_eq!(saved, name);
        to.assign(value);
    });
}

pub fn assert_close<'a>(
    what: &str,
    found: impl IntoIterator<Item = &'a f64>,
    expected: impl IntoIterator<Item = &'a f64>,
    tolerance: f64,
) {
    let (found, expected): (Vec<_>, Vec<_>) = (found.into_iter().collect(), expected.into_iter().collect());
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1.0_f64, |a, &&b| a.max(b.abs()));
    for (found, expected) in found.into_iter().zip(expected) {
        // Written so that NaN fails.
        let close = (found - expected).abs() <= tolerance * largest;
        assert!(close, "{what}: {found}, expected {expected}");
    }
}

/// Central differences of `loss` with respect to each number of `at`.
pub fn differences<D: Dimension>(
    at: &ndarray::Array<f64, D>,
    mut loss: impl FnMut(&ndarray::Array<f64, D>) -> f64,
) -> Vec<f64> {
    const STEP: f64 = 1e-5;
    let mut shifted = at.clone();
    let mut differences = Vec::new();
    for index in 0..at.len() {
        let mut set = |by: f64| {
            *shifted.iter_mut().nth(index).unwrap() = at.iter().nth(index).unwrap() + by;
            loss(&shifted)
        };
        differences.push((set(STEP) - set(-STEP)) / (2.0 * STEP));
        set(0.0);
    }
    differences
}

struct Training<O> {
    cell: Lstm<f32>,
    dense: Dense<f32>,
    optimizer: O,
}

impl<O: Optimizer<f32>> Training<O> {
    fn new(seed: u64, optimizer: impl Fn(&Parts<&mut dyn ParametersMut<f32>>) -> O) -> Self {
        let mut rng = rng(seed);
        let (mut cell, mut dense) = (Lstm::new(3, 7, &mut rng), Dense::new(7, 2, &mut rng));
        let optimizer = optimizer(&Parts::new([("cell", &mut cell), ("dense", &mut dense)]));
        Self { cell, dense, optimizer }
    }

    fn run(&mut self, steps: std::ops::Range<u64>) {
        for step in steps {
            let x = random((4, 6, 3), step).mapv(|x| x as f32);
            let targets = Array2::from_shape_fn((4, 6), |(row, step)| (row + step) % 2);
            let weights = sequence_weights(&[6, 3, 5, 1], 6).unwrap();
            let (outputs, _, tape) = train::dynamic_rnn(&self.cell, &x, Some(&[6, 3, 5, 1]), None).unwrap();
            let logits = self.dense.forward(&outputs).unwrap();
            let (_, d_logits) = sequence_loss(&logits, &targets, &weights).unwrap();
            let (d_outputs, dense) = self.dense.backward(&outputs, &d_logits).unwrap();
            let cell = tape.backward(&d_outputs).unwrap().parameters;
            let mut gradients = Gradients::join([("cell", cell), ("dense", dense)]);
            clip_by_global_norm(&mut gradients, 0.1).unwrap();
            let model = &mut Parts::new([("cell", &mut self.cell), ("dense", &mut self.dense)]);
            self.optimizer.apply_gradients(model, &gradients).unwrap();
        }
    }

    /// Everything that must be saved.
    fn all(&mut self) -> Parts<'_, &mut dyn ParametersMut<f32>> {
        Parts::new([("cell", &mut self.cell), ("dense", &mut self.dense), ("optimizer", &mut self.optimizer)])
    }
}

fn resumed_equals_unbroken<O: Optimizer<f32>>(optimizer: impl Fn(&Parts<&mut dyn ParametersMut<f32>>) -> O) {
    let mut unbroken = Training::new(1, &optimizer);
    unbroken.run(0..10);

    let mut stopped = Training::new(1, &optimizer);
    stopped.run(0..5);
    let saved = values(&stopped.all());
    let mut resumed = Training::new(99, &optimizer);
    set_values(&mut resumed.all(), &saved);
    #[cfg(feature = "safetensors")]
    {
        use rnn_cell::weights::safetensors;
        let file = safetensors::to_bytes(&stopped.all()).unwrap();
        resumed = Training::new(99, &optimizer);
        safetensors::from_bytes(&mut resumed.all(), &file).unwrap();
    }
    resumed.run(5..10);

    let bits = |training: &mut Training<O>| -> Vec<(String, Vec<u32>)> {
        let values = values(&training.all());
        values.into_iter().map(|(name, value)| (name, value.iter().map(|v| v.to_bits()).collect())).collect()
    };
    assert_eq!(bits(&mut resumed), bits(&mut unbroken));
    assert_ne!(bits(&mut stopped), bits(&mut unbroken));
}

#[test]
fn resumed_training_has_the_bits_of_training_that_did_not_stop() {
    resumed_equals_unbroken(|model| Adam::builder().build(model).unwrap());
    resumed_equals_unbroken(|model| Sgd::builder(0.1).momentum(0.9).build(model).unwrap());
    resumed_equals_unbroken(|model| RmsProp::builder(0.01).momentum(0.9).centered(true).build(model).unwrap());
    // The run stops in the middle of the schedule.
    let schedule = Schedule::cosine_decay(0.01, 5).warm_up(3);
    resumed_equals_unbroken(|model| AdamW::builder().learning_rate(schedule).build(model).unwrap());
}

#[test]
fn both_directions_are_each_direction() {
    let mut rng = rng(11);
    let (cell_fw, cell_bw) = (Lstm::<f64>::new(3, 4, &mut rng), Gru::<f64>::new(3, 2, &mut rng));
    let x = random((3, 5, 3), 12);
    let (d_fw, d_bw) = (random((3, 5, 4), 13), random((3, 5, 2), 14));
    let half = |shape: (usize, usize)| Array2::from_elem(shape, 0.5);
    let initial = (LstmState { c: half((3, 4)), h: half((3, 4)) }, half((3, 2)));
    for lengths in [None, Some([5, 5, 5]), Some([3, 3, 3]), Some([2, 5, 0])] {
        let lengths = lengths.as_ref().map(|lengths| &lengths[..]);
        let (fw0, bw0) = (Some(initial.0.clone()), Some(initial.1.clone()));
        let ((fw, bw), states, tape) =
            train::bidirectional_dynamic_rnn(&cell_fw, &cell_bw, &x, lengths, fw0.clone(), bw0.clone()).unwrap();
        let (outputs, expected_states) =
            rnn_cell::bidirectional_dynamic_rnn(&cell_fw, &cell_bw, &x, lengths, fw0.clone(), bw0.clone()).unwrap();
        assert_eq!(((&fw, &bw), &states), ((&outputs.0, &outputs.1), &expected_states));
        assert!(bw.is_standard_layout());
        let gradients =
            tape.d_final_state_fw(states.0.clone()).d_final_state_bw(states.1.clone()).backward(&d_fw, &d_bw).unwrap();

        // Each direction alone, the backward one over a copy that is reversed row by row.
        let reversed = |from: &Array3<f64>| {
            let mut to = Array3::zeros(from.dim());
            for row in 0..3 {
                let length = lengths.map_or(5, |lengths| lengths[row]);
                to.slice_mut(s![row, ..length, ..]).assign(&from.slice(s![row, ..length;-1, ..]));
            }
            to
        };
        let (_, _, tape) = train::dynamic_rnn(&cell_fw, &x, lengths, fw0).unwrap();
        let alone_fw = tape.d_final_state(states.0).backward(&d_fw).unwrap();
        let x_reversed = reversed(&x);
        let (_, _, tape) = train::dynamic_rnn(&cell_bw, &x_reversed, lengths, bw0).unwrap();
        let alone_bw = tape.d_final_state(states.1).backward(&reversed(&d_bw)).unwrap();
        assert_close("inputs", &gradients.inputs, &(&alone_fw.inputs + &reversed(&alone_bw.inputs)), 1e-12);
        let expected = Gradients::join([("fw", alone_fw.parameters), ("bw", alone_bw.parameters)]);
        let names = |gradients: &Gradients<f64>| gradients.iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(names(&gradients.parameters), names(&expected));
        for (found, expected) in gradients.parameters.arrays().iter().zip(expected.arrays()) {
            assert_close("parameters", found, expected, 1e-12);
        }
        let (d_initial_fw, d_initial_bw) = gradients.initial_states;
        assert_close("initial c", &d_initial_fw.c, &alone_fw.initial_state.c, 1e-12);
        assert_close("initial h", &d_initial_fw.h, &alone_fw.initial_state.h, 1e-12);
        assert_close("initial bw", &d_initial_bw, &alone_bw.initial_state, 1e-12);
    }
}

#[test]
fn checkpoints_are_a_step_apart_or_more() {
    let (cell, x) = (Lstm::<f64>::new(1, 1, &mut rng(1)), Array3::zeros((1, 1, 1)));
    let error = Some(Error::ZeroSize { argument: "checkpoint_every" });
    assert_eq!(DynamicRnn::new(&cell).checkpoint_every(0).record(&x).err(), error);
    assert_eq!(BidirectionalRnn::new(&cell, &cell).checkpoint_every(0).record(&x).err(), error);
}

#[test]
fn a_tape_refuses_gradients_of_other_shapes() {
    let cell = Lstm::<f64>::builder(3, 4).num_proj(2).build(&mut rng(1)).unwrap();
    let x = random((2, 5, 3), 2);
    let state = |c, h| Some(LstmState { c: Array2::zeros(c), h: Array2::zeros(h) });
    let back = |every: Option<usize>, d_outputs: (usize, usize, usize), d_state| {
        let driver = DynamicRnn::new(&cell).sequence_length(&[5, 2]);
        let (_, _, tape) = match every {
            None => driver.record(&x).unwrap(),
            Some(every) => driver.checkpoint_every(every).record(&x).unwrap(),
        };
        let tape = match d_state {
            Some(d_state) => tape.d_final_state(d_state),
            None => tape,
        };
        tape.backward(&Array3::zeros(d_outputs)).map(|_| ())
    };
    for every in [None, Some(2)] {
        assert_eq!(back(every, (2, 5, 2), None), Ok(()));
        assert_eq!(back(every, (2, 5, 2), state((2, 4), (2, 2))), Ok(()));
        for wrong in [(1, 5, 2), (3, 5, 2), (2, 4, 2), (2, 6, 2), (2, 5, 1), (2, 5, 4), (5, 2, 2), (0, 0, 0)] {
            let (expected, found) = (vec![2, 5, 2], <[usize; 3]>::from(wrong).to_vec());
            let error = Error::ArrayShape { argument: "d_outputs".into(), expected, found };
            assert_eq!(back(every, wrong, None), Err(error));
        }
        for (c, h, leaf, expected, found) in [
            ((1, 4), (2, 2), 0, (2, 4), (1, 4)),
            ((3, 4), (3, 2), 0, (2, 4), (3, 4)),
            ((2, 2), (2, 2), 0, (2, 4), (2, 2)),
            ((2, 4), (2, 4), 1, (2, 2), (2, 4)),
            ((2, 4), (1, 2), 1, (2, 2), (1, 2)),
        ] {
            let error = Error::StateShape { argument: "d_final_state".into(), leaf, expected, found };
            assert_eq!(back(every, (2, 5, 2), state(c, h)), Err(error));
        }
    }
    // A state with another number of leaves, which only types known at run time can have.
    let cell = BoxedTrainableCell::new(cell);
    let (_, _, tape) = train::dynamic_rnn(&cell, &x, None, None).unwrap();
    let error = tape.d_final_state(DynState::new(Array2::zeros((2, 4)))).backward(&Array3::zeros((2, 5, 2))).err();
    assert_eq!(error, Some(Error::StateLeaves { argument: "d_final_state".into(), expected: 2, found: 1 }));
}

#[test]
fn both_directions_refuse_what_does_not_fit() {
    let (three, four) = (BasicRnn::<f64>::new(3, 2, &mut rng(1)), BasicRnn::<f64>::new(4, 2, &mut rng(1)));
    let x = Array3::zeros((2, 5, 3));
    let error = train::bidirectional_dynamic_rnn(&three, &four, &x, None, None, None).err();
    assert_eq!(error, Some(Error::CellInputSize { cell: "cell_bw".into(), expected: 3, found: 4 }));
    let wrong = Array2::zeros((1, 2));
    let error = train::bidirectional_dynamic_rnn(&three, &three, &x, None, None, Some(wrong.clone())).err().unwrap();
    let message = "leaf 0 of initial_state_bw is (1, 2), but must be (2, 2) (batch, features)";
    assert_eq!(error.to_string(), message);
    let d = Array3::zeros((2, 5, 2));
    let outputs = |name: &str| format!("{name} has shape [2, 5, 3], but must have [2, 5, 2]");
    let state = |name: &str| message.replace("initial_state_bw", name);
    let tape = || train::bidirectional_dynamic_rnn(&three, &three, &x, None, None, None).unwrap().2;
    for (result, message) in [
        (tape().backward(&x, &d), outputs("d_outputs_fw")),
        (tape().backward(&d, &x), outputs("d_outputs_bw")),
        (tape().d_final_state_fw(wrong.clone()).backward(&d, &d), state("d_final_state_fw")),
        (tape().d_final_state_bw(wrong.clone()).backward(&d, &d), state("d_final_state_bw")),
    ] {
        assert_eq!(result.err().unwrap().to_string(), message);
    }
}
