//! An LSTM learns to write "ihello" while it reads "hihell": at each letter it predicts the next one.
//!
//! The letter h is followed by i first and by e later. So the next letter depends not just on the current letter but on
//! those before it, which the state remembers.

mod training;

use ndarray::{Array2, Array3, Axis};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::train::{self, Adam, Gradients, Optimizer, Parts, sequence_loss};
use rnn_cell::{Dense, Error, Lstm, dynamic_rnn, one_hot};
use training::Progress;

const LETTERS: &str = "hielo";
const READS: &str = "hihell";
const SAYS: &str = "ihello";

fn main() -> Result<(), Error> {
    let accuracy = learn(100)?;
    println!("accuracy {accuracy:.3}");
    Ok(())
}

/// Trains for `steps`, prints each new answer of the network, and returns the share of right letters.
pub fn learn(steps: usize) -> Result<f64, Error> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let x = one_hot(&[READS], LETTERS)?; // (batch 1, seq 6, input 5)
    let classes = SAYS.chars().filter_map(|letter| LETTERS.find(letter));
    let targets = Array2::from_shape_vec((1, 6), classes.collect()).expect("each letter of SAYS is in LETTERS");
    let weights = Array2::ones((1, 6));

    let mut cell = Lstm::<f32>::new(5, 8, &mut rng);
    let mut dense = Dense::new(8, 5, &mut rng); // from the cell's outputs to a score for each letter
    let model = Parts::new([("cell", &mut cell), ("dense", &mut dense)]);
    let mut adam = Adam::builder().learning_rate(0.05).build(&model)?;

    println!("it reads           {READS}");
    println!("it should write    {SAYS}");
    let progress = Progress::new(steps);
    let mut said = String::new();
    for step in 1..=steps {
        let (outputs, _, tape) = train::dynamic_rnn(&cell, &x, None, None)?;
        let logits = dense.forward(&outputs)?;
        let (loss, d_logits) = sequence_loss(&logits, &targets, &weights)?;

        let (d_outputs, d_dense) = dense.backward(&outputs, &d_logits)?;
        let d_cell = tape.backward(&d_outputs)?.parameters;
        let gradients = Gradients::join([("cell", d_cell), ("dense", d_dense)]);
        adam.apply_gradients(&mut Parts::new([("cell", &mut cell), ("dense", &mut dense)]), &gradients)?;

        let says = most_probable(&logits);
        if says != said {
            progress.println(format!("step {step:3} it writes {says}   loss {loss:.4}"));
            said = says;
        }
        progress.show(step, format!("loss {loss:.4}"));
    }
    progress.clear();

    let (outputs, _) = dynamic_rnn(&cell, &x, None, None)?;
    let says = most_probable(&dense.forward(&outputs)?);
    let right = says.chars().zip(SAYS.chars()).filter(|(said, target)| said == target).count();
    Ok(right as f64 / SAYS.len() as f64)
}

/// The letter with the largest logit at each step.
fn most_probable(logits: &Array3<f32>) -> String {
    let best = logits.lanes(Axis(2)).into_iter().map(|lane| {
        let (class, _) = lane.indexed_iter().max_by(|(_, a), (_, b)| a.total_cmp(b)).expect("there are letters");
        class
    });
    best.filter_map(|class| LETTERS.chars().nth(class)).collect()
}
