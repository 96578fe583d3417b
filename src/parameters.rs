//! [`Parameters`]: the one door to a cell's weights.

use crate::Float;
use ndarray::{ArrayViewD, ArrayViewMutD};

/// Weights visited by name, in a fixed order: saving, loading, optimizers and clipping all go through here.
///
/// Names are TensorFlow's (`kernel`, `gates/kernel`, …); a wrapper prefixes those of what it wraps (`cell_0/kernel`,
/// `fw/bias`). What a cell derives from its weights (packed copies) is rebuilt when `visit_parameters_mut` returns.
///
/// The provided versions visit nothing, which is right for a cell without weights.
pub trait Parameters<E: Float> {
    /// Visits every weight.
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        let _ = visit;
    }

    /// Visits every weight, mutable, under the same names and in the same order.
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        let _ = visit;
    }
}

impl<E: Float, P: Parameters<E> + ?Sized> Parameters<E> for Box<P> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        (**self).visit_parameters(visit);
    }
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        (**self).visit_parameters_mut(visit);
    }
}

/// Layers, prefixed `cell_0/`, `cell_1/`, … as in a [`MultiRnnCell`](crate::MultiRnnCell).
impl<E: Float, P: Parameters<E>> Parameters<E> for Vec<P> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        for (layer, cell) in self.iter().enumerate() {
            cell.visit_parameters(&mut |name, array| visit(&format!("cell_{layer}/{name}"), array));
        }
    }
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        for (layer, cell) in self.iter_mut().enumerate() {
            cell.visit_parameters_mut(&mut |name, array| visit(&format!("cell_{layer}/{name}"), array));
        }
    }
}
