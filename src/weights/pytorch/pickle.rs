//! The part of Python's pickle that PyTorch's tensors need. A pickle is a program for a stack machine. Nothing in it is
//! executed here: operations only build [`Node`]s, and a class or function is one of a fixed list.

use super::machine::Machine;
use super::value::{Node, Text, Value, node};
use std::borrow::Cow;

/// What a pickle built.
pub(super) struct Pickle<'a> {
    bytes: Cow<'a, [u8]>,
    nodes: Vec<Node>,
    pub root: Value,
    /// How many bytes it has.
    pub len: usize,
}

impl<'a> Pickle<'a> {
    /// Reads the pickle at the beginning of `bytes`. The error says what is wrong and where.
    pub(super) fn read(bytes: impl Into<Cow<'a, [u8]>>) -> Result<Self, String> {
        let all = bytes.into();
        // Positions take 32 bits.
        let mut machine = Machine::new(&all[..all.len().min(u32::MAX as usize)]);
        let root = machine.run().map_err(|reason| format!("at byte {} of the pickle: {reason}", machine.at))?;
        Ok(Self { nodes: machine.nodes, root, len: machine.at, bytes: all })
    }

    pub(super) fn node(&self, value: Value) -> Option<&Node> {
        node(&self.nodes, value)
    }

    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(super) fn letters(&self, text: Text) -> &str {
        text.letters(&self.bytes)
    }

    /// Whether a value is this text.
    pub(super) fn is_text(&self, value: Value, letters: &str) -> bool {
        matches!(value, Value::Text(text) if text.len as usize == letters.len() && self.letters(text) == letters)
    }

    /// The letters of a text, or the digits of a whole number. Takes as long as the text, which may be in many places.
    pub(super) fn key(&self, value: Value) -> Option<String> {
        match value {
            Value::Int(number) => Some(number.to_string()),
            Value::Text(text) => Some(self.letters(text).into()),
            _ => None,
        }
    }
}
