//! Initial values of weights, from any [`rand`] generator.
//!
//! Values are drawn in `f64` and rounded, so one seed gives an `f32` and an `f64` cell the same weights. All functions
//! panic if the matrix would be larger than an array can be, as ndarray's `zeros` does.

use crate::Float;
use ndarray::{Array2, s};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal, StandardUniform};

/// Uniform values in ±√(6 / (rows + cols)) for the whole matrix: TensorFlow's default (Glorot and Bengio, 2010).
#[must_use]
pub fn glorot_uniform<E: Float, R: Rng + ?Sized>((rows, cols): (usize, usize), rng: &mut R) -> Array2<E> {
    uniform((rows, cols), (6.0 / (rows as f64 + cols as f64)).sqrt(), rng)
}

/// Uniform values in ±`limit`.
#[must_use]
pub fn uniform<E: Float, R: Rng + ?Sized>(shape: (usize, usize), limit: f64, rng: &mut R) -> Array2<E> {
    Array2::from_shape_simple_fn(shape, || {
        let unit: f64 = StandardUniform.sample(rng);
        E::of((2.0 * unit - 1.0) * limit)
    })
}

/// Orthonormal rows or columns, whichever are fewer (Saxe, McClelland and Ganguli, 2014): Keras's default for
/// recurrent weights.
#[must_use]
pub fn orthogonal<E: Float, R: Rng + ?Sized>((rows, cols): (usize, usize), rng: &mut R) -> Array2<E> {
    let (long, short) = (rows.max(cols), rows.min(cols));
    // Make rows orthonormal one by one. A second pass removes the rounding errors that the first leaves.
    let mut q = Array2::<f64>::from_shape_simple_fn((short, long), || StandardNormal.sample(rng));
    for i in 0..short {
        for _ in 0..2 {
            let (done, mut rest) = q.multi_slice_mut((s![..i, ..], s![i, ..]));
            for other in done.rows() {
                let overlap = other.dot(&rest);
                rest.scaled_add(-overlap, &other);
            }
        }
        let norm = q.row(i).dot(&q.row(i)).sqrt();
        q.row_mut(i).mapv_inplace(|v| v / norm);
    }
    let q = if rows <= cols { q } else { q.reversed_axes() };
    Array2::from_shape_fn((rows, cols), |index| E::of(q[index]))
}
