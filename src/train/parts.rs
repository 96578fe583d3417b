//! [`Parts`]: several cells and layers as one model.

use crate::{Float, Parameters};
use ndarray::{ArrayViewD, ArrayViewMutD};

/// Several parts of a model, borrowed to save, load and train as one. Parameters are visited as `<part>/<parameter>`.
///
/// [`Gradients::join`](super::Gradients::join) does the same with their gradients. To save a model through `&self`,
/// implement [`Parameters`] for it and visit its parts under names of your choice.
///
/// ```
/// use rand::SeedableRng;
/// use rnn_cell::train::{self, Adam, Gradients, Optimizer, Parts};
/// use rnn_cell::{Dense, Lstm, one_hot};
///
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let (mut cell, mut dense) = (Lstm::<f32>::new(4, 8, &mut rng), Dense::new(8, 4, &mut rng));
/// let model = Parts::new([("cell", &mut cell), ("dense", &mut dense)]);
/// let mut adam = Adam::builder().learning_rate(0.1).build(&model)?;
///
/// let x = one_hot(&["hell"], "helo")?;
/// let (targets, weights) = (ndarray::array![[1, 2, 2, 3]], train::sequence_weights(&[4], 4)?); // e, l, l, o
/// let mut losses = Vec::new();
/// for _ in 0..10 {
///     let (outputs, _, tape) = train::dynamic_rnn(&cell, &x, None, None)?;
///     let logits = dense.forward(&outputs)?;
///     let (loss, d_logits) = train::sequence_loss(&logits, &targets, &weights)?;
///     let (d_outputs, d_dense) = dense.backward(&outputs, &d_logits)?;
///     let d_cell = tape.backward(&d_outputs, None)?.parameters;
///     let gradients = Gradients::join([("cell", d_cell), ("dense", d_dense)]);
///     adam.apply_gradients(&mut Parts::new([("cell", &mut cell), ("dense", &mut dense)]), &gradients)?;
///     losses.push(loss);
/// }
/// assert!(losses[9] < 0.5 * losses[0]);
/// # Ok::<(), rnn_cell::Error>(())
/// ```
pub struct Parts<'a, E: Float> {
    parts: Vec<(&'a str, &'a mut dyn Parameters<E>)>,
}

impl<'a, E: Float> Parts<'a, E> {
    /// Borrows the parts, by name.
    #[must_use]
    pub fn new<const N: usize>(parts: [(&'a str, &'a mut dyn Parameters<E>); N]) -> Self {
        Self { parts: parts.into() }
    }
}

impl<E: Float> Parameters<E> for Parts<'_, E> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        for (part, parameters) in &self.parts {
            parameters.visit_parameters(&mut |name, value| visit(&format!("{part}/{name}"), value));
        }
    }
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        for (part, parameters) in &mut self.parts {
            parameters.visit_parameters_mut(&mut |name, value| visit(&format!("{part}/{name}"), value));
        }
    }
}

impl<E: Float> std::fmt::Debug for Parts<'_, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.parts.iter().map(|(part, _)| part)).finish()
    }
}
