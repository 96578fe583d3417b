//! [`Stack`]: where the layers of a stack are, and how many there must be.

use super::Tensors;
use crate::{Error, Float};

/// Where the layers of a stack are among [`Tensors`], and how many there must be.
///
/// Names tell the number of layers, but not whether the last one is missing. Importers of stacks take a `Stack` or just
/// a prefix, which is a stack of any number of layers.
///
/// ```
/// use ndarray::Array2;
/// use rnn_cell::weights::{Stack, Tensors, pytorch};
///
/// let mut tensors = Tensors::<f32>::new();
/// tensors.insert("encoder.weight_ih_l0", Array2::zeros((32, 4)));
/// tensors.insert("encoder.weight_hh_l0", Array2::zeros((32, 8)));
/// let error = pytorch::lstm(&mut tensors, Stack::new("encoder.").layers(2)).unwrap_err();
/// assert!(error.to_string().ends_with("2 layers are expected, but only 1 is there"));
/// assert_eq!(pytorch::lstm(&mut tensors, "encoder.")?.cells().len(), 1);
/// # Ok::<(), rnn_cell::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Stack<'p> {
    pub(super) prefix: &'p str,
    layers: Option<usize>,
}

impl<'p> Stack<'p> {
    /// The stack under a prefix.
    pub const fn new(prefix: &'p str) -> Self {
        Self { prefix, layers: None }
    }

    /// How many layers there must be, at least 1. Default: as many as there are.
    pub const fn layers(mut self, layers: usize) -> Self {
        self.layers = Some(layers);
        self
    }

    /// Checks the number of layers. `first` returns the name of a tensor that layer number k has, or what its names
    /// begin with, as `Ok` if there is one, else as `Err`.
    pub(super) fn check(&self, first: impl Fn(usize) -> Result<String, String>) -> Result<(), Error> {
        let Some(layers) = self.layers else { return Ok(()) };
        if layers == 0 {
            return Err(Error::ZeroSize { argument: "layers" });
        }
        let expected = if layers == 1 { "1 layer is expected".into() } else { format!("{layers} layers are expected") };
        for layer in 0..layers {
            if let Err(name) = first(layer) {
                let are = if layer == 1 { "is" } else { "are" };
                let reason = format!("{expected}, but only {layer} {are} there");
                return Err(Error::MissingWeight { name, reason });
            }
        }
        match first(layers) {
            Ok(name) => Err(Error::UnexpectedWeight { name, reason: format!("{expected}, but there are more") }),
            Err(_) => Ok(()),
        }
    }
}

impl<'p> From<&'p str> for Stack<'p> {
    fn from(prefix: &'p str) -> Self {
        Self::new(prefix)
    }
}

impl<'p> From<&'p String> for Stack<'p> {
    fn from(prefix: &'p String) -> Self {
        Self::new(prefix)
    }
}

/// `Ok` with the first tensor that begins so, else `Err` with the beginning, for [`Stack::check`].
pub(super) fn beginning<E: Float>(tensors: &Tensors<'_, E>, beginning: String) -> Result<String, String> {
    tensors.first_with(&beginning).map(String::from).ok_or(beginning)
}
