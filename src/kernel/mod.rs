//! The kernels: packed weights, products, exp, tanh and sigmoid in registers, and the one driver that steps the
//! equation of any cell. The only module with `unsafe`.
//!
//! It knows arrays and numbers, not cells. One generic source serves `f32`, `f64` and every instruction set. The files
//! from the ground up; each knows mostly those above it (a folder of the same name holds a file's parts):
//!
//! | file | what it holds |
//! |---|---|
//! | `activation`, `element`, `isa`, `buffer` | names; numbers and their vectors; the instruction set; memory |
//! | `vector`, `lanes`, `math`, `vector_lanes`, `slices`, `attend` | vectors with operators, as users see them and as registers; the functions; over slices; over the rows of a memory |
//! | `rows`, `memory`, `gathered` | strided views that know their bounds, some read-only; arrays and memory as such views; samples of several runs |
//! | `threads`, `team` | the threads that run a pass |
//! | `shape`, `compact` | the shape of packed weights; weights in 16 or 8 bits, and their products, forward only |
//! | `tile`, `pack`, `multiply`, `weight_gradients` | a few rows times a panel; weights in panels; whole products, forward and for gradients |
//! | `registry` | the kernels compiled here, for each number type and instruction set |
//! | `product`, `layer` | packed weights, forward and backward; as a layer of its own |
//! | `recurrence` | the driver that steps an equation, forward and backward |

// Loops over a tile's const generics index several arrays at once. Written this way, they unroll.
#![allow(clippy::needless_range_loop)]

mod activation;
pub(crate) mod attend;
mod buffer;
pub(crate) mod compact;
mod element;
mod gathered;
pub(crate) mod isa;
mod lanes;
pub(crate) mod layer;
mod math;
mod memory;
mod multiply;
pub(crate) mod pack;
pub(crate) mod product;
pub(crate) mod recurrence;
mod registry;
mod rows;
mod shape;
pub(crate) mod slices;
mod team;
#[cfg(test)]
mod tests;
#[cfg(feature = "rayon")]
pub(crate) mod threads;
mod tile;
mod vector;
mod vector_lanes;
mod weight_gradients;

pub use activation::Activation;
pub(crate) use buffer::zeros;
pub use compact::WeightFormat;
pub use element::Element;
pub use isa::instruction_set;
pub use product::Workspace;
pub use recurrence::Driver;
pub use vector::{Units, UnitsOf, Vector};
