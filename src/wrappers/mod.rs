//! Cells made of cells. They nest in any order, and keep the fast path of what they wrap.

mod boxed;
mod dropout;
mod highway;
mod multi;
mod residual;
mod workspace;

pub use boxed::{BoxedCell, DynState, DynWorkspace};
pub(crate) use boxed::{ErasedCell, erased_cell};
pub use dropout::{DropoutWrapper, DropoutWrapperBuilder};
pub(crate) use highway::HighwayGate;
pub use highway::{HighwayWeights, HighwayWrapper, HighwayWrapperBuilder};
pub use multi::{Layers, MultiRnnCell};
pub use residual::{AddInput, ResidualFn, ResidualWrapper};
pub use workspace::WrapperWorkspace;
