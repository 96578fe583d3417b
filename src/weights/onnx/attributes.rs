//! A recurrent node's attributes, and which of them no cell has.

use super::graph::{ATTRIBUTE_NAME, NODE_ATTRIBUTE, Scope};
use super::kind::{Direction, Kind};
use super::options::Options;
use super::wire::Message;
use crate::checks::check_activation;
use crate::error::quoted;
use crate::{Activation, Error};

// Numbers of an attribute's fields, from onnx.proto.
const FLOAT: u32 = 2;
const INT: u32 = 3;
const STRING: u32 = 4;
const FLOATS: u32 = 7;
const STRINGS: u32 = 9;

/// More activations than any operator has in two directions.
const MAX_LIST: usize = 16;

/// What a node's attributes say.
#[derive(Debug, Clone)]
pub(super) struct Attributes {
    pub direction: Direction,
    pub hidden_size: Option<i64>,
    /// Whether batch comes before time (`layout` = 1).
    pub batch_major: bool,
    /// For each direction. If there is one, both are the same.
    pub options: [Options; 2],
    /// Why no cell computes this, if none does.
    pub refused: Option<String>,
}

/// The lists that name activations.
#[derive(Default)]
struct Activations {
    names: Vec<String>,
    alphas: Vec<f32>,
    betas: Vec<f32>,
}

impl Attributes {
    pub(super) fn of(kind: Kind, scope: &Scope<'_>, node: Message<'_>) -> Result<Self, Error> {
        let mut attributes = Self {
            direction: Direction::Forward,
            hidden_size: None,
            batch_major: false,
            options: [Options::default(); 2],
            refused: None,
        };
        let mut activations = Activations::default();
        let mut linear_before_reset = false;
        for given in node.messages(NODE_ATTRIBUTE) {
            let given = given?;
            let name = given.text(ATTRIBUTE_NAME)?;
            let Some(value) = scope.referred(given)? else { continue };
            match name {
                "direction" => attributes.set_direction(value)?,
                "hidden_size" => attributes.hidden_size = Some(value.integer(INT)?),
                "layout" => attributes.batch_major = attributes.flag(name, value)?,
                "linear_before_reset" if kind == Kind::Gru => linear_before_reset = attributes.flag(name, value)?,
                "input_forget" if kind.is_lstm() => {
                    if attributes.flag(name, value)? {
                        attributes.refuse("input_forget = 1 couples its gates, which no cell does".into());
                    }
                }
                "clip" => {
                    let clip = value.float(FLOAT)?;
                    let reason = format!("clip = {clip} clips the sums before the activations, which no cell does");
                    attributes.refuse(reason);
                }
                "activations" => {
                    for name in value.texts(STRINGS).take(MAX_LIST) {
                        activations.names.push(name?.to_ascii_lowercase());
                    }
                }
                "activation_alpha" => activations.alphas = floats(value)?,
                "activation_beta" => activations.betas = floats(value)?,
                // Of operator set 1: whether there is an output for every step.
                "output_sequence" => {}
                _ => attributes.refuse(format!("it has the unknown attribute {}", quoted(name))),
            }
        }
        attributes.set_options(kind, activations, linear_before_reset);
        Ok(attributes)
    }

    /// Notes the first reason.
    fn refuse(&mut self, reason: String) {
        self.refused.get_or_insert(reason);
    }

    fn flag(&mut self, name: &str, value: Message<'_>) -> Result<bool, Error> {
        let number = value.integer(INT)?;
        if !matches!(number, 0 | 1) {
            self.refuse(format!("{name} is {number}, but must be 0 or 1"));
        }
        Ok(number == 1)
    }

    fn set_direction(&mut self, value: Message<'_>) -> Result<(), Error> {
        match value.text(STRING)? {
            "forward" => self.direction = Direction::Forward,
            "reverse" => self.direction = Direction::Reverse,
            "bidirectional" => self.direction = Direction::Bidirectional,
            other => self.refuse(format!("direction is {}, which ONNX does not have", quoted(other))),
        }
        Ok(())
    }

    fn set_options(&mut self, kind: Kind, activations: Activations, linear_before_reset: bool) {
        let defaults: &[&str] = match kind {
            Kind::Rnn => &["tanh"],
            Kind::Gru => &["sigmoid", "tanh"],
            Kind::Lstm | Kind::DynamicQuantizeLstm => &["sigmoid", "tanh", "tanh"],
        };
        let directions = if self.direction == Direction::Bidirectional { 2 } else { 1 };
        let wanted = defaults.len() * directions;
        let Activations { names, alphas, betas } = activations;
        if !names.is_empty() && names.len() != wanted {
            self.refuse(format!("it has {} activations, but needs {wanted}", names.len()));
            return;
        }
        let (mut alphas, mut betas) = (alphas.into_iter(), betas.into_iter());
        let mut read = Vec::new();
        for at in 0..wanted {
            let name = names.get(at).map_or(defaults[at % defaults.len()], String::as_str);
            match activation(name, &mut alphas, &mut betas) {
                Ok(activation) => read.push(activation),
                Err(reason) => return self.refuse(reason),
            }
        }
        if alphas.next().is_some() || betas.next().is_some() {
            self.refuse("it has more activation_alpha or activation_beta than its activations take".into());
        }
        for (direction, options) in self.options.iter_mut().enumerate() {
            // With one direction, the second is a copy of it.
            let from = if directions == 2 { direction * defaults.len() } else { 0 };
            *options = Options::default().linear_before_reset(linear_before_reset);
            *options = match read[from..from + defaults.len()] {
                [activation] => options.activation(activation),
                [gate, activation] => options.gate_activation(gate).activation(activation),
                [gate, candidate, output] => {
                    if candidate != output && self.refused.is_none() {
                        let reason = "has one activation for the candidate and another for c";
                        self.refused = Some(format!("it {reason} ({candidate:?} and {output:?}), which no cell does"));
                    }
                    options.gate_activation(gate).activation(candidate)
                }
                _ => unreachable!("an operator has one to three activations"),
            };
        }
    }
}

fn floats(value: Message<'_>) -> Result<Vec<f32>, Error> {
    let mut all = Vec::new();
    value.numbers::<4>(FLOATS, |stretch| {
        let room = MAX_LIST - all.len();
        all.extend(stretch.as_chunks().0.iter().take(room).map(|bytes| f32::from_le_bytes(*bytes)));
    })?;
    Ok(all)
}

/// Our activation of this name. Those with parameters take the next ones of the lists, or the operator's defaults.
fn activation(
    name: &str,
    alphas: &mut impl Iterator<Item = f32>,
    betas: &mut impl Iterator<Item = f32>,
) -> Result<Activation, String> {
    let mut alpha = |default: Option<f32>| {
        let missing = || format!("its activation {} has no activation_alpha, and ONNX no default", quoted(name));
        alphas.next().or(default).ok_or_else(missing)
    };
    let mut beta = |default: f32| f64::from(betas.next().unwrap_or(default));
    let activation = match name {
        "tanh" => Activation::Tanh,
        "sigmoid" => Activation::Sigmoid,
        "relu" => Activation::Relu,
        "softsign" => Activation::Softsign,
        "hardsigmoid" => match (alpha(Some(0.2))?, beta(0.5)) {
            (0.2, 0.5) => Activation::HardSigmoid,
            (slope, offset) => Activation::HardSigmoidWith { slope: slope.into(), offset },
        },
        "elu" => match alpha(Some(1.0))? {
            1.0 => Activation::Elu,
            alpha => Activation::EluWith { alpha: alpha.into() },
        },
        "leakyrelu" => match alpha(Some(0.01))? {
            0.0 => Activation::Relu,
            alpha => Activation::LeakyRelu { alpha: alpha.into() },
        },
        // ONNX's operator has 1 as its default, ONNX Runtime's activation 0.
        "thresholdedrelu" => Activation::ThresholdedRelu { alpha: alpha(None)?.into() },
        "scaledtanh" => Activation::ScaledTanh { alpha: alpha(None)?.into(), beta: beta(0.0) },
        "affine" => match (alpha(None)?, beta(0.0)) {
            (1.0, 0.0) => Activation::Linear,
            (alpha, beta) => Activation::Affine { alpha: alpha.into(), beta },
        },
        other => return Err(format!("its activation {} is none of this crate's", quoted(other))),
    };
    check_activation(activation).map(|()| activation).map_err(|error| format!("of its activation {name}, {error}"))
}

/// An activation's name in ONNX, with its alpha and beta.
pub(super) fn named(activation: Activation) -> (&'static str, Option<f32>, Option<f32>) {
    match activation {
        Activation::Tanh => ("Tanh", None, None),
        Activation::Sigmoid => ("Sigmoid", None, None),
        Activation::Relu => ("Relu", None, None),
        Activation::Elu => ("Elu", Some(1.0), None),
        Activation::Softsign => ("Softsign", None, None),
        Activation::HardSigmoid => ("HardSigmoid", Some(0.2), Some(0.5)),
        Activation::Linear => ("Affine", Some(1.0), Some(0.0)),
        Activation::HardSigmoidWith { slope, offset } => ("HardSigmoid", Some(slope as f32), Some(offset as f32)),
        Activation::LeakyRelu { alpha } => ("LeakyRelu", Some(alpha as f32), None),
        Activation::ThresholdedRelu { alpha } => ("ThresholdedRelu", Some(alpha as f32), None),
        Activation::EluWith { alpha } => ("Elu", Some(alpha as f32), None),
        Activation::ScaledTanh { alpha, beta } => ("ScaledTanh", Some(alpha as f32), Some(beta as f32)),
        Activation::Affine { alpha, beta } => ("Affine", Some(alpha as f32), Some(beta as f32)),
    }
}
