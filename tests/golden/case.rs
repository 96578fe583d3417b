//! A golden file in memory: its metadata and its tensors.

use ndarray::{Array, Array2, ArrayD, Dimension, IxDyn};
use rnn_cell::{Error, Float};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;

/// The reason why a case has no result to compare.
#[derive(Debug)]
pub enum Fault {
    /// This kind of case is not supported yet.
    NotSupported(String),
    /// The crate refuses it.
    Refused(Refusal, String),
    /// The file does not match its metadata.
    Broken(String),
}

/// What TensorFlow accepts and the crate refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    NegativeLength,
    LengthOverSeq,
    Clip,
    ZeroSize,
    Other,
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let refusal = match &error {
            Error::SequenceLengthTooLong { .. } => Refusal::LengthOverSeq,
            Error::InvalidNumber { argument: "cell_clip" | "proj_clip", .. } => Refusal::Clip,
            Error::ZeroSize { .. } => Refusal::ZeroSize,
            _ => Refusal::Other,
        };
        Self::Refused(refusal, error.to_string())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSupported(kind) => write!(f, "not supported yet: {kind}"),
            Self::Refused(_, message) => write!(f, "refused: {message}"),
            Self::Broken(what) => write!(f, "{what}"),
        }
    }
}

/// A Keras mask.
#[derive(Clone)]
pub struct Mask {
    /// (batch, seq), false where the step is hidden.
    pub valid: Array2<bool>,
    /// A hidden step repeats the last valid output; otherwise it is 0.
    pub repeat: bool,
}

/// How two directions are merged to one output.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// `outputs/fw` and `outputs/bw`.
    Apart,
    /// \[fw, bw\] along the features.
    Concat,
    Sum,
}

/// A case in TensorFlow 1's terms, whichever framework made it.
#[derive(Clone)]
pub struct Case {
    pub f64: bool,
    pub api: String,
    /// The cell, nested. `spec_bw` is that of the backward direction.
    pub spec: Value,
    pub spec_bw: Value,
    pub time_major: bool,
    pub merge: Merge,
    pub mask: Option<Mask>,
    /// All tensors. `f64` holds every number of an `f32` file exactly.
    pub tensors: BTreeMap<String, ArrayD<f64>>,
    pub meta: HashMap<String, String>,
}

impl Case {
    pub fn read(path: &Path) -> Result<Self, Fault> {
        let broken = |what: &dyn fmt::Display| Fault::Broken(format!("{}: {what}", path.display()));
        let bytes = std::fs::read(path).map_err(|error| broken(&error))?;
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| broken(&error))?;
        let meta = header.metadata().clone().ok_or_else(|| broken(&"no metadata"))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|error| broken(&error))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.tensors() {
            let data = view.data();
            let numbers: Vec<f64> = match view.dtype() {
                Dtype::F64 => chunks(data).map(f64::from_le_bytes).collect(),
                Dtype::F32 => chunks(data).map(|b| f64::from(f32::from_le_bytes(b))).collect(),
                Dtype::I64 => chunks(data).map(|b| i64::from_le_bytes(b) as f64).collect(),
                Dtype::U8 => data.iter().map(|&b| f64::from(b)).collect(),
                other => return Err(broken(&format_args!("{name} is {other:?}"))),
            };
            let array = ArrayD::from_shape_vec(IxDyn(view.shape()), numbers).map_err(|error| broken(&error))?;
            tensors.insert(name, array);
        }
        let field = |key: &str| meta.get(key).cloned().ok_or_else(|| broken(&format_args!("no {key}")));
        let spec = |key: &str| match meta.get(key).filter(|spec| *spec != "none") {
            Some(spec) => serde_json::from_str(spec).map_err(|error| broken(&error)),
            None => Ok(Value::Null),
        };
        let (spec, spec_bw) = (spec("cell_spec")?, spec("cell_spec_bw")?);
        Ok(Self {
            f64: field("dtype")? == "f64",
            api: field("api")?,
            spec_bw: if spec_bw.is_null() { spec.clone() } else { spec_bw },
            spec,
            time_major: meta.get("time_major").is_some_and(|value| value == "true"),
            merge: if tensors.contains_key("outputs/fw") { Merge::Apart } else { Merge::Concat },
            mask: None,
            tensors,
            meta,
        })
    }

    /// A metadata value, if it is set.
    pub fn option(&self, key: &str) -> Option<&str> {
        self.meta.get(key).map(String::as_str).filter(|value| !matches!(*value, "none" | "None"))
    }

    pub fn flag(&self, key: &str) -> bool {
        self.option(key) == Some("true")
    }

    pub fn number<T: std::str::FromStr>(&self, key: &str) -> Result<T, Fault> {
        let value = self.option(key).and_then(|value| value.parse().ok());
        value.ok_or_else(|| Fault::Broken(format!("metadata {key} is no number")))
    }

    /// A tensor with numbers of type `E`.
    pub fn array<E: Float, D: Dimension>(&self, name: &str) -> Result<Array<E, D>, Fault> {
        let tensor = self.tensors.get(name).ok_or_else(|| Fault::Broken(format!("tensor {name} is missing")))?;
        let array = tensor.mapv(E::of).into_dimensionality();
        array.map_err(|_| Fault::Broken(format!("tensor {name} has shape {:?}", tensor.shape())))
    }

    /// (batch, seq, features) of `x`.
    pub fn sizes(&self) -> Result<(usize, usize, usize), Fault> {
        let (a, b, features) = self.array::<f64, ndarray::Ix3>("x")?.dim();
        Ok(if self.time_major { (b, a, features) } else { (a, b, features) })
    }

    /// Where rows start anew, laid out as the first two axes of `x`.
    pub fn resets(&self) -> Result<Option<Array2<bool>>, Fault> {
        let resets = self.tensors.contains_key("resets").then(|| self.array::<f64, ndarray::Ix2>("resets"));
        Ok(resets.transpose()?.map(|resets| resets.mapv(|reset| reset != 0.0)))
    }

    /// `sequence_length` as in the file.
    pub fn raw_lengths(&self) -> Option<Vec<i64>> {
        self.tensors.get("sequence_length").map(|lengths| lengths.iter().map(|&length| length as i64).collect())
    }

    /// Replaces lengths that the crate refuses with what TensorFlow takes them for.
    pub fn clamp_lengths(&mut self) -> Result<(), Fault> {
        let (_, seq, _) = self.sizes()?;
        if let Some(lengths) = self.tensors.get_mut("sequence_length") {
            lengths.mapv_inplace(|length| length.clamp(0.0, seq as f64));
        }
        Ok(())
    }

    /// `sequence_length` as a user of the crate must convert it.
    pub fn lengths(&self) -> Result<Option<Vec<usize>>, Fault> {
        let Some(lengths) = self.raw_lengths() else { return Ok(None) };
        let lengths: Result<Vec<usize>, _> = lengths.into_iter().map(usize::try_from).collect();
        lengths.map(Some).map_err(|error| Fault::Refused(Refusal::NegativeLength, format!("sequence_length: {error}")))
    }
}

fn chunks<const N: usize>(data: &[u8]) -> impl Iterator<Item = [u8; N]> {
    data.chunks_exact(N).map(|chunk| chunk.try_into().expect("chunks are N bytes"))
}
