//! What a model's head makes of logits: [`softmax`], [`argmax`], [`top_k`].

use crate::checks::{check_number, check_sizes};
use crate::{Error, Float};
use ndarray::{Array, ArrayRef, ArrayRef1, ArrayViewMut1, Axis, Dimension, RemoveAxis, Zip};
use std::cmp::Ordering;

/// Probabilities exp(x) / Σ exp(x) over the last axis: TensorFlow's `tf.nn.softmax`. Logits (…, classes) give an array of the
/// same shape.
///
/// Large logits do not overflow. A NaN makes its row NaN and no other.
///
/// ```
/// let probabilities = rnn_cell::softmax(&ndarray::array![[1000.0_f64, 1000.0], [0.0, 3_f64.ln()]]);
/// assert!(probabilities.abs_diff_eq(&ndarray::array![[0.5, 0.5], [0.25, 0.75]], 1e-12));
/// ```
///
/// # Panics
/// If `logits` has no axes.
#[must_use]
pub fn softmax<E: Float, D: Dimension>(logits: &ArrayRef<E, D>) -> Array<E, D> {
    let mut probabilities = Array::zeros(logits.raw_dim());
    let last = Axis(logits.ndim() - 1);
    Zip::from(probabilities.lanes_mut(last)).and(logits.lanes(last)).for_each(|mut to, logits| {
        let (_, sum) = exponentials(&logits, &mut to);
        let sum = E::of(sum);
        to.mapv_inplace(|exponential| exponential / sum);
    });
    probabilities
}

/// Writes the exponentials of the logits, less the largest; returns the largest and the exponentials' sum.
pub(crate) fn exponentials<E: Float>(logits: &ArrayRef1<E>, to: &mut ArrayViewMut1<'_, E>) -> (E, f64) {
    // Less the largest logit no exponential overflows, and the largest is 1. (`max` would drop a NaN.)
    let largest = logits.iter().fold(E::neg_infinity(), |a, &b| if b > a || b.is_nan() { b } else { a });
    to.zip_mut_with(logits, |to, &logit| *to = (logit - largest).exp());
    (largest, to.iter().map(|exponential| exponential.as_f64()).sum())
}

/// The position of the largest number along the last axis: TensorFlow's `tf.argmax(x, axis=-1)`. Logits (…, classes) give
/// classes (…).
///
/// The first of equal numbers wins. A NaN counts as larger than any number.
///
/// ```
/// let letters = rnn_cell::argmax(&ndarray::array![[0.1, 0.7, 0.2], [0.5, 0.5, 0.0]])?;
/// assert_eq!(letters, ndarray::array![1, 0]);
/// # Ok::<(), rnn_cell::Error>(())
/// ```
///
/// # Errors
/// [`Error::ZeroSize`] if the last axis has length 0.
///
/// # Panics
/// If `logits` has no axes.
pub fn argmax<E: Float, D: RemoveAxis>(logits: &ArrayRef<E, D>) -> Result<Array<usize, D::Smaller>, Error> {
    let last = Axis(logits.ndim() - 1);
    check_sizes(&[("classes", logits.len_of(last))])?;
    let larger = |logits: &ArrayRef1<E>, best: usize, at: usize| match descending(&logits[at], &logits[best]) {
        Ordering::Less => at,
        _ => best,
    };
    Ok(logits.map_axis(last, |logits| (1..logits.len()).fold(0, |best, at| larger(&logits, best, at))))
}

/// What [`top_k`] finds, (…, k) each.
#[derive(Debug, Clone, PartialEq)]
pub struct TopK<E, D: Dimension> {
    /// The numbers, the largest first.
    pub values: Array<E, D>,
    /// Their positions along the last axis.
    pub indices: Array<usize, D>,
}

/// Finds the `k` largest numbers along the last axis, (…, classes): TensorFlow's `tf.nn.top_k`.
///
/// Of equal numbers the one with the lower position comes first. A NaN counts as larger than any number. Only the `k` are
/// sorted.
///
/// ```
/// let best = rnn_cell::top_k(&ndarray::array![0.1, 0.7, 0.2, 0.7], 3)?;
/// assert_eq!((best.values, best.indices), (ndarray::array![0.7, 0.7, 0.2], ndarray::array![1, 3, 2]));
/// # Ok::<(), rnn_cell::Error>(())
/// ```
///
/// # Errors
/// [`Error::InvalidNumber`] if `k` is larger than the last axis is long.
///
/// # Panics
/// If `logits` has no axes.
pub fn top_k<E: Float, D: Dimension>(logits: &ArrayRef<E, D>, k: usize) -> Result<TopK<E, D>, Error> {
    let last = Axis(logits.ndim() - 1);
    let classes = logits.len_of(last);
    check_number("k", k as f64, k <= classes, "at most the number of classes")?;
    let mut shape = logits.raw_dim();
    shape[last.index()] = k;
    let mut best = TopK { values: Array::zeros(shape.clone()), indices: Array::zeros(shape) };
    let mut order: Vec<usize> = Vec::with_capacity(classes);
    let rows = Zip::from(best.values.lanes_mut(last)).and(best.indices.lanes_mut(last)).and(logits.lanes(last));
    rows.for_each(|mut values, mut indices, logits| {
        let by_size = |a: &usize, b: &usize| descending(&logits[*a], &logits[*b]).then(a.cmp(b));
        order.clear();
        order.extend(0..classes);
        if (1..classes).contains(&k) {
            order.select_nth_unstable_by(k - 1, by_size);
        }
        order[..k].sort_unstable_by(by_size);
        for (at, &position) in order[..k].iter().enumerate() {
            (values[at], indices[at]) = (logits[position], position);
        }
    });
    Ok(best)
}

/// The larger first, NaN before all.
fn descending<E: Float>(a: &E, b: &E) -> Ordering {
    b.partial_cmp(a).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, Array2, Array3, array, s};
    use rand::rngs::Xoshiro256PlusPlus;
    use rand::{RngExt, SeedableRng};

    /// Few different numbers, so that many are equal, and now and then a NaN.
    fn numbers(shape: (usize, usize, usize), rng: &mut Xoshiro256PlusPlus) -> Array3<f32> {
        Array3::from_shape_simple_fn(shape, || {
            let number = rng.random_range(0..8_u8);
            if number == 7 { f32::NAN } else { f32::from(number) - 3.0 }
        })
    }

    /// By sorting everything, stably.
    fn sorted(row: &Array1<f32>) -> Vec<usize> {
        let mut order: Vec<usize> = (0..row.len()).collect();
        let key = |at: usize| if row[at].is_nan() { f32::INFINITY } else { row[at] };
        order.sort_by(|&a, &b| key(b).total_cmp(&key(a)));
        order
    }

    #[test]
    fn the_largest_are_those_of_a_stable_sort() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
        for classes in 1..30 {
            let x = numbers((4, 3, classes), &mut rng);
            // Any strides.
            let turned = x.view().reversed_axes().as_standard_layout().into_owned().reversed_axes();
            let best = argmax(&turned).unwrap();
            for k in 0..=classes {
                let TopK { values, indices } = top_k(&turned, k).unwrap();
                assert_eq!(values.dim(), (4, 3, k));
                for row in 0..4 {
                    for step in 0..3 {
                        let logits = x.slice(s![row, step, ..]).to_owned();
                        let expected = sorted(&logits);
                        assert_eq!(indices.slice(s![row, step, ..]).to_vec(), expected[..k]);
                        assert_eq!(best[[row, step]], expected[0]);
                        for (value, &position) in values.slice(s![row, step, ..]).iter().zip(&expected) {
                            assert_eq!(value.to_bits(), logits[position].to_bits());
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_softmax_adds_up_to_one_whatever_the_size() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(4);
        let x = Array2::from_shape_simple_fn((5, 1000), || rng.random_range(-1e4_f64..1e4));
        let x = x / array![[1.0], [1e2], [1e3], [1e4], [1e8]];
        for (row, probabilities) in softmax(&x).outer_iter().enumerate() {
            assert!((probabilities.sum() - 1.0).abs() < 1e-12, "row {row}");
            let ratio = (x[[row, 1]] - x[[row, 0]]).exp() * probabilities[0];
            assert!((ratio - probabilities[1]).abs() <= 1e-12 * ratio.max(1e-300), "row {row}");
        }
        // 1 / 2²⁴ each: a running f32 sum of as many ones stops at 2²⁴.
        let many = softmax(&Array1::<f32>::zeros(20_000_000));
        assert_eq!(many[7], 1.0 / 20_000_000.0);
        let apart = softmax(&array![[0.0, f32::NAN], [1.0, 1.0]]);
        assert!(apart.row(0).iter().all(|x| x.is_nan()) && apart.row(1) == array![0.5, 0.5]);
        assert_eq!(softmax(&Array2::<f32>::zeros((3, 0))).dim(), (3, 0));
    }

    #[test]
    fn what_cannot_be_chosen_is_an_error() {
        assert_eq!(argmax(&Array2::<f32>::zeros((3, 0))).unwrap_err(), Error::ZeroSize { argument: "classes" });
        let error = top_k(&array![1.0, 2.0], 3).unwrap_err();
        assert_eq!(error.to_string(), "k is 3, but must be at most the number of classes");
        assert_eq!(argmax(&Array2::<f32>::zeros((0, 0))).unwrap_err(), Error::ZeroSize { argument: "classes" });
        assert_eq!(top_k(&Array2::<f32>::zeros((0, 2)), 1).unwrap().indices.dim(), (0, 1));
    }
}
