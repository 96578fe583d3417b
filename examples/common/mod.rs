//! Shared by the examples: prints arrays with their axes named.

use ndarray::{ArrayRef2, ArrayRef3, ArrayView1, s};

/// Prints `array` (batch, seq, features): a block for each word, a line for each of its letters.
///
/// Steps past a word's length are marked. `features` names the last axis.
pub fn draw(name: &str, features: &str, array: &ArrayRef3<f32>, words: &[&str], lengths: &[usize]) {
    println!("{name} {:?} = (batch, seq, {features})", array.dim());
    for (b, (word, &length)) in words.iter().zip(lengths).enumerate() {
        println!("  batch {b}: {word:?}, length {length}");
        for (t, letter) in word.chars().enumerate() {
            let past = if t < length { "" } else { "   past the length" };
            println!("    seq {t}  {letter}  {}{past}", numbers(array.slice(s![b, t, ..])));
        }
    }
    println!();
}

/// Prints `array` (batch, features), such as a leaf of a state: a line for each word.
pub fn draw_rows(name: &str, features: &str, array: &ArrayRef2<f32>, words: &[&str]) {
    println!("{name} {:?} = (batch, {features})", array.dim());
    for (b, (word, row)) in words.iter().zip(array.rows()).enumerate() {
        println!("  batch {b}: {word:?}  {}", numbers(row));
    }
    println!();
}

fn numbers(row: ArrayView1<f32>) -> String {
    let numbers: Vec<String> = row.iter().map(|number| format!("{number:8.4}")).collect();
    format!("[{} ]", numbers.join(" "))
}
