//! Cells of your own that run, and are trained, as fast as the built-in ones: each brings its equation, the crate brings the
//! products. `ugrnn.rs` is the one to read first; `lstm.rs` has a state of two parts, `ind_rnn.rs` a weight of its own, `mgu.rs` two products.

mod ind_rnn;
mod lstm;
mod mgu;
mod ugrnn;

use ndarray::{Array3, s};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::train::{self, Adam, Optimizer, TrainableCell, mean_squared_error};
use rnn_cell::{Error, dynamic_rnn, one_hot};

const WORDS: [&str; 3] = ["hello", "eolll", "lleel"];
const LENGTHS: [usize; 3] = [5, 3, 4];

fn main() -> Result<(), Error> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(42);
    show("ugrnn", include_str!("ugrnn.rs"), ugrnn::MyUgrnn::new(4, 3, &mut rng)?)?;
    show("lstm", include_str!("lstm.rs"), lstm::MyLstm::new(4, 3, &mut rng)?)?;
    show("mgu", include_str!("mgu.rs"), mgu::MyMgu::new(4, 3, &mut rng)?)?;
    show("ind_rnn", include_str!("ind_rnn.rs"), ind_rnn::MyIndRnn::new(4, 3, &mut rng)?)?;

    println!("\nThe LSTM learns to tell the next letter:");
    let [first, .., last] = learn(100)?[..] else { unreachable!("there is more than one step") };
    println!("loss {first:.4} at first, {last:.4} after 100 steps");
    assert!(last < 0.5 * first, "the loss falls");
    Ok(())
}

/// Runs a cell over words of different lengths, and its gradients against central differences.
fn show<C: TrainableCell<Elem = f64>>(name: &str, code: &str, mut cell: C) -> Result<(), Error> {
    let x = one_hot(&WORDS, "helo")?; // (batch 3, seq 5, input 4)
    let (outputs, _) = dynamic_rnn(&cell, &x, Some(&LENGTHS), None)?;
    let error = train::gradient_error(&mut cell, &x, Some(&LENGTHS), None)?;
    let lines = code.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")).count();
    println!("{name:8} {lines} lines   outputs {:?}   gradient error {error:.1e}", outputs.dim());
    assert!(error < 1e-7, "{name}: {error}");
    Ok(())
}

/// Trains for that many steps; the loss at each.
pub fn learn(steps: usize) -> Result<Vec<f32>, Error> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut cell = lstm::MyLstm::<f32>::new(4, 4, &mut rng)?;
    let mut adam = Adam::builder().learning_rate(0.05).build(&cell)?;
    let word: Array3<f32> = one_hot(&["hello"], "helo")?;
    let (x, next) = (word.slice(s![.., ..4, ..]), word.slice(s![.., 1.., ..]).to_owned());
    let mut losses = Vec::new();
    for _ in 0..steps {
        let (outputs, _, tape) = train::dynamic_rnn(&cell, &x, None, None)?;
        let (loss, d_outputs) = mean_squared_error(&outputs, &next)?;
        let gradients = tape.backward(&d_outputs)?.parameters;
        adam.apply_gradients(&mut cell, &gradients)?;
        losses.push(loss);
    }
    Ok(losses)
}
