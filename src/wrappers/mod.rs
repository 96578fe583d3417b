//! What the wrappers, cells made of cells, are themselves made of: builders, weights, and what a stack may hold. The
//! wrappers stand at the root. They nest in any order, and keep the fast path of what they wrap.

pub(crate) mod boxed;
pub(crate) mod dropout;
pub(crate) mod dyn_state;
pub(crate) mod highway;
pub(crate) mod multi;
pub(crate) mod residual;
pub(crate) mod workspace;

pub use dropout::DropoutWrapperBuilder;
pub use highway::{HighwayWeights, HighwayWrapperBuilder};
pub use multi::Layers;
