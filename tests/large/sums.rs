//! Compares sums over a million samples in `f32` with `f64`: losses and norms to 1e-6, gradients to 1e-5 of the largest
//! number of their array. `RNN_CELL_SAMPLES=10000000 cargo test --release --test large sums` takes more samples.

use crate::common::{self, Rng, rng};
use ndarray::{Array1, Array2, Array3, ArrayD, ArrayRef2, ArrayView3, Axis, IxDyn, arr1, array};
use rnn_cell::train::{
    self, Average, Back, BoxedTrainableCell, Gradients, StepBack, TrainableCell, clip_by_global_norm, gradient_error,
    mean_squared_error, sequence_loss, sequence_losses, sigmoid_cross_entropy, weighted_mean_squared_error,
    weighted_sigmoid_cross_entropy,
};
use rnn_cell::{
    Arrays, BasicRnn, Dense, DropoutWrapper, DynamicRnn, Float, Gru, GruReset, LayerNormLstm, Lstm, MultiRnnCell,
    Parameters, ParametersMut, RnnCell, Ugrnn,
};

/// A multiple of 10,000.
fn samples() -> usize {
    std::env::var("RNN_CELL_SAMPLES").map_or(1_000_000, |samples| samples.parse().unwrap())
}

#[track_caller]
fn assert_near(found: impl Into<f64>, expected: f64, tolerance: f64) {
    let found = found.into();
    // Written so that NaN fails.
    assert!((found - expected).abs() <= tolerance * expected.abs(), "{found}, expected {expected}");
}

// ── Losses ──

#[test]
fn the_mean_of_squares() {
    let ones = Array1::<f32>::ones(samples());
    let (loss, d) = mean_squared_error(&ones, &Array1::zeros(samples())).unwrap();
    assert_near(loss, 1.0, 1e-6);
    assert_near(d[0], 2.0 / samples() as f64, 1e-6);
    let (loss, _) = mean_squared_error(&(ones * 0.1), &Array1::zeros(samples())).unwrap();
    assert_near(loss, f64::from(0.1_f32).powi(2), 1e-6);
}

#[test]
fn the_mean_of_squares_that_an_f32_does_not_hold() {
    let (loss, _) = mean_squared_error(&arr1(&[1e19_f32; 400]), &Array1::zeros(400)).unwrap();
    assert_near(loss, 1e38, 1e-6);
}

#[test]
fn the_weighted_mean_of_squares() {
    let (ones, zeros) = (Array1::<f32>::ones(samples()), Array1::zeros(samples()));
    let (loss, d) = weighted_mean_squared_error(&ones, &zeros, &(&ones * 0.1)).unwrap();
    assert_near(loss, 1.0, 1e-6);
    assert_near(d[0], 2.0 / samples() as f64, 1e-6);
}

/// Every logit is 0: each loss is ln 2.
#[test]
fn the_sigmoid_cross_entropy() {
    let (zeros, tenths) = (Array1::<f32>::zeros(samples()), Array1::from_elem(samples(), 0.1));
    let plain = sigmoid_cross_entropy(&zeros, &tenths).unwrap();
    for (loss, d) in [plain, weighted_sigmoid_cross_entropy(&zeros, &tenths, &tenths).unwrap()] {
        assert_near(loss, std::f64::consts::LN_2, 1e-6);
        assert_near(d[0], 0.4 / samples() as f64, 1e-6);
    }
}

/// Two classes, equally probable at every step: each loss is ln 2.
#[test]
fn sequence_losses_of_equal_logits() {
    let (ln_2, long) = (std::f64::consts::LN_2, samples());
    for (batch, seq) in [(1, long), (long, 1), (100, long / 100)] {
        let (logits, targets) = (Array3::<f32>::zeros((batch, seq, 2)), Array2::zeros((batch, seq)));
        for weight in [1.0, 0.1] {
            let weights = Array2::from_elem((batch, seq), weight);
            let (loss, d) = sequence_loss(&logits, &targets, &weights).unwrap();
            assert_near(loss, ln_2, 1e-6);
            assert_near(d[[0, 0, 1]], 0.5 / long as f64, 1e-6);
            for average in [Average::Timesteps, Average::Batch] {
                let (losses, d) = sequence_losses(&logits, &targets, &weights, average).unwrap();
                losses.iter().for_each(|&loss| assert_near(loss, ln_2, 1e-6));
                assert_near(d.sum_axis(Axis(2))[[0, 0]] + 1.0, 1.0, 1e-6);
            }
        }
    }
}

#[test]
fn a_loss_over_many_classes() {
    let classes = samples();
    let logits = Array3::<f32>::from_shape_fn((1, 1, classes), |(_, _, k)| if k % 3 == 0 { 0.7 } else { 0.0 });
    let (loss, _) = sequence_loss(&logits, &array![[0]], &array![[1.0]]).unwrap();
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - 0.7).exp()).sum();
    assert_near(loss, sum.ln(), 1e-6);
    // Smoothed, it is a tenth of the way to the mean over all classes.
    let smoothed = train::SequenceLoss::builder().label_smoothing(0.1).build().unwrap();
    let (loss, d) = smoothed.losses(&logits, &array![[0]], &array![[1.0]]).unwrap();
    let below: f64 = logits.iter().map(|&logit| f64::from(0.7 - logit)).sum();
    assert_near(loss[[]], sum.ln() + 0.1 * below / classes as f64, 1e-6);
    assert_near(d.iter().map(|&d| f64::from(d)).sum::<f64>() + 1.0, 1.0, 1e-6);
}

// ── Norms ──

/// Gradients with one array.
fn gradients<E: Float>(numbers: Array1<E>) -> Gradients<E> {
    rnn_cell::parameters! {
        struct One {
            "one" one: Array1<E>,
        }
    }
    Gradients::of(One { one: numbers })
}

#[test]
fn the_global_norm() {
    let mut long = gradients(Array1::from_elem(samples(), 0.1_f32));
    let expected = f64::from(0.1_f32) * (samples() as f64).sqrt();
    assert_near(clip_by_global_norm(&mut long, 1.0).unwrap(), expected, 1e-6);
    assert_near(long.arrays()[0][0], 1.0 / (samples() as f64).sqrt(), 1e-6);
}

#[test]
fn the_global_norm_of_numbers_at_the_ends_of_their_range() {
    fn check<E: Float>(number: f64, count: usize) {
        let mut all = gradients(Array1::from_elem(count, E::of(number)));
        let number = E::of(number).as_f64();
        let norm = clip_by_global_norm(&mut all, E::of(number / 4.0)).unwrap();
        let clipped = number / 4.0 / (count as f64).sqrt();
        assert_near(norm / number, (count as f64).sqrt(), 1e-6);
        assert_near(all.arrays()[0][[0]].as_f64() / number, clipped / number, 1e-6);
    }
    check::<f32>(3e38, 3);
    check::<f32>(1e-36, 3);
    check::<f64>(1e308, 3);
    check::<f64>(1e-300, 3);
    // The norm overflows `f64` and is infinite, but the gradients are finite and clipped.
    let mut all = gradients(Array1::from_elem(4, 1.7e308));
    assert_eq!(clip_by_global_norm(&mut all, 1.0).unwrap(), f64::INFINITY);
    assert_eq!(all.arrays()[0].as_slice().unwrap(), [0.5; 4]);
}

#[test]
fn the_global_norm_of_what_is_not_finite() {
    fn check<E: Float>() {
        let (infinite, nan) = (f64::INFINITY, f64::NAN);
        // Large numbers are summed in other units than small ones.
        for other in [0.0, 1.0, E::max_value().as_f64() / 2.0, E::min_positive_value().as_f64()] {
            for (bad, expected) in [(infinite, infinite), (-infinite, infinite), (nan, nan)] {
                for numbers in [[bad, other], [other, bad]] {
                    let mut all = gradients(Array1::from_iter(numbers.map(E::of)));
                    let norm = clip_by_global_norm(&mut all, E::max_value()).unwrap();
                    assert!(norm == expected || norm.is_nan() && expected.is_nan(), "{numbers:?}: {norm}");
                    assert!(all.arrays()[0].iter().all(|g| g.is_nan()), "{numbers:?}");
                }
            }
        }
        let mut all = gradients(Array1::from_iter([infinite, nan].map(E::of)));
        assert!(clip_by_global_norm(&mut all, E::one()).unwrap().is_nan());
        assert!(all.arrays()[0].iter().all(|g| g.is_nan()));
    }
    check::<f32>();
    check::<f64>();
}

#[test]
fn the_global_norm_of_nothing() {
    let norm = clip_by_global_norm(&mut gradients(Array1::<f32>::zeros(0)), 1.0).unwrap();
    assert_eq!(norm.to_bits(), 0);
}

// ── Gradients ──

/// Numbers by name.
type Named = Vec<(String, ArrayD<f64>)>;

fn named<E: Float, P: Parameters<E>>(parameters: &P) -> Named {
    let mut named = Vec::new();
    parameters.visit_parameters(&mut |name, array| named.push((name.to_owned(), array.mapv(|number| number.as_f64()))));
    named
}

fn assert_gradients_near(what: &str, found: &Gradients<f32>, expected: &Gradients<f64>, tolerance: f64) {
    for ((name, found), (_, expected)) in found.iter().zip(expected.iter()) {
        let largest = expected.iter().fold(0.0_f64, |largest, d| largest.max(d.abs()));
        let error = found.iter().zip(expected).fold(0.0, |worst: f64, (&found, &expected)| {
            let error = (f64::from(found) - expected).abs();
            if error.is_nan() { f64::INFINITY } else { worst.max(error) }
        });
        assert!(error <= tolerance * largest, "{what}, {name}: {:e} of the largest, {largest}", error / largest);
    }
}

/// The same weights in f32 and f64.
fn twin<C: Parameters<f32>, D: ParametersMut<f64>>(cell: &C, mut twin: D) -> D {
    let mut weights = named(cell).into_iter();
    twin.visit_parameters_mut(&mut |name, mut to| {
        let (from, weight) = weights.next().unwrap();
        assert_eq!(from, name);
        to.assign(&weight);
    });
    twin
}

/// (batch, seq), and the distance of checkpoints.
#[derive(Clone, Copy)]
struct Shape {
    batch: usize,
    seq: usize,
    every: Option<usize>,
}

/// The gradients of the sum of all outputs times a tenth: all samples pull one way.
fn cell_gradients<E: Float, C: TrainableCell<Elem = E>>(cell: &C, shape: Shape) -> Gradients<E> {
    let Shape { batch, seq, every } = shape;
    let mut x = Array2::<E>::zeros((seq, cell.input_size()));
    x.indexed_iter_mut().for_each(|((t, k), x)| *x = E::of(0.5 + [0.0, 0.25, -0.125][(t + k) % 3]));
    let x: ArrayView3<'_, E> = x.broadcast((batch, seq, cell.input_size())).unwrap();
    let d = ndarray::arr0(E::of(f64::from(0.1_f32)));
    let d = d.broadcast((batch, seq, cell.output_size())).unwrap();
    let driver = DynamicRnn::new(cell).initial_state(cell.training_state(batch, 1));
    let (_, _, tape) = match every {
        None => driver.record(&x).unwrap(),
        Some(every) => driver.checkpoint_every(every).record(&x).unwrap(),
    };
    tape.backward(&d).unwrap().parameters
}

/// Compares with the same cell in `f64`, over `rows` rows, which are all the same without dropout.
fn check<C, D>(what: &str, cell: &C, (in_f64, rows): (D, usize), shape: Shape)
where
    C: TrainableCell<Elem = f32>,
    D: TrainableCell<Elem = f64>,
{
    let mut expected = cell_gradients(&twin(cell, in_f64), Shape { batch: rows, ..shape });
    expected.arrays_mut().iter_mut().for_each(|array| *array *= (shape.batch / rows) as f64);
    assert_gradients_near(what, &cell_gradients(cell, shape), &expected, 1e-5);
}

/// Every kind of cell with sums of its own, and the wrapper that has some.
fn cells<E: Float>() -> Vec<(&'static str, BoxedTrainableCell<E>)> {
    let rng: &mut Rng = &mut rng(1);
    let lstm = Lstm::builder(2, 3).use_peepholes(true).num_proj(2).build(rng).unwrap();
    let normed = LayerNormLstm::<E>::new(2, 3, rng);
    let after = Gru::<E>::builder(2, 3).reset(GruReset::After).build(rng).unwrap();
    let stack = MultiRnnCell::new((BasicRnn::<E>::new(2, 2, rng), Ugrnn::new(2, 3, rng))).unwrap();
    vec![
        ("lstm", BoxedTrainableCell::new(common::randomized(lstm, rng))),
        ("layer_norm_lstm", BoxedTrainableCell::new(common::randomized(normed, rng))),
        ("gru", BoxedTrainableCell::new(common::gru::<E>(2, 3, rng))),
        ("gru, reset after", BoxedTrainableCell::new(common::randomized(after, rng))),
        ("stack", BoxedTrainableCell::new(common::randomized(stack, rng))),
        ("highway", BoxedTrainableCell::new(common::highway(Gru::<E>::new(2, 2, rng), false, rng))),
    ]
}

/// A record of more than a million samples would be large.
fn checkpoints(batch: usize) -> Option<usize> {
    (samples() > 1_000_000).then_some(1_000_000 / batch)
}

#[test]
fn gradients_of_every_cell() {
    let shape = Shape { batch: 500, seq: samples() / 500, every: checkpoints(500) };
    for ((name, cell), (_, in_f64)) in cells::<f32>().into_iter().zip(cells()) {
        check(name, &cell, (in_f64, 1), shape);
    }
}

/// The other tests compare with the same code in `f64`, which makes the same mistakes. Here are runs of more steps than an
/// accumulator sums before it moves on.
#[test]
fn gradients_of_long_runs_agree_with_central_differences() {
    for (name, mut cell) in cells::<f64>() {
        for seq in [64, 65, 130] {
            let x = common::array((2, seq, 2), &mut rng(3));
            let error = gradient_error(&mut cell, &x, Some(&[seq, seq - 1]), None).unwrap();
            assert!(error < 1e-7, "{name}, {seq} steps: {error:e}");
        }
    }
}

/// Dropout from the state runs back step by step.
#[test]
fn gradients_with_dropout() {
    fn cell<E: Float>() -> DropoutWrapper<BasicRnn<E>> {
        common::dropout(BasicRnn::new(1, 1, &mut rng(1)), 0.9, false)
    }
    let shape = Shape { batch: 100, seq: samples() / 100, every: checkpoints(100) };
    check("dropout", &cell(), (cell(), 100), shape);
}

/// Sums over the steps of one row, over the rows of one step, and over windows.
#[test]
fn gradients_of_long_rows_many_rows_and_many_windows() {
    let lstm = common::randomized(Lstm::builder(1, 1).use_peepholes(true).build(&mut rng(1)).unwrap(), &mut rng(2));
    let in_f64 = Lstm::builder(1, 1).use_peepholes(true).build(&mut rng(1)).unwrap();
    let long = Shape { batch: 1, seq: samples(), every: checkpoints(1) };
    check("one row", &lstm, (in_f64.clone(), 1), long);
    check("many rows", &lstm, (in_f64, 1), Shape { batch: samples(), seq: 1, every: None });
    let gru = common::randomized(Gru::<f32>::new(1, 1, &mut rng(1)), &mut rng(2));
    check("many windows", &gru, (Gru::new(1, 1, &mut rng(1)), 1), Shape { every: Some(10), ..long });
}

/// All inputs are 1, so every sample's gradient has the same sign.
#[test]
fn gradients_of_an_lstm_over_ones() {
    fn over_ones<E: Float>(cell: &Lstm<E>) -> Gradients<E> {
        let (x, d) = (Array3::ones((64, 200, 32)), Array3::from_elem((64, 200, 64), E::of(0.1)));
        let (_, _, tape) = train::dynamic_rnn(cell, &x, None, None).unwrap();
        tape.backward(&d).unwrap().parameters
    }
    let cell = Lstm::<f32>::new(32, 64, &mut rng(1));
    let expected = over_ones(&twin(&cell, Lstm::<f64>::new(32, 64, &mut rng(1))));
    assert_gradients_near("lstm", &over_ones(&cell), &expected, 5e-6);
}

#[test]
fn gradients_of_a_dense_layer() {
    let long = samples();
    for shape in [vec![long], vec![1, long], vec![10, 1, long / 10]] {
        let (kernel, bias) = (array![[0.5_f32, -1.0, 2.0], [0.25, 1.5, -0.5]], array![0.0, 0.5, 1.0]);
        let dense = Dense::from_weights(kernel, Some(bias)).unwrap();
        let (x, d) = (arr1(&[0.3_f32, -0.7]), arr1(&[0.1_f32, 0.2, -1.1]));
        let rows = |width| IxDyn(&[&shape[..], &[width]].concat());
        let (many_x, many_d) = (x.broadcast(rows(2)).unwrap(), d.broadcast(rows(3)).unwrap());
        let (_, found) = dense.backward(&many_x, &many_d).unwrap();
        let product = |k, j| f64::from(x[k]) * f64::from(d[j]) * long as f64;
        let mut expected = Gradients::zeros(&Dense::<f64>::new(2, 3, &mut rng(1)));
        expected.arrays_mut()[0] = Array2::from_shape_fn((2, 3), |(k, j)| product(k, j)).into_dyn();
        expected.arrays_mut()[1] = d.mapv(|d| f64::from(d) * long as f64).into_dyn();
        assert_gradients_near(&format!("{shape:?}"), &found, &expected, 1e-5);
    }
}

// ── A cell with nothing but its own step ──

rnn_cell::parameters! {
    /// h' = a ⊙ h + x.
    struct Leaky {
        "a" a: Array1<E>,
    }
}

impl<E: Float> RnnCell for Leaky<E> {
    type Elem = E;
    type State = Array2<E>;
    type Workspace = ();
    fn input_size(&self) -> usize {
        self.a.len()
    }
    fn output_size(&self) -> usize {
        self.a.len()
    }
    fn zero_state(&self, batch: usize) -> Array2<E> {
        Array2::zeros((batch, self.a.len()))
    }
    fn step(&self, x: &ArrayRef2<E>, h: &mut Array2<E>, output: &mut ArrayRef2<E>, (): &mut ()) {
        *h *= &self.a;
        *h += &x.view();
        output.assign(h);
    }
}

impl<E: Float> TrainableCell for Leaky<E> {
    type Record = Array2<E>;
    type Gradient = Self;
    fn zero_gradient(&self) -> Self {
        self.zeros()
    }
    fn step_recording(&self, x: &ArrayRef2<E>, h: &mut Array2<E>, output: &mut ArrayRef2<E>, (): &mut ()) -> Array2<E> {
        let before = h.clone();
        self.step(x, h, output, &mut ());
        before
    }
    fn step_backward(&self, before: Array2<E>, back: StepBack<'_, Self>, (): &mut ()) {
        let Back { d_outputs: d_output, d_state: d_h, d_inputs: d_x, gradient, .. } = back;
        *d_h += &d_output.view();
        gradient.a += &(before * &*d_h).sum_axis(Axis(0));
        d_x.assign(d_h);
        *d_h *= &self.a;
    }
}

#[test]
fn gradients_of_a_cell_that_steps() {
    let (cell, in_f64) = (Leaky { a: arr1(&[0.6_f32]) }, Leaky { a: arr1(&[0.0]) });
    check("steps", &cell, (in_f64, 1), Shape { batch: 1, seq: samples(), every: checkpoints(1) });
}
