//! [`Checkpointed`]: a recorded run that keeps less.

use crate::Error;
use crate::checks::check_sizes;

/// A driver that records with checkpoints, as [`DynamicRnn::checkpoint_every`](crate::DynamicRnn::checkpoint_every) and
/// [`BidirectionalRnn::checkpoint_every`](crate::BidirectionalRnn::checkpoint_every) return it.
///
/// `B` is the driver. All its options are set: call `record`.
#[derive(Debug)]
#[must_use = "a builder does nothing until it runs"]
pub struct Checkpointed<B> {
    driver: B,
    every: usize,
}

impl<B> Checkpointed<B> {
    pub(super) fn new(driver: B, every: usize) -> Self {
        Self { driver, every }
    }

    /// The driver, and the steps between checkpoints, if they are at least 1.
    pub(super) fn checked(self) -> Result<(B, usize), Error> {
        check_sizes(&[("checkpoint_every", self.every)])?;
        Ok((self.driver, self.every))
    }
}
