//! The adding problem of Hochreiter and Schmidhuber (1997): read 100 numbers, two of them marked, and give the sum of
//! the marked two at the end.
//!
//! Always answering 1, the mean, gives a mean squared error of 1/6. The simple network does no better: what it reads
//! early is lost by the end, and so is the gradient on its way back. The LSTM, trained in the same way, learns to add.

mod training;

use ndarray::{Array2, Array3, s};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::train::{
    self, Adam, Gradients, Optimizer, Parts, TrainableCell, clip_by_global_norm, mean_squared_error,
};
use rnn_cell::{BasicRnn, Dense, Error, Lstm, dynamic_rnn};
use training::Progress;

const STEPS: usize = 100;
const BATCH: usize = 50;
const HIDDEN: usize = 32;

fn main() -> Result<(), Error> {
    let (lstm, rnn) = compare(3000)?;
    println!("mean squared error: Lstm {lstm:.4}, BasicRnn {rnn:.4}");
    Ok(())
}

/// Trains an LSTM on at most `at_most` batches, until it can add, and a simple network on as many. Returns their mean
/// squared errors on sequences they have not seen.
pub fn compare(at_most: usize) -> Result<(f32, f32), Error> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let (lstm, batches) = learn("Lstm", Lstm::new(2, HIDDEN, &mut rng), at_most)?;
    let (rnn, _) = learn("BasicRnn", BasicRnn::new(2, HIDDEN, &mut rng), batches)?;
    Ok((lstm, rnn))
}

/// Makes `count` sequences (count, 100, 2) of a number in 0..1 and a marker, set once in each half; and their sums.
fn sequences(count: usize, rng: &mut Xoshiro256PlusPlus) -> (Array3<f32>, Array2<f32>) {
    let mut x = Array3::from_shape_simple_fn((count, STEPS, 2), || rng.random_range(0.0..1.0));
    x.slice_mut(s![.., .., 1]).fill(0.0);
    let mut sums = Array2::zeros((count, 1));
    for row in 0..count {
        for half in [0..STEPS / 2, STEPS / 2..STEPS] {
            let step = rng.random_range(half);
            x[[row, step, 1]] = 1.0;
            sums[[row, 0]] += x[[row, step, 0]];
        }
    }
    (x, sums)
}

/// Returns the mean squared error and the number of batches used.
fn learn<C: TrainableCell<Elem = f32>>(name: &str, mut cell: C, at_most: usize) -> Result<(f32, usize), Error> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(2);
    let mut dense = Dense::new(HIDDEN, 1, &mut rng);
    let model = Parts::new([("cell", &mut cell), ("dense", &mut dense)]);
    let mut adam = Adam::builder().learning_rate(0.005).build(&model)?;

    let progress = Progress::new(at_most);
    let (mut running, mut batches) = (1.0 / 6.0, 0);
    while batches < at_most && running > 0.002 {
        let (x, sums) = sequences(BATCH, &mut rng);
        let (outputs, _, tape) = train::dynamic_rnn(&cell, &x, None, None)?;
        let last = outputs.slice(s![.., -1, ..]);
        let (loss, d_predictions) = mean_squared_error(&dense.forward(&last)?, &sums)?;

        let (d_last, d_dense) = dense.backward(&last, &d_predictions)?;
        let mut d_outputs = Array3::zeros(outputs.dim());
        d_outputs.slice_mut(s![.., -1, ..]).assign(&d_last);
        let d_cell = tape.backward(&d_outputs)?.parameters;
        let mut gradients = Gradients::join([("cell", d_cell), ("dense", d_dense)]);
        clip_by_global_norm(&mut gradients, 1.0)?;
        adam.apply_gradients(&mut Parts::new([("cell", &mut cell), ("dense", &mut dense)]), &gradients)?;

        batches += 1;
        running += 0.01 * (loss - running);
        progress.show(batches, format!("{name}, error {running:.4}"));
        if batches % 250 == 0 {
            progress.println(format!("{name:8}  batch {batches:4}  error {running:.4}"));
        }
    }
    progress.clear();

    let (x, sums) = sequences(1000, &mut Xoshiro256PlusPlus::seed_from_u64(3));
    let (outputs, _) = dynamic_rnn(&cell, &x, None, None)?;
    let (error, _) = mean_squared_error(&dense.forward(&outputs.slice(s![.., -1, ..]))?, &sums)?;
    Ok((error, batches))
}
