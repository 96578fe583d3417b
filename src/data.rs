//! Rows of different lengths to padded batches: [`Batches`], TensorFlow's `bucket_by_sequence_length`.
//!
//! A plan is made from the rows' lengths alone. Its batches then pad whatever you keep for each row: features with
//! [`Batch::features`], a label per step with [`Batch::steps`], one label with [`Batch::rows_of`].
//!
//! ```
//! use ndarray::Array2;
//! use rnn_cell::data::Batches;
//!
//! let lengths = [3, 9, 4, 8];
//! let features: Vec<_> = lengths.iter().map(|&length| Array2::<f32>::ones((length, 5))).collect();
//! let tags: Vec<_> = lengths.iter().map(|&length| vec![1; length]).collect();
//! let classes = ["a", "b", "a", "b"];
//!
//! // Rows of fewer than 5 steps come in twos, longer ones alone.
//! let batches = Batches::builder().bucket_by_sequence_length(&[5], &[2, 1]).shuffle(7).build(&lengths)?;
//! for epoch in 0..3 {
//!     for batch in batches.epoch(epoch) {
//!         let x = batch.features(&features)?; // (batch, seq, 5), 0 past the end of a row
//!         let targets = batch.steps(&tags, 0)?; // (batch, seq)
//!         assert_eq!(x.dim(), (batch.lengths().len(), batch.seq(), 5));
//!         assert_eq!(targets.dim(), (batch.lengths().len(), batch.seq()));
//!         assert_eq!(batch.rows_of(&classes)?.len(), batch.lengths().len());
//!         // dynamic_rnn(&cell, &x, Some(batch.lengths()), None)
//!     }
//! }
//! assert_eq!(batches.epoch(0).len(), 3);
//! # Ok::<(), rnn_cell::Error>(())
//! ```

use crate::checks::{check_number, check_shape, check_sizes};
use crate::seed::{GOLDEN, fold, mix};
use crate::{Error, Float};
use ndarray::{Array2, Array3, s};

/// A plan of batches for rows whose lengths are known. Make one with [`Batches::builder`].
#[derive(Debug, Clone)]
pub struct Batches {
    options: BatchesBuilder,
    lengths: Vec<usize>,
}

/// Options of [`Batches`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it builds"]
pub struct BatchesBuilder {
    boundaries: Vec<usize>,
    batch_sizes: Vec<usize>,
    pad_to_boundary: bool,
    drop_remainder: bool,
    seed: Option<u64>,
}

impl BatchesBuilder {
    /// Rows of a batch, at least 1. All rows are in one bucket then. Default: 1.
    pub fn batch_size(mut self, rows: usize) -> Self {
        (self.boundaries, self.batch_sizes) = (Vec::new(), vec![rows]);
        self
    }

    /// Puts rows of similar lengths together, so that little is padded: TensorFlow's `bucket_by_sequence_length`.
    ///
    /// Bucket k holds the rows with `boundaries[k − 1]` ≤ length < `boundaries[k]`; the first has no lower boundary and
    /// the last no upper one. Boundaries rise from at least 1. `batch_sizes` has one number of rows, at least 1, for
    /// each bucket: one more than there are boundaries.
    pub fn bucket_by_sequence_length(mut self, boundaries: &[usize], batch_sizes: &[usize]) -> Self {
        (self.boundaries, self.batch_sizes) = (boundaries.to_vec(), batch_sizes.to_vec());
        self
    }

    /// Whether a batch is as long as any row of its bucket may be, one step less than the upper boundary, rather than as
    /// its longest row. No row may be as long as the last boundary then. Default: false.
    pub fn pad_to_bucket_boundary(mut self, pad: bool) -> Self {
        self.pad_to_boundary = pad;
        self
    }

    /// Whether to leave out the rows that do not fill a batch at the end of an epoch. Default: false.
    pub fn drop_remainder(mut self, drop: bool) -> Self {
        self.drop_remainder = drop;
        self
    }

    /// Takes the rows in another order in each epoch, which depends on this seed and the epoch's number alone: it is the
    /// same on every machine. Default: the order of the rows.
    pub fn shuffle(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Plans batches for as many rows as `sequence_length` has entries, their lengths.
    ///
    /// # Errors
    /// - [`Error::ZeroSize`] if a batch size or a boundary is 0, or there is no boundary to pad to.
    /// - [`Error::InvalidNumber`] if boundaries do not rise.
    /// - [`Error::ArrayShape`] if there is not one batch size per bucket.
    /// - [`Error::SequenceLengthTooLong`] if batches are padded to a boundary and a row is as long as the last one.
    pub fn build(self, sequence_length: &[usize]) -> Result<Batches, Error> {
        let boundaries = &self.boundaries;
        check_shape("batch_sizes", &[boundaries.len() + 1], &[self.batch_sizes.len()])?;
        for &rows in &self.batch_sizes {
            check_sizes(&[("batch_size", rows)])?;
        }
        for (k, &boundary) in boundaries.iter().enumerate() {
            check_sizes(&[("boundary", boundary)])?;
            let rises = k == 0 || boundaries[k - 1] < boundary;
            check_number("boundary", boundary as f64, rises, "above the boundary before it")?;
        }
        if self.pad_to_boundary {
            check_sizes(&[("boundaries", boundaries.len())])?;
            let seq = boundaries[boundaries.len() - 1] - 1;
            if let Some(row) = sequence_length.iter().position(|&length| length > seq) {
                return Err(Error::SequenceLengthTooLong { row, length: sequence_length[row], seq, inputs: None });
            }
        }
        Ok(Batches { options: self, lengths: sequence_length.to_vec() })
    }
}

impl Batches {
    /// Starts a plan. Every option has a default.
    pub fn builder() -> BatchesBuilder {
        BatchesBuilder {
            boundaries: Vec::new(),
            batch_sizes: vec![1],
            pad_to_boundary: false,
            drop_remainder: false,
            seed: None,
        }
    }

    /// The batches of an epoch, which holds each row once. The number of the epoch matters only if rows are shuffled.
    ///
    /// A batch comes as soon as its bucket has enough rows. What is left at the end comes in the order of the buckets.
    #[must_use]
    pub fn epoch(&self, number: u64) -> Epoch<'_> {
        let mut order: Vec<usize> = (0..self.lengths.len()).collect();
        if let Some(seed) = self.options.seed {
            shuffle(&mut order, fold(seed, number));
        }
        let buckets = self.options.batch_sizes.len();
        let mut counts = vec![0; buckets];
        order.iter().for_each(|&row| counts[self.bucket(row)] += 1);
        let batches = counts.iter().zip(&self.options.batch_sizes).map(|(&rows, &size): (&usize, _)| {
            if self.options.drop_remainder { rows / size } else { rows.div_ceil(size) }
        });
        let left = batches.sum();
        Epoch { plan: self, order: order.into_iter(), waiting: vec![Vec::new(); buckets], left }
    }

    fn bucket(&self, row: usize) -> usize {
        self.options.boundaries.partition_point(|&boundary| boundary <= self.lengths[row])
    }

    fn batch(&self, bucket: usize, rows: Vec<usize>) -> Batch {
        let lengths: Vec<usize> = rows.iter().map(|&row| self.lengths[row]).collect();
        let seq = if self.options.pad_to_boundary {
            self.options.boundaries[bucket] - 1
        } else {
            lengths.iter().copied().max().unwrap_or(0)
        };
        Batch { rows, lengths, seq, of: self.lengths.len() }
    }
}

/// Fisher and Yates's shuffle. Its own, as those of libraries may change.
fn shuffle(order: &mut [usize], seed: u64) {
    for last in (1..order.len()).rev() {
        let random = mix(seed.wrapping_add(GOLDEN.wrapping_mul(last as u64)));
        let below = (u128::from(random) * (last as u128 + 1)) >> 64;
        order.swap(last, below as usize);
    }
}

/// The batches of an epoch, one after another. Made by [`Batches::epoch`].
#[derive(Debug, Clone)]
pub struct Epoch<'a> {
    plan: &'a Batches,
    order: std::vec::IntoIter<usize>,
    /// The rows of each bucket that do not fill a batch yet.
    waiting: Vec<Vec<usize>>,
    left: usize,
}

impl Iterator for Epoch<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        self.left = self.left.checked_sub(1)?;
        for row in self.order.by_ref() {
            let bucket = self.plan.bucket(row);
            self.waiting[bucket].push(row);
            if self.waiting[bucket].len() == self.plan.options.batch_sizes[bucket] {
                return Some(self.plan.batch(bucket, std::mem::take(&mut self.waiting[bucket])));
            }
        }
        let bucket = self.waiting.iter().position(|rows| !rows.is_empty())?;
        Some(self.plan.batch(bucket, std::mem::take(&mut self.waiting[bucket])))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Epoch<'_> {}

/// Some rows, padded to one length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    rows: Vec<usize>,
    lengths: Vec<usize>,
    seq: usize,
    /// How many rows there are in all.
    of: usize,
}

impl Batch {
    /// The positions of the rows, as the plan's `sequence_length` counts them.
    #[must_use]
    pub fn rows(&self) -> &[usize] {
        &self.rows
    }

    /// The lengths of the rows: the `sequence_length` of a driver.
    #[must_use]
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Steps of the padded batch.
    #[must_use]
    pub fn seq(&self) -> usize {
        self.seq
    }

    /// The features of the batch's rows, (batch, seq, features), 0 past the end of a row. `features` has an array
    /// (length, features) for every row there is.
    ///
    /// # Errors
    /// [`Error::ArrayShape`] if `features` has another number of rows than the plan, or one of them another length, or
    /// another number of features than the first.
    pub fn features<E: Float>(&self, features: &[Array2<E>]) -> Result<Array3<E>, Error> {
        self.check("features", features)?;
        let width = features.first().map_or(0, Array2::ncols);
        let mut padded = Array3::zeros((self.rows.len(), self.seq, width));
        for (place, (&row, &length)) in self.rows.iter().zip(&self.lengths).enumerate() {
            check_shape(format_args!("features[{row}]"), &[length, width], features[row].shape())?;
            padded.slice_mut(s![place, ..length, ..]).assign(&features[row]);
        }
        Ok(padded)
    }

    /// What the batch's rows have for each step, (batch, seq), and `padding` past the end of a row: labels, or tokens for
    /// an [`Embedding`](crate::Embedding). `steps` has a list, as long as the row, for every row there is.
    ///
    /// # Errors
    /// [`Error::ArrayShape`] if `steps` has another number of rows than the plan, or one of them another length.
    pub fn steps<T: Clone, S: AsRef<[T]>>(&self, steps: &[S], padding: T) -> Result<Array2<T>, Error> {
        self.check("steps", steps)?;
        let mut padded = Array2::from_elem((self.rows.len(), self.seq), padding);
        for (place, (&row, &length)) in self.rows.iter().zip(&self.lengths).enumerate() {
            let steps = steps[row].as_ref();
            check_shape(format_args!("steps[{row}]"), &[length], &[steps.len()])?;
            padded.row_mut(place).iter_mut().zip(steps).for_each(|(to, from)| to.clone_from(from));
        }
        Ok(padded)
    }

    /// What the batch's rows have, such as one label each. `rows` has an entry for every row there is.
    ///
    /// # Errors
    /// [`Error::ArrayShape`] if `rows` has another number of entries than the plan has rows.
    pub fn rows_of<T: Clone>(&self, rows: &[T]) -> Result<Vec<T>, Error> {
        self.check("rows", rows)?;
        Ok(self.rows.iter().map(|&row| rows[row].clone()).collect())
    }

    fn check<T>(&self, argument: &str, rows: &[T]) -> Result<(), Error> {
        check_shape(argument, &[self.of], &[rows.len()])
    }
}
