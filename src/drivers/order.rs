//! Puts rows in the order of a [`Schedule`] and back; [`Rooms`] hold the memory for it. Arrays are checked and
//! time-major, (seq, batch, features), whatever the caller's layout.

use super::schedule::{Direction, Schedule};
use crate::Float;
use crate::kernel::zeros;
use ndarray::{Array3, ArrayBase, ArrayView3, ArrayViewMut3, Axis, Dimension, Ix3, RawData, Slice, s};

/// A view with steps as the first axis.
pub(crate) fn by_step<S: RawData>(array: ArrayBase<S, Ix3>, time_major: bool) -> ArrayBase<S, Ix3> {
    if time_major { array } else { array.permuted_axes([1, 0, 2]) }
}

impl Direction {
    /// The first `length` steps, in the order in which they are read.
    fn read<S: RawData, D: Dimension>(self, mut steps: ArrayBase<S, D>, length: usize) -> ArrayBase<S, D> {
        if length != steps.len_of(Axis(0)) {
            steps.slice_axis_inplace(Axis(0), Slice::from(..length));
        }
        if self == Self::Backward {
            steps.invert_axis(Axis(0));
        }
        steps
    }
}

impl Schedule {
    /// Calls `run` with views of `from` and `to` whose rows are in this order and whose steps run forward. Past a row's
    /// length, `from` is not read and `to` is not written.
    ///
    /// Copies nothing if the rows are in the caller's order and read forward, or if they all have one length.
    #[inline]
    pub fn in_order<E: Float>(
        &self,
        direction: Direction,
        from: ArrayView3<'_, E>,
        to: ArrayViewMut3<'_, E>,
        rooms: &mut Rooms<E>,
        run: impl FnOnce(ArrayView3<'_, E>, ArrayViewMut3<'_, E>),
    ) {
        self.gather(direction, from, &mut rooms.from);
        let from = self.gathered(direction, from, &rooms.from);
        if !self.copies(direction) {
            return run(from, direction.read(to, self.steps()));
        }
        let mut sorted = rooms.to.array((self.steps(), self.batch(), to.dim().2));
        run(from, sorted.view_mut());
        self.scatter(direction, sorted.view(), to);
    }

    /// `from` in this order, as [`in_order`](Self::in_order) passed it on: the copy in the room, if there is one.
    pub fn gathered<'a, E: Float>(
        &self,
        direction: Direction,
        from: ArrayView3<'a, E>,
        room: &'a Room<E>,
    ) -> ArrayView3<'a, E> {
        if self.copies(direction) {
            return room.written((self.steps(), self.batch(), from.dim().2));
        }
        direction.read(from, self.steps())
    }

    /// Whether this order needs a copy, because strides cannot express it.
    fn copies(&self, direction: Direction) -> bool {
        !self.in_callers_order() || (self.ragged() && direction == Direction::Backward) || self.is_masked()
    }

    /// Sets the outputs of all steps that do not run to 0.
    pub fn clear_padding<E: Float>(&self, outputs: &mut ArrayViewMut3<'_, E>) {
        for row in 0..self.batch() {
            let end = self.end(row);
            outputs.slice_mut(s![end.., self.row(row), ..]).fill(E::default());
        }
        for row in 0..self.batch() {
            self.masked(row).for_each(|(step, _)| outputs.slice_mut(s![step, row, ..]).fill(E::default()));
        }
    }

    /// Writes to masked steps the outputs that they repeat, if they do.
    pub fn repeat_outputs<E: Float>(&self, outputs: &mut ArrayViewMut3<'_, E>) {
        for row in (0..self.batch()).filter(|_| self.repeats()) {
            for (step, last) in self.masked(row) {
                let Some(last) = last else { continue };
                let (before, mut after) = outputs.view_mut().split_at(Axis(0), step);
                after.slice_mut(s![0, row, ..]).assign(&before.slice(s![last, row, ..]));
            }
        }
    }

    /// The gradients of the outputs, (seq, batch, output), if masked steps repeat them: each step's with those of its
    /// repeats.
    pub fn with_repeats<E: Float>(&self, d_outputs: ArrayView3<'_, E>) -> Option<Array3<E>> {
        if !self.repeats() {
            return None;
        }
        let mut sums = d_outputs.to_owned();
        for row in 0..self.batch() {
            for (step, last) in self.masked(row) {
                let Some(last) = last else { continue };
                let mut sum = sums.slice_mut(s![last, row, ..]);
                sum += &d_outputs.slice(s![step, row, ..]);
            }
        }
        Some(sums)
    }

    fn gather<E: Float>(&self, direction: Direction, from: ArrayView3<'_, E>, room: &mut Room<E>) {
        if !self.copies(direction) {
            return;
        }
        let mut to = room.array((self.steps(), self.batch(), from.dim().2));
        for row in 0..self.batch() {
            let (length, from) = (self.length(row), from.index_axis(Axis(1), self.row(row)));
            let mut to = direction.read(to.index_axis_mut(Axis(1), row), length);
            match self.places(row) {
                None => to.assign(&from.slice(s![..length, ..])),
                Some(places) => to.outer_iter_mut().zip(places).for_each(|(mut to, &at)| to.assign(&from.row(at))),
            }
        }
    }

    fn scatter<E: Float>(&self, direction: Direction, from: ArrayView3<'_, E>, mut to: ArrayViewMut3<'_, E>) {
        for row in 0..self.batch() {
            let (length, mut to) = (self.length(row), to.index_axis_mut(Axis(1), self.row(row)));
            let from = direction.read(from.index_axis(Axis(1), row), length);
            match self.places(row) {
                None => to.slice_mut(s![..length, ..]).assign(&from),
                Some(places) => from.outer_iter().zip(places).for_each(|(from, &at)| to.row_mut(at).assign(&from)),
            }
        }
    }
}

/// Memory for what a run reads and what it writes.
pub(crate) struct Rooms<E> {
    pub from: Room<E>,
    pub to: Room<E>,
}

impl<E> Default for Rooms<E> {
    fn default() -> Self {
        Self { from: Room::default(), to: Room::default() }
    }
}

/// Memory for an array of any shape. Grows and never shrinks.
pub(crate) struct Room<E>(Vec<E>);

impl<E> Default for Room<E> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<E: Float> Room<E> {
    /// An array that holds whatever numbers were there before.
    ///
    /// # Panics
    /// If it would be larger than an array can be.
    pub fn array(&mut self, shape: (usize, usize, usize)) -> ArrayViewMut3<'_, E> {
        let numbers = numbers(shape);
        if numbers > self.0.len() {
            (self.0, _) = zeros(numbers).into_raw_vec_and_offset();
        }
        ArrayViewMut3::from_shape(shape, &mut self.0[..numbers]).expect("as many numbers as the shape has")
    }

    /// The array written before, of the same shape.
    pub fn written(&self, shape: (usize, usize, usize)) -> ArrayView3<'_, E> {
        ArrayView3::from_shape(shape, &self.0[..numbers(shape)]).expect("as many numbers as the shape has")
    }
}

fn numbers(shape: (usize, usize, usize)) -> usize {
    let numbers = shape.0.checked_mul(shape.1).and_then(|rows| rows.checked_mul(shape.2));
    numbers.unwrap_or_else(|| panic!("an array of shape {shape:?} is larger than memory can be"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_in_order_and_back_and_padding_stays() {
        let lengths = [2, 0, 4];
        let x = Array3::from_shape_fn(
            (5, 3, 2),
            |(t, b, k)| {
                if t < lengths[b] { (100 * t + 10 * b + k) as f64 } else { f64::NAN }
            },
        );
        for direction in [Direction::Forward, Direction::Backward] {
            let schedule = Schedule::new(5, 3, Some(&lengths));
            let mut y = Array3::from_elem(x.dim(), -1.0);
            schedule.in_order(direction, x.view(), y.view_mut(), &mut Rooms::default(), |from, mut to| {
                assert_eq!((from.dim(), to.dim()), ((4, 3, 2), (4, 3, 2)));
                let first = if direction == Direction::Forward { 0.0 } else { 300.0 };
                assert_eq!(from[[0, 0, 1]], first + 21.0);
                to.assign(&from);
            });
            let expected = x.mapv(|x| if x.is_nan() { -1.0 } else { x });
            assert_eq!(y, expected);
        }
    }
}
