//! [`Parts`]: several cells and layers as one model.

use crate::{Float, Parameters, ParametersMut};
use ndarray::{ArrayViewD, ArrayViewMutD};
use std::borrow::Cow;

/// Several parts of a model, borrowed to save, load and train as one. Parameters are visited as `<part>/<parameter>`.
///
/// [`new`](Self::new) borrows the parts mutably, to train and load. [`shared`](Self::shared) borrows them immutably, to
/// save. If the number of parts is known only at run time, make it from a `Vec` of names and parts, or collect it: `P`
/// is any [`Parameters`], a reference too. [`Gradients::join`](super::Gradients::join) joins the parts' gradients in the
/// same way.
///
/// ```
/// use rand::SeedableRng;
/// use rnn_cell::train::{self, Adam, Gradients, Optimizer, Parts};
/// use rnn_cell::{Dense, Lstm, Parameters, one_hot};
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
///     let d_cell = tape.backward(&d_outputs)?.parameters;
///     let gradients = Gradients::join([("cell", d_cell), ("dense", d_dense)]);
///     adam.apply_gradients(&mut Parts::new([("cell", &mut cell), ("dense", &mut dense)]), &gradients)?;
///     losses.push(loss);
/// }
/// assert!(losses[9] < 0.5 * losses[0]);
///
/// let mut names = Vec::new();
/// Parts::shared([("cell", &cell), ("dense", &dense)]).visit_parameters(&mut |name, _| names.push(name.to_owned()));
/// assert_eq!(names, ["cell/kernel", "cell/bias", "dense/kernel", "dense/bias"]);
/// # Ok::<(), rnn_cell::Error>(())
/// ```
pub struct Parts<'a, P> {
    parts: Vec<(Cow<'a, str>, P)>,
}

impl<'a, E: Float> Parts<'a, &'a mut dyn ParametersMut<E>> {
    /// Borrows the parts, by name, to train, load or save them.
    #[must_use]
    pub fn new<const N: usize>(parts: [(&'a str, &'a mut dyn ParametersMut<E>); N]) -> Self {
        parts.into_iter().collect()
    }
}

impl<'a, E: Float> Parts<'a, &'a dyn Parameters<E>> {
    /// Borrows the parts, by name, to save them.
    #[must_use]
    pub fn shared<const N: usize>(parts: [(&'a str, &'a dyn Parameters<E>); N]) -> Self {
        parts.into_iter().collect()
    }
}

/// Names and parts: `vec.into_iter().collect()`, for example.
impl<'a, S: Into<Cow<'a, str>>, P> FromIterator<(S, P)> for Parts<'a, P> {
    fn from_iter<I: IntoIterator<Item = (S, P)>>(parts: I) -> Self {
        Self { parts: parts.into_iter().map(|(name, part)| (name.into(), part)).collect() }
    }
}

/// Names and parts, whose number is known only at run time.
///
/// ```
/// use rand::SeedableRng;
/// use rnn_cell::train::Parts;
/// use rnn_cell::{Gru, Parameters};
///
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let layers: Vec<Gru<f32>> = (0..3).map(|_| Gru::new(4, 4, &mut rng)).collect();
/// let named: Vec<_> = layers.iter().enumerate().map(|(k, cell)| (format!("layer_{k}"), cell)).collect();
/// let model = Parts::from(named); // of `&Gru`s: enough to save
/// assert_eq!(model.parameter_count(), 3 * layers[0].parameter_count());
/// # Ok::<(), rnn_cell::Error>(())
/// ```
impl<'a, S: Into<Cow<'a, str>>, P> From<Vec<(S, P)>> for Parts<'a, P> {
    fn from(parts: Vec<(S, P)>) -> Self {
        parts.into_iter().collect()
    }
}

impl<E: Float, P: Parameters<E>> Parameters<E> for Parts<'_, P> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        for (part, parameters) in &self.parts {
            parameters.visit_parameters(&mut |name, value| visit(&format!("{part}/{name}"), value));
        }
    }
}

impl<E: Float, P: ParametersMut<E>> ParametersMut<E> for Parts<'_, P> {
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        for (part, parameters) in &mut self.parts {
            parameters.visit_parameters_mut(&mut |name, value| visit(&format!("{part}/{name}"), value));
        }
    }
}

impl<P> std::fmt::Debug for Parts<'_, P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.parts.iter().map(|(part, _)| part)).finish()
    }
}
