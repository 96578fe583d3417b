//! Words in, lines out.

use crate::model::G2p;
use std::io::{BufRead, Error, Result, Write};

/// Words read before they are answered.
const CHUNK: usize = 1536;

/// Answers words, one per line; skips blank lines.
pub fn answer_lines(model: &G2p, input: impl BufRead, mut output: impl Write) -> Result<()> {
    let mut words = Vec::new();
    for line in input.lines() {
        let line = line?;
        if !line.trim().is_empty() {
            words.push(line.trim().to_string());
        }
        if words.len() == CHUNK {
            answer(model, &words, &mut output)?;
            words.clear();
        }
    }
    answer(model, &words, &mut output)
}

/// Prints a line per word: the word, a tab, its phonemes. The network knows only lowercase letters.
pub fn answer(model: &G2p, words: &[String], output: &mut impl Write) -> Result<()> {
    let small: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
    for (word, phonemes) in words.iter().zip(model.phonemes(&small)) {
        writeln!(output, "{word}\t{}", phonemes.join(" "))?;
    }
    output.flush()
}

/// Prints `count` lines per word: the word, its log probability, its phonemes.
pub fn answer_beams(model: &G2p, words: &[String], count: usize, output: &mut impl Write) -> Result<()> {
    for word in words {
        let pronunciations = model.pronunciations(&word.to_lowercase(), count).map_err(Error::other)?;
        for (phonemes, log_prob) in pronunciations {
            writeln!(output, "{word}\t{log_prob:.3}\t{}", phonemes.join(" "))?;
        }
    }
    output.flush()
}
