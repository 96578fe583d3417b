//! Each kernel on each of this machine's instruction sets against loops anyone can check.

use super::isa::Isa;
use super::pack::{Gate, PackShape, Packed};
use super::{Workspace, lstm};
use crate::Activation;
use ndarray::{Array1, Array2, Array3};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

fn random(shape: (usize, usize, usize), rng: &mut Xoshiro256PlusPlus) -> Array3<f64> {
    Array3::from_shape_simple_fn(shape, || rng.random_range(-1.0..1.0))
}

#[test]
fn lstm_is_its_equations_on_every_instruction_set() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
    for isa in Isa::available() {
        for (steps, rows, input, hidden) in [(1, 1, 1, 1), (3, 2, 5, 7), (30, 1, 3, 33), (4, 7, 17, 16), (2, 13, 2, 65)]
        {
            let kernel = random((1, input + hidden, 4 * hidden), &mut rng).remove_axis(ndarray::Axis(0));
            let bias = random((1, 1, 4 * hidden), &mut rng);
            let x = random((steps, rows, input), &mut rng);
            let gates = [0, 1, 2, 3].map(|g| Gate {
                matrix: kernel.as_slice().unwrap(),
                width: 4 * hidden,
                column: g * hidden,
                transposed: false,
                bias: Some(&bias.as_slice().unwrap()[g * hidden..][..hidden]),
                offset: if g == 2 { 1.0 } else { 0.0 },
            });
            let shape =
                PackShape { inputs: input, recurrent: hidden, units: hidden, gates: 4, groups: 1, split: false };
            let packed = Packed::new(isa, shape, &gates, None);
            let options = lstm::Options {
                activation: Activation::Tanh,
                gate_activation: Activation::Sigmoid,
                peepholes: None,
                cell_clip: None,
                proj_clip: None,
            };
            let (mut c, mut h) = (Array2::zeros((rows, hidden)), Array2::zeros((rows, hidden)));
            let mut outputs = Array3::zeros((steps, rows, hidden));
            let mut workspace = Workspace::default();
            lstm::unroll(&packed, None, options, x.view(), &mut c, &mut h, outputs.view_mut(), None, &mut workspace);

            let sigmoid = |z: f64| 1.0 / (1.0 + (-z).exp());
            for row in 0..rows {
                let (mut c, mut h) = (Array1::<f64>::zeros(hidden), Array1::<f64>::zeros(hidden));
                for t in 0..steps {
                    let z = |column: usize| {
                        let from_x: f64 = (0..input).map(|k| x[[t, row, k]] * kernel[[k, column]]).sum();
                        let from_h: f64 = (0..hidden).map(|k| h[k] * kernel[[input + k, column]]).sum();
                        bias[[0, 0, column]] + from_x + from_h
                    };
                    let mut next = h.clone();
                    for u in 0..hidden {
                        let [i, j, f, o] = [0, 1, 2, 3].map(|g| z(g * hidden + u));
                        c[u] = sigmoid(f + 1.0) * c[u] + sigmoid(i) * j.tanh();
                        next[u] = sigmoid(o) * c[u].tanh();
                    }
                    h = next;
                    for u in 0..hidden {
                        let (got, want) = (outputs[[t, row, u]], h[u]);
                        assert!((got - want).abs() < 1e-13, "{isa:?} {shape:?} {t} {row} {u}: {got} {want}");
                    }
                }
            }
        }
    }
}
