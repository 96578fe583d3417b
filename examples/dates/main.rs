//! Learns to turn dates as people write them into ISO dates, with attention: "3rd of May 1979" becomes 1979-05-03.
//!
//! Prints how many held-out dates come out exactly, and the beams of three dates. Draws where the model looks while it
//! writes. Name the picture's file with `cargo run --release --example dates -- alignment.svg`.

mod data;
mod model;
mod picture;
#[path = "../training/mod.rs"]
mod training;

use model::Model;
use rnn_cell::train::Optimizer;
use std::error::Error;
use std::path::{Path, PathBuf};
use training::Progress;

/// Training steps of the program. Fewer learn less.
const STEPS: usize = 400;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).map_or_else(|| std::env::temp_dir().join("dates.svg"), PathBuf::from);
    let (model, exact) = learn(STEPS, &path)?;
    println!("drawn in {}", path.display());
    for date in ["Saturday, 3 May 1979", "12/25/2021", "the 1st of February 1950"] {
        println!("{date}");
        for (score, iso) in model.beams(date, 3)? {
            println!("  {score:7.3}  {iso}");
        }
    }
    println!("{:.1} % of held-out dates are exact", 100.0 * exact);
    Ok(())
}

/// Trains for `steps` on made-up dates and draws an alignment. Returns the model, and the share of dates it was not
/// trained on that it turns exactly.
pub fn learn(steps: usize, path: &Path) -> Result<(Model, f64), Box<dyn Error>> {
    let mut dates = data::Dates::new(1);
    let mut model = Model::new(2)?;
    let mut adam = model.optimizer()?;
    let progress = Progress::new(steps);
    for step in 1..=steps {
        adam.set_learning_rate(0.01 * (1.0 - step as f64 / (steps + 1) as f64))?;
        let loss = model.train(&dates.take(64), &mut adam)?;
        progress.show(step, format!("loss {loss:.4}"));
        if step % 100 == 0 {
            progress.println(format!("step {step:4}  loss {loss:.4}"));
        }
    }
    progress.clear();
    let held_out = data::Dates::new(3).take(500);
    let answers = model.translate(&held_out.iter().map(|pair| pair.written.as_str()).collect::<Vec<_>>())?;
    let exact = answers.iter().zip(&held_out).filter(|(answer, pair)| **answer == pair.iso).count();
    let date = "Saturday, 3rd of May 1979";
    let (iso, alignment) = model.align(date)?;
    picture::draw(path, date, &iso, &alignment)?;
    Ok((model, exact as f64 / held_out.len() as f64))
}
