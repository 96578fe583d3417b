//! Names of other frameworks: exports and the way back, how many layers a stack has, parts of a file.

mod batch_norm;
mod counts;
mod exported;
mod exports;
mod parts;

use ndarray::{Array3, ArrayViewD};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::{Parameters, ParametersMut};

fn rng(seed: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(seed)
}

/// Random numbers in all parameters, and a −0 at the end of each.
fn randomized<P: ParametersMut<f64>>(mut cell: P, seed: u64) -> P {
    let rng = &mut rng(seed);
    cell.visit_parameters_mut(&mut |_, mut array| {
        let len = array.len();
        let random = rnn_cell::init::uniform::<f64, _>((1, len), 0.6, rng);
        array.iter_mut().zip(&random).for_each(|(to, from)| *to = *from);
        array.iter_mut().last().into_iter().for_each(|last| *last = -0.0);
    });
    cell
}

/// Names, shapes and bits of all parameters.
fn bits<P: Parameters<f64> + ?Sized>(cell: &P) -> Vec<(String, Vec<usize>, Vec<u64>)> {
    let mut all = Vec::new();
    cell.visit_parameters(&mut |name, array| all.push((name.to_owned(), array.shape().to_vec(), bits_of(array))));
    all
}

fn bits_of(array: ArrayViewD<'_, f64>) -> Vec<u64> {
    array.iter().map(|number| number.to_bits()).collect()
}

fn input(seed: u64) -> Array3<f64> {
    rnn_cell::init::uniform((10, 3), 2.0, &mut rng(seed)).into_shape_with_order((2, 5, 3)).unwrap()
}
