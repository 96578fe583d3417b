//! Builders and weights of the wrappers, which are cells made of cells. The wrappers themselves are at the crate root.
//! They nest wherever their sizes fit. The cells inside keep their fast path, except that a [`DropoutWrapper`] that drops from
//! the state goes step by step.
//!
//! [`DropoutWrapper`]: crate::DropoutWrapper

pub(crate) mod boxed;
pub(crate) mod compressed;
pub(crate) mod dropout;
pub(crate) mod dyn_state;
pub(crate) mod highway;
pub(crate) mod multi;
pub(crate) mod residual;
pub(crate) mod workspace;

pub use boxed::DynWorkspace;
pub use dropout::DropoutWrapperBuilder;
pub use highway::{HighwayWeights, HighwayWrapperBuilder};
pub use multi::Layers;
pub use residual::{AddInput, ResidualBack, ResidualFn, WithDerivative};
pub use workspace::WrapperWorkspace;
