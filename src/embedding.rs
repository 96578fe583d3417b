//! [`Embedding`]: a table with one row of features per token.

use crate::checks::{check_shape, check_sizes};
use crate::fused::weights::drawn;
use crate::train::Gradients;
use crate::{Arrays, Error, Float, Parameters, ParametersMut, parameters};
use ndarray::{Array, Array2, ArrayRef, ArrayRef2, ArrayViewD, ArrayViewMutD, Dimension, IntoDimension};
use rand::Rng;
use std::fmt::Display;

/// A table of rows, one per token of a vocabulary: TensorFlow's `tf.nn.embedding_lookup`, PyTorch's `nn.Embedding`.
///
/// Rows are looked up, never multiplied by one-hot vectors. Tokens (batch, seq) give features (batch, seq, features), and
/// likewise for any number of axes.
///
/// | parameter | shape | initial value |
/// |---|---|---|
/// | `embeddings` | (vocabulary, features) | [`glorot_uniform`](crate::init::glorot_uniform) |
///
/// To read one that another framework trained, see
/// [`pytorch::embedding`](crate::weights::pytorch::embedding), [`keras::embedding`](crate::weights::keras::embedding)
/// and [`tensorflow::embedding`](crate::weights::tensorflow::embedding).
///
/// ```
/// use ndarray::array;
/// use rnn_cell::Embedding;
///
/// let table = Embedding::from_weights(array![[0.0, 0.5], [1.0, 1.5], [2.0, 2.5]])?;
/// let tokens = array![[2, 0], [1, 1]]; // (batch, seq)
/// let features = table.lookup(&tokens)?;
/// assert_eq!(features.dim(), (2, 2, 2));
/// assert_eq!(features[[0, 0, 1]], 2.5);
/// # Ok::<(), rnn_cell::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding<E>(EmbeddingWeights<E>);

parameters! {
    /// The parameter of an [`Embedding`].
    struct EmbeddingWeights {
        /// (vocabulary, features).
        "embeddings" embeddings: Array2<E>,
    }
}

impl<E: Float> Embedding<E> {
    /// A table of `vocabulary` rows with `features` numbers each.
    ///
    /// # Panics
    /// If a size is 0, or the table would not fit in memory.
    #[must_use]
    pub fn new<R: Rng + ?Sized>(vocabulary: usize, features: usize, rng: &mut R) -> Self {
        let table = check_sizes(&[("vocabulary", vocabulary), ("features", features)])
            .and_then(|()| drawn("embeddings", [vocabulary, features], rng))
            .and_then(Self::from_weights);
        table.unwrap_or_else(|error| panic!("{error}"))
    }

    /// A table with existing rows, (vocabulary, features).
    ///
    /// # Errors
    /// [`Error::ZeroSize`] if `embeddings` is empty.
    pub fn from_weights(embeddings: Array2<E>) -> Result<Self, Error> {
        check_sizes(&[("vocabulary", embeddings.nrows()), ("features", embeddings.ncols())])?;
        let shape = embeddings.shape().to_vec();
        Ok(Self(EmbeddingWeights { embeddings }.checked("", &|_| Some(shape.clone()))?))
    }

    /// The rows, (vocabulary, features).
    #[must_use]
    pub fn embeddings(&self) -> &Array2<E> {
        &self.0.embeddings
    }

    /// Number of tokens.
    #[must_use]
    pub fn vocabulary(&self) -> usize {
        self.0.embeddings.nrows()
    }

    /// Features per row.
    #[must_use]
    pub fn features(&self) -> usize {
        self.0.embeddings.ncols()
    }

    /// Looks up `tokens` (…): returns their rows, (…, features).
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] if a token is not in the vocabulary.
    pub fn lookup<D: Dimension>(&self, tokens: &ArrayRef<usize, D>) -> Result<Array<E, D::Larger>, Error> {
        self.check_tokens(tokens)?;
        let order: Vec<usize> = tokens.iter().copied().collect();
        let mut rows = Array2::zeros((order.len(), self.features()));
        self.lookup_into(&order, &mut rows)?;
        Ok(rows.into_shape_with_order(self.larger(tokens)).expect("there is a row per token"))
    }

    /// Looks up `tokens` and writes their rows to `to` (tokens, features), without allocating.
    ///
    /// # Errors
    /// - [`Error::OutOfBounds`] if a token is not in the vocabulary. `to` then holds the rows before it.
    /// - [`Error::ArrayShape`] if `to` does not have this shape.
    pub fn lookup_into(&self, tokens: &[usize], to: &mut ArrayRef2<E>) -> Result<(), Error> {
        check_shape("to", &[tokens.len(), self.features()], to.shape())?;
        for (place, (&token, mut row)) in tokens.iter().zip(to.rows_mut()).enumerate() {
            self.check_token(format_args!("tokens[{place}]"), token)?;
            row.assign(&self.0.embeddings.row(token));
        }
        Ok(())
    }

    /// `Err` unless `token`, which is `argument`, is in the vocabulary.
    pub(crate) fn check_token(&self, argument: impl Display, token: usize) -> Result<(), Error> {
        let count = self.vocabulary();
        if token < count {
            return Ok(());
        }
        Err(Error::OutOfBounds { argument: argument.to_string(), found: token, count, of: "tokens" })
    }

    fn check_tokens<D: Dimension>(&self, tokens: &ArrayRef<usize, D>) -> Result<(), Error> {
        tokens.indexed_iter().try_for_each(|(place, &token)| {
            if token < self.vocabulary() {
                return Ok(());
            }
            self.check_token(format_args!("tokens{:?}", place.into_dimension().slice()), token)
        })
    }

    /// Computes the gradient of the table from that of the rows [`lookup`](Self::lookup) returned for `tokens`.
    ///
    /// A row gets the sum over all places of its token. Sums are in `f64`: a frequent token keeps its precision.
    ///
    /// # Errors
    /// - [`Error::OutOfBounds`] if a token is not in the vocabulary.
    /// - [`Error::ArrayShape`] if `d_rows` does not have the shape of the rows.
    pub fn backward<D: Dimension>(
        &self,
        tokens: &ArrayRef<usize, D>,
        d_rows: &ArrayRef<E, D::Larger>,
    ) -> Result<Gradients<E>, Error> {
        check_shape("d_rows", self.larger(tokens).slice(), d_rows.shape())?;
        self.check_tokens(tokens)?;
        let mut places: Vec<(usize, usize)> = tokens.iter().copied().zip(0..).collect();
        let d_rows = d_rows.to_shape((places.len(), self.features())).expect("there is a row per token");
        let mut gradient = self.0.zeros();
        // Places of equal tokens come one after another, in their order.
        places.sort_unstable();
        let mut sum = vec![0.0; self.features()];
        for same in places.chunk_by(|a, b| a.0 == b.0) {
            sum.fill(0.0);
            for &(_, place) in same {
                sum.iter_mut().zip(d_rows.row(place)).for_each(|(sum, d)| *sum += d.as_f64());
            }
            let row = gradient.embeddings.row_mut(same[0].0);
            row.into_iter().zip(&sum).for_each(|(to, &sum)| *to = E::of(sum));
        }
        Ok(Gradients::of(gradient))
    }

    /// The shape of the rows of `tokens`.
    fn larger<D: Dimension>(&self, tokens: &ArrayRef<usize, D>) -> D::Larger {
        let mut shape = D::Larger::zeros(tokens.ndim() + 1);
        for (to, &from) in shape.slice_mut().iter_mut().zip(tokens.shape().iter().chain([&self.features()])) {
            *to = from;
        }
        shape
    }
}

impl<E: Float> Parameters<E> for Embedding<E> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        self.0.visit_parameters(visit);
    }
}

impl<E: Float> ParametersMut<E> for Embedding<E> {
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        self.0.visit_parameters_mut(visit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, Array3, array};

    #[test]
    fn the_gradient_is_that_of_a_one_hot_product() {
        let table = Embedding::from_weights(Array2::from_shape_fn((4, 3), |(r, c)| (r * 3 + c) as f64)).unwrap();
        let tokens = array![[2, 0, 2], [3, 2, 0]];
        let d = Array3::from_shape_fn((2, 3, 3), |(b, t, f)| (b * 9 + t * 3 + f) as f64 * 0.25 - 1.0);
        // From one-hot vectors: the rows are one_hot · table, the gradient one_hotᵀ · d.
        let one_hot = Array2::from_shape_fn((6, 4), |(p, v)| f64::from(u8::from(tokens[[p / 3, p % 3]] == v)));
        let rows = table.lookup(&tokens).unwrap().into_shape_with_order((6, 3)).unwrap();
        assert_eq!(rows, one_hot.dot(table.embeddings()));
        let gradient = table.backward(&tokens, &d).unwrap();
        let expected = one_hot.t().dot(&d.into_shape_with_order((6, 3)).unwrap());
        assert_eq!(gradient.get("embeddings").unwrap(), expected.into_dyn());
    }

    #[test]
    fn a_frequent_token_loses_nothing() {
        let table = Embedding::from_weights(array![[0.0_f32]]).unwrap();
        let tokens = Array1::<usize>::zeros(20_000_000);
        let d = Array2::<f32>::ones((20_000_000, 1));
        assert_eq!(table.backward(&tokens, &d).unwrap().get("embeddings").unwrap()[[0, 0]], 2e7);
    }

    #[test]
    fn what_cannot_be_looked_up_is_an_error() {
        assert!(matches!(Embedding::from_weights(Array2::<f32>::zeros((3, 0))), Err(Error::ZeroSize { .. })));
        let table = Embedding::from_weights(Array2::<f32>::zeros((3, 2))).unwrap();
        let error = table.lookup(&array![0, 3]).unwrap_err();
        assert_eq!(error.to_string(), "tokens[1] is 3, but there are only 3 tokens");
        let error = table.lookup(&array![[0, 1], [2, 3]]).unwrap_err();
        assert_eq!(error.to_string(), "tokens[1, 1] is 3, but there are only 3 tokens");
        let error = table.lookup(&ndarray::arr0(3)).unwrap_err();
        assert_eq!(error.to_string(), "tokens[] is 3, but there are only 3 tokens");
        let error = table.backward(&array![3], &Array2::zeros((1, 2))).unwrap_err();
        assert_eq!(error.to_string(), "tokens[0] is 3, but there are only 3 tokens");
        let error = table.backward(&array![1], &Array2::zeros((2, 1))).unwrap_err();
        assert_eq!(error.to_string(), "d_rows has shape [2, 1], but must have [1, 2]");
        assert_eq!(table.lookup(&Array2::zeros((0, 4))).unwrap().dim(), (0, 4, 2));
    }
}
