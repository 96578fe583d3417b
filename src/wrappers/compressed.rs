//! [`Compressed`]: a cell whose weights take 16 or 8 bits.

use crate::compression::{Compression, Matrix};
use crate::kernel::WeightFormat;
#[cfg(feature = "safetensors")]
use crate::kernel::compact::Plain;
use crate::{Error, RnnCell};
use ndarray::{ArrayRef2, ArrayRef3};
#[cfg(feature = "safetensors")]
use std::collections::BTreeMap;

/// A cell with compressed weights, for inference: smaller, and faster where loading weights takes the time.
///
/// Made from a cell of `f32` that implements [`RnnCell::compress`], as all of this crate do, wrapped, stacked or boxed.
/// Every matrix is stored in a [`WeightFormat`], and its `f32` numbers are dropped. Biases, peepholes, gains and
/// everything that steps compute stay `f32`, except that [`Int8`](WeightFormat::Int8) rounds what the matrices multiply.
///
/// It is an [`RnnCell`] with the same state, so every driver runs it. It cannot be trained: it is no
/// [`TrainableCell`](crate::train::TrainableCell), and nothing returns the cell inside. Clones share the weights.
///
/// As with the cell inside, the bits depend on no batch, chunk size, strides or number of threads.
///
/// ```
/// use rand::SeedableRng;
/// use rnn_cell::{Compressed, Lstm, WeightFormat, dynamic_rnn, one_hot};
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let cell = Lstm::<f32>::new(4, 8, &mut rng);
/// let x = one_hot(&["hello"], "helo")?;
/// let (expected, _) = dynamic_rnn(&cell, &x, None, None)?;
/// let cell = Compressed::new(cell, WeightFormat::Int8)?;
/// let (outputs, _) = dynamic_rnn(&cell, &x, None, None)?;
/// assert!(outputs.abs_diff_eq(&expected, 0.01));
/// # Ok::<(), rnn_cell::Error>(())
/// ```
#[derive(Clone)]
pub struct Compressed<C> {
    cell: C,
    format: WeightFormat,
    matrices: Vec<Matrix>,
}

impl<C: RnnCell<Elem = f32>> Compressed<C> {
    /// Compresses the weights of `cell`.
    ///
    /// # Errors
    /// [`Error::NotCompressible`]
    /// - if a number of a matrix is not finite, or rounds to infinity. Biases stay as they are.
    /// - if the cell, or one inside, does not implement [`RnnCell::compress`] or shares its weights: a reference, an
    ///   `Arc`.
    /// - if a matrix of 8 bits multiplies more than 133,144 inputs or recurrent values.
    pub fn new(mut cell: C, format: WeightFormat) -> Result<Self, Error> {
        let mut compression = Compression::new(format);
        cell.compress(&mut compression)?;
        let matrices = compression.into_matrices();
        Ok(Self { cell, format, matrices })
    }

    pub(crate) fn cell(&self) -> &C {
        &self.cell
    }

    /// The cell inside, and its compressed matrices.
    #[cfg(feature = "safetensors")]
    pub(crate) fn parts(&self) -> (&C, &[Matrix]) {
        (&self.cell, &self.matrices)
    }

    /// Puts these matrices in place of the compressed ones. There must be one of the same shape and format for each.
    #[cfg(feature = "safetensors")]
    pub(crate) fn replace(&mut self, matrices: &mut BTreeMap<String, Plain>) -> &mut C {
        let mut compression = Compression::replacing(matrices);
        self.cell.compress(&mut compression).expect("a cell that was compressed can be compressed");
        self.matrices = compression.into_matrices();
        &mut self.cell
    }

    /// How the weights are stored.
    #[must_use]
    pub fn format(&self) -> WeightFormat {
        self.format
    }

    /// Bytes of all compressed matrices in memory, with their scales. Biases and other `f32` weights come on top.
    #[must_use]
    pub fn bytes(&self) -> usize {
        // Matrices of one product are stored together.
        self.matrices.iter().filter(|matrix| matrix.gates.start == 0).map(|matrix| matrix.compact.bytes()).sum()
    }
}

impl<C: RnnCell<Elem = f32>> RnnCell for Compressed<C> {
    type Elem = f32;
    type State = C::State;
    type Workspace = C::Workspace;

    fn input_size(&self) -> usize {
        self.cell.input_size()
    }
    fn output_size(&self) -> usize {
        self.cell.output_size()
    }
    fn zero_state(&self, batch: usize) -> C::State {
        self.cell.zero_state(batch)
    }
    fn check_state(&self, state: &C::State) -> Result<(), Error> {
        self.cell.check_state(state)
    }
    fn training_state(&self, batch: usize, seed: u64) -> C::State {
        self.cell.training_state(batch, seed)
    }
    fn step(
        &self,
        input: &ArrayRef2<f32>,
        state: &mut C::State,
        output: &mut ArrayRef2<f32>,
        workspace: &mut C::Workspace,
    ) {
        self.cell.step(input, state, output, workspace);
    }
    fn unroll(
        &self,
        inputs: &ArrayRef3<f32>,
        state: &mut C::State,
        outputs: &mut ArrayRef3<f32>,
        workspace: &mut C::Workspace,
    ) {
        self.cell.unroll(inputs, state, outputs, workspace);
    }
}

impl<C: std::fmt::Debug> std::fmt::Debug for Compressed<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cell, format, .. } = self;
        f.debug_struct("Compressed").field("cell", cell).field("format", format).finish_non_exhaustive()
    }
}
