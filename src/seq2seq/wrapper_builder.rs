//! Options of an [`AttentionWrapper`].

use super::mechanism::AttentionMechanism;
use super::wrapper::AttentionWrapper;
use crate::checks::{check_number, check_shape, check_sizes};
use crate::fused::Linear;
use crate::{Error, Parameters, RnnCell};
use rand::Rng;

/// Options of an [`AttentionWrapper`].
#[derive(Debug, Clone)]
#[must_use]
pub struct AttentionWrapperBuilder<C: RnnCell> {
    cell: C,
    mechanisms: Vec<AttentionMechanism<C::Elem>>,
    attention_layer_size: Option<Vec<usize>>,
    output_attention: bool,
    alignment_history: bool,
}

impl<C: RnnCell> AttentionWrapper<C> {
    /// Returns a builder for `cell` with one or more mechanisms. Their attentions are concatenated.
    pub fn builder(
        cell: C,
        mechanisms: impl IntoIterator<Item = AttentionMechanism<C::Elem>>,
    ) -> AttentionWrapperBuilder<C> {
        AttentionWrapperBuilder {
            cell,
            mechanisms: mechanisms.into_iter().collect(),
            attention_layer_size: None,
            output_attention: true,
            alignment_history: false,
        }
    }
}

impl<C: RnnCell> AttentionWrapperBuilder<C> {
    /// Features of each mechanism's attention, which a layer computes from \[output, context\]. Default: no layers, the
    /// attention is the context.
    pub fn attention_layer_size(mut self, attention_layer_size: impl Into<Vec<usize>>) -> Self {
        self.attention_layer_size = Some(attention_layer_size.into());
        self
    }

    /// Whether the output is the attention; otherwise it is the cell's. Default: true.
    pub fn output_attention(mut self, output_attention: bool) -> Self {
        self.output_attention = output_attention;
        self
    }

    /// Whether the state keeps the alignments of every step. Such a state grows with every step. Default: false.
    pub fn alignment_history(mut self, alignment_history: bool) -> Self {
        self.alignment_history = alignment_history;
        self
    }

    /// Wraps the cell, with TensorFlow's initial weights for the attention layers.
    ///
    /// # Errors
    /// - [`Error::ZeroSize`] if there are no mechanisms, or a size is 0.
    /// - [`Error::ArrayShape`] if `attention_layer_size` does not have one entry per mechanism, or a mechanism's query
    ///   is not as wide as the cell's output.
    /// - [`Error::InvalidNumber`] if the cell's input is not wider than the attention.
    /// - [`Error::RepeatedParameter`] if the cell has a parameter of the same name (attention around attention).
    /// - [`Error::TooLarge`] if the layers' weights would not fit in memory.
    pub fn build<R: Rng + ?Sized>(self, rng: &mut R) -> Result<AttentionWrapper<C>, Error>
    where
        C: Parameters<C::Elem>,
    {
        let Self { cell, mechanisms, attention_layer_size, output_attention, alignment_history } = self;
        check_sizes(&[("mechanisms.len()", mechanisms.len())])?;
        for (at, mechanism) in mechanisms.iter().enumerate() {
            let query = format_args!("the cell's output, mechanisms[{at}]'s query,");
            check_shape(query, &[mechanism.query_depth()], &[cell.output_size()])?;
        }
        let mut layers = Vec::new();
        if let Some(sizes) = attention_layer_size {
            check_shape("attention_layer_size", &[mechanisms.len()], &[sizes.len()])?;
            for (&size, mechanism) in sizes.iter().zip(&mechanisms) {
                check_sizes(&[("attention_layer_size", size)])?;
                let inputs = cell.output_size().saturating_add(mechanism.memory_depth());
                layers.push(Linear::<C::Elem>::builder(size).input_size(inputs).use_bias(false).build(rng)?);
            }
        }
        let wrapper = AttentionWrapper { cell, mechanisms, layers, output_attention, alignment_history };
        let input_size = wrapper.cell.input_size();
        let right = input_size > wrapper.attention_size();
        check_number("cell's input_size", input_size as f64, right, "larger than the attention")?;
        let (mut names, mut repeated) = (std::collections::HashSet::new(), None);
        wrapper.visit_parameters(&mut |name, _| {
            if !names.insert(name.to_owned()) {
                repeated.get_or_insert_with(|| name.to_owned());
            }
        });
        repeated.map_or(Ok(wrapper), |name| Err(Error::RepeatedParameter { name }))
    }
}
