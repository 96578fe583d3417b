//! Compares the LSTM with layer normalization with loops that anyone can check.

use ndarray::{Array1, Array2, Array3, s};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rnn_cell::{
    Activation, DropoutState, Float, LayerNormLstm, LstmState, Parameters, ParametersMut, RnnCell, State, dynamic_rnn,
};

/// Normalizes as the documentation says, with `gamma` and `beta`.
fn norm(v: &[f64], gamma: &[f64], beta: &[f64]) -> Vec<f64> {
    let n = v.len() as f64;
    let mean = v.iter().sum::<f64>() / n;
    let variance = v.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
    (0..v.len()).map(|u| gamma[u] * (v[u] - mean) / (variance + 1e-12).sqrt() + beta[u]).collect()
}

/// Computes one row by the equations in f64, with parameters by name.
fn expected(
    parameter: &dyn Fn(&str) -> Option<Vec<f64>>,
    x: &[Vec<f64>],
    hidden: usize,
    forget_bias: f64,
) -> Vec<Vec<f64>> {
    let sigmoid = |v: f64| 1.0 / (1.0 + (-v).exp());
    let kernel = parameter("kernel").unwrap();
    let normed = |scope: &str, v: Vec<f64>| match parameter(&format!("{scope}/gamma")) {
        Some(gamma) => norm(&v, &gamma, &parameter(&format!("{scope}/beta")).unwrap()),
        None => v,
    };
    let (mut c, mut h) = (vec![0.0; hidden], vec![0.0; hidden]);
    let mut outputs = Vec::new();
    for x in x {
        let joined: Vec<f64> = x.iter().chain(&h).copied().collect();
        let gate = |index: usize| -> Vec<f64> {
            (index * hidden..(index + 1) * hidden)
                .map(|column| {
                    let sum: f64 = joined.iter().enumerate().map(|(k, v)| v * kernel[k * 4 * hidden + column]).sum();
                    sum + parameter("bias").map_or(0.0, |bias| bias[column])
                })
                .collect()
        };
        let (i, j) = (normed("input", gate(0)), normed("transform", gate(1)));
        let (f, o) = (normed("forget", gate(2)), normed("output", gate(3)));
        let new = (0..hidden).map(|u| sigmoid(f[u] + forget_bias) * c[u] + sigmoid(i[u]) * j[u].tanh()).collect();
        c = normed("state", new);
        h = (0..hidden).map(|u| sigmoid(o[u]) * c[u].tanh()).collect();
        outputs.push(h.clone());
    }
    outputs
}

fn check<E: Float>(layer_norm: bool, longest: usize, tolerance: f64) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(5);
    let sizes = [(1, 1, 1, 2), (4, 1, 3, 5), (5, 3, 2, 16), (3, 8, 7, 33), (30, 2, 3, 9)];
    for (steps, batch, input, hidden) in sizes.into_iter().filter(|&(steps, ..)| steps <= longest) {
        let builder = LayerNormLstm::<E>::builder(input, hidden).layer_norm(layer_norm).forget_bias(E::of(0.5));
        let mut cell = builder.build(&mut rng).unwrap();
        // Gains, shifts and biases that differ.
        cell.visit_parameters_mut(&mut |name, mut weight| {
            let offset = if name.ends_with("gamma") { 1.0 } else { 0.0 };
            weight.mapv_inplace(|w| w + E::of(offset + rng.random_range(-0.3..0.3)));
        });
        let parameter = |wanted: &str| {
            let mut found = None;
            cell.visit_parameters(&mut |name, weight| {
                if name == wanted {
                    found = Some(weight.iter().map(|w| w.as_f64()).collect());
                }
            });
            found
        };
        let x = Array3::from_shape_simple_fn((batch, steps, input), || E::of(rng.random_range(-1.0..1.0)));
        let (outputs, _) = dynamic_rnn(&cell, &x, None, None).unwrap();
        for row in 0..batch {
            let x: Vec<Vec<f64>> =
                (0..steps).map(|t| x.slice(s![row, t, ..]).iter().map(|x| x.as_f64()).collect()).collect();
            for (t, want) in expected(&parameter, &x, hidden, 0.5).iter().enumerate() {
                for (u, want) in want.iter().enumerate() {
                    let got = outputs[[row, t, u]].as_f64();
                    assert!((got - want).abs() < tolerance, "{steps} {batch} {input} {hidden}: {got} {want}");
                }
            }
        }
    }
}

#[test]
fn it_is_its_equations() {
    check::<f64>(true, 30, 1e-12);
    check::<f64>(false, 30, 1e-12);
    check::<f32>(false, 30, 2e-6);
    // Dividing by the deviation of few units amplifies f32 rounding from step to step, so long runs are not compared.
    check::<f32>(true, 5, 1e-5);
}

#[test]
fn parameters_have_tf_contrib_s_names() {
    let names = |layer_norm| {
        let cell = LayerNormLstm::<f64>::builder(3, 4).layer_norm(layer_norm).norm_gain(0.5).norm_shift(0.25);
        let mut names = Vec::new();
        let cell = cell.build(&mut Xoshiro256PlusPlus::seed_from_u64(1)).unwrap();
        cell.visit_parameters(&mut |name, weight| {
            names.push(name.to_owned());
            if name.ends_with("gamma") || name.ends_with("beta") {
                let value = if name.ends_with("gamma") { 0.5 } else { 0.25 };
                assert_eq!(weight.into_dimensionality().unwrap(), Array1::from_elem(4, value));
            }
        });
        names
    };
    assert_eq!(names(false), ["kernel", "bias"]);
    let norms =
        ["input", "transform", "forget", "output", "state"].map(|n| [format!("{n}/gamma"), format!("{n}/beta")]);
    assert_eq!(names(true)[0], "kernel");
    assert_eq!(names(true)[1..], norms.concat());
}

#[test]
fn the_state_keeps_the_normalized_c() {
    let cell = LayerNormLstm::<f64>::new(3, 8, &mut Xoshiro256PlusPlus::seed_from_u64(1));
    let (_, state) = dynamic_rnn(&cell, &Array3::from_elem((1, 4, 3), 0.5), None, None).unwrap();
    let c = &state.inner().c;
    assert!(c.mean().unwrap().abs() < 1e-12 && (c.std(0.0) - 1.0).abs() < 1e-9, "{c}");
}

#[test]
fn recurrent_dropout_drops_the_candidate() {
    // All candidates 1, a forget gate of 0 and no normalization: c is the dropped candidate times the input gate.
    let builder = LayerNormLstm::<f64>::builder(1, 1000).layer_norm(false).forget_bias(-1e3).dropout_keep_prob(0.8);
    let mut cell = builder.activation(Activation::Linear).build(&mut Xoshiro256PlusPlus::seed_from_u64(1)).unwrap();
    cell.visit_parameters_mut(&mut |name, mut weight| {
        weight.fill(0.0);
        if name == "bias" {
            weight.slice_mut(s![1000..2000]).fill(1.0);
        }
    });
    let x = Array3::zeros((2, 3, 1));
    let run = |seed| dynamic_rnn(&cell, &x, None, Some(cell.training_state(2, seed))).unwrap();
    let (outputs, state) = run(1);
    let c = &state.inner().c;
    assert!(c.iter().all(|&c| c == 0.0 || c == 0.5 / 0.8), "{c}");
    // 2000 draws: the standard deviation is 18.
    let kept = c.iter().filter(|&&c| c != 0.0).count();
    assert!((1510..1690).contains(&kept), "{kept}");
    assert_ne!(outputs.slice(s![.., 1, ..]), outputs.slice(s![.., 2, ..]));
    assert_eq!(run(1).0, outputs);
    assert_ne!(run(2).0, outputs);
    assert!(dynamic_rnn(&cell, &x, None, None).unwrap().1.inner().c.iter().all(|&c| c == 0.5));
}

#[test]
fn norms_are_there_with_layer_norm_and_not_without() {
    let builder = || LayerNormLstm::<f64>::builder(3, 4);
    let weights = |layer_norm| {
        let cell = builder().layer_norm(layer_norm).build(&mut Xoshiro256PlusPlus::seed_from_u64(1)).unwrap();
        cell.weights().clone()
    };
    let mut none = weights(true);
    none.norms = None;
    let error = builder().build_from(none).unwrap_err();
    assert_eq!(error.to_string(), "weight \"input/gamma\" is missing: the cell's options ask for it");
    let mut norms = weights(false);
    norms.norms = weights(true).norms;
    let error = builder().layer_norm(false).build_from(norms).unwrap_err();
    let expected = "weight \"input/gamma\" is unexpected: the cell's options have no use for it";
    assert_eq!(error.to_string(), expected);
    assert_eq!(builder().build_from(weights(true)).unwrap().weights(), &weights(true));
}

#[test]
fn a_state_may_lie_in_memory_as_it_likes() {
    let cell = LayerNormLstm::<f64>::new(3, 4, &mut Xoshiro256PlusPlus::seed_from_u64(1));
    let x = Array3::from_shape_fn((2, 5, 3), |(row, step, k)| (row * 7 + step * 3 + k) as f64 / 20.0);
    let (_, start) = dynamic_rnn(&cell, &x, None, None).unwrap();
    let mut turned = start;
    turned.visit_mut(&mut |mut leaf| leaf += 0.25);
    let expected = dynamic_rnn(&cell, &x, None, Some(turned.clone())).unwrap();
    let columns_first = |leaf: &Array2<f64>| leaf.t().as_standard_layout().into_owned().reversed_axes();
    let LstmState { c, h } = turned.inner();
    let state = LstmState { c: columns_first(c), h: columns_first(h) };
    assert!(!state.c.is_standard_layout() && !state.h.is_standard_layout());
    let found = dynamic_rnn(&cell, &x, None, Some(DropoutState::new(state))).unwrap();
    assert_eq!(found.0, expected.0);
    assert_eq!(found.1.inner(), expected.1.inner());
}
