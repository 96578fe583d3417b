//! Handling of weights that all cells share.

use crate::kernel::pack::Gate;
use crate::{Error, Float, init};
use ndarray::{Array, Array1, Array2, Axis, Dimension};
use rand::Rng;

/// The shape of a kernel: the sum of `rows` and the product of `columns`, or `usize::MAX` where they overflow.
pub(crate) fn matrix_shape(rows: [usize; 2], columns: [usize; 2]) -> [usize; 2] {
    [rows[0].saturating_add(rows[1]), columns[0].saturating_mul(columns[1])]
}

/// A matrix of initial weights, [`glorot_uniform`](init::glorot_uniform).
///
/// # Errors
/// [`Error::TooLarge`] if memory cannot hold it and its packed copy.
pub(crate) fn drawn<E: Float, R: Rng + ?Sized>(name: &str, shape: [usize; 2], rng: &mut R) -> Result<Array2<E>, Error> {
    let [rows, columns] = shape;
    let mut room = Vec::<E>::new();
    let reserved = room.try_reserve_exact(rows.saturating_mul(columns).saturating_mul(2));
    // The black box keeps the compiler from removing the unused allocation and assuming that it would have succeeded.
    drop(std::hint::black_box(room));
    match reserved {
        Ok(()) => Ok(init::glorot_uniform((rows, columns), rng)),
        Err(_) => Err(Error::TooLarge { name: name.into(), shape }),
    }
}

/// TensorFlow's `glorot_uniform` of a vector: uniform in ±√(3 / length).
pub(crate) fn drawn_vector<E: Float, R: Rng + ?Sized>(length: usize, rng: &mut R) -> Array1<E> {
    init::uniform((1, length), (3.0 / length as f64).sqrt(), rng).remove_axis(Axis(0))
}

/// The numbers of a weight, which is in standard layout.
pub(crate) fn numbers<E: Float, D: Dimension>(weight: &Array<E, D>) -> &[E] {
    weight.as_slice().expect("weights are kept in standard layout")
}

/// The columns of a weight as `N` gates of equal width.
pub(crate) fn gates_of<'a, E: Float, const N: usize>(
    matrix: &'a Array2<E>,
    bias: Option<&'a Array1<E>>,
) -> [Gate<'a, E>; N] {
    gates_from(matrix, bias, N)
}

/// Like [`gates_of`] for `gates` gates; the rest of the `N` repeat the last one.
pub(crate) fn gates_from<'a, E: Float, const N: usize>(
    matrix: &'a Array2<E>,
    bias: Option<&'a Array1<E>>,
    gates: usize,
) -> [Gate<'a, E>; N] {
    let (width, bias) = (matrix.ncols(), bias.map(numbers));
    let units = width / gates;
    std::array::from_fn(|gate| {
        let column = gate.min(gates - 1) * units;
        Gate { matrix: numbers(matrix), width, column, bias: bias.map(|bias| &bias[column..][..units]), offset: 0.0 }
    })
}

/// Runs `visit` on a cell's weights and repacks them however it ends, so that packed weights are never stale.
pub(crate) fn visit_then_repack<C: ?Sized>(cell: &mut C, visit: impl FnOnce(&mut C), repack: fn(&mut C)) {
    struct Repack<'a, C: ?Sized>(&'a mut C, fn(&mut C));
    impl<C: ?Sized> Drop for Repack<'_, C> {
        fn drop(&mut self) {
            (self.1)(self.0);
        }
    }
    visit(Repack(cell, repack).0);
}

/// [`Parameters`](crate::Parameters) and [`ParametersMut`](crate::ParametersMut) for a cell that has a struct of
/// `weights` and packs them with `repack`.
macro_rules! packed_parameters {
    ($cell:ident) => {
        impl<E: crate::Float> crate::Parameters<E> for $cell<E> {
            fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ndarray::ArrayViewD<'a, E>)) {
                self.weights.visit_parameters(visit);
            }
        }

        impl<E: crate::Float> crate::ParametersMut<E> for $cell<E> {
            fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ndarray::ArrayViewMutD<'_, E>)) {
                let visit = |cell: &mut Self| cell.weights.visit_parameters_mut(visit);
                crate::fused::weights::visit_then_repack(self, visit, Self::repack);
            }
        }
    };
}

pub(crate) use packed_parameters;
