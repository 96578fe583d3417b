//! What all cells do with their weights.

use crate::checks::check_shape;
use crate::kernel::pack::Gate;
use crate::{Error, Float, init};
use ndarray::{Array, Array1, Array2, Dimension};
use rand::Rng;

/// Sum of `rows` and product of `columns`, the shape of a kernel; `usize::MAX`, which no matrix has, where they overflow.
pub(crate) fn matrix_shape(rows: [usize; 2], columns: [usize; 2]) -> [usize; 2] {
    [rows[0].saturating_add(rows[1]), columns[0].saturating_mul(columns[1])]
}

/// A matrix of initial weights, [`glorot_uniform`](init::glorot_uniform).
///
/// # Errors
/// [`Error::TooLarge`] if there is no room for it and its packed copy.
pub(crate) fn drawn<E: Float, R: Rng + ?Sized>(name: &str, shape: [usize; 2], rng: &mut R) -> Result<Array2<E>, Error> {
    let [rows, columns] = shape;
    let mut room = Vec::<E>::new();
    let reserved = room.try_reserve_exact(rows.saturating_mul(columns).saturating_mul(2));
    // Seen from outside: a compiler may leave out an allocation that nobody uses, and take it for granted.
    drop(std::hint::black_box(room));
    match reserved {
        Ok(()) => Ok(init::glorot_uniform((rows, columns), rng)),
        Err(_) => Err(Error::TooLarge { name: name.into(), shape }),
    }
}

/// The weight in standard layout, if it has the shape the cell needs.
pub(crate) fn checked<E: Float, D: Dimension>(
    name: &str,
    weight: Array<E, D>,
    expected: &[usize],
) -> Result<Array<E, D>, Error> {
    check_shape(name, expected, weight.shape())?;
    Ok(if weight.is_standard_layout() { weight } else { weight.as_standard_layout().into_owned() })
}

/// As [`checked`], for a weight that is there exactly when the options ask for it.
pub(crate) fn checked_option<E: Float, D: Dimension>(
    name: &str,
    weight: Option<Array<E, D>>,
    wanted: bool,
    expected: &[usize],
) -> Result<Option<Array<E, D>>, Error> {
    match (weight, wanted) {
        (Some(weight), true) => checked(name, weight, expected).map(Some),
        (None, false) => Ok(None),
        (None, true) => Err(Error::MissingWeight { name: name.into() }),
        (Some(_), false) => Err(Error::UnexpectedWeight { name: name.into() }),
    }
}

/// The numbers of a weight in standard layout.
pub(crate) fn numbers<E: Float, D: Dimension>(weight: &Array<E, D>) -> &[E] {
    weight.as_slice().expect("weights are kept in standard layout")
}

/// All columns of a weight as one gate.
pub(crate) fn gate<'a, E: Float>(matrix: &'a Array2<E>, bias: Option<&'a Array1<E>>) -> Gate<'a, E> {
    let (width, bias) = (matrix.ncols(), bias.map(numbers));
    Gate { matrix: numbers(matrix), width, column: 0, transposed: false, bias, offset: 0.0 }
}

/// Runs `visit` on a cell's weights and repacks them however `visit` ends, so that packed weights are never stale.
pub(crate) fn visit_then_repack<C: ?Sized>(cell: &mut C, visit: impl FnOnce(&mut C), repack: fn(&mut C)) {
    struct Repack<'a, C: ?Sized>(&'a mut C, fn(&mut C));
    impl<C: ?Sized> Drop for Repack<'_, C> {
        fn drop(&mut self) {
            (self.1)(self.0);
        }
    }
    visit(Repack(cell, repack).0);
}
