//! Runs three words of different lengths at once. Past a word's length its outputs are 0 and its state does not change.

mod common;

use common::{draw, draw_rows};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::{Error, Lstm, dynamic_rnn, one_hot};

fn main() -> Result<(), Error> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(42);
    let words = ["hello", "eolll", "lleel"];
    let lengths = [5, 3, 4];
    let x = one_hot(&words, "helo")?;
    let cell = Lstm::<f32>::new(4, 2, &mut rng);

    let (outputs, state) = dynamic_rnn(&cell, &x, Some(&lengths), None)?;

    draw("x", "input", &x, &words, &lengths);
    draw("outputs", "hidden", &outputs, &words, &lengths);
    println!("A row's final state is the one after its last step: h is the last output above that is not 0.\n");
    draw_rows("state.h", "hidden", &state.h, &words);
    draw_rows("state.c", "hidden", &state.c, &words);
    Ok(())
}
