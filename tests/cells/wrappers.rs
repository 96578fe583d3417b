//! Wrappers: stacks, residuals, dropout, highways, erased cells, and how they nest.

use crate::common::Echo;
use ndarray::{Array1, Array2, Array3, Axis, s};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rnn_cell::{
    BasicRnn, BoxedCell, DropoutState, DropoutWrapper, DynState, Error, Gru, HighwayWrapper, LayerNormLstm, Lstm,
    LstmState, MultiRnnCell, Parameters, ParametersMut, ResidualWrapper, RnnCell, State, dynamic_rnn,
};

fn rng(seed: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(seed)
}

fn random(shape: (usize, usize, usize), seed: u64) -> Array3<f64> {
    let mut rng = rng(seed);
    Array3::from_shape_simple_fn(shape, || rng.random_range(-1.0..1.0))
}

fn names<P: Parameters<f64>>(cell: &P) -> Vec<String> {
    let mut names = Vec::new();
    cell.visit_parameters(&mut |name, _| names.push(name.to_owned()));
    names
}

#[test]
fn a_stack_is_its_layers_one_after_the_other() {
    let (lstm, gru) = (Lstm::<f64>::new(3, 4, &mut rng(1)), Gru::new(4, 2, &mut rng(2)));
    let x = random((4, 6, 3), 1);
    let lengths = Some(&[6, 2, 0, 5][..]);
    let (below, c_h) = dynamic_rnn(&lstm, &x, lengths, None).unwrap();
    let (above, h) = dynamic_rnn(&gru, &below, lengths, None).unwrap();
    let stack = MultiRnnCell::new((&lstm, &gru)).unwrap();
    assert_eq!(dynamic_rnn(&stack, &x, lengths, None).unwrap(), (above.clone(), (c_h.clone(), h.clone())));
    assert_eq!((stack.input_size(), stack.output_size()), (3, 2));

    let boxed = MultiRnnCell::new(vec![BoxedCell::new(lstm), BoxedCell::new(gru)]).unwrap();
    let (outputs, states) = dynamic_rnn(&boxed, &x, lengths, None).unwrap();
    assert_eq!(outputs, above);
    assert_eq!(states[0].downcast_ref(), Some(&c_h));
    assert_eq!(states[1].downcast_ref(), Some(&h));
    assert!(states[1].downcast_ref::<LstmState<f64>>().is_none());
}

#[test]
fn nonsense_is_an_error_at_construction() {
    let rng = &mut rng(1);
    assert_eq!(MultiRnnCell::new(Vec::<Gru<f64>>::new()).unwrap_err(), Error::ZeroSize { argument: "cells.len()" });
    let error = MultiRnnCell::new((Gru::<f64>::new(3, 4, rng), Gru::new(4, 5, rng), Gru::new(4, 2, rng))).unwrap_err();
    assert_eq!(error, Error::CellInputSize { cell: "cells[2]".into(), expected: 5, found: 4 });
    assert_eq!(error.to_string(), "cells[2] has an input_size of 4, but is given 5 features");
    let error = ResidualWrapper::new(Gru::<f64>::new(3, 4, rng)).unwrap_err();
    assert_eq!(error, Error::UnequalSizes { wrapper: "ResidualWrapper", input_size: 3, output_size: 4 });
    let message = "ResidualWrapper needs equal sizes, but the cell's input_size is 3 and its output_size is 4";
    assert_eq!(error.to_string(), message);
    let error = HighwayWrapper::builder(Gru::<f64>::new(3, 4, rng)).build(rng).unwrap_err();
    assert_eq!(error, Error::UnequalSizes { wrapper: "HighwayWrapper", input_size: 3, output_size: 4 });
    let highway = HighwayWrapper::builder(Echo(3)).build(rng).unwrap();
    let error = HighwayWrapper::builder(ResidualWrapper::new(highway).unwrap()).build(rng).unwrap_err();
    assert_eq!(error, Error::RepeatedParameter { name: "carry_w".into() });
    let error = HighwayWrapper::builder(Echo(3)).carry_bias_init(f64::NAN).build(rng).unwrap_err();
    assert!(matches!(error, Error::InvalidNumber { argument: "carry_bias_init", .. }));

    for bad in [0.0, -0.5, 1.0 + 1e-9, f64::NAN, f64::INFINITY] {
        let argument = |result: Result<DropoutWrapper<Echo>, Error>| match result.unwrap_err() {
            Error::InvalidNumber { argument, found, .. } => {
                assert_eq!(found.to_bits(), bad.to_bits());
                argument
            }
            other => panic!("{other}"),
        };
        let builder = || DropoutWrapper::builder(Echo(3));
        assert_eq!(argument(builder().input_keep_prob(bad).build()), "input_keep_prob");
        assert_eq!(argument(builder().output_keep_prob(bad).build()), "output_keep_prob");
        assert_eq!(argument(builder().state_keep_prob(bad).build()), "state_keep_prob");
        let error = LayerNormLstm::<f64>::builder(3, 4).dropout_keep_prob(bad).build(rng).unwrap_err();
        assert!(matches!(error, Error::InvalidNumber { argument: "dropout_keep_prob", .. }));
    }
    let error = LayerNormLstm::<f64>::builder(0, 4).build(rng).unwrap_err();
    assert_eq!(error, Error::ZeroSize { argument: "input_size" });
    let error = LayerNormLstm::<f64>::builder(3, 4).norm_gain(f64::NAN).build(rng).unwrap_err();
    assert!(matches!(error, Error::InvalidNumber { argument: "norm_gain", .. }));
}

#[test]
fn a_residual_is_added_to_the_output_alone() {
    let cell = Lstm::<f64>::new(3, 3, &mut rng(1));
    let x = random((2, 5, 3), 1);
    let (plain, plain_state) = dynamic_rnn(&cell, &x, Some(&[5, 3]), None).unwrap();
    let (sum, state) = dynamic_rnn(&ResidualWrapper::new(&cell).unwrap(), &x, Some(&[5, 3]), None).unwrap();
    assert_eq!(state, plain_state);
    let mut expected = &plain + &x;
    expected.slice_mut(s![1, 3.., ..]).fill(0.0);
    assert_eq!(sum, expected);

    let twice = ResidualWrapper::with_residual_fn(&cell, |x, y| y.zip_mut_with(x, |y, &x| *y = 2.0 * x - *y));
    let (outputs, state) = dynamic_rnn(&twice, &x, None, None).unwrap();
    let (plain, plain_state) = dynamic_rnn(&cell, &x, None, None).unwrap();
    assert_eq!((outputs, state), (&x * 2.0 - &plain, plain_state));
}

#[test]
fn a_highway_is_its_equations() {
    let x = random((3, 4, 5), 1);
    for coupled in [true, false] {
        let gru = Gru::<f64>::new(5, 5, &mut rng(1));
        let (y, _) = dynamic_rnn(&gru, &x, None, None).unwrap();
        let builder = HighwayWrapper::builder(gru).couple_carry_transform_gates(coupled).carry_bias_init(0.5);
        let cell = builder.build(&mut rng(2)).unwrap();
        let weights = cell.weights();
        assert_eq!((weights.carry_b[0], weights.transform_b.as_ref().map(|b| b[0])), (0.5, (!coupled).then_some(-0.5)));
        let (outputs, _) = dynamic_rnn(&cell, &x, None, None).unwrap();
        let sigmoid =
            |w: &Array2<f64>, b: &Array1<f64>, x: &Array1<f64>| (x.dot(w) + b).mapv(|z| 1.0 / (1.0 + (-z).exp()));
        for ((row, t), _) in Array2::<f64>::zeros((3, 4)).indexed_iter() {
            let x = x.slice(s![row, t, ..]).to_owned();
            let carry = sigmoid(&weights.carry_w, &weights.carry_b, &x);
            let transform = match (&weights.transform_w, &weights.transform_b) {
                (Some(w), Some(b)) => sigmoid(w, b, &x),
                _ => 1.0 - &carry,
            };
            let expected = &x * &carry + &y.slice(s![row, t, ..]) * &transform;
            let got = outputs.slice(s![row, t, ..]);
            assert!((&got - &expected).iter().all(|d| d.abs() < 1e-12), "{got} {expected}");
        }
    }
}

#[test]
fn dropout_keeps_its_fraction_and_its_mean() {
    let (batch, seq, size) = (20, 50, 100);
    let x = Array3::from_elem((batch, seq, size), 3.0);
    let cell = DropoutWrapper::builder(Echo(size)).output_keep_prob(0.7).build().unwrap();
    let (y, _) = dynamic_rnn(&cell, &x, None, Some(cell.training_state(batch, 1))).unwrap();
    assert!(y.iter().all(|&y| y == 0.0 || y == 3.0 / 0.7));
    // 100000 draws: the fraction has a standard deviation of 0.0015. Five of them are allowed.
    let kept = |y: ndarray::ArrayViewD<f64>| y.iter().filter(|&&y| y != 0.0).count() as f64 / y.len() as f64;
    assert!((kept(y.view().into_dyn()) - 0.7).abs() < 0.0073);
    assert!((y.mean().unwrap() - 3.0).abs() < 0.032);
    for axis in 0..3 {
        for part in y.axis_iter(Axis(axis)) {
            let deviations = (kept(part.into_dyn()) - 0.7) / (0.21 / part.len() as f64).sqrt();
            assert!(deviations.abs() < 5.0, "axis {axis}: {deviations}");
        }
    }
    // No two rows, steps or neighbouring seeds share masks: two masks agree in 0.7² + 0.3² = 58 % of the places.
    let agree = |a: ndarray::ArrayView1<f64>, b: ndarray::ArrayView1<f64>| {
        a.iter().zip(b).filter(|(a, b)| a == b).count() as f64 / a.len() as f64
    };
    let (other, _) = dynamic_rnn(&cell, &x, None, Some(cell.training_state(batch, 2))).unwrap();
    for (a, b) in [
        (y.slice(s![0, .., ..]), y.slice(s![1, .., ..])),
        (y.slice(s![.., 0, ..]), y.slice(s![.., 1, ..])),
        (y.slice(s![0, .., ..]), other.slice(s![0, .., ..])),
        (y.slice(s![1, .., ..]), other.slice(s![0, .., ..])),
    ] {
        let (a, b) = (Array1::from_iter(a.iter().copied()), Array1::from_iter(b.iter().copied()));
        let share = agree(a.view(), b.view());
        assert!((share - 0.58).abs() < 5.0 * (0.2436 / a.len() as f64).sqrt(), "{share}");
    }
}

#[test]
fn a_seed_replays_its_masks_and_without_one_nothing_is_dropped() {
    let inner = Lstm::<f64>::new(4, 6, &mut rng(1));
    let cell = DropoutWrapper::builder(&inner).input_keep_prob(0.5).output_keep_prob(0.5).state_keep_prob(0.5);
    let cell = cell.build().unwrap();
    let x = random((3, 8, 4), 1);
    let run = |seed| dynamic_rnn(&cell, &x, None, Some(cell.training_state(3, seed))).unwrap();
    assert_eq!(run(7), run(7));
    assert_ne!(run(7).0, run(8).0);
    let plain = dynamic_rnn(&inner, &x, None, None).unwrap();
    let (outputs, state) = dynamic_rnn(&cell, &x, None, None).unwrap();
    assert!(!state.is_on());
    assert_eq!((outputs, state.into_inner()), plain);
    // Turned on and off again.
    let mut state = cell.training_state(3, 7);
    state.seed_dropout(None);
    assert_eq!(dynamic_rnn(&cell, &x, None, Some(state)).unwrap().0, plain.0);
    // Keeping everything is the identity in training too.
    let all = DropoutWrapper::builder(&inner).build().unwrap();
    let (outputs, state) = dynamic_rnn(&all, &x, None, Some(all.training_state(3, 7))).unwrap();
    assert_eq!((outputs, state.into_inner()), plain);
}

#[test]
fn each_keep_probability_touches_its_own_place() {
    let x = Array3::from_elem((2, 4, 50), 1.0);
    let run = |cell: DropoutWrapper<Echo>| {
        let (y, state) = dynamic_rnn(&cell, &x, None, Some(cell.training_state(2, 3))).unwrap();
        (y.iter().any(|&y| y == 0.0), state.inner().iter().any(|&h| h == 0.0), y.slice(s![.., 3, ..]) == state.inner())
    };
    let builder = || DropoutWrapper::builder(Echo(50));
    assert_eq!(run(builder().input_keep_prob(0.5).build().unwrap()), (true, true, true));
    assert_eq!(run(builder().output_keep_prob(0.5).build().unwrap()), (true, false, false));
    assert_eq!(run(builder().state_keep_prob(0.5).build().unwrap()), (false, true, false));
    let both = builder().output_keep_prob(0.5).state_keep_prob(0.5);
    assert_eq!(run(both.build().unwrap()), (true, true, false), "output and state have masks of their own");
}

#[test]
fn variational_masks_stay_and_others_change() {
    let x = Array3::from_elem((3, 5, 40), 1.0);
    for variational in [true, false] {
        let cell = DropoutWrapper::builder(Echo(40)).input_keep_prob(0.5).variational_recurrent(variational);
        let cell = cell.build().unwrap();
        let (y, _) = dynamic_rnn(&cell, &x, None, Some(cell.training_state(3, 1))).unwrap();
        for t in 1..5 {
            assert_eq!(y.slice(s![.., t, ..]) == y.slice(s![.., 0, ..]), variational);
        }
        assert_ne!(y.slice(s![0, .., ..]), y.slice(s![1, .., ..]));
    }
}

#[test]
fn state_dropout_never_touches_c() {
    let inner = Lstm::<f64>::new(2, 30, &mut rng(1));
    let x = random((2, 1, 2), 1);
    let (_, plain) = dynamic_rnn(&inner, &x, None, None).unwrap();
    let check = |state: &LstmState<f64>| {
        assert_eq!(state.c, plain.c);
        let kept = state.h.iter().zip(&plain.h).filter(|&(&h, &p)| h == p / 0.5).count();
        let dropped = state.h.iter().filter(|&&h| h == 0.0).count();
        assert!(kept > 0 && dropped > 0 && kept + dropped == 60, "{kept} {dropped}");
    };
    let cell = DropoutWrapper::builder(&inner).state_keep_prob(0.5).build().unwrap();
    let (_, state) = dynamic_rnn(&cell, &x, None, Some(cell.training_state(2, 1))).unwrap();
    check(state.inner());
    // Nor through a stack, a box and a second wrapper.
    let stack =
        MultiRnnCell::new(vec![BoxedCell::new(DropoutWrapper::builder(inner.clone()).build().unwrap())]).unwrap();
    let cell = DropoutWrapper::builder(stack).state_keep_prob(0.5).build().unwrap();
    let (_, state) = dynamic_rnn(&cell, &x, None, Some(cell.training_state(2, 1))).unwrap();
    check(state.inner()[0].downcast_ref::<DropoutState<LstmState<f64>>>().unwrap().inner());
}

#[test]
fn layers_have_masks_of_their_own() {
    let x = Array3::from_elem((1, 3, 64), 1.0);
    let dropout = || DropoutWrapper::builder(Echo(64)).output_keep_prob(0.5).build().unwrap();
    let kept = |y: &Array3<f64>| y.iter().filter(|&&y| y != 0.0).count();
    // Three layers with the same mask would keep half of the values, with different masks an eighth.
    let stack = MultiRnnCell::new(vec![dropout(), dropout(), dropout()]).unwrap();
    let (y, _) = dynamic_rnn(&stack, &x, None, Some(stack.training_state(1, 1))).unwrap();
    assert!((5..50).contains(&kept(&y)), "{}", kept(&y));
    let tuple = MultiRnnCell::new((dropout(), dropout(), dropout())).unwrap();
    assert_eq!(dynamic_rnn(&tuple, &x, None, Some(tuple.training_state(1, 1))).unwrap().0, y);
    let boxed = MultiRnnCell::new([0; 3].map(|_| BoxedCell::new(dropout())).into_iter().collect::<Vec<_>>()).unwrap();
    assert_eq!(dynamic_rnn(&boxed, &x, None, Some(boxed.training_state(1, 1))).unwrap().0, y);
    let nested = DropoutWrapper::builder(dropout()).output_keep_prob(0.5).build().unwrap();
    let (y, _) = dynamic_rnn(&nested, &x, None, Some(nested.training_state(1, 1))).unwrap();
    assert!((25..75).contains(&kept(&y)), "{}", kept(&y));
}

#[test]
fn rows_keep_their_masks_when_copied_and_selected() {
    let cell = DropoutWrapper::builder(Echo(32)).output_keep_prob(0.5).build().unwrap();
    let step = |state: &mut DropoutState<Array2<f64>>| {
        let rows = state.inner().nrows();
        let mut y = Array2::zeros((rows, 32));
        cell.step(&Array2::ones((rows, 32)), state, &mut y, &mut Default::default());
        y
    };
    let start = cell.training_state(4, 1);
    let all = step(&mut start.clone());
    assert_eq!(step(&mut start.select_rows(&[2, 0])), all.select_rows(&[2, 0]));
    // A row reset to its start replays; one overwritten by a state without dropout goes on.
    let mut state = start.clone();
    step(&mut state);
    let second = step(&mut state.clone());
    state.copy_row(1, &start, 1);
    state.copy_row(3, &cell.zero_state(1), 0);
    let y = step(&mut state);
    assert_eq!(y.row(1), all.row(1));
    assert_eq!(y.row(3), second.row(3));
    assert_ne!(y.row(3), all.row(3));
}

#[test]
fn a_wrapped_cell_comes_back() {
    let cell = Gru::<f64>::new(3, 3, &mut rng(1));
    let dropout = DropoutWrapper::builder(cell.clone()).build().unwrap();
    let residual = ResidualWrapper::new(dropout).unwrap();
    let highway = HighwayWrapper::builder(residual).build(&mut rng(2)).unwrap();
    let back = highway.into_cell().into_cell().into_cell();
    assert_eq!(back.weights(), cell.weights());
}

#[test]
fn dropped_nan_is_zero() {
    let cell = DropoutWrapper::builder(Echo(64)).output_keep_prob(0.5).build().unwrap();
    let x = Array3::from_elem((1, 1, 64), f64::NAN);
    let (y, _) = dynamic_rnn(&cell, &x, None, Some(cell.training_state(1, 1))).unwrap();
    assert!(y.iter().any(|&y| y == 0.0) && y.iter().any(|y| y.is_nan()));
}

#[test]
fn parameters_are_visited_through_every_wrapper() {
    let rng = &mut rng(1);
    let residual = ResidualWrapper::new(HighwayWrapper::builder(BasicRnn::new(4, 4, rng)).build(rng).unwrap()).unwrap();
    let mut cell = MultiRnnCell::new(vec![
        BoxedCell::new(DropoutWrapper::builder(Lstm::<f64>::new(3, 4, rng)).build().unwrap()),
        BoxedCell::new(MultiRnnCell::new((residual,)).unwrap()),
    ])
    .unwrap();
    let expected = [
        "cell_0/kernel",
        "cell_0/bias",
        "cell_1/cell_0/kernel",
        "cell_1/cell_0/bias",
        "cell_1/cell_0/carry_w",
        "cell_1/cell_0/carry_b",
    ];
    assert_eq!(names(&cell), expected);
    let mut mutable = Vec::new();
    cell.visit_parameters_mut(&mut |name, mut weight| {
        mutable.push(name.to_owned());
        weight.fill(0.0);
    });
    assert_eq!(mutable, expected);
    // Zero weights reach the packed ones: LSTM and RNN give 0, and the highway carries half of that.
    let (y, _) = dynamic_rnn(&cell, &random((1, 2, 3), 1), None, None).unwrap();
    assert!(y.iter().all(|&y| y == 0.0));
}

#[test]
fn a_state_of_another_cell_is_refused() {
    let rng = &mut rng(1);
    let (lstm, gru) = (BoxedCell::new(Lstm::<f64>::new(3, 4, rng)), BoxedCell::new(Gru::new(3, 4, rng)));
    let x = random((2, 3, 3), 1);
    let error = dynamic_rnn(&lstm, &x, None, Some(gru.zero_state(2))).unwrap_err();
    assert_eq!(error, Error::StateLeaves { argument: "initial_state".into(), expected: 2, found: 1 });
}

#[test]
#[should_panic(expected = "but the cell's state is a rnn_cell::state::LstmState<f64>")]
fn a_state_of_another_type_with_the_same_leaves_panics() {
    let lstm = BoxedCell::new(Lstm::<f64>::new(3, 4, &mut rng(1)));
    let pair = DynState::new((Array2::<f64>::zeros((2, 4)), Array2::<f64>::zeros((2, 4))));
    let _ = dynamic_rnn(&lstm, &random((2, 3, 3), 1), None, Some(pair));
}

#[test]
fn boxed_cells_are_send_sync_and_debug() {
    fn send_sync<T: Send + Sync>(_: &T) {}
    let cell = BoxedCell::new(DropoutWrapper::builder(Echo(3)).build().unwrap());
    send_sync(&cell);
    assert!(format!("{cell:?}").contains("Echo"));
    let state = cell.zero_state(2);
    assert!(format!("{state:?}").contains("DropoutState"));
    assert_eq!(state.clone().batch_size(), 2);
}
