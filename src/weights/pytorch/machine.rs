//! The stack machine whose program a pickle is.
//!
//! An operation adds at most one value of 16 bytes or one node of 32 to lists that grow by doubling, and calls copy at most
//! one value for two bytes of the pickle, so memory is bounded by its length.

use super::class;
use super::value::{Class, Node, Text, Value, node};
use crate::error::quoted;
use std::ops::Range;

/// Builds nodes as the program says.
pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    /// How many bytes were read.
    pub at: usize,
    stack: Vec<Value>,
    memo: Vec<Value>,
    /// What was built.
    pub nodes: Vec<Node>,
    /// How many values calls copied.
    copied: usize,
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, stack: Vec::new(), memo: Vec::new(), nodes: Vec::new(), copied: 0 }
    }

    /// Runs the pickle to its end, and returns the value that is left.
    pub(super) fn run(&mut self) -> Result<Value, String> {
        loop {
            let start = self.at;
            let [code] = self.fixed()?;
            match code {
                b'.' => return self.pop(),
                // PROTO, FRAME: what follows is the same in every protocol, and frames only help to read ahead.
                0x80 => drop(self.fixed::<1>()?),
                0x95 => drop(self.fixed::<8>()?),
                b'(' => self.stack.push(Value::Mark),
                b'0' => drop(self.pop()?),
                b'1' => drop(self.items()?),
                b'q' | b'r' | 0x94 | b'h' | b'j' => self.remember(code)?,
                b'N' | 0x88 | 0x89 | b'K' | b'M' | b'J' | 0x8a | b'G' => self.push_number(code)?,
                b'X' | 0x8c | 0x8d | b'U' | b'T' | b'C' | b'B' => self.push_text(code)?,
                b'}' | b']' | 0x8f | b')' | b't' | 0x85..=0x87 => self.push_list(code)?,
                b's' | b'u' | b'a' | b'e' | 0x90 => self.fill(code)?,
                b'c' | 0x93 => self.push_class(code)?,
                b'R' | b'b' | b'Q' => self.build(code)?,
                _ => {
                    self.at = start;
                    return Err(format!("operation {code:#04x} is not one that tensors need"));
                }
            }
        }
    }

    /// PUT, MEMOIZE and GET: values that appear again.
    fn remember(&mut self, code: u8) -> Result<(), String> {
        let index = match code {
            b'q' | b'h' => usize::from(u8::from_le_bytes(self.fixed()?)),
            0x94 => self.memo.len(),
            _ => u32::from_le_bytes(self.fixed()?) as usize,
        };
        if matches!(code, b'h' | b'j') {
            let value = *self.memo.get(index).ok_or_else(|| format!("value {index} was not kept"))?;
            self.stack.push(value);
            return Ok(());
        }
        let value = *self.stack.last().ok_or("there is nothing to keep")?;
        // Python counts from 0, and tools that drop unused values keep the order.
        if index >= self.bytes.len() {
            return Err(format!("value {index} is kept, but the file has only {} bytes", self.bytes.len()));
        }
        if index >= self.memo.len() {
            self.memo.resize(index + 1, Value::Other);
        }
        self.memo[index] = value;
        Ok(())
    }

    fn push_number(&mut self, code: u8) -> Result<(), String> {
        let value = match code {
            b'N' => Value::None,
            0x88 => Value::True,
            b'K' => Value::Int(u8::from_le_bytes(self.fixed()?).into()),
            b'M' => Value::Int(u16::from_le_bytes(self.fixed()?).into()),
            b'J' => Value::Int(i32::from_le_bytes(self.fixed()?).into()),
            0x8a => self.long()?,
            b'G' => self.fixed::<8>().map(|_| Value::Other)?,
            _ => Value::Other,
        };
        self.stack.push(value);
        Ok(())
    }

    /// LONG1: a number of up to 255 bytes, little endian, with a sign.
    fn long(&mut self) -> Result<Value, String> {
        let [len] = self.fixed()?;
        let range = self.take(len.into())?;
        let digits = &self.bytes[range];
        if digits.len() > 8 {
            return Ok(Value::Other);
        }
        let is_negative = digits.last().is_some_and(|&byte| byte >= 0x80);
        let mut all = [if is_negative { 0xff } else { 0 }; 8];
        all[..digits.len()].copy_from_slice(digits);
        Ok(Value::Int(i64::from_le_bytes(all)))
    }

    fn push_text(&mut self, code: u8) -> Result<(), String> {
        let len = match code {
            0x8c | b'U' | b'C' => u8::from_le_bytes(self.fixed()?).into(),
            0x8d => usize::try_from(u64::from_le_bytes(self.fixed()?)).unwrap_or(usize::MAX),
            _ => u32::from_le_bytes(self.fixed()?) as usize,
        };
        let range = self.take(len)?;
        let is_bytes = matches!(code, b'C' | b'B');
        self.stack.push(if is_bytes { Value::Other } else { self.text_at(range)? });
        Ok(())
    }

    fn text_at(&self, range: Range<usize>) -> Result<Value, String> {
        let (start, len) = (range.start as u32, range.len() as u32);
        match std::str::from_utf8(&self.bytes[range]) {
            Ok(_) => Ok(Value::Text(Text { start, len })),
            Err(_) => Err("a text is not UTF-8".into()),
        }
    }

    /// Dictionaries, lists, sets and tuples.
    fn push_list(&mut self, code: u8) -> Result<(), String> {
        let node = match code {
            b'}' => Node::Dict(Vec::new()),
            b']' | 0x8f => Node::List(Vec::new()),
            b')' => {
                self.stack.push(Value::Empty);
                return Ok(());
            }
            b't' => Node::List(self.items()?),
            _ => {
                let items = self.stack.len().checked_sub(usize::from(code - 0x84)).ok_or("the stack is too short")?;
                Node::List(self.stack.drain(items..).collect())
            }
        };
        self.push(node)
    }

    /// Adds items to the dictionary, list or set below them.
    fn fill(&mut self, code: u8) -> Result<(), String> {
        let items = match code {
            b's' => {
                let value = self.pop()?;
                vec![self.pop()?, value]
            }
            b'a' => vec![self.pop()?],
            _ => self.items()?,
        };
        let Some(&Value::Node(index)) = self.stack.last() else { return Err("items are added to nothing".into()) };
        match (&mut self.nodes[index as usize], code) {
            (Node::Dict(dict), b's' | b'u') if items.len().is_multiple_of(2) => {
                dict.extend(items.as_chunks().0.iter().map(|[key, value]| (*key, *value)));
            }
            (Node::List(list), b'a' | b'e' | 0x90) => list.extend(items),
            _ => return Err("items are added to what cannot have them".into()),
        }
        Ok(())
    }

    fn push_class(&mut self, code: u8) -> Result<(), String> {
        let [module, name] = if code == b'c' {
            [self.line()?, self.line()?]
        } else {
            let name = self.pop()?;
            [self.pop()?, name]
        };
        let (Value::Text(module), Value::Text(name)) = (module, name) else { return Err("a class has no name".into()) };
        let [module, name] = [module, name].map(|text| text.letters(self.bytes));
        let class = Class::named(module, name)
            .ok_or_else(|| format!("{} is not a class that tensors need", quoted(&format!("{module}.{name}"))))?;
        self.stack.push(Value::Class(class));
        Ok(())
    }

    /// REDUCE, which calls; BUILD, which sets attributes; BINPERSID, which names a storage.
    fn build(&mut self, code: u8) -> Result<(), String> {
        let argument = self.pop()?;
        let built = match code {
            // A dictionary's own attributes are versions of PyTorch's modules.
            b'b' => return self.stack.last().map(drop).ok_or("attributes are set on nothing".into()),
            b'Q' => class::storage(self.list(argument)?, |text| text.letters(self.bytes)).map(Node::Storage)?,
            _ => {
                let Value::Class(class) = self.pop()? else { return Err("what is called is not a class".into()) };
                let node = |value| node(&self.nodes, value);
                match class.call(self.list(argument)?, node)? {
                    class::Built::Value(value) => {
                        self.stack.push(value);
                        return Ok(());
                    }
                    class::Built::Node(node) => {
                        // Python writes at least two bytes for each value, once: a list that is kept could be copied by
                        // every call.
                        self.copied += node.copied();
                        if self.copied > self.bytes.len() / 2 {
                            return Err("the same values are copied again and again".into());
                        }
                        node
                    }
                }
            }
        };
        self.push(built)
    }

    fn list(&self, value: Value) -> Result<&[Value], String> {
        match node(&self.nodes, value) {
            Some(Node::List(list)) => Ok(list),
            None if value == Value::Empty => Ok(&[]),
            _ => Err("arguments are not a tuple".into()),
        }
    }

    fn push(&mut self, node: Node) -> Result<(), String> {
        let index = u32::try_from(self.nodes.len()).expect("there are fewer than bytes");
        // Python keeps each node for later, which takes a byte at least: this only bounds what hostile files take.
        if self.nodes.len() > self.bytes.len() / 2 {
            return Err("there are more lists and dictionaries than Python would write".into());
        }
        self.nodes.push(node);
        self.stack.push(Value::Node(index));
        Ok(())
    }

    fn pop(&mut self) -> Result<Value, String> {
        match self.stack.pop() {
            None | Some(Value::Mark) => Err("the stack is too short".into()),
            Some(value) => Ok(value),
        }
    }

    /// The values above the last mark, which goes too.
    fn items(&mut self) -> Result<Vec<Value>, String> {
        let mark = self.stack.iter().rposition(|value| *value == Value::Mark).ok_or("there is no mark")?;
        // `split_off` may keep the stack's capacity.
        let items = self.stack.drain(mark + 1..).collect();
        self.stack.pop();
        Ok(items)
    }

    fn take(&mut self, len: usize) -> Result<Range<usize>, String> {
        let end = self.at.checked_add(len).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or_else(|| format!("{len} bytes must follow, but only {} do", self.bytes.len() - self.at))?;
        let start = std::mem::replace(&mut self.at, end);
        Ok(start..end)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let range = self.take(N)?;
        Ok(self.bytes[range].try_into().expect("as many were taken"))
    }

    fn line(&mut self) -> Result<Value, String> {
        let len = self.bytes[self.at..].iter().position(|&byte| byte == b'\n').ok_or("a line does not end")?;
        let range = self.take(len)?;
        self.at += 1;
        self.text_at(range)
    }
}
