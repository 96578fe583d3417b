//! A number that differs where parameters do.

use rnn_cell::{Float, Parameters};

/// A hash of names, shapes and bits, so that processes can compare what they hold without sending it.
///
/// Equal parameters give the same number on every machine. It is no protection against someone who wants two to collide.
#[must_use]
pub fn checksum<E: Float, P: Parameters<E> + ?Sized>(parameters: &P) -> u64 {
    let mut hash = layout(parameters);
    parameters.visit_parameters(&mut |_, array| {
        // A multiplication waits for the one before it: four take turns.
        let mut lanes = [hash, 1, 2, 3];
        for (at, number) in array.iter().enumerate() {
            lanes[at % 4] = fold(lanes[at % 4], number.as_f64().to_bits());
        }
        hash = lanes.into_iter().reduce(fold).expect("there are four");
    });
    hash
}

/// A hash of names and shapes.
pub(crate) fn layout<E: Float, P: Parameters<E> + ?Sized>(parameters: &P) -> u64 {
    let mut hash = size_of::<E>() as u64;
    parameters.visit_parameters(&mut |name, array| {
        hash = fold(text(hash, name), array.ndim() as u64);
        array.shape().iter().for_each(|&len| hash = fold(hash, len as u64));
    });
    hash
}

/// Hashes a text into `hash`.
pub(crate) fn text(hash: u64, text: &str) -> u64 {
    text.bytes().fold(fold(hash, text.len() as u64), |hash, byte| fold(hash, u64::from(byte)))
}

/// Both halves of a product with an odd constant, so that every bit of `word` reaches low and high bits.
fn fold(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash.rotate_left(29) ^ word) * 0x9e37_79b9_7f4a_7c15;
    (product as u64) ^ ((product >> 64) as u64).wrapping_add(word)
}
