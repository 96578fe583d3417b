//! Follows a weight back to the constants that it is made of.

use super::graph::{Found, NODE_DOMAIN, NODE_INPUT, NODE_OP_TYPE, Origin, Scope};
use super::operators::{self, Failure};
use super::tensor::{Externals, stored};
use super::wire::Message;
use crate::Error;
use crate::error::quoted;
use crate::weights::stored::Stored;

/// The most operators between a weight and a constant.
const MAX_DEPTH: usize = 64;
/// The most values that one weight is made of.
const MAX_VALUES: usize = 4096;
/// The most bytes that these and their nodes may have, for each byte of the model. PyTorch's training export cuts and
/// joins a weight in five steps.
const MAX_COPIES: usize = 16;
/// For nodes that are larger than the constants of a small model.
const FIXED: usize = 256 << 10;

/// Follows one weight of a node.
pub(super) struct Follow<'a> {
    externals: &'a Externals,
    /// The node's name, for errors.
    layer: String,
    values: usize,
    bytes: usize,
}

impl<'a> Follow<'a> {
    /// `len` is the size of the model and the files beside it.
    pub(super) fn new(layer: &str, externals: &'a Externals, len: usize) -> Self {
        let bytes = len.saturating_mul(MAX_COPIES).saturating_add(FIXED);
        Self { externals, layer: layer.into(), values: MAX_VALUES, bytes }
    }

    /// The constant of this name.
    pub(super) fn constant(&mut self, scope: &Scope<'a>, name: &'a str) -> Result<Stored<'a>, Error> {
        self.value(scope, name, 0)
    }

    /// The constant that `Expand`s repeat, or the constant itself. `None` if the model computes it as it runs.
    ///
    /// An `Expand` may add axes in front. The constant then has these with length 1, `axes` in all.
    pub(super) fn repeated(
        &mut self,
        scope: &Scope<'a>,
        name: &'a str,
        axes: usize,
    ) -> Result<Option<Stored<'a>>, Error> {
        let (mut scope, mut name, mut depth) = (scope, name, 0);
        while let Some(Found { scope: inner, origin: Origin::Node(node) }) = scope.find(name)?
            && node.text(NODE_OP_TYPE)? == "Expand"
            && is_of_onnx(node)?
        {
            self.enter(node, depth)?;
            depth += 1;
            scope = inner;
            name = node.texts(NODE_INPUT).next().transpose()?.unwrap_or("");
        }
        match self.value(scope, name, depth) {
            Ok(mut stored) => {
                while depth > 0 && stored.shape.len() < axes {
                    stored.shape.insert(0, 1);
                }
                Ok(Some(stored))
            }
            Err(Error::NotImportable { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn value(&mut self, scope: &Scope<'a>, name: &'a str, depth: usize) -> Result<Stored<'a>, Error> {
        self.values = self
            .values
            .checked_sub(1)
            .ok_or_else(|| self.refused(format!("one of its weights is made of more than {MAX_VALUES} values")))?;
        let Some(Found { scope, origin }) = scope.find(name)? else {
            return Err(self.refused(format!("{} is an input of the model or unknown, not a constant", quoted(name))));
        };
        let value = self.known(scope, name, origin, depth)?;
        self.charge(value.bytes.len())?;
        Ok(value)
    }

    fn known(
        &mut self,
        scope: &Scope<'a>,
        name: &'a str,
        origin: Origin<'a>,
        depth: usize,
    ) -> Result<Stored<'a>, Error> {
        match origin {
            Origin::Tensor(tensor) => stored(tensor, name, self.externals),
            Origin::Node(node) => self.made(scope, node, depth),
            Origin::Sparse => Err(self.refused(format!("{} is a sparse tensor, which is not read", quoted(name)))),
            Origin::Input(_) => {
                let reason = format!("{} is an input of the graph that it is in, not a constant", quoted(name));
                Err(self.refused(reason))
            }
            Origin::LaterOutput(node) => {
                let op = node.text(NODE_OP_TYPE)?;
                Err(self.refused(format!("{} is a later output of a node ({})", quoted(name), quoted(op))))
            }
        }
    }

    /// What a node makes of constants.
    fn made(&mut self, scope: &Scope<'a>, node: Message<'a>, depth: usize) -> Result<Stored<'a>, Error> {
        self.enter(node, depth)?;
        let op = node.text(NODE_OP_TYPE)?;
        let is_of_onnx = is_of_onnx(node)?;
        let Some(operator) = operators::find(op).filter(|_| is_of_onnx) else {
            return Err(self.refused(format!(
                "a node {} makes one of its weights, but they are followed only through {}. Fold the model's constants \
                 first",
                quoted(op),
                operators::NAMES
            )));
        };
        let mut inputs = Vec::new();
        for name in node.texts(NODE_INPUT).take(operator.max_inputs) {
            let name = name?;
            inputs.push(if name.is_empty() { None } else { Some(self.value(scope, name, depth + 1)?) });
        }
        let attribute = |name: &str| scope.attribute(node, name);
        let attributes = operators::Attributes { attribute: &attribute, externals: self.externals };
        (operator.run)(inputs, &attributes).map_err(|failure| match failure {
            Failure::Refused(reason) => self.refused(format!("before its weights, {op} {reason}")),
            Failure::Broken(error) => error,
        })
    }

    /// Counts an operator that is behind `depth` others.
    fn enter(&mut self, node: Message<'a>, depth: usize) -> Result<(), Error> {
        if depth == MAX_DEPTH {
            let reason = format!("more than {MAX_DEPTH} operators, or a circle of them, lie before its weights");
            return Err(self.refused(reason));
        }
        self.charge(node.0.len())
    }

    fn charge(&mut self, bytes: usize) -> Result<(), Error> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or_else(|| {
            self.refused(format!("what makes one of its weights is more than {MAX_COPIES} times the model"))
        })?;
        Ok(())
    }

    fn refused(&self, reason: String) -> Error {
        Error::NotImportable { name: self.layer.clone(), reason }
    }
}

/// Whether a node's operator is one of ONNX's own.
fn is_of_onnx(node: Message<'_>) -> Result<bool, Error> {
    Ok(matches!(node.text(NODE_DOMAIN)?, "" | "ai.onnx"))
}
