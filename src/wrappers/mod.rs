//! Cells made of cells. They nest in any order, and keep the fast path of what they wrap.

mod boxed;
mod dropout;
mod highway;
mod multi;
mod residual;
mod workspace;

pub use boxed::{BoxedCell, DynState, DynWorkspace};
pub use dropout::{DropoutWrapper, DropoutWrapperBuilder};
pub use highway::{HighwayWeights, HighwayWrapper, HighwayWrapperBuilder};
pub use multi::{Layers, MultiRnnCell};
pub use residual::{AddInput, ResidualFn, ResidualWrapper};
pub use workspace::WrapperWorkspace;
