//! The cells of `flax.nnx` that have the gates side by side.

use super::super::Tensors;
use super::super::layout::{BlockGru, IFCO, RZN, nothing, pick, put};
use crate::cells::{BasicRnnWeights, LstmWeights};
use crate::{Activation, BasicRnn, Error, Float, Gru, GruReset, Lstm};
use ndarray::{Array1, Array2};

/// Whether the cell is one of these.
pub(super) fn is_dense<E: Float>(tensors: &Tensors<'_, E>, prefix: &str) -> bool {
    tensors.contains(&format!("{prefix}dense_i/kernel"))
}

pub(super) fn simple<E: Float>(tensors: &mut Tensors<'_, E>, prefix: &str) -> Result<BasicRnn<E>, Error> {
    let Dense { input, recurrent, biases } = Dense::take(tensors, prefix, 1)?;
    let (rows, hidden) = (input.nrows(), recurrent.nrows());
    let mut kernel = Array2::zeros((rows + hidden, hidden));
    put(&mut kernel, 0, input.view(), &[0]);
    put(&mut kernel, rows, recurrent.view(), &[0]);
    let bias = biases.map(|[input, recurrent]| input + recurrent);
    BasicRnn::<E>::builder(rows, hidden).use_bias(bias.is_some()).build_from(BasicRnnWeights { kernel, bias })
}

pub(super) fn lstm<E: Float>(tensors: &mut Tensors<'_, E>, prefix: &str) -> Result<Lstm<E>, Error> {
    let Dense { input, recurrent, biases } = Dense::take(tensors, prefix, 4)?;
    let (rows, hidden) = (input.nrows(), recurrent.nrows());
    let mut kernel = Array2::zeros((rows + hidden, 4 * hidden));
    put(&mut kernel, 0, input.view(), &IFCO);
    put(&mut kernel, rows, recurrent.view(), &IFCO);
    let bias = biases.map(|[input, recurrent]| pick((input + recurrent).view(), hidden, &IFCO));
    Lstm::builder(rows, hidden).forget_bias(E::zero()).use_bias(bias.is_some()).build_from(LstmWeights {
        kernel,
        bias,
        peepholes: None,
        projection: None,
    })
}

pub(super) fn gru<E: Float>(tensors: &mut Tensors<'_, E>, prefix: &str) -> Result<Gru<E>, Error> {
    let Dense { input, recurrent, biases } = Dense::take(tensors, prefix, 3)?;
    let mut gru = BlockGru::new(input.nrows(), recurrent.nrows(), RZN);
    gru.put(0, input.view());
    gru.put(input.nrows(), recurrent.view());
    let biases = biases.as_ref().map(|[input, recurrent]| [input.view(), recurrent.view()]);
    gru.build(biases, GruReset::After, [Activation::Tanh, Activation::Sigmoid])
}

/// The two linear layers of a cell.
struct Dense<E> {
    input: Array2<E>,
    recurrent: Array2<E>,
    /// The input's and the recurrent one, zeros for one that is absent; `None` if both are.
    biases: Option<[Array1<E>; 2]>,
}

impl<E: Float> Dense<E> {
    fn take(tensors: &mut Tensors<'_, E>, prefix: &str, gates: usize) -> Result<Self, Error> {
        let [kernel, recurrent_kernel] = ["dense_i", "dense_h"].map(|name| format!("{prefix}{name}/kernel"));
        let [input, _] = tensors.axes(&kernel, "(input, gates · hidden)")?;
        let [hidden, _] = tensors.axes(&recurrent_kernel, "(hidden, gates · hidden)")?;
        let columns = gates * hidden;
        tensors.check(&recurrent_kernel, &[hidden, columns])?;
        tensors.check(&kernel, &[input, columns])?;
        let mut bias = |name: &str| -> Result<Option<Array1<E>>, Error> {
            let name = format!("{prefix}{name}/bias");
            tensors.contains(&name).then(|| tensors.take_vector(&name, columns)).transpose()
        };
        let biases = match (bias("dense_i")?, bias("dense_h")?) {
            (None, None) => None,
            (input, recurrent) => Some([input, recurrent].map(|bias| bias.unwrap_or_else(|| nothing(columns)))),
        };
        Ok(Self {
            input: tensors.take_matrix(&kernel, (input, columns))?,
            recurrent: tensors.take_matrix(&recurrent_kernel, (hidden, columns))?,
            biases,
        })
    }
}
