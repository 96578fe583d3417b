//! Many to one: an LSTM reads twelve values of a chaotic series and forecasts the next. Draws truth and forecast as SVG.
//!
//! The series is Mackey and Glass's (1977), dx/dt = 0.2 x(t − 17) / (1 + x(t − 17)¹⁰) − 0.1 x(t), with a value every 6
//! units of time. Name the picture's file with `cargo run --release --example time_series -- plot.svg`.

mod training;

use ndarray::{Array2, Array3};
use plotters::prelude::*;
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::train::{self, Adam, Gradients, Optimizer, Parts, mean_squared_error};
use rnn_cell::{Dense, Lstm, LstmState, dynamic_rnn};
use std::error::Error;
use std::path::{Path, PathBuf};
use training::Progress;

const WINDOW: usize = 12;
const TRAINING: usize = 700;
const TEST: usize = 200;
const HIDDEN: usize = 32;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).map_or_else(|| std::env::temp_dir().join("time_series.svg"), PathBuf::from);
    let (error, baseline) = forecast(300, &path)?;
    println!("drawn in {}", path.display());
    println!("mean squared error {error:.6} (tomorrow is today: {baseline:.6})");
    Ok(())
}

/// Trains for `steps`, draws the forecast of values it was not trained on, and returns the mean squared errors of the
/// forecast and of "tomorrow is today".
pub fn forecast(steps: usize, path: &Path) -> Result<(f64, f64), Box<dyn Error>> {
    let series = mackey_glass(TRAINING + TEST + WINDOW);
    // Each row is a window, with the value after it.
    let x = Array3::from_shape_fn((TRAINING + TEST, WINDOW, 1), |(row, step, _)| series[row + step]);
    let y = Array2::from_shape_fn((TRAINING + TEST, 1), |(row, _)| series[row + WINDOW]);
    let (x_train, x_test) = x.view().split_at(ndarray::Axis(0), TRAINING);
    let (y_train, y_test) = y.view().split_at(ndarray::Axis(0), TRAINING);

    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut cell = Lstm::<f64>::new(1, HIDDEN, &mut rng);
    let mut dense = Dense::new(HIDDEN, 1, &mut rng);
    let model = Parts::new([("cell", &mut cell), ("dense", &mut dense)]);
    let mut adam = Adam::builder().learning_rate(0.01).build(&model)?;

    let progress = Progress::new(steps);
    for step in 1..=steps {
        let (outputs, state, tape) = train::dynamic_rnn(&cell, &x_train, None, None)?;
        let (loss, d_predictions) = mean_squared_error(&dense.forward(&state.h)?, &y_train)?;

        // The loss uses only the final state, so the gradient of the outputs is 0.
        let (d_h, d_dense) = dense.backward(&state.h, &d_predictions)?;
        let d_state = LstmState { c: Array2::zeros(state.c.dim()), h: d_h };
        let d_cell = tape.d_final_state(d_state).backward(&Array3::zeros(outputs.dim()))?.parameters;
        let gradients = Gradients::join([("cell", d_cell), ("dense", d_dense)]);
        adam.apply_gradients(&mut Parts::new([("cell", &mut cell), ("dense", &mut dense)]), &gradients)?;

        progress.show(step, format!("error {loss:.6}"));
        if step % 50 == 0 {
            progress.println(format!("step {step:3}  error {loss:.6}"));
        }
    }
    progress.clear();

    let (_, state) = dynamic_rnn(&cell, &x_test, None, None)?;
    let predictions = dense.forward(&state.h)?;
    let (error, _) = mean_squared_error(&predictions, &y_test)?;
    let today = Array2::from_shape_fn(y_test.dim(), |(row, _)| x_test[[row, WINDOW - 1, 0]]);
    let (baseline, _) = mean_squared_error(&today, &y_test)?;
    draw(path, y_test.iter().copied(), predictions.iter().copied())?;
    Ok((error, baseline))
}

/// Euler's method in steps of 0.1: every 60th value after a warm-up, minus the mean, 0.9.
fn mackey_glass(count: usize) -> Vec<f64> {
    const DELAY: usize = 170;
    const FORGET: usize = 1000;
    let mut x = vec![1.2_f64; DELAY + 1];
    for _ in 0..60 * (FORGET + count) {
        let (now, past) = (x[x.len() - 1], x[x.len() - 1 - DELAY]);
        x.push(now + 0.1 * (0.2 * past / (1.0 + past.powi(10)) - 0.1 * now));
    }
    x.iter().skip(DELAY + 60 * FORGET).step_by(60).take(count).map(|value| value - 0.9).collect()
}

fn draw(
    path: &Path,
    truth: impl Iterator<Item = f64>,
    forecast: impl Iterator<Item = f64>,
) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(path, (1000, 400)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption("Mackey–Glass, one step ahead", ("sans-serif", 20))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(45)
        .build_cartesian_2d(0..TEST, -0.6..0.8)?;
    chart.configure_mesh().max_light_lines(1).x_desc("step").draw()?;
    let line = |values: &mut dyn Iterator<Item = f64>| values.enumerate().collect::<Vec<_>>();
    let (mut truth, mut forecast) = (truth, forecast);
    let series = [("truth", line(&mut truth), BLACK, 3), ("forecast", line(&mut forecast), RED, 1)];
    for (name, points, color, width) in series {
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(width)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(width)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE)
        .border_style(BLACK)
        .draw()?;
    root.present()?;
    Ok(())
}
