//! One cell, one step: the letter h goes in as 4 numbers and comes out as 2.

mod common;

use common::{draw, draw_rows};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::{BasicRnn, Error, dynamic_rnn, one_hot};

fn main() -> Result<(), Error> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(42);
    let words = ["h"];
    let x = one_hot(&words, "helo")?; // h = [1, 0, 0, 0], e = [0, 1, 0, 0], …
    let cell = BasicRnn::<f32>::new(4, 2, &mut rng); // input_size 4, hidden_size 2

    let (outputs, state) = dynamic_rnn(&cell, &x, None, None)?;

    draw("x", "input", &x, &words, &[1]);
    println!("The cell: h' = tanh([x, h] · kernel + bias), h = [0, 0] at first, bias = [0, 0]");
    println!("kernel {:?} = (input + hidden, hidden)", cell.weights().kernel.dim());
    println!("{:8.4}\n", cell.weights().kernel);
    draw("outputs", "hidden", &outputs, &words, &[1]);
    println!("The input is 1 in its first place and the state is 0: the output is tanh of the kernel's first row.");
    println!("After one step the state is the output:\n");
    draw_rows("state", "hidden", &state, &words);
    Ok(())
}
