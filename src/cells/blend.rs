//! The blend of the old state and a candidate, which a GRU and a UGRNN end with.

use crate::fused::Vector;

/// u ⊙ h + (1 − u) ⊙ candidate, with one product.
#[inline(always)]
pub(super) fn blend<E, V: Vector<E>>(u: V, h: V, candidate: V) -> V {
    u.mul_add(h - candidate, candidate)
}

/// The gradients of what [`blend`] joins; u's still to be multiplied by `d` and its slope.
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
