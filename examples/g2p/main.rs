//! English words to phonemes, with a model trained in PyTorch's layout (see `examples/g2p_en/README.md`).
//!
//! ```text
//! cargo run --release --example g2p --features safetensors -- hello tensorflow
//! cargo run --release --example g2p --features safetensors < words.txt
//! cargo run --release --example g2p --features safetensors -- --beam 5 read
//! cargo run --release --example g2p --features safetensors -- --bench
//! ```
//!
//! Prints one line per word: the word, a tab, its phonemes separated by spaces. `--beam` prints several pronunciations
//! of each word, with their log probabilities.

mod model;
mod text;

use model::G2p;
use std::io::{stdin, stdout};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/g2p_en");
    let model = G2p::from_bytes(&std::fs::read(format!("{folder}/weights.safetensors"))?)?;
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        None => text::answer_lines(&model, stdin().lock(), stdout().lock())?,
        Some("--bench") => bench(&model, &std::fs::read_to_string(format!("{folder}/expected.tsv"))?),
        Some("--beam") => {
            let count = words.get(1).and_then(|count| count.parse().ok()).ok_or("--beam needs a number")?;
            text::answer_beams(&model, &words[2..], count, &mut stdout().lock())?;
        }
        Some(option) if option.starts_with("--") => {
            return Err(format!("unknown option {option}: pass --beam, --bench, words, or nothing").into());
        }
        Some(_) => text::answer(&model, &words, &mut stdout().lock())?,
    }
    Ok(())
}

/// Prints words per second: the best of ten rounds, each over the words of `expected` 16 times.
fn bench(model: &G2p, expected: &str) {
    let words: Vec<&str> = expected.lines().filter_map(|line| line.split('\t').next()).collect();
    let words = words.repeat(16);
    let round = || {
        let start = Instant::now();
        let answers = model.phonemes(&words);
        assert_eq!(answers.len(), words.len());
        words.len() as f64 / start.elapsed().as_secs_f64()
    };
    let best = (0..10).map(|_| round()).fold(0.0, f64::max);
    println!("{best:.0} words per second");
}
