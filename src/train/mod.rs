//! Training: backpropagation through time for any cell that knows its own step backward.
//!
//! [`TrainableCell`] is the step forward, recorded, and the step backward.

mod cell;
mod gradients;

pub use cell::TrainableCell;
pub use gradients::{Gradients, parameter_count};
