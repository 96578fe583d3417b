//! One word: the driver runs the same cell, with the same weights, once per letter.

mod common;

use common::{draw, draw_rows};
use ndarray::Array2;
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::{BasicRnn, Error, RnnCell, dynamic_rnn, one_hot};

fn main() -> Result<(), Error> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(42);
    let words = ["hello"];
    let x = one_hot(&words, "helo")?;
    let cell = BasicRnn::<f32>::new(4, 2, &mut rng);

    let (outputs, state) = dynamic_rnn(&cell, &x, None, None)?;

    draw("x", "input", &x, &words, &[5]);
    draw("outputs", "hidden", &outputs, &words, &[5]);
    println!("The two letters l (seq 2 and 3) give different outputs, because the state remembers what came before.\n");
    draw_rows("state", "hidden", &state, &words);

    println!("The same by hand, one step at a time:\n");
    let mut state = cell.zero_state(1);
    let mut output = Array2::zeros((1, 2));
    let mut workspace = Default::default();
    for (letter, input) in words[0].chars().zip(x.axis_iter(ndarray::Axis(1))) {
        cell.step(&input, &mut state, &mut output, &mut workspace);
        println!("  step({letter}) → {output:8.4}");
    }
    Ok(())
}
