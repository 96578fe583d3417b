//! What an LSTM's options are.

use super::Lstm;
use crate::{Activation, Float};

option_getters!(Lstm {
    /// What is added to the forget gate at every step.
    forget_bias: E,
    /// Whether the cell has a bias.
    use_bias: bool,
    /// Whether the gates see c through diagonal weights.
    use_peepholes: bool,
    /// The clip of each new c; `None` without one.
    cell_clip: Option<E>,
    /// Features of the projected h; `None` without a projection.
    num_proj: Option<usize>,
    /// The clip of the projection; `None` without one.
    proj_clip: Option<E>,
    /// The activation of the candidate and of c.
    activation: Activation,
    /// The activation of the gates i, f and o.
    gate_activation: Activation,
});
