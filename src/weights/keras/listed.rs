//! A model's layers in a list of layers.

use super::{Kind, Layer, Model, Options};
use crate::Float;
use crate::weights::Layer as Recognized;

impl<E: Float> Model<'_, E> {
    /// What the configuration says of layers that were recognized by their tensors.
    pub(in crate::weights) fn recognized(&self, mut found: Vec<Recognized>) -> Vec<Recognized> {
        for found in &mut found {
            let Some(layer) = self.layers.iter().find(|layer| layer.prefix() == found.prefix) else { continue };
            let function = match layer.kind() {
                Kind::SimpleRnn => "simple_rnn",
                Kind::Lstm => "lstm",
                Kind::Gru => "gru",
            };
            (found.options, found.load) = match layer.options() {
                Ok(options) => (
                    described(layer, options),
                    format!(
                        "let layer = model.layer({:?})?; \
                         let cell = keras::{function}(&mut model.tensors, layer.prefix(), &layer.options()?)?;",
                        layer.name()
                    ),
                ),
                Err(error) => (String::new(), format!("not imported: {error}")),
            };
        }
        for name in &self.missing {
            found.push(Recognized {
                source: "Keras",
                kind: "layer",
                prefix: name.clone(),
                input_size: 0,
                hidden_size: 0,
                layers: 1,
                bidirectional: false,
                options: String::new(),
                load: "not imported: the configuration lists it, but the file has no weights of it".into(),
                tensors: Vec::new(),
            });
        }
        found
    }
}

fn described(layer: &Layer, options: Options) -> String {
    let Options { activation, recurrent_activation, reset_after } = options;
    let mut all = vec![format!("activation {activation:?}")];
    if layer.kind() != Kind::SimpleRnn {
        all.push(format!("recurrent_activation {recurrent_activation:?}"));
    }
    if layer.kind() == Kind::Gru {
        all.extend(reset_after.map(|after| format!("reset_after {after}")));
    }
    all.extend(layer.go_backwards().then(|| "backwards".into()));
    all.join(", ")
}
