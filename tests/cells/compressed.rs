//! Compressed cells: how far they are from `f32`, what they refuse, and what they keep. The laws are in laws.rs.

use crate::common::rounded::rounded;
use crate::common::{FORMATS, Rng, array, each_boxed_cell, instruction_sets, number, numbers, rng, run_child, state};
use ndarray::{Array1, Array2, Array3, ArrayRef2, ArrayView1, Axis, s};
use rand::RngExt;
use rnn_cell::cells::BasicRnnWeights;
use rnn_cell::fused::{Forward, FusedCell, Linear, Stage, Stages, Vector};
use rnn_cell::train::BoxedTrainableCell;
use rnn_cell::{
    Activation, BasicRnn, Bidirectional, BoxedCell, Compressed, Compression, Error, Gru, Lstm, MultiRnnCell,
    Parameters, ParametersMut, RnnCell, Stream, WeightFormat, bidirectional_dynamic_rnn, dynamic_rnn, instruction_set,
};
use std::sync::Arc;

fn is_matrix(name: &str) -> bool {
    name.ends_with("kernel") || name.ends_with("_w")
}

#[test]
fn bf16_is_f32_with_rounded_weights_bit_for_bit() {
    each_boxed_cell::<f32>(&mut |name, make| {
        for (batch, seq, input, hidden) in [(1, 27, 17, 5), (1, 3, 5, 33), (7, 4, 19, 17), (3, 26, 1, 1)] {
            let rng = &mut rng(3);
            let mut cell: BoxedTrainableCell<f32> = make(input, hidden, rng);
            let x = array((batch, seq, cell.input_size()), rng);
            let initial = state(&cell, batch, rng);
            let small = Compressed::new(make(input, hidden, &mut crate::common::rng(3)), WeightFormat::Bf16).unwrap();
            cell.visit_parameters_mut(&mut |name, mut weight| {
                if is_matrix(name) {
                    weight.mapv_inplace(rounded);
                }
            });
            let (outputs, last) = dynamic_rnn(&cell, &x, None, Some(initial.clone())).unwrap();
            let (found, found_last) = dynamic_rnn(&small, &x, None, Some(initial)).unwrap();
            let bits = |numbers: Vec<f32>| numbers.into_iter().map(f32::to_bits).collect::<Vec<_>>();
            let same = bits(numbers(outputs.view(), &last)) == bits(numbers(found.view(), &found_last));
            assert!(same, "{name} ({batch}, {seq}, {input}, {hidden})");
        }
    });
}

/// A cell whose output is its product.
fn linear_cell(input: usize, hidden: usize, rng: &mut Rng) -> (BasicRnn<f32>, Array2<f32>, Array1<f32>) {
    let kernel = Array2::from_shape_simple_fn((input + hidden, hidden), || number(rng, 0.5));
    let bias = Array1::from_shape_simple_fn(hidden, || number(rng, 0.5));
    let weights = BasicRnnWeights { kernel: kernel.clone(), bias: Some(bias.clone()) };
    let cell = BasicRnn::<f32>::builder(input, hidden).activation(Activation::Linear).build_from(weights).unwrap();
    (cell, kernel, bias)
}

fn largest(numbers: ArrayView1<f32>) -> f64 {
    numbers.iter().fold(0.0, |most, x| f64::max(most, f64::from(x.abs())))
}

/// What the format allows: values off by half a step of 1/127 of the largest, weights too.
fn int8_bound(x: ArrayView1<f32>, weights: ArrayView1<f32>, steps: f64) -> f64 {
    let (step_x, step_w) = (largest(x) / 127.0 / steps, largest(weights) / 127.0);
    let term = |(x, w): (&f32, &f32)| {
        let (x, w) = (f64::from(x.abs()), f64::from(w.abs()));
        w * step_x / 2.0 + x * step_w / 2.0 + step_x * step_w / 4.0 + 4e-7 * x * w
    };
    x.iter().zip(weights).map(term).sum()
}

#[test]
fn int8_is_as_far_from_f32_as_its_steps_allow() {
    let rng = &mut rng(7);
    for (input, hidden) in [(1, 1), (33, 20), (128, 64), (300, 17)] {
        let (cell, kernel, bias) = linear_cell(input, hidden, rng);
        let small = Compressed::new(cell, WeightFormat::Int8).unwrap();
        for kind in 0..4 {
            let mut x: Array3<f32> = array((5, 1, input), rng);
            let steps = match kind {
                // One value, so that all others have few steps left: they get 254 times as many.
                1 if input > 8 => {
                    x.slice_mut(s![.., .., 3]).fill(400.0);
                    254.0
                }
                2 => {
                    x.fill(0.0);
                    x.slice_mut(s![.., .., 0]).fill(1.0);
                    1e9
                }
                _ => 1.0,
            };
            let (outputs, _) = dynamic_rnn(&small, &x, None, None).unwrap();
            for ((row, _, unit), &found) in outputs.indexed_iter() {
                let (x, weights) = (x.slice(s![row, 0, ..]), kernel.slice(s![..input, unit]));
                let products = x.iter().zip(&weights).map(|(x, w)| f64::from(*x) * f64::from(*w));
                let exact = products.sum::<f64>() + f64::from(bias[unit]);
                let bound = int8_bound(x, weights, steps) + 2e-7 * exact.abs() + 1e-7;
                let error = (f64::from(found) - exact).abs();
                assert!(error <= bound, "({input}, {hidden}), kind {kind}: {error}, at most {bound}");
            }
        }
    }
}

/// The figures of the guide's page.
#[test]
fn one_large_feature_costs_accuracy_in_int8_only() {
    let rng = &mut rng(9);
    let (plain, x) = (Lstm::<f32>::new(64, 128, rng), array((4, 50, 64), rng));
    let error = |format, large: f32| {
        let mut x: Array3<f32> = x.clone();
        x.slice_mut(s![.., .., 3]).mapv_inplace(|x| large.copysign(x));
        let small = Compressed::new(plain.clone(), format).unwrap();
        let run = |outputs: Result<(Array3<f32>, _), _>| outputs.unwrap().0;
        let difference = run(dynamic_rnn(&small, &x, None, None)) - run(dynamic_rnn(&plain, &x, None, None));
        largest(difference.flatten().view())
    };
    for (large, at_most) in [(1.0, 0.006), (10.0, 0.025), (100.0, 0.12), (1000.0, 0.4)] {
        let (bf16, int8) = (error(WeightFormat::Bf16, large), error(WeightFormat::Int8, large));
        assert!(int8 <= at_most && int8 > at_most / 2.0, "{large}: {int8}");
        assert!(bf16 <= 0.005, "{large}: {bf16}");
    }
}

#[test]
fn a_row_that_is_not_finite_is_nan_and_no_other() {
    let rng = &mut rng(8);
    for format in FORMATS {
        for batch in [1, 2, 7] {
            let cell = Compressed::new(Lstm::<f32>::new(20, 18, rng), format).unwrap();
            let x = array((batch, 30, 20), rng);
            let (expected, _) = dynamic_rnn(&cell, &x, None, None).unwrap();
            for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut x = x.clone();
                x[[batch / 2, 11, 13]] = wrong;
                let (found, _) = dynamic_rnn(&cell, &x, None, None).unwrap();
                for row in 0..batch {
                    let (expected, found) = (expected.index_axis(Axis(0), row), found.index_axis(Axis(0), row));
                    if row != batch / 2 {
                        assert_eq!(expected, found);
                        continue;
                    }
                    assert_eq!(expected.slice(s![..11, ..]), found.slice(s![..11, ..]));
                    let is_int8 = format == WeightFormat::Int8;
                    assert!(!is_int8 || found.slice(s![11.., ..]).iter().all(|y| y.is_nan()), "{wrong}: {found}");
                }
            }
        }
    }
}

#[test]
fn zeros_give_the_biases() {
    let rng = &mut rng(9);
    let (cell, _, bias) = linear_cell(37, 21, rng);
    for format in FORMATS {
        let small = Compressed::new(cell.clone(), format).unwrap();
        let (outputs, _) = dynamic_rnn(&small, &Array3::zeros((3, 1, 37)), None, None).unwrap();
        for row in outputs.index_axis(Axis(1), 0).outer_iter() {
            assert_eq!(row, bias);
        }
    }
}

#[test]
fn what_is_not_finite_is_not_compressed() {
    for (format, wrong) in [
        (WeightFormat::Int8, f32::NAN),
        (WeightFormat::Int8, f32::INFINITY),
        (WeightFormat::Bf16, f32::NAN),
        (WeightFormat::Bf16, f32::NEG_INFINITY),
        (WeightFormat::Bf16, f32::MAX),
    ] {
        let mut cell = Lstm::<f32>::builder(3, 4).num_proj(2).build(&mut rng(1)).unwrap();
        cell.visit_parameters_mut(&mut |name, mut weight| {
            if name == "projection/kernel" {
                weight[[1, 1]] = wrong;
            }
        });
        let layers = MultiRnnCell::new(vec![Lstm::<f32>::builder(3, 4).num_proj(3).build(&mut rng(1)).unwrap(), cell]);
        let error = Compressed::new(layers.unwrap(), format).unwrap_err();
        assert!(matches!(error, Error::NotCompressible { .. }), "{error}");
        let message = error.to_string();
        let begins = "weight \"cell_1/projection/kernel\" cannot be compressed: its numbers must be finite in";
        assert!(message.starts_with(begins) && message.ends_with(&wrong.to_string()), "{message}");
    }
    assert!(
        Compressed::new(
            {
                let mut cell = BasicRnn::<f32>::new(2, 2, &mut rng(1));
                cell.visit_parameters_mut(&mut |_, mut weight| weight.fill(f32::MAX));
                cell
            },
            WeightFormat::Int8
        )
        .is_ok()
    );
}

/// The sums of int8 products are `i32`: at most 133,144 inputs, and as many recurrent values.
#[test]
fn int8_takes_so_many_inputs() {
    let compress = |inputs| Compressed::new(BasicRnn::<f32>::new(inputs, 1, &mut rng(1)), WeightFormat::Int8);
    assert!(compress(133_144).is_ok());
    assert_eq!(
        compress(133_145).unwrap_err().to_string(),
        "weight \"kernel\" cannot be compressed: it multiplies 133145 inputs and 1 recurrent values, but int8 takes at \
         most 133144 of each"
    );
}

#[test]
fn what_shares_its_weights_is_not_compressed() {
    let cell = Gru::<f32>::new(2, 3, &mut rng(1));
    let refused = |error: Error, cell: &str, reason: &str| {
        let message = error.to_string();
        assert!(message.starts_with("cell ") && message.contains(cell) && message.ends_with(reason), "{message}");
    };
    refused(Compressed::new(&cell, WeightFormat::Int8).unwrap_err(), "&rnn_cell::", "it shares its weights");
    refused(Compressed::new(Arc::new(cell.clone()), WeightFormat::Bf16).unwrap_err(), "Arc<", "it shares its weights");
    let twice = Compressed::new(Compressed::new(cell, WeightFormat::Bf16).unwrap(), WeightFormat::Bf16);
    refused(twice.unwrap_err(), "Compressed<", "it does not implement `compress`");
}

/// A cell without products.
struct Leaky;

impl RnnCell for Leaky {
    type Elem = f32;
    type State = Array2<f32>;
    type Workspace = ();
    fn input_size(&self) -> usize {
        3
    }
    fn output_size(&self) -> usize {
        3
    }
    fn zero_state(&self, batch: usize) -> Array2<f32> {
        Array2::zeros((batch, 3))
    }
    fn step(&self, input: &ArrayRef2<f32>, h: &mut Array2<f32>, output: &mut ArrayRef2<f32>, _: &mut ()) {
        h.zip_mut_with(input, |h, x| *h = 0.5 * *h + x);
        output.assign(h);
    }
    fn compress(&mut self, _: &mut Compression<'_, f32>) -> Result<(), Error> {
        Ok(())
    }
}

impl Parameters<f32> for Leaky {}

impl ParametersMut<f32> for Leaky {}

/// A user's cell made of a product, of the inputs alone if it has no recurrent weights.
#[derive(Clone)]
struct Mine(Linear<f32>);

impl FusedCell for Mine {
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
        let stage = Stage::new(&self.0);
        Stages::new([if self.0.recurrent_size() > 0 { stage.state(0) } else { stage }])
    }
    fn compress(&mut self, compression: &mut Compression<'_, f32>) -> Result<(), Error> {
        self.0.compress("mine", compression)
    }
    #[inline(always)]
    fn forward<V: Vector<f32>>(&self, _: usize, row: &mut Forward<'_, f32>) {
        let ([sum], h, output) = (row.sums(0), row.new_state(0), row.output());
        for at in V::units(sum.len()) {
            let next = V::load(sum, at).tanh();
            next.store(h, at);
            next.store(output, at);
        }
    }
}

rnn_cell::fused_cell!(Mine);

impl Parameters<f32> for Mine {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ndarray::ArrayViewD<'a, f32>)) {
        rnn_cell::Field::visit(&self.0, "mine", visit);
    }
}

impl ParametersMut<f32> for Mine {
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ndarray::ArrayViewMutD<'_, f32>)) {
        rnn_cell::Field::visit_mut(&mut self.0, "mine", visit);
    }
}

#[test]
fn a_users_cell_is_the_built_in_one() {
    let rng = &mut rng(5);
    let product = Linear::<f32>::builder(19).input_size(3).recurrent_size(19).build(rng).unwrap();
    let (kernel, bias) = (product.weights().kernel.clone(), product.weights().bias.clone());
    let built_in = BasicRnn::<f32>::builder(3, 19).build_from(BasicRnnWeights { kernel, bias }).unwrap();
    let x = array((4, 9, 3), rng);
    for format in FORMATS {
        let mine = MultiRnnCell::new((Leaky, BoxedCell::new(Mine(product.clone())))).unwrap();
        let theirs = MultiRnnCell::new((Leaky, built_in.clone())).unwrap();
        let (mine, theirs) = (Compressed::new(mine, format).unwrap(), Compressed::new(theirs, format).unwrap());
        let expected = dynamic_rnn(&theirs, &x, None, None).unwrap().0;
        assert_eq!(expected, dynamic_rnn(&mine, &x, None, None).unwrap().0);
        assert_ne!(expected, dynamic_rnn(&built_in, &x, None, None).unwrap().0);
    }
}

#[test]
fn a_product_of_inputs_alone_is_the_same_over_many_steps() {
    let rng = &mut rng(12);
    for (batch, input, units) in [(1, 40, 33), (3, 17, 5), (8, 20, 16)] {
        let x = array((batch, 30, input), rng);
        let product = Linear::<f32>::builder(units).input_size(input).build(rng).unwrap();
        for format in FORMATS {
            let cell = Compressed::new(Mine(product.clone()), format).unwrap();
            let (outputs, _) = dynamic_rnn(&cell, &x, None, None).unwrap();
            let mut stream = Stream::new(&cell, batch);
            for step in 0..30 {
                let pushed = stream.push(&x.index_axis(Axis(1), step)).unwrap();
                assert_eq!(outputs.index_axis(Axis(1), step), pushed, "{format:?}, step {step}");
            }
        }
    }
}

#[test]
fn drivers_streams_and_clones_run_it() {
    let rng = &mut rng(6);
    let pair = Bidirectional { fw: Gru::<f32>::new(17, 9, rng), bw: Gru::new(17, 9, rng) };
    let x = array((5, 8, 17), rng);
    for format in FORMATS {
        let compressed = |cell: &Gru<f32>| Compressed::new(cell.clone(), format).unwrap();
        let (fw, bw) = (compressed(&pair.fw), compressed(&pair.bw));
        assert!(fw.format() == format && format!("{fw:?}").contains("Gru"));
        let (outputs, _) = bidirectional_dynamic_rnn(&fw, &bw, &x, Some(&[8, 0, 3, 5, 8]), None, None).unwrap();
        let (expected, _) = dynamic_rnn(&fw.clone(), &x, Some(&[8, 0, 3, 5, 8]), None).unwrap();
        assert_eq!(outputs.0, expected);
        let mut stream = Stream::new(&bw, 5);
        for step in 0..8 {
            let pushed = stream.push(&x.index_axis(Axis(1), step)).unwrap().to_owned();
            let (until, _) = dynamic_rnn(&bw, &x.slice(s![.., ..=step, ..]), None, None).unwrap();
            assert_eq!(pushed, until.index_axis(Axis(1), step));
        }
    }
}

/// Bytes of an `Lstm` (512, 512): its weights, a scale and a correction per unit and half.
#[test]
fn memory_is_that_of_the_formats() {
    let cell = Lstm::<f32>::new(512, 512, &mut rng(1));
    let weights = 1024 * 2048;
    let [bf16, int8] = FORMATS.map(|format| Compressed::new(cell.clone(), format).unwrap().bytes());
    println!("Lstm (512, 512): f32 {}, bf16 {bf16}, int8 {int8} bytes", 4 * weights);
    assert_eq!(bf16, 2 * weights);
    assert_eq!(int8, weights + 2 * 2048 * 8);
}

/// One line per row of 8-bit sums, on one instruction set.
#[test]
#[ignore = "run by another, with RNN_CELL_ISA set"]
fn child() {
    println!("\nruns on {}", instruction_set());
    let rng = &mut rng(11);
    for format in FORMATS {
        for (batch, seq, input, hidden) in [(1, 27, 17, 33), (2, 1, 300, 16), (13, 2, 64, 65)] {
            let (cell, _, _) = linear_cell(input, hidden, rng);
            let cell = Compressed::new(cell, format).unwrap();
            let mut x: Array3<f32> = array((batch, seq, input), rng) * 1e-3;
            x[[0, 0, rng.random_range(0..input)]] = 1e3;
            let (outputs, _) = dynamic_rnn(&cell, &x, None, None).unwrap();
            let bits: Vec<String> = outputs.iter().map(|sum| format!("{:08x}", sum.to_bits())).collect();
            println!("{format:?} ({batch}, {seq}, {input}, {hidden}): {}", bits.join(" "));
        }
    }
}

/// The integers are the same everywhere. Plain Rust alone has no fused multiply-add for what is computed from them.
#[test]
fn every_path_gives_the_same_numbers() {
    let said = |isa: &str| {
        let output = run_child("compressed::child", isa);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains(&format!("\nruns on {isa}\n")), "{said}");
        said.lines().filter_map(|line| line.split_once("): ")).map(|(_, bits)| bits.to_owned()).collect::<Vec<_>>()
    };
    let numbers = |line: &str| -> Vec<f32> {
        line.split(' ').map(|bits| f32::from_bits(u32::from_str_radix(bits, 16).unwrap())).collect()
    };
    let scalar = said("scalar");
    assert_eq!(scalar.len(), 6);
    let vectors: Vec<_> = instruction_sets().into_iter().filter(|isa| *isa != "scalar").collect();
    let found: Vec<_> = vectors.iter().map(|isa| said(isa)).collect();
    for (isa, found_here) in vectors.iter().zip(&found) {
        assert_eq!(found_here, &found[0], "{isa} and {}", vectors[0]);
        for (expected, found) in scalar.iter().zip(found_here) {
            let (expected, found) = (numbers(expected), numbers(found));
            let largest = expected.iter().fold(1.0, |most: f32, x| most.max(x.abs()));
            let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-5 * largest;
            assert!(expected.iter().zip(&found).all(close), "{isa}: {found:?}, not {expected:?}");
        }
    }
}
