//! [`Gathered`]: samples of short backward runs, kept until there are enough for a product of weight gradients. That
//! product reads and writes a whole kernel, however few its samples.

use super::Element;
use super::buffer::Buffer;
use super::memory::spaced;
use super::rows::Frozen;

/// The most samples kept: a block of the product.
const SAMPLES: usize = 256;

/// The most arrays that samples have.
pub(super) const PIECES: usize = 13;

/// Arrays (steps, rows, width) of the same samples. Those that a run does not have are 0 wide.
pub(super) type Pieces<'a, E> = [Frozen<'a, E>; PIECES];

/// Samples of several runs, one after another. A sample is one step of one row.
#[derive(Default)]
pub(super) struct Gathered<E> {
    samples: usize,
    /// Numbers of a sample in each array.
    widths: [usize; PIECES],
    pieces: [Buffer<E>; PIECES],
    /// What runs summed over their samples.
    sums: Vec<f64>,
}

impl<E: Element> Gathered<E> {
    /// Whether a run is short enough to keep.
    pub(super) fn takes(samples: usize) -> bool {
        samples <= SAMPLES / 2
    }

    pub(super) fn has_room(&self, samples: usize) -> bool {
        self.samples + samples <= SAMPLES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.samples == 0
    }

    /// Keeps all samples of a run, and adds to `sums`.
    ///
    /// # Panics
    /// If earlier ones have other widths.
    pub(super) fn add(&mut self, pieces: &Pieces<'_, E>, sums: impl ExactSizeIterator<Item = f64>) {
        let (steps, rows, _) = pieces[0].dim();
        let widths = pieces.each_ref().map(Frozen::width);
        debug_assert!(self.has_room(steps * rows), "there is room for the samples");
        assert!(self.is_empty() || self.widths == widths, "one cell's backward pass ends before another's");
        if self.is_empty() {
            self.widths = widths;
            self.sums.clear();
            self.sums.resize(sums.len(), 0.0);
        }
        self.sums.iter_mut().zip(sums).for_each(|(sum, more)| *sum += more);
        for (from, to) in pieces.iter().zip(&mut self.pieces).filter(|(from, _)| from.width() > 0) {
            let stride = spaced(from.width());
            to.grow([SAMPLES, stride]);
            let places = to.as_mut_slice().chunks_exact_mut(stride).skip(self.samples);
            let samples = (0..steps).flat_map(|step| (0..rows).map(move |row| from.row(step, row)));
            places.zip(samples).for_each(|(to, from)| to[..from.len()].copy_from_slice(from));
        }
        self.samples += steps * rows;
    }

    /// Takes the samples, each as a step of one row, and the sums.
    pub(super) fn take(&mut self) -> (Pieces<'_, E>, &mut [f64]) {
        let Self { samples, widths, pieces, sums } = self;
        let (samples, mut widths) = (std::mem::take(samples), widths.iter());
        let pieces = pieces.each_mut().map(|piece| {
            let width = *widths.next().expect("each array has a width");
            let numbers = &mut piece.as_mut_slice()[..samples * spaced(width)];
            Frozen::spaced(numbers, (samples, 1, width), spaced(width))
        });
        (pieces, sums)
    }
}
