//! The blend of old state and candidate that ends a step of a GRU or a UGRNN.

use crate::fused::Vector;

/// u ⊙ h + (1 − u) ⊙ candidate, with one multiplication.
#[inline(always)]
pub(super) fn blend<E, V: Vector<E>>(u: V, h: V, candidate: V) -> V {
    u.mul_add(h - candidate, candidate)
}

/// The gradients of [`blend`]'s arguments. `update` must still be multiplied by `d` and by u's slope.
pub(super) struct BlendBack<V> {
    pub h: V,
    pub candidate: V,
    pub update: V,
}

#[inline(always)]
pub(super) fn blend_back<E, V: Vector<E>>(d: V, u: V, h: V, candidate: V) -> BlendBack<V> {
    let through_u = d * u;
    BlendBack { h: through_u, candidate: d - through_u, update: h - candidate }
}
