//! The parameter visitor: what it shows, and that the cell computes with what it changes.

use crate::common::{
    Rng, array, basic_rnn_options, dropout, gru, gru_options, highway, layer_norm_lstm_options, lstm, lstm_options,
    number, numbers, randomized, residual, rng, stack, ugrnn_options,
};
use ndarray::{Array2, Array3};
use rnn_cell::cells::{BasicRnnWeights, GruWeights, LstmWeights, UgrnnWeights};
use rnn_cell::{
    Arrays, BasicRnn, BoxedCell, Error, Float, Gru, HighwayWrapper, LayerNormLstm, Lstm, MultiRnnCell, Parameters,
    ParametersMut, RnnCell, Ugrnn, dynamic_rnn, init,
};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Everything the cell computes from `x`, bit by bit.
fn run<C: RnnCell>(cell: &C, x: &Array3<C::Elem>) -> Vec<C::Elem> {
    let (outputs, state) = dynamic_rnn(cell, x, None, None).unwrap();
    numbers(outputs.view(), &state)
}

fn names<E: Float, P: Parameters<E>>(cell: &P) -> Vec<(String, Vec<usize>)> {
    let mut names = Vec::new();
    cell.visit_parameters(&mut |name, weight| names.push((name.to_owned(), weight.shape().to_vec())));
    names
}

fn values<E: Float, P: Parameters<E>>(cell: &P) -> Vec<E> {
    let mut values = Vec::new();
    cell.visit_parameters(&mut |_, weight| values.extend(weight.iter()));
    values
}

/// Changes `cell` through the visitor, weight by weight. Compares with `afresh`, the cell built from its weights.
fn changes_reach_the_computation<E, C>(name: &str, mut cell: C, afresh: impl Fn(&C) -> C)
where
    E: Float,
    C: RnnCell<Elem = E> + ParametersMut<E>,
{
    let rng = &mut rng(6);
    let x = array((3, 4, cell.input_size()), rng);
    let weights = names(&cell);
    let mut mutable = Vec::new();
    cell.visit_parameters_mut(&mut |weight, array| mutable.push((weight.to_owned(), array.shape().to_vec())));
    assert_eq!(weights, mutable, "{name}: both visitors show the same weights in the same order");

    for (changed, _) in &weights {
        let (before, values_before) = (run(&cell, &x), values(&cell));
        let mut change = |weight: &str, rng: &mut Rng| {
            cell.visit_parameters_mut(&mut |name, mut array| {
                if name == weight {
                    array.mapv_inplace(|_| number(rng, 0.7));
                }
            });
        };
        change(changed, rng);
        assert!(values(&cell) != values_before, "{name}: {changed} did not change");
        let after = run(&cell, &x);
        assert!(after != before, "{name}: {changed} changes nothing that is computed");
        assert_eq!(after, run(&afresh(&cell), &x), "{name}: {changed} is stale");
    }

    // If a visitor panics half way, the weights it changed count.
    let last = weights.len() - 1;
    let mut visited = 0;
    let panics = catch_unwind(AssertUnwindSafe(|| {
        cell.visit_parameters_mut(&mut |_, mut array| {
            array.mapv_inplace(|weight| weight + E::of(0.125));
            visited += 1;
            // Not `panic!`, which would print.
            if visited > last / 2 {
                std::panic::resume_unwind(Box::new("half way"));
            }
        });
    }));
    assert!(panics.is_err(), "{name}");
    assert_eq!(run(&cell, &x), run(&afresh(&cell), &x), "{name}: stale after a panic");
}

/// The same through a `Box`, for a cell and for a trait object.
fn boxes_pass_changes_on<E, C>(name: &str, cell: C, afresh: impl Fn(&C) -> C)
where
    E: Float,
    C: RnnCell<Elem = E> + ParametersMut<E>,
{
    let x = array((2, 3, cell.input_size()), &mut rng(7));
    let before = run(&cell, &x);
    let mut boxed = Box::new(cell);
    boxed = randomized(boxed, &mut rng(8));
    assert_eq!(run(&boxed, &x), run(&afresh(&boxed), &x), "{name}: stale in a Box");
    assert!(run(&boxed, &x) != before, "{name}");

    let object: &mut dyn ParametersMut<E> = &mut *boxed;
    object.visit_parameters_mut(&mut |_, mut array| array.fill(E::of(0.5)));
    assert_eq!(run(&boxed, &x), run(&afresh(&boxed), &x), "{name}: stale behind dyn");
}

fn all_cells<E: Float>() {
    for (name, options) in basic_rnn_options() {
        let builder = options(BasicRnn::<E>::builder(3, 5));
        let afresh = |cell: &BasicRnn<E>| builder.clone().build_from(cell.weights().clone()).unwrap();
        let cell = randomized(builder.clone().build(&mut rng(5)).unwrap(), &mut rng(5));
        changes_reach_the_computation(name, cell.clone(), afresh);
        boxes_pass_changes_on(name, cell, afresh);
    }
    for (name, options) in lstm_options() {
        let builder = options(Lstm::<E>::builder(3, 5));
        let afresh = |cell: &Lstm<E>| builder.clone().build_from(cell.weights().clone()).unwrap();
        let cell = randomized(builder.clone().build(&mut rng(5)).unwrap(), &mut rng(5));
        changes_reach_the_computation(name, cell.clone(), afresh);
        boxes_pass_changes_on(name, cell, afresh);
    }
    for (name, options) in gru_options() {
        let builder = options(Gru::<E>::builder(3, 5));
        let afresh = |cell: &Gru<E>| builder.clone().build_from(cell.weights().clone()).unwrap();
        let cell = randomized(builder.clone().build(&mut rng(5)).unwrap(), &mut rng(5));
        changes_reach_the_computation(name, cell.clone(), afresh);
        boxes_pass_changes_on(name, cell, afresh);
    }
    for (name, options) in ugrnn_options() {
        let builder = options(Ugrnn::<E>::builder(3, 5));
        let afresh = |cell: &Ugrnn<E>| builder.clone().build_from(cell.weights().clone()).unwrap();
        let cell = randomized(builder.clone().build(&mut rng(5)).unwrap(), &mut rng(5));
        changes_reach_the_computation(name, cell.clone(), afresh);
        boxes_pass_changes_on(name, cell, afresh);
    }
    for (name, options) in layer_norm_lstm_options() {
        let builder = options(LayerNormLstm::<E>::builder(3, 5));
        let afresh = |cell: &LayerNormLstm<E>| builder.clone().build_from(cell.weights().clone()).unwrap();
        let cell = randomized(builder.clone().build(&mut rng(5)).unwrap(), &mut rng(5));
        changes_reach_the_computation(name, cell.clone(), afresh);
        boxes_pass_changes_on(name, cell, afresh);
    }
}

fn gru_afresh<E: Float>(cell: &Gru<E>) -> Gru<E> {
    let input = cell.input_size();
    Gru::<E>::builder(input, cell.output_size()).build_from(cell.weights().clone()).unwrap()
}

fn lstm_afresh<E: Float>(cell: &Lstm<E>) -> Lstm<E> {
    let builder = Lstm::builder(cell.input_size(), cell.hidden_size()).num_proj(3);
    builder.build_from(cell.weights().clone()).unwrap()
}

fn all_wrappers<E: Float>() {
    let rng = &mut rng(5);
    changes_reach_the_computation("multi of a vec", stack(vec![gru::<E>(3, 5, rng), gru(5, 5, rng)]), |cell| {
        stack(cell.cells().iter().map(gru_afresh).collect())
    });
    let tuple = MultiRnnCell::new((lstm::<E>(4, 5, rng), gru(3, 2, rng))).unwrap();
    changes_reach_the_computation("multi of a tuple", tuple, |cell| {
        let (lower, upper) = cell.cells();
        MultiRnnCell::new((lstm_afresh(lower), gru_afresh(upper))).unwrap()
    });
    changes_reach_the_computation("residual", residual(gru::<E>(3, 3, rng)), |cell| residual(gru_afresh(cell.cell())));
    changes_reach_the_computation("dropout", dropout(gru::<E>(3, 5, rng), 0.5, false), |cell| {
        dropout(gru_afresh(cell.cell()), 0.5, false)
    });
    for coupled in [true, false] {
        let cell = highway(gru::<E>(3, 3, rng), coupled, rng);
        changes_reach_the_computation("highway", cell, |cell| {
            let builder = HighwayWrapper::builder(gru_afresh(cell.cell())).couple_carry_transform_gates(coupled);
            builder.build_from(cell.weights().clone()).unwrap()
        });
    }
    // The inside cannot be seen, so the visitor reads its weights.
    let layers = vec![BoxedCell::new(gru::<E>(3, 5, rng)), BoxedCell::new(residual(gru(5, 5, rng)))];
    changes_reach_the_computation("multi of boxed cells", stack(layers), |cell| {
        let mut weights = Vec::new();
        cell.visit_parameters(&mut |_, weight| weights.push(weight.to_owned()));
        let mut weights = weights.into_iter();
        let mut next = |input| {
            let mut cell = Gru::<E>::new(input, 5, &mut crate::common::rng(1)).weights().clone();
            cell.gates_kernel = weights.next().unwrap().into_dimensionality().unwrap();
            cell.gates_bias = Some(weights.next().unwrap().into_dimensionality().unwrap());
            cell.candidate_kernel = weights.next().unwrap().into_dimensionality().unwrap();
            cell.candidate_bias = Some(weights.next().unwrap().into_dimensionality().unwrap());
            Gru::<E>::builder(input, 5).build_from(cell).unwrap()
        };
        let lower = BoxedCell::new(next(3));
        stack(vec![lower, BoxedCell::new(residual(next(5)))])
    });
}

#[test]
fn packed_weights_are_never_stale() {
    all_cells::<f32>();
    all_cells::<f64>();
}

#[test]
fn wrappers_pass_changes_on() {
    all_wrappers::<f32>();
    all_wrappers::<f64>();
}

#[test]
fn names_and_shapes_are_tensorflows() {
    let shapes = |cell: &dyn Fn() -> Vec<(String, Vec<usize>)>| {
        cell().into_iter().map(|(name, shape)| format!("{name} {shape:?}")).collect::<Vec<_>>().join(", ")
    };
    let rng = || rng(1);
    assert_eq!(shapes(&|| names(&BasicRnn::<f32>::new(3, 2, &mut rng()))), "kernel [5, 2], bias [2]");
    assert_eq!(shapes(&|| names(&Lstm::<f32>::new(3, 2, &mut rng()))), "kernel [5, 8], bias [8]");
    let full = || names(&Lstm::<f32>::builder(3, 2).use_peepholes(true).num_proj(4).build(&mut rng()).unwrap());
    let expected = "kernel [7, 8], bias [8], w_f_diag [2], w_i_diag [2], w_o_diag [2], projection/kernel [2, 4]";
    assert_eq!(shapes(&full), expected);
    let expected = "gates/kernel [5, 4], gates/bias [4], candidate/kernel [5, 2], candidate/bias [2]";
    assert_eq!(shapes(&|| names(&Gru::<f32>::new(3, 2, &mut rng()))), expected);
    let after = rnn_cell::GruReset::After;
    let after = || names(&Gru::<f32>::builder(3, 2).reset(after).build(&mut rng()).unwrap());
    assert_eq!(shapes(&after), format!("{expected}, candidate/recurrent_bias [2]"));
}

#[test]
fn one_seed_gives_the_same_weights_in_both_types() {
    let wide = Lstm::<f64>::builder(3, 2).use_peepholes(true).num_proj(4).build(&mut rng(1)).unwrap();
    let narrow = Lstm::<f32>::builder(3, 2).use_peepholes(true).num_proj(4).build(&mut rng(1)).unwrap();
    let again = Lstm::<f32>::builder(3, 2).use_peepholes(true).num_proj(4).build(&mut rng(1)).unwrap();
    assert_eq!(values(&wide).iter().map(|&w| w as f32).collect::<Vec<_>>(), values(&narrow));
    assert_eq!(values(&narrow), values(&again));
    assert!(values(&narrow) != values(&randomized(again, &mut rng(2))));
}

#[test]
fn initial_weights_are_tensorflows() {
    let (input, hidden) = (30_usize, 50_usize);
    let within = |weights: &mut dyn Iterator<Item = f64>, fans: usize| {
        let limit = (6.0 / fans as f64).sqrt();
        let (mut count, mut sum, mut largest) = (0, 0.0, 0.0_f64);
        for weight in weights {
            (count, sum, largest) = (count + 1, sum + weight, largest.max(weight.abs()));
        }
        // A sum of n uniform draws strays by limit · √(n / 3).
        let stray = 5.0 * limit * (f64::from(count) / 3.0).sqrt();
        assert!(largest <= limit && largest > 0.8 * limit && sum.abs() < stray, "{count} {sum} {largest} {limit}");
    };
    let lstm = Lstm::<f64>::builder(input, hidden).use_peepholes(true).num_proj(20).build(&mut rng(3)).unwrap();
    let weights = lstm.weights();
    within(&mut weights.kernel.iter().copied(), input + 20 + 4 * hidden);
    within(&mut weights.projection.as_ref().unwrap().iter().copied(), hidden + 20);
    within(&mut weights.peepholes.as_ref().unwrap().w_o_diag.iter().copied(), 2 * hidden);
    assert!(weights.bias.as_ref().unwrap().iter().all(|&bias| bias == 0.0));
    let gru = Gru::<f64>::new(input, hidden, &mut rng(3));
    within(&mut gru.weights().gates_kernel.iter().copied(), input + 3 * hidden);
    within(&mut gru.weights().candidate_kernel.iter().copied(), input + 2 * hidden);
    assert!(gru.weights().gates_bias.as_ref().unwrap().iter().all(|&bias| bias == 1.0));
    assert!(gru.weights().candidate_bias.as_ref().unwrap().iter().all(|&bias| bias == 0.0));
    let rnn = BasicRnn::<f64>::new(input, hidden, &mut rng(3));
    within(&mut rnn.weights().kernel.iter().copied(), input + 2 * hidden);
    assert!(rnn.weights().bias.as_ref().unwrap().iter().all(|&bias| bias == 0.0));
    let plain = LayerNormLstm::<f64>::builder(input, hidden).layer_norm(false).build(&mut rng(3)).unwrap();
    within(&mut plain.weights().kernel.iter().copied(), input + 5 * hidden);
    within(&mut plain.weights().bias.as_ref().unwrap().iter().copied(), 8 * hidden);
}

#[test]
fn cells_know_their_sizes_and_are_made_of_their_weights() {
    let rng = &mut rng(5);
    let x = array((2, 3, 4), rng);
    macro_rules! check {
        ($cell:expr, $count:expr, $again:expr) => {
            let cell = $cell;
            let again = $again(cell.weights().clone()).unwrap();
            assert_eq!((cell.hidden_size(), again.hidden_size(), cell.parameter_count()), (5, 5, $count));
            assert_eq!(run(&again, &x), run(&cell, &x));
        };
    }
    let with_bias = |bias: Option<_>| bias.expect("there is a bias by default");
    check!(BasicRnn::<f64>::new(4, 5, rng), 50, |w: BasicRnnWeights<f64>| {
        BasicRnn::from_weights(w.kernel, with_bias(w.bias))
    });
    check!(Lstm::<f64>::new(4, 5, rng), 200, |w: LstmWeights<f64>| Lstm::from_weights(w.kernel, with_bias(w.bias)));
    check!(Gru::<f64>::new(4, 5, rng), 150, Gru::from_weights);
    check!(Ugrnn::<f64>::new(4, 5, rng), 100, |w: UgrnnWeights<f64>| Ugrnn::from_weights(w.kernel, w.bias));
    check!(LayerNormLstm::<f64>::new(4, 5, rng), 230, LayerNormLstm::from_weights);
    let plain = LayerNormLstm::<f64>::builder(4, 5).layer_norm(false).build(rng).unwrap();
    check!(plain, 200, LayerNormLstm::from_weights);
    let weights = Gru::<f64>::new(4, 5, rng).weights().clone();
    let wide = GruWeights { gates_kernel: Array2::zeros((9, 12)), ..weights };
    assert!(matches!(Gru::from_weights(wide), Err(Error::ArrayShape { .. })));
}

#[test]
fn orthogonal_weights_are_orthonormal_the_shorter_way() {
    for (rows, columns) in [(1, 1), (4, 4), (7, 3), (3, 7), (40, 40)] {
        let q = init::orthogonal::<f64, _>((rows, columns), &mut rng(4));
        let product = if rows <= columns { q.dot(&q.t()) } else { q.t().dot(&q) };
        let largest =
            (product - Array2::<f64>::eye(rows.min(columns))).fold(0.0_f64, |largest, error| largest.max(error.abs()));
        assert!(q.dim() == (rows, columns) && largest < 1e-14, "({rows}, {columns}): {largest:e}");
        let narrow = init::orthogonal::<f32, _>((rows, columns), &mut rng(4));
        assert_eq!(q.mapv(|weight| weight as f32), narrow);
    }
}

rnn_cell::parameters! {
    /// Its first weight may be left out.
    struct Inner {
        "a" a: Option<ndarray::Array1<E>>,
    }
}

rnn_cell::parameters! {
    struct Outer {
        "inner" inner: Option<Inner<E>>,
    }
}

#[test]
fn what_is_missing_is_asked_for_by_its_first_weight() {
    let outer = Outer::<f32> { inner: None };
    let missing = outer.clone().checked("", &|name| (name == "inner/a").then(|| vec![2])).unwrap_err();
    assert!(matches!(&missing, Error::MissingWeight { name, .. } if name == "inner/a"), "{missing}");
    assert_eq!(outer.clone().checked("", &|_| None).unwrap(), outer);
}
