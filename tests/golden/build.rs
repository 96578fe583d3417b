//! Builds a cell from a `cell_spec`.

use crate::case::{Case, Fault};
use crate::import;
use crate::sru::Sru;
use ndarray::{Dimension, Ix1, Ix2, IxDyn};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::cells::{BasicRnnWeights, GruWeights, LstmWeights, Peepholes};
use rnn_cell::train::BoxedTrainableCell;
use rnn_cell::weights::keras;
use rnn_cell::{
    Activation, BasicRnn, DropoutWrapper, Float, Gru, HighwayWrapper, LayerNormLstm, Lstm, MultiRnnCell, ParametersMut,
    ResidualWrapper, RnnCell, Ugrnn,
};
use serde_json::Value;

/// The place of a leaf of the state in the file: a tensor and the leaf's first column.
pub struct Leaf {
    pub tensor: String,
    pub column: usize,
}

/// A cell's specification and the prefix of its weights' names.
struct Spec<'a> {
    case: &'a Case,
    value: &'a Value,
    prefix: &'a str,
}

/// The cell of `spec`, whose weights' names begin with `prefix`.
pub fn build<E: Float>(case: &Case, value: &Value, prefix: &str, input: usize) -> Result<BoxedTrainableCell<E>, Fault> {
    let spec = Spec { case, value, prefix };
    match value["from"].as_str() {
        Some("torch") => return import::torch(case, prefix, spec.activation("activation", Activation::Tanh)?),
        Some("keras") => return import::keras(case, prefix, &spec.keras_options()?),
        _ => {}
    }
    match spec.kind() {
        "basic_rnn" => spec.basic_rnn(input).map(BoxedTrainableCell::new),
        "basic_lstm" | "lstm" => spec.lstm(input).map(BoxedTrainableCell::new),
        "gru" => spec.gru(input).map(BoxedTrainableCell::new),
        "ugrnn" => spec.ugrnn(input).map(BoxedTrainableCell::new),
        "sru" => spec.sru(input).map(BoxedTrainableCell::new),
        "layer_norm_basic_lstm" => spec.layer_norm_lstm(input).map(BoxedTrainableCell::new),
        "multi" => spec.multi(input),
        "residual" => spec.residual(input),
        "dropout" => spec.dropout(input),
        "highway" => spec.highway(input),
        other => Err(Fault::NotSupported(other.into())),
    }
}

/// A generator for weights that the file's replace.
fn any() -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(1)
}

/// The leaves of a cell's state in TensorFlow's order, which is the crate's.
pub fn leaves(value: &Value, prefix: &str) -> Vec<Leaf> {
    let leaf = |name: &str, column| Leaf { tensor: format!("{prefix}{name}"), column };
    match value["kind"].as_str() {
        Some("multi") => {
            let cells = value["cells"].as_array().into_iter().flatten().enumerate();
            cells.flat_map(|(layer, cell)| leaves(cell, &format!("{prefix}cell_{layer}/"))).collect()
        }
        Some("residual" | "dropout" | "highway") => leaves(&value["cell"], prefix),
        Some("basic_lstm" | "lstm") if value["state_is_tuple"] == false => {
            vec![leaf("ch", 0), leaf("ch", value["num_units"].as_u64().unwrap_or(0) as usize)]
        }
        Some("basic_lstm" | "lstm" | "layer_norm_basic_lstm") => vec![leaf("c", 0), leaf("h", 0)],
        Some("sru") => vec![leaf("c", 0)],
        _ => vec![leaf("h", 0)],
    }
}

impl Spec<'_> {
    fn kind(&self) -> &str {
        self.value["kind"].as_str().unwrap_or("a cell without a kind")
    }

    /// Options that this harness does not know must not be ignored.
    fn only(&self, known: &[&str]) -> Result<(), Fault> {
        let keys = self.value.as_object().into_iter().flat_map(|spec| spec.keys());
        match keys.into_iter().find(|key| *key != "kind" && !known.contains(&key.as_str())) {
            Some(key) => Err(Fault::NotSupported(format!("{} with {key}", self.kind()))),
            None => Ok(()),
        }
    }

    fn size(&self, key: &str) -> Result<Option<usize>, Fault> {
        match &self.value[key] {
            Value::Null => Ok(None),
            value => match value.as_u64() {
                Some(size) => Ok(Some(size as usize)),
                None => Err(Fault::Broken(format!("{key} is {value}"))),
            },
        }
    }

    fn units(&self) -> Result<usize, Fault> {
        self.size("num_units")?.ok_or_else(|| Fault::Broken("no num_units".into()))
    }

    fn flag(&self, key: &str, default: bool) -> bool {
        self.value[key].as_bool().unwrap_or(default)
    }

    fn activation(&self, key: &str, default: Activation) -> Result<Activation, Fault> {
        Ok(match self.value[key].as_str() {
            None => default,
            Some("tanh") => Activation::Tanh,
            Some("sigmoid") => Activation::Sigmoid,
            Some("relu") => Activation::Relu,
            Some("elu") => Activation::Elu,
            Some("softsign") => Activation::Softsign,
            Some("hard_sigmoid") => Activation::HardSigmoid,
            Some("linear") => Activation::Linear,
            Some(other) => return Err(Fault::NotSupported(format!("activation {other}"))),
        })
    }

    fn keras_options(&self) -> Result<keras::Options, Fault> {
        Ok(keras::Options::default()
            .activation(self.activation("activation", Activation::Tanh)?)
            .recurrent_activation(self.activation("gate_activation", Activation::Sigmoid)?)
            .reset_after(self.flag("reset_after", true)))
    }

    fn weight<E: Float, D: Dimension>(&self, name: &str) -> Result<ndarray::Array<E, D>, Fault> {
        self.case.array(&format!("{}{name}", self.prefix))
    }

    /// A weight that may be missing: the cell's builder checks whether that is right.
    fn optional<E: Float, D: Dimension>(&self, name: &str) -> Result<Option<ndarray::Array<E, D>>, Fault> {
        let there = self.case.tensors.contains_key(&format!("{}{name}", self.prefix));
        there.then(|| self.weight(name)).transpose()
    }

    fn number<E: Float>(&self, key: &str, default: f64) -> E {
        E::of(self.value[key].as_f64().unwrap_or(default))
    }

    /// The cell with the file's weights instead of its own.
    fn filled<E: Float, C: ParametersMut<E>>(&self, mut cell: C) -> Result<C, Fault> {
        let mut result = Ok(());
        cell.visit_parameters_mut(&mut |name, mut weight| match self.weight::<E, IxDyn>(name) {
            Ok(tensor) if tensor.shape() == weight.shape() => weight.assign(&tensor),
            Ok(tensor) => result = Err(Fault::Broken(format!("{name} has shape {:?}", tensor.shape()))),
            Err(fault) => result = Err(fault),
        });
        result.map(|()| cell)
    }

    /// The cell that a wrapper wraps.
    fn inner<E: Float>(&self, input: usize) -> Result<BoxedTrainableCell<E>, Fault> {
        build(self.case, &self.value["cell"], self.prefix, input)
    }

    fn multi<E: Float>(&self, mut input: usize) -> Result<BoxedTrainableCell<E>, Fault> {
        self.only(&["cells"])?;
        let mut cells = Vec::new();
        for (layer, cell) in self.value["cells"].as_array().into_iter().flatten().enumerate() {
            cells.push(build::<E>(self.case, cell, &format!("{}cell_{layer}/", self.prefix), input)?);
            input = cells[layer].output_size();
        }
        Ok(BoxedTrainableCell::new(MultiRnnCell::new(cells)?))
    }

    fn residual<E: Float>(&self, input: usize) -> Result<BoxedTrainableCell<E>, Fault> {
        self.only(&["cell"])?;
        Ok(BoxedTrainableCell::new(ResidualWrapper::new(self.inner::<E>(input)?)?))
    }

    /// Only keep probabilities of 1: nobody can know what another framework drops.
    fn dropout<E: Float>(&self, input: usize) -> Result<BoxedTrainableCell<E>, Fault> {
        self.only(&["cell", "input_keep_prob", "output_keep_prob", "state_keep_prob"])?;
        let keep = |key: &str| self.value[key].as_f64().unwrap_or(1.0);
        let (input_keep, output_keep) = (keep("input_keep_prob"), keep("output_keep_prob"));
        let state_keep = keep("state_keep_prob");
        if [input_keep, output_keep, state_keep] != [1.0; 3] {
            return Err(Fault::NotSupported("dropout with a keep probability other than 1".into()));
        }
        let builder = DropoutWrapper::builder(self.inner::<E>(input)?).input_keep_prob(input_keep);
        Ok(BoxedTrainableCell::new(builder.output_keep_prob(output_keep).state_keep_prob(state_keep).build()?))
    }

    fn highway<E: Float>(&self, input: usize) -> Result<BoxedTrainableCell<E>, Fault> {
        self.only(&["cell", "couple_carry_transform_gates", "carry_bias_init"])?;
        let builder = HighwayWrapper::builder(self.inner::<E>(input)?)
            .couple_carry_transform_gates(self.flag("couple_carry_transform_gates", true))
            .carry_bias_init(self.number("carry_bias_init", 1.0));
        Ok(BoxedTrainableCell::new(self.filled(builder.build(&mut any())?)?))
    }

    fn ugrnn<E: Float>(&self, input: usize) -> Result<Ugrnn<E>, Fault> {
        self.only(&["num_units", "activation", "forget_bias"])?;
        let builder = Ugrnn::<E>::builder(input, self.units()?)
            .activation(self.activation("activation", Activation::Tanh)?)
            .forget_bias(self.number("forget_bias", 1.0));
        self.filled(builder.build(&mut any())?)
    }

    /// A cell of `tests/fused`, not a built-in one.
    fn sru<E: Float>(&self, input: usize) -> Result<Sru<E>, Fault> {
        self.only(&["num_units", "activation"])?;
        let activation = self.activation("activation", Activation::Tanh)?;
        self.filled(Sru::new(input, self.units()?, activation, &mut any())?)
    }

    /// Only a keep probability of 1, as for [`dropout`](Self::dropout).
    fn layer_norm_lstm<E: Float>(&self, input: usize) -> Result<LayerNormLstm<E>, Fault> {
        let options = ["num_units", "activation", "forget_bias", "layer_norm", "norm_gain", "norm_shift"];
        self.only(&[&options[..], &["dropout_keep_prob"]].concat())?;
        if self.number::<f64>("dropout_keep_prob", 1.0) != 1.0 {
            return Err(Fault::NotSupported("dropout with a keep probability other than 1".into()));
        }
        let builder = LayerNormLstm::<E>::builder(input, self.units()?)
            .activation(self.activation("activation", Activation::Tanh)?)
            .forget_bias(self.number("forget_bias", 1.0))
            .layer_norm(self.flag("layer_norm", true));
        self.filled(builder.build(&mut any())?)
    }

    fn basic_rnn<E: Float>(&self, input: usize) -> Result<BasicRnn<E>, Fault> {
        self.only(&["num_units", "activation"])?;
        let builder =
            BasicRnn::<E>::builder(input, self.units()?).activation(self.activation("activation", Activation::Tanh)?);
        Ok(builder.build_from(BasicRnnWeights { kernel: self.weight("kernel")?, bias: self.optional("bias")? })?)
    }

    fn lstm<E: Float>(&self, input: usize) -> Result<Lstm<E>, Fault> {
        let options = ["num_units", "activation", "forget_bias", "state_is_tuple"];
        let more = ["use_peepholes", "cell_clip", "num_proj", "proj_clip"];
        self.only(&[&options[..], &more[..]].concat())?;
        let number = |key: &str| self.value[key].as_f64().map(E::of);
        let mut builder = Lstm::<E>::builder(input, self.units()?)
            .activation(self.activation("activation", Activation::Tanh)?)
            .use_peepholes(self.flag("use_peepholes", false));
        if let Some(forget_bias) = number("forget_bias") {
            builder = builder.forget_bias(forget_bias);
        }
        if let Some(cell_clip) = number("cell_clip") {
            builder = builder.cell_clip(cell_clip);
        }
        if let Some(num_proj) = self.size("num_proj")? {
            builder = builder.num_proj(num_proj);
        }
        if let Some(proj_clip) = number("proj_clip") {
            builder = builder.proj_clip(proj_clip);
        }
        let w_f_diag = self.optional::<E, Ix1>("w_f_diag")?;
        let peepholes = w_f_diag.map(|w_f_diag| {
            Ok::<_, Fault>(Peepholes {
                w_f_diag,
                w_i_diag: self.weight("w_i_diag")?,
                w_o_diag: self.weight("w_o_diag")?,
            })
        });
        Ok(builder.build_from(LstmWeights {
            kernel: self.weight("kernel")?,
            bias: self.optional("bias")?,
            peepholes: peepholes.transpose()?,
            projection: self.optional::<E, Ix2>("projection/kernel")?,
        })?)
    }

    fn gru<E: Float>(&self, input: usize) -> Result<Gru<E>, Fault> {
        self.only(&["num_units", "activation"])?;
        let builder =
            Gru::<E>::builder(input, self.units()?).activation(self.activation("activation", Activation::Tanh)?);
        Ok(builder.build_from(GruWeights {
            gates_kernel: self.weight("gates/kernel")?,
            gates_bias: self.optional("gates/bias")?,
            candidate_kernel: self.weight("candidate/kernel")?,
            candidate_bias: self.optional("candidate/bias")?,
            candidate_recurrent_bias: None,
        })?)
    }
}
