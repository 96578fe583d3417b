//! The way in: one layer's tensors to a cell.

use super::super::Tensors;
use super::super::layout::{BlockGru, IFCO, RZN, pick, put};
use super::Options;
use crate::cells::{BasicRnnWeights, LstmWeights};
use crate::{Activation, BasicRnn, Error, Float, Gru, GruReset, Lstm};
use ndarray::{Array1, Array2, ArrayView2};

/// One layer in one direction: its names, and its sizes as the checked shapes tell them.
pub(super) struct Layer {
    names: [String; 5],
    input: usize,
    hidden: usize,
    pub(super) output: usize,
    use_bias: bool,
    projects: bool,
}

impl Layer {
    /// Checks every tensor of the layer before one is taken. `below` is the size that must come in, if that is known.
    pub(super) fn new<E: Float>(
        tensors: &Tensors<'_, E>,
        names: [String; 5],
        gates: usize,
        use_bias: bool,
        below: Option<usize>,
    ) -> Result<Self, Error> {
        let [weight_ih, weight_hh, bias_ih, bias_hh, weight_hr] = &names;
        let projects = gates == 4 && tensors.contains(weight_hr);
        let rows = if gates == 1 { "hidden".into() } else { format!("{gates} · hidden") };
        let ih_expected = format!("({rows}, input)");
        let [ih_rows, input] = tensors.axes(weight_ih, &ih_expected)?;
        let [hh_rows, columns] = tensors.axes(weight_hh, &format!("({rows}, output)"))?;
        let misfit = |expected| Error::TensorShape { name: weight_ih.clone(), expected, found: vec![ih_rows, input] };
        // The recurrent matrix tells the hidden size twice: where it agrees with itself another tensor is to blame.
        let hidden = if !projects && hh_rows == gates * columns {
            columns
        } else if ih_rows.is_multiple_of(gates) {
            ih_rows / gates
        } else {
            return Err(misfit(ih_expected));
        };
        if ih_rows != gates * hidden || below.is_some_and(|below| input != below) {
            let input = below.map_or("input".into(), |below| below.to_string());
            return Err(misfit(format!("[{}, {input}]", gates * hidden)));
        }
        let output = if projects { columns } else { hidden };
        tensors.check(weight_hh, &[gates * hidden, output])?;
        if use_bias {
            tensors.check(bias_ih, &[gates * hidden])?;
            tensors.check(bias_hh, &[gates * hidden])?;
        }
        if projects {
            tensors.check(weight_hr, &[output, hidden])?;
        }
        Ok(Self { input, hidden, output, use_bias, projects, names })
    }

    fn biases<E: Float>(&self, tensors: &mut Tensors<'_, E>, gates: usize) -> Result<Option<[Array1<E>; 2]>, Error> {
        let [_, _, bias_ih, bias_hh, _] = &self.names;
        let len = gates * self.hidden;
        if !self.use_bias {
            return Ok(None);
        }
        Ok(Some([tensors.take_vector(bias_ih, len)?, tensors.take_vector(bias_hh, len)?]))
    }

    /// `put` is called with both weight matrices, transposed, and the rows of our kernel where they belong.
    fn matrices<E: Float>(
        &self,
        tensors: &mut Tensors<'_, E>,
        gates: usize,
        mut put: impl FnMut(usize, ArrayView2<E>),
    ) -> Result<(), Error> {
        let rows = gates * self.hidden;
        put(0, tensors.take_matrix(&self.names[0], (rows, self.input))?.t());
        put(self.input, tensors.take_matrix(&self.names[1], (rows, self.output))?.t());
        Ok(())
    }

    pub(super) fn rnn<E: Float>(&self, tensors: &mut Tensors<'_, E>, options: &Options) -> Result<BasicRnn<E>, Error> {
        let mut kernel = Array2::zeros((self.input + self.hidden, self.hidden));
        self.matrices(tensors, 1, |row, from| put(&mut kernel, row, from, &[0]))?;
        let bias = self.biases(tensors, 1)?.map(|[input, recurrent]| input + recurrent);
        BasicRnn::<E>::builder(self.input, self.hidden)
            .activation(options.nonlinearity)
            .use_bias(self.use_bias)
            .build_from(BasicRnnWeights { kernel, bias })
    }

    pub(super) fn lstm<E: Float>(&self, tensors: &mut Tensors<'_, E>) -> Result<Lstm<E>, Error> {
        let mut kernel = Array2::zeros((self.input + self.output, 4 * self.hidden));
        self.matrices(tensors, 4, |row, from| put(&mut kernel, row, from, &IFCO))?;
        let bias = self.biases(tensors, 4)?;
        let bias = bias.map(|[input, recurrent]| pick((input + recurrent).view(), self.hidden, &IFCO));
        let mut builder = Lstm::builder(self.input, self.hidden).forget_bias(E::zero()).use_bias(self.use_bias);
        let mut projection = None;
        if self.projects {
            builder = builder.num_proj(self.output);
            projection = Some(tensors.take_matrix(&self.names[4], (self.output, self.hidden))?.reversed_axes());
        }
        builder.build_from(LstmWeights { kernel, bias, peepholes: None, projection })
    }

    pub(super) fn gru<E: Float>(&self, tensors: &mut Tensors<'_, E>) -> Result<Gru<E>, Error> {
        let mut gru = BlockGru::new(self.input, self.hidden, RZN);
        self.matrices(tensors, 3, |row, from| gru.put(row, from))?;
        let biases = self.biases(tensors, 3)?;
        let biases = biases.as_ref().map(|[input, recurrent]| [input.view(), recurrent.view()]);
        gru.build(biases, GruReset::After, [Activation::Tanh, Activation::Sigmoid])
    }
}
