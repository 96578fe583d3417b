//! Millions of steps and samples, thousands of units.

#[path = "../common/mod.rs"]
mod common;
mod sizes;
mod sums;
