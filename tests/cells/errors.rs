//! Each kind of user mistake has its own `Error`. It names the argument, what was expected and what was found.

use crate::common::{Check, Rng, driver, each_cell, rng};
use ndarray::{Array1, Array2, Array3, ArrayRef2};
use rnn_cell::cells::{BasicRnnWeights, GruWeights, LstmWeights, Peepholes};
use rnn_cell::{BasicRnn, Error, Float, Gru, GruReset, Lstm, LstmState, Parameters, RnnCell};
use rnn_cell::{DynamicRnn, dynamic_rnn, one_hot};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Asserts that a result is an error of this variant with this message.
macro_rules! assert_error {
    ($result:expr, $variant:pat, $message:expr) => {
        match $result {
            Err(error) => {
                assert!(matches!(error, $variant), "{error:?} is not {}", stringify!($variant));
                assert_eq!(error.to_string(), $message);
            }
            Ok(_) => panic!("no error, but expected: {}", $message),
        }
    };
}

fn lstm() -> Lstm<f32> {
    Lstm::new(4, 2, &mut rng(1))
}

#[test]
fn inputs_of_another_width() {
    let x = Array3::zeros((3, 5, 6));
    let message = "inputs have 6 features, but the cell's input_size is 4 (inputs are (3, 5, 6))";
    assert_error!(dynamic_rnn(&lstm(), &x, None, None), Error::InputSize { .. }, message);
    assert_error!(DynamicRnn::new(&lstm()).time_major(true).run(&x), Error::InputSize { .. }, message);
    // Even where there is nothing to compute.
    let message = "inputs have 6 features, but the cell's input_size is 4 (inputs are (0, 0, 6))";
    assert_error!(dynamic_rnn(&lstm(), &Array3::zeros((0, 0, 6)), None, None), Error::InputSize { .. }, message);
}

#[test]
fn sequence_length_of_another_batch() {
    let x = Array3::zeros((3, 5, 4));
    let message = "sequence_length has 2 entries, but inputs have a batch of 3 (inputs are (3, 5, 4))";
    assert_error!(dynamic_rnn(&lstm(), &x, Some(&[5, 3]), None), Error::SequenceLengthBatch { .. }, message);
    let message = "sequence_length has 3 entries, but inputs have a batch of 5 (inputs are (3, 5, 4))";
    let twin = DynamicRnn::new(&lstm()).sequence_length(&[3, 3, 3]).time_major(true).run(&x);
    assert_error!(twin, Error::SequenceLengthBatch { .. }, message);
    let message = "sequence_length has 0 entries, but inputs have a batch of 3 (inputs are (3, 5, 4))";
    assert_error!(dynamic_rnn(&lstm(), &x, Some(&[]), None), Error::SequenceLengthBatch { .. }, message);
}

#[test]
fn a_length_over_seq() {
    let x = Array3::zeros((3, 5, 4));
    let message = "sequence_length[1] is 9, but inputs have only 5 steps (inputs are (3, 5, 4))";
    let result = dynamic_rnn(&lstm(), &x, Some(&[5, 9, 6]), None);
    assert_error!(result, Error::SequenceLengthTooLong { row: 1, length: 9, seq: 5, .. }, message);
    let message = "sequence_length[4] is 4, but inputs have only 3 steps (inputs are (3, 5, 4))";
    let twin = DynamicRnn::new(&lstm()).sequence_length(&[3, 3, 0, 1, 4]).time_major(true).run(&x);
    assert_error!(twin, Error::SequenceLengthTooLong { .. }, message);
    let message = "sequence_length[0] is 1, but inputs have only 0 steps (inputs are (1, 0, 4))";
    let empty = dynamic_rnn(&lstm(), &Array3::zeros((1, 0, 4)), Some(&[1]), None);
    assert_error!(empty, Error::SequenceLengthTooLong { .. }, message);
}

#[test]
fn an_initial_state_of_another_shape() {
    let x = Array3::zeros((3, 5, 4));
    let state = |c, h| Some(LstmState { c: Array2::zeros(c), h: Array2::zeros(h) });
    let run = |state| dynamic_rnn(&lstm(), &x, None, state);
    let message = "leaf 0 of initial_state is (1, 2), but must be (3, 2) (batch, features)";
    assert_error!(run(state((1, 2), (1, 2))), Error::StateShape { leaf: 0, .. }, message);
    let message = "leaf 1 of initial_state is (3, 7), but must be (3, 2) (batch, features)";
    assert_error!(run(state((3, 2), (3, 7))), Error::StateShape { leaf: 1, .. }, message);
    let message = "leaf 1 of initial_state is (3, 1), but must be (3, 2) (batch, features)";
    assert_error!(run(state((3, 2), (3, 1))), Error::StateShape { leaf: 1, .. }, message);
    let twin = driver(&lstm(), None, state((3, 2), (3, 2))).time_major(true).run(&x);
    let message = "leaf 0 of initial_state is (3, 2), but must be (5, 2) (batch, features)";
    assert_error!(twin, Error::StateShape { .. }, message);
}

#[test]
fn an_initial_state_of_another_number_of_leaves() {
    /// Keeps its input in any number of leaves.
    struct Leaves(usize);
    impl RnnCell for Leaves {
        type Elem = f64;
        type State = Vec<Array2<f64>>;
        type Workspace = ();
        fn input_size(&self) -> usize {
            1
        }
        fn output_size(&self) -> usize {
            1
        }
        fn zero_state(&self, batch: usize) -> Self::State {
            vec![Array2::zeros((batch, 1)); self.0]
        }
        fn step(&self, input: &ArrayRef2<f64>, _: &mut Self::State, output: &mut ArrayRef2<f64>, _: &mut ()) {
            output.assign(input);
        }
    }
    let initial = Some(Leaves(3).zero_state(2));
    let result = dynamic_rnn(&Leaves(2), &Array3::zeros((2, 1, 1)), None, initial);
    let message = "initial_state has 3 leaves, but the cell's state has 2";
    assert_error!(result, Error::StateLeaves { expected: 2, found: 3, .. }, message);
}

#[test]
fn sizes_of_zero() {
    let (input, hidden) = ("input_size is 0, but must be at least 1", "hidden_size is 0, but must be at least 1");
    let rng = &mut rng(1);
    assert_error!(BasicRnn::<f32>::builder(0, 2).build(rng), Error::ZeroSize { .. }, input);
    assert_error!(BasicRnn::<f32>::builder(4, 0).build(rng), Error::ZeroSize { .. }, hidden);
    assert_error!(Lstm::<f32>::builder(0, 2).build(rng), Error::ZeroSize { .. }, input);
    assert_error!(Lstm::<f32>::builder(4, 0).build(rng), Error::ZeroSize { .. }, hidden);
    assert_error!(Gru::<f32>::builder(0, 2).build(rng), Error::ZeroSize { .. }, input);
    assert_error!(Gru::<f32>::builder(4, 0).build(rng), Error::ZeroSize { .. }, hidden);
    let num_proj = "num_proj is 0, but must be at least 1";
    assert_error!(Lstm::<f32>::builder(4, 2).num_proj(0).build(rng), Error::ZeroSize { .. }, num_proj);
    let empty = || (Array2::<f32>::zeros((0, 0)), Array1::zeros(0));
    let (kernel, bias) = empty();
    assert_error!(BasicRnn::from_weights(kernel, bias), Error::ZeroSize { .. }, input);
    let (kernel, bias) = empty();
    assert_error!(Lstm::from_weights(kernel, bias), Error::ZeroSize { .. }, input);
}

#[test]
#[should_panic(expected = "hidden_size is 0, but must be at least 1")]
fn basic_rnn_new_panics() {
    let _ = BasicRnn::<f32>::new(4, 0, &mut rng(1));
}

#[test]
#[should_panic(expected = "input_size is 0, but must be at least 1")]
fn lstm_new_panics() {
    let _ = Lstm::<f64>::new(0, 2, &mut rng(1));
}

#[test]
#[should_panic(expected = "hidden_size is 0, but must be at least 1")]
fn gru_new_panics() {
    let _ = Gru::<f64>::new(1, 0, &mut rng(1));
}

#[test]
fn numbers_out_of_range() {
    let rng = &mut rng(1);
    for (bad, shown) in [(f64::NAN, "NaN"), (f64::INFINITY, "inf"), (f64::NEG_INFINITY, "-inf")] {
        let message = format!("forget_bias is {shown}, but must be finite");
        let built = Lstm::builder(4, 2).forget_bias(bad).build(rng);
        assert_error!(built, Error::InvalidNumber { argument: "forget_bias", .. }, message);
    }
    for (bad, shown) in [(f64::NAN, "NaN"), (f64::INFINITY, "inf"), (0.0, "0"), (-0.0, "-0"), (-0.5, "-0.5")] {
        let message = format!("cell_clip is {shown}, but must be finite and above 0");
        let built = Lstm::builder(4, 2).cell_clip(bad).build(rng);
        assert_error!(built, Error::InvalidNumber { argument: "cell_clip", .. }, message);
        let message = format!("proj_clip is {shown}, but must be finite and above 0");
        let built = Lstm::builder(4, 2).num_proj(3).proj_clip(bad).build(rng);
        assert_error!(built, Error::InvalidNumber { argument: "proj_clip", .. }, message);
    }
}

#[test]
fn basic_rnn_weights_that_do_not_fit() {
    let build = |use_bias, kernel, bias: Option<usize>| {
        let weights = BasicRnnWeights { kernel: Array2::<f32>::zeros(kernel), bias: bias.map(Array1::zeros) };
        BasicRnn::<f32>::builder(4, 2).use_bias(use_bias).build_from(weights)
    };
    let message = "kernel has shape [2, 6], but must have [6, 2]";
    assert_error!(build(true, (2, 6), Some(2)), Error::ArrayShape { .. }, message);
    let message = "bias has shape [6], but must have [2]";
    assert_error!(build(true, (6, 2), Some(6)), Error::ArrayShape { .. }, message);
    let message = "weight \"bias\" is missing: the cell's options ask for it";
    assert_error!(build(true, (6, 2), None), Error::MissingWeight { .. }, message);
    let message = "weight \"bias\" is unexpected: the cell's options have no use for it";
    assert_error!(build(false, (6, 2), Some(2)), Error::UnexpectedWeight { .. }, message);
    let message = "bias has shape [3], but must have [2]";
    let built = BasicRnn::<f32>::from_weights(Array2::zeros((6, 2)), Array1::zeros(3));
    assert_error!(built, Error::ArrayShape { .. }, message);
}

#[test]
fn lstm_weights_that_do_not_fit() {
    type Change = fn(&mut LstmWeights<f64>);
    let build = |change: Change| {
        let builder = Lstm::builder(4, 2).use_peepholes(true).num_proj(3);
        let mut weights = builder.clone().build(&mut rng(1)).unwrap().weights().clone();
        change(&mut weights);
        builder.build_from(weights)
    };
    assert!(build(|_| ()).is_ok());
    let shapes: [(Change, &str); 6] = [
        (|w| w.kernel = Array2::zeros((6, 8)), "kernel has shape [6, 8], but must have [7, 8]"),
        (|w| w.bias = Some(Array1::zeros(2)), "bias has shape [2], but must have [8]"),
        (|w| peephole(w).w_f_diag = Array1::zeros(3), "w_f_diag has shape [3], but must have [2]"),
        (|w| peephole(w).w_i_diag = Array1::zeros(0), "w_i_diag has shape [0], but must have [2]"),
        (|w| peephole(w).w_o_diag = Array1::zeros(8), "w_o_diag has shape [8], but must have [2]"),
        (|w| w.projection = Some(Array2::zeros((3, 2))), "projection/kernel has shape [3, 2], but must have [2, 3]"),
    ];
    for (change, message) in shapes {
        assert_error!(build(change), Error::ArrayShape { .. }, message);
    }
    let missing: [(Change, &str); 3] = [
        (|w| w.bias = None, "bias"),
        (|w| w.peepholes = None, "w_f_diag"),
        (|w| w.projection = None, "projection/kernel"),
    ];
    for (change, name) in missing {
        let message = format!("weight {name:?} is missing: the cell's options ask for it");
        assert_error!(build(change), Error::MissingWeight { .. }, message);
    }
    let weights = build(|_| ()).unwrap().weights().clone();
    let plain = LstmWeights { kernel: Array2::zeros((6, 8)), bias: None, peepholes: None, projection: None };
    let unexpected = [
        ("bias", LstmWeights { bias: weights.bias, ..plain.clone() }),
        ("w_f_diag", LstmWeights { peepholes: weights.peepholes, ..plain.clone() }),
        ("projection/kernel", LstmWeights { projection: weights.projection, ..plain }),
    ];
    for (name, weights) in unexpected {
        let message = format!("weight {name:?} is unexpected: the cell's options have no use for it");
        let built = Lstm::builder(4, 2).use_bias(false).build_from(weights);
        assert_error!(built, Error::UnexpectedWeight { .. }, message);
    }
    let message = "kernel has shape [6, 9], but must have [6, 8]";
    let built = Lstm::<f32>::from_weights(Array2::zeros((6, 9)), Array1::zeros(9));
    assert_error!(built, Error::ArrayShape { .. }, message);
}

fn peephole(weights: &mut LstmWeights<f64>) -> &mut Peepholes<f64> {
    weights.peepholes.as_mut().expect("the cell has peepholes")
}

#[test]
fn gru_weights_that_do_not_fit() {
    type Change = fn(&mut GruWeights<f64>);
    let build = |change: Change| {
        let builder = Gru::<f64>::builder(4, 2).reset(GruReset::After);
        let mut weights = builder.clone().build(&mut rng(1)).unwrap().weights().clone();
        change(&mut weights);
        builder.build_from(weights)
    };
    assert!(build(|_| ()).is_ok());
    let shapes: [(Change, &str); 5] = [
        (|w| w.gates_kernel = Array2::zeros((6, 2)), "gates/kernel has shape [6, 2], but must have [6, 4]"),
        (|w| w.gates_bias = Some(Array1::zeros(2)), "gates/bias has shape [2], but must have [4]"),
        (|w| w.candidate_kernel = Array2::zeros((6, 4)), "candidate/kernel has shape [6, 4], but must have [6, 2]"),
        (|w| w.candidate_bias = Some(Array1::zeros(4)), "candidate/bias has shape [4], but must have [2]"),
        (
            |w| w.candidate_recurrent_bias = Some(Array1::zeros(1)),
            "candidate/recurrent_bias has shape [1], but must have [2]",
        ),
    ];
    for (change, message) in shapes {
        assert_error!(build(change), Error::ArrayShape { .. }, message);
    }
    let missing: [(Change, &str); 3] = [
        (|w| w.gates_bias = None, "gates/bias"),
        (|w| w.candidate_bias = None, "candidate/bias"),
        (|w| w.candidate_recurrent_bias = None, "candidate/recurrent_bias"),
    ];
    for (change, name) in missing {
        let message = format!("weight {name:?} is missing: the cell's options ask for it");
        assert_error!(build(change), Error::MissingWeight { .. }, message);
    }
    let message = "weight \"candidate/recurrent_bias\" is unexpected: the cell's options have no use for it";
    let weights = build(|_| ()).unwrap().weights().clone();
    assert_error!(Gru::<f64>::builder(4, 2).build_from(weights.clone()), Error::UnexpectedWeight { .. }, message);
    let message = "weight \"gates/bias\" is unexpected: the cell's options have no use for it";
    let built = Gru::<f64>::builder(4, 2).reset(GruReset::After).use_bias(false).build_from(weights);
    assert_error!(built, Error::UnexpectedWeight { .. }, message);
}

#[test]
fn letters_and_words() {
    let message = "letter 'x' of word \"hexlo\" is not in the alphabet \"helo\"";
    assert_error!(one_hot::<f32>(&["hello", "hexlo"], "helo"), Error::UnknownLetter { .. }, message);
    let message = "words[2] has 4 letters, but words[0] has 5";
    assert_error!(one_hot::<f32>(&["hello", "eolll", "llee"], "helo"), Error::WordLength { .. }, message);
    let message = "letter 'l' appears twice in the alphabet \"hello\"";
    assert_error!(one_hot::<f32>(&["hello"], "hello"), Error::RepeatedLetter { .. }, message);
    // The length of a word is reported before its letters.
    assert_error!(
        one_hot::<f32>(&["h", "xx"], "h"),
        Error::WordLength { .. },
        "words[1] has 2 letters, but words[0] has 1"
    );
    assert_eq!(one_hot::<f32>(&[], "helo").unwrap().dim(), (0, 0, 4));
    assert_eq!(one_hot::<f64>(&["é", "ß"], "éß").unwrap().dim(), (2, 1, 2));
}

/// `step` and `unroll` document panics: they must never compute with shapes that disagree.
struct Panics;

impl<E: Float> Check<E> for Panics {
    fn check<C: RnnCell<Elem = E> + Parameters<E>>(&mut self, name: &str, make: impl Fn(usize, usize, &mut Rng) -> C) {
        let cell = make(3, 2, &mut rng(1));
        let (input, output) = (cell.input_size(), cell.output_size());
        let other = make(4, 5, &mut rng(1));

        let step = |inputs: (usize, usize), mut state: C::State, outputs: (usize, usize)| {
            let (inputs, mut outputs) = (Array2::zeros(inputs), Array2::zeros(outputs));
            let run = || cell.step(&inputs, &mut state, &mut outputs, &mut C::Workspace::default());
            catch_unwind(AssertUnwindSafe(run)).is_err()
        };
        assert!(!step((4, input), cell.zero_state(4), (4, output)), "{name}: shapes that agree");
        assert!(step((4, input + 1), cell.zero_state(4), (4, output)), "{name}: a wider input");
        assert!(step((4, input - 1), cell.zero_state(4), (4, output)), "{name}: a narrower input");
        assert!(step((4, input), cell.zero_state(4), (4, output + 1)), "{name}: a wider output");
        assert!(step((4, input), cell.zero_state(4), (4, output - 1)), "{name}: a narrower output");
        assert!(step((5, input), cell.zero_state(4), (5, output)), "{name}: a state of fewer rows");
        assert!(step((3, input), cell.zero_state(4), (3, output)), "{name}: a state of more rows");
        assert!(step((4, input), cell.zero_state(4), (3, output)), "{name}: outputs of fewer rows");
        assert!(step((3, input), cell.zero_state(3), (4, output)), "{name}: outputs of more rows");
        assert!(step((4, input), other.zero_state(4), (4, output)), "{name}: a state of other widths");
        for steps in [2, 4] {
            let (inputs, mut outputs) = (Array3::zeros((3, 4, input)), Array3::zeros((steps, 4, output)));
            let mut state = cell.zero_state(4);
            let run = || cell.unroll(&inputs, &mut state, &mut outputs, &mut C::Workspace::default());
            assert!(catch_unwind(AssertUnwindSafe(run)).is_err(), "{name}: outputs of {steps} steps for 3");
        }
    }
}

#[test]
fn step_and_unroll_panic_on_shapes_that_disagree() {
    // Silent, because the panics are expected.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let result = catch_unwind(|| {
        each_cell::<f32>(&mut Panics);
        each_cell::<f64>(&mut Panics);
    });
    std::panic::set_hook(hook);
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}
