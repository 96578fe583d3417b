//! The wire format of Protocol Buffers, which ONNX and TensorFlow use: the fields of a message, borrowed from its bytes.
//!
//! It is read here because a library makes a struct of every message: a file of empty nodes, two bytes each, would take
//! a hundred times its size in memory. Nothing is allocated here, and weights are not copied.

/// The value of a field.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed32([u8; 4]),
    #[cfg_attr(not(feature = "onnx"), allow(dead_code))]
    Fixed64([u8; 8]),
    /// Text, bytes, a message or packed numbers.
    Bytes(&'a [u8]),
}

/// The fields of a message in the order of the file, each its number and its value. It ends after an error.
#[derive(Clone)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn read(&mut self) -> Result<(u32, Value<'a>), String> {
        let tag = varint(&mut self.rest)?;
        let number = u32::try_from(tag >> 3).ok().filter(|&number| number > 0);
        let number = number.ok_or_else(|| format!("a field has number {}", tag >> 3))?;
        let value = match tag & 7 {
            0 => Value::Varint(varint(&mut self.rest)?),
            1 => Value::Fixed64(*self.chunk()?),
            5 => Value::Fixed32(*self.chunk()?),
            2 => {
                let len = varint(&mut self.rest)?;
                let split = usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len));
                let (bytes, rest) = split.ok_or_else(|| {
                    format!("field {number} must have {len} bytes, but only {} are left", self.rest.len())
                })?;
                self.rest = rest;
                Value::Bytes(bytes)
            }
            kind => return Err(format!("field {number} has wire type {kind}, which is not read")),
        };
        Ok((number, value))
    }

    fn chunk<const N: usize>(&mut self) -> Result<&'a [u8; N], String> {
        let (chunk, rest) = self.rest.split_first_chunk().ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(chunk)
    }
}

const TRUNCATED: &str = "it ends within a number";

/// Takes a number of seven bits a byte from the beginning.
pub(super) fn varint(bytes: &mut &[u8]) -> Result<u64, String> {
    let mut number = 0;
    for (at, &byte) in bytes.iter().enumerate().take(10) {
        if at == 9 && byte > 1 {
            break;
        }
        number |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            *bytes = &bytes[at + 1..];
            return Ok(number);
        }
    }
    Err(if bytes.len() < 10 { TRUNCATED.into() } else { "an integer has more than 64 bits".into() })
}
