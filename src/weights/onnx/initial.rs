//! The states that a node starts from.

use super::follow::Follow;
use super::node::Node;
use crate::{Error, Float};
use ndarray::{Array3, Ix3};

impl Node<'_> {
    /// The state h that the node starts from, if it is in the file: (directions, batch, hidden), whatever the node's
    /// `layout`. A batch of 1 holds for every row. `None` if there is none, so that it starts from 0, or if the model
    /// computes it.
    ///
    /// # Errors
    /// As [`tensors`](Self::tensors), and [`Error::TensorShape`] if it does not have three axes and the node's
    /// directions.
    pub fn initial_h<E: Float>(&self) -> Result<Option<Array3<E>>, Error> {
        self.initial("initial_h", 5)
    }

    /// The memory c that an LSTM starts from, as [`initial_h`](Self::initial_h).
    ///
    /// # Errors
    /// As [`tensors`](Self::tensors).
    pub fn initial_c<E: Float>(&self) -> Result<Option<Array3<E>>, Error> {
        if self.kind.is_lstm() { self.initial("initial_c", 6) } else { Ok(None) }
    }

    fn initial<E: Float>(&self, name: &str, position: usize) -> Result<Option<Array3<E>>, Error> {
        let Some(input) = self.input(position)? else { return Ok(None) };
        let mut follow = Follow::new(&self.name, self.externals, self.size);
        let Some(stored) = follow.repeated(&self.scope, input, 3)? else { return Ok(None) };
        let name = format!("{}/{name}", self.name);
        let state = stored.read::<E>(&name)?;
        let (found, directions) = (state.shape().to_vec(), self.options().len());
        let repeated = state.into_dimensionality::<Ix3>().ok().and_then(|mut state| {
            if self.batch_major() {
                state.swap_axes(0, 1);
            }
            let (_, batch, hidden) = state.dim();
            // An `Expand` may repeat one direction for both.
            Some(state.broadcast((directions, batch, hidden))?.as_standard_layout().into_owned())
        });
        let expected = match self.batch_major() {
            true => format!("(batch, {directions}, hidden)"),
            false => format!("({directions}, batch, hidden)"),
        };
        repeated.map(Some).ok_or(Error::TensorShape { name, expected, found })
    }
}
