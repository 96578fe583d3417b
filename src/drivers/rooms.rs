//! [`Rooms`]: memory for rows in another order, kept from run to run.

use crate::Float;
use crate::kernel::zeros;
use ndarray::{Array1, ArrayView3, ArrayViewMut3};

/// Room for what a run reads and for what it writes.
pub(crate) struct Rooms<E> {
    pub from: Room<E>,
    pub to: Room<E>,
}

impl<E> Default for Rooms<E> {
    fn default() -> Self {
        Self { from: Room::default(), to: Room::default() }
    }
}

/// Room for an array of any shape. Grows and never shrinks.
pub(crate) struct Room<E>(Array1<E>);

impl<E> Default for Room<E> {
    fn default() -> Self {
        Self(Array1::from_vec(Vec::new()))
    }
}

impl<E: Float> Room<E> {
    /// An array of whatever numbers are there.
    ///
    /// # Panics
    /// If it would be larger than an array can be.
    pub fn array(&mut self, shape: (usize, usize, usize)) -> ArrayViewMut3<'_, E> {
        let numbers = numbers(shape);
        if numbers > self.0.len() {
            self.0 = zeros(numbers);
        }
        let room = self.0.as_slice_mut().expect("one axis is contiguous");
        ArrayViewMut3::from_shape(shape, &mut room[..numbers]).expect("as many numbers as the shape has")
    }

    /// The array that was written before, of the same shape.
    pub fn written(&self, shape: (usize, usize, usize)) -> ArrayView3<'_, E> {
        let room = self.0.as_slice().expect("one axis is contiguous");
        ArrayView3::from_shape(shape, &room[..numbers(shape)]).expect("as many numbers as the shape has")
    }
}

fn numbers(shape: (usize, usize, usize)) -> usize {
    let numbers = shape.0.checked_mul(shape.1).and_then(|rows| rows.checked_mul(shape.2));
    numbers.unwrap_or_else(|| panic!("an array {shape:?} is larger than memory can be"))
}
