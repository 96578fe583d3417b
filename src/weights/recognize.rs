//! Recognizes recurrent layers by the names and shapes of their tensors.

mod jax;
mod names;
mod others;
mod pytorch;

use super::{Layer, Tensors};
use crate::error::list_to;
use crate::{Error, Float};
use names::Names;

/// The recurrent layers among tensors, recognized by the names that PyTorch, Keras, TensorFlow 1, Flax, Haiku and the
/// importers of [`onnx`](super::onnx) use, in alphabetical order of their prefixes. Layers under other names are left
/// out.
///
/// ```
/// use ndarray::Array2;
/// use rnn_cell::weights::{Tensors, layers};
///
/// let mut tensors = Tensors::<f32>::new();
/// tensors.insert("encoder.weight_ih_l0", Array2::zeros((32, 4)));
/// tensors.insert("encoder.weight_hh_l0", Array2::zeros((32, 8)));
/// let layer = &layers(&tensors)[0];
/// assert_eq!(layer.load, r#"let cells = pytorch::lstm(&mut tensors, "encoder.")?;"#);
/// assert_eq!(layer.to_string().lines().next(), Some(r#""encoder." PyTorch LSTM, 4 to 8, no bias"#));
/// ```
#[must_use]
pub fn layers<E: Float>(tensors: &Tensors<'_, E>) -> Vec<Layer> {
    let mut found = Vec::new();
    for name in tensors.names() {
        for &(end, scope, recognize) in SOURCES {
            let Some(prefix) = name.strip_suffix(end) else { continue };
            let prefix = format!("{prefix}{scope}");
            let shape = |name: &str| tensors.find_shape(name).map(<[usize]>::to_vec);
            found.extend(recognize(&Names { prefix: &prefix, shape: &shape }));
        }
    }
    found
}

/// Makes a layer of the tensors under a prefix, if they are one.
type Recognize = fn(&Names<'_>) -> Option<Layer>;

/// What one of a layer's names ends in, the part of it that belongs to the prefix, and what knows such a layer.
const SOURCES: &[(&str, &str, Recognize)] = &[
    ("weight_ih_l0", "", pytorch::module),
    ("weight_ih_l0_v", "", pytorch::module),
    ("parametrizations.weight_ih_l0.original1", "", pytorch::module),
    ("recurrent_kernel", "", others::keras),
    ("lstm_cell/kernel", "lstm_cell/", others::tensorflow_lstm),
    ("lstm_cell/weights", "lstm_cell/", others::tensorflow_lstm),
    ("basic_rnn_cell/kernel", "basic_rnn_cell/", others::tensorflow_rnn),
    ("basic_rnn_cell/weights", "basic_rnn_cell/", others::tensorflow_rnn),
    ("gates/kernel", "", others::tensorflow_gru),
    ("gates/weights", "", others::tensorflow_gru),
    ("hf/kernel", "", jax::lstm),
    ("hn/kernel", "", jax::gru),
    ("h/kernel", "", jax::simple),
    ("dense_h/kernel", "", jax::nnx),
    ("w_h", "", jax::haiku_gru),
    ("linear/w", "", jax::haiku_linear),
    ("R", "", others::onnx),
];

/// The only recurrent layer among tensors, or stack of layers, whose prefix an importer takes.
///
/// ```
/// use ndarray::Array2;
/// use rnn_cell::weights::{Tensors, keras, only_layer};
///
/// let mut tensors = Tensors::<f32>::new();
/// tensors.insert("model/lstm/lstm_cell/kernel", Array2::zeros((3, 16)));
/// tensors.insert("model/lstm/lstm_cell/recurrent_kernel", Array2::zeros((4, 16)));
/// let layer = only_layer(&tensors)?;
/// let cell = keras::lstm(&mut tensors, &layer.prefix, &keras::Options::default())?;
/// # Ok::<(), rnn_cell::Error>(())
/// ```
///
/// # Errors
/// - [`Error::MissingWeight`] if [`layers`] finds none.
/// - [`Error::UnexpectedWeight`] if it finds more than one. It lists their prefixes.
pub fn only_layer<E: Float>(tensors: &Tensors<'_, E>) -> Result<Layer, Error> {
    let mut layers = layers(tensors);
    if layers.len() > 1 {
        let prefixes = list_to(layers.iter().map(|layer| &*layer.prefix), 12);
        let reason = format!("it is one of {} recurrent layers, {prefixes}", layers.len());
        return Err(Error::UnexpectedWeight { name: layers.swap_remove(0).prefix, reason });
    }
    layers.pop().ok_or_else(|| {
        let reason = format!("none is known among the tensors {}", list_to(tensors.names(), 12));
        Error::MissingWeight { name: "recurrent layer".into(), reason }
    })
}
