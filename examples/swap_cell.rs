//! Swap the cell and nothing else changes: one function drives a BasicRnn, an Lstm and a Gru.

mod common;

use common::{draw, draw_rows};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::{BasicRnn, Error, Gru, Lstm, RnnCell, State, dynamic_rnn, one_hot};

fn drive<C: RnnCell<Elem = f32>>(name: &str, cell: &C) -> Result<(), Error> {
    let words = ["hello", "eolll"];
    let lengths = [5, 3];
    let x = one_hot(&words, "helo")?;

    let (outputs, state) = dynamic_rnn(cell, &x, Some(&lengths), None)?;

    println!("── {name} ──\n");
    draw("outputs", "hidden", &outputs, &words, &lengths);
    // Cells differ in what they carry: h alone, or c and h. Every state shows its arrays in the same way.
    state.visit(&mut |leaf| draw_rows("state", "hidden", &leaf, &words));
    Ok(())
}

fn main() -> Result<(), Error> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(42);
    drive("BasicRnn: the state is h", &BasicRnn::new(4, 2, &mut rng))?;
    drive("Lstm: the state is c, then h", &Lstm::new(4, 2, &mut rng))?;
    drive("Gru: the state is h", &Gru::new(4, 2, &mut rng))
}
