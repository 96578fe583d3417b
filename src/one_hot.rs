//! [`one_hot`]: turns words into arrays.

use crate::{Error, Float};
use ndarray::Array3;

/// Encodes words as one-hot vectors, (words, letters, alphabet): 1 at a letter's place in the alphabet, 0 elsewhere.
///
/// ```
/// let x = rnn_cell::one_hot::<f32>(&["hello", "eolll", "lleel"], "helo")?;
/// assert_eq!(x.dim(), (3, 5, 4));
/// assert_eq!(x[[0, 0, 0]], 1.0); // 'h' is the first letter of the alphabet
/// # Ok::<(), rnn_cell::Error>(())
/// ```
///
/// # Errors
/// - [`Error::UnknownLetter`] if a letter is not in the alphabet.
/// - [`Error::WordLength`] if the words differ in length.
/// - [`Error::RepeatedLetter`] if a letter appears twice in the alphabet.
pub fn one_hot<E: Float>(words: &[&str], alphabet: &str) -> Result<Array3<E>, Error> {
    let letters: Vec<char> = alphabet.chars().collect();
    if let Some((_, &letter)) = letters.iter().enumerate().find(|(i, l)| letters[..*i].contains(l)) {
        return Err(Error::RepeatedLetter { letter, alphabet: alphabet.into() });
    }
    let seq = words.first().map_or(0, |word| word.chars().count());
    let mut x = Array3::zeros((words.len(), seq, letters.len()));
    for (row, word) in words.iter().enumerate() {
        let found = word.chars().count();
        if found != seq {
            return Err(Error::WordLength { word: row, expected: seq, found });
        }
        for (step, letter) in word.chars().enumerate() {
            let index = letters.iter().position(|&l| l == letter).ok_or_else(|| Error::UnknownLetter {
                letter,
                word: (*word).into(),
                alphabet: alphabet.into(),
            })?;
            x[[row, step, index]] = E::one();
        }
    }
    Ok(x)
}
