//! A decoder: each row reads the letter it wrote last, and stops when it writes a full stop.
//!
//! The cell is not trained. Its weights are set by hand so that `h` is followed by `e`, then `l`, `o` and a full stop.
//! Trained weights would run in the same loop.

use ndarray::{Array1, Array2, arr1};
use rnn_cell::cells::BasicRnnWeights;
use rnn_cell::{Activation, BasicRnn, Error, argmax, raw_rnn};

const ALPHABET: [char; 5] = ['h', 'e', 'l', 'o', '.'];
const STOP: usize = 4;

/// Reads the one-hot vector of a letter and returns that of the next one.
fn speller() -> Result<BasicRnn<f32>, Error> {
    let letters = ALPHABET.len();
    let mut kernel = Array2::zeros((letters + letters, letters)); // rows: the input's letters, then the state's
    for letter in 0..STOP {
        kernel[[letter, letter + 1]] = 1.0;
    }
    let weights = BasicRnnWeights { kernel, bias: Some(Array1::zeros(letters)) };
    BasicRnn::<f32>::builder(letters, letters).activation(Activation::Linear).build_from(weights)
}

fn main() -> Result<(), Error> {
    let first_letters = [0, 2, 3]; // h, l, o
    let batch = first_letters.len();
    let mut words: Vec<String> = first_letters.iter().map(|&letter| ALPHABET[letter].to_string()).collect();

    let cell = speller()?;
    println!("time   what each row reads next");
    let (outputs, _state) = raw_rnn(&cell, batch, |step| {
        let letters = match &step.output {
            None => arr1(&first_letters), // time 0: no step has run yet
            Some(output) => argmax(output).expect("the alphabet is not empty"),
        };
        for row in 0..batch {
            if step.finished[row] {
                continue;
            }
            let letter = letters[row];
            if step.time > 0 {
                words[row].push(ALPHABET[letter]);
            }
            step.finished[row] = letter == STOP;
            step.next_input.row_mut(row).fill(0.0);
            step.next_input[[row, letter]] = 1.0;
        }
        let letter = |row: usize| if step.finished[row] { '-' } else { ALPHABET[letters[row]] };
        println!("   {}   {:?}", step.time, (0..batch).map(letter).collect::<String>());
    })?;

    println!("\nwords: {words:?}\n");
    println!("outputs {:?} = (steps, batch, letter): as many steps as the longest row took", outputs.dim());
    println!("             {}", ALPHABET.map(|letter| format!("{letter:>3}")).concat());
    for (t, step) in outputs.outer_iter().enumerate() {
        for (row, scores) in step.outer_iter().enumerate() {
            let numbers: String = scores.iter().map(|number| format!("{number:3}")).collect();
            let finished = if scores.sum() == 0.0 { "   finished" } else { "" };
            println!("step {t}  row {row} {numbers}{finished}");
        }
    }
    Ok(())
}
