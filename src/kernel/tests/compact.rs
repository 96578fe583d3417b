//! Products with compressed weights against the formulas of `compact`, written out, on each instruction set.

use super::{number, on_each};
use crate::cells::{BasicRnnWeights, GruWeights};
use crate::kernel::isa::Isa;
use crate::{
    Activation, BasicRnn, Compressed, Gru, GruReset, HighwayWrapper, ParametersMut, Stream, WeightFormat, dynamic_rnn,
};
use ndarray::{Array1, Array2, Array3, Axis, s};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// The integers and scales of a row, coarse and fine.
fn codes(x: &[f32]) -> [(Vec<i64>, f32); 2] {
    let none = (vec![0; x.len()], 0.0);
    if !x.iter().all(|x| x.is_finite()) {
        return [(vec![0; x.len()], f32::NAN), none];
    }
    let largest = x.iter().fold(1e-30_f32, |most, x| most.max(x.abs()));
    let (scale, inverse) = (largest / 127.0, 127.0 / largest);
    let coarse: Vec<f32> = x.iter().map(|x| (x * inverse).round_ties_even()).collect();
    let values: Vec<f32> = x.iter().zip(&coarse).filter(|(x, _)| **x != 0.0).map(|(_, code)| *code).collect();
    let lost = values.iter().filter(|code| code.abs() < 4.0).count();
    let whole = |codes: &[f32]| codes.iter().map(|&code| code as i64).collect();
    if lost * 2 <= values.len() {
        return [(whole(&coarse), scale), none];
    }
    let errors = x.iter().zip(&coarse).map(|(x, code)| (x - code * scale) * inverse * 254.0);
    let fine: Vec<f32> = errors.map(f32::round_ties_even).collect();
    [(whole(&coarse), scale), (whole(&fine), scale / 254.0)]
}

/// A unit's sum, to which the products of `x` and `weights` are added.
fn added((isa, format): (Isa, WeightFormat), x: &[f32], weights: &[f32], start: f32) -> f32 {
    // Plain Rust has no fused multiply-add.
    let mul_add = |a: f32, b: f32, c: f32| if isa.name() == "scalar" { a * b + c } else { a.mul_add(b, c) };
    if format == WeightFormat::Bf16 {
        return x.iter().zip(weights).fold(start, |sum, (x, &weight)| mul_add(*x, half_even(weight), sum));
    }
    let largest = weights.iter().fold(0.0_f32, |most, weight| most.max(weight.abs()));
    let weight_code = |weight: f32| match largest {
        0.0 => 0,
        _ => (f64::from(weight) * 127.0 / f64::from(largest)).round_ties_even() as i64,
    };
    let mut sum = start;
    for (codes, scale) in codes(x) {
        let whole: i64 = codes.iter().zip(weights).map(|(code, &weight)| code * weight_code(weight)).sum();
        if scale != 0.0 {
            sum = mul_add(whole as i32 as f32, scale * (largest / 127.0), sum);
        }
    }
    sum
}

/// The nearest number with 8 significant bits, ties to even.
fn half_even(weight: f32) -> f32 {
    if weight == 0.0 {
        return 0.0;
    }
    let unit = 2_f64.powi(f64::from(weight).abs().log2().floor() as i32 - 7);
    ((f64::from(weight) / unit).round_ties_even() * unit) as f32
}

fn random(shape: (usize, usize), rng: &mut Xoshiro256PlusPlus) -> Array2<f32> {
    Array2::from_shape_simple_fn(shape, || number(rng) as f32)
}

/// Rows as models see them, and others: even, one-hot, with an outlier, zero, tiny, huge, not finite.
fn rows(batch: usize, width: usize, rng: &mut Xoshiro256PlusPlus) -> Array2<f32> {
    let mut rows = random((batch, width), rng);
    for (at, mut row) in rows.outer_iter_mut().enumerate() {
        let some = rng.random_range(0..width);
        match at % 8 {
            1 => row.assign(&Array1::from_shape_fn(width, |k| f32::from(k == some))),
            2 => row[some] = -900.0,
            3 => row.fill(0.0),
            4 => row *= 1e-36,
            5 => row *= 1e30,
            6 if at == 6 => row[some] = f32::NAN,
            7 if at == 7 => row[some] = f32::NEG_INFINITY,
            _ => {}
        }
    }
    rows
}

#[track_caller]
fn assert_same(case: &str, expected: f32, found: f32) {
    assert!(
        expected.to_bits() == found.to_bits() || expected.is_nan() && found.is_nan(),
        "{case}: {found}, {expected}"
    );
}

/// A linear cell: its outputs are the sums. For several steps, all but the last with small inputs.
fn check_rnn(format: WeightFormat, (batch, steps): (usize, usize), (input, hidden): (usize, usize)) {
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64((batch * 1000 + input * 10 + hidden) as u64);
    let kernel = random((input + hidden, hidden), rng) / (hidden as f32);
    let bias = Array1::from_shape_simple_fn(hidden, || number(rng) as f32);
    let weights = BasicRnnWeights { kernel: kernel.clone(), bias: Some(bias.clone()) };
    let x = Array3::from_shape_fn((batch, steps, input), |_| number(rng) as f32);
    let (mut x, h) = (x, rows(batch, hidden, rng).mapv(|h| h.clamp(-3e3, 3e3)));
    x.slice_mut(s![.., steps - 1, ..]).assign(&rows(batch, input, rng));
    on_each(|isa| {
        let cell = BasicRnn::builder(input, hidden).activation(Activation::Linear).build_from(weights.clone()).unwrap();
        let cell = Compressed::new(cell, format).unwrap();
        let (outputs, _) = dynamic_rnn(&cell, &x, None, Some(h.clone())).unwrap();
        for row in 0..batch {
            let mut h = h.row(row).to_vec();
            for step in 0..steps {
                let x = x.slice(s![row, step, ..]).to_vec();
                let next = (0..hidden).map(|unit| {
                    let column = kernel.column(unit).to_vec();
                    let sum = added((isa, format), &x, &column[..input], bias[unit]);
                    added((isa, format), &h, &column[input..], sum)
                });
                h = next.collect();
                for (unit, &expected) in h.iter().enumerate() {
                    let case = format!("{} {format:?} {batch} {input} {hidden}: {row} {step} {unit}", isa.name());
                    assert_same(&case, expected, outputs[[row, step, unit]]);
                }
            }
        }
    });
}

#[test]
fn sums_are_those_of_the_formulas() {
    for format in [WeightFormat::Bf16, WeightFormat::Int8] {
        for (shape, sizes) in [
            ((1, 1), (1, 1)),
            ((1, 27), (17, 5)),
            ((1, 2), (33, 130)),
            ((2, 1), (4, 16)),
            ((3, 3), (19, 33)),
            ((5, 2), (16, 70)),
            ((6, 2), (3, 17)),
            ((13, 2), (40, 66)),
            ((16, 1), (301, 9)),
        ] {
            check_rnn(format, shape, sizes);
        }
    }
}

/// Sums as large as bytes can make them: the extremes of codes and weights, with every sign.
#[test]
fn no_sum_saturates() {
    let (input, hidden) = (300, 20);
    let sign = |odd: bool| if odd { -1.0 } else { 1.0 };
    for period in [1, 2, 3, 300] {
        let kernel = Array2::from_shape_fn((input + hidden, hidden), |(k, unit)| sign((k / period + unit) % 2 == 1));
        let x = Array3::from_shape_fn((7, 1, input), |(row, _, k)| 1e4 * sign((k / period + row) % 2 == 1));
        on_each(|isa| {
            let weights = BasicRnnWeights { kernel: kernel.clone(), bias: None };
            let builder = BasicRnn::builder(input, hidden).activation(Activation::Linear).use_bias(false);
            let cell = Compressed::new(builder.build_from(weights).unwrap(), WeightFormat::Int8).unwrap();
            let (outputs, _) = dynamic_rnn(&cell, &x, None, None).unwrap();
            for ((row, _, unit), &found) in outputs.indexed_iter() {
                let exact: f32 = (0..input).map(|k| x[[row, 0, k]] * kernel[[k, unit]]).sum();
                assert!((found - exact).abs() <= 1.0, "{} {period}: {found} {exact}", isa.name());
            }
        });
    }
}

/// A split gate: two gates, whose sums are together, and one whose halves are apart. Reset gate 1 − 0 and update gate 0.
#[test]
fn a_split_gate_keeps_its_halves_apart() {
    let (input, hidden) = (21, 35);
    for (format, (batch, steps)) in
        [(WeightFormat::Bf16, (1, 3)), (WeightFormat::Int8, (1, 3)), (WeightFormat::Int8, (7, 2))]
    {
        let rng = &mut Xoshiro256PlusPlus::seed_from_u64(4);
        let weights = GruWeights {
            gates_kernel: random((input + hidden, 2 * hidden), rng),
            gates_bias: Some(Array1::from_shape_simple_fn(2 * hidden, || number(rng) as f32)),
            candidate_kernel: random((input + hidden, hidden), rng),
            candidate_bias: Some(Array1::from_shape_simple_fn(hidden, || number(rng) as f32)),
            candidate_recurrent_bias: Some(Array1::from_shape_simple_fn(hidden, || number(rng) as f32)),
        };
        let x = Array3::from_shape_simple_fn((batch, steps, input), || number(rng) as f32);
        on_each(|isa| {
            let builder = Gru::builder(input, hidden).reset(GruReset::After).activation(Activation::Linear);
            let builder = builder.gate_activation(Activation::Linear);
            let cell = Compressed::new(builder.build_from(weights.clone()).unwrap(), format).unwrap();
            let (outputs, _) = dynamic_rnn(&cell, &x, None, None).unwrap();
            for row in 0..batch {
                let mut h = vec![0.0; hidden];
                for step in 0..steps {
                    let x = x.slice(s![row, step, ..]).to_vec();
                    let gate = |kernel: &Array2<f32>, column: usize, bias: f32| {
                        let column = kernel.column(column).to_vec();
                        added((isa, format), &x, &column[..input], bias)
                    };
                    let recurrent = |kernel: &Array2<f32>, column: usize, start: f32| {
                        let column = kernel.column(column).to_vec();
                        added((isa, format), &h, &column[input..], start)
                    };
                    let (gates, candidate) = (&weights.gates_kernel, &weights.candidate_kernel);
                    let next: Vec<f32> = (0..hidden)
                        .map(|unit| {
                            let bias = |biases: &Option<Array1<f32>>, at: usize| biases.as_ref().unwrap()[at];
                            let [r, u] = [unit, hidden + unit]
                                .map(|at| recurrent(gates, at, gate(gates, at, bias(&weights.gates_bias, at))));
                            let inner = recurrent(candidate, unit, bias(&weights.candidate_recurrent_bias, unit));
                            let n = gate(candidate, unit, bias(&weights.candidate_bias, unit)) + r * inner;
                            u * h[unit] + (1.0 - u) * n
                        })
                        .collect();
                    for (unit, &expected) in next.iter().enumerate() {
                        let found = outputs[[row, step, unit]];
                        let tolerance = 2e-5 * expected.abs().max(1.0);
                        assert!((found - expected).abs() <= tolerance, "{} {format:?}: {found} {expected}", isa.name());
                    }
                    // From what was found, so that differences in the blend do not grow.
                    h = outputs.slice(s![row, step, ..]).to_vec();
                }
            }
        });
    }
}

/// Gates of inputs alone, more rows than are multiplied at once, and steps before rows.
#[test]
fn a_highways_gates_are_those_of_the_formulas() {
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(5);
    for (batch, steps, size) in [(1, 101, 19), (101, 1, 19), (3, 5, 33), (1, 1, 1)] {
        let mut inner = BasicRnn::<f32>::new(size, size, rng);
        inner.visit_parameters_mut(&mut |_, mut weight| weight.fill(0.0));
        let highway = HighwayWrapper::builder(inner).build(rng).unwrap();
        let x = Array3::from_shape_simple_fn((batch, steps, size), || number(rng) as f32);
        let weights = highway.weights().clone();
        for format in [WeightFormat::Bf16, WeightFormat::Int8] {
            on_each(|isa| {
                let cell = Compressed::new(highway.clone(), format).unwrap();
                let (outputs, _) = dynamic_rnn(&cell, &x, None, None).unwrap();
                for ((row, step, unit), &found) in outputs.indexed_iter() {
                    let inputs = x.slice(s![row, step, ..]).to_vec();
                    let column = weights.carry_w.column(unit).to_vec();
                    let mut carry = [added((isa, format), &inputs, &column, weights.carry_b[unit])];
                    Activation::Sigmoid.apply(&mut carry);
                    let case = format!("{} {format:?} {row} {step} {unit}", isa.name());
                    assert!((found - inputs[unit] * carry[0]).abs() < 1e-6, "{case}: {found}");
                }
                let mut stream = Stream::new(&cell, batch);
                let last = stream.push(&x.index_axis(Axis(1), 0)).unwrap();
                assert_eq!(last, outputs.index_axis(Axis(1), 0));
            });
        }
    }
}
