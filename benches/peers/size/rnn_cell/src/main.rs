//! An LSTM over a sequence, forward.

use ndarray::Array3;
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::{Error, Lstm, dynamic_rnn};

fn main() -> Result<(), Error> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let cell = Lstm::<f32>::new(64, 128, &mut rng);
    let (outputs, _) = dynamic_rnn(&cell, &Array3::ones((1, 100, 64)), None, None)?;
    println!("{:?} {}", outputs.dim(), outputs.sum());
    Ok(())
}
