//! What a case of decoders is made of: the cell, its memory, the encoder, the embeddings.

use super::cells::{Built, built, memories};
use crate::case::{Case, Fault};
use ndarray::{Array2, Array3, Ix1, Ix2};
use rnn_cell::seq2seq::{BasicDecoder, BasicDecoderOutput, DynamicDecode, Helper, dynamic_decode};
use rnn_cell::train::BoxedTrainableCell;
use rnn_cell::{Dense, DynState, Embedding, Float, dynamic_rnn};
use serde_json::Value;

pub fn spec(case: &Case, key: &str) -> Result<Value, Fault> {
    let text = case.option(key).unwrap_or("null");
    serde_json::from_str(text).map_err(|error| Fault::Broken(format!("{key}: {error}")))
}

/// What a decoder needs beside its helper.
pub struct Parts<E: Float> {
    pub cell: Built<E>,
    pub initial: DynState<E>,
    pub dense: Option<Dense<E>>,
    pub embedding: Option<Embedding<E>>,
    pub encoder: Option<Encoder<E>>,
    pub decoder: Value,
    pub options: Value,
}

/// The encoder of a `model_*` case, with what it read.
pub struct Encoder<E: Float> {
    pub cell: BoxedTrainableCell<E>,
    pub embedding: Embedding<E>,
    pub ids: Array2<usize>,
    pub x: Array3<E>,
    pub lengths: Vec<usize>,
}

pub fn ids(case: &Case, name: &str) -> Result<Array2<usize>, Fault> {
    Ok(case.array::<f64, Ix2>(name)?.mapv(|id| id as usize))
}

pub fn ids1(case: &Case, name: &str) -> Result<Vec<usize>, Fault> {
    Ok(case.array::<f64, Ix1>(name)?.iter().map(|&id| id as usize).collect())
}

pub fn dense<E: Float>(case: &Case, decoder: &Value) -> Result<Option<Dense<E>>, Fault> {
    let layer = &decoder["output_layer"];
    if layer.is_null() {
        return Ok(None);
    }
    if layer["activation"] != "linear" {
        return Err(Fault::NotSupported("output_layer with an activation".into()));
    }
    let bias = layer["use_bias"].as_bool().unwrap_or(false).then(|| case.array::<E, Ix1>("output_layer/bias"));
    Ok(Some(Dense::from_weights(case.array::<E, Ix2>("output_layer/kernel")?, bias.transpose()?)?))
}

pub fn parts<E: Float>(case: &Case, batch: usize, input: usize) -> Result<Parts<E>, Fault> {
    let (decoder, options) = (spec(case, "decoder_spec")?, spec(case, "decode_spec")?);
    let embedding = match case.tensors.contains_key("embedding") {
        true => Some(Embedding::from_weights(case.array::<E, Ix2>("embedding")?)?),
        false => None,
    };
    let (mut memories, mut encoder, mut start) = (memories::<E>(case)?, None, None);
    if case.tensors.contains_key("source_ids") {
        let (ids, lengths) = (ids(case, "source_ids")?, ids1(case, "memory_sequence_length")?);
        let embedding = Embedding::from_weights(case.array::<E, Ix2>("source_embedding")?)?;
        let x = embedding.lookup(&ids)?;
        let cell = crate::build::build::<E>(case, &spec(case, "encoder_spec")?, "encoder/", x.dim().2)?;
        let (memory, last) = dynamic_rnn(&cell, &x, Some(&lengths), None)?;
        memories.insert("memory".into(), memory);
        start = Some(last);
        encoder = Some(Encoder { cell, embedding, ids, x, lengths });
    }
    let cell = built::<E>(case, &case.spec, ("", ""), (input, batch), &memories)?;
    let mut initial = cell.initial(case)?;
    if let Some(start) = start {
        cell.attentions(&mut initial, &mut |state, _| *state.cell_state_mut() = start.clone());
    }
    Ok(Parts { cell, initial, dense: dense(case, &decoder)?, embedding, encoder, decoder, options })
}

impl<E: Float> Parts<E> {
    pub fn run<H: Helper<Elem = E>>(&self, helper: H) -> Result<BasicDecoderOutput<E, H::Sample, DynState<E>>, Fault> {
        Ok(self.decoder(helper).run()?)
    }

    pub fn decoder<H: Helper<Elem = E>>(&self, helper: H) -> DynamicDecode<BasicDecoder<'_, BoxedTrainableCell<E>, H>> {
        let decoder = BasicDecoder::new(&self.cell.cell, helper, self.initial.clone());
        let decoder = match &self.dense {
            Some(dense) => decoder.output_layer(dense),
            None => decoder,
        };
        let decode = dynamic_decode(decoder).impute_finished(self.impute());
        let endless = !self.helper_kind().contains("Training");
        match self.options["maximum_iterations"].as_u64() {
            Some(most) => decode.maximum_iterations(most as usize),
            // The crate asks for a limit where TensorFlow does not.
            None if endless => decode.maximum_iterations(1000),
            None => decode,
        }
    }

    pub fn impute(&self) -> bool {
        self.options["impute_finished"].as_bool().unwrap_or(false)
    }

    pub fn helper_kind(&self) -> &str {
        self.decoder["helper"]["kind"].as_str().unwrap_or_default()
    }
}
