#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod checksum;
mod error;
mod shards;
mod world;

pub use checksum::checksum;
pub use error::Error;
pub use shards::{Shard, Shards, ShardsBuilder};
pub use world::{World, run};
